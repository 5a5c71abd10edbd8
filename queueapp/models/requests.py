"""What producers have asked for beside tasks: answers that are kept, operations on many tasks, callbacks."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from queueapp.domain.states import Action, DeliveryState, OperationState
from queueapp.models.fields import choices, new_id
from queueapp.models.keys import ApiKey
from queueapp.models.tasks import Task
from queueapp.querysets import DeliveryQuerySet, OperationQuerySet

_owed = Q(state=str(DeliveryState.PENDING))
_given_up = Q(state=str(DeliveryState.FAILED))


class IdempotentRequest(models.Model):
    """The answer to a request that came with an `Idempotency-Key`. `owner` says whose key of that name it is."""

    owner = models.CharField(max_length=50)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.TextField()
    location = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="idempotent_request_created")]
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="idempotent_request_once_a_key"),
        ]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"


class Operation(models.Model):
    """One action on every task that a filter selects. `operations` says how it is carried out.

    `tasks_of`: only tasks of this key; `names`: only tasks with these names. None is no such bound. `position` is
    the id of the last task that was looked at: first to count them, then, from `counted_at` on, to change them.
    `priority`: which one the tasks get, of an operation that gives them one. `portion`: how many tasks the next
    step may look at, by what the last ones took; None: as many as ever.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    action = models.CharField(max_length=10, choices=choices(Action))
    state = models.CharField(max_length=10, choices=choices(OperationState), default=str(OperationState.RUNNING))
    filter = models.JSONField()
    priority = models.SmallIntegerField(null=True)
    names = models.JSONField(null=True)
    tasks_of = models.ForeignKey(
        ApiKey, models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="operations"
    )
    asked_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    counted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    position = models.UUIDField(null=True)
    portion = models.PositiveIntegerField(null=True)
    total = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)

    objects = OperationQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="operation_running", condition=Q(state=str(OperationState.RUNNING))),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state=str(OperationState.RUNNING), finished_at__isnull=True)
                | (~Q(state=str(OperationState.RUNNING)) & Q(finished_at__isnull=False)),
                name="operation_finished_at_iff_not_running",
            ),
            models.CheckConstraint(
                condition=Q(action=str(Action.PRIORITISE), priority__isnull=False)
                | (~Q(action=str(Action.PRIORITISE)) & Q(priority__isnull=True)),
                name="operation_priority_iff_prioritise",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.id}"


class Delivery(models.Model):
    """A callback that is owed for an end of a task, until it is delivered or given up. Its id is the webhook-id.

    `ended_as` is what a retry would change of the task, as JSON; it is let go of once delivered, for one that
    was given up may be tried again. `host` is kept beside the URL so that those of one host, which may hang, are
    told from the others by an index.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    task = models.ForeignKey(Task, models.CASCADE, db_constraint=False, related_name="deliveries")
    host = models.CharField(max_length=255)
    state = models.CharField(max_length=10, choices=choices(DeliveryState), default=str(DeliveryState.PENDING))
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.TextField(blank=True, default="")
    ended_as = models.TextField(null=True)  # noqa: DJ001 - JSON, which is never empty

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = "callback"
        indexes = [
            models.Index(fields=["next_attempt_at"], name="delivery_due", condition=_owed),
            models.Index(fields=["host", "next_attempt_at"], name="delivery_due_by_host", condition=_owed),
            models.Index(fields=["id"], name="delivery_owed", condition=_owed),
            models.Index(fields=["id"], name="delivery_given_up", condition=_given_up),
            models.Index(fields=["host", "id"], name="delivery_of_host"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(next_attempt_at__isnull=False, ended_at__isnull=True, ended_as__isnull=False) & _owed
                | Q(next_attempt_at__isnull=True, ended_at__isnull=False) & ~_owed,
                name="delivery_next_attempt_iff_pending",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

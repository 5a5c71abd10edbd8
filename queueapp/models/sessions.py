"""Server processes, the worker sessions that they hold, and what these offer."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from queueapp.domain.states import SessionState
from queueapp.models.fields import NAME_LENGTH, choices, new_id
from queueapp.models.keys import ApiKey
from queueapp.querysets import NodeQuerySet, SubscriptionQuerySet, WorkerSessionQuerySet


class Node(models.Model):
    """One server process, alive while its lease lasts."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)

    objects = NodeQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class WorkerSession(models.Model):
    """One WebSocket connection that offers to perform tasks.

    `reach`: what its key was last found to allow, `[task_globs, bounds]`; `access` compares it with the key's row.

    `v1`: whether the worker speaks `workqueue.v1`, and so hears that it is drained (None: nobody asked when it
    attached). `leaving`: it has said itself that it drains, or its process does. `done` and `errors` count its
    results; those of the minute `counted_minute` (since 1970) and of the one before tell how fast they come.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200, blank=True, default="")
    state = models.CharField(max_length=10, choices=choices(SessionState), default=str(SessionState.ONLINE))
    node = models.ForeignKey(Node, models.DO_NOTHING, db_constraint=False, related_name="sessions")
    api_key = models.ForeignKey(ApiKey, models.DO_NOTHING, db_constraint=False, null=True, related_name="sessions")
    reach = models.JSONField(null=True, editable=False)
    max_outstanding = models.PositiveIntegerField()
    version = models.CharField(max_length=200, blank=True, default="")
    remote = models.CharField(max_length=100, blank=True, default="")
    connected_at = models.DateTimeField()
    idle_since = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)
    close_code = models.PositiveIntegerField(null=True, blank=True)
    close_reason = models.CharField(max_length=200, blank=True, default="")
    stale_results = models.PositiveIntegerField(default=0)
    v1 = models.BooleanField(null=True)
    leaving = models.BooleanField(default=False, db_default=False)
    done = models.PositiveBigIntegerField(default=0, db_default=0)
    errors = models.PositiveBigIntegerField(default=0, db_default=0)
    counted_minute = models.PositiveIntegerField(default=0, db_default=0)
    ended_in_minute = models.PositiveIntegerField(default=0, db_default=0)
    ended_in_previous = models.PositiveIntegerField(default=0, db_default=0)

    objects = WorkerSessionQuerySet.as_manager()

    class Meta:
        verbose_name = "worker session"
        indexes = [
            models.Index(fields=["node"], name="session_live", condition=Q(gone_at__isnull=True)),
            models.Index(fields=["name"], name="session_name", condition=~Q(name="")),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state=str(SessionState.GONE), gone_at__isnull=False)
                | (~Q(state=str(SessionState.GONE)) & Q(gone_at__isnull=True)),
                name="session_gone_at_iff_gone",
            ),
            models.CheckConstraint(
                condition=Q(leaving=False) | ~Q(state=str(SessionState.ONLINE)), name="session_leaving_not_online"
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)


class Activity(models.Model):
    """What a batch says of worker sessions: that they were given tasks, or what became of their results. It is
    written into their rows with the next tick (`lifecycle.activity`).

    `sessions`: their ids, 16 bytes each; with results one for each result.
    """

    class Kind(models.TextChoices):
        GIVEN = "given"
        DONE = "done"
        ERROR = "error"
        STALE = "stale"

    kind = models.CharField(max_length=5, choices=Kind.choices)
    at = models.DateTimeField()
    sessions = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.kind} at {self.at}"


class Subscription(models.Model):
    """A task name and a filter that a worker session offers. Never changed: a session re-attaches instead."""

    session = models.ForeignKey(WorkerSession, models.CASCADE, related_name="subscriptions")
    name = models.CharField(max_length=NAME_LENGTH)
    filter = models.JSONField(default=dict)
    extra = models.JSONField(default=dict, blank=True)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["name"], name="subscription_name")]

    def __str__(self) -> str:
        criteria = "&".join(f"{criterion}={','.join(values)}" for criterion, values in self.filter.items())
        return f"{self.name}?{criteria}" if criteria else self.name

"""Tasks, their ended attempts, and the concurrency keys that somebody has to look at."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from queueapp.domain.states import LIVE_STATES, TERMINAL_STATES, UNSUCCESSFUL_STATES, Outcome, TaskState
from queueapp.domain.webhooks import URL_LENGTH
from queueapp.models.fields import NAME_LENGTH, choices, new_id
from queueapp.models.keys import ApiKey
from queueapp.models.queues import Route
from queueapp.models.sessions import WorkerSession
from queueapp.querysets import TaskQuerySet

_live = Q(state__in=[str(state) for state in LIVE_STATES])
_terminal = Q(state__in=[str(state) for state in TERMINAL_STATES])
_assigned = Q(state=str(TaskState.ASSIGNED))
_pending = Q(state=str(TaskState.PENDING))
_due = Q(state=str(TaskState.PENDING), delayed_until__isnull=True)
_ready = _due & Q(held_back=False)
_keyed = Q(concurrency_key__isnull=False)
_failed = Q(state=str(TaskState.FAILED))
_grouped = Q(error_group__isnull=False)
_unsuccessful = Q(state__in=[str(state) for state in UNSUCCESSFUL_STATES])


class Task(models.Model):
    """One piece of work. `data` and `result` are JSON texts, which nobody here reads.

    A pending task with `delayed_until` is not ready; `maintenance` clears the column when the time comes,
    so that finding ready tasks never steps over delayed ones. Nor is one that is `held_back`: its concurrency key
    has no room, or others of the key come first (`queueapp.limits`).

    `error_group` says with which others it has failed (`domain.fingerprints`); it means nothing in another state.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    route = models.ForeignKey(Route, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="tasks")
    data = models.TextField(default="null")
    state = models.CharField(max_length=10, choices=choices(TaskState), default=str(TaskState.PENDING))
    reason = models.CharField(max_length=10, choices=choices(Outcome), blank=True, default="")
    result = models.TextField(null=True)  # noqa: DJ001 - a result may be the JSON text "null", or none at all
    error = models.TextField(blank=True, default="")
    error_group = models.UUIDField(null=True, editable=False)
    priority = models.SmallIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=0)
    attempts_used = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=4)
    retry_on = models.JSONField(null=True)
    backoff = models.JSONField(null=True)
    timeout_seconds = models.FloatField(default=300)
    spill_after_seconds = models.FloatField(null=True)
    worker = models.ForeignKey(
        WorkerSession,
        models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        related_name="held_tasks",
    )
    last_worker = models.ForeignKey(
        WorkerSession, models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="+"
    )
    avoid = models.JSONField(null=True)
    progress = models.FloatField(null=True)
    progress_message = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField()
    available_at = models.DateTimeField()
    delayed_until = models.DateTimeField(null=True)
    waiting_since = models.DateTimeField()
    assigned_at = models.DateTimeField(null=True)
    deadline = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    unique_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - none must not collide with none
    concurrency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - none is no key, not one key
    held_back = models.BooleanField(default=False, db_default=False)
    tags = models.JSONField(null=True)
    traceparent = models.CharField(max_length=100, blank=True, default="")
    callback_url = models.CharField(max_length=URL_LENGTH, null=True)  # noqa: DJ001 - none is told apart quickly
    submitted_by = models.ForeignKey(
        ApiKey, models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="tasks"
    )

    objects = TaskQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index("route", F("priority").desc(), "available_at", "id", name="task_ready", condition=_ready),
            models.Index(
                "route",
                F("priority").desc(),
                "available_at",
                "id",
                name="task_ready_spilling",
                condition=_ready & Q(spill_after_seconds__isnull=False),
            ),
            models.Index(fields=["delayed_until"], name="task_delayed", condition=Q(delayed_until__isnull=False)),
            models.Index(fields=["worker"], name="task_holder", condition=Q(worker__isnull=False)),
            models.Index(fields=["deadline"], name="task_deadline", condition=Q(deadline__isnull=False)),
            models.Index(
                fields=["expires_at"], name="task_expiry", condition=_pending & Q(expires_at__isnull=False)
            ),
            models.Index(
                fields=["name", "concurrency_key"],
                name="task_slot",
                condition=_keyed & Q(worker__isnull=False),
            ),
            models.Index(
                "name",
                "concurrency_key",
                F("priority").desc(),
                "available_at",
                "id",
                name="task_line",
                condition=_keyed & _due,
            ),
            models.Index(
                "name",
                "concurrency_key",
                "route",
                F("priority").desc(),
                "available_at",
                "id",
                name="task_line_of_route",
                condition=_keyed & _due,
            ),
            models.Index(fields=["error_group", "id"], name="task_error_group", condition=_failed & _grouped),
            models.Index(fields=["id"], name="task_ungrouped", condition=_failed & Q(error_group__isnull=True)),
            # What operators look for among millions that succeeded; those cost it nothing.
            models.Index(fields=["id", "state"], name="task_unsuccessful", condition=_unsuccessful),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(finished_at__isnull=False) & _terminal | Q(finished_at__isnull=True) & _live,
                name="task_finished_at_iff_terminal",
            ),
            models.CheckConstraint(
                condition=Q(worker__isnull=False) & _assigned | Q(worker__isnull=True) & ~_assigned,
                name="task_worker_iff_assigned",
            ),
            models.CheckConstraint(
                condition=Q(deadline__isnull=False) & _assigned | Q(deadline__isnull=True) & ~_assigned,
                name="task_deadline_iff_assigned",
            ),
            models.CheckConstraint(
                condition=Q(delayed_until__isnull=True) | _pending, name="task_delayed_only_pending"
            ),
            models.CheckConstraint(
                condition=Q(held_back=False) | _pending & _keyed, name="task_held_back_only_pending_with_a_key"
            ),
            models.CheckConstraint(
                condition=Q(result__isnull=True) | Q(state=str(TaskState.SUCCEEDED)),
                name="task_result_only_succeeded",
            ),
            models.CheckConstraint(
                condition=~Q(reason="") & Q(state=str(TaskState.FAILED))
                | Q(reason="") & ~Q(state=str(TaskState.FAILED)),
                name="task_reason_iff_failed",
            ),
            models.CheckConstraint(
                condition=Q(attempts_used__lte=F("attempt")), name="task_attempts_used_were_made"
            ),
            models.UniqueConstraint(
                fields=["name", "unique_key"],
                condition=_live & Q(unique_key__isnull=False),
                name="task_one_live_per_unique_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class ChangedKey(models.Model):
    """A concurrency key of whose tasks one has come, ended or gone: the next dispatcher looks whose turn it is.

    Written in the transaction of that change, so that whoever dies afterwards, somebody looks. Only added to and
    deleted: two who change tasks of the same keys do not wait for each other.
    """

    name = models.CharField(max_length=NAME_LENGTH)
    key = models.CharField(max_length=200)
    each_route = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.name} {self.key}"


class Attempt(models.Model):
    """An ended assignment of a task. A plain first `done` is not stored: the task's own row says it all.

    `is_final`: whether the task failed with it. Known of those with an `error_group`.
    """

    task = models.ForeignKey(Task, models.CASCADE, db_constraint=False, related_name="attempts")
    number = models.PositiveIntegerField()
    worker = models.ForeignKey(
        WorkerSession, models.DO_NOTHING, db_constraint=False, related_name="attempts", null=True
    )
    outcome = models.CharField(max_length=10, choices=choices(Outcome))
    assigned_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    error = models.TextField(blank=True, default="")
    error_group = models.UUIDField(null=True, editable=False)
    is_final = models.BooleanField(null=True, editable=False)
    details = models.TextField(default="null")

    class Meta:
        indexes = [
            models.Index(
                fields=["error_group", "ended_at", "is_final"], name="attempt_error_group", condition=_grouped
            ),
            models.Index(fields=["ended_at", "error_group"], name="attempt_error_ended", condition=_grouped),
        ]
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="attempt_number_once_a_task")]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"

"""The rows of the queue, with the invariants that the database itself holds.

Nothing here changes state: tasks are changed by `lifecycle`, sessions and nodes by `sessions`.
Foreign keys to hot rows (worker, route, key) carry no database constraint: the check would lock the parent.
"""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from uuid_utils.compat import uuid7

from queueapp.domain.reach import Reach
from queueapp.domain.states import (
    LIVE_STATES,
    TERMINAL_STATES,
    Action,
    DeliveryState,
    OperationState,
    Outcome,
    SessionState,
    TaskState,
)
from queueapp.domain.webhooks import URL_LENGTH
from queueapp.querysets import (
    ApiKeyQuerySet,
    DeliveryQuerySet,
    NodeQuerySet,
    OperationQuerySet,
    QueueQuerySet,
    RouteQuerySet,
    SubscriptionQuerySet,
    TaskQuerySet,
    WorkerSessionQuerySet,
)

NAME_LENGTH = 200

_live = Q(state__in=[str(state) for state in LIVE_STATES])
_terminal = Q(state__in=[str(state) for state in TERMINAL_STATES])
_assigned = Q(state=str(TaskState.ASSIGNED))
_pending = Q(state=str(TaskState.PENDING))
_owed = Q(state=str(DeliveryState.PENDING))
_due = Q(state=str(TaskState.PENDING), delayed_until__isnull=True)
_ready = _due & Q(held_back=False)
_keyed = Q(concurrency_key__isnull=False)


def new_id() -> UUID:
    """A UUIDv7: ids made by one process sort in the order in which they were made."""
    return uuid7()


def _choices(states: type[StrEnum]) -> list[tuple[str, str]]:
    return [(str(state), str(state)) for state in states]


class Queue(models.Model):
    """All tasks of one name: whether it is paused, how many may be assigned at a time, of all and of one key, and
    the defaults for what is submitted to it."""

    name = models.CharField(max_length=NAME_LENGTH, primary_key=True)
    paused = models.BooleanField(default=False)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    paused_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, default="")
    timeout_seconds = models.FloatField(null=True, blank=True)
    max_attempts = models.PositiveIntegerField(null=True, blank=True)
    spill_after_seconds = models.FloatField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    concurrency_per_key = models.PositiveIntegerField(null=True, blank=True)

    objects = QueueQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """A distinct (name, attrs) pair. Its id is a digest of the pair, so that it is known without a query."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    attrs = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    objects = RouteQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["name"], name="route_name"),
            models.Index(fields=["created_at"], name="route_created"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.attrs}"


class ApiKey(models.Model):
    """A credential. Only its digest is kept; the key itself is shown once."""

    class Role(models.TextChoices):
        PRODUCER = "producer"
        WORKER = "worker"
        OPERATOR = "operator"

    name = models.CharField(max_length=200)
    role = models.CharField(max_length=20, choices=Role.choices)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    task_globs = models.JSONField(default=list, blank=True)
    bounds = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def reach(self) -> Reach:
        return Reach.of(self.task_globs, self.bounds)


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
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200, blank=True, default="")
    state = models.CharField(max_length=10, choices=_choices(SessionState), default=str(SessionState.ONLINE))
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

    objects = WorkerSessionQuerySet.as_manager()

    class Meta:
        verbose_name = "worker session"
        indexes = [
            models.Index(fields=["node"], name="session_live", condition=Q(gone_at__isnull=True)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state=str(SessionState.GONE), gone_at__isnull=False)
                | (~Q(state=str(SessionState.GONE)) & Q(gone_at__isnull=True)),
                name="session_gone_at_iff_gone",
            ),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)


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


class Task(models.Model):
    """One piece of work. `data` and `result` are JSON texts, which nobody here reads.

    A pending task with `delayed_until` is not ready; `maintenance` clears the column when the time comes,
    so that finding ready tasks never steps over delayed ones. Nor is one that is `held_back`: its concurrency key
    has no room, or others of the key come first (`lifecycle.limits`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    route = models.ForeignKey(Route, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="tasks")
    data = models.TextField(default="null")
    state = models.CharField(max_length=10, choices=_choices(TaskState), default=str(TaskState.PENDING))
    reason = models.CharField(max_length=10, choices=_choices(Outcome), blank=True, default="")
    result = models.TextField(null=True)  # noqa: DJ001 - a result may be the JSON text "null", or none at all
    error = models.TextField(blank=True, default="")
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
    """An ended assignment of a task. A plain first `done` is not stored: the task's own row says it all."""

    task = models.ForeignKey(Task, models.CASCADE, db_constraint=False, related_name="attempts")
    number = models.PositiveIntegerField()
    worker = models.ForeignKey(
        WorkerSession, models.DO_NOTHING, db_constraint=False, related_name="attempts", null=True
    )
    outcome = models.CharField(max_length=10, choices=_choices(Outcome))
    assigned_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    error = models.TextField(blank=True, default="")
    details = models.TextField(default="null")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="attempt_number_once_a_task")]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.outcome}"


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
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    action = models.CharField(max_length=10, choices=_choices(Action))
    state = models.CharField(max_length=10, choices=_choices(OperationState), default=str(OperationState.RUNNING))
    filter = models.JSONField()
    names = models.JSONField(null=True)
    tasks_of = models.ForeignKey(
        ApiKey, models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="operations"
    )
    asked_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    counted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    position = models.UUIDField(null=True)
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
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.id}"


class Delivery(models.Model):
    """A callback that is owed for an end of a task, until it is delivered or given up. Its id is the webhook-id.

    `ended_as` is what a retry would change of the task, as JSON; it is let go of with the last attempt. `host` is
    kept beside the URL so that those of one host, which may hang, are told from the others by an index.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    task = models.ForeignKey(Task, models.CASCADE, db_constraint=False, related_name="deliveries")
    host = models.CharField(max_length=255)
    state = models.CharField(max_length=10, choices=_choices(DeliveryState), default=str(DeliveryState.PENDING))
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

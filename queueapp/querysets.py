"""Selection: chainable questions about the rows, shared by dispatcher, API, admin and commands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import models
from django.db.models import Count, Exists, OuterRef, Value

from queueapp.database import ArrayHas, Literal, ObjectHas
from queueapp.domain.states import (
    LIVE_STATES,
    TERMINAL_STATES,
    UNSUCCESSFUL_STATES,
    DeliveryState,
    OperationState,
    SessionState,
    TaskState,
)

if TYPE_CHECKING:
    from queueapp import models as rows


class TaskQuerySet(models.QuerySet["rows.Task"]):
    def pending(self) -> TaskQuerySet:
        return self.filter(state=Literal(TaskState.PENDING))

    def ready(self) -> TaskQuerySet:
        """Pending, not delayed and not held back: what a worker could take now."""
        return self.pending().filter(delayed_until__isnull=True, held_back=False)

    def delayed(self) -> TaskQuerySet:
        return self.pending().filter(delayed_until__isnull=False)

    def held_back(self) -> TaskQuerySet:
        """Pending and due, but others of their concurrency key come first."""
        return self.pending().filter(delayed_until__isnull=True, held_back=True, concurrency_key__isnull=False)

    def assigned(self) -> TaskQuerySet:
        return self.filter(state=Literal(TaskState.ASSIGNED), worker__isnull=False)

    def live(self) -> TaskQuerySet:
        return self.filter(state__in=[Literal(state) for state in LIVE_STATES])

    def parts_of_pending(self) -> list[TaskQuerySet]:
        """All that are pending, in parts for each of which there is a partial index."""
        return [self.ready(), self.delayed(), self.held_back()]

    def parts_of_live(self) -> list[TaskQuerySet]:
        """The same of all that are live."""
        return [*self.parts_of_pending(), self.assigned()]

    def terminal(self) -> TaskQuerySet:
        return self.filter(state__in=[Literal(state) for state in TERMINAL_STATES])

    def unsuccessful(self) -> TaskQuerySet:
        """Failed, cancelled or expired."""
        return self.filter(state__in=[Literal(state) for state in UNSUCCESSFUL_STATES])

    def held_by(self, sessions: Iterable[UUID]) -> TaskQuerySet:
        return self.filter(worker__in=list(sessions))

    def overdue(self, now: datetime) -> TaskQuerySet:
        return self.filter(deadline__isnull=False, deadline__lte=now)

    def expired_by(self, now: datetime) -> TaskQuerySet:
        return self.pending().filter(expires_at__isnull=False, expires_at__lte=now)

    def due(self, now: datetime) -> TaskQuerySet:
        """Delayed ones whose time has come."""
        return self.filter(delayed_until__isnull=False, delayed_until__lte=now)

    def with_attribute(self, criterion: str, value: str) -> TaskQuerySet:
        return self.filter(ObjectHas("route__attrs", Value(criterion), Value(value)))

    def tagged(self, tag: str) -> TaskQuerySet:
        return self.filter(ArrayHas("tags", Value(tag)))

    def failed_in(self, error_group: UUID | None) -> TaskQuerySet:
        """Those that have failed with an error of that group; None: before errors were grouped."""
        failed = self.filter(state=Literal(TaskState.FAILED))
        if error_group is None:
            return failed.filter(error_group__isnull=True)
        return failed.filter(error_group=error_group)

    def visible_to(self, key: rows.ApiKey | None) -> TaskQuerySet:
        """A producer key reads its own tasks only; operators and admin users (None) read all."""
        return self if _reads_all(key) else self.filter(submitted_by=key)

    def outstanding_by_session(self) -> dict[UUID, int]:
        """How many tasks each session holds, counted from the rows: nothing that could drift."""
        held = self.filter(worker__isnull=False).order_by().values_list("worker_id")
        return {session_id: count for session_id, count in held.annotate(Count("id")) if session_id}

    def counts_by_name_and_state(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for name, state, count in self.order_by().values_list("name", "state").annotate(Count("id")):
            counts.setdefault(name, {})[state] = count
        return counts


class WorkerSessionQuerySet(models.QuerySet["rows.WorkerSession"]):
    def online(self) -> WorkerSessionQuerySet:
        """Takes part in choices."""
        return self.filter(gone_at__isnull=True, state=str(SessionState.ONLINE))

    def attached(self) -> WorkerSessionQuerySet:
        """Connected: online or draining."""
        return self.filter(gone_at__isnull=True)

    def orphaned(self) -> WorkerSessionQuerySet:
        """Of server processes that have ended."""
        return self.attached().filter(node__stopped_at__isnull=False)

    def resumable(self) -> WorkerSessionQuerySet:
        """Drained by an operator, of which the worker does not know."""
        return self.filter(gone_at__isnull=True, state=str(SessionState.DRAINING), leaving=False, v1=False)

    def with_outstanding(self) -> WorkerSessionQuerySet:
        """Adds `outstanding`, counted from the tasks' rows: nothing that could drift."""
        return self.annotate(outstanding=Count("held_tasks"))


class NodeQuerySet(models.QuerySet["rows.Node"]):
    def running(self) -> NodeQuerySet:
        return self.filter(stopped_at__isnull=True)

    def dead(self, now: datetime) -> NodeQuerySet:
        return self.running().filter(lease_until__lt=now)


class RouteQuerySet(models.QuerySet["rows.Route"]):
    def with_ready_tasks(self) -> RouteQuerySet:
        from queueapp.models import Task  # the models are made of these querysets

        return self.filter(Exists(Task.objects.ready().filter(route=OuterRef("pk"))))


class QueueQuerySet(models.QuerySet["rows.Queue"]):
    def paused(self) -> QueueQuerySet:
        return self.filter(paused=True)


class ApiKeyQuerySet(models.QuerySet["rows.ApiKey"]):
    def usable(self) -> ApiKeyQuerySet:
        return self.filter(revoked_at__isnull=True)


class OperationQuerySet(models.QuerySet["rows.Operation"]):
    def running(self) -> OperationQuerySet:
        return self.filter(state=Literal(OperationState.RUNNING))

    def visible_to(self, key: rows.ApiKey | None) -> OperationQuerySet:
        """A producer key sees its own; operators and admin users (None) see all."""
        return self if _reads_all(key) else self.filter(tasks_of=key)


class DeliveryQuerySet(models.QuerySet["rows.Delivery"]):
    def pending(self) -> DeliveryQuerySet:
        """Owed."""
        return self.filter(state=Literal(DeliveryState.PENDING))

    def delivered(self) -> DeliveryQuerySet:
        return self.filter(state=Literal(DeliveryState.DELIVERED))

    def given_up(self) -> DeliveryQuerySet:
        return self.filter(state=Literal(DeliveryState.FAILED))


class SubscriptionQuerySet(models.QuerySet["rows.Subscription"]):
    def of_attached_sessions(self) -> SubscriptionQuerySet:
        return self.filter(session__gone_at__isnull=True)


def is_visible_to(task: rows.Task, key: rows.ApiKey | None) -> bool:
    """Whether the task is one of those that are `visible_to` the key."""
    return _reads_all(key) or (key is not None and task.submitted_by_id == key.pk)


def _reads_all(key: rows.ApiKey | None) -> bool:
    return key is None or key.role == "operator"

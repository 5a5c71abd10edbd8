"""The states of tasks, with the edges between them, of worker sessions and of operations; outcomes of attempts."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    PENDING = "pending"
    ASSIGNED = "assigned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    ERROR = "error"
    LOST = "lost"
    TIMEOUT = "timeout"
    RELEASED = "released"
    CANCELLED = "cancelled"


class SessionState(StrEnum):
    ONLINE = "online"
    DRAINING = "draining"
    GONE = "gone"


class OperationState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


class Action(StrEnum):
    """What an operation does to each of its tasks."""

    CANCEL = "cancel"
    RETRY = "retry"
    PRIORITISE = "prioritise"


class DeliveryState(StrEnum):
    """Of a callback: `failed` when it was given up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


LIVE_STATES = (TaskState.PENDING, TaskState.ASSIGNED)
TERMINAL_STATES = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED)

CHANGEABLE = {Action.CANCEL: LIVE_STATES, Action.RETRY: TERMINAL_STATES, Action.PRIORITISE: LIVE_STATES}
"""In which states a task is changed by the action."""

COUNTED_OUTCOMES = frozenset({Outcome.DONE, Outcome.ERROR, Outcome.LOST, Outcome.TIMEOUT})
"""Outcomes that use up one of `max_attempts`; `released` and `cancelled` cost nothing."""

RETRYABLE_OUTCOMES = frozenset({Outcome.ERROR, Outcome.LOST, Outcome.TIMEOUT})
"""Outcomes that `retry_on` may name. `released` always leads to another attempt."""

EDGES: dict[TaskState, dict[TaskState, str]] = {
    TaskState.PENDING: {
        TaskState.ASSIGNED: "a worker was chosen",
        TaskState.CANCELLED: "cancelled by a producer or an operator",
        TaskState.EXPIRED: "expires_at passed",
    },
    TaskState.ASSIGNED: {
        TaskState.SUCCEEDED: "result done",
        TaskState.FAILED: "an outcome that is not retried, or no attempts left",
        TaskState.PENDING: "released, or an outcome that is retried",
        TaskState.CANCELLED: "cancelled by a producer or an operator",
    },
    TaskState.SUCCEEDED: {TaskState.PENDING: "explicit retry"},
    TaskState.FAILED: {TaskState.PENDING: "explicit retry"},
    TaskState.CANCELLED: {TaskState.PENDING: "explicit retry"},
    TaskState.EXPIRED: {TaskState.PENDING: "explicit retry"},
}
"""Every permitted change of state, with its cause. README and tests are checked against it."""

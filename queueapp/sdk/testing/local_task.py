"""A task of the local queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from queueapp.domain.payloads import json_text
from queueapp.domain.retries import Again, RetryPolicy, after_attempt
from queueapp.domain.states import Outcome, TaskState
from queueapp.protocol import Result, TaskFrame


@dataclass(slots=True)
class LocalTask:
    """`attempts`: how each that has ended did so, in order."""

    id: str
    name: str
    attrs: Mapping[str, str]
    data: Any
    policy: RetryPolicy
    timeout: float
    priority: int = 0
    state: TaskState = TaskState.PENDING
    result: Any = None
    error: str = ""
    progress: tuple[float, str] | None = None
    attempts: list[str] = field(default_factory=list)
    used: int = 0

    @property
    def attempt(self) -> int:
        """The number of the current attempt, or of the next."""
        return len(self.attempts) + 1

    @property
    def is_terminal(self) -> bool:
        return self.state not in (TaskState.PENDING, TaskState.ASSIGNED)

    def copy(self) -> LocalTask:
        return replace(self, attempts=list(self.attempts))

    def frame(self, deadline: str) -> TaskFrame:
        return TaskFrame(
            task_id=self.id,
            task_name=self.name,
            attrs=msgspec.Raw(json_text(dict(self.attrs)).encode()),
            data=msgspec.Raw(json_text(self.data).encode()),
            attempt=self.attempt,
            timeout=self.timeout,
            deadline=deadline,
            priority=self.priority,
        )

    def assign(self) -> None:
        self.state = TaskState.ASSIGNED

    def succeed(self, result: Result) -> None:
        self.attempts.append(str(Outcome.DONE))
        self.used += 1
        self.state, self.result, self.error = TaskState.SUCCEEDED, msgspec.json.decode(result.payload), ""

    def cancel(self) -> None:
        if self.state is TaskState.ASSIGNED:
            self.attempts.append(str(Outcome.CANCELLED))
        self.state = TaskState.CANCELLED

    def end_attempt(self, outcome: Outcome, result: Result | None = None) -> float:
        """The seconds until it may be assigned again; what its policy says where that may not be is in `state`."""
        self.error = result.error if result is not None else self.error
        decision = after_attempt(
            outcome,
            self.used,
            self.policy,
            retry=result.retry if result is not None else None,
            retry_after=result.retry_after if result is not None else None,
        )
        self.attempts.append(str(outcome))
        self.used = decision.attempts_used
        self.state = TaskState.PENDING if isinstance(decision, Again) else TaskState.FAILED
        return decision.delay_seconds if isinstance(decision, Again) else 0.0

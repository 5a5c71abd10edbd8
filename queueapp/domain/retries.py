"""What happens to a task when an attempt has ended (contract, section 3)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from queueapp.domain.states import COUNTED_OUTCOMES, Outcome


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait before another attempt after an error: `initial * factor**n`, at most `max`."""

    initial: float = 1.0
    factor: float = 2.0
    max: float = 600.0

    def delay_seconds(self, failures: int, jitter: float) -> float:
        """The wait after the `failures`-th failure (from 1). `jitter` in 0..1 picks from the upper half
        of the nominal delay, so that tasks which failed together do not return together."""
        try:
            nominal = min(self.max, self.initial * self.factor ** max(0, failures - 1))
        except OverflowError:
            nominal = self.max if self.initial else 0.0
        return nominal * (0.5 + jitter / 2)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    max_attempts: int
    retry_on: Collection[str]
    backoff: Backoff


@dataclass(frozen=True, slots=True)
class Again:
    """The task is pending again, to be assigned after `delay_seconds`."""

    delay_seconds: float
    attempts_used: int


@dataclass(frozen=True, slots=True)
class Final:
    """The task is terminal: `reason` is the last attempt's outcome."""

    reason: Outcome
    attempts_used: int


def after_attempt(
    outcome: Outcome,
    attempts_used: int,
    policy: RetryPolicy,
    *,
    retry: bool | None = None,
    retry_after: float | None = None,
    jitter: float = 1.0,
) -> Again | Final:
    """Decide on a task whose attempt ended badly.

    `attempts_used` counts the attempts that cost something before this one. `retry` is the worker's own
    word on an error; it overrides `retry_on` for this once, but never the number of attempts. `retry_after`:
    the seconds that it asks for in place of the backoff.
    """
    used = attempts_used + (outcome in COUNTED_OUTCOMES)
    match outcome:
        case Outcome.RELEASED:
            return Again(0.0, used)
        case Outcome.LOST | Outcome.TIMEOUT:
            wanted, delay = outcome in policy.retry_on, 0.0
        case Outcome.ERROR:
            wanted = outcome in policy.retry_on if retry is None else retry
            delay = policy.backoff.delay_seconds(used, jitter) if retry_after is None else retry_after
        case Outcome.DONE | Outcome.CANCELLED:
            raise ValueError(f"An attempt that ended as {outcome} is not retried.")
    if wanted and used < policy.max_attempts:
        return Again(delay, used)
    return Final(outcome, used)

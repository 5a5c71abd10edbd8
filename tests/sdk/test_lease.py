"""By its own clock a worker knows when others may have what it holds."""

from __future__ import annotations

import pytest

from queueapp.sdk import Cancelled, Task
from queueapp.sdk.lease import Lease
from queueapp.sdk.testing.performance import _frame, _Signs


class Fixed:
    """A clock that stands still until it is put forward."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def leased(heartbeat_seconds: float = 10.0) -> tuple[Fixed, Lease, Task]:
    clock = Fixed()
    lease = Lease(clock, heartbeat_seconds)
    return clock, lease, Task(_frame("t", None, {}, 1, 300), _Signs(None), lease)


def test_a_task_is_lost_when_nothing_was_heard_for_nearly_a_heartbeat() -> None:
    clock, _, task = leased()
    clock.seconds += 8.9
    assert (task.cancelled, task.reason) == (False, None)
    clock.seconds += 0.2
    assert (task.cancelled, task.reason) == (True, "lost")


def test_a_handler_that_asks_is_ended_by_that() -> None:
    clock, _, task = leased()
    task.check()
    clock.seconds += 10
    with pytest.raises(Cancelled, match="lost"):
        task.check()


def test_a_sign_of_life_counts_from_when_it_was_asked_for() -> None:
    clock, lease, task = leased()
    clock.seconds += 8
    lease.renew(at=1005.0)
    clock.seconds += 5
    assert not task.cancelled
    clock.seconds += 2
    assert task.cancelled


def test_once_it_was_seen_to_be_over_it_is_though_a_sign_of_life_comes_late() -> None:
    clock, lease, task = leased()
    clock.seconds += 9.5
    assert task.cancelled
    lease.renew(at=clock.seconds)
    assert task.cancelled


def test_it_is_as_long_as_the_server_s_heartbeat_asks_for() -> None:
    clock, lease, task = leased()
    lease.last(heartbeat_seconds=100)
    clock.seconds += 89
    assert not task.cancelled


def test_it_ends_with_the_connection() -> None:
    _, lease, task = leased()
    lease.end()
    assert task.reason == "lost"

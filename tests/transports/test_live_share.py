"""What is watched is made less often where that takes long: viewers cost little of a large fleet's server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from admin_rows import Stage
from django.db import OperationalError

from queueapp import live, overview, snapshots
from queueapp.subjects import Subject

pytestmark = pytest.mark.django_db


class Clock:
    """The time, and how much of a core this thread has used."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.used = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    for module in (live, snapshots):
        monkeypatch.setattr(module, "monotonic", lambda: clock.time)
    monkeypatch.setattr(snapshots, "thread_time", lambda: clock.used)
    live.forget()
    yield clock
    live.forget()


@pytest.mark.parametrize(("seconds", "again_after"), [(0.001, 10.0), (1.0, 50.0)])
def test_to_explain_what_waits_takes_no_more_than_its_share(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float, again_after: float
) -> None:
    explained: list[float] = []
    problems = overview.problems

    def explain(*arguments: object) -> object:
        explained.append(clock.time)
        clock.used += seconds
        return problems(*arguments)

    monkeypatch.setattr(overview, "problems", explain)
    Stage.started()
    for second in range(60):
        clock.time = 1_000.0 + 2 * second
        live.read(Subject())
    assert explained[:2] == [1_000.0, 1_000.0 + again_after]


@pytest.mark.parametrize(("takes", "again_after"), [(0.0, 1.0), (0.05, 1.0), (0.5, 10.0), (60.0, 90.0)])
def test_a_snapshot_takes_no_more_than_its_share(clock: Clock, takes: float, again_after: float) -> None:
    """Who asks a second later, and less than that after it was made, is told a new one all the same."""
    made: list[float] = []

    def make() -> str:
        made.append(clock.time)
        clock.time += takes
        return str(len(made))

    kept = live.Kept(make, live.FRESH_SECONDS, live.SHARE)
    second = 0
    while len(made) < 2:
        clock.time = max(clock.time, 1_000.0 + second)
        kept.read()
        second += 1
    assert made == [1_000.0, 1_000.0 + again_after]


@pytest.mark.parametrize(("takes", "again_after"), [(0.0, 1.0), (0.5, 10.0)])
def test_one_that_fails_takes_no_more_than_its_share(clock: Clock, takes: float, again_after: float) -> None:
    """A database that answers slowly and then not at all is the last that all who look should ask anew."""
    made: list[float] = []

    def make() -> str:
        made.append(clock.time)
        clock.time += takes
        raise OperationalError("cut off")

    kept = live.Kept(make, live.FRESH_SECONDS, live.SHARE)
    second = 0
    while len(made) < 2:
        clock.time = max(clock.time, 1_000.0 + second)
        for _ in range(2):
            with pytest.raises(OperationalError, match="cut off"):
                kept.read()
        second += 1
    assert made == [1_000.0, 1_000.0 + again_after]


def test_one_that_failed_is_told_no_longer_than_until_the_next(clock: Clock) -> None:
    answers = iter([OperationalError("away"), "back"])

    def make() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = live.Kept(make, live.FRESH_SECONDS, live.SHARE)
    with pytest.raises(OperationalError):
        kept.read()
    clock.time += live.SNAPSHOT_SECONDS
    assert [kept.read(), kept.read()] == ["back", "back"]

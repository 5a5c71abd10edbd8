"""The thread that carries operations on."""

from __future__ import annotations

from threading import Event

import pytest

from queueapp import background, operations

PATIENCE_SECONDS = 60


def test_is_started_again_after_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw must not leave a process in which no operation is carried on any more."""
    asked: list[Event] = [Event(), Event()]
    turns = iter(asked)

    def fail() -> list[object]:
        next(turns).set()
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(operations, "running", fail)
    for event in asked:
        background.wake()
        assert event.wait(PATIENCE_SECONDS)

"""What is replaced under the product: clocks, identifiers, names of processes, sockets, the doorbells' layer."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings

from queueapp.conf import Config
from queueapp.doorbell import Listener
from tests.simulation.loop import Loop, Process, current_process

START = datetime(2030, 1, 31, 12, tzinfo=UTC)
CONFIG = Config(lease_seconds=2.2, registration_timeout_seconds=4.0, pass_size=5)
"""As by default, but for what would take many virtual seconds; a pass that is soon full."""


class Clock:
    """`time`, `timezone` and the database's clock."""

    def __init__(self, loop: Loop) -> None:
        self.monotonic = loop.time

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())


class Identifiers:
    """UUIDs of version 7 and 4 whose random part is drawn from the seed."""

    def __init__(self, clock: Clock, random: Random) -> None:
        self._clock, self._random = clock, random
        self._last = 0

    def uuid7(self) -> UUID:
        milliseconds = int(self._clock.now().timestamp() * 1000)
        number = (milliseconds << 80) | (7 << 76) | (2 << 62) | self._random.getrandbits(60)
        # Those of one process sort in the order in which they were made.
        self._last = max(number, self._last + 1)
        return UUID(int=self._last)

    def uuid4(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


class Listeners:
    """`doorbell`'s list of listeners: each process has its own."""

    def __init__(self) -> None:
        self._lists: dict[Process | None, list[Listener]] = defaultdict(list)

    def append(self, listener: Listener) -> None:
        self._lists[current_process()].append(listener)

    def remove(self, listener: Listener) -> None:
        self._lists[current_process()].remove(listener)

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._lists[current_process()])


class Machines:
    """`socket.gethostname`, `os.getpid` and `os.kill(pid, 0)` of the process that asks."""

    def __init__(self) -> None:
        self._of: dict[Process | None, tuple[str, int]] = {}

    def place(self, process: Process, host: str, pid: int) -> None:
        self._of[process] = (host, pid)

    def gethostname(self) -> str:
        return self._of[current_process()][0]

    def getpid(self) -> int:
        return self._of[current_process()][1]

    def kill(self, pid: int, signal: int) -> None:
        assert signal == 0
        place = (self.gethostname(), pid)
        if not any(process is not None and process.is_alive for process, at in self._of.items() if at == place):
            raise ProcessLookupError


@contextmanager
def replaced(
    loop: Loop,
    seeded: Random,
    machines: Machines,
    layer: object,
    current_hub: Callable[[], Any],
    connect: Callable[..., Any],
) -> Iterator[None]:
    clock = Clock(loop)
    identifiers = Identifiers(clock, seeded)
    state = random.getstate()
    random.seed(seeded.random())
    with pytest.MonkeyPatch.context() as patch, override_settings(WORKQUEUE=CONFIG):
        for target, substitute in {
            "django.utils.timezone.now": clock.now,
            "queueapp.hub.time": clock,
            "queueapp.consumers.time": clock,
            "queueapp.lifecycle.activity.monotonic": clock.monotonic,
            "queueapp.retention.monotonic": clock.monotonic,
            "queueapp.deadlines.monotonic": clock.monotonic,
            "queueapp.models.fields.uuid7": identifiers.uuid7,
            "queueapp.relay.uuid4": identifiers.uuid4,
            "queueapp.relay.get_channel_layer": lambda: layer,
            "queueapp.doorbell._listeners": Listeners(),
            "queueapp.sessions.socket": machines,
            "queueapp.sessions.os": machines,
            "queueapp.hub.current_hub": current_hub,
            "queueapp.sdk.connection.connect": connect,
            "asgiref.sync.sync_to_async.__call__": _without_hop,
        }.items():
            patch.setattr(target, substitute)
        try:
            yield
        finally:
            random.setstate(state)


async def _without_hop(self: Any, *args: Any, **kwargs: Any) -> Any:
    """asgiref's own thread knows nothing of this loop; what Channels has it do is to look at a connection."""
    return self.func(*args, **kwargs)

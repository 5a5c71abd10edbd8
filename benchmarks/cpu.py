"""CPU time of processes, from /proc: steadier than wall time on a machine that others use too."""

from __future__ import annotations

from contextlib import suppress

import psutil


def cpu_seconds(pid: int) -> float:
    """Of a process and all its descendants, those that have ended and were waited for included."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


class Meter:
    """What named processes use from now on."""

    def __init__(self, **pids: int | None) -> None:
        self._pids = {name: pid for name, pid in pids.items() if pid is not None}
        self._before = self._now()

    def used_us(self, tasks: int) -> dict[str, float]:
        """Microseconds a task, by name."""
        now = self._now()
        return {name: (now[name] - before) / tasks * 1e6 for name, before in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}

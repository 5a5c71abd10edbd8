"""Where the server's time goes in the headline case, by the package or module that a sample was in."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.site import TITLES

TITLE = "Profile: who had the interpreter (the GIL); 50 workers, single frames"

WORKERS = 50
WARM_UP_TASKS = 500
SAMPLES_PER_SECOND = 200
SMALLEST_SHARE = 1.0
"""Percent; what is less is summed up in one figure."""

_FRAME = re.compile(r"^(?P<function>.+) \((?P<path>.+?)(:\d+)?\)$")
_PACKAGE = re.compile(r"/site-packages/(?P<parts>.+?)\.(py|pyx|so)\b")
_OWN = re.compile(r"/(?P<parts>(queueapp|workqueue_project)/.+?)\.py\b")


def measure(bench: Bench) -> Iterator[Figure]:
    for database in bench.databases:
        with bench.site.queue(database) as queue:
            queue.attach(WORKERS)
            queue.measure(WARM_UP_TASKS)
            samples = bench.site.directory / f"profile-{database}"
            with _Sampled(queue.servers[0].pid, samples):
                queue.measure(bench.tasks)
        yield from _figures(TITLES[database], samples.read_text())


class _Sampled:
    """py-spy beside a process, for as long as the block lasts."""

    def __init__(self, pid: int, output: Path) -> None:
        program = str(Path(sys.executable).parent / "py-spy")
        options = ["--full-filenames", "--threads", "--gil", "--format=raw", f"--rate={SAMPLES_PER_SECOND}"]
        self._command = [program, "record", f"--pid={pid}", f"--output={output}", *options]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it says so when it has begun

    def __exit__(self, *exception: object) -> None:
        self._process.send_signal(signal.SIGINT)
        said, _ = self._process.communicate(timeout=60)
        if self._process.returncode:
            raise RuntimeError(f"py-spy failed, which needs to be allowed to trace processes: {said}")


def _figures(title: str, stacks: str) -> Iterator[Figure]:
    parts: Counter[str] = Counter()
    on_hub: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, count = line.rsplit(" ", 1)
        thread, *frames = stack.split(";")
        part = _part_of(frames)
        parts[part] += int(count)
        if "hub-" in thread:
            on_hub[part] += int(count)
    total = parts.total()
    rest = 100.0
    for part, number in parts.most_common():
        share = number / total * 100
        if share < SMALLEST_SHARE:
            break
        rest -= share
        note = f"{on_hub[part] / number:.0%} of it on the threads of the passes"
        yield Figure(f"{title}: {part}", share, "%", note=note)
    yield Figure(f"{title}: all others", rest, "%", note=f"{total:,} samples")


def _part_of(frames: list[str]) -> str:
    """The innermost frame that is not of the standard library says whose work it is."""
    for frame in reversed(frames):
        match = _FRAME.match(frame)
        path = match["path"] if match else frame
        if own := _OWN.search(path):
            return own["parts"]
        if package := _PACKAGE.search(path):
            return "/".join(package["parts"].split("/")[:2])
    return "the interpreter and the standard library alone"

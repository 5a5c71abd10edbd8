"""Other queues, each in its best simple configuration on the same machine, run as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.cpu import Meter
from benchmarks.measurement import Measurement
from benchmarks.site import ROOT, Site, leashed

WARM_UP_TASKS = 100

WORKERS = {
    "celery": """celery --app=benchmarks.peers.celery_tasks worker --pool=prefork --concurrency=2
        --loglevel=warning --without-gossip --without-mingle --without-heartbeat""",
    "dramatiq": "dramatiq benchmarks.peers.dramatiq_tasks --processes=2 --threads=8",
    "procrastinate": "procrastinate --app=benchmarks.peers.procrastinate_tasks.app worker --concurrency=10",
}
"""Their command lines, after `python -m`."""


class Peer:
    """A peer whose workers run. Its producer is started for each measurement, off the clock."""

    def __init__(self, name: str, environment: dict[str, str], worker_pid: int, store: dict[str, int]) -> None:
        self.name = name
        self._environment = environment
        self._worker_pid = worker_pid
        self._store = store

    def ask(self, *arguments: str) -> dict[str, Any]:
        return _program(self.name, self._environment, *arguments)

    def measure(self, tasks: int) -> Measurement:
        meter = Meter(worker=self._worker_pid, **self._store)
        answer = self.ask("submit", str(tasks))
        return Measurement(tasks, answer["seconds"], meter.used_us(tasks))


@contextmanager
def running(name: str, site: Site) -> Iterator[Peer]:
    """Its store, its workers, all warm."""
    if name == "procrastinate":
        with site.empty_database() as url:
            environment = {**os.environ, "BENCH_DATABASE": url}
            _program(name, environment, "prepare")
            with _with_workers(name, site, environment, {"database": site.postgres_pid}) as peer:
                yield peer
    else:
        environment = {**os.environ, "BENCH_REDIS": str(site.redis.directory / "redis.sock")}
        with _with_workers(name, site, environment, {"redis": site.redis_pid}) as peer:
            yield peer


@contextmanager
def _with_workers(name: str, site: Site, environment: dict[str, str], store: dict[str, int]) -> Iterator[Peer]:
    log = site.directory / f"{name}.log"
    command = [sys.executable, "-m", *WORKERS[name].split()]
    with log.open("ab") as said, leashed(command, env=environment, stdout=said, stderr=said) as process:
        peer = Peer(name, environment, process.pid, store)
        try:
            peer.measure(WARM_UP_TASKS)
            yield peer
        except RuntimeError:
            print(log.read_text(errors="replace"), file=sys.stderr)
            raise


def _program(name: str, environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    command: Sequence[str] = [sys.executable, "-m", f"benchmarks.peers.{name}_tasks", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr}")
    return json.loads(done.stdout)

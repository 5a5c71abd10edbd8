"""What the storm goes over: PostgreSQL, Redis, three server processes, ten worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance.processes import PATIENCE_SECONDS, ROOT, Server, started_on
from tests.servers import Leash, PostgresServer, RedisServer

SERVERS = 3
WORKERS = 10
SPECIALISTS = 4
"""Workers that take tasks of one colour only, and are preferred for it."""
COLOURS = ("red", "green", "blue")


class WorkerProcess:
    """One worker, always attached to the same server's address. Its journal is kept over its restarts."""

    def __init__(self, directory: Path, number: int, server: Server) -> None:
        self.name = f"worker-{number}"
        self.journal = directory / f"{self.name}.journal"
        self.log = directory / f"{self.name}.log"
        self._server = server
        self._colours = COLOURS[:1] if number < SPECIALISTS else ()
        self._leash = Leash()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.worker_program"]
        arguments = [f"ws://127.0.0.1:{self._server.port}", self.name, str(self.journal), *self._colours]
        environment = {**os.environ, "WORKQUEUE_TOKEN": self._server.keys["worker"], "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        self._leash.hold(self.process.pid)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def close(self) -> None:
        self.kill()
        self._leash.close()


class Site:
    """Everything started; `close` is the stack's."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer())
        self.servers = started_on(
            stack,
            directory,
            SERVERS,
            DATABASE_URL=self.postgres.url,
            REDIS_URL=self.redis.url,
            WORKQUEUE_DRAIN_GRACE_SECONDS="3",
        )
        self.workers: list[WorkerProcess] = []
        for number in range(WORKERS):
            worker = WorkerProcess(directory, number, self.servers[number % SERVERS])
            stack.callback(worker.close)
            worker.start()
            self.workers.append(worker)

"""What the sections measure on: databases, Redis, server processes and the load, all real and all temporary."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self
from urllib.request import urlopen
from uuid import uuid4

import msgspec

from benchmarks.cpu import Meter
from benchmarks.measurement import Measurement
from tests.servers import Leash, PostgresServer, RedisServer, database_name, fresh_database

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 60
PORTS = (20_000, 32_000)
BULK = 1000
"""Tasks in one submission."""

Database = Literal["postgresql", "sqlite"]
TITLES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
Program = Literal["serve", "daphne"]


class Site:
    """PostgreSQL and Redis are started when they are first asked for, and all is gone with the `with` block.

    `python` is the interpreter of the server's own environment.
    """

    def __init__(self, python: str) -> None:
        self.python = python
        self._stack = ExitStack()
        self._keys: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        directory = tempfile.mkdtemp(prefix="workqueue-bench-")
        self._stack.callback(Leash(Path(directory)).close)
        self.directory = Path(directory)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @cached_property
    def postgres(self) -> PostgresServer:
        """Durable: it waits for the disk at each commit."""
        return self._stack.enter_context(PostgresServer(durable=True))

    @cached_property
    def redis(self) -> RedisServer:
        return self._stack.enter_context(RedisServer())

    @property
    def postgres_pid(self) -> int:
        assert self.postgres.process is not None
        return self.postgres.process.pid

    @property
    def redis_pid(self) -> int:
        assert self.redis.process is not None
        return self.redis.process.pid

    @cached_property
    def _template(self) -> str:
        """The name of a migrated database, to be copied."""
        url = self._stack.enter_context(fresh_database(self.postgres.url))
        self.manage({"DATABASE_URL": url}, "migrate", "--verbosity", "0")
        return database_name(url)

    @contextmanager
    def database(self, kind: Database) -> Iterator[str]:
        """The URL of a migrated database that is nobody else's."""
        if kind == "postgresql":
            with fresh_database(self.postgres.url, self._template) as url:
                yield url
        else:
            url = f"sqlite:///{self.directory}/{uuid4().hex}.sqlite3"
            self.manage({"DATABASE_URL": url}, "migrate", "--verbosity", "0")
            yield url

    def empty_database(self) -> Any:
        """As `database("postgresql")`, without tables: for those who bring their own."""
        return fresh_database(self.postgres.url)

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WORKQUEUE_", "DATABASE_URL", "REDIS_URL", "DEBUG", "DJANGO_"))
        }
        return {
            **inherited,
            "SECRET_KEY": "for-benchmarks",
            "WORKQUEUE_DATA_DIR": str(self.directory),
            "LOG_LEVEL": "WARNING",
            **extra,
        }

    def manage(self, environment: Mapping[str, str], *arguments: str) -> str:
        done = subprocess.run(
            [self.python, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment(environment),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {arguments[0]} failed: {done.stderr}")
        return done.stdout.strip()

    @contextmanager
    def queue(self, database: Database, program: Program = "serve") -> Iterator[Queue]:
        """A server with a new database, and a load that is aimed at it."""
        with self.database(database) as url, self.queue_at(url, program) as queue:
            yield queue

    @contextmanager
    def queue_at(self, url: str, program: Program = "serve", processes: int = 0) -> Iterator[Queue]:
        """The same on a database that is there. `processes`: so many, which hear of each other through Redis; 0:
        one, without."""
        environment = {"DATABASE_URL": url}
        if processes:
            environment |= {"REDIS_URL": self.redis.url, "WORKQUEUE_CHANNEL_PREFIX": uuid4().hex}
        keys = self._keys_at(url)
        with ExitStack() as stack:
            servers = [
                stack.enter_context(_running_server(self, program, environment)) for _ in range(processes or 1)
            ]
            load = stack.enter_context(running_load([server.url for server in servers], keys, url))
            yield Queue(servers, load, url, self.postgres_pid if url.startswith("postgres") else None)

    def _keys_at(self, url: str) -> dict[str, str]:
        if url not in self._keys:
            self._keys[url] = {
                role: self.manage({"DATABASE_URL": url}, "create_api_key", role, "--role", role)
                for role in ("producer", "worker")
            }
        return self._keys[url]


class ServerProcess:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.pid = process.pid
        self.url = f"http://127.0.0.1:{port}"


class Queue:
    """The contender: our servers, their database, and the load that drives them."""

    def __init__(
        self, servers: Sequence[ServerProcess], load: LoadProcess, database_url: str, postgres_pid: int | None
    ) -> None:
        self.servers = servers
        self.load = load
        self.database_url = database_url
        self._postgres_pid = postgres_pid

    def attach(self, workers: int, batch: bool = False, names: Sequence[str] = ("bench",)) -> float:
        """Seconds until all of them are online."""
        return self.load.ask("attach", workers=workers, batch=batch, names=names)["seconds"]

    def detach(self) -> None:
        self.load.ask("detach")

    def measure(self, tasks: int, bulk: int = BULK) -> Measurement:
        """Submit so many tasks and finish them with the workers that are attached."""
        return self._measured("run", tasks, bulk=bulk, names=["bench"])

    def submit(self, tasks: int, names: Sequence[str] = ("bench",)) -> None:
        """For later: nobody is attached."""
        self.load.ask("submit", tasks=tasks, bulk=BULK, names=names)

    def work_off(self, tasks: int, workers: int, names: Sequence[str] = ("bench",)) -> Measurement:
        """Attach workers to so many pending tasks; from the first that one of them gets to the last result."""
        return self._measured("work_off", tasks, workers=workers, names=names)

    def _measured(self, verb: str, tasks: int, **arguments: Any) -> Measurement:
        servers = {f"server {number}": server.pid for number, server in enumerate(self.servers)}
        meter = Meter(database=self._postgres_pid, **servers)
        answer = self.load.ask(verb, tasks=tasks, **arguments)
        used = meter.used_us(tasks)
        cpu_us = {
            "server": sum(used.pop(name) for name in servers),
            "load": answer["cpu_seconds"] / tasks * 1e6,
            **used,
        }
        return Measurement(tasks, answer["seconds"], cpu_us, answer.get("first_after_seconds", 0.0))


class LoadProcess:
    """`python -m benchmarks.load`, asked by lines of JSON."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode({"do": verb, **arguments}) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The load ended while it was to {verb}; what it said stands above.")
        return msgspec.json.decode(line)


@contextmanager
def running_load(urls: Sequence[str], keys: Mapping[str, str], database_url: str) -> Iterator[LoadProcess]:
    command = [sys.executable, "-m", "benchmarks.load"]
    with leashed(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        load = LoadProcess(process)
        load.ask(
            "aim",
            urls=urls,
            producer_key=keys["producer"],
            worker_key=keys["worker"],
            database_url=database_url,
        )
        yield load


@contextmanager
def leashed(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block (SIGTERM, and SIGKILL if that does not help), or with this process."""
    process = subprocess.Popen(command, cwd=ROOT, **options)
    leash = Leash()
    leash.hold(process.pid)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        leash.close()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def _running_server(site: Site, program: Program, environment: Mapping[str, str]) -> Iterator[ServerProcess]:
    port = _free_port()
    command = (
        ["manage.py", "serve", "--port", str(port)]
        if program == "serve"
        else ["-m", "daphne", "-v", "0", "-p", str(port), "workqueue_project.asgi:application"]
    )
    log = site.directory / f"server-{port}.log"
    # Those that attached are let go at once: what is measured has ended before.
    own = {**site.environment(environment), "WORKQUEUE_DRAIN_GRACE_SECONDS": "0.1"}
    with log.open("wb") as said, leashed([site.python, *command], env=own, stdout=said, stderr=said) as process:
        _await_answer(process, port, log)
        yield ServerProcess(process, port)


def _free_port() -> int:
    """Below those that the system gives to outgoing connections, of which one could come first."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/healthz", timeout=START_SECONDS):
            return
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError(f"The server did not start: {log.read_text(errors='replace')}")
        time.sleep(0.05)

"""Real processes for the tests: the server as users start it, and workers that speak the wire by hand."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from tests.servers import Leash, database_name, fresh_database

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60
ROLES = ("producer", "worker", "operator")


class Server:
    """`manage.py serve` with a data directory of its own; survives `kill()` and a new `start()`.

    On SQLite and without Redis, if the environment that is given does not say otherwise.
    """

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("WORKQUEUE_", "DATABASE_URL", "REDIS_URL"))
            },
            "WORKQUEUE_DATA_DIR": str(data_dir),
            "SECRET_KEY": "for-tests",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.data_dir = data_dir
        self.log = data_dir / "server.log"
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.keys: dict[str, str] = {}
        self.options: tuple[str, ...] = ()
        """Of `serve`, beside the port."""

    def prepare(self) -> None:
        """Make the database and a key for each role: seconds, which the tests share by copying the result. In one
        process, for most of them go into the start of each."""
        program = (
            "import django, sys; django.setup()\n"
            "from django.core.management import call_command\n"
            "call_command('migrate', verbosity=0)\n"
            "for role in sys.argv[1:]: call_command('create_api_key', f'test-{role}', role=role)\n"
        )
        keys = self._python("-c", program, *ROLES).split()
        self.keys |= zip(ROLES, keys, strict=True)

    def manage(self, *arguments: str) -> str:
        return self._python("manage.py", *arguments)

    def _python(self, *arguments: str) -> str:
        environment = {**self.environment, "DJANGO_SETTINGS_MODULE": "workqueue_project.settings"}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    def start(self) -> None:
        """Returns once it listens; the port stays the same over restarts."""
        command = [sys.executable, "manage.py", "serve", "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=subprocess.PIPE, text=True)
        self._leash = Leash()
        self._leash.hold(self.process.pid)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if line.startswith("Listening on "):
                self.port = int(line.rsplit(":", 1)[1])
                break
        else:
            raise AssertionError("The server did not start: " + "".join(said))
        # What it says from now on must not fill the pipe.
        with self.process.stderr as rest, self.log.open("a") as log:
            self._reader = subprocess.Popen(["cat"], stdin=rest, stdout=log)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE_SECONDS)
        self._leash.close()
        self._reader.wait(PATIENCE_SECONDS)
        return status

    def kill_if_running(self) -> None:
        if self.running:
            self.kill()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def api(self, role: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}/api/v1",
            headers={"Authorization": f"Bearer {self.keys[role]}"},
            timeout=PATIENCE_SECONDS,
            verify=False,  # It is not TLS, and the authorities for it would take 20 ms to read.
        )

    @asynccontextmanager
    async def worker(
        self, query: str = "", token: str | None = "", **options: Any
    ) -> AsyncIterator[ClientConnection]:
        """A worker's socket, as a client of the replaced system opens it. Without a token of its own it comes
        with the worker's key; with None it sends no header."""
        url = f"ws://127.0.0.1:{self.port}/work/queue{query}"
        headers = {} if token is None else {"Authorization": f"Bearer {token or self.keys['worker']}"}
        connecting = websockets.connect(url, additional_headers=headers, open_timeout=PATIENCE_SECONDS, **options)
        async with connecting as socket:
            yield socket

    async def submit(self, *tasks: dict[str, Any]) -> list[str]:
        async with self.api("producer") as api:
            answer = await api.post("/tasks", json=list(tasks))
        assert answer.status_code == 201, answer.text
        return answer.json()["ids"]

    async def task(self, task_id: str, wait: float = 0) -> dict[str, Any]:
        async with self.api("producer") as api:
            answer = await api.get(f"/tasks/{task_id}", params={"wait": wait} if wait else {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def tasks(self, role: str = "producer", **filters: str) -> list[dict[str, Any]]:
        """All that match and the role may see, page by page."""
        found: list[dict[str, Any]] = []
        async with self.api(role) as api:
            page = (await api.get("/tasks", params={**filters, "limit": "500"})).json()
            found += page["results"]
            while page["next"]:
                page = (await api.get(page["next"])).json()
                found += page["results"]
        return found

    async def counts(self, name: str) -> dict[str, int]:
        async with self.api("operator") as api:
            return (await api.get(f"/queues/{name}")).json()["counts"]

    async def workers(self) -> list[dict[str, Any]]:
        async with self.api("operator") as api:
            return (await api.get("/workers")).json()["results"]

    async def until_attached(self, count: int) -> None:
        """That many workers are: a socket is open before its worker is registered."""

        async def are() -> bool:
            return len(await self.workers()) == count

        await eventually(are)


class HoldingWorker:
    """A worker process that takes tasks and ends none."""

    def __init__(self, server: Server, query: str) -> None:
        self._url = f"ws://127.0.0.1:{server.port}/work/queue{query}"
        self._environment = {**os.environ, "WORKQUEUE_TOKEN": server.keys["worker"]}
        self._leash = Leash()

    async def __aenter__(self) -> Self:
        program = Path(__file__).with_name("holding_worker.py")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(program), self._url, env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        self._leash.hold(self._process.pid)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._leash.close()

    async def receive(self, count: int) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [json.loads(await self._process.stdout.readline()) for _ in range(count)]

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._process.wait()


@contextmanager
def backing(template: str = "template1") -> Iterator[dict[str, str]]:
    """The environment of servers that share a database of their own, a copy of the template, and Redis. On SQLite
    it is empty: there each data directory has a database of its own."""
    if "DATABASE_URL" not in os.environ:
        yield {}
        return
    with fresh_database(os.environ["TEST_DATABASE_URL"], template) as url:
        yield {
            "DATABASE_URL": url,
            "REDIS_URL": os.environ["REDIS_URL"],
            "WORKQUEUE_CHANNEL_PREFIX": f"workqueue-{uuid4().hex}",
        }


@contextmanager
def prepared_in(directory: Path) -> Iterator[Server]:
    """A server that is never started: its database and keys, to be copied."""
    with backing() as environment:
        server = Server(directory, **environment)
        server.prepare()
        yield server


@contextmanager
def started_copy(prepared: Server, directory: Path, **environment: str) -> Iterator[Server]:
    """A server of its own, with the database and the keys of the prepared one."""
    with copied(prepared, directory, **environment) as server:
        server.start()
        yield server


@contextmanager
def copied(prepared: Server, directory: Path, **environment: str) -> Iterator[Server]:
    """The same, to be started; it ends with the block."""
    data_dir = directory / "data"
    shutil.copytree(prepared.data_dir, data_dir)
    with backing(database_name(prepared.environment.get("DATABASE_URL", ""))) as backed:
        server = Server(data_dir, **backed, **environment)
        server.keys = prepared.keys
        try:
            yield server
        finally:
            server.kill_if_running()


@contextmanager
def cluster(prepared: Server, directory: Path, size: int, **environment: str) -> Iterator[list[Server]]:
    """Several of them over one database and one Redis, with the keys of the prepared one."""
    with ExitStack() as stack:
        backed = stack.enter_context(backing(database_name(prepared.environment["DATABASE_URL"])))
        servers = []
        for number in range(size):
            data_dir = directory / str(number)
            shutil.copytree(prepared.data_dir, data_dir)
            server = Server(data_dir, **backed, **environment)
            server.keys = prepared.keys
            server.start()
            stack.callback(server.kill_if_running)
            servers.append(server)
        yield servers


def started_on(stack: ExitStack, directory: Path, size: int, **environment: str) -> list[Server]:
    """Several over the empty database that the environment names, which the first of them prepares."""
    servers: list[Server] = []
    for number in range(size):
        data_dir = directory / f"server-{number}"
        data_dir.mkdir()
        server = Server(data_dir, **environment)
        if servers:
            server.keys = servers[0].keys
        else:
            server.prepare()
        server.start()
        stack.callback(server.kill_if_running)
        servers.append(server)
    return servers


async def receive(socket: ClientConnection, count: int = 1) -> list[dict[str, Any]]:
    """The next frames of a worker that reads one object each."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def messages(worker: ClientConnection, count: int) -> list[dict[str, Any]]:
    """That many messages, in frames of one or of several."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found) < count:
            frame = json.loads(await worker.recv())
            found += frame if isinstance(frame, list) else [frame]
    return found


async def closed(socket: ClientConnection) -> int | None:
    """The code with which the server has closed it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await socket.wait_closed()
    return socket.close_code


async def finish(socket: ClientConnection, task: dict[str, Any], data: Any = None) -> None:
    await socket.send(json.dumps({"task_id": task["task_id"], "result": "done", "data": data}))


async def eventually(condition: Callable[[], Any]) -> Any:
    """The condition's value once it is true. To ask without a pause would take time from what is waited for."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (value := await condition()):  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.05)
        return value

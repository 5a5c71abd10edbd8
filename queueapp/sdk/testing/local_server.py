"""A server in the process of the tests: real connections, a queue in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from queueapp.domain.payloads import check_json
from queueapp.domain.retries import Backoff, RetryPolicy
from queueapp.protocol import RESTART_REASON, SUBPROTOCOL
from queueapp.sdk.backoff import ReconnectBackoff
from queueapp.sdk.testing.local_queue import LocalQueue, offers_of
from queueapp.sdk.testing.local_task import LocalTask
from queueapp.sdk.worker import Worker

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
AT_ONCE = ReconnectBackoff(initial_seconds=0.01, max_seconds=0.01)
NO_BACKOFF = Backoff(initial=0.0)


class LocalServer:
    """Used in a `with` statement; its methods are for the test's thread, it lives in one of its own.

    `url` and `token` are what a worker attaches with.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token = "wq_local"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open)
        return self

    def __exit__(self, *exception: object) -> None:
        self._do(self._resources.aclose)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---- what a producer does

    def submit(
        self,
        name: str,
        data: Any = None,
        *,
        attrs: Mapping[str, str] | None = None,
        priority: int = 0,
        timeout: float = 300.0,
        max_attempts: int = 4,
        retry_on: Sequence[str] = ("lost", "timeout"),
        backoff: Backoff = NO_BACKOFF,
    ) -> str:
        """The id of the task. InvalidJson when the data could not be stored."""
        check_json(data)
        policy = RetryPolicy(max_attempts, retry_on, backoff)
        task = LocalTask(str(uuid4()), name, dict(attrs or {}), data, policy, timeout, priority)
        self._call(self._queue.submit, task)
        return task.id

    def wait(self, task_id: str, seconds: float = PATIENCE_SECONDS) -> LocalTask:
        """The task once it has ended. TimeoutError when it has not in so many seconds."""
        return self._do(lambda: self._ended(task_id, seconds))

    def task(self, task_id: str) -> LocalTask:
        """As it is now."""
        return self._call(lambda: self._queue.tasks[task_id].copy())

    def cancel(self, task_id: str) -> None:
        self._call(self._queue.cancel, task_id)

    # ---- what happens to workers

    @contextmanager
    def serving(self, worker: Worker, **options: Any) -> Iterator[None]:
        """The worker attached, until it is drained at the end. `options` are those of `Worker.serve`."""
        options = {"backoff": AT_ONCE, **options}
        before = self._call(lambda: self._queue.attached)
        served = asyncio.run_coroutine_threadsafe(worker.serve(self.url, self.token, **options), self._loop)
        try:
            self._do(lambda: self._more_attached_than(before))
            yield
        finally:
            self._loop.call_soon_threadsafe(worker.drain)
            served.result(PATIENCE_SECONDS)

    def break_connections(self) -> None:
        """As when the network goes away: what is held is lost."""
        self._call(lambda: self._queue.break_connections())

    def restart(self) -> None:
        """Ask the workers to finish and come again, as a server does that restarts."""
        self._call(self._queue.drain, RESTART_REASON)

    # ---- on the loop

    async def _open(self) -> None:
        self._queue = LocalQueue()
        self._resources = AsyncExitStack()
        protocols = [Subprotocol(SUBPROTOCOL)]
        listening = serve(self._attach, "127.0.0.1", 0, subprotocols=protocols, process_request=self._admit)
        server: Server = await self._resources.enter_async_context(listening)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") == f"Bearer {self.token}":
            return None
        return socket.respond(HTTPStatus.UNAUTHORIZED, "")

    async def _attach(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        options = parse_qs(urlsplit(socket.request.path).query)
        await self._queue.serve(socket, offers_of(await socket.recv()), int(options["_max_outstanding"][0]))

    async def _more_attached_than(self, before: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self._queue.attached <= before:
                await self._queue.next_change()

    async def _ended(self, task_id: str, seconds: float) -> LocalTask:
        async with asyncio.timeout(seconds):
            while not self._queue.tasks[task_id].is_terminal:
                await self._queue.next_change()
        return self._queue.tasks[task_id].copy()

    def _do(self, work: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        answer: Future[T] = Future()

        def call() -> None:
            try:
                answer.set_result(function(*arguments))
            except Exception as failure:
                answer.set_exception(failure)

        self._loop.call_soon_threadsafe(call)
        return answer.result()

"""The courier on a real event loop, with real receivers: what is delivered, how often, whom nobody waits for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from django.db import connections
from standardwebhooks import Webhook

from queueapp import callbacks, database, doorbell, lifecycle
from queueapp.courier import Courier
from queueapp.domain.addresses import read_networks
from queueapp.domain.submission import Limits, parse_submission
from queueapp.domain.webhooks import secret_text
from queueapp.letters import signing_secrets
from queueapp.models import Delivery, Task

PATIENCE_SECONDS = 60
LOOPBACK = "127.0.0.0/8"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.WORKQUEUE = replace(
        project_settings.WORKQUEUE, callback_allowed_networks=LOOPBACK, callback_timeout_seconds=PATIENCE_SECONDS
    )


@dataclass
class Receiver:
    """An HTTP server that answers each post with what `answer` says, once it lets go of it."""

    answer: str = "200 OK"
    port: int = 0
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    held: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)
            }
            self.posts.append((headers, await reader.readexactly(int(headers["content-length"]))))
            if self.held is not None:
                await self.held.wait()
            writer.write(f"HTTP/1.1 {self.answer}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver(**options: Any) -> AsyncIterator[Receiver]:
    made = Receiver(**options)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def courier() -> AsyncIterator[Courier]:
    made = Courier()
    made.start()
    try:
        yield made
    finally:
        await made.stop(grace_seconds=0)


async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    """As another part of the server would, leaving no connection behind."""

    def run() -> Any:
        try:
            return work(*arguments)
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


def end(count: int, url: str) -> list[UUID]:
    """So many tasks that have ended, with a callback."""
    now = database.now()
    limits = Limits(callback_networks=read_networks(LOOPBACK))
    submission = parse_submission({"name": "t", "callback_url": url}, now, limits)
    ids = [receipt.task_id for receipt in lifecycle.submit([submission] * count, None, now)]
    lifecycle.cancel(ids, now)
    return ids


def states() -> list[tuple[str, int]]:
    return sorted(Delivery.objects.values_list("state", "attempts"))


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await in_thread(condition):  # noqa: ASYNC110 - a thread or a receiver makes it true
            await asyncio.sleep(0.02)


async def test_a_task_that_ends_is_delivered_signed_as_it_reads():
    async with receiver() as hook, courier():
        (task_id,) = await in_thread(end, 1, hook.url)
        await until(lambda: states() == [("delivered", 1)])
    ((headers, body),) = hook.posts
    task = json.loads(body)
    assert (task["id"], task["state"], headers["content-type"]) == (str(task_id), "cancelled", "application/json")
    assert headers["host"] == f"127.0.0.1:{hook.port}"
    Webhook(secret_text(signing_secrets()[0])).verify(body, headers)
    delivery = await in_thread(Delivery.objects.get)
    assert (headers["webhook-id"], delivery.last_status) == (str(delivery.id), 200)


async def test_what_was_owed_before_it_began_is_delivered_too():
    async with receiver() as hook:
        await in_thread(end, 100, hook.url)
        async with courier():
            await until(lambda: states() == [("delivered", 1)] * 100)
    assert len(hook.posts) == 100


async def test_a_refusal_is_tried_again_with_the_same_id_and_body():
    async with receiver(answer="503 Busy") as hook, courier():
        await in_thread(end, 1, hook.url)
        await until(lambda: Delivery.objects.filter(last_status=503).exists())
        hook.answer = "202 Accepted"
        await in_thread(make_due)
        await until(lambda: states() == [("delivered", 2)])
    (first, body), (second, again) = hook.posts
    assert (first["webhook-id"], body) == (second["webhook-id"], again)


async def test_a_receiver_that_is_gone_is_left_alone():
    async with receiver(answer="410 Gone") as hook, courier():
        await in_thread(end, 1, hook.url)
        await until(lambda: states() == [("failed", 1)])
        await in_thread(make_due)
    assert len(hook.posts) == 1


async def test_a_host_that_hangs_takes_its_share_and_holds_up_no_other():
    async with receiver(held=asyncio.Event()) as hanging, receiver() as hook, courier():
        await in_thread(end, 100, hanging.url.replace("127.0.0.1", "127.0.0.2"))
        await in_thread(end, 100, hook.url)
        await until(lambda: Delivery.objects.filter(state="delivered").count() == 100)
        assert len(hook.posts) == 100
        assert len(hanging.posts) <= callbacks.A_HOST


async def test_an_address_that_is_not_allowed_is_not_connected_to(settings: Any):
    async with receiver() as hook:
        await in_thread(end, 1, hook.url)
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, callback_allowed_networks="")
        async with courier():
            await until(lambda: Delivery.objects.exclude(last_error="").exists())
        assert "not an address of the public internet" in (await in_thread(Delivery.objects.get)).last_error
    assert hook.posts == []


async def test_what_is_under_way_at_the_end_is_left_to_others_at_once():
    async with receiver(held=asyncio.Event()) as hook:
        async with courier():
            await in_thread(end, 1, hook.url)
            await until(lambda: len(hook.posts) == 1)
        assert await in_thread(states) == [("pending", 1)]
        assert hook.held is not None
        hook.held.set()
        async with courier():
            await until(lambda: states() == [("delivered", 2)])


async def test_at_the_end_it_waits_for_an_answer_that_comes_soon():
    async with receiver(held=asyncio.Event()) as hook:
        made = Courier()
        made.start()
        await in_thread(end, 1, hook.url)
        await until(lambda: len(hook.posts) == 1)
        stopping = asyncio.create_task(made.stop(grace_seconds=PATIENCE_SECONDS))
        assert hook.held is not None
        hook.held.set()
        await stopping
    assert await in_thread(states) == [("delivered", 1)]


async def test_a_task_that_cannot_be_written_holds_up_no_other():
    async with receiver() as hook:
        unreadable, readable = await in_thread(end, 2, hook.url)
        digits = "1" * 5000
        await in_thread(lambda: Task.objects.filter(pk=unreadable).update(data=digits))
        async with courier():
            await until(lambda: states() == [("delivered", 1), ("pending", 1)])
            await until(lambda: Delivery.objects.exclude(last_error="").exists())
    assert [json.loads(body)["id"] for _, body in hook.posts] == [str(readable)]


async def test_a_failure_of_the_database_loses_no_result(monkeypatch):
    turn, failures = callbacks.turn, []

    def failing(results: Any, *rest: Any) -> Any:
        if results and not failures:
            failures.append(results)
            raise RuntimeError("the answer was lost")
        return turn(results, *rest)

    monkeypatch.setattr(callbacks, "turn", failing)
    async with receiver() as hook, courier():
        await in_thread(end, 1, hook.url)
        await until(lambda: states() == [("delivered", 1)])
    assert failures


def make_due() -> None:
    Delivery.objects.pending().update(next_attempt_at=database.now())
    doorbell.ring(callbacks=True)

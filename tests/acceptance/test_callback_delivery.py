"""Callbacks of real servers: a receiver of its own, and whoever delivers may be killed."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE_SECONDS, Server, cluster, eventually, finish, receive, started_copy
from standardwebhooks import Webhook

from tests.servers import Leash

LOOPBACK = "127.0.0.0/8"
SETTINGS = {"WORKQUEUE_CALLBACK_ALLOWED_NETWORKS": LOOPBACK, "WORKQUEUE_CALLBACK_TIMEOUT_SECONDS": "1"}
TASKS = 100


@dataclass
class Receiver:
    port: int
    kept: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def open(self) -> None:
        """From now on it answers."""
        self.kept.with_name("open").touch()

    async def has_been_asked(self) -> bool:
        return self.kept.with_name("begun").exists()

    def received(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.kept.read_text().splitlines()] if self.kept.exists() else []

    def tasks(self) -> set[str]:
        return {json.loads(each["body"])["id"] for each in self.received()}


@contextmanager
def receiver(directory: Path) -> Iterator[Receiver]:
    kept = directory / "received"
    program = Path(__file__).with_name("receiver.py")
    with subprocess.Popen([sys.executable, str(program), str(kept)], stdout=subprocess.PIPE, text=True) as process:
        leash = Leash()
        leash.hold(process.pid)
        try:
            assert process.stdout is not None
            yield Receiver(int(process.stdout.readline()), kept)
        finally:
            process.kill()
            leash.close()


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path) as made:
        yield made


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path, **SETTINGS) as server:
        yield server


async def submit_and_finish(server: Server, hook: Receiver, count: int) -> list[str]:
    """Tasks with a callback that have ended, their results acknowledged."""
    async with server.worker(f"?task=t&_max_outstanding={count}", subprotocols=["workqueue.v1"]) as worker:
        await receive(worker)
        ids = await server.submit(*({"name": "t", "callback_url": hook.url} for _ in range(count)))
        acks = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while acks < count:
                frame = json.loads(await worker.recv())
                if frame["kind"] == "task":
                    await finish(worker, frame, {"of": frame["task_id"]})
                else:
                    acks += frame["status"] == "accepted"
    return ids


def assert_signed(hook: Receiver, secret: str) -> None:
    """Each of them, and the same body under the same id."""
    bodies: dict[str, str] = {}
    for each in hook.received():
        Webhook(secret).verify(each["body"], each["headers"])
        message_id = each["headers"]["webhook-id"]
        assert bodies.setdefault(message_id, each["body"]) == each["body"]


async def all_delivered(server: Server, ids: list[str]) -> bool:
    async with server.api("producer") as api:
        for task_id in ids:
            (delivery,) = (await api.get(f"/tasks/{task_id}/callbacks")).json()["results"]
            if delivery["state"] != "delivered":
                return False
    return True


async def test_every_ended_task_is_delivered_though_the_server_that_delivers_is_killed(
    server: Server, hook: Receiver
):
    ids = await submit_and_finish(server, hook, TASKS)
    await eventually(hook.has_been_asked)
    server.kill()
    assert hook.received() == []
    hook.open()
    server.start()
    await eventually(lambda: _is(lambda: hook.tasks() == set(ids)))
    await eventually(lambda: all_delivered(server, ids))
    assert_signed(hook, server.manage("callback_secret").strip())
    results = {task["id"]: task["result"] for task in (json.loads(each["body"]) for each in hook.received())}
    assert results == {task_id: {"of": task_id} for task_id in ids}


async def test_a_server_on_daphne_delivers_too(server: Server, hook: Receiver):
    server.terminate()
    server.options = ("--daphne",)
    server.start()
    hook.open()
    async with server.api("producer") as api:
        task = (await api.post("/tasks", json={"name": "t", "callback_url": hook.url})).json()
        assert (await api.post(f"/tasks/{task['id']}/cancel")).status_code == 200
    await eventually(lambda: all_delivered(server, [task["id"]]))
    assert hook.tasks() == {task["id"]}
    assert await asyncio.to_thread(server.terminate) == 0


@pytest.mark.only_on("postgresql", reason="it takes several processes")
async def test_another_process_delivers_what_one_that_is_killed_has_begun(
    prepared: Server, tmp_path: Path, hook: Receiver
):
    with cluster(prepared, tmp_path / "cluster", 2, **SETTINGS) as (first, second):
        ids = await submit_and_finish(first, hook, TASKS)
        await eventually(hook.has_been_asked)
        first.kill()
        hook.open()
        await eventually(lambda: _is(lambda: hook.tasks() == set(ids)))
        await eventually(lambda: all_delivered(second, ids))
        assert_signed(hook, second.manage("callback_secret").strip())


async def test_a_receiver_that_does_not_answer_is_seen_to_be_tried_again(server: Server):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # nobody accepts, but the kernel
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with server.api("producer") as api:
            task = (await api.post("/tasks", json={"name": "t", "callback_url": url})).json()
            assert (await api.post(f"/tasks/{task['id']}/cancel")).status_code == 200

            async def failed() -> Any:
                (delivery,) = (await api.get(f"/tasks/{task['id']}/callbacks")).json()["results"]
                return delivery if delivery["last_error"] else None

            delivery = await eventually(failed)
    assert (delivery["state"], delivery["last_status"]) == ("pending", None)
    assert delivery["attempts"] >= 1
    assert delivery["last_error"] == "No answer within 1 s."
    assert delivery["next_attempt_at"] > delivery["created_at"]


async def test_an_address_inside_is_refused_unless_it_is_allowed(prepared: Server, tmp_path: Path):
    with started_copy(prepared, tmp_path) as server:
        async with server.api("producer") as api:
            for url in ("http://127.0.0.1:1/", "http://localhost/", "http://169.254.169.254/latest"):
                answer = await api.post("/tasks", json={"name": "t", "callback_url": url})
                assert answer.status_code == 400, url
                (error,) = answer.json()["errors"]
                assert error["pointer"] == "/callback_url"


async def _is(condition: Any) -> bool:
    return bool(condition())

"""Stories against a server: attaching, tasks and results."""

from __future__ import annotations

from websockets.exceptions import InvalidStatus

from queueapp.conformance.stories import Stories, expect
from queueapp.conformance.visitor import Visitor
from queueapp.protocol import SUBPROTOCOL

stories: Stories[Visitor] = Stories()

TASK_MEMBERS = {"task_id", "task_name", "attrs", "data", "attempt", "timeout", "deadline", "priority"}
NOBODYS_TASK = "01890000-0000-7000-8000-000000000000"


@stories.must
async def welcome(visitor: Visitor) -> None:
    """A client that asks for workqueue.v1 gets it, and a welcome before all else."""
    async with visitor.worker(welcomed=False, _max_outstanding="7") as worker:
        expect(worker.socket.subprotocol == SUBPROTOCOL, f"subprotocol {worker.socket.subprotocol}")
        await worker.say("no message at all")
        message = await worker.hear("welcome")
        missing = {"worker_id", "heartbeat", "server"} - message.keys()
        expect(not missing and message.get("max_outstanding") == 7, message)


@stories.must
async def old_worker(visitor: Visitor) -> None:
    """A worker without the subprotocol sees task frames and nothing else, whatever happens."""
    async with visitor.worker(v1=False) as worker:
        expect(worker.socket.subprotocol is None, f"subprotocol {worker.socket.subprotocol}")
        await worker.say("no message at all")
        await worker.say({"task_id": NOBODYS_TASK, "result": "done"})
        (first,) = await visitor.submit()
        await worker.done(await worker.hear("task"))
        await visitor.until(first, lambda task: task["state"] == "succeeded")
        await visitor.submit()
        await worker.hear("task")


@stories.must
async def task_members(visitor: Visitor) -> None:
    """A task is one object with the members of the contract, and its payload as it was submitted."""
    data = {"text": "ä\n", "list": [1, 2.5, None, {"deep": True}]}
    async with visitor.worker(cloud="aws,gcp") as worker:
        await visitor.submit(attrs={"cloud": "gcp", "more": "x"}, data=data, timeout=77, priority=3)
        task = await worker.hear("task")
        expect(task.keys() >= TASK_MEMBERS, f"missing {sorted(TASK_MEMBERS - task.keys())}")
        seen = [task[name] for name in ("task_name", "attrs", "data", "attempt", "timeout", "priority")]
        expect(seen == [visitor.name, {"cloud": "gcp", "more": "x"}, data, 1, 77, 3], task)


@stories.must
async def filters(visitor: Visitor) -> None:
    """Criteria of the query, a comma encoded or not, decide which tasks come."""
    async with visitor.worker(query=f"task={visitor.name}&cloud=aws%2Cgcp&zone=a&zone=b") as worker:
        await visitor.submit(attrs={"cloud": "azure", "zone": "a"})
        await visitor.submit(attrs={"cloud": "gcp"})
        (match,) = await visitor.submit(attrs={"cloud": "gcp", "zone": "b"})
        task = await worker.hear("task")
        expect(task["task_id"] == match, f"a task with {task['attrs']}")
        await worker.hear_nothing()


@stories.must
async def first_messages(visitor: Visitor) -> None:
    """A credential, and then a registration, may come as the first messages."""
    async with visitor.worker(key=None, query="", welcomed=False) as worker:
        await worker.say({"kind": "auth", "token": visitor.server.worker_key})
        await worker.say(
            [{"name": visitor.name, "filter": {"cloud": "aws", "zone": ["a", "b"]}, "info": {"x": 1}}]
        )
        await worker.hear("welcome")
        await visitor.submit(attrs={"cloud": "aws", "zone": "b"})
        await worker.hear("task")


@stories.must
async def acknowledged(visitor: Visitor) -> None:
    """A result is acknowledged once it is durable: what is acknowledged can be read."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit()
        await worker.done(await worker.hear("task"), {"n": 1})
        ack = await worker.hear("ack")
        seen = (ack.get("task_id"), ack.get("attempt"), ack.get("status"))
        expect(seen == (task_id, 1, "accepted"), ack)
        task = await visitor.task(task_id)
        expect((task["state"], task["result"]) == ("succeeded", {"n": 1}), task)


@stories.must
async def duplicate_result(visitor: Visitor) -> None:
    """Of two results for an attempt the first counts, and the second is acknowledged as stale."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit()
        task = await worker.hear("task")
        await worker.done(task, "first")
        await worker.done(task, "second")
        statuses = [(await worker.hear("ack"))["status"] for _ in range(2)]
        expect(statuses == ["accepted", "stale"], statuses)
        expect((await visitor.task(task_id))["result"] == "first", await visitor.task(task_id))


@stories.must
async def stale_attempt(visitor: Visitor) -> None:
    """A result for an older attempt changes nothing and is acknowledged as stale."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit()
        await worker.say({"kind": "release", "task_id": (await worker.hear("task"))["task_id"]})
        task = await worker.hear("task")
        expect(task["attempt"] == 2, task)
        await worker.done(task, "old", attempt=1)
        ack = await worker.hear("ack")
        expect(ack["status"] == "stale", ack)
        expect((await visitor.task(task_id))["state"] == "assigned", "the old attempt's result was taken")
        await worker.done(task, "new", attempt=2)
        expect((await worker.hear("ack"))["status"] == "accepted", "the right attempt's result was not accepted")
        expect((await visitor.task(task_id))["result"] == "new", await visitor.task(task_id))


@stories.must
async def foreign_result(visitor: Visitor) -> None:
    """A result from a worker that does not hold the task changes nothing; of no task at all it is unknown."""
    async with visitor.worker() as holder:
        (task_id,) = await visitor.submit()
        task = await holder.hear("task")
        async with visitor.worker(query=f"task={visitor.name}.other") as other:
            await other.done(task, "stolen")
            expect((await other.hear("ack"))["status"] == "stale", "a foreign result was not stale")
            await other.done({"task_id": NOBODYS_TASK})
            expect((await other.hear("ack"))["status"] == "unknown", "a result of no task was not unknown")
        await holder.done(task, "mine")
        expect((await visitor.until(task_id, _ended))["result"] == "mine", await visitor.task(task_id))


@stories.must
async def lost_ack(visitor: Visitor) -> None:
    """When the connection breaks before the acknowledgement, the task still ends once, with one of the results."""
    (task_id,) = await visitor.submit()
    async with visitor.worker() as worker:
        await worker.done(await worker.hear("task"), "first")
        worker.socket.transport.abort()
    async with visitor.worker() as again:
        await again.done({"task_id": task_id}, "first", attempt=1)
        task = await visitor.until(task_id, lambda task: _ended(task) or task["attempt"] > 1)
        # The end of the connection may have been dealt with first: then the result came too late.
        kinds = ("ack", "task") if task["attempt"] > 1 else ("ack",)
        messages = [await again.hear(*kinds) for _ in kinds]
        heard = {message["kind"]: message for message in messages}
        expect(heard.keys() == set(kinds), messages)
        expect(heard["ack"]["status"] == "stale", heard["ack"])
        if "task" in heard:
            await again.done(heard["task"], "first")
        task = await visitor.until(task_id, _ended)
        expect((task["state"], task["result"]) == ("succeeded", "first"), task)


@stories.must
async def error_results(visitor: Visitor) -> None:
    """An error ends the task with its text, unless the worker asks for another try."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit(backoff={"initial": 0.1})
        error = {"result": "error", "error": "no disk"}
        await worker.say({"task_id": (await worker.hear("task"))["task_id"], **error, "retry": True})
        expect((await worker.hear("ack"))["status"] == "accepted", "the error was not accepted")
        task = await worker.hear("task")
        expect(task["attempt"] == 2, task)
        await worker.say({"task_id": task["task_id"], **error, "details": {"errno": 28}})
        ended = await visitor.until(task_id, _ended)
        expect((ended["state"], ended["error"]) == ("failed", "no disk"), ended)


@stories.must
async def arrays(visitor: Visitor) -> None:
    """With _batch=1 frames may be arrays; a worker may always send them."""
    for batch in ("0", "1"):
        async with visitor.worker(_batch=batch) as worker:
            ids = await visitor.submit(5)
            tasks = [await worker.hear("task") for _ in ids]
            await worker.say([{"task_id": task["task_id"], "result": "done"} for task in tasks])
            statuses = [(await worker.hear("ack"))["status"] for _ in ids]
            expect(statuses == ["accepted"] * 5, statuses)
            as_arrays = any(isinstance(frame, list) for frame in worker.frames)
            expect(batch == "1" or not as_arrays, "an array for a worker without _batch")


@stories.must
async def refused_credentials(visitor: Visitor) -> None:
    """A wrong credential is refused (401 or 403) or closed with 4401; a producer's key with 4403."""
    for key, codes in (("wq_wrong", {4401}), (visitor.server.producer_key, {4403})):
        try:
            async with visitor.worker(key=key, welcomed=False) as worker:
                await worker.closed_with(*codes)
        except InvalidStatus as refusal:
            expect(refusal.response.status_code in (401, 403), f"answered {refusal.response.status_code}")


def _ended(task: dict[str, object]) -> bool:
    return task["state"] in ("succeeded", "failed", "cancelled", "expired")

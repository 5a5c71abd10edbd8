"""A worker that keeps every rule but one, named on the command line: what the run must find.

`python wrong_worker.py RULE [PAUSE_SECONDS]`, with the URL and the token in the environment. Without a rule
(`none`) it keeps all. The pauses before it comes again grow with the number.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

BREAKS = sys.argv[1]
PAUSE_SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
FINAL_CODES = {
    "stays-away-when-unusable": 4400,
    "stays-away-when-not-authenticated": 4401,
    "stays-away-when-forbidden": 4403,
    "stays-away-when-disconnected": 4409,
}
RESEND_SECONDS = 0.5
results: dict[tuple[str, int], dict[str, Any]] = {}
"""What is not acknowledged."""
known: set[tuple[str, int]] = set()


def breaks(rule: str) -> bool:
    return rule == BREAKS


async def hear(socket: ClientConnection, message: dict[str, Any]) -> bool:
    """Whether to leave."""
    match message.get("kind"):
        case "task":
            await perform(socket, message)
        case "ack":
            if not (message["status"] != "accepted" and breaks("stale-result")):
                results.pop((message["task_id"], message["attempt"]), None)
        case "drain":
            if breaks("drain-for-a-restart"):
                sys.exit(1)
            await socket.send('{"kind": "drain"}')
            if not breaks("drain-for-good"):
                while results:
                    await asyncio.sleep(0.01)
                    for each in json_list(await socket.recv()):
                        if each.get("kind") == "ack":
                            results.pop((each["task_id"], each["attempt"]), None)
                return "restarts" not in message["reason"]
        case unknown if unknown not in ("welcome", "error", "cancel") and breaks("messages-of-no-concern"):
            raise ValueError(unknown)
    return False


async def perform(socket: ClientConnection, task: dict[str, Any]) -> None:
    key = (task["task_id"], task["attempt"])
    if key in known and not breaks("duplicate-task"):
        return
    known.add(key)
    if breaks("unknown-members") and "colour" in task:
        raise ValueError("colour")
    if breaks("odd-payload") and not isinstance(task["data"], str):
        await socket.close()
        return
    if breaks("several-tasks") and len(known) > 3:
        return
    attempt = 7 if breaks("attaches") else task["attempt"]
    results[key] = {"task_id": key[0], "attempt": attempt, "result": "done", "data": random.random()}
    await socket.send(json.dumps(results[key]))


def json_list(frame: str | bytes) -> list[Any]:
    content = json.loads(frame)
    return content if isinstance(content, list) and not breaks("batches") else [content]


async def send_again(socket: ClientConnection) -> None:
    while not breaks("lost-ack"):
        await asyncio.sleep(RESEND_SECONDS)
        for result in list(results.values()):
            await socket.send(json.dumps(result))


async def session() -> int | None:
    """The code with which the server closed; None: this worker has left."""
    if not breaks("wiped-queue"):
        results.clear()
    url = f"{os.environ['WORKQUEUE_URL']}/work/queue?task=t&cloud=aws&_batch=1&_max_outstanding=20"
    pings = None if breaks("half-open-connection") else 1
    headers = {"Authorization": f"Bearer {os.environ['WORKQUEUE_TOKEN']}"}
    async with connect(
        url,
        additional_headers=headers,
        subprotocols=["workqueue.v1"],
        ping_interval=pings,
        ping_timeout=15,  # a server that is slow to answer is still there
        close_timeout=5,
    ) as socket:
        resending = asyncio.create_task(send_again(socket))
        if breaks("orderly-end"):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 1)
        else:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, lambda: asyncio.ensure_future(socket.close())
            )
        for old in list(results.values()):
            await socket.send(json.dumps(old))
        try:
            async for frame in socket:
                try:
                    messages = json_list(frame)
                except ValueError:
                    if breaks("bad-frames"):
                        raise
                    continue
                for message in messages:
                    if isinstance(message, dict) and await hear(socket, message):
                        return None
                if breaks("slow-reader") and len(known) > 15:
                    socket.transport.abort()
        except ConnectionClosed:
            pass
        finally:
            resending.cancel()
        return socket.close_code


async def main() -> None:
    failures = 0
    while True:
        code = await session()
        if code is None or (code in range(4400, 4410) and code not in (4408, FINAL_CODES.get(BREAKS))):
            return
        if breaks("comes-again"):
            continue
        failures += 1
        share = 1 if breaks("backs-off-with-jitter") else random.random() * min(2, 0.2 * 2**failures)
        await asyncio.sleep(share * PAUSE_SECONDS)


asyncio.run(main())

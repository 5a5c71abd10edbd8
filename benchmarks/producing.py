"""The load's part in measuring requests that are about one task each: producers who send one after another.

By hand over sockets: a client library would take more of the machine than the server that is measured.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.submissions import submission

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ALONE = "Accept: application/json, application/json;q=0.9\r\n"
"""An unusual way to say what is usual: such a request is served by itself, by its view."""


async def produce(
    url: str, authorization: str, producers: int, seconds: float, reads: bool, alone: bool
) -> dict[str, Any]:
    """So many producers who submit tasks, or read one (`reads`), for so long. `alone`: as if nobody else did."""
    head = f"Host: {urlsplit(url).netloc}\r\nAuthorization: {authorization}\r\n{_ALONE if alone else ''}"
    task_id = msgspec.json.decode(await _once(url, next(_submissions(head))))["id"]
    read = f"GET /api/v1/tasks/{task_id} HTTP/1.1\r\n{head}\r\n".encode()
    started = time.perf_counter()
    took: list[float] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(producers):
            requests = (read for _ in count()) if reads else _submissions(head)
            group.create_task(_send_all(url, requests, started + seconds, took))
    return {"seconds": time.perf_counter() - started, "took": took}


def _submissions(head: str) -> Iterator[bytes]:
    for number in count():
        body = msgspec.json.encode(submission(number))
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        yield f"POST /api/v1/tasks HTTP/1.1\r\n{head}{length}\r\n".encode() + body


async def _once(url: str, request: bytes) -> bytes:
    reader, writer = await _connected(url)
    answer = await _answer(reader, writer, request)
    writer.close()
    return answer


async def _send_all(url: str, requests: Iterator[bytes], until: float, took: list[float]) -> None:
    reader, writer = await _connected(url)
    while (sent := time.perf_counter()) < until:
        await _answer(reader, writer, next(requests))
        took.append(time.perf_counter() - sent)
    writer.close()


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")) or length is None:
        raise RuntimeError(f"The server answered {head.decode()}")
    return await reader.readexactly(int(length[1]))

"""Producers that submit throughout and remember what they were told, and nothing more."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import httpx

from tests.acceptance.processes import Server
from tests.chaos.site import COLOURS

A_SERVER = 2
"""Producers of each server: who waits for the answer of one that is frozen cannot keep the others busy."""
PAUSE_SECONDS = 0.15
LARGEST_ARRAY = 6
REQUEST_SECONDS = 10.0
TIMEOUT_SECONDS = 60
"""More than a frozen worker is given before its connection is ended, so no attempt has a reason to time out."""


class Producers:
    """`accepted`: id to data of every task that was answered with 201. An answer that failed or never came says
    nothing: the task may be stored. It is not submitted again, so that the number of rows stays a check."""

    def __init__(self, servers: list[Server], dice: random.Random) -> None:
        self.accepted: dict[str, Any] = {}
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.unsure = 0
        self._servers = servers
        self._dice = dice
        self._number = 0
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._produce(server)) for server in self._servers * A_SERVER]

    async def stop(self) -> None:
        """Once the requests under way are over."""
        self._ended.set()
        await asyncio.gather(*self._tasks)

    async def _produce(self, server: Server) -> None:
        headers = {"Authorization": f"Bearer {self._servers[0].keys['producer']}"}
        async with httpx.AsyncClient(headers=headers, timeout=REQUEST_SECONDS) as api:
            while not self._ended.is_set():
                await self._submit(api, server)
                try:
                    await asyncio.wait_for(self._ended.wait(), self._dice.uniform(0, 2 * PAUSE_SECONDS))
                except TimeoutError:
                    continue

    async def _submit(self, api: httpx.AsyncClient, server: Server) -> None:
        tasks = [self._task() for _ in range(self._dice.randint(1, LARGEST_ARRAY))]
        url = f"http://127.0.0.1:{server.port}/api/v1/tasks"
        try:
            answer = await api.post(url, json=tasks if len(tasks) > 1 else tasks[0])
        except httpx.HTTPError as error:
            self.answers[type(error).__name__] += 1
            self.unsure += len(tasks)
            return
        self.answers[str(answer.status_code)] += 1
        if answer.status_code == 201:
            body = answer.json()
            ids = body["ids"] if len(tasks) > 1 else [body["id"]]
            self.accepted.update(zip(ids, (task["data"] for task in tasks), strict=True))
            return
        self.unsure += len(tasks)
        if answer.status_code != 503:
            self.unexpected.append(f"{answer.status_code}: {answer.text[:300]}")

    def _task(self) -> dict[str, Any]:
        self._number += 1
        return {
            "name": "chaos",
            "attrs": {"colour": self._dice.choice(COLOURS)},
            "data": self._number,
            "max_attempts": 1000,
            "timeout": TIMEOUT_SECONDS,
        }

"""The channel layer between the servers: it loses, delays and reorders, as the seed says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any


class Bells:
    """`lost` is the share of messages that reach nobody."""

    def __init__(self, random: Random, later: Callable[..., Any]) -> None:
        self.lost = 0.0
        self.is_away = False
        self._random, self._later = random, later
        self._channels: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._members: list[str] = []

    async def new_channel(self) -> str:
        await self._reach()
        name = f"channel-{len(self._channels)}"
        self._channels[name] = asyncio.Queue()
        return name

    async def group_add(self, group: str, channel: str) -> None:
        await self._reach()
        self._members.append(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._reach()
        for channel in self._members:
            if self._random.random() >= self.lost:
                delay = self._random.choice((0.0, 0.005, 0.3)) * self._random.random()
                self._later(delay, self._channels[channel].put_nowait, message)

    async def receive(self, channel: str) -> dict[str, Any]:
        await self._reach()
        return await self._channels[channel].get()

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError("the channel layer is away")

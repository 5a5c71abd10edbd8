"""Streams of events, as those who read them see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from django.test import AsyncClient
from waiting_requests import LONG


async def get(key: str, task_id: str, **headers: str) -> Any:
    headers = {"authorization": f"Bearer {key}", "accept": "text/event-stream", **headers}
    return await AsyncClient().get(f"/api/v1/tasks/{task_id}/events", headers=headers)


class Stream:
    """What comes of a stream: (event, data, id), and heartbeats as (":", None, None)."""

    def __init__(self, response: Any) -> None:
        assert response.status_code == 200
        assert response["Content-Type"] == "text/event-stream"
        self.ids: list[str] = []
        self._content: AsyncIterator[bytes] = aiter(response)

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(LONG):
            text = (await anext(self._content)).decode()
        assert text.endswith("\n\n")
        if text == ":\n\n":
            return ":", None
        fields = dict(line.split(": ", 1) for line in text.splitlines() if line)
        self.ids.append(fields["id"])
        return fields["event"], json.loads(fields["data"])

    async def rest(self) -> list[tuple[str, Any]]:
        """Until it ends."""
        found = []
        while True:
            try:
                found.append(await self.next())
            except StopAsyncIteration:
                return found


async def opened(key: str, task_id: str, **headers: str) -> Stream:
    return Stream(await get(key, task_id, **headers))


def told(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Each event with what it is about, in short."""
    return [(kind, data["progress"] if kind == "progress" else data["state"]) for kind, data in found]

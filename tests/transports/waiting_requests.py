"""Requests that wait for what becomes of tasks: until they do wait, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from queueapp import database, doorbell, lifecycle
from queueapp.models import Task
from queueapp.waiting import number_waiting

LONG = 60
"""In seconds: what takes so long has failed."""


async def until_waiting(count: int) -> None:
    """Return when so many wait in this process."""
    async with asyncio.timeout(LONG):
        while number_waiting() < count:  # noqa: ASYNC110 - nothing else tells when a request has come so far
            await asyncio.sleep(0)


def cancel(task_id: str) -> None:
    lifecycle.cancel([UUID(task_id)], database.now())


def cancel_all() -> None:
    lifecycle.cancel(list(Task.objects.values_list("id", flat=True)), database.now())


def unheard(work: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """As another process does whose doorbell is lost."""
    with doorbell.held():
        work(*arguments, **options)

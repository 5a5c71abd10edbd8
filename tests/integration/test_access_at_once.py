"""A key that is revoked in the process that has its workers: nobody waits for a poll."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from queueapp import access, database
from queueapp.auth import create_key
from queueapp.hub import Hub
from queueapp.link import Link
from queueapp.models import ApiKey, WorkerSession, new_id
from queueapp.registration import parse_query
from queueapp.sessions import Attachment

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.django_db(transaction=True)


async def test_its_socket_is_closed_by_the_doorbell(settings):
    settings.WORKQUEUE = replace(settings.WORKQUEUE, poll_interval_seconds=3600.0, lease_seconds=7200.0)
    said: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    welcomed = asyncio.Event()

    async def send(text: str) -> None:
        welcomed.set()

    async def close(code: int, reason: str) -> None:
        said.put_nowait((code, reason))

    hub = Hub()
    hub.start()
    api_key = await sync_to_async(made)()
    query = parse_query(b"task=t", 10)
    link = Link(new_id(), True, False, 10, send, close)
    hub.attach(link, Attachment(link.session_id, query.options, query.offers, api_key))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await welcomed.wait()
        await sync_to_async(revoked)(api_key)
        assert await said.get() == (4401, "The API key was revoked.")
    await hub.stop(grace_seconds=0)
    assert await sync_to_async(end_of)(link) == 4401


def made() -> ApiKey:
    with closing(connection):
        return create_key("w", "worker")[0]


def revoked(api_key: ApiKey) -> None:
    with closing(connection):
        access.revoke([api_key.pk], database.now())


def end_of(link: Link) -> int | None:
    with closing(connection):
        return WorkerSession.objects.get(pk=link.session_id).close_code

"""Asks the server for signs of life while a worker holds tasks, and ends a connection that gives none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection

from queueapp.sdk.lease import Lease

log = logging.getLogger("queueapp.sdk")


async def keep(lease: Lease, socket: ClientConnection, holds_tasks: Callable[[], bool]) -> None:
    """Until the lease is over, or the connection: ConnectionClosed.

    A ping that is answered shows that what was sent before it has arrived, so the lease counts from its sending.
    Who holds nothing has nothing to lose, and asks for nothing, unless it has let go of something for the lease.
    """
    loop = asyncio.get_running_loop()
    while True:
        asked_at = loop.time()
        if not lease.has_ended and not holds_tasks():
            lease.renew(asked_at)
        elif lease.is_over or not await _answers(socket, lease.remaining_seconds):
            log.warning("The server gave no sign of life: what is held counts as lost")
            lease.end()
            socket.transport.abort()
            return
        else:
            lease.renew(asked_at)
        await asyncio.sleep(asked_at + lease.renewal_seconds - loop.time())


async def _answers(socket: ClientConnection, within_seconds: float) -> bool:
    try:
        async with asyncio.timeout(within_seconds):
            await (await socket.ping())
    except TimeoutError:
        return False
    return True

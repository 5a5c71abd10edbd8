"""Whether this process is alive, and whether it could serve: for load balancers, without a key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from channels.layers import get_channel_layer
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from queueapp.api.base import ApiView, off_loop, read_only
from queueapp.api.problems import unavailable
from queueapp.api.schema.describing import Answer, described, stands_for

logger = logging.getLogger(__name__)

PROBE_SECONDS = 3.0
PROBE_GROUP = "readyz"


# What the schema says of the two views: it reads classes.


class Liveness(ApiView):
    """200 as long as the process answers."""

    @described("Is the process alive?", {200: Answer("Health")}, open_to_all=True)
    def get(self) -> None: ...


class Readiness(ApiView):
    """200 when the database and the channel layer answer, else 503 that says which does not."""

    @described("Could it serve?", {200: Answer("Health")}, refuses=[503], open_to_all=True)
    def get(self) -> None: ...


@stands_for(Liveness)
@read_only
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@stands_for(Readiness)
@read_only
async def readyz(request: HttpRequest) -> HttpResponse:
    parts = {"database": off_loop(_read_database), "channel layer": _reach_channel_layer()}
    reached = await asyncio.gather(*(_is_reached(name, probe) for name, probe in parts.items()))
    away = [name for name, is_reached in zip(parts, reached, strict=True) if not is_reached]
    if away:
        return unavailable(f"Not reachable: {', '.join(away)}.")
    return JsonResponse({"status": "ready"})


async def _is_reached(name: str, probe: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe
    except Exception as error:  # whatever a driver raises, the answer is the same
        logger.warning("The %s is not reachable: %s", name, error or type(error).__name__)
        return False
    return True


def _read_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def _reach_channel_layer() -> None:
    """A message to a group in which nobody is: it needs the layer and leaves nothing in it."""
    layer = get_channel_layer()
    if layer is not None:
        await layer.group_send(PROBE_GROUP, {"type": "probe"})

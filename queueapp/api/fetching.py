"""Single tasks that are asked for at the same time, read in one statement with the keys of who asks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest

from queueapp.api.documents import task_json
from queueapp.api.gathering import Gathering
from queueapp.api.permissions import may_read
from queueapp.api.plain import may_ask, note_uses
from queueapp.auth import digest_of
from queueapp.database import DATABASE_AWAY
from queueapp.domain.states import TERMINAL_STATES
from queueapp.models import ApiKey, Task
from queueapp.reading import tasks_with_keys

logger = logging.getLogger(__name__)

LARGEST_BYTES = 64 * 1024
"""Of data, and of a result. With a hundred of a megabyte in one go, all would wait for all of them."""


class _Asked(NamedTuple):
    task_id: UUID
    digest: str
    request: HttpRequest


class Fetched(NamedTuple):
    """A task as it is now, in JSON."""

    document: bytes
    is_terminal: bool


async def fetch(task_id: UUID, token: str, request: HttpRequest) -> Fetched | None:
    """None where there is no such task for this key: that is for the view. One of DATABASE_AWAY."""
    return await _fetches.ask(_Asked(task_id, digest_of(token), request))


def _fetch(asked: Sequence[_Asked]) -> list[Fetched | None]:
    try:
        found = tasks_with_keys({(each.task_id, each.digest) for each in asked}, LARGEST_BYTES)
        fetched = [_fetched(each.request, *found.get((each.task_id, each.digest), (None, None))) for each in asked]
    except DATABASE_AWAY:
        raise
    except Exception:
        # Whose fault it was will be seen.
        logger.warning("Tasks could not be read together: one at a time.", exc_info=True)
        return [None] * len(asked)
    note_uses(key for _, key in found.values())
    return fetched


def _fetched(request: HttpRequest, task: Task | None, key: ApiKey | None) -> Fetched | None:
    if task is None or not may_ask(key, request) or not may_read(key, task):
        return None
    return Fetched(task_json(task), task.state in TERMINAL_STATES)


_fetches = Gathering(_fetch)

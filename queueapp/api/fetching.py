"""Single tasks that are asked for at the same time, read in one statement with the keys of who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest

from queueapp.api.documents import task_json
from queueapp.api.gathering import Gathering
from queueapp.api.permissions import may_read
from queueapp.api.plain import may_ask
from queueapp.auth import digest_of
from queueapp.database import DATABASE_AWAY
from queueapp.domain.states import TERMINAL_STATES
from queueapp.reading import tasks_with_keys

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
    """None where there is no such task for this key, or nobody can say: then it is for the view."""
    try:
        return await _fetches.ask(_Asked(task_id, digest_of(token), request))
    except DATABASE_AWAY:
        return None


def _fetch(asked: Sequence[_Asked]) -> list[Fetched | None]:
    found = tasks_with_keys({(each.task_id, each.digest) for each in asked}, LARGEST_BYTES)
    fetched: list[Fetched | None] = []
    for each in asked:
        task, key = found.get((each.task_id, each.digest), (None, None))
        if task is not None and may_ask(key, each.request) and may_read(key, task):
            fetched.append(Fetched(task_json(task), task.state in TERMINAL_STATES))
        else:
            fetched.append(None)
    return fetched


_fetches = Gathering(_fetch)

"""Requests that are carried out once: the answer is kept with what was done, and given to whoever asks again.

The answer is written in the transaction that does what it tells of, so that a crash leaves both or neither. While
that runs its process holds a lock, which dies with it; nobody has to guess whether the first is still at it.

What this follows is the IETF's draft of the header `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header):
409 while the first is in flight, 422 for another body, else the first answer again. The draft leaves open which
errors are answers. Here an answer is kept of what was done. A request that was refused (bad input, no right,
a conflict) or that failed has done nothing: its sender corrects it and sends it again under the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction

from queueapp import database
from queueapp.domain.errors import IdempotencyKeyReused, RequestInFlight
from queueapp.models import IdempotentRequest

KEPT = timedelta(hours=24)
PRUNED_AT_ONCE = 1000


class Asked(NamedTuple):
    """A request: whose it is, under which of its owner's keys, and what tells it from others under that key."""

    owner: str
    key: str
    fingerprint: str


class Answer(NamedTuple):
    """`body` is JSON text; `location` the header, if there is one."""

    status: int
    body: str
    location: str = ""


def fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def kept_answer(asked: Asked, now: datetime) -> Answer | None:
    """The answer that was given before, if it was. IdempotencyKeyReused for another request under the key."""
    row = _row(asked)
    return None if row is None or _is_over(row, now) else _answer_of(row, asked)


def answer_once(asked: Asked, act: Callable[[], Answer], now: datetime) -> Answer:
    """Act and keep the answer, both or neither; or the answer that was given before, and nothing done.

    RequestInFlight: another process or thread is acting on a request under this key. On SQLite one waits for it
    instead, as every writer does for every other.
    """
    for attempt in range(database.RETRIES):
        try:
            return _answer_once(asked, act, now)
        except IntegrityError:
            # Somebody has taken a unique key since `act` read it: in a new transaction it finds that task.
            if attempt == database.RETRIES - 1 or transaction.get_connection().in_atomic_block:
                raise
    raise AssertionError("unreachable")


@database.retried
def _answer_once(asked: Asked, act: Callable[[], Answer], now: datetime) -> Answer:
    with transaction.atomic():
        if not database.try_lock_until_commit(_lock_of(asked)):
            raise RequestInFlight
        # Read after the lock was got, not with it: a statement sees what was committed before it began.
        row = _row(asked)
        if row is not None and not _is_over(row, now):
            return _answer_of(row, asked)
        if row is not None:
            row.delete()
        answer = act()
        IdempotentRequest.objects.create(**asked._asdict(), **answer._asdict(), created_at=now)
        return answer


def prune(now: datetime) -> int:
    """Forget answers that have been kept long enough, save for those that another process is just forgetting."""
    over = IdempotentRequest.objects.filter(created_at__lte=now - KEPT).select_for_update(skip_locked=True)
    ids = list(over.order_by("created_at").values_list("id", flat=True)[:PRUNED_AT_ONCE])
    IdempotentRequest.objects.filter(pk__in=ids).delete()
    return len(ids)


def _row(asked: Asked) -> IdempotentRequest | None:
    return IdempotentRequest.objects.filter(owner=asked.owner, key=asked.key).first()


def _is_over(row: IdempotentRequest, now: datetime) -> bool:
    return row.created_at <= now - KEPT


def _answer_of(row: IdempotentRequest, asked: Asked) -> Answer:
    if row.fingerprint != asked.fingerprint:
        raise IdempotencyKeyReused
    return Answer(row.status, row.body, row.location)


def _lock_of(asked: Asked) -> int:
    """64 bits of SHA-256: two keys that share them would only take turns."""
    digest = hashlib.sha256(f"{asked.owner}\0{asked.key}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)

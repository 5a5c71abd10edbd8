"""The callbacks that are owed: noted in the transaction in which a task ends, claimed by whoever delivers them.

A claim is a lease: it puts the next attempt off for longer than an attempt takes. Who dies in the middle of one
has given nothing up, and whoever looks next after the lease makes another.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from queueapp import database, doorbell, statements
from queueapp.conf import config
from queueapp.domain.retries import Backoff
from queueapp.domain.states import DeliveryState
from queueapp.domain.webhooks import host_of
from queueapp.models import Delivery, Task, new_id
from queueapp.statements import NAMED, Given

A_HOST = 8
"""Attempts under way to one host from one process, so that one that hangs takes no more."""

BACKOFF = Backoff(initial=5.0, factor=2.0, max=3600.0)
GIVEN_UP_AFTER = timedelta(days=1)
GONE = 410
"""A receiver's word that it wants no more of these."""

_CHANGED_BY_A_RETRY = (
    "state",
    "reason",
    "error",
    "result",
    "attempt",
    "worker",
    "last_worker",
    "progress",
    "progress_message",
    "available_at",
    "assigned_at",
    "deadline",
    "finished_at",
    "expires_at",
)

_RESULTS = Given(
    "given",
    delivery_id="uuid",
    number="integer",
    new_state="text",
    status="smallint",
    error="text",
    next_at="timestamptz",
    ended="timestamptz",
)


class Result(NamedTuple):
    """What came of an attempt. `status` is the receiver's, None where there was no answer; `error` says why it was
    no success, and is empty for one."""

    delivery_id: UUID
    attempt: int
    created_at: datetime
    status: int | None
    error: str = ""


def owe(urls: Mapping[UUID, str], now: datetime) -> None:
    """Note a callback for each of these tasks, which have ended in this transaction, with what they are now: a
    retry may come before the delivery."""
    if not urls:
        return
    ended = Task.objects.filter(pk__in=list(urls)).values("id", *_CHANGED_BY_A_RETRY)
    Delivery.objects.bulk_create(
        Delivery(
            id=new_id(),
            task_id=task_id,
            host=host_of(urls[task_id]),
            created_at=now,
            next_attempt_at=now,
            ended_as=msgspec.json.encode(task).decode(),
        )
        for task in ended
        for task_id in [task.pop("id")]
    )
    doorbell.ring(callbacks=True)


def as_ended(delivery: Delivery) -> Task:
    """The delivery's task as it was when it ended."""
    task = delivery.task
    assert delivery.ended_as is not None
    kept = json.loads(delivery.ended_as)
    for field in Task._meta.concrete_fields:
        if field.name in kept:
            setattr(task, field.attname, field.to_python(kept[field.name]))
    return task


def claim(room: int, busy: Mapping[str, int], now: datetime) -> list[Delivery]:
    """Up to `room` deliveries that are due, each with its task and route, for one attempt by the caller alone.

    `busy`: how many attempts the caller has under way to each host.
    """
    due = _due(room, busy, now)
    if not due:
        return []
    claimed = [
        database.as_uuid(row[0])
        for row in statements.rows_of(
            _locked(due),
            f"""
            UPDATE queueapp_delivery SET attempts = attempts + 1, next_attempt_at = %s
            WHERE id IN ({NAMED}) AND state = 'pending' AND next_attempt_at <= %s RETURNING id
            """,
            [database.adapt(_lease_end(now)), database.adapt(now)],
        )
    ]
    return list(Delivery.objects.filter(pk__in=claimed).select_related("task__route"))


def settle(results: Sequence[Result], now: datetime) -> None:
    """Write down what came of attempts. A success counts whenever it comes; a failure only while nobody else has
    begun another attempt, the lease being over."""
    if not results:
        return
    _locked(result.delivery_id for result in results)
    statements.execute(
        f"""
        WITH {_RESULTS.table}
        UPDATE queueapp_delivery AS delivery SET
            state = given.new_state, last_status = given.status, last_error = given.error,
            next_attempt_at = given.next_at, ended_at = given.ended,
            ended_as = CASE WHEN given.new_state <> 'delivered' THEN ended_as END
        FROM given
        WHERE delivery.id = given.delivery_id AND delivery.state = 'pending'
            AND (given.new_state = 'delivered' OR delivery.attempts = given.number)
        """,
        [_RESULTS.rows(_row(result, now) for result in results)],
    )


@database.retried
def try_again(delivery_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """Make an attempt now at those that wait for their next one or were given up. Returns these.

    Left alone is what is delivered, and what is tried within half a minute anyway: an attempt may be under way,
    and a second one beside it could be delivered twice. One whose day is over gets this one attempt.
    """
    with transaction.atomic():
        chosen = statements.rows_of(
            _locked(delivery_ids),
            f"""
            UPDATE queueapp_delivery SET state = 'pending', next_attempt_at = %s, ended_at = NULL
            WHERE id IN ({NAMED}) AND ended_as IS NOT NULL
                AND (state = 'failed' OR state = 'pending' AND next_attempt_at > %s)
            RETURNING id
            """,
            [database.adapt(now), database.adapt(_lease_end(now))],
        )
        doorbell.ring(callbacks=bool(chosen))
        return {database.as_uuid(row[0]) for row in chosen}


def give_back(deliveries: Iterable[tuple[UUID, int]], now: datetime) -> None:
    """Attempts (delivery, number) that were broken off: anybody may make another at once."""
    for delivery_id, attempt in sorted(deliveries):
        Delivery.objects.pending().filter(pk=delivery_id, attempts=attempt).update(next_attempt_at=now)


@database.retried
def turn(results: Sequence[Result], room: int, busy: Mapping[str, int], now: datetime) -> list[Delivery]:
    """Settle and claim, in one transaction."""
    with transaction.atomic(savepoint=False):
        settle(results, now)
        return claim(room, busy, now) if room else []


def _row(
    result: Result, now: datetime
) -> tuple[UUID, int, str, int | None, str, datetime | None, datetime | None]:
    state, next_at = _verdict(result, now)
    ended = now if next_at is None else None
    return result.delivery_id, result.attempt, str(state), result.status, result.error, next_at, ended


def _verdict(result: Result, now: datetime) -> tuple[DeliveryState, datetime | None]:
    """The state, and when it is tried again. The last attempt is made when the day is over."""
    if not result.error:
        return DeliveryState.DELIVERED, None
    give_up_at = result.created_at + GIVEN_UP_AFTER
    if result.status == GONE or now >= give_up_at:
        return DeliveryState.FAILED, None
    pause = timedelta(seconds=BACKOFF.delay_seconds(result.attempt, random.random()))
    return DeliveryState.PENDING, min(now + pause, give_up_at)


def _due(room: int, busy: Mapping[str, int], now: datetime) -> list[UUID]:
    """The oldest, of each host no more than may be under way. One step in the index for each host that is owed
    something, and a few rows of each: a host that hangs may be owed any number."""
    following = """
        SELECT delivery.host FROM queueapp_delivery AS delivery
        WHERE delivery.state = 'pending' AND delivery.host > {} ORDER BY delivery.host LIMIT 1
        """
    of_host = f"""
        SELECT due.id, due.host, due.next_attempt_at FROM queueapp_delivery AS due
        WHERE due.state = 'pending' AND due.host = host.name AND due.next_attempt_at <= %s
        ORDER BY due.next_attempt_at LIMIT {A_HOST}
        """
    if database.is_postgresql():
        joined = f"host CROSS JOIN LATERAL ({of_host}) AS due"
    else:
        joined = f"host JOIN queueapp_delivery AS due ON due.id IN (SELECT id FROM ({of_host}))"
    rows = statements.execute(
        f"""
        WITH RECURSIVE host(name) AS (
            SELECT ({following.format("''")})
            UNION ALL
            SELECT ({following.format("host.name")}) FROM host WHERE host.name IS NOT NULL
        )
        SELECT due.id, due.host FROM {joined}
        WHERE host.name IS NOT NULL
        ORDER BY due.next_attempt_at LIMIT %s
        """,
        [
            database.adapt(now),
            room + A_HOST * len(busy),  # those that hosts have no room for do not crowd out others
        ],
    )
    under_way = Counter(busy)
    chosen: list[UUID] = []
    for delivery_id, host in rows:
        if under_way[host] < A_HOST and len(chosen) < room:
            under_way[host] += 1
            chosen.append(database.as_uuid(delivery_id))
    return chosen


def _locked(delivery_ids: Iterable[UUID]) -> Collection[UUID]:
    """In the order of their ids, as everybody locks them."""
    delivery_ids = set(delivery_ids)
    if database.is_postgresql():
        statements.rows_of(
            delivery_ids, f"SELECT id FROM queueapp_delivery WHERE id IN ({NAMED}) ORDER BY id FOR UPDATE"
        )
    return delivery_ids


def _lease_end(now: datetime) -> datetime:
    """Longer than an attempt takes, with the writing down of what came of it."""
    return now + timedelta(seconds=3 * config().callback_timeout_seconds)

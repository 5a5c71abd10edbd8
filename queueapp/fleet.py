"""The workers that are online, remembered from one pass to the next: what they offer, how much room they have.

With thousands of workers a pass would spend most of its time on reading again what is as it was. What is
remembered is no truth: each pass has the database tell what has changed since it was read, whoever changed it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from queueapp import database, statements
from queueapp.domain.choice import Chooser, Load
from queueapp.domain.matching import Profile, Subscription
from queueapp.lifecycle import Choice, activity
from queueapp.limits import LIMITED
from queueapp.ready import Spill
from queueapp.statements import NAMED

SessionKey = bytes | str
"""A session's id as the database keeps it, 16 bytes or 32 digits: thousands of `UUID`, hashed and compared in
Python, would cost more than all the rest."""

Row = tuple[SessionKey, int, Any]
"""Session, `max_outstanding`, `idle_since` (as the driver has it: it is only compared)."""

Tier = frozenset[Profile]
Tiers = tuple[Tier, ...]

SUBSCRIPTIONS_KEPT = 4096
KEPT_CHARACTERS = 4096

OLDEST_SNAPSHOT = 2**30
"""In transactions. PostgreSQL tells older from newer among the latest 2³¹."""


_HELD = "FROM queueapp_task WHERE worker_id IS NOT NULL AND worker_id BETWEEN %s AND %s GROUP BY worker_id"
"""How many tasks each session holds, counted from the rows: nothing that could drift. From the index of those that
are held. Without the range PostgreSQL reads all tasks there are, as long as it does not know of how many nobody
holds."""
_ALL_IDS = (UUID(int=0), UUID(int=2**128 - 1))


class _Online(NamedTuple):
    """The number of sessions that are online, and the rows of those that changed since an earlier look, if not of
    all; and what was noted of sessions since then, as (session, time). `seen`: what to give for the next look.

    Along with it: how many tasks each session holds, and whether some queue is paused or limited. A pass waits for
    each answer.
    """

    number: int
    rows: list[Row]
    are_all: bool
    used: Sequence[tuple[SessionKey, Any]]
    seen: int
    outstanding: dict[SessionKey, int]
    are_queues_limited: bool


class Fleet:
    """Used by one dispatcher. After `muster` it is as the rows were then; choosing changes it for that pass."""

    def __init__(self) -> None:
        self._rows: dict[SessionKey, Row] = {}
        self._ids: dict[SessionKey, UUID] = {}
        self._outstanding: dict[SessionKey, int] = {}
        self._profiles: dict[SessionKey, Profile] = {}
        self._sessions: dict[Profile, set[SessionKey]] = {}
        self._room: dict[Profile, int] = {}
        self._room_of_session: dict[SessionKey, int] = {}
        self._room_of_tier: dict[Tier, int] = {}
        self._tiers: dict[Tier, tuple[SessionKey, ...]] = {}
        self._seen: int | None = None
        self._chooser: Chooser[SessionKey] = Chooser()
        self.are_queues_limited = True

    @property
    def profiles(self) -> Collection[Profile]:
        return self._sessions.keys()

    # ---- what the rows say

    def muster(self) -> None:
        """Become what the rows say, which cost what has changed. In the transaction of the pass, before it writes
        anything; after one that failed, what is remembered is of no use."""
        online = _online(self._seen)
        come = [row for row in online.rows if row[0] not in self._rows]
        if not online.are_all and len(self._rows) + len(come) != online.number:
            online = _online(None)  # Somebody has gone, and of those that have there is no row.
            come = [row for row in online.rows if row[0] not in self._rows]
        self._seen = online.seen
        gone: Collection[SessionKey] = ()
        if len(self._rows) + len(come) != online.number:
            gone = self._rows.keys() - {row[0] for row in online.rows}
        changed = self._note(online)
        self._leave(gone)
        self._join([row[0] for row in come])
        changed.update(session for session, _ in online.outstanding.items() ^ self._outstanding.items())
        self._outstanding = online.outstanding
        self.are_queues_limited = online.are_queues_limited
        self._load(changed, gone)

    def _note(self, online: _Online) -> set[SessionKey]:
        """The sessions that are not as they were. What a row says of its last use may be behind what was noted."""
        changed: set[SessionKey] = set()
        for row in online.rows:
            known = self._rows.get(row[0])
            if known is not None and known[2] > row[2]:
                row = (row[0], row[1], known[2])
            if row != known:
                self._rows[row[0]] = row
                changed.add(row[0])
        for session, used_at in online.used:
            known = self._rows.get(session)
            if known is not None and known[2] < used_at:
                self._rows[session] = (session, known[1], used_at)
                changed.add(session)
        return changed

    def _leave(self, gone: Collection[SessionKey]) -> None:
        for session in gone:
            del self._rows[session], self._ids[session]
            self._set_room(session, 0)
            self._room_of_session.pop(session, None)
            profile = self._profiles.pop(session)
            self._sessions[profile].discard(session)
            if not self._sessions[profile]:
                del self._sessions[profile], self._room[profile]
        if gone:
            self._forget_tiers()

    def _join(self, come: Collection[SessionKey]) -> None:
        if not come:
            return
        ids = {session: _id_of(session) for session in come}
        self._ids |= ids
        offered = _offered(ids)
        known = {profile: profile for profile in self._sessions}
        for session in come:
            profile = frozenset(offered[session])
            profile = known.setdefault(profile, profile)
            self._profiles[session] = profile
            self._sessions.setdefault(profile, set()).add(session)
            self._room.setdefault(profile, 0)
        self._forget_tiers()

    def _load(self, changed: Iterable[SessionKey], gone: Iterable[SessionKey]) -> None:
        loads = []
        for session in changed:
            if (row := self._rows.get(session)) is not None:
                load = Load(session, self._outstanding.get(session, 0), row[1], row[2])
                self._set_room(session, load.room)
                loads.append(load)
        self._chooser.update(loads, gone)
        self._room_of_tier.clear()

    def _set_room(self, session: SessionKey, room: int) -> None:
        if room != (before := self._room_of_session.get(session, 0)):
            self._room_of_session[session] = room
            self._room[self._profiles[session]] += room - before

    def _forget_tiers(self) -> None:
        self._tiers.clear()
        self._chooser.forget_tiers()

    # ---- what a pass asks

    def room(self, tier: Tier) -> int:
        """As the rows say: what is given in this pass does not count."""
        room = self._room_of_tier.get(tier)
        if room is None:
            room = self._room_of_tier[tier] = sum(self._room.get(profile, 0) for profile in tier)
        return room

    def room_of_all(self, tiers: Iterable[Tier], enough: int) -> int:
        """The room that these have together, counted up to what is `enough`."""
        different = {id(tier): tier for tier in tiers}.values()
        room, counted = 0, set()
        for profile in (profile for tier in different for profile in tier):
            if profile not in counted:
                counted.add(profile)
                room += self._room.get(profile, 0)
                if room >= enough:
                    return enough
        return room

    def spill(self, tiers: Tiers) -> Spill | None:
        """None: no lower tier has room. The room is that of all tiers, for the first of those that may spill may
        be taken by the first tier."""
        rooms = [self.room(tier) for tier in tiers]
        level = next((level for level, room in enumerate(rooms) if level and room), None)
        return Spill(sum(rooms), level) if level is not None else None

    def choose(self, tiers: Tiers, allowed: int, avoid: Iterable[str]) -> UUID | None:
        """The session that takes a task, or None while everyone who may is full. `avoid`: ids as texts."""
        avoided = [_key_of(UUID(session_id)) for session_id in avoid]
        session = self._chooser.choose(
            [self._line(tier) for tier in tiers[:allowed]], avoid=avoided, allowed=allowed
        )
        return None if session is None else self._ids[session]

    def capacities(self, choices: Iterable[Choice]) -> dict[UUID, int]:
        """What the chosen workers were counted on to hold."""
        chosen = {choice.session_id for choice in choices}
        return {session_id: self._rows[_key_of(session_id)][1] for session_id in chosen}

    def _line(self, tier: Tier) -> tuple[SessionKey, ...]:
        line = self._tiers.get(tier)
        if line is None:
            sessions = (session for profile in tier for session in self._sessions.get(profile, ()))
            line = self._tiers[tier] = tuple(sessions)
        return line


def _online(seen: int | None) -> _Online:
    """Those whose rows have changed since `seen`; all of them without it, and on SQLite, where a row does not say
    who wrote it."""
    if not database.is_postgresql():
        return _online_on_sqlite(seen or 0)
    found = _changed_since(seen)
    number, until, are_queues_limited = found[0][:3]
    if seen is not None and not 0 <= until - seen <= OLDEST_SNAPSHOT:
        seen, found = None, _changed_since(None)
        number, until, are_queues_limited = found[0][:3]
    rows: list[Row] = []
    used: list[tuple[SessionKey, Any]] = []
    outstanding: dict[SessionKey, int] = {}
    for *_, kind, sessions, max_outstanding, at, numbers in found:
        if kind == "online":
            rows.append((sessions, max_outstanding, at))
        elif kind == "noted":
            used += [(session, at) for session in set(activity.sessions_in(sessions))]
        elif numbers is not None:
            outstanding = dict(zip(activity.sessions_in(sessions), numbers, strict=True))
    return _Online(number, rows, seen is None, used, until, outstanding, are_queues_limited)


def _online_on_sqlite(seen: int) -> _Online:
    """What is noted has a number there, in the order of the commits, for there is one writer at a time."""
    # As text, which is in the order of time: as a column of its type each value would go through Python.
    rows = statements.execute(
        "SELECT id, max_outstanding, idle_since || '' FROM queueapp_workersession "
        "WHERE gone_at IS NULL AND state = 'online'"
    )
    noted = statements.execute(
        "SELECT id, sessions, at || '' FROM queueapp_activity WHERE id > %s AND kind <> 'stale' ORDER BY id",
        [seen],
    )
    used = [(session.hex(), at) for _, sessions, at in noted for session in set(activity.sessions_in(sessions))]
    return _Online(len(rows), rows, True, used, noted[-1][0] if noted else seen, _outstanding_on_sqlite(), True)


def _changed_since(snapshot: int | None) -> list[tuple[Any, ...]]:
    """(number of all, the oldest transaction that is not over, whether queues are limited, *row).

    A row is (kind, session or sessions, max_outstanding, time, numbers), with None for what its kind has not: one
    that is `online`; what was `noted` of some at a time; and, once, those that are `holding` tasks with how many
    each does, or None where nobody does.

    One answer of several kinds: a pass with one task waits for it as long as for all else that it asks.

    What a snapshot does not see was written by a transaction that was not over, or not begun, when it was taken.
    """
    is_new = "true" if snapshot is None else "age(writer) <= age(%s::text::xid)"
    return statements.execute(
        f"""
        WITH online AS MATERIALIZED (
            SELECT uuid_send(id) AS session, max_outstanding, idle_since, xmin AS writer
            FROM queueapp_workersession WHERE gone_at IS NULL AND state = 'online'
        ), seen AS (
            SELECT COUNT(*) AS number, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS until, EXISTS (
                SELECT 1 FROM queueapp_queue WHERE {LIMITED}
            ) AS are_queues_limited FROM online
        ), held AS (
            SELECT uuid_send(worker_id) AS session, COUNT(*)::integer AS number {_HELD}
        ), changed AS (
            SELECT 'online', session, max_outstanding, idle_since, NULL::integer[] FROM online WHERE {is_new}
            UNION ALL
            SELECT 'noted', sessions, NULL, at, NULL FROM (
                SELECT sessions, at, kind, xmin AS writer FROM queueapp_activity
            ) AS noted WHERE kind <> 'stale' AND {is_new}
            UNION ALL
            SELECT 'holding', string_agg(session, ''::bytea), NULL, NULL, array_agg(number) FROM held
        )
        SELECT seen.*, changed.* FROM seen CROSS JOIN changed
        """,
        [*_ALL_IDS, *([] if snapshot is None else [str(snapshot % 2**32)] * 2)],
    )


def _offered(sessions: Mapping[SessionKey, UUID]) -> dict[SessionKey, set[Subscription]]:
    offered: dict[SessionKey, set[Subscription]] = {session: set() for session in sessions}
    rows = statements.rows_of(
        sessions.values(),
        f"""
        SELECT {_column("session_id")}, name, CAST(filter AS text) FROM queueapp_subscription
        WHERE session_id IN ({NAMED})
        """,
    )
    for session, name, filter in rows:
        offered[session].add(_subscription(name, filter))
    return offered


def _subscription(name: str, filter: str) -> Subscription:
    """Of JSON text. Kept, for the workers of a fleet offer the same, each up to a thousand."""
    return _known(name, filter) if len(filter) <= KEPT_CHARACTERS else _read(name, filter)


def _read(name: str, filter: str) -> Subscription:
    return Subscription.of(name, json.loads(filter))


_known = lru_cache(maxsize=SUBSCRIPTIONS_KEPT)(_read)


def _outstanding_on_sqlite() -> dict[SessionKey, int]:
    return dict(statements.execute(f"SELECT worker_id, COUNT(*) {_HELD}", [each.hex for each in _ALL_IDS]))


def _column(name: str) -> str:
    """SQL for the keys of a column of ids."""
    return f"uuid_send({name})" if database.is_postgresql() else name


def _key_of(session_id: UUID) -> SessionKey:
    return session_id.bytes if database.is_postgresql() else session_id.hex


def _id_of(key: SessionKey) -> UUID:
    return UUID(bytes=key) if isinstance(key, bytes) else UUID(hex=key)

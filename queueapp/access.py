"""Keys while their workers are attached: a key that is revoked, or no longer reaches so far, ends their sessions.

Who revokes through here has it happen at once. Behind that, and for whoever writes to the rows of keys, each
process watches over its own sessions at every poll (`maintenance`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from queueapp import database, sessions, statements
from queueapp.auth import LAST_USED_RESOLUTION
from queueapp.domain.matching import Subscription as Offered
from queueapp.domain.reach import Reach
from queueapp.domain.states import Outcome
from queueapp.models import ApiKey, Subscription
from queueapp.protocol import CloseCode
from queueapp.sessions import Closing

REVOKED_REASON = "The API key was revoked."

LOOKED_AT_ONCE = 50
"""Sessions, each of which may offer a thousand names."""


def revoke(key_ids: Iterable[int], now: datetime) -> set[int]:
    """Make the keys useless, for ever, and end the sessions that came with them. Returns those that had been
    usable.

    The keys come first, and by themselves: who has thousands of workers is shut out before they are closed, which
    is when the transaction of the caller's, if there is one, is committed.
    """
    revoked = _revoke(list(key_ids), now)
    transaction.on_commit(partial(_end_sessions_of, revoked, now))
    return revoked


def _end_sessions_of(key_ids: Iterable[int], now: datetime) -> None:
    for key_id in sorted(key_ids):
        while _end_some(now, "session.api_key_id = %s", [key_id]):
            pass


@database.retried
def _revoke(key_ids: list[int], now: datetime) -> set[int]:
    with database.brief_transaction():
        usable = ApiKey.objects.usable().filter(pk__in=key_ids).order_by("id")
        revoked = set(usable.select_for_update().values_list("pk", flat=True))
        ApiKey.objects.filter(pk__in=revoked).update(revoked_at=now)
        return revoked


# ---- the poll


def state_of_keys() -> str:
    """SQL for a number or text that is another when a key has changed: what one statement can tell of all keys,
    since to look at ten thousand sessions and their keys takes it fifty milliseconds."""
    if database.is_postgresql():
        row = "concat_ws('|', id, revoked_at, task_globs, bounds)"
        return f"(SELECT SUM(hashtextextended({row}, 0)) FROM queueapp_apikey)"
    row = "id || '|' || COALESCE(revoked_at, '') || '|' || task_globs || '|' || COALESCE(bounds, '')"
    return f"(SELECT group_concat({row}, ' ') FROM queueapp_apikey)"


class Watch:
    """Over the sessions of one node, by its polls. They are looked at when a key has changed, and once a minute,
    when their keys are noted as used; those that have just attached, whose keys may have changed before, once."""

    def __init__(self, node_id: UUID) -> None:
        self._node_id = node_id
        self._state: Any = None
        self._next_look: datetime | None = None
        self._attached: set[UUID] = set()

    def attached(self, session_ids: Iterable[UUID]) -> None:
        self._attached.update(session_ids)

    def is_due(self, state: Any, now: datetime) -> bool:
        return bool(self._attached) or self._all_are_due(state, now)

    def look(self, state: Any, now: datetime) -> int:
        """End some of the sessions that their keys do not allow any more. Returns how many were looked at; with 0
        it is done."""
        if not self._all_are_due(state, now):
            looked_at = _end_some(now, f"session.id IN ({statements.NAMED})", [], self._attached)
        elif not (looked_at := _end_some(now, "session.node_id = %s", [database.adapt(self._node_id)])):
            _note_use(self._node_id, now)
            self._state, self._next_look = state, now + LAST_USED_RESOLUTION
        if not looked_at:
            self._attached.clear()
        return looked_at

    def _all_are_due(self, state: Any, now: datetime) -> bool:
        return state != self._state or self._next_look is None or now >= self._next_look


def _note_use(node_id: UUID, now: datetime) -> None:
    """The keys of the node's sessions are in use. One that another process is noting is left to it."""
    skip_locked = "ORDER BY id FOR UPDATE SKIP LOCKED" if database.is_postgresql() else ""
    statements.execute(
        f"""
        UPDATE queueapp_apikey SET last_used_at = %s WHERE id IN (
            SELECT id FROM queueapp_apikey
            WHERE (last_used_at IS NULL OR last_used_at < %s) AND id IN (
                SELECT api_key_id FROM queueapp_workersession WHERE node_id = %s AND gone_at IS NULL)
            {skip_locked})
        """,
        [*map(database.adapt, (now, now - LAST_USED_RESOLUTION, node_id))],
    )


_SESSIONS_WITH_KEYS = """queueapp_workersession AS session
            JOIN queueapp_apikey AS apikey ON apikey.id = session.api_key_id"""


def _reach_of_key() -> str:
    if database.is_postgresql():
        return "jsonb_build_array(apikey.task_globs, apikey.bounds)"
    return "json_array(json(apikey.task_globs), json(apikey.bounds))"


def _may_be_beyond() -> str:
    """The key is revoked, or not what it was when the session was found to be within its reach."""
    changed = (
        f"session.reach IS DISTINCT FROM {_reach_of_key()}"
        if database.is_postgresql()
        else f"json(session.reach) IS NOT {_reach_of_key()}"
    )
    return f"(apikey.revoked_at IS NOT NULL OR {changed})"


@database.retried
def _end_some(now: datetime, of: str, parameters: Sequence[Any], named: Iterable[UUID] | None = None) -> int:
    """Look at some of the sessions for which `of` holds and whose key has changed; end those beyond its reach, and
    note of the others what was found. Returns how many were looked at. `named`: what `of` may speak of."""
    with database.brief_transaction(database.DISPATCH_LOCK):
        statement = f"""
            SELECT session.id, apikey.revoked_at IS NOT NULL, apikey.task_globs, apikey.bounds
            FROM {_SESSIONS_WITH_KEYS} WHERE {of} AND session.gone_at IS NULL AND {_may_be_beyond()}
            ORDER BY session.id LIMIT %s {"FOR UPDATE OF session" if database.is_postgresql() else ""}
            """
        given = [*parameters, LOOKED_AT_ONCE]
        rows = (
            statements.execute(statement, given) if named is None else statements.rows_of(named, statement, given)
        )
        if not rows:
            return 0
        found = [(database.as_uuid(row[0]), bool(row[1]), _reach(row[2], row[3])) for row in rows]
        closings = _closings(found)
        ended, left = sessions.expel_some(closings, now)
        beyond = ended | {each.session_id for each in left}
        within = [session_id for session_id, _, _ in found if session_id not in beyond]
        if within:
            _note_reach(within)
        return len(found)


def _reach(task_globs: Any, bounds: Any) -> Reach:
    return Reach.of(database.as_json(task_globs), database.as_json(bounds))


def _closings(found: Sequence[tuple[UUID, bool, Reach]]) -> list[Closing]:
    offered: dict[UUID, list[Offered]] = {}
    rows = Subscription.objects.filter(session__in=[session_id for session_id, _, _ in found]).order_by("id")
    for session_id, name, criteria in rows.values_list("session_id", "name", "filter"):
        offered.setdefault(session_id, []).append(Offered.of(name, criteria))
    closings = []
    for session_id, is_revoked, reach in found:
        if is_revoked:
            code, reason = CloseCode.NOT_AUTHENTICATED, REVOKED_REASON
        else:
            excesses = (reach.excess(each) for each in offered.get(session_id, ()))
            code, reason = CloseCode.FORBIDDEN, next(filter(None, excesses), "")
        if reason:
            closings.append(Closing(session_id, Outcome.RELEASED, int(code), reason))
    return closings


def _note_reach(session_ids: Sequence[UUID]) -> None:
    statements.rows_of(
        session_ids,
        f"""
        UPDATE queueapp_workersession AS session SET reach = {_reach_of_key()}
        FROM queueapp_apikey AS apikey
        WHERE apikey.id = session.api_key_id AND session.id IN ({statements.NAMED})
        """,
    )

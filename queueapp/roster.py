"""Who is attached: what each worker offers and holds, read once for whoever looks at all of them."""

from __future__ import annotations

from queueapp import database, statements
from queueapp.domain.matching import Subscription
from queueapp.domain.states import SessionState
from queueapp.domain.verdicts import Worker
from queueapp.models import Task, WorkerSession


def attached() -> list[Worker]:
    """In the order in which they came, with all that they offer."""
    rows = statements.execute(
        """
        SELECT subscription.session_id, subscription.name, subscription.filter
        FROM queueapp_workersession AS session
            JOIN queueapp_subscription AS subscription ON subscription.session_id = session.id
        WHERE session.gone_at IS NULL
        """
    )
    offers: dict[object, set[Subscription]] = {}
    for session_id, name, filter in rows:
        offered = Subscription.of(name, database.as_json(filter))
        offers.setdefault(database.as_uuid(session_id), set()).add(offered)
    outstanding = Task.objects.outstanding_by_session()
    sessions = WorkerSession.objects.attached().order_by("id")
    return [
        Worker(
            id,
            label or f"…{id.hex[-10:]}",
            state == SessionState.DRAINING,
            outstanding.get(id, 0),
            max_outstanding,
            frozenset(offers.get(id, ())),
        )
        for id, label, state, max_outstanding in sessions.values_list("id", "name", "state", "max_outstanding")
    ]

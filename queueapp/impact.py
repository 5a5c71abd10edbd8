"""What it would mean if workers were there no more: in words, before an operator drains or disconnects them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from queueapp import backlog, database, roster, statements
from queueapp.domain.names import route_in_words
from queueapp.domain.supply import Demand, Loss, Losses, Supply, cover, losses
from queueapp.domain.verdicts import Worker
from queueapp.statements import NAMED

HELD_ROUTES = 1000
LINES = 10


@dataclass(frozen=True, slots=True)
class Impact:
    """Of these workers all together. `waiting`: what the ready tasks lose; `held_stranded`: how many of the tasks
    that they hold nobody else could take. Not `is_exact`: there is more than was looked at."""

    workers: Sequence[Worker]
    held_tasks: int
    held_stranded: int
    waiting: Losses
    is_exact: bool

    @property
    def is_harmless(self) -> bool:
        return not (self.waiting.stranded or self.waiting.thinned or self.waiting.unoffered)


def of(session_ids: Collection[UUID]) -> Impact:
    """Of those that are attached. Read with a fixed number of bounded questions."""
    leaving = set(session_ids)
    attached = roster.attached()
    workers = [worker for worker in attached if worker.id in leaving]
    waiting = backlog.read()
    lost = losses(waiting.routes, Supply(attached), leaving)
    held = _held_by([worker.id for worker in workers])
    without = cover(held, Supply(worker for worker in attached if worker.id not in leaving))
    return Impact(
        workers=workers,
        held_tasks=sum(worker.outstanding for worker in workers),
        held_stranded=sum(each.demand.waiting for each in without if each.has_no_worker),
        waiting=lost,
        is_exact=waiting.is_exact and lost.is_complete and len(held) < HELD_ROUTES,
    )


def _held_by(session_ids: Collection[UUID]) -> list[Demand]:
    """What the sessions hold, by route, the largest first."""
    rows = statements.rows_of(
        session_ids,
        f"""
        SELECT route.name, route.attrs, held.number FROM (
            SELECT task.route_id, COUNT(*) AS number FROM queueapp_task AS task
            WHERE task.worker_id IN ({NAMED}) GROUP BY task.route_id ORDER BY number DESC LIMIT {HELD_ROUTES}
        ) AS held JOIN queueapp_route AS route ON route.id = held.route_id
        """,
    )
    return [Demand(name, database.as_json(attrs), number) for name, attrs, number in rows]


# ---- in words


def consequences(impact: Impact, is_disconnect: bool) -> list[str]:
    """Whole sentences, the worst first."""
    one = len(impact.workers) == 1
    who = "It" if one else "They"
    lines = []
    if stranded := impact.waiting.stranded:
        number = impact.waiting.stranded_tasks
        verb = "has" if number == 1 else "have"
        lines.append(f"{_tasks(number, _is_exact(stranded), 'waiting')} {verb} no other worker.")
    if is_disconnect and impact.held_stranded:
        number = impact.held_stranded
        lines.append(
            f"{number} of the tasks that {'it holds' if one else 'they hold'} would find no other worker."
        )
    for name in impact.waiting.unoffered[:LINES]:
        lines.append(f"Nobody else who is online offers {name}.")
    lines += [_thinned(loss) for loss in impact.waiting.thinned[:LINES]]
    if more := impact.waiting.thinned[LINES:]:
        fewest = more[0].after
        lines.append(f"{_counted(len(more), 'more route')} would be left with {fewest} or more workers each.")
    held = impact.held_tasks
    if is_disconnect and held:
        lines.append(f"{who} hold{'s' if one else ''} {_tasks(held)}: released, uncounted, and given to others.")
    elif held:
        lines.append(f"{who} hold{'s' if one else ''} {_tasks(held)}, which may be finished.")
    else:
        lines.append(f"{who} hold{'s' if one else ''} nothing.")
    if impact.is_harmless:
        lines.append("Nothing that waits loses a worker.")
    return lines


def _thinned(loss: Loss) -> str:
    demand = loss.demand
    left = "1 worker" if loss.after == 1 else f"{loss.after} workers"
    of_them = f", {loss.candidates_after} of them most specific" if loss.candidates_after < loss.after else ""
    what = f"{_tasks(demand.waiting, demand.is_exact, 'waiting')} {route_in_words(demand.name, demand.attrs)}"
    return f"{what} would be left with {left}{of_them}."


def _is_exact(found: Sequence[Loss]) -> bool:
    return all(loss.demand.is_exact for loss in found)


def _tasks(number: int, is_exact: bool = True, what: str = "") -> str:
    more = "" if is_exact else "at least "
    noun = f"{what} task" if what else "task"
    return f"{more}{_counted(number, noun)}"


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"

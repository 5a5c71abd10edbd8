"""Task names and the values of their attributes, against the workers that are there: as a table, and what is
missing or misspelt in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from queueapp.domain.matching import Profile, Subscription
from queueapp.domain.spelling import Suggestion, attribute_suggestions, name_suggestion, offer_suggestion
from queueapp.domain.supply import Covered, Supply

NAMES_LOOKED_UP = 10
NAMES_COMPARED = 200
OFFERS_COMPARED = 100
"""To find out what was meant takes tens of microseconds for each pair of names."""

Pair = tuple[str, str]
"""A criterion and a value of it."""


@dataclass(slots=True)
class Cell:
    """Of the tasks of a name that have this value: how many wait, and how many of these for no worker. `workers`
    are those that would take them as far as this criterion is concerned."""

    waiting: int = 0
    stranded: int = 0
    workers: int = 0

    @property
    def health(self) -> str:
        return _health(self.waiting, self.stranded, self.workers)


@dataclass(slots=True)
class Row:
    """A task name. `cells` only where a filter of the name asks for the criterion."""

    name: str
    waiting: int = 0
    stranded: int = 0
    workers: int = 0
    is_exact: bool = True
    cells: dict[Pair, Cell] = field(default_factory=dict)

    @property
    def health(self) -> str:
        return _health(self.waiting, self.stranded, self.workers)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows in which most is wrong first, with the columns of most of them; how many are left out of each."""

    rows: Sequence[Row]
    columns: Sequence[Pair]
    rows_left_out: int
    columns_left_out: int

    def criteria(self) -> list[tuple[str, int]]:
        """Each with the number of its columns, which stand together."""
        counted: dict[str, int] = {}
        for criterion, _ in self.columns:
            counted[criterion] = counted.get(criterion, 0) + 1
        return list(counted.items())


@dataclass(frozen=True, slots=True)
class Missing:
    """A value for which tasks of the name wait, and that no worker accepts: every filter of the name asks for the
    criterion, and none has the value."""

    name: str
    criterion: str
    value: str
    waiting: int


def rows_of(covered: Iterable[Covered], supply: Supply) -> list[Row]:
    """A row for each name that waits or is offered."""
    rows: dict[str, Row] = {}
    for profile, number in supply.number.items():
        for name in {subscription.name for subscription in profile}:
            rows.setdefault(name, Row(name)).workers += number
    for each in covered:
        demand = each.demand
        row = rows.setdefault(demand.name, Row(demand.name))
        criteria = supply.criteria(demand.name)
        stranded = demand.waiting if each.has_no_worker else 0
        row.waiting += demand.waiting
        row.stranded += stranded
        row.is_exact = row.is_exact and demand.is_exact
        for pair in demand.attrs.items():
            if pair[0] in criteria:
                cell = row.cells.setdefault(pair, Cell())
                cell.waiting += demand.waiting
                cell.stranded += stranded
    for row in rows.values():
        for criterion, values in supply.criteria(row.name).items():
            for value in values:
                row.cells.setdefault((criterion, value), Cell())
    for name, offers in _offers_by_name(supply).items():
        _count_workers(rows[name], offers, supply)
    return sorted(rows.values(), key=lambda row: (-row.stranded, -row.waiting, row.name))


def table_of(rows: Sequence[Row], most_rows: int, most_columns: int) -> Table:
    """First the values with which most waits for no worker, then those with which most waits."""
    shown = rows[:most_rows]
    weights: dict[Pair, tuple[int, int, int]] = {}
    for row in shown:
        for pair, cell in row.cells.items():
            stranded, waiting, workers = weights.get(pair, (0, 0, 0))
            weights[pair] = stranded + cell.stranded, waiting + cell.waiting, workers + cell.workers
    ranked = sorted(weights, key=lambda pair: ([-n for n in weights[pair]], pair))[:most_columns]
    first = {criterion: place for place, (criterion, _) in reversed(list(enumerate(ranked)))}
    columns = sorted(ranked, key=lambda pair: (first[pair[0]], ranked.index(pair)))
    return Table(shown, columns, len(rows) - len(shown), len(weights) - len(columns))


def missing_values(rows: Iterable[Row]) -> list[Missing]:
    """Those for which most waits first."""
    found = [
        Missing(row.name, *pair, cell.waiting)
        for row in rows
        for pair, cell in row.cells.items()
        if cell.waiting and not cell.workers
    ]
    return sorted(found, key=lambda each: (-each.waiting, each.name, each.criterion, each.value))


def suggestions(
    unoffered: Sequence[str], unsubmitted: Sequence[str], submitted: Sequence[str], supply: Supply
) -> list[Suggestion]:
    """For names of queues that nobody offers, and for names that workers offer and of which there is no task: what
    was meant, where one looks like another. The first of each."""
    offered = sorted({subscription.name for profile in supply.number for subscription in profile})
    found = [name_suggestion(name, offered[:NAMES_COMPARED]) for name in unoffered[:NAMES_LOOKED_UP]]
    found += [offer_suggestion(name, submitted[:NAMES_COMPARED]) for name in unsubmitted[:NAMES_LOOKED_UP]]
    return [each for each in found if each is not None]


def criteria_suggestions(covered: Iterable[Covered], supply: Supply) -> list[Suggestion]:
    """For the first demands that have no worker: attributes and criteria that look like one another."""
    stranded = [each.demand for each in covered if each.has_no_worker][:NAMES_LOOKED_UP]
    names = {demand.name for demand in stranded}
    offers: dict[str, dict[Subscription, None]] = {name: {} for name in names}
    for profile in supply.number:
        for subscription in profile:
            if subscription.name in names and len(offers[subscription.name]) < OFFERS_COMPARED:
                offers[subscription.name][subscription] = None
    found: dict[Suggestion, None] = {}
    for demand in stranded:
        found |= dict.fromkeys(attribute_suggestions(demand.attrs, offers[demand.name]))
    return list(found)


def _offers_by_name(supply: Supply) -> dict[str, list[tuple[Profile, Subscription]]]:
    offers: dict[str, list[tuple[Profile, Subscription]]] = {}
    for profile in supply.number:
        for subscription in profile:
            offers.setdefault(subscription.name, []).append((profile, subscription))
    return offers


def _count_workers(row: Row, offers: Iterable[tuple[Profile, Subscription]], supply: Supply) -> None:
    """A worker counts for a value once, whichever of its subscriptions would let it pass."""
    criteria = {criterion for criterion, _ in row.cells}
    accepting: dict[Pair, set[Profile]] = {}
    indifferent: dict[str, set[Profile]] = {criterion: set() for criterion in criteria}
    for profile, subscription in offers:
        for criterion in criteria.difference(criterion for criterion, _ in subscription.criteria):
            indifferent[criterion].add(profile)
        for criterion, values in subscription.criteria:
            for value in values:
                accepting.setdefault((criterion, value), set()).add(profile)
    of_any = {criterion: supply.count(profiles) for criterion, profiles in indifferent.items()}
    for pair, cell in row.cells.items():
        only_this = accepting.get(pair, set()) - indifferent[pair[0]]
        cell.workers = of_any[pair[0]] + supply.count(only_this)


def _health(waiting: int, stranded: int, workers: int) -> str:
    """A word for it, which the page has a sign and a colour for."""
    if stranded:
        return "no-worker" if stranded == waiting else "some-no-worker"
    if waiting:
        return "waits"
    return "idle" if workers else "none"

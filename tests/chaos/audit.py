"""The auditor: what producers were told, what the rows say, and what the workers wrote down, side by side."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter, defaultdict, namedtuple
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from tests.chaos.worker_program import digest

TOO_LATE = re.compile(r"The result of (\S+) came too late")
ID = re.compile("[0-9a-f]{32}")
UNCOUNTED = ("released", "cancelled")


@dataclass(frozen=True)
class Books:
    """The rows as they are once it is quiet."""

    tasks: list[Any]
    attempts: dict[str, list[Any]]
    orphans: list[str]
    stale_results: int

    @classmethod
    def read(cls, url: str) -> Books:
        with _database(url) as connection:

            def rows(query: str) -> list[Any]:
                return connection.execute(query).fetchall()

            attempts: dict[str, list[Any]] = defaultdict(list)
            for row in rows("SELECT * FROM queueapp_attempt ORDER BY task_id, number"):
                attempts[str(row.task_id)].append(row)
            orphans = rows(
                "SELECT s.id FROM queueapp_workersession s LEFT JOIN queueapp_node n ON n.id = s.node_id "
                "WHERE s.gone_at IS NULL AND (n.id IS NULL OR n.stopped_at IS NOT NULL)"
            )
            (stale,) = rows("SELECT coalesce(sum(stale_results), 0) AS n FROM queueapp_workersession")
            return cls(
                rows("SELECT * FROM queueapp_task ORDER BY id"),
                attempts,
                [str(row.id) for row in orphans],
                stale.n,
            )

    def outcomes(self) -> Counter[str]:
        return Counter(attempt.outcome for attempts in self.attempts.values() for attempt in attempts)

    def ends(self) -> list[datetime]:
        """When the tasks ended."""
        return [task.finished_at for task in self.tasks if task.finished_at]


def live_tasks(url: str) -> list[Any]:
    query = "SELECT id, state, attempt, worker_id FROM queueapp_task WHERE state IN ('pending', 'assigned')"
    with _database(url) as connection:
        return connection.execute(query).fetchall()


def _database(url: str) -> AbstractContextManager[Any]:
    if not url.startswith("sqlite:"):
        return psycopg.connect(url, row_factory=namedtuple_row)
    connection = sqlite3.connect(urlsplit(url).path)
    connection.row_factory = _row_with_ids
    return closing(connection)


def _row_with_ids(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Any:
    """As psycopg gives it: SQLite keeps ids as text."""
    names = [column for column, *_ in cursor.description]
    found = (UUID(value) if isinstance(value, str) and ID.fullmatch(value) else value for value in values)
    return namedtuple("Row", names)(*found)


class Journals:
    """What the workers wrote: every run of a handler, by task and attempt, and of which results the server told
    them that they came too late.

    `deaths`: from when to when PostgreSQL was dead. An assignment does not wait for its disk: the last before a
    death may be undone, and its attempt be another worker's then.
    """

    def __init__(self, paths: Iterable[Path], deaths: Iterable[tuple[datetime, datetime]] = ()) -> None:
        self._deaths = [(began.timestamp(), ended.timestamp()) for began, ended in deaths]
        self._start_times: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.runs: Counter[tuple[str, str]] = Counter()
        self.too_late: set[tuple[str, str]] = set()
        self.started: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.ended: dict[tuple[str, int], list[str]] = defaultdict(list)
        for path in paths:
            for line in path.read_text().splitlines():
                event, task_id, attempt, at = line.split()
                book = self.started if event == "start" else self.ended
                book[task_id, int(attempt)].append(path.stem)
                self.runs[path.stem, task_id] += event == "start"
                if event == "start":
                    self._start_times[task_id, int(attempt)].append(float(at))
            log = path.with_suffix(".log").read_text(errors="replace")
            self.too_late |= {(path.stem, task_id) for task_id in TOO_LATE.findall(log)}

    def may_have_been_undone(self, attempt: tuple[str, int]) -> bool:
        """Whether PostgreSQL died between its runs."""
        times = self._start_times[attempt]
        return any(began <= max(times) and min(times) <= ended for began, ended in self._deaths)


def findings(accepted: dict[str, Any], books: Books, journals: Journals) -> Iterator[str]:
    """Whatever does not agree, in words."""
    stored = {str(task.id): task for task in books.tasks}
    for task_id in accepted.keys() - stored.keys():
        yield f"{task_id} was answered with 201 and is not stored"
    for task_id, task in stored.items():
        if task_id in accepted and json.loads(task.data) != accepted[task_id]:
            yield f"{task_id} was submitted with {accepted[task_id]} and stored with {task.data}"
        if task.state != "succeeded":
            yield f"{task_id} is {task.state} ({task.reason or task.error or 'no reason'})"
        else:
            yield from _wrong_result(task, journals)
        yield from _wrong_attempts(task, books.attempts.get(task_id, []), journals)
    for task_id in books.attempts.keys() - stored.keys():
        yield f"{task_id} has attempts and is not stored"
    for key, workers in journals.started.items():
        if len(workers) > 1 and not journals.may_have_been_undone(key):
            yield f"attempt {key[1]} of {key[0]} was run by {' and '.join(workers)}"
    for session_id in books.orphans:
        yield f"session {session_id} is not gone, though its node is"


def _wrong_result(task: Any, journals: Journals) -> Iterator[str]:
    result = json.loads(task.result)
    expected = {"task": str(task.id), "attempt": task.attempt, "digest": digest(json.loads(task.data))}
    if {key: result.get(key) for key in expected} != expected:
        yield f"{task.id}, attempt {task.attempt}, has the result {result}"
    key = str(task.id), task.attempt
    who = journals.ended[key]
    is_known = result.get("worker") in who
    if not is_known or (len(who) > 1 and not journals.may_have_been_undone(key)):
        yield f"{task.id}, attempt {task.attempt}, has a result of {result.get('worker')}, but {who} did it"
    told = (str(result.get("worker")), str(task.id))
    if told in journals.too_late and journals.runs[told] == 1:
        yield f"{task.id}, attempt {task.attempt}, is {told[0]}'s result, who was told that it came too late"


def _wrong_attempts(task: Any, attempts: list[Any], journals: Journals) -> Iterator[str]:
    """Numbered without a gap up to the row's own; one `done`, the last; a plain first one has no row."""
    what = f"{task.id} with attempt {task.attempt}"
    expected = [] if task.attempt == 1 and task.state == "succeeded" else list(range(1, task.attempt + 1))
    if (numbers := [attempt.number for attempt in attempts]) != expected:
        yield f"{what} has the attempts {numbers}"
    done = [attempt.number for attempt in attempts if attempt.outcome == "done"]
    if done not in ([], [task.attempt]):
        yield f"{what} has the attempts {done} done"
    used = sum(attempt.outcome not in UNCOUNTED for attempt in attempts) or int(not attempts)
    if task.state == "succeeded" and used != task.attempts_used:
        yield f"{what} used up {task.attempts_used}, and its attempts {used}"
    for number in done:
        if not journals.ended[str(task.id), number]:
            yield f"{what}: no worker wrote down that it did attempt {number}"
    for attempt in attempts:
        if attempt.outcome == "timeout":
            yield f"{what}: attempt {attempt.number} timed out, though no worker may be silent for so long"

"""The limit: one psycopg connection that submits, assigns and finishes the same rows in batches, and nothing else.

No sockets, no HTTP, no choice of a worker, no JSON: what remains is what the database takes for durable rows in
the same table, with its indexes and constraints. Three statements and three commits for each batch, parameters
and rows in binary, prepared once. Whoever knows how to write them faster is welcome: it is a limit, no straw man.
"""

from __future__ import annotations

import time
from uuid import UUID, uuid4

import psycopg
from uuid_utils.compat import uuid7

from benchmarks.cpu import Meter
from benchmarks.measurement import Measurement

BATCH = 100
ROUTES = 10

SUBMIT = """
INSERT INTO queueapp_task (
    id, route_id, data, name, state, priority, attempt, attempts_used, max_attempts, timeout_seconds,
    reason, error, progress_message, traceparent, created_at, available_at, waiting_since, submitted_by_id
)
SELECT id, route_id, data, 'bench', 'pending', 0, 0, 0, 4, 300, '', '', '', '', now(), now(), now(), 1
FROM unnest(%b::uuid[], %b::uuid[], %b::text[]) AS t(id, route_id, data)
"""

ASSIGN = f"""
WITH best AS MATERIALIZED (
    SELECT task.id FROM unnest(%b::uuid[]) AS route(id) CROSS JOIN LATERAL (
        SELECT * FROM queueapp_task
        WHERE route_id = route.id AND state = 'pending' AND delayed_until IS NULL AND NOT held_back
        ORDER BY priority DESC, available_at, id LIMIT {BATCH} FOR UPDATE SKIP LOCKED
    ) AS task LIMIT {BATCH}
)
UPDATE queueapp_task AS task
SET state = 'assigned', worker_id = %b, last_worker_id = %b, attempt = attempt + 1, assigned_at = now(),
    deadline = now() + interval '300 s', progress = NULL, progress_message = ''
FROM best WHERE task.id = best.id
RETURNING task.id, data
"""
"""By the index of ready tasks, which begins with the route. Without it the loop slows down as the table grows."""

FINISH = """
UPDATE queueapp_task AS task
SET state = 'succeeded', result = t.result, error = '', finished_at = now(), attempts_used = attempts_used + 1,
    worker_id = NULL, deadline = NULL
FROM unnest(%b::uuid[], %b::text[]) AS t(id, result)
WHERE task.id = t.id AND state = 'assigned' AND worker_id = %b
RETURNING task.id
"""


class RawSql:
    """The loop on a migrated database of its own. Each statement is a transaction: no BEGIN, no COMMIT to send."""

    def __init__(self, url: str, postgres_pid: int) -> None:
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        self._cursor = self._connection.cursor(binary=True)
        for plan in ("seqscan", "hashjoin", "mergejoin"):
            # Before the table is analysed the planner reads all of it, and the loop slows down as it grows.
            self._connection.execute(f"SET enable_{plan} = off")
        self._postgres_pid = postgres_pid
        self._routes = [uuid4() for _ in range(ROUTES)]
        self._worker = uuid4()

    def close(self) -> None:
        self._connection.close()

    def measure(self, tasks: int) -> Measurement:
        meter = Meter(database=self._postgres_pid)
        started, cpu_before = time.perf_counter(), time.process_time()
        for start in range(0, tasks, BATCH):
            self._round_trip(range(start, min(start + BATCH, tasks)))
        seconds = time.perf_counter() - started
        cpu_us = {"client": (time.process_time() - cpu_before) / tasks * 1e6, **meter.used_us(tasks)}
        return Measurement(tasks, seconds, cpu_us)

    def _round_trip(self, numbers: range) -> None:
        execute = self._cursor.execute
        ids: list[UUID] = [uuid7() for _ in numbers]
        routes = [self._routes[number % ROUTES] for number in numbers]
        execute(SUBMIT, [ids, routes, [f'{{"n":{number}}}' for number in numbers]])
        assigned = execute(ASSIGN, [self._routes, self._worker, self._worker]).fetchall()
        given, results = zip(*assigned, strict=True)
        finished = execute(FINISH, [list(given), list(results), self._worker]).fetchall()
        if len(finished) != len(numbers):
            raise RuntimeError(f"Of {len(numbers)} tasks {len(finished)} were finished.")

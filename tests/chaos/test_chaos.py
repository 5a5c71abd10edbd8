"""Three servers, ten workers, six producers, a fault every two seconds: nothing lost, nothing accepted twice.

CHAOS_SECONDS says for how long (`make chaos`: 300), CHAOS_SEED repeats the faults of an earlier run.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from tests.chaos.audit import Books, Journals, findings
from tests.chaos.faults import Storm
from tests.chaos.logs import unexpected_lines, warnings
from tests.chaos.pauses import longest, longest_of_the_able
from tests.chaos.producers import Producers
from tests.chaos.site import SERVERS, WORKERS, Site

pytestmark = pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")

SECONDS = float(os.environ.get("CHAOS_SECONDS", "16"))
QUIET_SECONDS = 90
"""A frozen worker is noticed after 20 seconds at most, a dead server after 6, a lost hand-over after one."""
SHOWN = 20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


async def test_what_was_accepted_is_done_once_whatever_dies(
    site: Site, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING", "httpx")
    seed = os.environ.get("CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    storm = Storm(site, random.Random(seed), longest_freeze_seconds=min(25.0, SECONDS / 4))
    producers = Producers(site.servers, random.Random(f"producers {seed}"))
    loop = asyncio.get_running_loop()
    began = datetime.now(UTC)
    with capsys.disabled():
        print(f"\n  CHAOS_SEED={seed}")
    producers.start()
    try:
        await storm.rage(SECONDS)
    finally:
        await producers.stop()
    quiet_from = loop.time()
    problems = [await _unrest(site)]
    calm_seconds = loop.time() - quiet_from

    deaths = [(spell.began, spell.ended) for spell in storm.spells if spell.kind == "postgresql killed"]
    books = Books.read(site.postgres.url)
    journals = Journals((worker.journal for worker in site.workers), deaths)
    problems += findings(producers.accepted, books, journals)
    problems += [f"a producer was answered {answer}" for answer in producers.unexpected]
    server_logs = [server.log for server in site.servers]
    problems += [f"logged {count} times: {line}" for line, count in unexpected_lines(server_logs).items()]
    problems += storm.end()
    problems = [problem for problem in problems if problem]

    outcomes, ends = books.outcomes(), books.ends()
    summary = [
        f"chaos of {SECONDS:g} s with CHAOS_SEED={seed}",
        f"tasks: {len(producers.accepted)} answered with 201, {len(books.tasks)} stored, "
        f"{producers.unsure} of unknown fate; answers: {dict(producers.answers)}",
        f"faults: {dict(storm.counts)}",
        f"attempts beside the plain first: {dict(outcomes)}; handlers run {len(journals.started)} times; "
        f"stale results {books.stale_results}",
        f"longest time without a task's end: {longest(ends).told(began, storm.spells)}",
        f"the same while somebody could have ended one: "
        f"{longest_of_the_able(ends, storm.spells).told(began, storm.spells)}",
        f"quiet {calm_seconds:.1f} s after the last fault",
        f"warnings: {dict(warnings(server_logs).most_common(8))}",
    ]
    with capsys.disabled():
        print("", *summary, sep="\n  ")
    told = "\n".join([*summary, "", *problems[:SHOWN], f"{len(problems)} findings", "", *storm.history])
    assert not problems, told
    assert len(producers.accepted) > SECONDS


async def _unrest(site: Site) -> str:
    """What is left once nothing is pending or assigned and everybody is back; empty: nothing."""
    left = ""
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            while left := await asyncio.to_thread(_restless, site):  # noqa: ASYNC110 - other processes end it
                await asyncio.sleep(0.2)
    except TimeoutError:
        return f"{QUIET_SECONDS} s after the last fault there are still {left}"
    return ""


def _restless(site: Site) -> str:
    with psycopg.connect(site.postgres.url) as connection:
        live = connection.execute(
            "SELECT t.state, t.id::text, t.attempt, t.assigned_at::text, s.name, s.state, n.pid, "
            "n.stopped_at::text FROM queueapp_task t LEFT JOIN queueapp_workersession s ON s.id = t.worker_id "
            "LEFT JOIN queueapp_node n ON n.id = s.node_id WHERE t.state IN ('pending', 'assigned')"
        ).fetchall()
        (online,) = connection.execute(
            "SELECT count(*) FROM queueapp_workersession WHERE gone_at IS NULL"
        ).fetchone() or (0,)
        (nodes,) = connection.execute(
            "SELECT count(*) FROM queueapp_node WHERE stopped_at IS NULL"
        ).fetchone() or (0,)
    if live or (online, nodes) != (WORKERS, SERVERS):
        return f"{len(live)} live tasks, {online} sessions, {nodes} nodes; such as {live[:3]}"
    return ""

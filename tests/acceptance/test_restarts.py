"""Servers and workers end at random moments, in order or not, and start again, as often as RESTARTS says.

On PostgreSQL there are several servers, and their restarts and those of the workers overlap. `make restarts` makes
a thousand there. RESTARTS_SEED repeats what is chosen, though not the moments.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.processes import Server, backing, database_name, eventually
from tests.acceptance.restarting import Child, Nursery, Victim
from tests.chaos.audit import Books, Journals, findings, live_tasks
from tests.chaos.logs import unexpected_lines
from tests.chaos.producers import Producers
from tests.chaos.site import SPECIALISTS

RESTARTS = int(os.environ.get("RESTARTS", "12"))
SERVERS = 3 if "DATABASE_URL" in os.environ else 1
WORKERS_OF_A_SERVER = 2
LONGEST_LIFE_SECONDS = 3.0
LONGEST_RUN_SECONDS = 0.3
"""So that half of the workers are at a task at any moment."""
RUNS_A_RESTART = 1
"""So much goes on between them at least, where the machine is so busy that hardly anything begins in a life."""
RUN_BYTES = 2 * 60
"""Of a journal."""
SHOWN = 20


class Site:
    """`restarts`: how often what was ended by which signals."""

    def __init__(self, prepared: Server, directory: Path, dice: random.Random, stack: ExitStack) -> None:
        self.restarts: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self._begun = 0
        self._dice = dice
        self._directory = directory
        backed = stack.enter_context(backing(database_name(prepared.environment.get("DATABASE_URL", ""))))
        data = directory / "data"
        shutil.copytree(prepared.data_dir, data)
        self.url = backed.get("DATABASE_URL") or f"sqlite:///{data}/workqueue.sqlite3"
        self.servers = [Server(data, **backed, WORKQUEUE_DRAIN_GRACE_SECONDS="2") for _ in range(SERVERS)]
        environment = {**self.servers[0].environment, "WORKQUEUE_TOKEN": prepared.keys["worker"]}
        environment["LONGEST_RUN_SECONDS"] = str(LONGEST_RUN_SECONDS)
        self._nursery = stack.enter_context(Nursery(environment))
        self._server_victims = [self._server(number, server) for number, server in enumerate(self.servers)]
        self._worker_victims = [
            self._worker(number, self.servers[number % SERVERS]) for number in range(SERVERS * WORKERS_OF_A_SERVER)
        ]
        for server in self.servers:
            server.keys = prepared.keys

    @property
    def journals(self) -> Journals:
        return Journals(self._journals)

    @property
    def _journals(self) -> list[Path]:
        return [victim.log.with_suffix(".journal") for victim in self._worker_victims]

    @property
    def server_logs(self) -> list[Path]:
        return [victim.log for victim in self._server_victims]

    async def start(self) -> None:
        for server, victim in zip(self.servers, self._server_victims, strict=True):
            server.port = int((await victim.rise()).rsplit(":", 1)[1])
        for victim in self._worker_victims:
            await victim.rise()

    async def suffer(self) -> None:
        """Each in its own time, until there were enough restarts."""
        async with asyncio.TaskGroup() as group:
            for victim in self._server_victims:
                group.create_task(self._restart("server", victim))
            for victim in self._worker_victims:
                group.create_task(self._restart("worker", victim))

    async def _restart(self, kind: str, victim: Victim) -> None:
        while True:
            await asyncio.sleep(self._dice.uniform(0, LONGEST_LIFE_SECONDS))
            if self._begun == RESTARTS:
                return
            self._begun += 1
            await eventually(self._much_was_done)
            end = await victim.end(self._dice)
            self.restarts[" ".join([kind, *(number.name for number in end.signals)])] += 1
            self.wrongs += [end.wrong] if end.wrong else []
            await victim.rise()

    async def _much_was_done(self) -> bool:
        written_bytes = sum(journal.stat().st_size for journal in self._journals if journal.exists())
        return written_bytes >= self._begun * RUNS_A_RESTART * RUN_BYTES

    def _server(self, number: int, server: Server) -> Victim:
        log = self._directory / f"server-{number}.log"
        return Victim(
            lambda: self._nursery.start("server", log, "--port", str(server.port)), log, "Listening on", 1
        )

    def _worker(self, number: int, server: Server) -> Victim:
        name = f"worker-{SPECIALISTS + number}"
        log = self._directory / f"{name}.log"

        def start() -> Child:
            url, journal = f"ws://127.0.0.1:{server.port}", log.with_suffix(".journal")
            return self._nursery.start("worker", log, url, name, str(journal))

        return Victim(start, log, None, 128 + signal.SIGTERM)


@pytest.fixture
def dice(capsys: pytest.CaptureFixture[str]) -> random.Random:
    seed = os.environ.get("RESTARTS_SEED") or str(random.SystemRandom().randrange(10**6))
    with capsys.disabled():
        print(f"\n  RESTARTS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


async def test_every_task_succeeds_once_and_every_run_of_a_handler_is_an_attempt(
    prepared: Server,
    tmp_path: Path,
    dice: random.Random,
    stack: ExitStack,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("WARNING", "httpx")
    site = Site(prepared, tmp_path, dice, stack)
    await site.start()
    producers = Producers(site.servers, dice)
    began = time.monotonic()
    producers.start()
    try:
        await site.suffer()
    finally:
        await producers.stop()
    lasted_seconds = time.monotonic() - began
    await all_have_ended(site.url)
    books, journals = Books.read(site.url), site.journals
    problems = [*site.wrongs, *findings(producers.accepted, books, journals), *producers.unexpected]
    problems += [f"logged {count} times: {line}" for line, count in unexpected_lines(site.server_logs).items()]
    summary = [
        f"{site.restarts.total()} restarts in {lasted_seconds:.0f} s: {dict(site.restarts.most_common())}",
        f"{len(producers.accepted)} tasks answered with 201, {len(books.tasks)} stored; answers "
        f"{dict(producers.answers)}",
        f"{len(journals.started)} runs of handlers; attempts beside the plain first: {dict(books.outcomes())}; "
        f"stale results {books.stale_results}",
    ]
    with capsys.disabled():
        print("", *summary, sep="\n  ")
    assert not problems, "\n".join([*problems[:SHOWN], f"{len(problems)} findings"])
    assert producers.accepted


async def all_have_ended(url: str) -> None:
    """However many there are, as long as they become fewer."""
    while left := await asyncio.to_thread(live_tasks, url):
        try:
            await eventually(lambda left=left: asyncio.to_thread(lambda: len(live_tasks(url)) < len(left)))
        except TimeoutError:
            raise AssertionError(f"{len(left)} tasks do not end, such as {left[:SHOWN]}") from None

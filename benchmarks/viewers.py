"""Live pages: what it costs the server that ten operators look at one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from statistics import median

import aiohttp

from benchmarks.bench import Bench
from benchmarks.cpu import cpu_seconds
from benchmarks.figures import Figure, Ratio, Target
from benchmarks.rows import Rows
from benchmarks.site import TITLES, Database, Queue

TITLE = "Live pages: the server's CPU with ten viewers and without, 1,000 workers attached, tasks flowing"

VIEWERS = 10
WORKERS_ATTACHED = 1000
WORKERS = 20
NAMES = [f"waiting{number}" for number in range(5)]
BACKLOG = 20_000
"""Tasks that wait on fifty routes, of which the overview says why."""
RATE = 50.0
BULK = 5
WARM_UP_SECONDS = 3.0
ROWS = 50
"""That a list shows."""

SHARE_TARGET = Target(5, at_most=True)
LOG_IN = """
from django.contrib.auth import get_user_model
from django.test import Client
client = Client()
client.force_login(get_user_model().objects.create_superuser("viewer"))
print(client.cookies["sessionid"].value)
"""


def measure(bench: Bench) -> Iterator[Figure]:
    seconds = 5.0 if bench.quick else 20.0
    for database in bench.databases:
        yield from _on(bench, database, seconds)


def _on(bench: Bench, database: Database, seconds: float) -> Iterator[Figure]:
    with bench.site.database(database) as url:
        with closing(Rows(url)) as rows:
            rows.insert(
                "queueapp_queue", ("name", "paused", "paused_by", "note"), ((n, False, "", "") for n in NAMES)
            )
            rows.add_backlog(range(BACKLOG), NAMES, distinct=False)
            rows.settle()
        session = bench.site.manage({"DATABASE_URL": url}, "shell", "-v", "0", "-c", LOG_IN).splitlines()[-1]
        with bench.site.queue_at(url) as queue:
            with closing(Rows(url)) as rows:  # of another process, besides which this one would not start
                rows.add_workers(WORKERS_ATTACHED, "other")
            queue.attach(WORKERS)
            with closing(Rows(url)) as rows:
                workers = rows.workers(WORKERS_ATTACHED)
            queue.load.ask("pace", rate=RATE, seconds=WARM_UP_SECONDS, bulk=BULK)
            for page, watches in _pages(workers).items():
                yield from _of_page(bench, queue, session, f"{TITLES[database]}, {page}", watches, seconds)


def _pages(workers: list[str]) -> dict[str, list[str]]:
    """What each viewer watches. Lists are the dearest when each shows other rows."""
    lists = [workers[number * ROWS : (number + 1) * ROWS] for number in range(VIEWERS)]
    return {
        "the overview": [""] * VIEWERS,
        "workers, each other rows": ["&row=".join(["watch=workers&newer=1", *rows]) for rows in lists],
        "queues": ["&row=".join(["watch=queues&newer=1", *NAMES])] * VIEWERS,
    }


def _of_page(
    bench: Bench, queue: Queue, session: str, page: str, watches: list[str], seconds: float
) -> Iterator[Figure]:
    without, watched, snapshots = [], [], []
    for _ in range(bench.rounds):
        without.append(_share(queue, seconds))
        with _looking(queue.servers[0].url, session, watches) as counted:
            queue.load.ask("pace", rate=RATE, seconds=WARM_UP_SECONDS, bulk=BULK)
            before = sum(counted)
            watched.append(_share(queue, seconds))
            snapshots.append((sum(counted) - before) / VIEWERS / seconds)
    what = f"{WORKERS_ATTACHED:,} workers, {BACKLOG:,} tasks waiting, {RATE:.0f} tasks/s"
    yield Figure.of_rounds(f"{page}, without viewers", without, "% of a core", note=what)
    yield Figure.of_rounds(
        f"{page}, with {VIEWERS} viewers",
        watched,
        "% of a core",
        ratios=(Ratio.of_rounds("that without", watched, without),),
        note=f"each got {median(snapshots):.2g} snapshots a second",
    )
    yield Figure.of_rounds(
        f"{page}, what {VIEWERS} viewers add",
        [more - less for more, less in zip(watched, without, strict=True)],
        "% of a core",
        target=SHARE_TARGET,
        note="the difference, round by round",
    )


def _share(queue: Queue, seconds: float) -> float:
    """Per cent of a core that the server takes while tasks flow."""
    server = queue.servers[0].pid
    before = cpu_seconds(server)
    queue.load.ask("pace", rate=RATE, seconds=seconds, bulk=BULK)
    return (cpu_seconds(server) - before) / seconds * 100


@contextmanager
def _looking(url: str, session: str, watches: list[str]) -> Iterator[list[int]]:
    """Viewers over the operators' WebSocket, on a thread of their own. What is yielded counts their snapshots."""
    counted = [0] * VIEWERS
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        looking = loop.create_task(_look(url, session, watches, counted))
        thread = threading.Thread(target=lambda: runner.run(_until_it_ends(looking)), name="viewers")
        thread.start()
        try:
            yield counted
        finally:
            loop.call_soon_threadsafe(looking.cancel)
            thread.join()
    if not looking.cancelled() or not all(counted):
        raise RuntimeError(f"Not all viewers were shown what they came for: {counted}")


async def _until_it_ends(looking: asyncio.Task[None]) -> None:
    await asyncio.wait([looking])


async def _look(url: str, session: str, watches: list[str], counted: list[int]) -> None:
    headers = {"Cookie": f"sessionid={session}", "Origin": url}

    async def one(client: aiohttp.ClientSession, number: int) -> None:
        address = f"{url}/work/operators?{watches[number]}"
        async with client.ws_connect(address, headers=headers, max_msg_size=0) as socket:
            async for _ in socket:
                counted[number] += 1
        raise RuntimeError("A viewer was shown out.")

    async with aiohttp.ClientSession() as client, asyncio.TaskGroup() as viewers:
        for number in range(VIEWERS):
            viewers.create_task(one(client, number))

"""What each page of the operators' site takes with a million tasks and a thousand workers, and some searches.

The pages are those that the site itself names at its top, and of each kind one row's. Measured from outside, one
request after another: the server's time, and what HTTP adds to it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from http.cookiejar import CookieJar
from urllib.parse import quote_plus, urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from benchmarks.bench import Bench
from benchmarks.cpu import Meter
from benchmarks.figures import Figure, Target
from benchmarks.fleet import FleetRows, pages_of
from benchmarks.rows import Rows
from benchmarks.site import TITLES, Database

TITLE = "Operators' pages: milliseconds until a page is there"

BAR = Target(300, at_most=True)
ROUNDS = 5
PATIENCE_SECONDS = 60
USER, PASSWORD = "ada", "for-benchmarks"
NAVIGATION = re.compile(r'<nav id="pages".*?</nav>', re.DOTALL)
TASKS = "/admin/queueapp/task/"
SEARCHES = (
    "state:failed",
    "state:failed finished:<1h",
    "state:failed error:~timeout",
    "state:expired,cancelled",
    "waiting:>5m",
    "state:pending name:collect",
    "state:assigned",
    "state:assigned worker:w7",
    "worker:w7",
    "worker:nobody",
    "name:tag attr.cloud:aws",
    "name:nothing",
    "error:~timeout",
    "error:~nothing",
    "age:>12h",
    "age:>12h name:nothing",
    "data.node.id:n7",
    "data.node.id:nothing",
    "tag:t10",
    "tag:nothing",
)


def measure(bench: Bench) -> Iterator[Figure]:
    tasks, workers = (20_000, 100) if bench.quick else (1_000_000, 1_000)
    for database in bench.databases:
        yield from _on(bench, database, tasks, workers)


def _on(bench: Bench, database: Database, tasks: int, workers: int) -> Iterator[Figure]:
    with bench.site.database(database) as url:
        made = FleetRows(tasks, workers)
        with closing(Rows(url)) as rows:
            made.add_past(rows)
        account = {"DATABASE_URL": url, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        bench.site.manage(
            account, "createsuperuser", "--noinput", "--username", USER, "--email", "ada@example.com"
        )
        with bench.site.queue_at(url) as queue:
            with closing(Rows(url)) as rows:
                fleet = made.add_present(rows)
            operator = Operator(queue.servers[0].url)
            searches = [f"{TASKS}?q={quote_plus(text)}" for text in SEARCHES]
            for path in [*operator.navigation(), *pages_of(fleet), *searches]:
                named = re.sub(r"[0-9a-f-]{36}", "…", path)
                search = SEARCHES[searches.index(path)] if path in searches else ""
                operator.read(path)  # what is read once only: templates, and rows into the database's memory
                postgres = bench.site.postgres_pid if database == "postgresql" else None
                meter = Meter(database=postgres, server=queue.servers[0].pid)
                times_ms = [operator.time_ms(path) for _ in range(ROUNDS)]
                used = meter.used_us(ROUNDS)
                cpu = " + ".join(f"{value / 1000:.0f} ms {name}" for name, value in used.items())
                yield Figure.of_rounds(
                    f"{TITLES[database]}, {search or named}",
                    times_ms,
                    "ms",
                    target=BAR,
                    note=f"{tasks:,} tasks, {workers:,} workers; of CPU {cpu}",
                )


class Operator:
    """Somebody who has logged in."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies))
        self.read("/admin/login/")
        token = next(cookie.value for cookie in self._cookies if cookie.name == "csrftoken")
        form = {"username": USER, "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/admin/"}
        request = Request(
            f"{server}/admin/login/", urlencode(form).encode(), {"Referer": f"{server}/admin/login/"}
        )
        with self._opener.open(request, timeout=PATIENCE_SECONDS) as response:
            if "id_username" in response.read().decode():
                raise RuntimeError("nobody could log in")

    def read(self, path: str) -> str:
        with self._opener.open(f"{self._server}{path}", timeout=PATIENCE_SECONDS) as response:
            text = response.read().decode()
            if response.url.removeprefix(self._server) != path:
                raise RuntimeError(f"{path} leads to {response.url}")
            return text

    def navigation(self) -> list[str]:
        """The pages that the site says it has."""
        found = NAVIGATION.search(self.read(TASKS))
        assert found is not None
        return re.findall(r'href="([^"]+)"', found[0])

    def time_ms(self, path: str) -> float:
        begun = time.perf_counter()
        self.read(path)
        return (time.perf_counter() - begun) * 1000

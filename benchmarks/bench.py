"""How much a run measures, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.site import Database, Site


@dataclass(frozen=True, slots=True)
class Bench:
    """What the sections are given. A `quick` run is done in minutes; its figures say little more than that it
    works."""

    site: Site
    quick: bool
    databases: tuple[Database, ...]
    with_peers: bool
    tasks: int
    rounds: int
    worker_counts: tuple[int, ...]
    peer_tasks: Mapping[str, int]
    """Fewer for the slower ones, whose rates do not depend on it."""

    @classmethod
    def full(cls, site: Site, databases: tuple[Database, ...], with_peers: bool, tasks: int = 20_000) -> Bench:
        peer_tasks = {"celery": 5_000, "dramatiq": 10_000, "procrastinate": 3_000}
        return cls(site, False, databases, with_peers, tasks, 3, (4, 50, 500), peer_tasks)

    @classmethod
    def short(cls, site: Site, databases: tuple[Database, ...], with_peers: bool, tasks: int = 3_000) -> Bench:
        peer_tasks = {"celery": 500, "dramatiq": 1_000, "procrastinate": 300}
        return cls(site, True, databases, with_peers, tasks, 1, (50,), peer_tasks)

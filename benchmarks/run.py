"""`make bench`: every figure beside the one it is compared with, both measured in this run.

`make bench ARGS="end_to_end"` runs one section, `ARGS="--quick"` a short form of all. A target that is missed is
printed as missed, and fails nothing.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
from pathlib import Path

from benchmarks import charts, report
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.site import Database, Site

SECTIONS = (
    "end_to_end",
    "latency",
    "producers",
    "backlog",
    "workers",
    "processes",
    "growth",
    "pages",
    "viewers",
    "profile",
)
"""Modules of this package with a TITLE and `measure(bench)`, which yields figures; run in this order."""


def main() -> None:
    arguments = _arguments()
    _allow_many_sockets()
    about = {**report.machine(), "quick": arguments.quick}
    sections: dict[str, list[Figure]] = {}
    with Site(arguments.python) as site:
        bench = _bench(arguments, site)
        for name in arguments.sections or SECTIONS:
            section = importlib.import_module(f"benchmarks.{name}")
            sections[name] = list(section.measure(bench))
            report.print_section(section.TITLE, sections[name])
            if arguments.save:
                report.write_json(arguments.save / "results.json", about, sections)
                charts.draw(arguments.save, sections[name])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (all)")
    parser.add_argument("--quick", action="store_true", help="a short form, to see that it works")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), help="measure only on that one")
    parser.add_argument("--without-peers", action="store_true", help="leave out the other queues")
    parser.add_argument("--tasks", type=int, help="how many in one measurement, end to end")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="DIRECTORY",
        help="write results.json and the charts there, of the sections that are run",
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the server's environment")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
    return arguments


def _bench(arguments: argparse.Namespace, site: Site) -> Bench:
    databases: tuple[Database, ...] = (arguments.database,) if arguments.database else ("postgresql", "sqlite")
    sizes = {"tasks": arguments.tasks} if arguments.tasks else {}
    make = Bench.short if arguments.quick else Bench.full
    return make(site, databases, not arguments.without_peers, **sizes)


def _allow_many_sockets() -> None:
    """For the processes that are started from here too: a socket is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()

"""A run's outcome: the table on the terminal, `results.json`, and what the machine was."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Target

COLUMNS = ("figure", "value", "ratios", "CPU µs a task", "measured with")


def print_section(title: str, figures: Iterable[Figure]) -> None:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column == "value" else "left")
    for figure in figures:
        ratios = [
            f"{ratio.value:.3g} of {ratio.to}{_verdict(ratio.value, ratio.target)}" for ratio in figure.ratios
        ]
        cpu = " + ".join(f"{value:.0f} {name}" for name, value in figure.cpu_us.items())
        value = f"{readable(figure.value)} {figure.unit}{_verdict(figure.value, figure.target)}"
        table.add_row(figure.name, value, "\n".join(ratios), cpu, figure.note)
    # As wide as it needs to be, so that a file that it is sent to can be read.
    console = Console()
    Console(width=max(console.width, 150)).print(table)


def readable(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _verdict(value: float, target: Target | None) -> str:
    return "" if target is None else f" ({target}: {'met' if target.met(value) else 'MISSED'})"


def machine() -> dict[str, Any]:
    """What the figures were measured on. They mean little elsewhere, the ratios more."""
    cpu_model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpu": cpu_model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": psutil.getloadavg()[0],
    }


def _commit() -> str:
    """`-dirty`: something has been changed since. The figures that a run has saved are not what is measured."""
    commit = subprocess.run(["git", "describe", "--always"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ":!docs"], stderr=subprocess.DEVNULL)
    return f"{commit}-dirty" if commit and changed.returncode else commit


def write_json(path: Path, about: dict[str, Any], sections: dict[str, list[Figure]]) -> None:
    """`runs` says of each section of which run it is. Those that were not measured now stay as they are there."""
    saved = json.loads(path.read_text()) if path.exists() else {"runs": {}, "sections": {}}
    for name, figures in sections.items():
        saved["runs"][name] = about
        saved["sections"][name] = [figure.as_json() for figure in figures]
    path.write_text(json.dumps(saved, indent=1, ensure_ascii=False) + "\n")

"""What the README says is what the code does."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from test_deployment import settings_from_the_environment

from queueapp.conf import Config
from queueapp.domain.states import EDGES, Outcome, TaskState

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_lifecycle_diagram_has_every_edge_with_its_cause_and_no_other():
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (.+)$", README, re.MULTILINE))
    real = {(str(a), str(b), cause) for a, targets in EDGES.items() for b, cause in targets.items()}
    assert drawn == real


def test_every_state_is_drawn_and_every_outcome_is_explained():
    assert all(f" {state}" in README for state in TaskState)
    assert all(f"| `{outcome}` |" in README for outcome in Outcome)


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(((?!http)[^)]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_worker_of_ten_lines_is_the_one_in_the_examples():
    code = (ROOT / "examples/ten_lines.py").read_text().partition('"""\n\n')[2]
    assert len([line for line in code.splitlines() if line and not line.startswith(("import", "from"))]) <= 10
    assert code in README


def test_every_variable_of_the_environment_is_explained_there_or_on_the_page_of_running():
    """Those of the queue itself are in `conf.py`."""
    explained = README + (ROOT / "docs/running.md").read_text()
    read = settings_from_the_environment() - {f"WORKQUEUE_{field.name.upper()}" for field in fields(Config)}
    assert {name for name in read if f"`{name}`" not in explained} == set()


def test_make_help_lists_every_target():
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    told = re.findall(r"^\t@echo .make (\w+)", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) - set(told) == {"help"}

"""Every guarantee in the docs names tests that hold it, and there they are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
GUARANTEES = ROOT / "docs/guarantees.md"

TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")
SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
WITHOUT_TESTS = {"Not promised"}


@cache
def names_in(file: str) -> frozenset[str]:
    """`test_…` and `Class::test_…` of a file, as pytest would name them, without running it."""
    found = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        for name, each in (
            [("", node)] if not isinstance(node, ast.ClassDef) else [(node.name, n) for n in node.body]
        ):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_"):
                found.add(f"{name}::{each.name}".removeprefix("::"))
    return frozenset(found)


def sections() -> dict[str, str]:
    _, *parts = SECTION.split(GUARANTEES.read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_is_named_exists(path):
    named = TEST.findall(path.read_text())
    missing = [
        f"{file}::{test}" for file, test in named if not (ROOT / file).is_file() or test not in names_in(file)
    ]
    assert missing == []


@pytest.mark.parametrize("title", sections())
def test_every_guarantee_names_a_test(title):
    assert bool(TEST.search(sections()[title])) is (title not in WITHOUT_TESTS)


def test_every_line_that_looks_like_a_test_is_read_as_one():
    assert len(re.findall(r"^- `tests/", GUARANTEES.read_text(), re.MULTILINE)) == len(
        TEST.findall(GUARANTEES.read_text())
    )


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_exists(path):
    links = re.findall(r"\]\(((?!http|#)[^)#]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []

"""The demonstration's checks fail where what they claim does not hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples.checksums import checksum
from examples.fleet import checks
from examples.fleet.checks import Outcome
from examples.tagging import tagged_with_evidence

WORKERS = {"s1": "worker1", "s2": "worker2", "s3": "worker3"}
INVENTORY = [
    {"id": name, "cloud": "aws", "account": name, "region": "r", "type": "t", "tags": {"A": "1"}, "tag_update": {}}
    for name in ("123", "456")
]


def tag(number: str, worker: str, **changes: Any) -> dict[str, Any]:
    resource = next(each for each in INVENTORY if each["id"] == number)
    return {
        "id": f"t{number}",
        "name": "tag",
        "state": "succeeded",
        "worker": worker,
        "attempt": 1,
        "attrs": {"cloud": "aws", "account": number},
        "result": tagged_with_evidence(resource),
        **changes,
    }


def outcome(*tasks: dict[str, Any], attempts: dict[str, list[dict[str, Any]]] | None = None) -> Outcome:
    return Outcome(list(tasks), WORKERS, attempts or {}, killed="worker1")


def test_every_task_succeeded() -> None:
    both = tag("123", "s2"), tag("456", "s3")
    assert checks.every_task_succeeded(outcome(*both), ["t123", "t456"]).holds
    assert not checks.every_task_succeeded(outcome(*both), ["t123", "t456", "t789"]).holds
    failed = tag("456", "s3", state="failed")
    assert not checks.every_task_succeeded(outcome(both[0], failed), ["t123", "t456"]).holds


@pytest.mark.parametrize(
    ("by", "recorded", "holds"),
    [
        ("s3", [{"outcome": "lost", "worker": "s1"}, {"outcome": "done", "worker": "s3"}], True),
        ("s1", [{"outcome": "lost", "worker": "s1"}, {"outcome": "done", "worker": "s1"}], False),
        ("s3", [{"outcome": "timeout", "worker": "s1"}, {"outcome": "done", "worker": "s3"}], False),
        ("s3", [{"outcome": "lost", "worker": "s3"}, {"outcome": "done", "worker": "s3"}], False),
    ],
)
def test_what_was_lost_was_done_by_others(by: str, recorded: list[dict[str, Any]], holds: bool) -> None:
    end = outcome(tag("456", by, attempt=2), attempts={"t456": recorded})
    assert checks.lost_tasks_were_done_by_others(end).holds is holds


@pytest.mark.parametrize(
    ("by_special", "by_other", "holds"), [("s2", "s3", True), ("s3", "s3", False), ("s2", "s2", False)]
)
def test_the_most_specific_worker_was_chosen(by_special: str, by_other: str, holds: bool) -> None:
    end = outcome(tag("123", by_special), tag("456", by_other))
    assert checks.the_most_specific_worker_was_chosen(end, "worker2").holds is holds


def test_the_tags_equal_those_of_one_process() -> None:
    right = outcome(tag("123", "s2"), tag("456", "s3"))
    assert checks.tags_equal_those_of_one_process(right, INVENTORY).holds
    wrong = outcome(tag("123", "s2"), tag("456", "s3", result={"id": "456", "tags": {}}))
    assert not checks.tags_equal_those_of_one_process(wrong, INVENTORY).holds
    assert not checks.tags_equal_those_of_one_process(outcome(tag("123", "s2")), INVENTORY).holds


def test_the_checksums_equal_hashlib(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo")
    task = {"name": "checksum", "result": {"path": "a.py", **checksum(tmp_path / "a.py")}}
    assert checks.checksums_equal_hashlib(outcome(task), tmp_path, ["a.py"]).holds
    (tmp_path / "a.py").write_text("one\nTwo")
    assert not checks.checksums_equal_hashlib(outcome(task), tmp_path, ["a.py"]).holds

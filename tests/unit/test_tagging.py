"""The examples' real work: tags per cloud, checksums below one directory, an inventory that can be remade."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from examples.checksums import OutsideRoot, checksum, safe_path
from examples.make_inventory import resources
from examples.tagging import InvalidTags, apply_tags, evidence

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def resource(cloud: str = "aws", tags: dict[str, str] | None = None, **update: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "cloud": cloud,
        "account": "123",
        "region": "eu-west-1",
        "type": "s3:bucket",
        "tags": tags or {},
        "tag_update": update,
    }


def tags_of(cloud: str = "aws", tags: dict[str, str] | None = None, **update: Any) -> dict[str, str]:
    applied: dict[str, str] = apply_tags(resource(cloud, tags, **update))["tags"]
    return applied


class TestApplyingTags:
    def test_normalises_keys(self) -> None:
        assert tags_of(tags={"  Cost_Center ": " 1 ", "App  Name": "x"}) == {"cost-center": "1", "app-name": "x"}

    def test_joins_aliases_and_keeps_the_first_value(self) -> None:
        tags = {"Team": "", "responsible": "Ann", "owner": "Bob"}
        assert tags_of(tags=tags, aliases={"team": "owner", "responsible": "owner"}) == {"owner": "Ann"}

    def test_removes_deprecated_keys_by_pattern(self) -> None:
        assert tags_of(tags={"TMP_a": "1", "tmp": "2", "keep": "3"}, remove=["tmp-*"]) == {"keep": "3", "tmp": "2"}

    def test_sets_over_what_is_there_and_derives_only_what_is_missing(self) -> None:
        rules = [
            {"key": "env", "value": "staging", "when": {"account": "456"}},
            {"key": "env", "value": "production", "when": {"account": "123", "cloud": "aws"}},
            {"key": "env", "value": "unknown", "when": {}},
            {"key": "owner", "value": "Platform", "when": {}},
        ]
        tags = {"owner": "Ann", "backup": "none"}
        expected = {"backup": "daily", "env": "production", "owner": "Ann"}
        assert tags_of(tags=tags, set={"Backup": "daily"}, derive=rules) == expected

    def test_leaves_its_input_as_it_is_and_drops_the_update(self) -> None:
        before = resource(tags={"A": "1"}, set={"b": "2"})
        kept = copy.deepcopy(before)
        after = apply_tags(before)
        assert before == kept
        assert "tag_update" not in after

    def test_is_stable_when_it_is_applied_to_its_own_result(self) -> None:
        for each in resources(50):
            once = apply_tags(each)
            assert apply_tags({**once, "tag_update": each["tag_update"]}) == once

    def test_refuses_a_cloud_without_rules(self) -> None:
        with pytest.raises(InvalidTags, match="azure"):
            tags_of("azure")


class TestAwsTags:
    def test_keep_case_and_blanks_in_values(self) -> None:
        assert tags_of(tags={"Owner": "Team Payments"}) == {"owner": "Team Payments"}

    def test_that_aws_sets_are_neither_changed_nor_removed_nor_counted(self) -> None:
        reserved = {"aws:cloudformation:stack-name": "Stack_1"}
        many = {f"k{number}": "v" for number in range(50)}
        assert tags_of(tags=reserved | many, remove=["aws*"]) == reserved | many

    @pytest.mark.parametrize(
        ("update", "message"),
        [
            ({f"k{number}": "v" for number in range(51)}, "51 tags"),
            ({"k" * 129: "v"}, "129 characters"),
            ({" ": "v"}, "0 characters"),
            ({"k": "v" * 257}, "257 characters"),
            ({"k": "<v>"}, "characters that aws does not accept"),
            ({"aws:k": "v"}, "prefix that aws keeps"),
        ],
    )
    def test_that_aws_would_refuse_are_refused(self, update: dict[str, str], message: str) -> None:
        with pytest.raises(InvalidTags, match=message):
            tags_of(set=update)

    def test_at_the_limits_are_accepted(self) -> None:
        assert len(tags_of(set={f"k{number}": "v" for number in range(50)})) == 50
        assert tags_of(set={"k" * 128: "v" * 256}) == {"k" * 128: "v" * 256}


class TestGcpLabels:
    def test_are_made_lower_case_and_of_accepted_characters(self) -> None:
        assert tags_of("gcp", {"Owner": "Ops/Night Shift"}) == {"owner": "ops-night-shift"}

    def test_have_values_of_at_most_63_characters(self) -> None:
        assert tags_of("gcp", {"owner": "x" * 64}) == {"owner": "x" * 63}

    @pytest.mark.parametrize("key", ["1st", "k" * 64, "ü", ""])
    def test_with_keys_that_gcp_would_refuse_are_refused(self, key: str) -> None:
        with pytest.raises(InvalidTags, match="is no label key"):
            tags_of("gcp", set={key: "v"})

    def test_more_than_64_are_refused(self) -> None:
        with pytest.raises(InvalidTags, match="65 labels"):
            tags_of("gcp", set={f"k{number}": "v" for number in range(65)})


def test_the_evidence_depends_on_every_part_of_the_resource() -> None:
    first = evidence({"id": "r1", "tags": {"a": "1"}})
    assert first == evidence({"tags": {"a": "1"}, "id": "r1"})
    assert first != evidence({"id": "r1", "tags": {"a": "2"}})
    assert first != evidence({"id": "r2", "tags": {"a": "1"}})


def test_the_inventory_is_the_one_that_the_generator_makes() -> None:
    lines = (EXAMPLES / "inventory.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == resources()


class TestChecksums:
    @pytest.mark.parametrize("content", [b"", b"one", b"one\n", b"one\ntwo", b"\n\n"])
    def test_count_bytes_and_lines(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "file"
        file.write_bytes(content)
        assert checksum(file) == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "lines": len(content.splitlines()),
        }

    def test_are_taken_of_files_below_the_root(self, tmp_path: Path) -> None:
        assert safe_path(tmp_path, "sub", "a/b.txt") == (tmp_path / "sub" / "a" / "b.txt").resolve()
        assert safe_path(tmp_path, ".", "..name") == (tmp_path / "..name").resolve()

    @pytest.mark.parametrize(
        "parts",
        [("..", "x"), (".", "../x"), (".", "a/../../x"), (".", "/etc/passwd"), ("/etc", "passwd"), (".", "..\\x")],
    )
    def test_refuse_to_leave_the_root(self, tmp_path: Path, parts: tuple[str, ...]) -> None:
        with pytest.raises(OutsideRoot):
            safe_path(tmp_path, *parts)

    def test_refuse_symbolic_links_that_leave_the_root(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (tmp_path / "secret").write_text("x")
        (root / "link").symlink_to(tmp_path / "secret")
        with pytest.raises(OutsideRoot):
            safe_path(root, "link")

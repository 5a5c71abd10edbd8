"""`make bench` still works: a small run of its own, whose times nobody judges."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from processes import ROOT

pytestmark = pytest.mark.only_on("sqlite", reason="a benchmark starts its databases itself")


def test_a_short_run_end_to_end_prints_a_table_and_writes_what_it_measured(tmp_path):
    before = {"runs": {"growth": {"commit": "abc"}}, "sections": {"growth": [], "end_to_end": []}}
    (tmp_path / "results.json").write_text(json.dumps(before))
    options = ["--quick", "--database=sqlite", "--without-peers", "--tasks=300", f"--save={tmp_path}"]
    command = [sys.executable, "-m", "benchmarks.run", "end_to_end", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["runs"].keys() == {"end_to_end", "growth"}
    assert saved["sections"]["growth"] == before["sections"]["growth"]
    figures = saved["sections"]["end_to_end"]
    names = [figure["name"] for figure in figures]
    assert "SQLite, 50 workers, single frames" in names
    assert "SQLite, 50 workers, _batch=1" in names
    for figure in figures:
        assert figure["note"] == "300 tasks"
        assert figure["value"] > 0
        assert figure["cpu_us"]["server"] > 0
        assert figure["name"].split(",")[0] in ended.stdout

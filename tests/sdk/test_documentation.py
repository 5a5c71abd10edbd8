"""What docs/python-worker.md shows is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import ROOT

from queueapp.sdk import cli, logs
from queueapp.sdk.program import EXIT_AFTER_SIGNAL, EXIT_HANGING, EXIT_UNFINISHED

PAGE = (ROOT / "docs" / "python-worker.md").read_text()
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The files of the page, each from its blocks."""
    for name, text in BLOCK.findall(PAGE):
        with (tmp_path / name).open("a") as file:
            file.write(text)
    return tmp_path


def test_every_example_belongs_to_a_file() -> None:
    assert len(BLOCK.findall(PAGE)) == PAGE.count("```python") > 3


def test_the_tests_of_the_page_pass_on_its_handlers(written: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        ".",
        "test_handlers.py",
    ]
    done = subprocess.run(
        command, cwd=written, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{PAGE.count('def test_')} passed" in done.stdout


def test_every_option_is_described() -> None:
    parser = cli.argparse.ArgumentParser()
    cli.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    assert {option for option in options - {"--help", "--url", "--token"} if f"| `{option}" not in PAGE} == set()
    assert f"`--log-format {logs.JSON}`" in PAGE


def test_every_exit_status_is_described() -> None:
    described = re.findall(r"^\| (\d+)(?: \+ n)? \|", PAGE, re.MULTILINE)
    assert described == ["0", "1", "2", str(EXIT_UNFINISHED), str(EXIT_HANGING), str(EXIT_AFTER_SIGNAL)]


def test_the_worker_of_fifteen_lines_has_no_more() -> None:
    code = (ROOT / "examples/fifteen_lines.py").read_text().partition('"""\n\n')[2]
    lines = [line for line in code.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) <= 15

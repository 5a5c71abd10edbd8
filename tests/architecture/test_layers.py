"""Who may know whom, how long a file gets, and who writes a task's state."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "queueapp"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
OWNER = PACKAGE / "lifecycle"
LINES_OF_A_FILE = 400

OTHER_STATES = re.compile(r"\b(Session|Operation)State\b")
SET_STATE = re.compile(r"\bstate\s*=")
STATE_IN_SQL = re.compile(r"update\s+queueapp_task\b.*?\bset\b.*?\bstate\s*=", re.IGNORECASE | re.DOTALL)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_imports_point_one_way():
    ended = run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache")
    assert ended.returncode == 0, ended.stdout
    assert "0 broken" in ended.stdout


@pytest.mark.parametrize(
    "module", ["queueapp", "queueapp.domain.submission", "queueapp.worker_frames", "queueapp.sdk"]
)
def test_importing_it_does_not_import_django(module):
    ended = run("-c", f"import sys, {module}; print([m for m in sys.modules if m.split('.')[0] == 'django'])")
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_one_can_keep_in_mind(path):
    assert len(path.read_text().splitlines()) <= LINES_OF_A_FILE


def writes_of_task_state(source: str) -> list[int]:
    """The lines that write a task's state: as SQL, by `update`, or to an attribute that is saved."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if STATE_IN_SQL.search(text):
                lines.append(node.lineno)
            case ast.JoinedStr() if STATE_IN_SQL.search(ast.unparse(node)):
                lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="update" | "bulk_update"), keywords=keywords):
                of_others = any(OTHER_STATES.search(ast.unparse(keyword.value)) for keyword in keywords)
                if not of_others and any(keyword.arg == "state" for keyword in keywords):
                    lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="update_tasks" | "update_held_tasks"), args=[assignments, *_]):
                if SET_STATE.search(ast.unparse(assignments)):
                    lines.append(node.lineno)
            case ast.Call(func=ast.Name(id="Task"), keywords=keywords) if any(k.arg == "state" for k in keywords):
                lines.append(node.lineno)
            case ast.Attribute(attr="state", ctx=ast.Store(), value=owner) if ast.unparse(owner) != "self":
                lines.append(node.lineno)
    return sorted(set(lines))


def test_only_the_lifecycle_writes_a_tasks_state():
    # The SDK knows no rows: what it keeps for the tests of workers is in memory.
    others = (path for path in SOURCES if not {OWNER, PACKAGE / "sdk"} & set(path.parents))
    written = {str(path.relative_to(ROOT)): writes_of_task_state(path.read_text()) for path in others}
    assert {path: lines for path, lines in written.items() if lines} == {}


def test_the_lifecycle_does_write_it_where_this_test_can_see():
    seen = {path.name for path in OWNER.glob("*.py") if writes_of_task_state(path.read_text())}
    assert seen == {"assigning.py", "ending.py", "finishing.py", "steering.py"}


@pytest.mark.parametrize(
    "source",
    [
        "Task.objects.filter(pk=1).update(state='failed')",
        "tasks.update(finished_at=now, state=str(TaskState.FAILED))",
        "task.state = 'failed'",
        "Task(name='a', state='failed')",
        "given.update_tasks('attempt = 1, state = given.new', 'true', 'id')",
        "cursor.execute('UPDATE queueapp_task AS task SET worker_id = NULL, state = %s')",
        "cursor.execute(f'update queueapp_task set state = {state}')",
    ],
)
def test_a_write_of_a_tasks_state_is_seen(source):
    assert writes_of_task_state(source) == [1]


@pytest.mark.parametrize(
    "source",
    ["sessions.update(state=str(SessionState.GONE))", "operations.update(state=str(OperationState.DONE))"],
)
def test_a_write_of_another_nouns_state_is_none(source):
    assert writes_of_task_state(source) == []

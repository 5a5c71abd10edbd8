"""What docs/api.md shows is run, in its order, against a real server and a real worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from processes import PATIENCE_SECONDS, ROOT, Server, started_copy

from queueapp.domain.reasons import Cause
from queueapp.domain.submission import _READERS
from queueapp.task_filters import KNOWN_FILTERS
from tests.servers import Leash

pytestmark = pytest.mark.only_on("sqlite", reason="what a process says and hears is the same on either database")

PAGE = (ROOT / "docs" / "api.md").read_text()
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
WORKER_FILE = "# handlers.py\n"
SETTINGS = {"WORKQUEUE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8"}


class Example(NamedTuple):
    language: str
    code: str
    shown: str


EXAMPLES = [Example(*found) for found in BLOCK.findall(PAGE)]
(WORKER,) = (example.code for example in EXAMPLES if example.code.startswith(WORKER_FILE))


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path, **SETTINGS) as server:
        yield server


@contextmanager
def attached_worker(server: Server, directory: Path) -> Iterator[None]:
    (directory / "handlers.py").write_text(WORKER)
    command = [sys.executable, "-m", "queueapp.sdk", "handlers", "--name", "w1"]
    command += ["--url", f"ws://127.0.0.1:{server.port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WORKQUEUE_TOKEN": server.keys["worker"]}
    with subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.DEVNULL) as process:
        leash = Leash()
        leash.hold(process.pid)
        try:
            yield
        finally:
            process.kill()
            leash.close()


def run_shell(code: str, server: Server, directory: Path) -> str:
    """Where `manage.py` and what it writes are found."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    code = code.replace("manage.py", str(ROOT / "manage.py"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=directory,
        env={**os.environ, **server.environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, code + done.stdout + done.stderr
    return done.stdout


def run_python(code: str, names: dict[str, Any]) -> str:
    said = StringIO()
    with redirect_stdout(said):
        exec(compile(code, "docs/api.md", "exec"), names)
    return said.getvalue()


def test_every_example_does_what_is_shown(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", f"http://127.0.0.1:{server.port}/api/v1")
    monkeypatch.setenv("KEY", server.keys["producer"])
    monkeypatch.setenv("OPERATOR_KEY", server.keys["operator"])
    monkeypatch.setenv("CALLBACK_SECRET", server.manage("callback_secret").strip())
    names: dict[str, Any] = {"__name__": "api_page"}
    with attached_worker(server, tmp_path):
        for example in EXAMPLES:
            if example.code == WORKER:
                continue
            if example.language == "sh":
                said = run_shell(example.code, server, tmp_path)
            else:
                said = run_python(example.code, names)
            assert said == example.shown, example.code
        names["receiver"].shutdown()
        names["receiver"].server_close()


def test_the_key_that_is_made_is_one(server: Server, tmp_path: Path) -> None:
    (making,) = (example.code for example in EXAMPLES if "create_api_key" in example.code)
    run_shell(making, server, tmp_path)
    key = (tmp_path / "key.txt").read_text().strip()
    url, headers = f"http://127.0.0.1:{server.port}/api/v1/tasks", {"Authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers, timeout=PATIENCE_SECONDS) as api:
        asked = [api.post(url, json={"name": name}) for name in ("upper", "image.crop", "other")]
    assert [answer.status_code for answer in asked] == [201, 201, 403]


def test_a_signature_that_is_not_the_servers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBACK_SECRET", "whsec_" + "A" * 32)
    (code,) = (example.code for example in EXAMPLES if "def is_genuine" in example.code)
    names: dict[str, Any] = {"__name__": "api_page"}
    exec("import os, json, time\n" + code.partition("class Receiver")[0], names)
    headers = {"webhook-id": "1", "webhook-timestamp": str(int(names["time"].time()))}
    assert not names["is_genuine"]({**headers, "webhook-signature": "v1,AAAA"}, b"{}")
    good = names["base64"].b64encode(
        names["hmac"].digest(names["SECRET"], f"1.{headers['webhook-timestamp']}.{{}}".encode(), "sha256")
    )
    signed = {**headers, "webhook-signature": f"v1,AAAA v1,{good.decode()}"}
    assert names["is_genuine"](signed, b"{}")
    assert not names["is_genuine"](signed, b"[]")
    assert not names["is_genuine"](signed, b"{}", tolerance_seconds=-1)


def test_every_block_is_read_as_an_example() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") + PAGE.count("```sh") > 10
    assert sum(bool(example.shown) for example in EXAMPLES) == PAGE.count("```text")


def words_of_first_column() -> set[str]:
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_every_field_filter_and_reason_is_described() -> None:
    known = {*_READERS, *KNOWN_FILTERS, *map(str, Cause)}
    assert known - words_of_first_column() == set()

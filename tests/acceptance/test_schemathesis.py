"""What the OpenAPI document says is what the server does: schemathesis asks for everything, and finds no fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, HoldingWorker, Server, eventually, started_copy

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "15")
"""Of each call, in each phase that makes some up."""
PATIENCE_SECONDS = 3600
CONFIGURATION = "tests/acceptance/schemathesis.toml"


pytestmark = pytest.mark.only_on("postgresql", reason="it takes fewer values than SQLite")


@pytest.fixture
def quick_server(prepared: Server, tmp_path: Path):
    """One that lets nobody wait for long. Addresses that it told itself are sent back to it, as callbacks too."""
    options = {"WORKQUEUE_MAX_WAIT_SECONDS": "0.05", "WORKQUEUE_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    with started_copy(prepared, tmp_path, **options) as server:
        yield server


async def test_every_answer_is_as_described_and_what_is_invalid_is_refused(quick_server: Server):
    async def two_workers() -> list[str] | None:
        ids = [worker["id"] for worker in await quick_server.workers()]
        return ids if len(ids) == 2 else None

    query = "?task=held"
    async with HoldingWorker(quick_server, query) as worker, HoldingWorker(quick_server, query):
        kept, lost = await eventually(two_workers)
        await quick_server.submit({"name": "held"}, {"name": "held"})
        await worker.receive(1)
        ended = ask_everything(quick_server, KEPT_WORKER=kept, LOST_WORKER=lost)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def ask_everything(server: Server, **environment: str) -> subprocess.CompletedProcess[str]:
    url = f"http://127.0.0.1:{server.port}/api/v1/schema"
    key = f"Authorization: Bearer {server.keys['operator']}"
    schemathesis = [sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIGURATION, "run", url]
    return subprocess.run(
        [*schemathesis, "--header", key, "--checks", "all", "--max-examples", EXAMPLES],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

"""The SDK alone, as it is installed on a worker's machine: no Django, and no more than it needs."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.processes import Server, prepared_in, started_copy

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import sys
from queueapp.sdk import Worker

worker = Worker()

@worker.task("seen")
def seen(task):
    return sorted({name.partition(".")[0] for name in sys.modules} & {"django", "channels", "rest_framework"})
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a new environment with the wheel in it. What the wheel depends on is taken from this environment, so that
    no registry needs to be there; pip checks that it is what the wheel asks for."""
    directory = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory), str(ROOT))
    subprocess.run([*pip, *build], check=True)
    venv.create(directory / "venv", symlinks=True, with_pip=False)
    python = directory / "venv" / "bin" / "python"
    [packages] = (directory / "venv").glob("lib/python*/site-packages")
    [wheel] = directory.glob("*.whl")
    requirements = importlib.metadata.Distribution.at(next_to(wheel, directory)).requires or []
    for name in (re.match(r"[\w-]+", each) for each in requirements):
        assert name is not None
        link_distribution(name[0], packages)
    subprocess.run([*pip, "--python", str(python), "install", "--quiet", "--no-index", str(wheel)], check=True)
    return python


def next_to(wheel: Path, directory: Path) -> Path:
    """The wheel's metadata, unpacked."""
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if ".dist-info/" in name]
        archive.extractall(directory / "metadata", members)
    return next((directory / "metadata").glob("*.dist-info"))


def link_distribution(name: str, packages: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    for top in {Path(file).parts[0] for file in distribution.files or () if Path(file).parts[0] != ".."}:
        (packages / top).symlink_to(Path(str(distribution.locate_file(top))))


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    (directory / "prepared").mkdir()
    with prepared_in(directory / "prepared") as prepared, started_copy(prepared, directory) as server:
        yield server


def test_it_needs_nothing_but_what_it_says(python: Path) -> None:
    listed = subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True, cwd=python.parent)
    assert listed.stdout.split() == ["msgspec", "websockets", "workqueue"]


def test_it_brings_the_sdk_and_nothing_of_the_server(python: Path) -> None:
    for module in ("queueapp.sdk", "queueapp.sdk.testing"):
        subprocess.run([python, "-c", f"import {module}"], check=True, cwd=python.parent)
    tried = subprocess.run(
        [python, "-c", "import queueapp.hub"], capture_output=True, text=True, cwd=python.parent
    )
    assert "No module named 'queueapp.hub'" in tried.stderr


async def test_a_worker_of_it_performs_tasks_of_a_real_server(
    python: Path, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "installed_handlers.py").write_text(MODULE)
    command = [
        python,
        "-m",
        "queueapp.sdk",
        "installed_handlers",
        "--url",
        f"http://127.0.0.1:{server.port}",
        "--once",
    ]
    environment = {"PATH": os.environ["PATH"], "WORKQUEUE_TOKEN": server.keys["worker"]}
    [task_id] = await server.submit({"name": "seen"})
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment)
    try:
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    task = await server.task(task_id)
    assert (task["state"], task["result"]) == ("succeeded", [])


LIST = "import importlib.metadata as m; print(*sorted(d.metadata['Name'] for d in m.distributions()))"

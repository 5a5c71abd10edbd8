"""Starts worker programs."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def program(
    tmp_path: Path, *arguments: str, of: tuple[str, ...] = ("-m", "queueapp.sdk"), **options: Any
) -> AsyncIterator[Process]:
    """`python -m queueapp.sdk`, or a program `of` one's own, with the modules of a directory."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "WORKQUEUE_TOKEN": "wq_x"}
    command = (sys.executable, *of, *arguments)
    options = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE, "cwd": tmp_path, **options}
    process = await asyncio.create_subprocess_exec(*command, env=environment, **options)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()

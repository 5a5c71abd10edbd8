"""Checksums of files under one directory: the working directory of the worker, or `CHECKSUM_ROOT`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Any

from queueapp.sdk import Reject, Task, Worker

BLOCK_BYTES = 1024 * 1024

worker = Worker()


class OutsideRoot(ValueError):
    """A path leads out of the directory whose files may be read."""


def safe_path(root: Path, *parts: str) -> Path:
    """The file that the parts name under `root`. Raises OutsideRoot for `..`, absolute paths and symbolic
    links that lead elsewhere."""
    for part in parts:
        pure = PurePosixPath(part)
        # A backslash separates on Windows, where "..\\secret" would pass as one harmless name.
        if pure.is_absolute() or ".." in pure.parts or "\\" in part or "\x00" in part:
            raise OutsideRoot(f"{part!r} is not a path below the root directory.")
    top = root.resolve()
    path = top.joinpath(*parts).resolve()
    if not path.is_relative_to(top):
        raise OutsideRoot(f"{'/'.join(parts)!r} leads out of the root directory.")
    return path


def checksum(path: Path) -> dict[str, Any]:
    """`{"sha256": hex, "size": bytes, "lines": count}`; a last line without an end counts."""
    digest, size, lines, last = hashlib.sha256(), 0, 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            lines += block.count(b"\n")
            last = block[-1:]
    return {"sha256": digest.hexdigest(), "size": size, "lines": lines + (last != b"\n")}


@worker.task("checksum")
def checksum_task(task: Task) -> dict[str, Any]:
    """`data` is `{"path": relative, "root": relative directory (optional)}`."""
    allowed = Path(os.environ.get("CHECKSUM_ROOT", "."))
    try:
        path = safe_path(allowed, task.data.get("root", "."), task.data["path"])
        return {"path": task.data["path"], **checksum(path)}
    except (OutsideRoot, FileNotFoundError, IsADirectoryError) as problem:
        raise Reject(str(problem)) from problem

"""A whole worker: `WORKQUEUE_TOKEN=wq_… python examples/fifteen_lines.py ws://127.0.0.1:8000`."""

import os
import sys
from pathlib import Path

import msgspec

from queueapp.sdk import Task, Worker


class File(msgspec.Struct):
    path: str
    blocks: int = 10


worker = Worker()


@worker.task("read", host=["db1", "db2"])
def read(file: File, task: Task) -> int:
    lines = 0
    for block in range(file.blocks):
        lines += len(Path(file.path).read_text().splitlines())
        task.progress((block + 1) / file.blocks)
    return lines


worker.run(sys.argv[1], os.environ["WORKQUEUE_TOKEN"], concurrency=1)

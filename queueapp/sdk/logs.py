"""The log of a worker program, for people or as a JSON object a line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

TEXT = "text"
JSON = "json"
FORMATS = (TEXT, JSON)
OF_TASK = ("task_id", "task_name", "attempt")
"""What the records of a task's logger carry."""


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`; of a task `task_id`, `task_name`, `attempt`; `exception` where
    there is one."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= {name: getattr(record, name) for name in OF_TASK if hasattr(record, name)}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        task_id = getattr(record, "task_id", None)
        return super().format(record) + (f" [{task_id}]" if task_id else "")


class Handler(logging.StreamHandler[TextIO]):
    """`make_room`: called before each record, for whoever else writes to the same terminal."""

    def __init__(self, make_room: Callable[[], None]) -> None:
        super().__init__(sys.stderr)
        self._make_room = make_room

    def emit(self, record: logging.LogRecord) -> None:
        self._make_room()
        super().emit(record)


def configure(format: str, make_room: Callable[[], None]) -> None:
    handler = Handler(make_room)
    handler.setFormatter(JsonFormatter() if format == JSON else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("websockets").setLevel(logging.WARNING)

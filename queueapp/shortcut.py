"""A way past ASGI for the frames of an established connection, where the server has one.

Each frame is otherwise a dictionary, a place in a queue, a turn of an asyncio task, and a pause in reading. That
is little where a worker says a hundred things at once; with a thousand workers of which each says one thing at a
time it was a third of what the event loop does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EXTENSION = "workqueue.shortcut"
"""Its name among the scope's extensions."""


def _never(text: str) -> bool:
    return False


@dataclass(slots=True)
class Shortcut:
    """Of one connection. Both take a frame's text, on the event loop and at once, or return False: then it must go
    the usual way. `send` is the server's; `take` the application's, which need not have one."""

    send: Callable[[str], bool] = _never
    take: Callable[[str], bool] = _never


def shortcut_of(scope: Any) -> Shortcut:
    """One that leads nowhere, where the server has none."""
    return scope.get("extensions", {}).get(EXTENSION) or Shortcut()

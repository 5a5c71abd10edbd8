"""A way past ASGI for the frames of an established connection, where the server has one.

Each frame is otherwise a dictionary, a place in a queue, a turn of an asyncio task, and a pause in reading. That
is little where a worker says a hundred things at once; with a thousand workers of which each says one thing at a
time it was a third of what the event loop does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

EXTENSION = "workqueue.shortcut"
"""Its name among the scope's extensions."""


@dataclass(slots=True)
class Shortcut:
    """Of one connection. Both take the texts of frames, on the event loop and at once; what they do not take must
    go the usual way. `send` is the server's, and says how many it has taken, from the first on; `take` the
    application's, which need not have one, and says whether it has taken the one."""

    send: Callable[[Sequence[str]], int] = lambda _: 0
    take: Callable[[str], bool] = lambda _: False


def shortcut_of(scope: Any) -> Shortcut:
    """One that leads nowhere, where the server has none."""
    return scope.get("extensions", {}).get(EXTENSION) or Shortcut()

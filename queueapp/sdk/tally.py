"""What a worker has come to so far, for those who watch it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """`done` and `failed`: handlers that ended with a result or an error; `given_back` to the server unfinished,
    and `lost` with a connection. `unfinished`: given back because a drain took too long."""

    is_attached: bool = False
    done: int = 0
    failed: int = 0
    given_back: int = 0
    lost: int = 0
    unfinished: int = 0

    def count(self, is_done: bool) -> None:
        if is_done:
            self.done += 1
        else:
            self.failed += 1

"""What a worker has still to say on one connection."""

from __future__ import annotations

from collections.abc import Hashable


class Outbox:
    """Messages in order; a later one under the same key takes the place of an unsent earlier one, at the end: the
    last sign of life is the one that counts."""

    def __init__(self, frame_limit_bytes: int) -> None:
        self._frame_limit_bytes = frame_limit_bytes
        self._unsent: dict[Hashable, str] = {}

    def __len__(self) -> int:
        return len(self._unsent)

    def put(self, key: Hashable, message: str) -> None:
        self._unsent.pop(key, None)
        self._unsent[key] = message

    def take_frame(self) -> str:
        """The next frame: one message, or an array of as many as fit into the limit of a frame."""
        messages: list[str] = []
        room = self._frame_limit_bytes - len("[]")
        while self._unsent:
            key = next(iter(self._unsent))
            size = len(self._unsent[key].encode()) + len(",")
            if messages and size > room:
                break
            messages.append(self._unsent.pop(key))
            room -= size
        return messages[0] if len(messages) == 1 else "[" + ",".join(messages) + "]"

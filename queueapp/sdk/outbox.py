"""What a worker has still to say on one connection."""

from __future__ import annotations

from collections.abc import Hashable

from queueapp.sdk.framelimit import FrameLimit


class Outbox:
    """Messages in order; a later one under the same key takes the place of an unsent earlier one, at the end: the
    last sign of life is the one that counts."""

    def __init__(self, frame_limit: FrameLimit) -> None:
        self._frame_limit = frame_limit
        self._largest_message_bytes = 0
        self._largest_array_bytes = 0
        self._unsent: dict[Hashable, str] = {}

    def __len__(self) -> int:
        return len(self._unsent)

    def put(self, key: Hashable, message: str) -> None:
        self._unsent.pop(key, None)
        self._unsent[key] = message

    def take_frame(self) -> str:
        """The next frame: one message, or an array of as many as fit into the limit of a frame."""
        messages: list[str] = []
        limit_bytes = min(self._frame_limit.array_bytes, self._frame_limit.message_bytes)
        room = limit_bytes - len("[]")
        while self._unsent:
            key = next(iter(self._unsent))
            size = len(self._unsent[key].encode()) + len(",")
            if messages and size > room:
                break
            messages.append(self._unsent.pop(key))
            room -= size
        frame_bytes = limit_bytes - room
        if len(messages) == 1:
            self._largest_message_bytes = max(self._largest_message_bytes, frame_bytes - len("[],"))
            return messages[0]
        self._largest_array_bytes = max(self._largest_array_bytes, frame_bytes - len(","))
        return "[" + ",".join(messages) + "]"

    def was_too_large(self) -> None:
        """The connection has ended for a frame that the server does not take."""
        self._frame_limit.lower(self._largest_message_bytes, self._largest_array_bytes)

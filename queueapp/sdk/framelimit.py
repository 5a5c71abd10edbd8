"""How large a frame the server takes, as far as the worker knows."""

from __future__ import annotations

import logging

log = logging.getLogger("queueapp.sdk")


class FrameLimit:
    """What the worker was told, and less once the server has ended a connection because of a frame (1009): what
    was too large for it is not sent again. Read from any thread.

    `message_bytes`: of one message, which cannot be divided. `array_bytes`: of several in one frame.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.message_bytes = self.array_bytes = limit_bytes

    def lower(self, largest_message_bytes: int, largest_array_bytes: int) -> None:
        """A connection has ended for a frame that was too large: the largest of those that were sent on it was."""
        if not (largest_message_bytes or largest_array_bytes):
            return
        if largest_array_bytes > largest_message_bytes:
            self.array_bytes = min(self.array_bytes, largest_array_bytes // 2)
            log.warning("The server takes no frame of %d bytes: sending less at a time", largest_array_bytes)
        else:
            self.message_bytes = min(self.message_bytes, largest_message_bytes - 1)
            log.warning(
                "The server takes no message of %d bytes: a result as large is an error from now on",
                largest_message_bytes,
            )

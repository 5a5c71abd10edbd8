"""Taking turns, in the order of arrival."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """One thread at a time has the turn, and hands it to whoever has waited longest.

    A plain lock goes to whoever is quickest, which is nearly always the thread that has just let go of it.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for the turn; False when it has not come after so long."""
        with self._changing:
            if not self._is_taken:
                self._is_taken = True
                return True
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        try:
            has_come = called.acquire(timeout=seconds)
        except BaseException:  # the main thread may be interrupted
            if not self._gives_up(called):
                self.hand_on()
            raise
        return has_come or not self._gives_up(called)

    def _gives_up(self, called: threading.Lock) -> bool:
        """False: the turn has come just now."""
        with self._changing:
            if called in self._waiting:
                self._waiting.remove(called)
                return True
            return False

    def hand_on(self) -> None:
        with self._changing:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

"""The thread of this process on which operations are carried out. It lives while there are any.

Not the hub's: assignments must not wait for an operation over a million tasks.
"""

from __future__ import annotations

import logging
import threading
import time
from uuid import UUID

from django.db import connections

from queueapp import operations
from queueapp.database import DATABASE_AWAY

logger = logging.getLogger(__name__)


def wake() -> None:
    """There is an operation to be carried on."""
    _background.wake()


class _Background:
    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._runs = False
        self._woken = False

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="operations", daemon=True).start()

    def _run(self) -> None:
        while self._is_woken():
            try:
                _carry_all_on()
            except DATABASE_AWAY as error:
                logger.warning("Operations wait for the database: %s", error)
            except Exception:
                # This thread ends as one that may be started again: else nobody would carry on anything any more.
                logger.exception("Operations were left where they are; the next tick goes on with them.")
            finally:
                connections.close_all()

    def _is_woken(self) -> bool:
        with self._changed:
            self._runs, self._woken = self._woken, False
            return self._runs


def _carry_all_on() -> None:
    """Until nothing is left to be done here. A step each in turn: a small one does not wait for a large one."""
    goes_on = True
    while goes_on:
        goes_on = False
        for operation_id in operations.running():
            goes_on |= _carry_on(operation_id)


def _carry_on(operation_id: UUID) -> bool:
    begun_at = time.monotonic()
    try:
        goes_on = operations.carry_on(operation_id)
    except DATABASE_AWAY as error:
        # Or somebody holds one of its tasks for long. The next tick tries again, and others do not wait for it.
        logger.warning("Operation %s waits: %s", operation_id, error)
        connections.close_all()
        return False
    except Exception:
        logger.exception("A step of operation %s failed.", operation_id)
        return False
    # As long a rest as the step took: half of the time belongs to all others. On SQLite they have to come in
    # between two transactions of this thread: without it a submission has waited for five seconds.
    time.sleep(time.monotonic() - begun_at)
    return goes_on


_background = _Background()

"""How a server process ends: in order, or at once where it was asked twice."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from queueapp import courier, hub, waiting, watching

logger = logging.getLogger(__name__)


async def end_in_order() -> None:
    """Who waits is answered, workers finish what they can in the grace, and callbacks under way are heard of. What
    fails of it is logged."""
    try:
        waiting.release_all()
        watching.release_all()
        await hub.stop_hub()
        await courier.stop()
    except Exception:
        logger.exception("The server did not end in order.")
    finally:
        # Not before: as long as workers finish, who is let go as he comes would come again at once.
        waiting.close()
        watching.close()


def end_at_once() -> NoReturn:
    """As after `kill -9`, but for a line in the log. Not by SystemExit, on which the event loop first cancels what
    is under way: each request would be answered 500, though what it asked for may be done, with a traceback."""
    logger.warning("A second signal: ending at once.")
    sys.stderr.flush()
    os._exit(1)

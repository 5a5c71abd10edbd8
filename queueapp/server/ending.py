"""How a server process ends that was asked twice."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

logger = logging.getLogger(__name__)


def end_at_once() -> NoReturn:
    """As after `kill -9`, but for a line in the log. Not by SystemExit, on which the event loop first cancels what
    is under way: each request would be answered 500, though what it asked for may be done, with a traceback."""
    logger.warning("A second signal: ending at once.")
    sys.stderr.flush()
    os._exit(1)

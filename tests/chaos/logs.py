"""What the server processes logged that nobody should have to read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (?P<level>[A-Z]+) (?P<text>.*)$")
ALLOWED = (
    # A process that was frozen for longer than its lease says so, and starts anew.
    re.compile(r"queueapp\.hub: The lease was lost"),
    # Redis is away: the layer writes a traceback for each attempt to come back, and when it is stopped meanwhile.
    re.compile(r"channels_redis\.pubsub: Unexpected exception"),
    re.compile(r"redis\.exceptions\.|Connection(Refused|Reset)|BrokenPipe|asyncio\.exceptions\.CancelledError"),
    # redis-py writes to a connection that another task has just found broken and let go of (`_writer` is None).
    re.compile(r"AttributeError: 'NoneType' object has no attribute 'writelines'"),
    # The same under uvloop, which calls it so; nothing else here writes to a Unix socket through it.
    re.compile(r"RuntimeError: unable to perform operation on <UnixTransport closed=True"),
    # The database is away, and that is what producers are told.
    re.compile(r"django\.request: Service Unavailable"),
)
VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|\d+")


def unexpected_lines(paths: Iterable[Path]) -> Counter[str]:
    """Lines of level ERROR and above and tracebacks, the latter by their last line; equal ones counted."""
    found: Counter[str] = Counter()
    for path in paths:
        in_traceback = False
        for line in path.read_text(errors="replace").splitlines():
            match = LINE.match(line)
            if match and match["level"] in ("ERROR", "CRITICAL"):
                if not any(allowed.search(match["text"]) for allowed in ALLOWED):
                    found[VARYING.sub("#", line[24:])[:300]] += 1
            elif line.startswith("Traceback"):
                in_traceback = True
                continue
            if in_traceback and line and not line[0].isspace():
                in_traceback = False
                if not match and not any(allowed.match(line) for allowed in ALLOWED):
                    found["  raised " + VARYING.sub("#", line)[:300]] += 1
    return found


def warnings(paths: Iterable[Path]) -> Counter[str]:
    """The kinds of warnings, by logger."""
    found: Counter[str] = Counter()
    for path in paths:
        for line in path.read_text(errors="replace").splitlines():
            match = LINE.match(line)
            if match and match["level"] == "WARNING":
                found[VARYING.sub("#", match["text"])[:60]] += 1
    return found

"""The `traceparent` header of W3C Trace Context, which is handed on as it came and never read here."""

from __future__ import annotations

import re

LONGEST = 100
"""What a row keeps. Version 00 has 55 characters; later ones may have more."""

_PARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<rest>-[!-~]*)?"
)


def valid_traceparent(header: str) -> str:
    """The header; empty where it is malformed, for then it is to be ignored, says W3C, and never refused.

    Only a version later than 00 may go on after the flags, with a further hyphen. Two headers arrive as one with
    a comma, and are none.
    """
    match = _PARENT.fullmatch(header) if len(header) <= LONGEST else None
    if match is None or (match["version"] == "00" and match["rest"] is not None):
        return ""
    return header

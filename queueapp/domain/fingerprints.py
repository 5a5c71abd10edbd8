"""What the errors of one cause have in common: their first line without all that differs from task to task."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID

READ_CHARACTERS = 10_000
"""Of an error, from its beginning. Who has read so many of it finds the same fingerprint."""
LINE_LENGTH = 500
FINGERPRINT_LENGTH = 200

_TRACEBACK = "Traceback (most recent call last):"
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
"""Controls, and what turns the direction of a text: nothing that a fingerprint would be read for."""

_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"

_REPLACED = tuple(
    (needed, re.compile(pattern), word)
    for needed, pattern, word in (
        # What holds others of these within it comes first.
        ("://", r"(?<!\w)[a-zA-Z][a-zA-Z+.-]{0,20}://[^\s\"'<>)\]}]+", "<url>"),
        ('"', r'"(?:[^"\\]|\\.)*"', "<text>"),
        ("`", r"`(?:[^`\\]|\\.)*`", "<text>"),
        # An apostrophe within a word or at its end, as in can't, is no quote.
        ("'", r"(?<!\w)'(?:[^'\\]|\\.)*'(?!\w)", "<text>"),
        ("“", "“[^”]*”", "<text>"),
        ("«", "«[^»]*»", "<text>"),
        ("-", r"(?<![\w-])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![\w-])", "<uuid>"),
        ("@", r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", "<address>"),
        ("-", rf"\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK}{_ZONE})?", "<time>"),
        (":", rf"(?:{_DAY},? )?\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}}(?: {_CLOCK})?{_ZONE}", "<time>"),
        (":", rf"(?:{_DAY} )?{_MONTH} {{1,2}}\d{{1,2}},? {_CLOCK}(?: \d{{4}})?{_ZONE}", "<time>"),
        (".", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])(?:[:/]\d+)?", "<address>"),
        (":", r"(?<![\w:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![\w:])", "<address>"),
        (":", r"\[?(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}(?![\w:])(?:\](?::\d+)?)?", "<address>"),
        (":", rf"(?<![\d:]){_CLOCK}(?![\d:])", "<time>"),
        (":\\", r"(?<![\w.])[A-Za-z]:\\[^\s\"'<>|,;()]+", "<path>"),
        ("/", r"(?<![\w.<>])[~.]{0,2}/[\w.@%+~-]+(?:/[\w.@%+~-]*)+(?::\d+)?", "<path>"),
        ("0", r"(?<!\w)0[xX][0-9a-fA-F]+", "<hex>"),
        ("", r"(?<!\w)(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{7,}(?!\w)", "<hex>"),
    )
)
"""Each with a text without which it need not be looked for: to look for all of them costs many times as much."""

_IDENTIFIER = re.compile(r"[^\W_]{6,}")
_SWITCH = re.compile(r"\d(?=[^\W\d_])|[^\W\d_](?=\d)")
_SWITCHES_OF_AN_IDENTIFIER = 3
"""From digits to letters and back: `worker17` has one and is a word with a number, `7d9f8c6b5` has eight."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?")


def fingerprint(error: str) -> str:
    """At most `FINGERPRINT_LENGTH` characters; empty for an error without a text. Of a Python traceback it is the
    line that names the exception."""
    line = _INVISIBLE.sub(" ", _subject(error[:READ_CHARACTERS])[:LINE_LENGTH])
    for needed, pattern, word in _REPLACED:
        if needed in line:
            line = pattern.sub(word, line)
    line = _IDENTIFIER.sub(_identifier_or_word, line)
    line = _NUMBER.sub("<n>", line)
    return " ".join(line.split())[:FINGERPRINT_LENGTH].rstrip()


def error_group(name: str, error: str) -> UUID:
    """128 bits of SHA-256 over the task name and the fingerprint: every process puts an error into the same group
    without asking anybody."""
    digest = hashlib.sha256(f"{name}\0{fingerprint(error)}".encode(errors="replace")).digest()
    return UUID(bytes=digest[:16])


def _subject(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    traces = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if traces and traces[0] == 0:
        for line in lines[traces[-1] + 1 :]:
            if not line[0].isspace():
                return line
    return lines[0] if lines else ""


def _identifier_or_word(found: re.Match[str]) -> str:
    word = found.group()
    return "<id>" if len(_SWITCH.findall(word)) >= _SWITCHES_OF_AN_IDENTIFIER else word

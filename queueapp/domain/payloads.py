"""The one validator of JSON that comes from outside, for REST, the socket and the admin.

What `json.loads` lets pass and a database does not: NaN and infinities, NUL, lone surrogates, and nesting
deeper than the recursion of whoever reads it next.
"""

from __future__ import annotations

import json
import re
from typing import Any

from queueapp.domain.errors import InvalidJson
from queueapp.domain.names import is_storable

MAX_DEPTH = 64

UNSTORABLE_TEXT = "it holds a NUL character or a lone surrogate; leave it out, or use Base64"
UNSTORABLE_NUMBER = "it holds a number that is NaN, infinite or too large to be kept; send it as text"

_EXPONENT = re.compile(r"[0-9][eE]\+?[0-9][0-9][0-9]")
_LARGE_NUMBER = re.compile(r"(?:^|[\s:,\[-])[0-9][0-9.]*[eE]\+?[0-9]{3}")
_LONG = 200
_LONG_NUMBER = re.compile(rf"[0-9]{{{_LONG}}}")


def may_be_escaped(text: str) -> bool:
    """Whether a JSON text may hold an escaped NUL or surrogate."""
    return "\\u" in text


def may_be_infinite_or_deep(text: str, max_depth: int = MAX_DEPTH) -> bool:
    """Whether a JSON text may hold a number that is infinite, or be nested too deeply. A quick look, which is true
    of all that do and of few others: what is short is looked at for no more than it has room for."""
    if len(text) > max_depth and text.count("[") + text.count("{") > max_depth:
        return True
    if len(text) >= _LONG and _LONG_NUMBER.search(text) is not None:
        return True
    if "e" not in text and "E" not in text:
        return False
    # Ids and digests are full of the former; the latter costs ten times as much.
    return _EXPONENT.search(text) is not None and _LARGE_NUMBER.search(text) is not None


def parse_json(text: str | bytes, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a JSON text, or InvalidJson with a reason that its author can act on."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidJson(f"not UTF-8 at byte {error.start}") from None
    elif not text.isascii() and not is_storable(text):
        raise InvalidJson(UNSTORABLE_TEXT)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise InvalidJson(f"nested deeper than {max_depth} levels") from None
    except ValueError:  # an integer of more digits than Python reads
        raise InvalidJson(UNSTORABLE_NUMBER) from None
    if may_be_escaped(text) or may_be_infinite_or_deep(text, max_depth):
        check_json(value, max_depth)
    return value


def check_json(value: Any, max_depth: int = MAX_DEPTH) -> None:
    """Refuse a parsed value that cannot be stored. Walks with a stack of its own, whatever the depth."""
    stack: list[tuple[Any, int]] = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, float):
            if item != item or item in (float("inf"), float("-inf")):
                raise InvalidJson(UNSTORABLE_NUMBER)
        elif isinstance(item, dict | list):
            if depth >= max_depth:
                raise InvalidJson(f"nested deeper than {max_depth} levels")
            if isinstance(item, dict):
                for key in item:
                    _check_text(key)
                stack.extend((child, depth + 1) for child in item.values())
            else:
                stack.extend((child, depth + 1) for child in item)


def json_text(value: Any) -> str:
    """The compact text under which a checked value is stored."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a number that is none, or infinite, or an integer of more digits than Python writes
        raise InvalidJson(UNSTORABLE_NUMBER) from None


def canonical_text(value: Any) -> str:
    """The one text of all equal values: keys sorted. Routes are known by it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def _check_text(text: str) -> None:
    if not is_storable(text):
        raise InvalidJson(UNSTORABLE_TEXT)


def _refuse_constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not JSON; send null, or text")

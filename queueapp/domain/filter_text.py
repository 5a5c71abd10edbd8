"""The filter bar's language: `state:failed name:tag attr.cloud:aws,gcp error:~"connection lost" age:>1h`.

A text is read as the document of an operation's filter, `{"state": "failed", …}`, where all members must match
and a list is any of its values; and a document is written as a text that reads as the same document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from queueapp.domain import filter_values
from queueapp.domain.filter_values import ANYTHING, ATTRIBUTE, CONTAINS, DATA, ONE_VALUE, STATES
from queueapp.domain.ids import as_id
from queueapp.domain.names import is_task_name
from queueapp.domain.spelling import closest

Document = dict[str, str | list[str]]

FILTERS = {
    "state": f"{', '.join(STATES)}",
    "name": "a task name; tag* is every name that begins so",
    f"{ATTRIBUTE}…": "an attribute: attr.cloud:aws",
    f"{DATA}…": "a value inside the data: data.node.id:x",
    "error": "the whole error, or a part of it: error:~timeout",
    "error_group": "failed with an error of this group, as the page of errors names it; or none",
    "worker": "who holds it or ended it: a worker's name or id",
    "age": "since it was created: >1h, <5m",
    "waiting": "ready, and without a worker for: >5m",
    "finished": "since it ended: <1h",
    "created": "a day, >TIME, <TIME or FROM..TO",
    "tag": "a tag",
    "id": "a task's id",
}
"""What there is, with what stands behind the colon."""

OF_LISTS = ("created_after", "created_before")
"""Known from the API's lists, and not offered."""
TEXT_LENGTH = 4000
MOST_WORDS = 64

_QUOTES = "\"'"
_BEFORE_QUOTE = ":=,~."
_BREAKS = frozenset(",\"'")
_NAME_BREAKS = _BREAKS | {":", "="}


@dataclass(frozen=True, slots=True)
class Problem:
    """A word that cannot be used, and why. `meant`: the word that was probably meant."""

    word: str
    message: str
    meant: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    document: Document
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Char:
    text: str
    is_quoted: bool = False


_Word = list[_Char]


class _Unusable(Exception):
    """A word that cannot be used."""

    def __init__(self, message: str, meant: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.meant = meant


def parse(text: str) -> Reading:
    """The document, and what is wrong with the other words."""
    if len(text) > TEXT_LENGTH:
        return Reading(
            {}, (Problem(f"{text[:20]}…", f"Such a long text is not read: at most {TEXT_LENGTH} characters."),)
        )
    words = list(_words(text))
    if len(words) > MOST_WORDS:
        return Reading({}, (Problem(_plain(words[0]), f"So many words are not read: at most {MOST_WORDS}."),))
    document: Document = {}
    problems: list[Problem] = []
    for word in words:
        try:
            member, values = _read(word)
            if member in document:
                raise _Unusable(f"“{member}” is there already: write {member}:a,b for either of two.")
            document[member] = values[0] if len(values) == 1 else values
        except _Unusable as unusable:
            problems.append(Problem(_plain(word), unusable.message, unusable.meant))
    return Reading(document, tuple(problems))


def write(document: Mapping[str, Any]) -> str:
    """The text that reads as the document."""
    return " ".join(word_of(member, value) for member, value in document.items() if member != "all")


def word_of(member: str, value: Any) -> str:
    """`state:failed,expired`: a member of a document as it stands in the text."""
    values = [value] if isinstance(value, str) else value
    for start in (ATTRIBUTE, DATA):
        if member.startswith(start):
            member = start + _quoted(member.removeprefix(start), _NAME_BREAKS)
    return f"{member}:{','.join(map(_quoted, values))}"


def with_member(document: Mapping[str, Any], member: str, value: str) -> Document:
    """The document with the member, in the place of one of that name."""
    return {**without_member(document, "all"), member: value}


def without_member(document: Mapping[str, Any], member: str) -> Document:
    return {name: value for name, value in document.items() if name != member}


def _words(text: str) -> Iterator[_Word]:
    """Parted by spaces that are not in quotes. An open quotation mark is a sign like any other."""
    word: _Word = []
    place = 0
    while place < len(text):
        sign = text[place]
        opens = sign in _QUOTES and (not word or (word[-1].text in _BEFORE_QUOTE and not word[-1].is_quoted))
        if opens and (quoted := _quotation(text, place)) is not None:
            inside, place = quoted
            word += inside
            continue
        if sign.isspace():
            if word:
                yield word
            word = []
        else:
            word.append(_Char(sign))
        place += 1
    if word:
        yield word


def _quotation(text: str, place: int) -> tuple[_Word, int] | None:
    """What stands between the quotation mark at that place and the next one like it, and the place behind that."""
    quote, inside = text[place], list[_Char]()
    place += 1
    while place < len(text):
        sign = text[place]
        if sign == quote:
            return inside or [_Char("", is_quoted=True)], place + 1
        if sign == "\\" and text[place + 1 : place + 2] in (quote, "\\"):
            place += 1
            sign = text[place]
        inside.append(_Char(sign, is_quoted=True))
        place += 1
    return None


def _read(word: _Word) -> tuple[str, list[str]]:
    cut = next((place for place, char in enumerate(word) if char.text in ":=" and not char.is_quoted), None)
    if cut is None:
        return _read_bare(_plain(word))
    name, sign, rest = _plain(word[:cut]), word[cut].text, word[cut + 1 :]
    if sign == "=" and not name.startswith((ATTRIBUTE, DATA)):
        name = ATTRIBUTE + name  # cloud=aws
    elif not _is_filter(name):
        return _read_unknown(name, rest, _plain(word))
    parts = [rest] if name in ONE_VALUE else _parted(rest)
    values = [_plain(part) for part in parts]
    try:
        if not all(parts):
            raise ValueError("needs a value")
        filter_values.check(name, values)
    except ValueError as error:
        raise _Unusable(f"“{name}” {error}.", _corrected(name, values)) from None
    return name, values


def _read_bare(text: str) -> tuple[str, list[str]]:
    """A word without a filter: an id, or the beginning of a task name."""
    if (task_id := as_id(text)) is not None:
        return "id", [str(task_id)]
    if is_task_name(text.removesuffix(ANYTHING)):
        return "name", [text.removesuffix(ANYTHING) + ANYTHING]
    raise _Unusable(f"This is no filter, no task's id and not the beginning of a task name. {_KNOWN}")


def _read_unknown(name: str, rest: _Word, text: str) -> tuple[str, list[str]]:
    """Task names may have a colon: what is like no filter may be the beginning of one."""
    values = [_plain(part) for part in _parted(rest)]
    if name.startswith("-") and _is_filter(name[1:]):
        others = [state for state in STATES if state not in values]
        meant = word_of("state", others) if name == "-state" and others else None
        raise _Unusable("Nothing can be excluded: name what is wanted.", meant)
    if name in _NAMES:
        raise _Unusable(f"“{name}” needs a name with a point before it, as in {name}.cloud:aws.")
    beginning = text.removesuffix(ANYTHING)
    if (meant := _meant(closest(name, _NAMES), values)) is not None:
        or_name = f" A task name is asked for by name:{beginning}*." if is_task_name(beginning) else ""
        raise _Unusable(f"There is no filter “{name}”. {_KNOWN}{or_name}", meant)
    if not is_task_name(beginning):
        raise _Unusable(f"There is no filter “{name}”. {_KNOWN}")
    return "name", [beginning + ANYTHING]


def _meant(name: str | None, values: list[str]) -> str | None:
    """The word with that filter, if it takes such values."""
    if name is None or name not in FILTERS:
        return None
    try:
        filter_values.check(name, values)
    except ValueError:
        return _corrected(name, values)
    return word_of(name, values)


def _is_filter(name: str) -> bool:
    if name.startswith((ATTRIBUTE, DATA)):
        return True
    return name in FILTERS or name in OF_LISTS


def _corrected(name: str, values: list[str]) -> str | None:
    """With the states that were probably meant."""
    if name != "state":
        return None
    meant = [value if value in STATES else closest(value, STATES) or "" for value in values]
    return word_of(name, meant) if all(meant) else None


def _parted(word: _Word) -> list[_Word]:
    """At the commas that are not in quotes."""
    parts: list[_Word] = [[]]
    for char in word:
        if char.text == "," and not char.is_quoted:
            parts.append([])
        else:
            parts[-1].append(char)
    return parts


def _plain(word: _Word) -> str:
    return "".join(char.text for char in word)


def _quoted(text: str, breaks: Collection[str] = _BREAKS) -> str:
    if text and not any(sign in breaks or sign.isspace() for sign in text):
        return text
    start = CONTAINS if text.startswith(CONTAINS) else ""
    escaped = text.removeprefix(start).replace("\\", "\\\\").replace('"', '\\"')
    return f'{start}"{escaped}"'


_NAMES = tuple(name.removesuffix(".…") for name in FILTERS)
_KNOWN = f"Filters are {', '.join(FILTERS)}."

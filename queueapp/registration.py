"""What a worker says of itself when it attaches: the query string or the first message (contract, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from queueapp.domain.errors import InvalidJson, RegistrationError
from queueapp.domain.matching import Profile, Subscription
from queueapp.domain.names import attribute_problem, is_storable, is_task_name
from queueapp.domain.payloads import json_text, parse_json
from queueapp.protocol import MAX_OUTSTANDING_LIMIT

MAX_SUBSCRIPTIONS = 1000
LABEL_LENGTH = 200

TEXTS_KEPT = 16
KEPT_CHARACTERS = 128 * 1024
"""First messages that are remembered with what they come to: the workers of a fleet all say the same, and to read
a thousand subscriptions takes the event loop 30 ms."""

OPTIONS = ("_max_outstanding", "_name", "_batch", "_version")


@dataclass(frozen=True, slots=True)
class Offer:
    """One subscription as it was sent. `extra` is the JSON text of members that only operators read."""

    subscription: Subscription
    extra: str = "{}"


@dataclass(frozen=True, slots=True)
class Options:
    max_outstanding: int
    name: str = ""
    batch: bool = False
    version: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query string. Without offers the registration is still to come, as the first message."""

    options: Options
    offers: tuple[Offer, ...]


def profile_of(offers: Iterable[Offer]) -> Profile:
    return frozenset(offer.subscription for offer in offers)


def parse_query(query_string: bytes, default_max_outstanding: int) -> Query:
    """The options and, where `task` is given, the subscriptions of `?task=tag,collect&cloud=aws,gcp`."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000
        )
    except ValueError:  # of which the decoding errors are kinds
        raise RegistrationError("The query string cannot be decoded: percent-encode it as UTF-8.") from None
    options: dict[str, str] = {}
    tasks: list[str] = []
    criteria: dict[str, list[str]] = {}
    for key, value in pairs:
        if key.startswith("_"):
            if key not in OPTIONS:
                raise RegistrationError(f"Unknown option {key}: known are {', '.join(OPTIONS)}.")
            if key in options:
                raise RegistrationError(f"Option {key} is given twice.")
            options[key] = value
        elif key == "task":
            tasks.extend(value.split(","))
        else:
            criteria.setdefault(key, []).extend(value.split(","))
    if criteria and not tasks:
        raise RegistrationError("Filter criteria in the query need a task: add task=….")
    names = dict.fromkeys(_task_name(name) for name in tasks)
    _check_number(len(names))
    filter = _criteria(criteria)
    offers = tuple(Offer(Subscription.of(name, filter)) for name in names)
    return Query(_options(options, default_max_outstanding), offers)


def parse_first_message(text: str) -> tuple[Offer, ...]:
    """The subscriptions of `[{"name": "tag", "filter": {"cloud": ["aws"]}, …}]`."""
    return _known_offers(text) if len(text) <= KEPT_CHARACTERS else _offers(text)


def _offers(text: str) -> tuple[Offer, ...]:
    try:
        value = parse_json(text)
    except InvalidJson as error:
        raise RegistrationError(f"The registration cannot be used: {error.reason}.") from None
    if not isinstance(value, list) or not value:
        raise RegistrationError('The first message must be an array of objects such as [{"name": "tag"}].')
    _check_number(len(value))
    return tuple(_offer(item) for item in value)


_known_offers = lru_cache(maxsize=TEXTS_KEPT)(_offers)


def _check_number(subscriptions: int) -> None:
    if subscriptions > MAX_SUBSCRIPTIONS:
        raise RegistrationError(f"A worker has at most {MAX_SUBSCRIPTIONS} subscriptions.")


def _offer(item: Any) -> Offer:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise RegistrationError("Each subscription is an object with a name.")
    name = _task_name(item["name"])
    filter = item.get("filter")
    if filter is None:
        filter = {}
    elif not isinstance(filter, dict):
        raise RegistrationError(f"The filter of {name} must be an object of criterion to values.")
    criteria: dict[str, list[str]] = {}
    for criterion, values in filter.items():
        values = [values] if isinstance(values, str) else values
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise RegistrationError(f"Filter {criterion} of {name} must be a string or a list of strings.")
        criteria[criterion] = values
    extra = {key: member for key, member in item.items() if key not in ("name", "filter")}
    return Offer(Subscription.of(name, _criteria(criteria)), json_text(extra))


def _criteria(criteria: dict[str, list[str]]) -> dict[str, list[str]]:
    for criterion, values in criteria.items():
        if not values or not all(values):
            raise RegistrationError(f"Filter {criterion or '(no name)'} has an empty value.")
        for value in values:
            if problem := attribute_problem(criterion, value):
                raise RegistrationError(f"Filter {criterion[:50]!r}: {problem}.")
    return criteria


def _task_name(name: str) -> str:
    if not is_task_name(name):
        raise RegistrationError(
            f"{name[:50]!r} is no task name: 1 to 200 letters, digits and the characters _ . : -"
        )
    return name


def _options(options: dict[str, str], default_max_outstanding: int) -> Options:
    for key in ("_name", "_version"):
        if len(options.get(key, "")) > LABEL_LENGTH or not is_storable(options.get(key, "")):
            raise RegistrationError(f"Option {key} must be text of at most {LABEL_LENGTH} characters.")
    if options.get("_batch", "0") not in ("0", "1"):
        raise RegistrationError("Option _batch is 0 or 1.")
    return Options(
        max_outstanding=_max_outstanding(options.get("_max_outstanding"), default_max_outstanding),
        name=options.get("_name", ""),
        batch=options.get("_batch") == "1",
        version=options.get("_version", ""),
    )


def _max_outstanding(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_OUTSTANDING_LIMIT):
        raise RegistrationError(
            f"Option _max_outstanding must be a whole number from 1 to {MAX_OUTSTANDING_LIMIT}."
        )
    return int(text)

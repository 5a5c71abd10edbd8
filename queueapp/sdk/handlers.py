"""The handlers of a worker, and which of them performs a task."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from queueapp.domain.matching import Subscription
from queueapp.domain.names import attribute_problem, is_task_name
from queueapp.sdk.signature import label_of, taking_a_task
from queueapp.sdk.task import Task

Criteria = Mapping[str, str | list[str] | tuple[str, ...]]
"""Criterion to the accepted value or values."""


@dataclass(frozen=True, slots=True)
class SyncHandler:
    """Runs in a thread."""

    function: Callable[[Task], Any]
    label: str


@dataclass(frozen=True, slots=True)
class AsyncHandler:
    """Runs on the event loop."""

    function: Callable[[Task], Awaitable[Any]]
    label: str


Handler = SyncHandler | AsyncHandler


class Handlers:
    """Handlers by subscription."""

    def __init__(self) -> None:
        self._by_subscription: dict[Subscription, Handler] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_subscription)

    def __len__(self) -> int:
        return len(self._by_subscription)

    def items(self) -> Iterable[tuple[Subscription, Handler]]:
        return self._by_subscription.items()

    def add(self, name: str, criteria: Criteria, function: Callable[..., Any]) -> None:
        """ValueError when the name or filter cannot be registered, or already is, or the function cannot be called
        with a task."""
        subscription = _subscription(name, criteria)
        handler = AsyncHandler if _is_async(function) else SyncHandler
        self._add(subscription, handler(taking_a_task(function), label_of(function)))

    def include(self, others: Handlers) -> None:
        for subscription, handler in others._by_subscription.items():
            self._add(subscription, handler)

    def find(self, name: str, attrs: Mapping[str, str]) -> Handler | None:
        """The handler whose filter matches most specifically, as the server chooses among workers."""
        matching = [each for each in self._by_subscription if each.matches(name, attrs)]
        if not matching:
            return None
        return self._by_subscription[max(matching, key=lambda each: each.specificity)]

    def _add(self, subscription: Subscription, handler: Handler) -> None:
        if subscription in self._by_subscription:
            raise ValueError(f"There already is a handler for {subscription.name} with this filter.")
        self._by_subscription[subscription] = handler


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _subscription(name: str, criteria: Criteria) -> Subscription:
    if not is_task_name(name):
        raise ValueError(f"{name!r} is no task name: 1 to 200 letters, digits and the characters _ . : -")
    accepted = {key: [values] if isinstance(values, str) else list(values) for key, values in criteria.items()}
    for criterion, values in accepted.items():
        if not values or not all(values):
            raise ValueError(f"Filter {criterion!r} of {name} has an empty value.")
        for value in values:
            if problem := attribute_problem(criterion, value):
                raise ValueError(f"Filter {criterion!r} of {name}: {problem}.")
    return Subscription.of(name, accepted)

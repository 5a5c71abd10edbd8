"""Addresses of the operators' pages about a route: its tasks, the sandbox, the workers that offer its name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode

from django.urls import reverse

from queueapp.domain import filter_text
from queueapp.domain.filter_values import ATTRIBUTE
from queueapp.domain.names import attrs_in_words
from queueapp.domain.states import TaskState
from queueapp.domain.supply import Demand


def tasks_of(name: str, attrs: Mapping[str, str] | None = None) -> str:
    """Those that wait."""
    document = {"state": str(TaskState.PENDING), "name": name}
    document |= {f"{ATTRIBUTE}{criterion}": value for criterion, value in sorted((attrs or {}).items())}
    return with_query(reverse("admin:queueapp_task_changelist"), q=filter_text.write(document))


def failed_since(ago: timedelta) -> str:
    """The tasks that are failed now and became so not longer ago."""
    document = {"state": str(TaskState.FAILED), "finished": f"<{ago // timedelta(minutes=1)}m"}
    return with_query(reverse("admin:queueapp_task_changelist"), q=filter_text.write(document))


def ready_of(name: str) -> str:
    """Those that a worker could take now."""
    document = {"waiting": ">0s", "name": name}
    return with_query(reverse("admin:queueapp_task_changelist"), q=filter_text.write(document))


def sandbox_of(demand: Demand) -> str:
    return with_query(reverse("admin:sandbox"), name=demand.name, attrs=lines(demand.attrs))


def workers_of(name: str) -> str:
    return with_query(reverse("admin:queueapp_workersession_changelist"), offers=name)


def with_query(address: str, **parameters: str) -> str:
    return f"{address}?{urlencode(parameters)}"


def attributes(demand: Demand) -> str:
    return attrs_in_words(demand.attrs)


def lines(attrs: Mapping[str, str]) -> str:
    """One attribute a line, as the sandbox takes them."""
    return "\n".join(f"{criterion}={value}" for criterion, value in sorted(attrs.items()))

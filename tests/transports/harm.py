"""What somebody can do at every path of the project by every method, and whether that does harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from urllib.parse import urlencode

from admin_rows import Scene
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.urls import URLPattern, get_resolver

from queueapp.models import ApiKey, Delivery, Operation

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READING = ("GET", "OPTIONS")

OWN = ("admin:logout", "admin:password_change")
"""What a user may do to its own session and password, whatever its role."""

READ_BY_ANY_METHOD = re.compile(
    r"admin:(index|login|jsi18n|autocomplete|app_list|password_change_done|\w+_changelist|\w+_history)$|api:route$"
)
"""What changes nothing whoever asks: Django's pages that take a POST for a GET, and a question that has a body."""

ACTIONS = (
    "cancel",
    "retry",
    "drain",
    "disconnect",
    "pause",
    "resume",
    "revoke",
    "stop",
    "try_again",
    "delete_selected",
)
TRIED = {
    "post": "yes",
    "confirmed": "1",
    "index": "0",
    "select_across": "1",
    "filter": '{"all": true}',
    "priority": "7",
    "name": "tag",
    "note": "by somebody who may not",
    "concurrency": "7",
    "username": "eve",
    "role": "operator",
}
"""What is found in one form or another."""

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


def patterns() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Every path of the project: its full name, and its route with the names and kinds of its arguments."""

    def walk(found: Any, route: str, namespace: str, arguments: list[tuple[str, str]]) -> Iterator[Any]:
        for each in found:
            here = route + _template(each.pattern)
            all_arguments = arguments + [
                (name, type(converter).__name__) for name, converter in each.pattern.converters.items()
            ]
            if isinstance(each, URLPattern):
                yield f"{namespace}{each.name or ''}", here, all_arguments
            else:
                inner = f"{namespace}{each.namespace}:" if each.namespace else namespace
                yield from walk(each.url_patterns, here, inner, all_arguments)

    return walk(get_resolver().url_patterns, "/", "", [])


def _template(pattern: Any) -> str:
    """`tasks/<uuid:task_id>` as `tasks/{task_id}`; of a regular expression one path that it matches."""
    text = str(pattern)
    if pattern.converters or "(" not in text:
        return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", text).lstrip("^").rstrip("$")
    return text.replace("(?P<app_label>auth|queueapp)", "queueapp").replace("(?P<url>.*)$", "nowhere").strip("^$")


def addresses(rows: Scene) -> list[tuple[str, str]]:
    """Each path with each of the rows that its arguments could mean: an argument of a kind that is not known here
    has to be taught."""
    uuids = [rows.pending, rows.assigned, rows.failed, rows.worker, Operation.objects.get().pk]
    numbers = [get_user_model().objects.get(username="root").pk, ApiKey.objects.get().pk]
    values = {
        "UUIDConverter": uuids,
        "IntConverter": numbers,
        "StringConverter": ["tag", "1h", rows.pending],
        "SlugConverter": ["tag"],
        "PathConverter": [rows.pending, rows.worker, *set(numbers), "tag"],
    }
    found = []
    for name, route, arguments in patterns():
        for chosen in product(*(values[kind] for _, kind in arguments)):
            found.append((name, route.format(**dict(zip((n for n, _ in arguments), chosen, strict=True)))))
    return sorted(set(found))


class Writes:
    """The statements that write to anything but what a session needs."""

    OWN = ("django_session", "last_login", "SAVEPOINT", "RELEASE", "ROLLBACK")

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        first = sql.lstrip("( \n").split(None, 1)[0].upper()
        writes = first in ("INSERT", "UPDATE", "DELETE") or re.search(r"\b(INSERT INTO|DELETE FROM)\b", sql)
        if writes and not any(own in sql for own in self.OWN):
            self.statements.append(sql[:200])
        return execute(sql, parameters, many, context)


@contextmanager
def noting_writes() -> Iterator[Writes]:
    writes = Writes()
    with connection.execute_wrapper(writes):
        yield writes


def content() -> dict[str, list[Any]]:
    """All that is in the database, but for the sessions."""
    models = [model for model in apps.get_models() if model._meta.label not in ("sessions.Session",)]
    return {
        model._meta.label: [
            {key: value for key, value in row.items() if key != "last_login"}
            for row in model._base_manager.order_by("pk").values()
        ]
        for model in models
    }


def bodies(rows: Scene, name: str, address: str) -> list[tuple[str, str]]:
    """What is posted there: JSON to the API, to a page a form, to a list one with each of the actions."""
    if not address.startswith("/admin/"):
        return [(JSON, '{"name": "tag"}'), (JSON, "")]
    keys = [str(key) for key in keys_of(rows, name)]
    actions = ACTIONS if name.endswith("_changelist") else ACTIONS[:1]
    return [(FORM, urlencode({**TRIED, "action": action, "_selected_action": keys}, True)) for action in actions]


def keys_of(rows: Scene, name: str) -> list[Any]:
    """The rows that a list's actions are tried on: a list refuses all when one is no key of its own."""
    of_lists = {
        "operation": [each.pk for each in Operation.objects.all()],
        "delivery": [each.pk for each in Delivery.objects.all()],
        "apikey": [each.pk for each in ApiKey.objects.all()],
        "workersession": [rows.worker],
        "queue": ["tag"],
    }
    others = [rows.pending, rows.failed, rows.worker, "tag", *of_lists["apikey"]]
    return next((keys for model, keys in of_lists.items() if name.endswith(f"_{model}_changelist")), others)


def harm_done(rows: Scene, client: Client, among: str = "") -> list[tuple[Any, ...]]:
    """What was written, and what was not refused, when all is tried at every path whose name has `among` in it."""
    harm: list[tuple[Any, ...]] = []
    with noting_writes() as writes:
        for name, address in addresses(rows):
            if name in OWN or not re.search(among, name):
                continue
            for method in METHODS:
                for kind, body in bodies(rows, name, address) if method == "POST" else [(JSON, "{}")]:
                    status = client.generic(method, address, body, content_type=kind).status_code
                    if writes.statements or not _is_harmless(name, method, status):
                        harm.append((method, address, status, body[:40], *writes.statements[:1]))
                        writes.statements.clear()
    return harm


def _is_harmless(name: str, method: str, status: int) -> bool:
    if method in READING:
        return status < 500
    if status in (301, 302, 403, 404, 405):
        return True
    return status < 500 and bool(READ_BY_ANY_METHOD.match(name))

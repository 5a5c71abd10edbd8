"""The audit log: who did what to how many of what, and from where. Operators' actions, and nobody else's.

A producer that cancels or retries its own tasks does its work and is no operator: its tasks say whose they are,
and a log that it could fill would hide what the log is for. The same by an operator's key or an admin user is
recorded.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import transaction
from django.http import HttpRequest

from queueapp import database
from queueapp.models import ApiKey, AuditEntry
from queueapp.models.audit import ADDRESS_LENGTH, SUBJECT_LENGTH, WHO_LENGTH

C = TypeVar("C", bound=Collection[Any])

DETAIL_LENGTH = 2000
NAMED = 20
"""Of several that an action changed at once, so many are named."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `address` is where from, as text; what is empty is not known."""

    name: str
    user_id: int | None = None
    key_id: int | None = None
    address: str = ""


def actor_of(request: HttpRequest) -> Actor:
    """The holder of the key that the request came with, else its user.

    The address is that of the peer, as workers have it: behind a proxy the one that the server takes from it.
    """
    address = request.META.get("REMOTE_ADDR") or ""
    key = getattr(request, "auth", None)
    if isinstance(key, ApiKey):
        return Actor(str(key), key_id=key.pk, address=address)
    return Actor(request.user.get_username(), user_id=request.user.pk, address=address)


def actor_at_shell() -> Actor:
    """Who runs a command on a machine of the installation."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        name = "somebody"
    return Actor(f"{name} (command)", address=socket.gethostname())


def record(actor: Actor, action: str, *, kind: str, subject: str = "", count: int = 1, detail: str = "") -> None:
    """Write it down, in the caller's transaction: call it in the one that makes the change."""
    AuditEntry.objects.create(
        at=database.now(),
        who=_text(actor.name, WHO_LENGTH),
        user_id=actor.user_id,
        key_id=actor.key_id,
        address=_text(actor.address, ADDRESS_LENGTH),
        action=action,
        kind=kind,
        subject=_text(subject, SUBJECT_LENGTH),
        count=count,
        detail=_text(detail, DETAIL_LENGTH),
    )


@database.retried
def carried_out(
    actor: Actor,
    action: str,
    verb: Callable[[], C],
    *,
    kind: str,
    named: Callable[[Any], str] = str,
    detail: str = "",
) -> C:
    """Call the verb and record what it says that it changed: both, or neither. What changed nothing is no entry.

    `named` turns what the verb returns of each into the text by which operators know it.
    """
    with database.noticing_loss(), transaction.atomic(savepoint=False):
        changed = verb()
        if changed:
            names = sorted(map(named, changed))
            subject, more = (names[0], "") if len(names) == 1 else ("", _several(names))
            text = "\n".join(filter(None, (detail, more)))
            record(actor, action, kind=kind, subject=subject, count=len(names), detail=text)
        return changed


def changes_text(changes: Mapping[str, Any]) -> str:
    """`concurrency=7 timeout_seconds=None`: what was set, as the detail of an entry."""
    return " ".join(f"{name}={value!r}" for name, value in sorted(changes.items()))


def _several(names: Sequence[str]) -> str:
    left_out = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {left_out} more" if left_out > 0 else "")


def _text(text: str, length: int) -> str:
    """As it can be stored: a note may hold whatever somebody typed."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= length else f"{text[: length - 1]}…"

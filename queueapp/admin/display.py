"""How values are shown. What a user typed or a worker sent reaches a page only through an escaping formatter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueapp.models import WorkerSession

EXCERPT_LENGTH = 100
NOTHING = "-"
"""What a page shows where there is no value, as the stock admin does in lists."""
SHOWN_CHARACTERS = 50_000


def page_of(model: type[Model], key: Any) -> str:
    """The address of a row's page."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(key)])


def list_of(model: type[Model], **filters: Any) -> str:
    """The address of a list, filtered."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{address}?{urlencode(filters)}" if filters else address


def link(model: type[Model], key: Any, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', page_of(model, key), text)


def live(member: str, value: Any, kind: str = "") -> SafeString:
    """A value that the page keeps up to date with that member of its snapshot. `kind`: how it is written, where
    it is not a plain text (`live.js`)."""
    return format_html('<span data-value="{}" data-as="{}">{}</span>', member, kind, value)


def worker_link(session: WorkerSession | None, session_id: UUID | None) -> str:
    """A worker by its name, or by its bare id when its row has been pruned."""
    if session is not None:
        return link(WorkerSession, session.pk, excerpt(session.name) or short(session.pk))
    return str(session_id) if session_id else NOTHING


def short(key: UUID) -> str:
    """An id as a list shows it: its last part, for ids made in one minute share the first ones."""
    return f"…{key.hex[-10:]}"


def excerpt(text: str) -> str:
    """One short line of a text that may have many long ones."""
    line = " ".join(text[: EXCERPT_LENGTH * 2].split())
    return line if len(line) <= EXCERPT_LENGTH else f"{line[:EXCERPT_LENGTH]}…"


def age(duration: timedelta) -> str:
    """A duration in its two largest units: `3 h 20 min`."""
    seconds = max(0, int(duration.total_seconds()))
    parts = (
        (seconds // 86_400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    )
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def attributes(attrs: Mapping[str, str]) -> str:
    """`cloud=aws account=1`: as the search box takes them."""
    return " ".join(f"{name}={value}" for name, value in sorted(attrs.items())) or NOTHING


def block(text: str) -> str:
    """A text as it is, in a box of its own, which the keyboard can scroll; a very long one is cut."""
    if not text:
        return NOTHING
    left_out = len(text) - SHOWN_CHARACTERS
    if left_out > 0:
        text = f"{text[:SHOWN_CHARACTERS]}\n… and {left_out} more characters, which the API shows."
    return format_html('<pre class="queue-text" tabindex="0">{}</pre>', text)


def json_block(text: str | None) -> str:
    """A stored JSON text, indented."""
    return NOTHING if text is None else block(indented(text))


def value_block(value: Any) -> str:
    """A JSON value, indented; nothing for an empty one."""
    return block(json.dumps(value, indent=2, ensure_ascii=False)) if value else NOTHING


def indented(text: str) -> str:
    """A JSON text, to be read."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:  # a number with more digits than Python reads
        return text

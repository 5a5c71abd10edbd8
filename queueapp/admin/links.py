"""Addresses of pages that are no row's and no list's, for those which lead to them, and what it takes to open
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from queueapp.domain.payloads import json_text

LONGEST_ADDRESS = 6000
"""Bytes, of what a page asks for: servers and proxies read no more than 8,192 of a request's first line."""

CHANGING_IN_BULK = ("queueapp.change_task", "queueapp.add_operation")


def page_named(page: str, /, **parameters: str) -> str | None:
    """None where the site has no page of that name."""
    try:
        address = reverse(f"admin:{page}")
    except NoReverseMatch:
        return None
    return f"{address}?{urlencode(parameters)}" if parameters else address


def now_of(subject: str, **parameters: Any) -> str:
    """Where a page asks what has become of what it shows, as `queueapp.subjects` reads it."""
    return f"{reverse('admin:now')}?{urlencode({'watch': subject, **parameters}, doseq=True)}"


def now_of_list(subject: str, rows: Sequence[Any], **beginning: str) -> str:
    """As many of the rows as fit. Where some do not, or the filter does not, what is newer is not asked for: rows
    that the page shows would be taken for new. Nothing where there is nothing to be watched."""
    address = now_of(subject, row=rows, **beginning)
    if len(address) > LONGEST_ADDRESS:
        beginning, address = {}, now_of(subject, row=rows)
    while len(address) > LONGEST_ADDRESS:
        rows = rows[:-1]
        address = now_of(subject, row=rows)
    return address if rows or beginning else ""


def bulk(document: Mapping[str, Any], **choices: str) -> str:
    """Where an action is asked for, for all tasks that the filter selects. `choices`: which one, and with what."""
    return f"{reverse('admin:bulk')}?{urlencode({**choices, 'filter': json_text(document)})}"

"""The errors by their causes: how many, since when, one of each, and what can be done about their tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern

from queueapp import database, error_groups
from queueapp.admin.display import age, list_of, page_of
from queueapp.admin.links import CHANGING_IN_BULK, bulk, now_of
from queueapp.domain.filter_values import UNGROUPED
from queueapp.domain.states import Action
from queueapp.error_groups import LATEST, WINDOWS, ErrorGroup, ErrorGroups
from queueapp.models import Attempt, Queue, Task
from queueapp.pages.page import framed, page
from queueapp.subjects import ERRORS

SAMPLE_LENGTH = 2000
IN_WORDS = {"1h": "of the last hour", "24h": "of the last 24 hours", "all": "of all time"}


def urls(site: AdminSite) -> list[URLPattern]:
    def errors(request: HttpRequest) -> HttpResponse:
        window = request.GET.get("window", "24h")
        if window not in WINDOWS:
            raise Http404
        now = database.now()
        found = error_groups.read(window, now)
        may_retry = request.user.has_perms(CHANGING_IN_BULK)
        return framed(
            site,
            request,
            "admin/pages/errors.html",
            title="Errors",
            window=window,
            windows=IN_WORDS,
            in_words=IN_WORDS[window],
            found=found,
            now_address=_now_address(found, now),
            groups=[_shown(group, now, may_retry) for group in found.groups],
            ungrouped=_counted(found.ungrouped, found.ungrouped < LATEST),
            ungrouped_tasks=_tasks(UNGROUPED),
            retry_ungrouped=_retry_all(UNGROUPED) if may_retry else None,
        )

    return [page(site, "errors/", errors, name="errors", permissions=ERRORS)]


def _now_address(found: ErrorGroups, now: datetime) -> str:
    since = error_groups.last_seen() or now
    return now_of("errors", row=[group.id for group in found.groups], since=since.isoformat())


def _shown(group: ErrorGroup, now: datetime, may_retry: bool) -> dict[str, Any]:
    return {
        "group": group,
        "errors": _counted(group.tally.errors, group.tally.is_exact),
        "final": _counted(group.tally.final, group.tally.is_exact),
        "tried_again": _counted(group.tally.tried_again, group.tally.is_exact),
        "failed": _counted(group.failed, group.failed_is_exact),
        "ago": age(now - group.last_seen),
        "sample": group.sample[:SAMPLE_LENGTH],
        "sample_is_cut": group.sample_is_cut or len(group.sample) > SAMPLE_LENGTH,
        "bars": _bars(group.tally.trend or ()) if group.tally.is_exact else [],
        "has_no_bars": group.tally.trend is not None and not group.tally.is_exact,
        "task": page_of(Task, group.task_id),
        "attempt": page_of(Attempt, group.attempt_id),
        "queue": page_of(Queue, group.name),
        "tasks": _tasks(str(group.id)) if group.failed else None,
        "retry_all": _retry_all(str(group.id)) if group.failed and may_retry else None,
    }


def _bars(trend: tuple[int, ...]) -> list[tuple[int, float, float]]:
    """Where each bar begins, from the left and from the top, and how high it is, of a hundred."""
    largest = max(trend, default=0)
    heights = [100 * number / largest if largest else 0.0 for number in trend]
    return [(index * 10, round(100 - height, 1), round(height, 1)) for index, height in enumerate(heights)]


def _counted(number: int, is_exact: bool = True) -> str:
    return f"{number:,}{'' if is_exact else '+'}"


def _tasks(group: str) -> str:
    return list_of(Task, q=f"error_group:{group}")


def _retry_all(group: str) -> str:
    return bulk({"error_group": group}, action=str(Action.RETRY))

"""The list of tasks: its filter bar, its pages by cursor, and cells that lead to more of the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from queueapp import database, saved_views, searching
from queueapp.admin.display import NOTHING, excerpt, list_of, live, short, worker_link
from queueapp.admin.links import bulk
from queueapp.admin.lists import LISTED_QUEUES, OperatorChangeList
from queueapp.domain import filter_text
from queueapp.domain.filter_text import Reading, word_of
from queueapp.domain.filter_values import CONTAINS, STATES
from queueapp.domain.ids import as_id
from queueapp.models import Queue, Task
from queueapp.models.fields import made_at
from queueapp.querysets import TaskQuerySet
from queueapp.subjects import TEXT_LENGTH
from queueapp.task_filters import selected

POSITIONS = ("before", "after")
OLDER_LINKS = ("state", "name")
"""Parameters under which other pages, and people's bookmarks, ask for tasks."""
ERROR_START = 80


@dataclass(frozen=True, slots=True)
class Link:
    """`word` is whose link it is, `address` where it leads."""

    word: str
    address: str
    message: str = ""
    is_current: bool = False
    key: UUID | None = None


class TaskChangeList(OperatorChangeList):
    """The page of tasks that `searching` finds, and what stands around it."""

    reading: Reading

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """All that match: the rows that an action may be about are among these."""
        self.filter_specs: list[Any] = []
        self.has_filters = self.has_active_filters = False
        self.clear_all_filters_qs = "?"
        parameters = self.get_filters_params()
        if unknown := set(parameters) - {*POSITIONS, *OLDER_LINKS}:
            raise DisallowedModelAdminLookup(f"There is no parameter {', '.join(sorted(unknown))}.")
        words = [word_of(name, request.GET[name]) for name in OLDER_LINKS if request.GET.get(name, "all") != "all"]
        self.reading = filter_text.parse(" ".join([self.query, *words]).strip())
        self.at = database.now()
        if self.reading.problems:
            return self.root_queryset.none()
        assert isinstance(self.root_queryset, TaskQuerySet)
        tasks = selected(self.root_queryset, self.reading.document or {"all": True}, at=self.at)
        return self.model_admin.for_list(tasks)

    def get_results(self, request: HttpRequest) -> None:
        before, after = (self._position(request, name) for name in POSITIONS)
        self.page = (
            searching.Page([])
            if self.reading.problems
            else searching.page(self.reading.document, self.at, before=before, after=after)
        )
        rows = self.model_admin.for_list(self.root_queryset).in_bulk(self.page.ids)
        self.result_list = [rows[task_id] for task_id in self.page.ids if task_id in rows]
        for row in self.result_list:
            vars(row)["document"] = self.reading.document
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.may_steer = self.model_admin.has_steer_permission(request)
        self.user_id = request.user.pk

    def _position(self, request: HttpRequest, name: str) -> UUID | None:
        if name not in request.GET:
            return None
        if (task_id := as_id(request.GET[name])) is None:
            raise IncorrectLookupParameters(f"{name} is no task's id")
        return task_id

    def _beginning(self) -> dict[str, str]:
        is_beginning = not self.reading.problems and not set(POSITIONS) & set(self.params)
        is_watchable = len(self.text) <= TEXT_LENGTH
        return {"newer": "1", "q": self.text} if is_beginning and is_watchable else {}

    # ---- the bar

    @property
    def text(self) -> str:
        """As it was typed where something in it cannot be used, else as it was understood."""
        return self.query if self.reading.problems else filter_text.write(self.reading.document)

    @property
    def words(self) -> str:
        """What the bar's script completes, as JSON."""
        queues = Queue.objects.order_by("name").values_list("name", flat=True)[:LISTED_QUEUES]
        names = {name.removesuffix("…"): meaning for name, meaning in filter_text.FILTERS.items()}
        return json.dumps({"filters": names, "values": {"state": STATES, "name": list(queues)}})

    @property
    def problems(self) -> list[Link]:
        """What is meant is asked for beside what could be used."""
        understood = filter_text.write(self.reading.document)
        return [
            Link(
                problem.meant or "",
                _query(f"{understood} {problem.meant}".strip()) if problem.meant else "",
                f"{problem.word}: {problem.message}",
            )
            for problem in self.reading.problems
        ]

    @property
    def chips(self) -> list[Link]:
        document = self.reading.document
        return [
            Link(word_of(name, value), _query(filter_text.write(filter_text.without_member(document, name))))
            for name, value in document.items()
        ]

    @property
    def everything(self) -> str:
        """Where something is done to everything that matches; the page takes the filter as an operation does."""
        return bulk(self.reading.document or {"all": True})

    # ---- views

    @property
    def standard_views(self) -> list[Link]:
        return [self._view(view.name, view.text) for view in saved_views.STANDARD_VIEWS]

    @property
    def own_views(self) -> list[Link]:
        return [self._view(view.name, view.text, view.pk) for view in self._saved if not view.shared]

    @property
    def shared_views(self) -> list[Link]:
        return [self._view(view.name, view.text, view.pk) for view in self._saved if view.shared]

    @cached_property
    def _saved(self) -> list[Any]:
        return saved_views.views_for(self.user_id)

    def _view(self, name: str, text: str, key: UUID | None = None) -> Link:
        is_current = not self.reading.problems and filter_text.parse(text).document == self.reading.document
        return Link(name, _query(text), is_current=is_current, key=key)

    # ---- pages

    @property
    def newest(self) -> str:
        return _query(self.text)

    @property
    def older(self) -> str:
        return _query(self.text, before=self.page.older) if self.page.older and self.page.looked_at != 0 else ""

    @property
    def newer(self) -> str:
        return _query(self.text, after=self.page.newer) if self.page.newer else ""

    @property
    def how_far(self) -> str:
        """Where a search has been broken off."""
        match self.page.looked_at:
            case None:
                return ""
            case 0:
                return "The search takes too long even for a few tasks: narrow it."
        # A search for newer ones that found the newest page looks for that from the newest on, and knows no newer.
        if "after" in self.params and self.page.newer is not None:
            reached = f"{self.page.looked_at:,} newer tasks, up to those of {_when(self.page.newer)}"
        else:
            assert self.page.older is not None
            which = "newest" if self.page.newer is None else "next"
            reached = f"the {which} {self.page.looked_at:,} tasks, back to those of {_when(self.page.older)}"
        return f"The search looked at {reached}. Narrow it, or search further."


def _when(task_id: UUID) -> str:
    return date_format(made_at(task_id), "DATETIME_FORMAT")


def _query(text: str, **position: Any) -> str:
    return f"?{urlencode(({'q': text} if text else {}) | position)}"


def more_like(task: Task, member: str, value: str, text: str, saying: str) -> SafeString:
    """A link that adds the filter to those of the list that the task stands in."""
    document = filter_text.with_member(vars(task).get("document", {}), member, value)
    address = list_of(Task, q=filter_text.write(document))
    return format_html('<a class="narrow" href="{}" title="{}"><bdi>{}</bdi></a>', address, saying, text)


@admin.display(description="id")
def task_id(task: Task) -> str:
    return short(task.pk)


@admin.display(description="name")
def name(task: Task) -> SafeString:
    return more_like(task, "name", task.name, task.name, "Only tasks of this name")


@admin.display(description="attributes")
def attributes(task: Task) -> SafeString | str:
    attrs: Mapping[str, str] = task.route.attrs
    links = [
        (more_like(task, f"attr.{key}", value, f"{key}={value}", "Only tasks with this attribute"),)
        for key, value in sorted(attrs.items())
    ]
    return format_html_join(" ", "{}", links) if links else NOTHING


@admin.display(description="state")
def state(task: Task) -> SafeString:
    shown = format_html('<span data-row="{}">{}</span>', task.pk, live("state", task.state, "state"))
    return more_like(task, "state", task.state, shown, "Only tasks in this state")


@admin.display(description="error")
def error(task: Task) -> SafeString | str:
    text: str = vars(task)["error_start"]
    line = next(iter(text.strip().splitlines()), "")[:ERROR_START].strip()
    if not line:
        return NOTHING
    return more_like(task, "error", CONTAINS + line, excerpt(text), "Only tasks with this in their error")


@admin.display(description="worker")
def worker(task: Task) -> SafeString | str:
    """Who holds it or, once nobody does, who held it last."""
    session, key = (task.worker, task.worker_id) if task.worker_id else (task.last_worker, task.last_worker_id)
    if key is None:
        return NOTHING
    known_as = session.name if session is not None and session.name else str(key)
    only = more_like(task, "worker", known_as, "only", f"Only tasks of worker {excerpt(known_as)}")
    return format_html("<bdi>{}</bdi> {}", worker_link(session, key), only)


COLUMNS: Sequence[Any] = (task_id, name, attributes, state, error, worker)

"""A task's own page: where it stands and why, what became of it, what it carries, and what can be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST, require_safe

from queueapp import audit, database, lifecycle
from queueapp.admin.display import age, attributes, indented, page_of, worker_link
from queueapp.admin.links import now_of
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.admin.remedies import remedies
from queueapp.bulk import usable_priority
from queueapp.domain.errors import InvalidFilter, StateForbids
from queueapp.domain.explanation import Explanation
from queueapp.domain.states import TERMINAL_STATES, Action
from queueapp.domain.submission import PRIORITIES
from queueapp.domain.verdicts import Verdict
from queueapp.explaining import explain_task
from queueapp.models import Attempt, Task, WorkerSession
from queueapp.timeline import EXCERPT_LENGTH, Step, timeline

INDENTED_CHARACTERS = 64_000
SHOWN_CHARACTERS = 50_000
WORKERS_OF_A_GROUP = 20
TEXTS = {Task: ("data", "result", "error"), Attempt: ("error", "details")}
"""What can be had whole, as a text."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A text, or its beginning (`is_cut`). `address`: where it is whole. `length` is in characters."""

    name: str
    text: str
    length: int
    is_cut: bool
    address: str


class TaskPage(ReadOnlyAdmin[Task]):
    def get_urls(self) -> list[URLPattern]:
        def read(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
            return self.admin_site.admin_view(require_safe(view))

        text = "text/<str:member>"
        return [
            path(
                "<uuid:task_id>/priority",
                self.admin_site.admin_view(require_POST(self._prioritise)),
                name="queueapp_task_priority",
            ),
            path(f"<uuid:key>/{text}", read(self._text_of_task), name="queueapp_task_text"),
            path(f"attempt/<int:key>/{text}", read(self._text_of_attempt), name="queueapp_attempt_text"),
            *super().get_urls(),
        ]

    def page_context(self, request: HttpRequest, task: Task, context: Mapping[str, Any]) -> dict[str, Any]:
        buttons = [button for button in context["buttons"] if _fits(button[0], task)]
        own = _context(task, request.user, database.now())
        may_prioritise = self.has_steer_permission(request) and not own["is_over"]
        return {**own, "buttons": buttons, "may_prioritise": may_prioritise}

    def _prioritise(self, request: HttpRequest, task_id: UUID) -> HttpResponse:
        if not self.has_steer_permission(request):
            raise PermissionDenied
        level, told = self._prioritised(request, task_id)
        self.message_user(request, told, level)
        return HttpResponseRedirect(page_of(Task, task_id))

    def _prioritised(self, request: HttpRequest, task_id: UUID) -> tuple[int, str]:
        """What is to be said of it, and how loud."""
        try:
            priority = usable_priority(request.POST.get("priority", ""))
        except InvalidFilter as refusal:
            return messages.ERROR, f"The priority {refusal.errors[0].message}."
        changed = audit.carried_out(
            audit.actor_of(request),
            str(Action.PRIORITISE),
            lambda: lifecycle.prioritise([task_id], priority),
            kind=self.noun,
            detail=f"priority={priority}",
        )
        task = Task.objects.filter(pk=task_id).defer("data", "result", "error").first()
        if task is None:
            raise Http404
        if changed:
            assert request.user.pk is not None
            LogEntry.objects.log_actions(request.user.pk, [task], CHANGE, f"Given priority {priority}")
            return messages.SUCCESS, f"The task has priority {priority} now."
        if task.state in TERMINAL_STATES:
            return messages.ERROR, str(StateForbids("given another priority", task.state))
        return messages.WARNING, f"The task has priority {priority} already."

    def _text_of_task(self, request: HttpRequest, key: UUID, member: str) -> HttpResponse:
        return self._text(request, Task, key, member)

    def _text_of_attempt(self, request: HttpRequest, key: int, member: str) -> HttpResponse:
        if not request.user.has_perm("queueapp.view_attempt"):
            raise PermissionDenied
        return self._text(request, Attempt, key, member)

    def _text(self, request: HttpRequest, model: type[Task | Attempt], key: Any, member: str) -> HttpResponse:
        self._require_view(request)
        if member not in TEXTS[model]:
            raise Http404
        text = model._default_manager.filter(pk=key).values_list(member, flat=True).first()
        if text is None:
            raise Http404
        headers = {
            "Content-Disposition": f'attachment; filename="{model._meta.model_name}-{key}-{member}.txt"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def _context(task: Task, user: Any, now: datetime) -> dict[str, Any]:
    explanation = explain_task(task, None, now)
    line = timeline(task, now)
    is_over = task.state in TERMINAL_STATES
    return {
        "subtitle": task.name,
        "attributes": attributes(task.route.attrs) if task.route.attrs else "",
        "explanation": explanation,
        "is_over": is_over,
        "groups": [] if is_over else _groups(explanation),
        "chosen": _named(explanation.chosen),
        "remedies": remedies(task, explanation, user),
        "steps": [_shown(step) for step in line.steps],
        "left_out": line.left_out,
        "payloads": list(_payloads(task)),
        "priorities": PRIORITIES,
        "now_address": now_of(f"task/{task.pk}"),
        "percent": None if task.progress is None else f"{task.progress:.0%}",
    }


def _fits(button: str, task: Task) -> bool:
    """Whether the task's state allows it."""
    return button != ("cancel" if task.state in TERMINAL_STATES else "retry")


def _groups(explanation: Explanation) -> list[dict[str, Any]]:
    """The workers by what each says of the task, some of each with their links."""
    members: dict[tuple[str, str | None], list[Verdict]] = {}
    for verdict in explanation.verdicts:
        members.setdefault((verdict.standing, verdict.criterion), []).append(verdict)
    return [
        {
            "group": group,
            "workers": [_named(each) for each in members[group.standing, group.criterion][:WORKERS_OF_A_GROUP]],
            "more": max(0, group.workers - WORKERS_OF_A_GROUP),
        }
        for group in explanation.groups
    ]


def _named(verdict: Verdict | None) -> dict[str, str] | None:
    if verdict is None:
        return None
    worker = verdict.worker
    return {"name": str(worker), "address": page_of(WorkerSession, worker.id), "message": verdict.message}


def _shown(step: Step) -> dict[str, Any]:
    return {
        "step": step,
        "worker": worker_link(step.worker, step.worker_id) if step.worker_id else "",
        "duration": _duration(step),
        "attempt": page_of(Attempt, step.row.pk) if step.row else None,
        "texts": list(_texts_of(step.row, vars(step.row))) if step.row else [],
    }


def _texts_of(attempt: Attempt, row: dict[str, Any]) -> Iterator[Payload]:
    for name in TEXTS[Attempt]:
        text, length = row[f"{name}_start"], row[f"{name}_length"]
        if text and text != "null":
            is_cut = length > EXCERPT_LENGTH
            shown = text if is_cut or name == "error" else indented(text)
            yield Payload(name, shown, length, is_cut, _address("attempt", attempt.pk, name))


def _payloads(task: Task) -> Iterator[Payload]:
    for name in TEXTS[Task]:
        text = getattr(task, name)
        if text:
            shown = text if name == "error" or len(text) > INDENTED_CHARACTERS else indented(text)
            is_cut = len(shown) > SHOWN_CHARACTERS
            yield Payload(name, shown[:SHOWN_CHARACTERS], len(text), is_cut, _address("task", task.pk, name))


def _address(model: str, key: Any, member: str) -> str:
    return reverse(f"admin:queueapp_{model}_text", args=[key, member])


def _duration(step: Step) -> str:
    """`12 ms`, `3.4 s`, `5 min 10 s`."""
    if step.duration is None:
        return ""
    seconds = step.duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else age(step.duration)

"""`/tasks/{id}/events`: a task's life as server-sent events, for who would otherwise ask again and again.

`state` tells of a state or an attempt, `progress` of the worker's word on it, and `result`, the last, is the whole
task. Each event's id says what its reader knows with it: one that comes again with `Last-Event-ID` is told what is
new since. A browser comes again by itself when a stream ends; 204 tells it that there is nothing more to come.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from queueapp.api.base import ApiView, off_loop
from queueapp.api.documents import Document, task_document
from queueapp.api.parameters import allow_only
from queueapp.api.permissions import key_of, visible_task
from queueapp.api.schema.describing import Answer, described, header, stands_for
from queueapp.api.schema.words import text
from queueapp.domain.states import TERMINAL_STATES
from queueapp.watching import Version, following

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
"""Proxies close what is silent for a minute, and a peer that has left is noticed only when it is written to."""
HEARTBEAT = ":\n\n"
LAST_EVENT_ID = header("Last-Event-ID", text(), "Of the last event that was seen: what is new since is told.")

_STATE = ("id", "name", "state", "reason", "error", "attempt", "worker", "assigned_at", "finished_at")
_PROGRESS = ("id", "attempt", "progress", "progress_message")
_NO_PROGRESS = "00000000"
_EVENT_ID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})(-end)?")


class _EventStreamRenderer(JSONRenderer):
    """Lets a client ask for events alone, as browsers do. What it is told instead of them is JSON."""

    media_type = MEDIA_TYPE


class TaskEvents(ApiView):
    """The task that the events are about, or why it may not be read."""

    renderer_classes = (JSONRenderer, _EventStreamRenderer)

    @described(
        "Follow a task",
        {
            200: Answer({"type": "string"}, "Server-sent events, until the task ends.", media_types=(MEDIA_TYPE,)),
            204: Answer({}, "There is nothing to come beyond `Last-Event-ID`.", media_types=()),
        },
        parameters=[LAST_EVENT_ID],
        refuses=[404],
    )
    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, ())
        return Response(task_document(visible_task(request, task_id)))


_task_events = TaskEvents.as_view()


@stands_for(TaskEvents)
async def task_events(request: HttpRequest, task_id: UUID) -> HttpResponseBase:
    """The view proper runs first, and again at each change and each heartbeat: who may not read the task any more
    hears nothing.

    Not on the request's own thread, where a connection to the database would stay open as long as the stream.
    """
    response = await off_loop(lambda: _task_events(request, task_id=task_id))
    if request.method != "GET" or not isinstance(response, Response) or response.status_code != 200:
        return response
    reader = _Reader(request.headers.get("Last-Event-ID", ""))
    if reader.knows_all_of(response.data):
        return HttpResponse(status=204)
    # `no-transform` and the last one are for proxies, which compress or collect what they pass on.
    headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_stream(request, response, reader), content_type=MEDIA_TYPE, headers=headers)


async def _stream(request: HttpRequest, response: Response, reader: _Reader) -> AsyncIterator[str]:
    task: Document = response.data
    task_id = UUID(task["id"])
    context: dict[str, Any] = vars(response)["renderer_context"]
    key = key_of(context["request"])
    with following(task_id, _version(task), None if key is None else key.pk) as follower:
        while True:
            for event in reader.news_of(task):
                yield event
            if task["state"] in TERMINAL_STATES:
                return
            if not await follower.changed(HEARTBEAT_SECONDS):
                if follower.released:
                    return
                yield HEARTBEAT
            response = await off_loop(lambda: _task_events(request, task_id=task_id))
            if response.status_code != 200:
                return
            task = response.data


def _version(task: Document) -> Version:
    return task["state"], task["attempt"], task["progress"], task["progress_message"] or ""


class _Reader:
    """What the reader of a stream knows of the task, by digests."""

    def __init__(self, last_event_id: str) -> None:
        known = _EVENT_ID.fullmatch(last_event_id)
        self._state = known[1] if known else ""
        self._progress = known[2] if known else _NO_PROGRESS
        self._ended = bool(known and known[3])

    def knows_all_of(self, task: Document) -> bool:
        return self._ended and self._state == _digest(task, _STATE) and task["state"] in TERMINAL_STATES

    def news_of(self, task: Document) -> Iterator[str]:
        state = _digest(task, _STATE)
        if state != self._state:
            self._state = state
            yield self._event("state", _part(task, _STATE))
        progress = _NO_PROGRESS if task["progress"] is None else _digest(task, _PROGRESS)
        if progress != self._progress:
            self._progress = progress
            if progress != _NO_PROGRESS:
                yield self._event("progress", _part(task, _PROGRESS))
        if task["state"] in TERMINAL_STATES:
            yield self._event("result", task, "-end")

    def _event(self, kind: str, data: Document, end: str = "") -> str:
        """JSON has no line breaks of its own, so that its data is one line."""
        text = JSONRenderer().render(data).decode()
        return f"id: {self._state}-{self._progress}{end}\nevent: {kind}\ndata: {text}\n\n"


def _part(task: Document, members: tuple[str, ...]) -> Document:
    return {member: task[member] for member in members}


def _digest(task: Document, members: tuple[str, ...]) -> str:
    values: list[Any] = [task[member] for member in members]
    return f"{zlib.crc32(json.dumps(values).encode()):08x}"

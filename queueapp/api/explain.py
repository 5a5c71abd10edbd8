"""`/tasks/{id}/explain` and `/route`: why a task is where it is, and where one would go.

Of workers they tell what `/workers` tells the same key.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import database
from queueapp.api.base import ApiView
from queueapp.api.documents import Document, rfc3339
from queueapp.api.parameters import allow_only, invalid
from queueapp.api.permissions import require_names, touchable_names, visible_task
from queueapp.api.schema.describing import Answer, described
from queueapp.conf import config
from queueapp.domain.errors import InvalidSubmission
from queueapp.domain.explanation import Explanation
from queueapp.domain.states import SessionState
from queueapp.domain.submission import Limits, Submission, parse_submission
from queueapp.domain.verdicts import Verdict
from queueapp.explaining import explain_route, explain_task

WORKERS_LISTED = 1000
"""The nearest; the groups count all."""

ROUTE_FIELDS = ("name", "attrs")


class ExplainTask(ApiView):
    @described("Explain where a task is", {200: Answer("Explanation")}, refuses=[404])
    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, ())
        task = visible_task(request, task_id)
        explanation = explain_task(task, touchable_names(request), database.now())
        return Response({"task": str(task.id), "state": task.state, **_document(explanation)})


class Route(ApiView):
    """As for a task, of one that does not exist: submitted now, it would come after those of its priority."""

    verbs = {"POST": "view"}

    @described("Explain where a task would go", {200: Answer("Explanation")}, takes="Routable")
    def post(self, request: Request) -> Response:
        allow_only(request.query_params, ())
        submission = _submission(request.data)
        require_names(request, {submission.name})
        names = touchable_names(request)
        explanation = explain_route(submission.name, submission.attrs, names, database.now())
        return Response({"task": None, "state": None, **_document(explanation)})


def _submission(body: Any) -> Submission:
    unknown = [member for member in body if member not in ROUTE_FIELDS] if isinstance(body, dict) else []
    if unknown:
        known = ", ".join(ROUTE_FIELDS)
        raise InvalidSubmission([invalid(member, f"unknown field; known are {known}") for member in unknown])
    return parse_submission(body, database.now(), Limits(attrs=config().attrs_limit))


def _document(explanation: Explanation) -> Document:
    foreseen, nearest = explanation.foreseen, explanation.nearest
    return {
        "name": explanation.facts.name,
        "attrs": explanation.facts.attrs,
        "summary": explanation.summary,
        "reason": str(explanation.reasons[0].cause),
        "since": rfc3339(explanation.since),
        "reasons": [
            {
                "reason": str(reason.cause),
                "message": reason.message,
                "since": rfc3339(reason.since),
                "until": rfc3339(reason.until),
            }
            for reason in explanation.reasons
        ],
        "chosen": _worker_document(explanation.chosen),
        "ahead": {"count": foreseen.ahead, "or_more": not foreseen.is_exact} if foreseen else None,
        "nearest_miss": _worker_document(nearest),
        "suggestions": [
            {"of": each.of, "given": each.given, "meant": each.meant, "message": each.message}
            for each in explanation.suggestions
        ],
        "groups": [
            {
                "verdict": str(group.standing),
                "criterion": group.criterion,
                "workers": group.workers,
                "message": group.message,
            }
            for group in explanation.groups
        ],
        "workers": [_worker_document(verdict) for verdict in explanation.verdicts[:WORKERS_LISTED]],
        "workers_total": len(explanation.verdicts),
    }


def _worker_document(verdict: Verdict | None) -> Document | None:
    if verdict is None:
        return None
    worker = verdict.worker
    return {
        "id": str(worker.id),
        "name": worker.label,
        "state": str(SessionState.DRAINING if worker.is_draining else SessionState.ONLINE),
        "matched": verdict.specificity is not None,
        "verdict": str(verdict.standing),
        "message": verdict.message,
        "criterion": verdict.criterion,
        "specificity": verdict.specificity,
        "outstanding": worker.outstanding,
        "max_outstanding": worker.max_outstanding,
    }

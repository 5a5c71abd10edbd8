"""`GET /work/list`: what is outstanding, all of it, oldest assignment first. A producer sees its own tasks."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp.api.base import ApiView
from queueapp.api.documents import outstanding_document
from queueapp.api.parameters import allow_only
from queueapp.api.permissions import visible_tasks


class WorkList(ApiView):
    def get(self, request: Request) -> Response:
        allow_only(request.query_params, ())
        tasks = visible_tasks(request).assigned().order_by("assigned_at", "id").defer("result")
        return Response([outstanding_document(task) for task in tasks])

"""`GET /work/list`: what is outstanding, all of it, oldest assignment first. A producer sees its own tasks."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp.api.base import ApiView
from queueapp.api.documents import outstanding_document
from queueapp.api.parameters import allow_only
from queueapp.api.permissions import visible_tasks
from queueapp.api.schema.describing import Answer, described
from queueapp.api.schema.words import array_of, ref


class WorkList(ApiView):
    @described("Read what is outstanding", {200: Answer(array_of(ref("Outstanding")), "Oldest assignment first.")})
    def get(self, request: Request) -> Response:
        allow_only(request.query_params, ())
        tasks = visible_tasks(request).assigned().order_by("assigned_at", "id").defer("result")
        return Response([outstanding_document(task) for task in tasks])

"""`/tasks/{id}/callbacks`: what became of the callbacks of a task."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp.api.base import ApiView
from queueapp.api.documents import Document, rfc3339
from queueapp.api.pagination import NewestFirst
from queueapp.api.parameters import PAGING, allow_only
from queueapp.api.permissions import visible_task
from queueapp.api.schema.parameters import lists
from queueapp.models import Delivery


class CallbackList(ApiView):
    """One for each end of the task that it had with a `callback_url`, newest first."""

    @lists("Read a task's callbacks", "Callback", "Newest first.")
    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, PAGING)
        task = visible_task(request, task_id)
        pages = NewestFirst()
        deliveries = pages.page_of(task.deliveries.defer("ended_as"), request)
        return pages.get_paginated_response([_document(delivery, task.callback_url) for delivery in deliveries])


def _document(delivery: Delivery, url: str | None) -> Document:
    """`id` is the webhook-id. While an attempt is under way, `next_attempt_at` is when another is made if nothing
    is heard of it."""
    return {
        "id": str(delivery.id),
        "url": url,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error or None,
        "next_attempt_at": rfc3339(delivery.next_attempt_at),
        "created_at": rfc3339(delivery.created_at),
        "ended_at": rfc3339(delivery.ended_at),
    }

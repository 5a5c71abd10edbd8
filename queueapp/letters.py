"""What a callback's receiver gets: the task as `GET /tasks/{id}` shows it, signed (Standard Webhooks)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils.crypto import salted_hmac
from rest_framework.renderers import JSONRenderer

from queueapp.api.documents import task_document
from queueapp.callbacks import as_ended
from queueapp.conf import config
from queueapp.domain.webhooks import read_secrets, signature
from queueapp.models import Delivery

USER_AGENT = "workqueue"


@dataclass(frozen=True, slots=True)
class Letter:
    """One attempt to deliver a callback, by its number."""

    delivery_id: UUID
    attempt: int
    created_at: datetime
    url: str
    host: str
    headers: dict[str, str]
    body: bytes


def letter(delivery: Delivery, now: datetime) -> Letter:
    """The delivery with its task and route. Each attempt has the same id and body, and a time and signature of its
    own: receivers refuse what was signed long ago."""
    task = as_ended(delivery)
    assert task.callback_url is not None
    body = JSONRenderer().render(task_document(task))
    message_id, timestamp = str(delivery.id), int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(signing_secrets(), message_id, timestamp, body),
    }
    return Letter(
        delivery.id, delivery.attempts, delivery.created_at, task.callback_url, delivery.host, headers, body
    )


def signing_secrets() -> list[bytes]:
    """Those of the setting, or the one made from SECRET_KEY."""
    return read_secrets(config().callback_secret) or [
        salted_hmac("queueapp.callbacks", "signature", algorithm="sha256").digest()
    ]

"""`Idempotency-Key`: the header, and responses as they are kept.

The draft wants the key as a quoted string, most clients send it bare. Either is taken as it stands, quotes and
all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import idempotency
from queueapp.api.permissions import key_of
from queueapp.api.refusals import BadRequest
from queueapp.domain.payloads import json_text
from queueapp.idempotency import Answer, Asked

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x20-\x7e]{1,255}")


def asked_once(request: Request, body: bytes) -> Asked | None:
    """What is to be done once; None for a request that does not say so."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not KEY.fullmatch(key):
        raise BadRequest(f"{HEADER} must be 1 to 255 printable ASCII characters, such as a UUID.")
    return Asked(_owner(request), key, idempotency.fingerprint(body))


def respond_once(asked: Asked, prepare: Callable[[], Callable[[], Response]], now: datetime) -> Response:
    """The first answer, again; or else what the prepared act answers now, which is kept with what it has done.

    What was good the first time is not looked at again, and what takes long to look at is looked at before the
    transaction.
    """
    answer = idempotency.kept_answer(asked, now)
    if answer is None:
        act = prepare()
        answer = idempotency.answer_once(asked, lambda: _as_answer(act()), now)
    headers = {"Location": answer.location} if answer.location else {}
    return Response(json.loads(answer.body), status=answer.status, headers=headers)


def _as_answer(response: Response) -> Answer:
    return Answer(response.status_code, json_text(response.data), response.get("Location", ""))


def _owner(request: Request) -> str:
    key = key_of(request)
    return f"user {request.user.pk}" if key is None else f"key {key.pk}"

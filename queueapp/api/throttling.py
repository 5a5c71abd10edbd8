"""How many requests a key may make (`WORKQUEUE_THROTTLE`), counted by each process for itself.

A count that all processes share would cost each request another statement. Admin users are not counted.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from queueapp.conf import config
from queueapp.domain.rates import Bucket, Rate
from queueapp.models import ApiKey

COUNTED = "workqueue.counted"


class KeyThrottle(BaseThrottle):
    """429 with `Retry-After` when the key's bucket is empty."""

    def allow_request(self, request: Request, view: Any) -> bool:
        self._wait_seconds = wait_seconds(request.META, request.auth) if isinstance(request.auth, ApiKey) else 0
        return not self._wait_seconds

    def wait(self) -> float:
        return self._wait_seconds


def wait_seconds(meta: dict[str, Any], key: ApiKey) -> int:
    """0: the request (its META) may be served. It is counted once: one that waits for its task goes through the
    view again at the end."""
    rate = config().throttle
    if not rate or COUNTED in meta:
        return 0
    wait = _take(key.digest, rate)
    if not wait:
        meta[COUNTED] = True
    return wait


def _take(digest: str, rate: Rate) -> int:
    now = monotonic()
    with _lock:
        bucket = _buckets.get(digest)
        if bucket is None:
            bucket = _buckets[digest] = Bucket(rate.number, now)
        return bucket.take(rate, now)


_lock = threading.Lock()
_buckets: dict[str, Bucket] = {}
"""By the key's digest: as many as there are keys."""

"""What the API does for operators, who answer for it: their changes go into the audit log."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from rest_framework.request import Request

from queueapp import audit
from queueapp.api.permissions import is_operator

C = TypeVar("C", bound=Collection[Any])


def steered(request: Request, action: str, kind: str, verb: Callable[[], C], detail: str = "") -> C:
    """Call the verb; what an operator's key or an admin user changes so is recorded together with the change."""
    if not is_operator(request):
        return verb()
    return audit.carried_out(audit.actor_of(request), action, verb, kind=kind, detail=detail)

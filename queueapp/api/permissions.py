"""Who may do what (contract, section 6): the role of a key, the names that it may touch, whose tasks it sees.

An admin user is an operator for every name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from queueapp.domain.errors import NotFound
from queueapp.domain.names import name_allowed
from queueapp.models import ApiKey, Queue, Task
from queueapp.querysets import TaskQuerySet

if TYPE_CHECKING:  # DRF imports this module while its views are not there yet
    from rest_framework.views import APIView


class IsProducer(BasePermission):
    message = "This takes a key for a producer or an operator."

    def has_permission(self, request: Request, view: APIView) -> bool:
        key = key_of(request)
        return is_operator(request) if key is None else key.role != ApiKey.Role.WORKER


class IsOperator(BasePermission):
    message = "This takes a key for an operator."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_operator(request)


class IsOperatorToChange(IsOperator):
    """Beside another permission, which says who may read."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)


def key_of(request: Request) -> ApiKey | None:
    """The key that the request came with; None for an admin user."""
    return request.auth if isinstance(request.auth, ApiKey) else None


def is_operator(request: Request) -> bool:
    key = key_of(request)
    if key is not None:
        return key.role == ApiKey.Role.OPERATOR
    user = request.user
    return user is not None and user.is_active and (user.is_staff or user.is_superuser)


def may_touch(request: Request, name: str) -> bool:
    key = key_of(request)
    return key is None or name_allowed(name, key.task_globs)


def require_names(request: Request, names: set[str]) -> None:
    """403 when the key may not touch one of the names."""
    refused = sorted(name for name in names if not may_touch(request, name))
    if refused:
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise PermissionDenied(f"This key may not touch tasks named {', '.join(refused[:5])}{more}.")


def touchable_names(request: Request) -> set[str] | None:
    """The names of queues that the key may touch; None when that is all of them."""
    key = key_of(request)
    if key is None or not key.task_globs:
        return None
    names = Queue.objects.values_list("name", flat=True)
    return {name for name in names if name_allowed(name, key.task_globs)}


def visible_tasks(request: Request) -> TaskQuerySet:
    """The tasks that the caller may read, with their routes."""
    tasks = Task.objects.visible_to(key_of(request)).select_related("route")
    names = touchable_names(request)
    return tasks if names is None else tasks.filter(name__in=names)


def visible_task(request: Request, task_id: UUID) -> Task:
    """The task, or NotFound: for somebody else's task the same as for none."""
    task = Task.objects.visible_to(key_of(request)).select_related("route").filter(pk=task_id).first()
    if task is None or not may_touch(request, task.name):
        raise NotFound(f"There is no task {task_id}.")
    return task

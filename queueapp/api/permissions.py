"""Who may do what (contract, section 6): the role of a key, the names that it may touch, whose tasks it sees.

An admin user may do here what the admin would let that user do: staff, with the permission to view, change or add
the rows that a view is about (`ApiView.rows`). No name is closed to an admin user.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from queueapp import database
from queueapp.domain.errors import NotFound
from queueapp.models import ApiKey, Operation, Queue, Task
from queueapp.querysets import OperationQuerySet, TaskQuerySet, is_visible_to
from queueapp.reading import task_by_id


class _OfRole(BasePermission):
    """A key of one of the roles, or an admin user with the permission for what the view (`ApiView`) is about."""

    roles: ClassVar[tuple[str, ...]]

    def has_permission(self, request: Request, view: Any) -> bool:
        key = key_of(request)
        return self._admin_user_may(request, view) if key is None else key.role in self.roles

    def _admin_user_may(self, request: Request, view: Any) -> bool:
        user, rows = request.user, view.rows._meta
        if user is None or not (user.is_active and user.is_staff):
            return False
        verb = view.verbs.get(request.method or "", "view" if request.method in SAFE_METHODS else "change")
        # Who may change rows may view them too, as in the admin.
        enough = {verb, "change"} if verb == "view" else {verb}
        if any(user.has_perm(f"{rows.app_label}.{each}_{rows.model_name}") for each in enough):
            return True
        self.message = f"This takes the permission to {verb} {rows.verbose_name_plural}."
        return False


class IsProducer(_OfRole):
    message = "This takes a key for a producer or an operator."
    roles = (ApiKey.Role.PRODUCER, ApiKey.Role.OPERATOR)


class IsOperator(_OfRole):
    message = "This takes a key for an operator."
    roles = (ApiKey.Role.OPERATOR,)


class IsOperatorToChange(IsOperator):
    """Beside another permission, which says who may read."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return request.method in SAFE_METHODS or super().has_permission(request, view)


def key_of(request: Request) -> ApiKey | None:
    """The key that the request came with; None for an admin user."""
    return request.auth if isinstance(request.auth, ApiKey) else None


def asked_at(request: Request) -> datetime:
    """When the request came, by the database's clock, which has told the time with the key."""
    key = key_of(request)
    return database.now() if key is None else key.read_at


def is_operator(request: Request) -> bool:
    key = key_of(request)
    if key is not None:
        return key.role == ApiKey.Role.OPERATOR
    user = request.user
    return user is not None and user.is_active and user.is_staff


def may_touch(request: Request, name: str) -> bool:
    return _is_within_reach(key_of(request), name)


def may_read(key: ApiKey | None, task: Task) -> bool:
    """Whether the task is for the eyes of who comes with that key, or is an admin user (None)."""
    return is_visible_to(task, key) and _is_within_reach(key, task.name)


def _is_within_reach(key: ApiKey | None, name: str) -> bool:
    return key is None or key.reach.includes(name)


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
    reach = key.reach
    return {name for name in Queue.objects.values_list("name", flat=True) if reach.includes(name)}


def visible_tasks(request: Request) -> TaskQuerySet:
    """The tasks that the caller may read, with their routes."""
    tasks = Task.objects.visible_to(key_of(request)).select_related("route")
    names = touchable_names(request)
    return tasks if names is None else tasks.filter(name__in=names)


def visible_operations(request: Request) -> OperationQuerySet:
    """A producer's own; an operator for certain names sees those that touch no others."""
    key = key_of(request)
    operations = Operation.objects.visible_to(key)
    if key is None or key.role != ApiKey.Role.OPERATOR or not key.task_globs:
        return operations
    reach = key.reach
    bounded = operations.filter(names__isnull=False).values_list("id", "names")
    within = [each for each, names in bounded if names is not None and all(map(reach.includes, names))]
    return operations.filter(pk__in=within)


def visible_task(request: Request, task_id: UUID) -> Task:
    """The task, or NotFound: for somebody else's task the same as for none."""
    task = task_by_id(task_id)
    if task is None or not may_read(key_of(request), task):
        raise NotFound(f"There is no task {task_id}.")
    return task

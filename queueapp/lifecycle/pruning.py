"""The end of a task's row, long after the task has ended."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import transaction

from queueapp import database, statements
from queueapp.models import Task
from queueapp.statements import NAMED


@database.retried
def prune(task_ids: Collection[UUID], ended_by: datetime) -> set[UUID]:
    """Delete those of the tasks that had ended by then, with their attempts and callbacks. Returns their ids.

    Left alone is what a callback is still owed for, and what somebody else is just changing: an explicit retry.
    """
    with transaction.atomic(savepoint=False):
        ended = Task.objects.filter(pk__in=list(task_ids), finished_at__lte=ended_by)
        locked = list(ended.order_by("id").select_for_update(skip_locked=True).values_list("id", flat=True))
        if not locked:
            return set()
        # Not by Django, which would read the rows first: a megabyte of data in each.
        statements.rows_of(
            locked, f"DELETE FROM queueapp_delivery WHERE task_id IN ({NAMED}) AND state <> 'pending'"
        )
        deleted = statements.rows_of(
            locked,
            f"""
            DELETE FROM queueapp_task WHERE id IN ({NAMED}) AND NOT EXISTS (
                SELECT 1 FROM queueapp_delivery AS owed WHERE owed.task_id = queueapp_task.id
            ) RETURNING id
            """,
        )
        pruned = {database.as_uuid(row[0]) for row in deleted}
        statements.rows_of(pruned, f"DELETE FROM queueapp_attempt WHERE task_id IN ({NAMED})")
        return pruned

"""What operators do to whole queues, also to those of which there is no task yet. Each verb returns the names that
it changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from queueapp import database, doorbell, lifecycle, naming
from queueapp.models import Queue


class ChangedMeanwhile(Exception):
    """Somebody else has set it since it was read. Nothing was done."""


def pause(names: Collection[str], by: str, note: str, now: datetime) -> set[str]:
    """Assign nothing from these queues until they are resumed. What is assigned already goes on. One that is not
    there yet is made: who wants to see the first tasks before they go pauses before they come."""
    return _set_paused(names, True, by, note, now)


def resume(names: Collection[str]) -> set[str]:
    """Assign from these queues again."""
    return _set_paused(names, False, "", "", None)


@database.retried
def configure(name: str, changes: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> set[str]:
    """Set defaults and limits, by the names of their columns; a queue that is not there yet is made. What runs
    beyond a limit that is lowered goes on.

    `before`: only if these columns of a queue that is there still hold this, else ChangedMeanwhile.
    """
    with database.brief_transaction(database.DISPATCH_LOCK):
        if before is None:
            naming.make_queues([name])
        # As for a pause: when this returns, no pass goes by the limits before.
        changed = Queue.objects.filter(pk=name, **(before or {})).update(**changes)
        if before and not changed:
            raise ChangedMeanwhile(f"{', '.join(sorted(before))} changed meanwhile.")
        if "concurrency_per_key" in changes:
            lifecycle.note_waiting_keys(name)
        doorbell.ring(roster=True)
        return {name} if changed else set()


@database.retried
def _set_paused(names: Collection[str], paused: bool, by: str, note: str, paused_at: datetime | None) -> set[str]:
    with database.brief_transaction(database.DISPATCH_LOCK):
        if paused:
            naming.make_queues(names)
        # A pass that has read `paused` is over before this begins, the next reads what is written here.
        rows = Queue.objects.filter(name__in=list(names), paused=not paused).order_by("name")
        changed = set(rows.select_for_update().values_list("name", flat=True))
        Queue.objects.filter(name__in=changed).update(paused=paused, paused_by=by, paused_at=paused_at, note=note)
        doorbell.ring(roster=bool(changed))
        return changed

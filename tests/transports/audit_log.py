"""The audit log as tests read it."""

from __future__ import annotations

from queueapp.models import AuditEntry


def entries() -> list[tuple[str, str, str, str, int]]:
    """Who did what to which kind of thing, which one, and to how many, in the order it was done."""
    return list(AuditEntry.objects.order_by("id").values_list("who", "action", "kind", "subject", "count"))

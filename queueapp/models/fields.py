"""What the columns of several tables share."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from uuid_utils.compat import uuid7

NAME_LENGTH = 200


def new_id() -> UUID:
    """A UUIDv7: ids made by one process sort in the order in which they were made."""
    return uuid7()


def first_id_at(moment: datetime) -> UUID:
    """The smallest id that `new_id` may make at that time or later: a UUIDv7 begins with its milliseconds."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def made_at(task_id: UUID) -> datetime:
    """When a UUIDv7 was made, by the clock of who made it."""
    return datetime.fromtimestamp((task_id.int >> 80) / 1000, UTC)


def choices(states: type[StrEnum]) -> list[tuple[str, str]]:
    return [(str(state), str(state)) for state in states]

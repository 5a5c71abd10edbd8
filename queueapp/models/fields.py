"""What the columns of several tables share."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from uuid_utils.compat import uuid7

NAME_LENGTH = 200


def new_id() -> UUID:
    """A UUIDv7: ids made by one process sort in the order in which they were made."""
    return uuid7()


def choices(states: type[StrEnum]) -> list[tuple[str, str]]:
    return [(str(state), str(state)) for state in states]

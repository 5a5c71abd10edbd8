"""Ids as texts. There are several a task, and msgspec takes a fifth of the time of `uuid` to write one, a third to
read one."""

from __future__ import annotations

from uuid import UUID

import msgspec


def id_text(id: UUID) -> str:
    """In the usual form, 36 characters."""
    text: str = msgspec.to_builtins(id)
    return text


def as_id(text: str) -> UUID | None:
    """What any of the forms stands for that `UUID` reads. None: it is no id."""
    try:
        return msgspec.convert(text, UUID)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return _as_id_in_another_form(text)


def _as_id_in_another_form(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

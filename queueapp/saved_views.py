"""Saved views of the task list: a person's own, those that operators share, and those that are always there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from queueapp import audit
from queueapp.domain import filter_text
from queueapp.domain.names import is_storable
from queueapp.models import SavedView
from queueapp.models.views import VIEW_NAME_LENGTH

VIEWS_OF_ONE = 50
SHARED_VIEWS = 100


@dataclass(frozen=True, slots=True)
class StandardView:
    name: str
    text: str


STANDARD_VIEWS = (
    StandardView("all", ""),
    StandardView("failed in the last hour", "state:failed finished:<1h"),
    StandardView("waiting longer than 5 minutes", "waiting:>5m"),
    StandardView("running", "state:assigned"),
)


class UnusableView(Exception):
    """The view cannot be saved; the message says why. Nothing was done."""


def views_for(user_id: Any) -> list[SavedView]:
    """What the person may open, by name: its own and the shared ones."""
    views = SavedView.objects.filter(Q(owner=user_id) | Q(shared=True)).order_by("name", "id")
    return list(views[: VIEWS_OF_ONE + SHARED_VIEWS])


def save(actor: audit.Actor, name: str, text: str, *, shared: bool) -> SavedView:
    """Under the name, in the place of the view that the person, or with `shared` everybody, has under it. What is
    everybody's is in the audit log."""
    user_id = actor.user_id
    assert user_id is not None  # a key has no views
    name = " ".join(name.split())
    if not 1 <= len(name) <= VIEW_NAME_LENGTH or not is_storable(name):
        raise UnusableView(f"A view needs a name of at most {VIEW_NAME_LENGTH} characters.")
    reading = filter_text.parse(text)
    if reading.problems:
        raise UnusableView(f"{reading.problems[0].word}: {reading.problems[0].message}")
    text = filter_text.write(reading.document)
    with transaction.atomic():
        others = (
            SavedView.objects.filter(shared=True)
            if shared
            else SavedView.objects.filter(owner=user_id, shared=False)
        )
        if others.exclude(name=name).count() >= (SHARED_VIEWS if shared else VIEWS_OF_ONE):
            raise UnusableView("There are as many views as there may be: delete one first.")
        known: dict[str, Any] = (
            {"name": name, "shared": True} if shared else {"name": name, "shared": False, "owner_id": user_id}
        )
        before = SavedView.objects.filter(**known).values_list("text", "owner_id").first()
        view, _ = SavedView.objects.update_or_create(**known, defaults={"text": text, "owner_id": user_id})
        if shared and before != (text, user_id):
            audit.record(actor, "share", kind="view", subject=name, detail=text)
    return view


def delete(actor: audit.Actor, view_id: UUID) -> SavedView | None:
    """One's own or any shared one. None if there is no such view."""
    with transaction.atomic():
        view = SavedView.objects.filter(Q(owner=actor.user_id) | Q(shared=True), pk=view_id).first()
        if view is not None:
            SavedView.objects.filter(pk=view.pk).delete()
            if view.shared:
                audit.record(actor, "delete", kind="view", subject=view.name, detail=view.text)
    return view

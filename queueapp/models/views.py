"""Views of the task list that people have named."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from queueapp.models.fields import new_id

VIEW_NAME_LENGTH = 60


def shared_views_stay(collector: Any, field: Any, views: Any, using: str) -> None:
    """When a user is deleted: what others use does not go with who saved it last."""
    models.CASCADE(collector, field, views.filter(shared=False), using)
    models.SET_NULL(collector, field, views.filter(shared=True), using)


class SavedView(models.Model):
    """A filter under a name. `text` is what stands in the bar: its ages are counted from when it is opened. A view
    that is `shared` is for everybody to open: its name is taken for all, and its owner is who saved it last, or
    nobody once that user is deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=shared_views_stay, related_name="task_views", null=True, blank=True
    )
    name = models.CharField(max_length=VIEW_NAME_LENGTH)
    text = models.TextField()
    shared = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"], condition=Q(shared=False), name="saved_view_name_once_an_owner"
            ),
            models.UniqueConstraint(fields=["name"], condition=Q(shared=True), name="saved_view_name_once_shared"),
        ]

    def __str__(self) -> str:
        return self.name

"""API keys."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from queueapp.domain.reach import Reach
from queueapp.querysets import ApiKeyQuerySet


class ApiKey(models.Model):
    """A credential. Only its digest is kept; the key itself is shown once.

    `read_at`: of one with which somebody came, when that was by the database's clock.
    """

    class Role(models.TextChoices):
        PRODUCER = "producer"
        WORKER = "worker"
        OPERATOR = "operator"

    name = models.CharField(max_length=200)
    role = models.CharField(max_length=20, choices=Role.choices)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    task_globs = models.JSONField(default=list, blank=True)
    bounds = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=200, blank=True, default="", editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    read_at: datetime

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def reach(self) -> Reach:
        return Reach.of(self.task_globs, self.bounds)

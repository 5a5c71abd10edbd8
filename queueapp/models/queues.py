"""Queues, and the routes of their tasks."""

from __future__ import annotations

from django.db import models

from queueapp.models.fields import NAME_LENGTH
from queueapp.querysets import QueueQuerySet, RouteQuerySet


class Queue(models.Model):
    """All tasks of one name: whether it is paused, how many may be assigned at a time, of all and of one key, and
    the defaults for what is submitted to it."""

    name = models.CharField(max_length=NAME_LENGTH, primary_key=True)
    paused = models.BooleanField(default=False)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    paused_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True, default="")
    timeout_seconds = models.FloatField(null=True, blank=True)
    max_attempts = models.PositiveIntegerField(null=True, blank=True)
    spill_after_seconds = models.FloatField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    concurrency_per_key = models.PositiveIntegerField(null=True, blank=True)

    objects = QueueQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """A distinct (name, attrs) pair. Its id is a digest of the pair, so that it is known without a query."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=NAME_LENGTH)
    attrs = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    objects = RouteQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["name"], name="route_name"),
            models.Index(fields=["created_at"], name="route_created"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.attrs}"

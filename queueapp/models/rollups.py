"""What was counted, an interval a row: the past that operators look at."""

from __future__ import annotations

from django.db import models

from queueapp.models.fields import NAME_LENGTH
from queueapp.models.sessions import Node


class Rollup(models.Model):
    """What one process counted in one interval, and what it saw waiting. Those of all processes add up.

    `waits` and `ends` are counts by the steps of `domain.spreads`: from being ready to the assignment, and to the
    end. `waiting` and `oldest_wait_seconds` are the largest that were seen.
    """

    interval_seconds = models.PositiveIntegerField()
    begins_at = models.DateTimeField()
    node = models.ForeignKey(Node, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="rollups")
    submitted = models.PositiveBigIntegerField()
    finished = models.PositiveBigIntegerField()
    failed = models.PositiveBigIntegerField()
    waiting = models.PositiveIntegerField()
    oldest_wait_seconds = models.FloatField()
    waits = models.JSONField()
    ends = models.JSONField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["interval_seconds", "begins_at", "node"], name="rollup_once_an_interval_and_node"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.interval_seconds} s from {self.begins_at}"


class QueueRollup(models.Model):
    """What one process counted of one queue in one minute. Where nothing happened there is no row."""

    name = models.CharField(max_length=NAME_LENGTH)
    begins_at = models.DateTimeField()
    node = models.ForeignKey(Node, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    submitted = models.PositiveBigIntegerField()
    finished = models.PositiveBigIntegerField()
    failed = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "begins_at", "node"], name="queue_rollup_once_a_minute_and_node"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} from {self.begins_at}"

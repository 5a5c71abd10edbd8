"""The audit log."""

from __future__ import annotations

from django.db import models

WHO_LENGTH = 200
ADDRESS_LENGTH = 100
WORD_LENGTH = 50
SUBJECT_LENGTH = 200


class AuditEntry(models.Model):
    """What an operator did: written once, by `audit`, and never changed.

    `who` is a name as it was then; `user_id` or `key_id` says whose row it was. That may be gone: the entry stays.
    `kind` is what was changed (task, queue, worker, key …), `count` how many of them, and `subject` the only one.
    """

    at = models.DateTimeField("time")
    who = models.CharField(max_length=WHO_LENGTH)
    user_id = models.PositiveBigIntegerField(null=True)
    key_id = models.PositiveBigIntegerField(null=True)
    address = models.CharField(max_length=ADDRESS_LENGTH, blank=True, default="")
    action = models.CharField(max_length=WORD_LENGTH)
    kind = models.CharField(max_length=WORD_LENGTH)
    subject = models.CharField(max_length=SUBJECT_LENGTH, blank=True, default="")
    count = models.PositiveIntegerField()
    detail = models.TextField(blank=True, default="")

    class Meta:
        verbose_name_plural = "audit entries"
        # Each ends with the id: the newest of those that match are read, and no more.
        indexes = [
            models.Index(fields=["who", "-id"], name="audit_by_who"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["subject", "-id"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%SZ} {self.who}: {self.action} {self.kind} {self.subject or self.count}"

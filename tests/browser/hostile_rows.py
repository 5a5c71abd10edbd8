"""Rows as an enemy would make them, of everything that a page may show.

Run in the server's own environment, where `make()` prints the key of one row of each model, as JSON.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import models

from queueapp import audit, callbacks, lifecycle, operations, queues
from queueapp.auth import create_key
from queueapp.callbacks import Result
from queueapp.domain.states import Action
from queueapp.domain.submission import Submission
from queueapp.lifecycle import Report
from queueapp.models import Attempt, Delivery, Operation, Queue, Task
from tests.transports.admin_rows import Stage

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&amp;{{ 7*7 }}"
RIGHT_TO_LEFT = "\u202e\u2067dlrow olleh"
BINARY = "\x01\x07\x1b[31m\x7f\u0085\ufffe\u2028\ufeff"
HOSTILE = f"{SCRIPT} {RIGHT_TO_LEFT} {BINARY} "
LONG = "W" * 150
MEBIBYTE = (HOSTILE + LONG) * (2**20 // len(HOSTILE + LONG))
LONG_NAME = "a." * 99
"""A task name has few characters to choose from, but many of them."""


def make() -> None:
    stage = Stage.started()
    stage.now -= timedelta(hours=1)  # so that what waits has done so for long
    key, _ = create_key((HOSTILE + LONG)[:200], "operator", ["a*" * 50], created_by=HOSTILE)
    worker = stage.worker(
        (HOSTILE + LONG)[:200], "tag", LONG_NAME, extra=json.dumps({"info": HOSTILE + LONG}), cloud=LONG
    )
    attrs = {"cloud": "azure", "note": HOSTILE, "w" * 100: LONG}
    payload = json.dumps({"text": MEBIBYTE, HOSTILE: [HOSTILE, LONG]})
    pending, failing, progressing, *_ = [
        receipt.task_id
        for receipt in lifecycle.submit(
            [
                Submission(
                    name,
                    attrs,
                    payload,
                    tags=[HOSTILE, LONG],
                    unique_key=f"{HOSTILE}{number}",
                    concurrency_key=f"{number}{HOSTILE}{LONG}"[:200],
                    callback_url=f"https://{'h' * 60}.example/{'p' * 500}",
                )
                for number, name in enumerate(["tag", "tag", "tag", LONG_NAME])
            ],
            key,
            stage.now,
        )
    ]
    Task.objects.filter(pk=pending).update(error=HOSTILE, progress_message=HOSTILE, progress=0.5)
    lifecycle.mark([failing, progressing], [])
    stage.assign(worker, failing)
    broken = Report(worker, failing, done=False, error=MEBIBYTE, payload=json.dumps({"line": HOSTILE + LONG}))
    assert lifecycle.finish([broken], stage.now) == ["accepted"]
    stage.assign(worker, progressing)
    done = Report(worker, progressing, done=True, payload=payload)
    assert lifecycle.finish([done], stage.now) == ["accepted"]
    [delivery, *_] = callbacks.claim(100, {}, stage.now)
    callbacks.settle(
        [Result(delivery.id, 1, delivery.created_at, 500, HOSTILE + LONG)], stage.now + timedelta(days=1)
    )
    queues.pause(["tag"], (HOSTILE + LONG)[:200], HOSTILE + LONG, stage.now)
    operation = operations.start(
        Action.CANCEL, {"name": "none", "tag": HOSTILE}, tasks_of=None, names=None, asked_by=HOSTILE, now=stage.now
    )
    audit.record(audit.Actor(HOSTILE, address=LONG), "pause", kind="queue", subject=LONG, detail=HOSTILE + LONG)
    get_user_model().objects.create_user((HOSTILE + LONG)[:150], first_name=HOSTILE[:150], is_staff=True)
    Group.objects.create(name=(HOSTILE + LONG)[:150])
    chosen: dict[type[models.Model], Any] = {
        Task: failing,
        Attempt: Attempt.objects.get(task=failing).pk,
        Queue: "tag",
        Delivery: delivery.pk,
        Operation: operation.pk,
    }
    print(json.dumps({model._meta.label_lower: str(chosen.get(model) or any_of(model)) for model in registered()}))


def registered() -> list[type[models.Model]]:
    return list(admin.site._registry)


def any_of(model: type[models.Model]) -> Any:
    """The key of its latest row, or of one that is made up: the enemy fills in all that is text."""
    row = model._default_manager.order_by("-pk").first()
    return (row or model._default_manager.create(**_made_up(model))).pk


def _made_up(model: type[models.Model]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        if field.choices or (field.has_default() and field.primary_key) or isinstance(field, models.AutoField):
            continue
        match field:
            case models.ForeignKey():
                values[field.attname] = None if field.null else any_of(field.related_model)
            case models.CharField() | models.TextField():
                values[field.attname] = (HOSTILE + LONG)[: field.max_length]
            case models.JSONField():
                values[field.attname] = {HOSTILE: HOSTILE}
            case models.DateTimeField() if not field.null:
                values[field.attname] = Stage.started().now
            case _ if not (field.null or field.has_default()):
                values[field.attname] = 1
    return values

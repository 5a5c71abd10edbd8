"""Rows that look like a day's work, for the pictures in the docs. Run in the server's own environment, before it
starts; `make()` prints the keys of the rows whose pages are shown, as JSON."""

from __future__ import annotations

import json
import math
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model

from queueapp import audit, callbacks, lifecycle, queues, sessions
from queueapp.auth import create_key
from queueapp.callbacks import Result
from queueapp.domain.states import Outcome
from queueapp.domain.submission import Submission
from queueapp.lifecycle import Choice, Report
from queueapp.models import ApiKey, QueueRollup, Rollup
from queueapp.rollups import floor
from tests.transports.admin_rows import Stage

ERROR = """Traceback (most recent call last):
  File "render.py", line 88, in render
    page = browser.open(report, timeout=30)
TimeoutError: the renderer did not answer within 30 s
"""
RENDERED = {"report": "2026-Q3", "pages": 214, "format": "pdf", "recipients": ["finance", "board"]}
HOOK = "https://hooks.inventory.example/done"


def make() -> None:
    stage = Stage.started()
    now = stage.now
    producer, _ = create_key("inventory", "producer", ["tag", "collect"], created_by="ada")
    create_key("aws workers", "worker", ["tag", "collect"], {"cloud": ["aws"]}, "ada")
    create_key("on call", "operator", created_by="grace")
    ApiKey.objects.filter(name="inventory").update(last_used_at=now)
    get_user_model().objects.create_user("grace", is_staff=True)

    stage.now = now - timedelta(minutes=50)
    worker = stage.worker("render-3", "report.render", "tag")
    for number in range(40):
        stage.succeeded(worker, name="tag", cloud="aws", account=str(number % 4))
    stage.now = now - timedelta(minutes=41)
    waiting, *_ = submit(producer, 212, now - timedelta(minutes=41), "tag", cloud="azure", account="7718")
    submit(producer, 31, now - timedelta(minutes=12), "tag", cloud="azure", account="1204")
    shown = failing(stage, worker)
    for number in range(26):
        stage.now = now - timedelta(minutes=41 - 1.5 * number)
        stage.failed(worker, error=f"KeyError: 'owner' of i-0f3a{number:02}", name="tag", cloud="aws", account="2")
    for minute in range(7):
        stage.now = now - timedelta(minutes=30 - 4 * minute)
        stage.failed(worker, error=ERROR, name="report.render", format="pdf")
    stage.now = now
    submit(producer, 57, now - timedelta(minutes=20), "collect", cloud="gcp")
    queues.pause(
        ["collect"], "grace", "the inventory's API is down until 16:00, INC-4711", now - timedelta(minutes=18)
    )
    queues.configure("tag", {"concurrency": 200, "timeout_seconds": 60.0})
    with_callbacks(stage)
    actor = audit.Actor("grace", address="10.20.0.14")
    audit.record(actor, "pause", kind="queue", subject="collect", detail="the inventory's API is down, INC-4711")
    audit.record(audit.Actor("ada", address="10.20.0.9"), "retry", kind="task", count=7)
    the_past(stage)
    sessions.stop_node(stage.node_id, now)
    key = ApiKey.objects.get(name="inventory").pk
    chosen = {"failed": shown, "waiting": waiting, "apikey": key}
    print(json.dumps({name: str(value) for name, value in chosen.items()}))


def submit(key: ApiKey, count: int, at: Any, name: str, **attrs: str) -> list[UUID]:
    data = json.dumps({"resource": "i-0f3a9c", "set": {"owner": "finance"}})
    tasks = [Submission(name, attrs, data, max_attempts=3) for _ in range(count)]
    return [receipt.task_id for receipt in lifecycle.submit(tasks, key, at)]


def failing(stage: Stage, worker: UUID) -> UUID:
    """One with a history: lost with its worker, timed out, and at last an error."""
    begun = stage.now
    task = Submission(
        "report.render",
        {"format": "pdf", "region": "eu"},
        json.dumps(RENDERED),
        priority=10,
        tags=["quarterly", "board"],
        max_attempts=3,
    )
    task_id = lifecycle.submit([task], None, begun)[0].task_id
    other = stage.worker("render-2", "report.render")

    def give(holder: UUID, minutes: float) -> None:
        at = begun + timedelta(minutes=minutes)
        assert lifecycle.assign([Choice(task_id, holder, at + timedelta(seconds=300))], at)

    give(other, 0.1)
    sessions.close(
        [sessions.Closing(other, Outcome.LOST, 1006, "the connection broke")], begun + timedelta(minutes=4)
    )
    give(worker, 4.1)
    lifecycle.time_out(begun + timedelta(minutes=9.2))
    give(worker, 9.3)
    report = Report(worker, task_id, done=False, error=ERROR, payload='{"page": 88, "renderer": "chromium 131"}')
    assert lifecycle.finish([report], begun + timedelta(minutes=11)) == ["accepted"]
    return task_id


def with_callbacks(stage: Stage) -> None:
    """One given up, one that is tried again, some delivered."""
    tasks = [Submission("tag", {"cloud": "aws"}, "{}", callback_url=HOOK) for _ in range(6)]
    ids = [receipt.task_id for receipt in lifecycle.submit(tasks, None, stage.now)]
    lifecycle.cancel(ids, stage.now)
    claimed = callbacks.claim(100, {}, stage.now)
    answers = [(503, "503 Service Unavailable: upstream is down")] * 2 + [(204, "")] * 4
    for each, (status, error), age in zip(claimed, answers, (1.0, 0, 0, 0, 0, 0), strict=True):
        created_at = each.created_at - timedelta(days=age)
        callbacks.settle([Result(each.id, 1, created_at, status, error)], stage.now)


def the_past(stage: Stage) -> None:
    """An hour in which something goes wrong after twenty minutes."""
    chance = random.Random(7)
    for step in range(360):
        at = floor(stage.now - timedelta(seconds=10 * (360 - step)), 10)
        rate = 180 + 60 * math.sin(step / 40) + chance.uniform(-25, 25)
        late = max(0, step - 115)
        Rollup.objects.create(
            interval_seconds=10,
            begins_at=at,
            node_id=stage.node_id,
            submitted=int(rate),
            finished=int(rate * (0.93 if late else 1)),
            failed=chance.randrange(3) if late else 0,
            waiting=12 + chance.randrange(9) + late,
            oldest_wait_seconds=10.0 * late,
            waits={"8": int(rate * 0.7), "12": int(rate * 0.25), "20": 1 + chance.randrange(6)},
            ends={"14": int(rate * 0.6), "17": int(rate * 0.35), "22": 2 + chance.randrange(6)},
        )
        if step % 6 == 0:
            QueueRollup.objects.create(
                name="tag",
                begins_at=floor(at, 60),
                node_id=stage.node_id,
                submitted=int(rate * 4),
                finished=int(rate * 4 * (0.9 if late else 1)),
                failed=0,
            )

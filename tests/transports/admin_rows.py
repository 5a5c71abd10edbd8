"""Rows as operators find them, made by the verbs that make real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from queueapp import database, lifecycle, sessions
from queueapp.domain.matching import Subscription
from queueapp.domain.states import Outcome
from queueapp.domain.submission import Submission
from queueapp.lifecycle import Choice, Report
from queueapp.models import Task, WorkerSession, new_id
from queueapp.registration import Offer, Options

LISTS = ("task", "attempt", "workersession", "subscription", "queue", "apikey", "node")
HOSTILE = "<script>alert(1)</script>"


@dataclass
class Stage:
    """What a scene is set on: a server process with workers, whose tasks are where they are put by hand, with no
    dispatcher. `now` is the time at which everything happens."""

    now: datetime
    node_id: UUID

    @classmethod
    def started(cls) -> Stage:
        now = database.now()
        return cls(now, sessions.start_node(now))

    def worker(self, name: str = "worker", *offers: str, extra: str = "{}", **criteria: str) -> UUID:
        """An attached worker that offers the names, with one filter for all of them."""
        session_id = new_id()
        filters = {criterion: values.split(",") for criterion, values in criteria.items()}
        sessions.attach(
            self.node_id,
            [
                sessions.Attachment(
                    session_id,
                    Options(max_outstanding=10, name=name, version="1.0"),
                    tuple(Offer(Subscription.of(offer, filters), extra) for offer in offers or ("tag",)),
                )
            ],
            self.now,
        )
        return session_id

    def task(self, name: str = "tag", data: str = '{"n":1}', **attrs: str) -> UUID:
        """A pending task."""
        return lifecycle.submit([Submission(name, attrs, data)], None, self.now)[0].task_id

    def tasks(self, count: int, **options: Any) -> list[UUID]:
        return [self.task(**options) for _ in range(count)]

    def assign(self, worker: UUID, *task_ids: UUID) -> None:
        deadline = self.now + timedelta(seconds=300)
        lifecycle.assign([Choice(task_id, worker, deadline) for task_id in task_ids], self.now)

    def failed(self, worker: UUID, error: str = "it broke", **options: Any) -> UUID:
        """A task that failed at once, with the attempt that is kept of it."""
        task_id = self.task(**options)
        self.assign(worker, task_id)
        report = Report(worker, task_id, done=False, error=error, payload='{"line":7}')
        assert lifecycle.finish([report], self.now) == ["accepted"]
        return task_id

    def succeeded(self, worker: UUID, result: str = '{"ok":true}', **options: Any) -> UUID:
        task_id = self.task(**options)
        self.assign(worker, task_id)
        assert lifecycle.finish([Report(worker, task_id, done=True, payload=result)], self.now) == ["accepted"]
        return task_id

    def close(self, workers: Sequence[UUID]) -> None:
        closings = [sessions.Closing(worker, Outcome.LOST, 1006, "gone") for worker in workers]
        sessions.close(closings, self.now)


@dataclass
class Scene:
    """One of everything that a list or a page may have to show."""

    stage: Stage
    worker: UUID
    gone_worker: UUID
    pending: UUID
    delayed: UUID
    assigned: UUID
    failed: UUID
    succeeded: UUID
    lost_worker: UUID


def scene() -> Scene:
    """A node, attached and gone workers, tasks in every state, names and texts that must be escaped."""
    stage = Stage.started()
    worker = stage.worker(f"w {HOSTILE}", "tag", "collect", extra=f'{{"info":"{HOSTILE}"}}', cloud="aws,gcp")
    gone_worker = stage.worker("gone")
    pending = stage.task(data=f'{{"text":"{HOSTILE}"}}', cloud="aws", account="1")
    delayed_until = stage.now + timedelta(hours=1)
    delayed = lifecycle.submit([Submission("tag", {}, available_at=delayed_until)], None, stage.now)[0].task_id
    assigned = stage.task(cloud="gcp")
    stage.assign(worker, assigned)
    failed = stage.failed(worker, error=f"first line {HOSTILE}\n" + "more " * 200)
    succeeded = stage.succeeded(gone_worker, result=f'["{HOSTILE}"]')
    lost = stage.task()
    stage.assign(gone_worker, lost)
    stage.close([gone_worker])
    cancelled, expired = stage.tasks(2)
    lifecycle.cancel([cancelled], stage.now)
    Task.objects.filter(pk=expired).update(expires_at=stage.now)
    lifecycle.expire(stage.now)
    # A worker whose row has been pruned while a task still names it.
    pruned = stage.worker("pruned")
    lost_worker = stage.succeeded(pruned)
    stage.close([pruned])
    WorkerSession.objects.filter(pk=pruned).delete()
    return Scene(stage, worker, gone_worker, pending, delayed, assigned, failed, succeeded, lost_worker)


def staff(*verbs: str, models: Sequence[str] = ()) -> Client:
    """A logged-in member of the staff with the permissions `verb_model`; for all models when none are named."""
    user = get_user_model().objects.create_user(f"staff {'+'.join(verbs)}", password="secret", is_staff=True)
    permissions = Permission.objects.filter(content_type__app_label="queueapp")
    names = models or permissions.values_list("content_type__model", flat=True)
    wanted = [f"{verb}_{model}" for verb in verbs for model in names]
    user.user_permissions.set(permissions.filter(codename__in=wanted))
    client = Client()
    client.force_login(user)
    return client


def list_url(model: str) -> str:
    return reverse(f"admin:queueapp_{model}_changelist")


def page_url(model: str, key: Any) -> str:
    return reverse(f"admin:queueapp_{model}_change", args=[key])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def act(client: Client, model: str, action: str, *keys: Any, **fields: Any) -> list[str]:
    """The messages after an action on the rows with these keys."""
    form = {"action": action, "_selected_action": [str(key) for key in keys], "index": 0, **fields}
    response = client.post(reverse(f"admin:queueapp_{model}_changelist"), form, follow=True)
    assert response.status_code == 200
    return [str(message) for message in response.context["messages"]]

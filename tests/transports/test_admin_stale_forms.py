"""A page that has been open for a while: what others did meanwhile is not undone by saving it."""

from __future__ import annotations

from typing import Any

import pytest
from admin_forms import fields_of
from admin_rows import Stage, page_url, shown
from django.test import Client

from queueapp import queues
from queueapp.models import AuditEntry, Queue

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = page_url("queue", "tag")


@pytest.fixture(autouse=True)
def _the_queue_is_there(stage: Stage) -> None:
    stage.task()


@pytest.fixture
def opened(admin_client: Client) -> dict[str, str]:
    """The page as it was while five were let run at a time."""
    queues.configure("tag", {"concurrency": 5})
    return fields_of(shown(admin_client, PAGE))


def queue() -> Queue:
    return Queue.objects.get(pk="tag")


def details() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("detail", flat=True))


def said(response: Any) -> str:
    assert response.status_code == 200
    return str(response.context["adminform"].form.errors)


class TestAnOldPage:
    def test_writes_only_what_was_changed_on_it(
        self, admin_client: Client, stage: Stage, opened: dict[str, str]
    ) -> None:
        queues.configure("tag", {"concurrency": 50})
        queues.pause(["tag"], "ada", "upstream is down", stage.now)
        assert admin_client.post(PAGE, opened | {"max_attempts": "9"}).status_code == 302
        found = queue()
        assert (found.max_attempts, found.concurrency) == (9, 50)
        assert (found.paused, found.note) == (True, "upstream is down")
        assert details() == ["max_attempts=9"]

    def test_saved_as_it_is_changes_and_records_nothing(
        self, admin_client: Client, opened: dict[str, str]
    ) -> None:
        queues.configure("tag", {"concurrency": 50, "note": "mind the limit"})
        assert admin_client.post(PAGE, opened).status_code == 302
        assert (queue().concurrency, queue().note) == (50, "mind the limit")
        assert details() == []

    @pytest.mark.parametrize(
        ("field", "others", "mine"), [("concurrency", 50, "7"), ("note", "upstream is down", "mine")]
    )
    def test_is_refused_where_others_changed_the_same(
        self, admin_client: Client, opened: dict[str, str], field: str, others: Any, mine: str
    ) -> None:
        queues.configure("tag", {field: others})
        response = admin_client.post(PAGE, opened | {field: mine, "max_attempts": "9"})
        assert f"Changed meanwhile: it is {others} now" in said(response)
        assert (getattr(queue(), field), queue().max_attempts) == (others, None)
        assert details() == []

    def test_of_which_others_emptied_what_was_changed_is_refused(
        self, admin_client: Client, opened: dict[str, str]
    ) -> None:
        queues.configure("tag", {"concurrency": None})
        assert "it is empty now" in said(admin_client.post(PAGE, opened | {"concurrency": "7"}))
        assert queue().concurrency is None

    def test_that_was_refused_shows_what_is_and_may_be_sent_again(
        self, admin_client: Client, opened: dict[str, str]
    ) -> None:
        queues.configure("tag", {"concurrency": 50, "timeout_seconds": 60.0})
        refused = admin_client.post(PAGE, opened | {"concurrency": "7"})
        again = fields_of(refused.content.decode())
        assert (again["concurrency"], again["timeout_seconds"]) == ("7", "60.0")
        assert admin_client.post(PAGE, again).status_code == 302
        assert (queue().concurrency, queue().timeout_seconds) == (7, 60.0)
        assert details() == ["concurrency=7"]

    def test_asking_for_what_others_set_already_is_not_refused(
        self, admin_client: Client, opened: dict[str, str]
    ) -> None:
        queues.configure("tag", {"concurrency": 50})
        assert admin_client.post(PAGE, opened | {"concurrency": "50"}).status_code == 302
        assert details() == []

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_has_a_note_of_several_lines_unchanged(self, admin_client: Client, stage: Stage, end: str) -> None:
        queues.pause(["tag"], "ada", f" first{end}second ", stage.now)
        sent = {
            name: value.replace("\r\n", "\n").replace("\n", "\r\n")
            for name, value in fields_of(shown(admin_client, PAGE)).items()
        }
        admin_client.post(PAGE, sent)
        assert queue().note == f" first{end}second "
        assert admin_client.post(PAGE, sent | {"note": "third"}).status_code == 302
        assert queue().note == "third"


def test_who_comes_between_the_question_and_the_write_is_not_undone_either(
    admin_client: Client, opened: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure = queues.configure

    def after_another(*arguments: Any) -> Any:
        Queue.objects.update(concurrency=50)
        return configure(*arguments)

    monkeypatch.setattr(queues, "configure", after_another)
    response = admin_client.post(PAGE, opened | {"concurrency": "7"}, follow=True)
    assert [str(message) for message in response.context["messages"]] == [
        "Nothing was saved: concurrency changed meanwhile."
    ]
    assert queue().concurrency != 7
    assert details() == []

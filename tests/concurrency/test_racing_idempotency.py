"""The same request twice at the same time, and processes that die between what they do and what they answer."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from queueapp import database, idempotency
from queueapp.auth import create_key
from queueapp.models import IdempotentRequest, Task
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, interleave
from tests.concurrency.test_stopped_process import stopping_before
from tests.integration import rows

pytestmark = pytest.mark.django_db(transaction=True)

STORED = after("INSERT INTO queueapp_task")


@pytest.fixture(autouse=True)
def queue_and_route() -> None:
    """Who makes their rows holds up whoever needs them too; here the key alone may do so."""
    Task.objects.filter(pk__in=rows.pending(name="t")).delete()


@pytest.fixture
def token() -> str:
    return create_key("a producer", "producer")[1]


def post(token: str, body: str = '{"name": "t"}', key: str = "k") -> Any:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    return Client(headers=headers).post("/api/v1/tasks", body, content_type="application/json")


class TestWhileTheFirstIsInFlight:
    @pytest.mark.parametrize("moment", [STORED, BEFORE_COMMIT], ids=["stored", "before the commit"])
    def test_the_second_is_told_at_once_and_given_the_answer_after_it(self, token, moment):
        """Guard: the lock in `_answer_once`, which is tried and not waited for."""
        with Party(lambda: post(token), moment) as first:
            first.until_it_stops()
            refused = post(token)
            assert (refused.status_code, refused["Retry-After"]) == (409, "1")
            assert refused.json()["type"] == "urn:workqueue:problem:request-in-flight"
            first.go_on()
            answer = first.result()
        assert answer.status_code == 201
        again = post(token)
        assert (again.status_code, again.content) == (201, answer.content)
        assert Task.objects.count() == 1

    def test_another_key_of_its_owner_is_not_held_up(self, token):
        """Guard: the key in `_lock_of`."""
        first, second = interleave(lambda: post(token), BEFORE_COMMIT, lambda: post(token, key="another"))
        assert (first.status_code, second.status_code) == (201, 201)

    def test_the_same_key_of_another_owner_is_not_held_up(self, token):
        """Guard: the owner in `_lock_of`."""
        other = create_key("another producer", "producer")[1]
        first, second = interleave(lambda: post(token), BEFORE_COMMIT, lambda: post(other))
        assert (first.status_code, second.status_code) == (201, 201)


def test_who_looked_before_the_first_had_ended_finds_its_answer_under_the_lock(token):
    """Guard: `_answer_once` looks again once it has the lock."""
    looked = after("FROM queueapp_idempotentrequest")
    with Party(lambda: post(token), looked) as late:
        late.until_it_stops()
        first = post(token)
        late.go_on()
        assert late.result().content == first.content
    assert Task.objects.count() == 1


def test_a_unique_key_that_somebody_takes_meanwhile_is_answered_with_that_task(token):
    """Guard: `answer_once` begins a new transaction when a constraint has refused what it read was free."""
    body = '{"name": "t", "unique_key": "u"}'
    first, second = interleave(lambda: post(token, body), BEFORE_COMMIT, lambda: post(token, body, "another"))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert Task.objects.count() == 1


@pytest.mark.parametrize(
    "moment", ["INSERT INTO queueapp_task", 'INSERT INTO "queueapp_idempotentrequest"'], ids=["before", "between"]
)
def test_a_process_that_dies_before_its_commit_leaves_neither_the_task_nor_its_answer(token, moment):
    """Guard: both are written in one transaction."""
    with stopping_before(moment):
        assert post(token).status_code == 503
    connection.close()
    assert (Task.objects.count(), IdempotentRequest.objects.count()) == (0, 0)
    assert post(token).status_code == 201
    assert Task.objects.count() == 1


def test_an_act_that_fails_keeps_no_answer_and_lets_go_of_its_key():
    asked = idempotency.Asked("key 1", "k", "f")

    def fail() -> idempotency.Answer:
        rows.pending()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        idempotency.answer_once(asked, fail, database.now())
    assert not Task.objects.exists()
    answer = idempotency.Answer(201, "{}")
    assert idempotency.answer_once(asked, lambda: answer, database.now()) == answer


def test_two_that_forget_old_answers_share_them():
    """Guard: SKIP LOCKED in `prune`: two that lock the same rows in different orders would deadlock."""
    now = database.now()
    for key in "abcd":
        asked = idempotency.Asked("key 1", key, "f")
        idempotency.answer_once(asked, lambda: idempotency.Answer(201, "{}"), now - idempotency.KEPT)

    def prune() -> int:
        with database.brief_transaction():
            return idempotency.prune(now)

    with Party(prune, BEFORE_COMMIT) as first:
        first.until_it_stops()
        assert prune() == 0
        first.go_on()
        assert first.result() == 4
    assert not IdempotentRequest.objects.exists()

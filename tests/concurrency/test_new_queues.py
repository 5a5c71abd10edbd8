"""Queues that somebody is the first to name, and those that somebody else is changing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from queueapp import naming, queues, sessions
from queueapp.lifecycle import storing
from queueapp.models import Queue, new_id
from queueapp.registration import parse_query
from queueapp.sessions import Attachment
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, in_a_transaction, interleave
from tests.integration import rows
from tests.integration.rows import NOW
from tests.servers import fresh_database

pytestmark = pytest.mark.django_db(transaction=True)


def test_queues_are_made_in_the_order_of_their_names_whatever_is_that_of_the_database():
    """Guard: the collation in `naming.insertion_from`."""
    names = ["a", "B", "a_c", "a.b", "aa"]
    with (
        fresh_database(os.environ["TEST_DATABASE_URL"], "template0", language="en-US") as url,
        psycopg.connect(url) as elsewhere,
    ):
        elsewhere.execute("CREATE TABLE queueapp_queue (name text UNIQUE, paused bool, paused_by text, note text)")
        insert = f"WITH {naming._NAMES.table} {naming.insertion_from('named')} RETURNING name"
        named = naming._NAMES.rows((name,) for name in names)
        made = [name for (name,) in elsewhere.execute(insert, [named])]
        by_language = "SELECT name FROM queueapp_queue ORDER BY name"
        assert [name for (name,) in elsewhere.execute(by_language)] != made
    assert made == sorted(names)


def pause() -> set[str]:
    return in_a_transaction(queues.pause, ["tag"], "ada", "", NOW)


@contextmanager
def somebody_who_pauses_it() -> Iterator[None]:
    """All of that is written, and nobody else can see it yet."""
    with Party(pause, BEFORE_COMMIT) as pausing:
        pausing.until_it_stops()
        yield
        pausing.go_on()
        pausing.result()


@pytest.mark.parametrize("batch", [storing.BATCH, 1], ids=["one statement", "several"])
def test_a_submission_does_not_wait_for_who_is_changing_its_queue(batch, monkeypatch):
    """Guard: what is there is left out, for a conflict with it would be waited for."""
    naming.make_queues(["tag"])
    monkeypatch.setattr(storing, "BATCH", batch)
    with somebody_who_pauses_it():
        assert len(rows.pending(2)) == 2


def test_a_worker_does_not_wait_for_who_is_changing_a_queue_that_it_offers():
    """Guard: as before."""
    naming.make_queues(["tag"])
    parsed = parse_query(b"task=tag", 100)
    with somebody_who_pauses_it():
        sessions.attach(rows.node().id, [Attachment(new_id(), parsed.options, parsed.offers)], NOW)


def test_a_queue_that_is_being_paused_before_its_first_task_is_paused_when_that_comes():
    """The task waits for the queue, which two make at once, and finds the pause."""
    _, [task_id] = interleave(pause, BEFORE_COMMIT, lambda: rows.pending(1))
    assert Queue.objects.get(pk="tag").paused
    assert rows.row(task_id).state == "pending"


@pytest.mark.parametrize("verb", ["pause", "configure"])
def test_who_pauses_or_configures_a_queue_that_a_submission_makes_does_so_after_it(verb):
    verbs = {
        "pause": lambda: queues.pause(["tag"], "ada", "", NOW),
        "configure": lambda: queues.configure("tag", {"concurrency": 1}),
    }
    _, changed = interleave(lambda: in_a_transaction(rows.pending, 1), BEFORE_COMMIT, verbs[verb])
    assert changed == {"tag"}
    queue = Queue.objects.get(pk="tag")
    assert (queue.paused, queue.concurrency) == ((True, None) if verb == "pause" else (False, 1))

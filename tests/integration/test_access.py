"""Keys that are revoked or narrowed while workers are attached with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from fleet import Fleet, holder_of, submit

from queueapp import access, database, doorbell
from queueapp.auth import create_key
from queueapp.domain.reach import parse_bounds
from queueapp.inbox import Inbox
from queueapp.models import ApiKey, Task, WorkerSession, new_id
from queueapp.registration import parse_query
from queueapp.sessions import Attachment
from tests.asking import asking

pytestmark = pytest.mark.django_db(transaction=True)

REVOKED = (4401, "The API key was revoked.")


@pytest.fixture
def closed() -> Iterator[list[tuple[UUID, int, str]]]:
    """What the doorbell says of sessions that were closed."""
    heard: list[tuple[UUID, int, str]] = []
    unlisten = doorbell.listen(lambda news: heard.extend(news.closed))
    yield heard
    unlisten()


def key(*globs: str, bounds: tuple[str, ...] = ()) -> ApiKey:
    return create_key("w", "worker", globs, parse_bounds(bounds))[0]


def attach(fleet: Fleet, api_key: ApiKey, *queries: str) -> list[UUID]:
    """The sessions of workers that came with the key."""
    attachments = []
    for query in queries:
        parsed = parse_query(query.encode(), 100)
        attachments.append(Attachment(new_id(), parsed.options, parsed.offers, api_key))
    fleet.run(attachments=attachments)
    return [attachment.session_id for attachment in attachments]


def end_of(session_id: UUID) -> tuple[int | None, str]:
    return WorkerSession.objects.values_list("close_code", "close_reason").get(pk=session_id)


def asked_by_a_tick(fleet: Fleet, held: list[UUID]) -> list[str]:
    with asking() as asked:
        fleet.process.run(Inbox(tick=True), {session_id: {} for session_id in held})
    return [each for each in asked if "clock_timestamp" not in each]


class TestAKeyThatIsRevoked:
    def test_ends_its_sessions_at_once_and_gives_their_tasks_to_others_uncounted(self, fleet, closed):
        api_key = key()
        (worker,) = attach(fleet, api_key, "task=t")
        (task_id,) = submit()
        fleet.run()
        assert holder_of(task_id) == worker
        (heir,) = attach(fleet, key(), "task=t")
        assert access.revoke([api_key.pk], database.now()) == {api_key.pk}
        assert closed == [(worker, *REVOKED)]
        assert end_of(worker) == REVOKED
        fleet.run(roster=True)
        task = Task.objects.get(pk=task_id)
        assert (task.worker_id, task.attempts_used) == (heir, 0)
        assert list(task.attempts.values_list("outcome", flat=True)) == ["released"]
        assert end_of(heir) == (None, "")

    def test_is_revoked_once(self, fleet, closed):
        api_key = key()
        now = database.now()
        assert access.revoke([api_key.pk], now) == {api_key.pk}
        assert access.revoke([api_key.pk], now + timedelta(seconds=1)) == set()
        assert ApiKey.objects.get().revoked_at == now

    def test_ends_more_sessions_than_one_step_does(self, fleet, closed, monkeypatch):
        monkeypatch.setattr(access, "LOOKED_AT_ONCE", 2)
        api_key = key()
        workers = attach(fleet, api_key, *["task=t"] * 5)
        access.revoke([api_key.pk], database.now())
        assert {session_id for session_id, *_ in closed} == set(workers)

    def test_by_a_hand_in_the_database_ends_them_at_the_next_poll(self, fleet, closed):
        api_key = key()
        (worker,) = attach(fleet, api_key, "task=t")
        (task_id,) = submit()
        fleet.run()
        (heir,) = fleet.attach("task=t")
        ApiKey.objects.filter(pk=api_key.pk).update(revoked_at=database.now())
        fleet.run(tick=True)
        assert closed == [(worker, *REVOKED)]
        assert (holder_of(task_id), Task.objects.get().attempts_used) == (heir, 0)

    def test_while_a_worker_was_attaching_ends_its_session_at_the_next_poll(self, fleet, closed):
        """It was authenticated before, and its row came after."""
        api_key = key()
        access.revoke([api_key.pk], database.now())
        fleet.run(tick=True)
        (worker,) = attach(fleet, api_key, "task=t")
        fleet.run(tick=True)
        assert closed == [(worker, *REVOKED)]

    def test_leaves_the_sessions_of_other_processes_to_them(self, fleet, closed):
        elsewhere = Fleet()
        elsewhere.unlisten()
        api_key = key()
        (worker,) = attach(elsewhere, api_key, "task=t")
        ApiKey.objects.update(revoked_at=database.now())
        fleet.run(tick=True)
        assert end_of(worker) == (None, "")
        elsewhere.process.run(Inbox(tick=True))
        assert end_of(worker) == REVOKED


class TestAKeyThatIsNarrowed:
    def test_ends_the_sessions_that_offer_a_name_which_it_does_not_allow_any_more(self, fleet, closed):
        api_key = key("image.*", "tag")
        both, image = attach(fleet, api_key, "task=tag,image.resize", "task=image.resize")
        ApiKey.objects.update(task_globs=["image.*"])
        fleet.run(tick=True)
        assert closed == [(both, 4403, "This key may not perform tag.")]
        assert end_of(image) == (None, "")

    def test_ends_the_sessions_whose_filters_are_beyond_its_bounds(self, fleet, closed):
        api_key = key(bounds=("cloud=aws,gcp",))
        gcp, aws = attach(fleet, api_key, "task=t&cloud=gcp", "task=t&cloud=aws&account=1")
        ApiKey.objects.update(bounds={"cloud": ["aws"]})
        fleet.run(tick=True)
        assert closed == [(gcp, 4403, "This key allows only cloud=aws; t has gcp.")]
        assert end_of(aws) == (None, "")

    def test_is_looked_at_once_and_not_at_every_poll(self, fleet, closed, nothing_is_rolled_up):
        (worker,) = attach(fleet, key("tag", "image.*"), "task=tag")
        ApiKey.objects.update(task_globs=["tag"])
        assert len(asked_by_a_tick(fleet, [worker])) > 6
        assert len(asked_by_a_tick(fleet, [worker])) == 6
        ApiKey.objects.update(task_globs=["scan"])
        fleet.run(tick=True)
        assert [code for _, code, _ in closed] == [4403]

    @pytest.mark.parametrize(
        "columns",
        [{"task_globs": "tag"}, {"task_globs": 7}, {"bounds": ["aws"]}, {"bounds": {"cloud": "aws"}}],
        ids=str,
    )
    def test_into_what_cannot_be_read_allows_nothing_and_stops_nobody_else(self, fleet, closed, columns):
        api_key = key()
        (worker,) = attach(fleet, api_key, "task=tag")
        ApiKey.objects.filter(pk=api_key.pk).update(**columns)
        (other,) = attach(fleet, key(), "task=tag")
        fleet.run(tick=True)
        assert [session_id for session_id, *_ in closed] == [worker]
        (task_id,) = submit(name="tag")
        fleet.run()
        assert holder_of(task_id) == other

    def test_that_is_widened_ends_nothing(self, fleet, closed):
        attach(fleet, key("tag", bounds=("cloud=aws",)), "task=tag&cloud=aws")
        ApiKey.objects.update(task_globs=[], bounds=None)
        fleet.run(tick=True)
        assert closed == []

    def test_of_a_session_that_a_process_of_the_last_version_attached_is_noticed_too(self, fleet, closed):
        (worker,) = attach(fleet, key("tag"), "task=tag")
        WorkerSession.objects.update(reach=None)
        ApiKey.objects.update(task_globs=["scan"])
        fleet.run(tick=True)
        assert [session_id for session_id, *_ in closed] == [worker]


class TestAnIdleTick:
    def test_asks_no_more_for_a_worker_with_a_key(self, fleet, nothing_is_rolled_up):
        (worker,) = attach(
            fleet, key("t", bounds=("cloud=aws,gcp", "account=ä")), "task=t&cloud=aws&account=%C3%A4"
        )
        ApiKey.objects.update(last_used_at=database.now())
        fleet.run(tick=True)
        asked = asked_by_a_tick(fleet, [worker])
        assert len(asked) == 6, asked
        assert not [sql for sql in asked if sql.startswith(("BEGIN", "SAVEPOINT"))]


class TestTheLastUse:
    def test_of_a_key_that_an_attached_worker_has_is_now(self, fleet):
        used, idle = key(), key()
        attach(fleet, used, "task=t")
        long_ago = database.now() - timedelta(days=30)
        ApiKey.objects.update(last_used_at=long_ago)
        fleet.run(tick=True)
        assert ApiKey.objects.get(pk=used.pk).last_used_at > long_ago + timedelta(days=29)
        assert ApiKey.objects.get(pk=idle.pk).last_used_at == long_ago

    def test_is_not_written_again_within_a_minute(self, fleet):
        api_key = key()
        attach(fleet, api_key, "task=t")
        recently = database.now() - timedelta(seconds=30)
        ApiKey.objects.update(last_used_at=recently)
        fleet.run(tick=True)
        assert ApiKey.objects.get().last_used_at == recently

"""Operations as operators see them: a list, a page with a bar and a stop button, the way back to their filter."""

from __future__ import annotations

import pytest
from admin_rows import HOSTILE, Stage, act, list_url, page_url, shown
from bulk_page import BULK, confirm
from django.test import Client

from queueapp import operations
from queueapp.models import Operation
from tests.integration.rows import carry_out

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("woken")]
"""An operation is recorded in the transaction that begins it."""


class TestOperations:
    @pytest.fixture
    def running(self, admin_client: Client) -> Operation:
        Stage.started().tasks(3)
        confirm(admin_client, "cancel", {"name": "tag", "attr.note": HOSTILE, "state": "pending,assigned"})
        return Operation.objects.get()

    def test_are_listed_with_who_began_them_and_what_they_are_about(
        self, admin_client: Client, running: Operation
    ) -> None:
        page = shown(admin_client, list_url("operation"))
        assert "tasks with name tag, " in page  # the order of the others is the database's
        assert "attr.note &lt;script&gt;" in page
        assert ">admin<" in page
        assert f'data-row="{running.pk}"' in page
        assert HOSTILE not in page
        for address, found in ((f"?q={running.pk}", True), ("?state=running", True), ("?state=done", False)):
            assert (str(running.pk) in shown(admin_client, list_url("operation") + address)) is found

    def test_have_a_page_with_a_bar_and_a_button(self, admin_client: Client, running: Operation) -> None:
        page = shown(admin_client, page_url("operation", running.pk))
        assert 'data-state="running"' in page
        assert 'value="stop"' in page
        assert "attr.note &lt;script&gt;" in page

    def test_are_stopped_by_it(self, admin_client: Client, running: Operation) -> None:
        told = act(admin_client, "operation", "stop", running.pk)
        assert told == ["1 operation stopped."]
        assert not operations.carry_on(running.pk)
        page = shown(admin_client, page_url("operation", running.pk))
        assert 'value="stop"' not in page
        assert "stopped: 0 of 0" in page

    def test_that_have_ended_say_what_they_did(self, admin_client: Client) -> None:
        Stage.started().tasks(3)
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="0")
        operation = carry_out(Operation.objects.get().pk)
        page = shown(admin_client, page_url("operation", operation.pk))
        assert "done: 3 of 3, 3 left as they were" in page
        assert "prioritise to 0" in page

    def test_lead_back_to_their_filter(self, admin_client: Client, running: Operation) -> None:
        Stage.started().tasks(2)
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="7")
        page = shown(admin_client, page_url("operation", Operation.objects.latest("id").pk))
        address = page.partition(f'href="{BULK}?')[2].partition('"')[0]
        assert "priority=7" in address
        assert "action=prioritise" in address

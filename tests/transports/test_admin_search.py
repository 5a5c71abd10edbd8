"""What the admin's search boxes find, and the addresses that it withstands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from admin_rows import LISTS, Scene, list_url, scene
from django.test import Client

from queueapp.auth import create_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> Scene:
    create_key("ci", "producer", ["image.*"])
    return scene()


class TestSearch:
    @pytest.fixture
    def found(self, admin_client: Client) -> Callable[[str, str], set[Any]]:
        def find(model: str, words: str) -> set[Any]:
            response = admin_client.get(list_url(model), {"q": words})
            assert response.status_code == 200
            return {row.pk for row in response.context["cl"].result_list}

        return find

    def test_finds_tasks_by_attributes(self, found: Callable[..., set[Any]], rows: Scene) -> None:
        assert found("task", "cloud=aws") == {rows.pending}
        assert found("task", "cloud=aws account=1") == {rows.pending}
        assert found("task", "cloud=aws account=2") == set()

    def test_takes_a_quoted_attribute(self, found: Callable[..., set[Any]], rows: Scene) -> None:
        task_id = rows.stage.task(owner="ada b")
        assert found("task", 'owner="ada b"') == {task_id}

    def test_finds_a_task_by_its_id(self, found: Callable[..., set[Any]], rows: Scene) -> None:
        assert found("task", str(rows.failed)) == {rows.failed}
        assert found("task", rows.failed.hex) == {rows.failed}

    def test_finds_tasks_by_the_beginning_of_a_name(self, found: Callable[..., set[Any]], rows: Scene) -> None:
        task_id = rows.stage.task("collect")
        assert found("task", "coll") == {task_id}
        assert found("task", "ollect") == set()

    def test_finds_the_other_rows(self, found: Callable[..., set[Any]], rows: Scene) -> None:
        assert found("workersession", "ALERT") == {rows.worker}
        assert found("workersession", str(rows.worker)) == {rows.worker}
        assert found("queue", "olle") == {"collect"}
        assert len(found("attempt", str(rows.failed))) == 1
        assert len(found("subscription", str(rows.worker))) == 2
        assert len(found("apikey", "ci")) == 1
        assert found("node", str(rows.stage.node_id)) == {rows.stage.node_id}

    @pytest.mark.parametrize(
        "words",
        [
            "\x00",
            "a\x00b=c",
            "'\"\\%_*",
            '"',
            "=",
            "=x",
            "x" * 60_000,
            "a=b " * 400,
            "🦆=💥",
            "(" * 500,
            "a " * 70,
        ],
        ids=[
            "nul",
            "nul-inside",
            "marks",
            "quote",
            "equals",
            "no-name",
            "long",
            "many",
            "signs",
            "nested",
            "words",
        ],
    )
    def test_survives_any_words(self, admin_client: Client, rows: Scene, words: str) -> None:
        answers = {model: admin_client.get(list_url(model), {"q": words}).status_code for model in LISTS}
        assert set(answers.values()) == {200}, answers


class TestStrangeAddresses:
    @pytest.mark.parametrize(
        "query",
        [
            "state=%00",
            "name=%00",
            "state=nonsense",
            "p=99999999",
            "p=x",
            "o=1.2.-3",
            "all=",
            "error__regex=(",
            "e=1",
        ],
    )
    def test_lists_answer_anything(self, admin_client: Client, rows: Scene, query: str) -> None:
        answers = {model: admin_client.get(f"{list_url(model)}?{query}").status_code for model in LISTS}
        assert set(answers.values()) <= {200, 302, 400}, answers

    def test_only_known_lookups_reach_the_database(self, admin_client: Client, rows: Scene) -> None:
        assert admin_client.get(list_url("task") + "?data__contains=x").status_code == 400
        assert admin_client.get(list_url("workersession") + "?node__id__exact=x").status_code == 302

    @pytest.mark.parametrize("key", ["nonsense", "0", "99999999999999999999999", "_00", "%00"])
    @pytest.mark.parametrize("page", ["change", "history"])
    def test_pages_of_rows_that_are_not(self, admin_client: Client, rows: Scene, key: str, page: str) -> None:
        answers = {model: admin_client.get(f"{list_url(model)}{key}/{page}/").status_code for model in LISTS}
        assert set(answers.values()) == {302}, answers

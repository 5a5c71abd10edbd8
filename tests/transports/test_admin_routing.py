"""The pages that say who gets what: coverage, and the sandbox."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from admin_rows import HOSTILE, Stage, shown, staff
from asking import asking
from django.test import Client

from queueapp import backlog, coverage
from queueapp.models import Task

pytestmark = pytest.mark.django_db

COVERAGE = "/admin/coverage/"
SANDBOX = "/admin/sandbox/"


def covered(client: Client, **query: str) -> str:
    response = client.get(COVERAGE, query)
    assert response.status_code == 200
    return unescape(" ".join(response.content.decode().split()))


def asked(client: Client, **query: str) -> Any:
    response = client.get(SANDBOX, query)
    assert response.status_code == 200
    return response


class TestCoverage:
    def test_says_which_value_no_worker_accepts(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w7", cloud="aws,gcp")
        stage.tasks(3, cloud="azure")
        page = covered(admin_client)
        assert "No worker accepts <bdi>cloud=azure</bdi> for “<bdi>tag</bdi>”" in page
        assert "?q=state%3Apending+name%3Atag+attr.cloud%3Aazure" in page

    def test_has_a_route_that_waits_with_who_matches_and_the_room_there_is(
        self, admin_client: Client, stage: Stage
    ) -> None:
        stage.worker("wide", cloud="aws")
        narrow = stage.worker("narrow", cloud="aws", account="1")
        stage.assign(narrow, *stage.tasks(4, cloud="aws", account="1"))
        stage.tasks(2, cloud="aws", account="1")
        (row,) = admin_client.get(COVERAGE).context["routes"]
        found = row[0]
        assert (found.demand.waiting, found.match.workers, found.match.candidates) == (2, 2, 1)
        assert (found.match.specificity, found.match.room) == (2, 6)

    def test_names_the_workers_that_others_leave_nothing(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("wide", cloud="aws")
        stage.worker("narrow", cloud="aws", account="1")
        task = stage.task(cloud="aws", account="1")
        assert "go to" in covered(admin_client)
        (shadow,) = coverage.read().shadows
        assert (shadow.worker.label, shadow.by.label) == ("wide", "narrow")
        stage.assign(stage.worker("gone soon"), task)
        assert len(coverage.read().shadows) == 2, "a route is known though none of its tasks waits any more"

    def test_names_what_only_one_side_knows_and_what_was_meant(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w7", "collect")
        stage.task("colect")
        page = covered(admin_client)
        assert "no worker offers colect: did you mean collect?" in page
        assert "there is no task collect: did its workers mean colect?" in page

    def test_says_how_much_of_what_is_wrong_is_left_out(
        self, admin_client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(coverage, "FOUND_SHOWN", 1)
        stage.worker("w7", "tag", "alpha", "beta", "gamma", cloud="aws")
        for cloud in ("azure", "gcp", "own"):
            stage.task(cloud=cloud)
        for name in ("one", "two", "three"):
            stage.task(name)
        page = covered(admin_client)
        assert "and 2 more values that no worker accepts" in page
        assert "and 2 more that are offered by nobody" in page
        assert "and 2 more that are offered, of which there was never a task" in page
        monkeypatch.setattr(coverage, "FOUND_SHOWN", 3)
        assert "and 0 more" not in (page := covered(admin_client))
        assert " more that are offered" not in page
        assert " more values" not in page

    def test_can_be_of_one_name(self, admin_client: Client, stage: Stage) -> None:
        stage.tasks(3)
        stage.task("other")
        names = [row[0].name for row in admin_client.get(COVERAGE, {"name": "oth"}).context["table"]]
        assert names == ["other"]

    @pytest.mark.parametrize("name", ["x" * 5000, "\x00", "\ud800", "%", HOSTILE])
    def test_withstands_any_search(self, admin_client: Client, stage: Stage, name: str) -> None:
        stage.task()
        response = admin_client.get(COVERAGE, {"name": name.encode("utf-8", "surrogatepass")})
        assert response.status_code == 200
        assert HOSTILE not in response.content.decode()

    def test_says_what_is_not_looked_at(
        self, admin_client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(4):
            stage.worker(f"w{number}", account=str(number))
            stage.task(account=str(number))
        monkeypatch.setattr(backlog, "ROUTES", 3)
        assert "search for one name to be sure" in covered(admin_client)

    def test_counts_no_further_than_a_share(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        stage.tasks(5, cloud="aws")
        stage.tasks(3, cloud="gcp")
        stage.tasks(1, cloud="azure")
        monkeypatch.setattr(backlog, "ROUTES", 10)
        monkeypatch.setattr(backlog, "COUNTED_TASKS", 20)
        assert [(r.waiting, r.is_exact) for r in backlog.read().routes] == [(5, True), (3, True), (1, True)]
        monkeypatch.setattr(backlog, "COUNTED_TASKS", 8)
        monkeypatch.setattr(backlog, "ROUTES", 4)
        found = backlog.read()
        assert [(route.waiting, route.is_exact) for route in found.routes] == [(4, False), (3, True), (1, True)]
        assert not found.is_exact

    def test_takes_as_many_queries_for_fifty_names_as_for_one(
        self, admin_client: Client, stage: Stage, django_assert_max_num_queries: Any
    ) -> None:
        stage.worker("w", "a0")
        stage.task("a0", cloud="aws")
        shown(admin_client, COVERAGE)
        with django_assert_max_num_queries(20) as few:
            shown(admin_client, COVERAGE)
        for number in range(50):
            stage.worker(f"w{number}", f"a{number}", f"b{number}", cloud=str(number))
            stage.task(f"a{number}", cloud="aws")
        with django_assert_max_num_queries(len(few)):
            shown(admin_client, COVERAGE)


class TestTheSandbox:
    def test_says_who_would_get_a_task_as_the_api_does(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("wide", cloud="aws")
        stage.worker("narrow", cloud="aws", account="1")
        page = asked(admin_client, name="tag", attrs="cloud=aws\naccount=1")
        answer = admin_client.post(
            "/api/v1/route",
            {"name": "tag", "attrs": {"cloud": "aws", "account": "1"}},
            content_type="application/json",
        ).json()
        explanation = page.context["explanation"]
        assert explanation.summary == answer["summary"]
        assert explanation.chosen.worker.label == answer["chosen"]["name"] == "narrow"
        assert [group.message for group in explanation.groups] == [g["message"] for g in answer["groups"]]
        assert "matches with 2 criteria" in page.content.decode()

    def test_offers_what_was_meant(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w7", cloud="aws")
        page = asked(admin_client, name="tag", attrs="clod=aws")
        ((suggestion, address),) = page.context["suggestions"]
        assert suggestion.meant == "cloud"
        assert admin_client.get(address).context["explanation"].chosen.worker.label == "w7"
        ((suggestion, address),) = asked(admin_client, name="tga", attrs="cloud=aws").context["suggestions"]
        assert admin_client.get(address).context["explanation"].chosen.worker.label == "w7"

    def test_is_filled_in_from_a_task(self, admin_client: Client, stage: Stage) -> None:
        task = stage.task(cloud="a=b c", account="1")
        response = admin_client.get(SANDBOX, {"task": str(task)}, follow=True)
        assert response.context["name"] == "tag"
        assert response.context["explanation"].facts.attrs == {"cloud": "a=b c", "account": "1"}

    def test_reads_of_a_task_nothing_but_its_route(self, admin_client: Client, stage: Stage) -> None:
        task_id = stage.task(cloud="aws")
        with asking() as statements:
            admin_client.get(SANDBOX, {"task": str(task_id)})
        (of_tasks,) = [sql for sql in statements if 'FROM "queueapp_task"' in sql]
        assert '"queueapp_task"."data"' not in of_tasks
        assert '"queueapp_task"."result"' not in of_tasks

    @pytest.mark.parametrize("task", ["nonsense", "00000000-0000-0000-0000-000000000000", "\x00"])
    def test_knows_no_task_that_there_is_not(self, admin_client: Client, task: str) -> None:
        assert admin_client.get(SANDBOX, {"task": task}).status_code == 404

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ({"name": "a b"}, "name"),
            ({"attrs": "cloud=aws"}, "name"),
            ({"name": "tag", "attrs": "cloud"}, "“cloud” is no attribute: write name=value, one a line."),
            ({"name": "tag", "attrs": "=x"}, "empty"),
            ({"name": "tag", "attrs": "\n".join(f"a{n}=1" for n in range(40))}, "32"),
            ({"name": "tag", "attrs": f"a={'x' * 2000}"}, "1000 characters"),
            ({"name": "tag", "attrs": "a=\x00"}, "NUL"),
        ],
    )
    def test_says_what_cannot_be_submitted(self, admin_client: Client, query: dict[str, str], said: str) -> None:
        page = asked(admin_client, **query)
        assert any(said in problem for problem in page.context["problems"]), page.context["problems"]
        assert "explanation" not in page.context

    def test_submits_nothing(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w7")
        asked(admin_client, name="tag", attrs="")
        assert not Task.objects.exists()

    def test_shows_what_is_hostile_as_text(self, admin_client: Client, stage: Stage) -> None:
        stage.worker(f"w {HOSTILE}", cloud=HOSTILE)
        stage.task(cloud=f"{HOSTILE}2")
        for address in (f"{SANDBOX}?name=tag&attrs=cloud%3D{HOSTILE}", COVERAGE):
            page = shown(admin_client, address)
            assert HOSTILE not in page
            assert "&lt;script&gt;" in page


class TestAccess:
    @pytest.mark.parametrize("address", [COVERAGE, SANDBOX])
    def test_is_for_staff_that_may_view_tasks_queues_and_workers(self, client: Client, address: str) -> None:
        assert client.get(address).status_code == 302
        viewer = staff("view", models=["task", "queue", "workersession"])
        assert viewer.get(address).status_code == 200

    @pytest.mark.parametrize("address", [COVERAGE, SANDBOX])
    def test_takes_all_of_these(self, address: str) -> None:
        assert staff("view", models=["task"]).get(address).status_code == 403

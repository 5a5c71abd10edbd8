"""A task's page in a real browser: from "tag tasks hang" to the cause and the cure, and while a task runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Server, finish, receive
from tests.browser.conftest import HOSTILE, Open, Viewer, working

TEXT = f"{HOSTILE}\u0001"


def page_of(task_id: str) -> str:
    return f"/admin/queueapp/task/{task_id}/change/"


PAUSE = """
from queueapp import database, naming, queues
naming.make_queues(["tag"])
queues.pause(["tag"], "bob", "upstream is down", database.now())
"""


class Clicks:
    """Counts them: the way from the complaint to the cure has four at most."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer, self.number = viewer, 0

    async def on(self, selector: str, **options: Any) -> None:
        self.number += 1
        await self.viewer.page.locator(selector, **options).first.click()


async def test_tasks_that_hang_because_their_queue_is_paused_flow_again_after_four_clicks(
    server: Server, viewer: Open
):
    server.manage("shell", "-c", PAUSE)
    async with working(server, "?task=tag&_name=w1"), viewer() as ada:
        [task_id, *_] = await server.submit(*[{"name": "tag"}] * 3)
        await ada.until("#problems", "3 tasks “tag” wait: queue tag has been paused by bob")
        clicks = Clicks(ada)
        await clicks.on("#problems a", has_text="one of them")
        await ada.until("#task-summary", "queue tag has been paused by bob")
        await ada.until("#task-summary", "upstream is down")
        await clicks.on("#task-why .remedies a", has_text="resume queue tag")
        await ada.page.wait_for_url("**/queue/tag/change/")
        await clicks.on(".object-tools button", has_text="Resume")
        assert (await server.task(task_id, wait=30))["state"] == "succeeded"
        assert clicks.number <= 4
        assert ada.complaints == []


async def test_tasks_that_no_worker_accepts_are_taken_by_one_that_attaches_as_the_page_says(
    server: Server, viewer: Open
):
    async with server.worker("?task=tag&cloud=aws&_name=w1"), viewer() as ada:
        await server.submit(*[{"name": "tag", "attrs": {"cloud": "azure"}}] * 2)
        await ada.until("#problems", "no worker accepts cloud=azure")
        clicks = Clicks(ada)
        await clicks.on("#problems a", has_text="one of them")
        await ada.until("#task-why .groups", "1 fails cloud")
        await clicks.on("#task-why .groups summary", has_text="1 fails cloud")
        await ada.until("#task-why .groups a", "w1")
        said = await ada.page.locator("#task-why .remedies code").inner_text()
        assert said == "/work/queue?task=tag&cloud=azure"
        async with working(server, said.removeprefix("/work/queue")):
            await ada.until("#task-summary .state", "succeeded")  # without a reload
            await ada.until("#task-line", "attempt 1: done")
        assert clicks.number <= 4
        assert ada.complaints == []


async def test_a_task_is_followed_from_its_submission_to_its_end(server: Server, viewer: Open):
    [task_id] = await server.submit({"name": "tag", "data": {"n": 1}})
    async with viewer() as ada:
        await ada.open(page_of(task_id))
        await ada.until("#task-summary .state", "pending")
        async with server.worker("?task=tag&_name=w7") as socket:
            [task] = await receive(socket)
            await ada.until("#task-line", "attempt 1: running")
            progress = {"kind": "progress", "task_id": task_id, "progress": 0.4, "message": TEXT}
            await socket.send(json.dumps(progress))
            await ada.until("#progress-number", "40%")
            await ada.until("#progress-message", "<script>alert(1)</script>")
            await finish(socket, task, {"found": [TEXT]})
            await ada.until("#payload-result", "found")
        asked = []
        ada.page.on("request", lambda request: asked.append(request.url))
        await ada.page.wait_for_timeout(2500)  # of silence: nothing is there to be awaited
        assert asked == []
        assert ada.complaints == []


async def test_what_is_unfolded_and_focused_stays_so_while_the_page_changes(server: Server, viewer: Open):
    async with server.worker("?task=tag&cloud=aws&_name=w1"):
        [task_id] = await server.submit({"name": "tag", "attrs": {"cloud": "azure"}, "data": {"n": 1}})
        async with viewer() as ada:
            await ada.open(page_of(task_id))
            await ada.page.locator("#payload-data summary").click()  # folds it
            async with server.worker("?task=tag&cloud=azure&_name=w2") as socket:
                [task] = await receive(socket)
                await ada.until("#task-line", "attempt 1: running")
                await finish(socket, task)
                await ada.until("#task-line", "succeeded")
            assert not await ada.page.locator("#payload-data pre").is_visible()


async def test_a_task_that_is_behind_others_is_brought_forward(server: Server, viewer: Open):
    async with viewer() as ada:
        first, second = await server.submit(*[{"name": "tag"}] * 2)
        await ada.open(page_of(second))
        await ada.page.locator("#priority").fill("50")
        await ada.page.keyboard.press("Enter")
        await ada.until(".messagelist .success", "The task has priority 50 now.")
        assert await ada.page.locator("#priority").input_value() == "50"
        async with server.worker("?task=tag&_max_outstanding=1") as socket:
            for task_id in (second, first):
                [task] = await receive(socket)
                assert task["task_id"] == task_id
                await finish(socket, task)
        await ada.until("#task-summary .state", "succeeded")
        await ada.page.locator("#priority").wait_for(state="detached")  # what is over has no place in line
        assert ada.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
async def test_a_priority_that_is_typed_while_the_task_ends_is_refused_with_the_reason(
    server: Server, viewer: Open, width: int, scheme: str
):
    async with viewer(width=width, color_scheme=scheme) as ada:
        [task_id] = await server.submit({"name": "tag"})
        await ada.open(page_of(task_id))
        await ada.until("#task-priority", "The highest goes first")
        assert await ada.page.evaluate("document.documentElement.scrollWidth") <= width
        assert await ada.findings() == []
        ada.complaints.clear()  # what axe-core itself does to the page breaks the policy
        await ada.page.locator("#priority").fill("50")
        await ada.page.locator("#priority").blur()
        async with server.worker("?task=tag") as socket:
            [task] = await receive(socket)
            await finish(socket, task)
        await ada.until("#task-summary .state", "succeeded")
        assert await ada.page.locator("#priority").input_value() == "50"
        await ada.page.locator("#task-priority button").click()
        await ada.until(".messagelist .error", "A task that is succeeded cannot be given another priority.")
        assert ada.complaints == []


def text_of(file: Path) -> str:
    return file.read_text()


async def test_a_payload_can_be_copied_whole(server: Server, viewer: Open):
    data = {"text": "x" * 200_000 + TEXT}
    [task_id] = await server.submit({"name": "tag", "data": data})
    async with viewer(permissions=["clipboard-read", "clipboard-write"]) as ada:
        await ada.open(page_of(task_id))
        await ada.until("#payload-data", "This is its beginning.")
        await ada.page.locator("[data-copies]").click()
        await ada.until("#payload-data button", "Copied")
        assert json.loads(await ada.page.evaluate("navigator.clipboard.readText()")) == data
        async with ada.page.expect_download() as download:
            await ada.page.locator("#payload-data .tools a").click()
        assert json.loads(text_of(await (await download.value).path())) == data
        assert ada.complaints == []


async def fail(server: Server, **task: Any) -> str:
    async with server.worker("?task=tag&_name=w7") as socket:
        [task_id] = await server.submit({"name": "tag", **task})
        await receive(socket)
        error = f"{TEXT} first line\n" + "x" * 300_000
        report = {"task_id": task_id, "result": "error", "error": error, "details": {"trace": TEXT * 100}}
        await socket.send(json.dumps(report))
        await server.task(task_id, wait=30)
    return task_id


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light")])
async def test_hostile_tasks_do_nothing_and_the_page_is_open_to_all(
    server: Server, viewer: Open, width: int, scheme: str
):
    waiting, *_ = await server.submit(
        {"name": "tag", "attrs": {"note": HOSTILE}, "data": TEXT + "x" * 1_000_000},
    )
    failed = await fail(server, data={"deep": [[[TEXT]]]})
    async with server.worker("?task=tag&note=other&_name=w1"), viewer(width=width, color_scheme=scheme) as ada:
        for task_id in (waiting, failed):
            await ada.open(page_of(task_id))
            await ada.until("#task-payloads", "onerror=alert(2)")
            assert await ada.page.locator("img[src=x]").count() == 0
            assert await ada.page.evaluate("document.documentElement.scrollWidth") <= width
            assert ada.complaints == []
            for summary in await ada.page.locator("#task details > summary").all():
                await summary.focus()
            assert await ada.findings() == []
            ada.complaints.clear()  # what axe-core itself does to the page breaks the policy


async def failed_after_retries(server: Server) -> str:
    async with server.worker("?task=disk&_name=w9") as socket:
        policy = {"retry_on": ["error"], "backoff": {"initial": 1}, "max_attempts": 3}
        [task_id] = await server.submit({"name": "disk", "data": {"path": "/srv/data/17"}, **policy})
        for _ in range(3):
            await receive(socket)
            text = "OSError: [Errno 28] No space left on device: '/srv/data/17'"
            report = {"task_id": task_id, "result": "error", "error": text, "details": {"free_bytes": 0}}
            await socket.send(json.dumps(report))
        await server.task(task_id, wait=30)
    return task_id

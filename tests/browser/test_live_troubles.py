"""Pages that bring themselves up to date, where what they ask does not answer, or answers something else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.acceptance.processes import Server, receive
from tests.browser.conftest import PATIENCE_MS, Open
from tests.browser.test_live import QUEUES, SOCKETS, TASKS


async def test_a_page_whose_socket_says_nothing_asks(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.page.route_web_socket(SOCKETS, lambda each: None)  # it is open, and that is all
        await server.submit({"name": "tag"})
        await ada.page.clock.install()
        await ada.open(QUEUES)
        await ada.until("#result_list .field-waiting", "1")
        await server.submit({"name": "tag"})
        await ada.page.clock.run_for(35_000)
        await ada.until("#result_list .field-waiting", "2")
        assert ada.complaints == []


async def test_a_page_that_never_heard_anything_says_so(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.page.route_web_socket(SOCKETS, lambda each: each.close())
        await ada.page.route("**/admin/now?*", lambda route: route.abort())
        await server.submit({"name": "tag"})
        await ada.page.clock.install()
        await ada.open(QUEUES)
        await ada.page.clock.run_for(35_000)
        await ada.until("#watch", "No news since")


async def test_a_tasks_page_whose_server_is_gone_says_so_and_comes_back(server: Server, viewer: Open):
    async with viewer() as ada:
        [task_id] = await server.submit({"name": "tag"})
        await ada.page.clock.install()
        await ada.open(f"{TASKS}{task_id}/change/")
        await ada.until("#task-summary", "pending")
        server.kill()
        await ada.page.clock.run_for(60_000)
        await ada.until("#watch", "No news since")
        server.start()
        await ada.page.clock.run_for(60_000)
        await ada.page.wait_for_selector("#watch:empty", state="attached")


async def test_a_tasks_page_whose_session_is_over_takes_no_login_page_for_its_own(server: Server, viewer: Open):
    def tell(socket: Any) -> None:
        socket.send(json.dumps({"state": "assigned", "attempt": 1, "progress": None, "progress_message": ""}))

    async with viewer() as ada:
        await ada.page.route_web_socket(SOCKETS, tell)
        [task_id] = await server.submit({"name": "tag"})
        await ada.page.clock.install()
        await ada.open(f"{TASKS}{task_id}/change/")
        pages: list[str] = []
        unanswered: set[Any] = set()
        ada.page.on(
            "request", lambda request: f"/login/?next={TASKS}" in request.url and pages.append(request.url)
        )
        ada.page.on("request", lambda request: unanswered.add(request))
        ada.page.on("response", lambda response: unanswered.discard(response.request))
        ada.page.on("requestfailed", lambda request: unanswered.discard(request))

        async def a_second_passes() -> None:
            """And what is asked in it is answered, which goes by another clock."""
            await ada.page.clock.run_for(1_000)
            await ada.page.wait_for_timeout(30)
            while unanswered:
                await ada.page.wait_for_timeout(30)

        await ada.context.clear_cookies()
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not pages:
                await a_second_passes()
            for _ in range(60):
                await a_second_passes()
        assert len(pages) <= 6


COUNT = """
async ([ms, for_ms, text]) => {
    let taken = 0;
    const wait = (time) => new Promise((done) => setTimeout(done, time));
    const parts = Live.atMostEvery(ms, async () => {
        taken += 1;
        if (text) throw new Error(text);
        await wait(100);
    });
    for (const end = Date.now() + for_ms; Date.now() < end; await wait(5)) await parts.now();
    return taken;
}
"""


async def test_a_page_is_fetched_for_no_more_than_a_twentieth_of_the_time_and_later_each_time_it_fails(
    server: Server, viewer: Open
):
    async with viewer() as ada:
        await server.submit({"name": "tag"})
        await ada.open(QUEUES)
        await ada.page.wait_for_load_state("load")
        assert await ada.page.evaluate(COUNT, [0, 1500, ""]) == 1
        assert 1 <= await ada.page.evaluate(COUNT, [10, 1500, "500"]) <= 8


async def test_a_button_with_the_focus_stays_while_its_page_is_made_anew(server: Server, viewer: Open):
    async with viewer() as ada:
        [task_id] = await server.submit({"name": "tag"})
        await ada.open(f"{TASKS}{task_id}/change/")
        await ada.page.focus(".object-tools button:has-text('Cancel')")
        is_the_same = "Live.takeParts().then(() => document.activeElement === window.button)"
        await ada.page.evaluate("window.button = document.activeElement")
        assert await ada.page.evaluate(is_the_same)
        await ada.page.evaluate("document.querySelector('#task-tools').append('it was another')")
        assert not await ada.page.evaluate(is_the_same)
        assert await ada.page.evaluate("document.activeElement.textContent.trim()") == "Cancel"
        assert ada.complaints == []


async def test_a_page_that_a_process_of_the_version_before_tells_the_overview_asks(server: Server, viewer: Open):
    async with viewer() as ada:
        overview = json.dumps({"now": {}, "problems": [], "queues": [], "workers": []})
        await ada.page.route_web_socket(SOCKETS, lambda each: each.send(overview))
        [task_id] = await server.submit({"name": "tag"})
        await ada.open(f"{TASKS}{task_id}/change/")
        await ada.until("#task-summary", "pending")
        async with server.worker("?task=tag&_name=w1") as socket:
            await receive(socket)
            await ada.until("#task-summary", "assigned")
        assert ada.complaints == []

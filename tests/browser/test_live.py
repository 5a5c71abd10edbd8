"""Pages that bring themselves up to date, in a real browser: over the operators' WebSocket and without it."""

from __future__ import annotations

import asyncio
import json

from tests.acceptance.processes import Server, receive
from tests.browser.conftest import HOSTILE, PATIENCE_MS, WORKERS, Open, Viewer

SOCKETS = "**/work/operators?*"
QUEUES = "/admin/queueapp/queue/"
TASKS = "/admin/queueapp/task/"
OPEN, CLOSED = 1, 3
"""Of a browser's sockets."""


async def mark(ada: Viewer) -> None:
    await ada.page.evaluate("window.isTheSame = true")


async def is_the_same(ada: Viewer) -> bool:
    """It has not been loaded again."""
    return bool(await ada.page.evaluate("window.isTheSame"))


async def test_what_a_worker_holds_follows_without_a_reload(server: Server, viewer: Open):
    async with server.worker("?task=tag&_name=w1") as socket, viewer() as ada:
        await server.until_attached(1)
        await ada.open(WORKERS)
        await ada.until("#result_list .field-load", "0 of")
        await mark(ada)
        await server.submit({"name": "tag"})
        await receive(socket)
        await ada.until("#result_list .field-load", "1 of")
        async with server.worker("?task=tag&_name=w2"):
            await ada.until("#watch", "1 newer worker session")
            assert await ada.page.locator("#result_list tbody tr").count() == 1  # none moves under the pointer
            assert await is_the_same(ada)
            await ada.page.click("#watch a")
            await ada.until("#result_list", "w2")
        await ada.until("#watch", "1 of these has moved on")
        assert ada.complaints == []


async def test_a_workers_page_says_what_it_holds_now(server: Server, viewer: Open):
    async with viewer() as ada:
        async with server.worker("?task=tag&_name=w1") as socket:
            await server.until_attached(1)
            await ada.open(WORKERS)
            await ada.page.click("#result_list a:has-text('w1')")
            await ada.until(".field-heartbeat", "which lets go of a worker")
            await mark(ada)
            [task_id] = await server.submit({"name": "tag"})
            await receive(socket)
            await ada.until(".field-outstanding", "1")
            await ada.until("#held td", "tag")
            await ada.page.wait_for_selector(f"#held a[href*='{task_id}']")
        await ada.until("#standing", "gone")
        await ada.page.wait_for_selector(".object-tools button:has-text('Drain')", state="detached")
        assert await is_the_same(ada)
        assert ada.complaints == []


async def test_the_list_of_tasks_says_what_is_newer_and_what_has_moved_on(server: Server, viewer: Open):
    async with viewer() as ada:
        await server.submit({"name": "tag"})
        await ada.open(f"{TASKS}?q=name:tag")
        await ada.until("#result_list .field-state", "pending")
        await server.submit({"name": "other"}, {"name": "tag"}, {"name": "tag"})
        await ada.until("#watch", "2 newer tasks")
        async with server.worker("?task=tag&_name=w1") as socket:
            await receive(socket)
            await ada.until("#result_list .field-state", "assigned")
            await ada.until("#watch", "1 of these has moved on")
            more = str(await ada.page.locator("#result_list .field-state a").first.get_attribute("href"))
            assert "state%3Aassigned" in more  # which leads to more of what it says now
        assert ada.complaints == []


async def test_queues_say_what_waits_and_who_has_paused_them(server: Server, viewer: Open):
    await server.submit({"name": "tag"})
    async with viewer() as ada, viewer() as grace:
        await ada.open(QUEUES)
        await ada.until("#result_list .field-waiting", "1")
        await grace.open(f"{QUEUES}tag/change/")
        await grace.page.fill("#id_note", "half written")
        for each in (ada, grace):
            await mark(each)
        await server.submit({"name": "tag"}, {"name": "tag"}, {"name": "other"})
        await ada.until("#result_list .field-waiting", "3")
        await ada.until("#watch", "1 newer queue")
        await grace.until(".field-waiting", "3")
        pause = 'from queueapp import database, queues; queues.pause(["tag"], "bob", "%s", database.now())'
        server.manage("shell", "-c", pause % "<img src=x onerror=alert(2)>")
        await ada.until("#result_list .health", "paused")
        await ada.until("#result_list .field-pause_shown", "by bob: <img src=x onerror=alert(2)>")
        await grace.until("#queue-pause", "Paused since")
        await grace.page.wait_for_selector(".object-tools button:has-text('Resume')")
        assert await grace.page.input_value("#id_note") == "half written"
        for each in (ada, grace):
            assert await is_the_same(each)
            assert await each.page.locator("img[src=x]").count() == 0
            assert each.complaints == []


async def test_errors_say_that_there_are_more(server: Server, viewer: Open):
    async def fail(socket, error: str) -> None:
        await server.submit({"name": "tag"})
        [task] = await receive(socket)
        await socket.send(json.dumps({"task_id": task["task_id"], "result": "error", "error": error}))

    async with server.worker("?task=tag&_name=w1") as socket, viewer() as ada:
        await fail(socket, f"{HOSTILE} it broke")
        await ada.until("#problems", "1 task failed")
        await ada.open("/admin/errors/")
        await ada.until("#groups", "it broke")
        await fail(socket, f"{HOSTILE} it broke")
        await ada.until("#groups .more", "+1")
        await fail(socket, "something else")
        await ada.until("#watch", "2 newer errors, 1 cause that is not shown")
        assert ada.complaints == []


async def test_without_the_socket_a_list_asks(server: Server, viewer: Open):
    async with server.worker("?task=tag&_name=w1") as socket, viewer() as ada:
        await ada.page.route_web_socket(SOCKETS, lambda each: each.close())
        asked: list[str] = []
        ada.page.on("request", lambda request: asked.append(request.url))
        await ada.open(WORKERS)
        await mark(ada)
        await server.submit({"name": "tag"})
        await receive(socket)
        await ada.until("#result_list .field-load", "1 of")
        assert [address for address in asked if "/admin/now?watch=workers" in address]
        assert await is_the_same(ada)


async def test_a_page_whose_server_is_gone_says_so_and_comes_back(server: Server, viewer: Open):
    async with viewer() as ada:
        await server.submit({"name": "tag"})
        await ada.page.clock.install()
        await ada.open(QUEUES)
        await ada.until("#result_list .field-waiting", "1")
        server.kill()
        await ada.page.clock.fast_forward(60_000)
        await ada.until("#watch", "No news since")
        server.start()
        await server.submit({"name": "tag"})
        await ada.page.clock.fast_forward(60_000)
        await ada.until("#result_list .field-waiting", "2")
        await ada.page.wait_for_selector("#watch:empty", state="attached")


async def test_a_page_that_is_out_of_sight_holds_no_connection(server: Server, viewer: Open):
    script = """
        window.opened = [];
        const Real = window.WebSocket;
        window.WebSocket = class extends Real {
            constructor(...given) { super(...given); window.opened.push(this); }
        };
        let isHidden = false;
        Object.defineProperty(document, "hidden", { get: () => isHidden });
        window.see = (isSeen) => { isHidden = !isSeen; document.dispatchEvent(new Event("visibilitychange")); };
    """
    async with viewer() as ada:

        async def until_are(*states: int) -> None:
            async with asyncio.timeout(PATIENCE_MS / 1000):
                while await ada.page.evaluate("opened.map((each) => each.readyState)") != list(states):
                    await ada.page.wait_for_timeout(50)

        await ada.page.add_init_script(script)
        await ada.open(QUEUES)
        await until_are(OPEN)
        await ada.page.evaluate("see(false)")
        await until_are(CLOSED)
        await ada.page.evaluate("see(true)")
        await until_are(CLOSED, OPEN)
        assert ada.complaints == []


async def test_who_may_not_see_it_any_more_is_asked_no_more(server: Server, viewer: Open):
    async with viewer() as ada:
        opened: list[str] = []

        async def shown_out(socket) -> None:
            opened.append(socket.url)
            await socket.close(code=4403)

        await ada.page.route_web_socket(SOCKETS, shown_out)
        asked: list[str] = []
        ada.page.on("request", lambda request: asked.append(request.url))
        await ada.page.clock.install()
        await ada.open(QUEUES)
        await ada.page.wait_for_load_state("load")
        await ada.page.clock.run_for(120_000)
        await ada.until("#watch", "You may not see this any more")
        assert len(opened) == 1
        assert [address for address in asked if "/admin/now" in address] == []


async def test_a_page_whose_session_is_over_takes_no_login_page_for_news(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.page.route_web_socket(SOCKETS, lambda each: each.close())
        await ada.page.clock.install()
        await ada.open(QUEUES)
        await server.submit({"name": "tag"})
        await ada.until("#watch", "1 newer queue")
        await ada.context.clear_cookies()
        for _ in range(15):
            async with ada.page.expect_response("**/admin/login/**"):
                await ada.page.clock.run_for(2_000)
        await ada.until("#watch", "No news since")


async def test_hostile_names_are_written_as_text(server: Server, viewer: Open):
    async with viewer() as ada:
        [task_id] = await server.submit({"name": "tag"})
        await ada.open(f"{TASKS}{task_id}/change/")
        async with server.worker("?task=tag&_name=w1") as socket:
            await receive(socket)
            await socket.send(
                json.dumps({"kind": "progress", "task_id": task_id, "progress": 0.4, "message": HOSTILE})
            )
            await ada.until("#progress-message", "<script>alert(1)</script>")
        assert await ada.page.locator("img[src=x]").count() == 0
        assert ada.complaints == []


async def test_the_line_can_be_read_and_used_by_all(server: Server, viewer: Open):
    async with viewer(width=400, color_scheme="dark") as ada:
        await ada.open(QUEUES)
        await server.submit({"name": "tag"})
        await ada.until("#watch", "1 newer queue")
        assert await ada.page.evaluate("document.documentElement.scrollWidth") <= 400
        assert await ada.page.locator("#watch").get_attribute("role") == "status"
        assert ada.complaints == []
        assert await ada.findings() == []

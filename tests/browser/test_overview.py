"""The overview in a real browser: what an operator sees while tasks flow, wait and fail."""

from __future__ import annotations

from tests.acceptance.processes import Server
from tests.browser.conftest import Open, working


async def test_the_numbers_follow_the_tasks_without_a_reload(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.is_live()
        assert await ada.figure("waiting") == "0"
        await server.submit(*[{"name": "tag", "attrs": {"cloud": "azure"}}] * 212)
        await ada.until("#figures", "212")
        await ada.until("#queues", "tag")
        async with working(server, "?task=tag&cloud=azure&_name=w7"):
            await ada.until("#workers", "w7")
            await ada.until("#figures > div:has-text('waiting'):has(dd:text-is('0'))", "waiting")
        assert ada.complaints == []


async def test_what_is_wrong_is_said_in_words(server: Server, viewer: Open):
    async with server.worker("?task=tag&cloud=aws"), viewer() as ada:
        await server.submit(*[{"name": "tag", "attrs": {"cloud": "azure"}}] * 3)
        await ada.until("#problems", "3 tasks “tag” (cloud=azure) wait: no worker accepts cloud=azure, since")
        await ada.page.locator("#problems a").click()
        await ada.page.wait_for_url("**/admin/queueapp/task/*/change/")


async def test_without_the_socket_the_page_asks(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.page.route_web_socket("**/work/operators", lambda socket: socket.close())
        await ada.page.reload()
        await ada.until("#overview-state", "Asked for every two seconds")
        await server.submit({"name": "tag"})
        await ada.until("#queues", "tag")


async def test_old_numbers_are_called_old(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.is_live()
        server.kill()
        await ada.until("#overview-state", "No news since")

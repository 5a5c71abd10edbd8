"""The overview in a real browser: what an operator sees while tasks flow, wait and fail."""

from __future__ import annotations

import pytest

from tests.acceptance.processes import Server
from tests.browser.conftest import Open, working

PAGES = (
    "/admin/",
    *(
        f"/admin/queueapp/{model}/"
        for model in ("task", "attempt", "workersession", "subscription", "queue", "apikey", "node", "delivery")
    ),
    "/admin/queueapp/queue/tag/change/",
    "/admin/queueapp/apikey/add/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/password_change/",
)
STOCK_FORM = "/admin/auth/user/1/change/"
"""Django's own, whose widgets for dates and permissions have no labels."""
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\u0000'\"&"


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


async def test_the_curves_can_be_read_by_the_keyboard_at_each_range(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.page.wait_for_selector("#curves figure:first-child path", state="attached", timeout=60_000)
        for button in await ada.page.locator("#ranges button").all():
            await button.press("Enter")
            assert await button.get_attribute("aria-pressed") == "true"
        curve = ada.page.locator("#curves svg").first
        await curve.focus()
        await curve.press("ArrowLeft")
        await ada.page.wait_for_selector("#curves .cursor", state="attached")
        assert "Tasks a second: submitted" in (await curve.get_attribute("aria-label"))
        assert ada.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_breaks_no_policy_and_is_open_to_all(server: Server, viewer: Open, scheme: str):
    await server.submit({"name": "tag", "data": {"n": 1}}, {"name": "other", "attrs": {"cloud": "aws"}})
    (task, *_) = await server.tasks()
    async with working(server, "?task=other&_name=w7"), viewer(color_scheme=scheme) as ada:
        await ada.is_live()
        findings, complaints = {}, []
        for path in (*PAGES, STOCK_FORM, f"/admin/queueapp/task/{task['id']}/change/"):
            await ada.open(path)
            await ada.page.wait_for_load_state("load")
            if path == "/admin/":
                await ada.is_live()
            complaints += ada.complaints
            if path != STOCK_FORM:
                findings[path] = await ada.findings()
            ada.complaints.clear()  # what axe-core itself does to the page breaks the policy
        assert complaints == []
        assert {path: found for path, found in findings.items() if found} == {}


async def test_a_narrow_screen_needs_no_scrolling_sideways(server: Server, viewer: Open):
    await server.submit({"name": "a." * 99, "attrs": {"cloud": "x" * 200}})
    async with viewer(width=400) as ada:
        await ada.until("#problems", "cloud=xxx")
        assert await ada.page.evaluate("document.documentElement.scrollWidth") <= 400


async def test_hostile_names_and_payloads_do_nothing(server: Server, viewer: Open):
    text = HOSTILE.replace("\u0000", "")
    ids = await server.submit(
        {"name": "tag", "attrs": {"note": text}, "data": text}, {"name": "tag", "data": text + "x" * 1_000_000}
    )
    server.manage(
        "shell",
        "-c",
        f"from queueapp import queues, database; queues.pause(['tag'], {text!r}, {text!r}, database.now())",
    )
    async with server.worker(f"?task=other&_name={HOSTILE_NAME}"), viewer() as ada:
        await ada.until("#problems", "<script>alert(1)</script>")
        await ada.until("#workers", "<script>")
        for path in (*(f"/admin/queueapp/task/{each}/change/" for each in ids), *PAGES):
            await ada.open(path)
            await ada.page.wait_for_load_state("load")
            assert await ada.page.locator("img[src=x]").count() == 0
        assert ada.complaints == []


HOSTILE_NAME = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AE"

"""The page of errors in a real browser: from a hundred failures to one cause, its tasks and one of its errors."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.processes import Server, eventually, receive
from tests.browser.conftest import HOSTILE, Open


async def fail(server: Server, *errors: str, name: str = "tag", **policy: object) -> None:
    """A task for each of the errors, which comes to it."""
    async with server.worker(f"?task={name}&_name=w1") as socket:
        await server.submit(*[{"name": name, **policy}] * len(errors))
        given = await receive(socket, len(errors))
        for task, error in zip(given, errors, strict=True):
            await socket.send(json.dumps({"task_id": task["task_id"], "result": "error", "error": error}))

        async def all_have_failed() -> bool:
            found = [await server.task(task["task_id"]) for task in (given[0], given[-1])]
            return all(task["state"] != "assigned" for task in found)

        await eventually(all_have_failed)


async def test_many_failures_are_one_line_which_leads_to_their_tasks(server: Server, viewer: Open):
    await fail(server, *(f"OSError: no space on '/srv/{number}'" for number in range(30)), "KeyError: 'account'")
    async with viewer() as ada:
        await ada.page.locator("#pages a", has_text="Errors").click()
        first = ada.page.locator("#groups .group").first
        assert await first.locator("h2").inner_text() == "OSError: no space on <text>"
        figures = (await first.locator("dl").inner_text()).split("\n")
        assert [word for word in figures if word] == [
            "errors",
            "30",
            "final",
            "30",
            "tried again",
            "0",
            "tasks failed now",
            "30",
        ]
        await first.locator("summary").press("Enter")
        await ada.until("#groups pre", "OSError: no space on '/srv/")
        await first.locator(".cures a", has_text="the tasks").click()
        await ada.page.wait_for_url("**/queueapp/task/?q=*")
        assert await ada.page.locator("#result_list tbody tr").count() == 30
        await ada.page.locator("#result_list tbody tr a").first.click()
        await ada.page.locator("#task-why .remedies a", has_text="the others that failed by this cause").click()
        await ada.until("#groups .group:target h2", "OSError: no space on <text>")
        assert ada.complaints == []


async def test_the_window_is_chosen_by_the_keyboard(server: Server, viewer: Open):
    await fail(server, "broken")
    async with viewer() as ada:
        await ada.open("/admin/errors/")
        await ada.page.locator("#windows a", has_text="of the last hour").press("Enter")
        await ada.page.wait_for_url("**/errors/?window=1h")
        label = await ada.page.locator(".trend").get_attribute("aria-label")
        assert label.endswith("0, 0, 0, 1")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light")])
async def test_hostile_errors_do_nothing_and_the_page_is_open_to_all(
    server: Server, viewer: Open, width: int, scheme: str
):
    await fail(server, f"{HOSTILE}\u0001 first\n" + "x" * 300_000, "y" * 500, "")
    async with viewer(width=width, color_scheme=scheme) as ada:
        await ada.open("/admin/errors/")
        for summary in await ada.page.locator("#groups summary").all():
            await summary.press("Enter")
        await ada.until("#groups pre", "onerror=alert(2)")
        assert await ada.page.locator("img[src=x]").count() == 0
        assert await ada.page.evaluate("document.documentElement.scrollWidth") <= width
        assert ada.complaints == []
        assert await ada.findings() == []


async def test_what_failed_lately_is_a_click_from_the_overview(server: Server, viewer: Open):
    await fail(server, "KeyError: 'account'", "KeyError: 'cloud'")
    async with viewer() as ada:
        await ada.until("#problems", "2 tasks failed in the last 5 minutes")
        await ada.page.click("#problems a:has-text('the failed')")
        await ada.page.wait_for_url("**/admin/queueapp/task/?q=*")
        assert await ada.page.locator("#result_list tbody tr").count() == 2
        assert ada.complaints == []

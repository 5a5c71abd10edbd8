"""The list of tasks in a real browser: filtered, paged through, and kept as a view."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.acceptance.processes import Server
from tests.browser.conftest import HOSTILE, Open, Viewer

TASKS = "/admin/queueapp/task/"
ROWS = "#result_list tbody tr"


async def search(page: Page, text: str) -> None:
    await page.fill("#searchbar", text)
    await page.press("#searchbar", "Escape")
    await page.press("#searchbar", "Enter")


async def test_a_filter_is_typed_and_taken_away_again(server: Server, viewer: Open):
    await server.submit(*[{"name": "tag", "attrs": {"cloud": "azure"}}] * 3, {"name": "collect"})
    async with viewer() as ada:
        await ada.open(TASKS)
        await expect(ada.page.locator(ROWS)).to_have_count(4)
        await search(ada.page, "cloud=azure state:pending")
        await expect(ada.page.locator(ROWS)).to_have_count(3)
        await expect(ada.page.locator("#chips bdi")).to_have_text(["attr.cloud:azure", "state:pending"])
        await expect(ada.page.locator("#with-all > a")).to_have_attribute(
            "href", "/admin/bulk/?filter=%7B%22attr.cloud%22%3A%22azure%22%2C%22state%22%3A%22pending%22%7D"
        )
        await ada.page.get_by_label("Without attr.cloud:azure").click()
        await expect(ada.page.locator(ROWS)).to_have_count(4)
        await ada.page.locator(".field-name a", has_text="collect").click()
        await expect(ada.page.locator("#searchbar")).to_have_value("state:pending name:collect")
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        assert ada.complaints == []


async def test_a_word_that_cannot_be_used_is_told_of_and_put_right(server: Server, viewer: Open):
    await server.submit({"name": "tag"})
    async with viewer() as ada:
        await ada.open(TASKS)
        await search(ada.page, "stat:pending")
        await expect(ada.page.get_by_role("alert")).to_contain_text("There is no filter “stat”")
        await expect(ada.page.locator(ROWS)).to_have_count(0)
        await ada.page.get_by_role("alert").get_by_role("link", name="state:pending").click()
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        assert ada.complaints == []


async def test_words_are_completed_by_the_keyboard(server: Server, viewer: Open):
    await server.submit({"name": "collect"})
    async with viewer() as ada:
        await ada.open(TASKS)
        bar = ada.page.get_by_role("combobox", name="Filter")
        offered = ada.page.get_by_role("listbox").get_by_role("option")
        await bar.focus()
        await bar.press_sequentially("st")
        await expect(offered).to_have_text(["state:pending, assigned, succeeded, failed, cancelled, expired"])
        await bar.press("ArrowDown")
        await bar.press("Enter")
        await expect(bar).to_have_value("state:")
        await bar.press_sequentially("pe")
        await bar.press("ArrowDown")
        await bar.press("Tab")
        await expect(bar).to_have_value("state:pending")
        await bar.press_sequentially(",as")
        await bar.press("ArrowUp")
        await expect(bar).to_have_attribute("aria-activedescendant", "searchbar-word-0")
        await bar.press("Enter")
        await bar.press_sequentially(" name:")
        await expect(offered).to_have_text(["name:collect"])
        await bar.press("Escape")
        await expect(ada.page.get_by_role("listbox")).to_be_hidden()
        await expect(bar).to_have_value("state:pending,assigned name:")
        await bar.press_sequentially("collect")
        await bar.press("Escape")
        await bar.press("Enter")
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        assert ada.complaints == []


async def turn(ada: Viewer, link: str) -> None:
    async with ada.page.expect_navigation(wait_until="load"):
        await ada.page.get_by_role("link", name=link).click()


async def test_pages_are_turned_forward_and_back(server: Server, viewer: Open):
    await server.submit(*[{"name": "tag", "data": {"n": n}} for n in range(120)])
    async with viewer() as ada:
        await ada.open(f"{TASKS}?q=name:tag")
        first = await ada.page.locator(".field-task_id").all_inner_texts()
        await turn(ada, "Older")
        second = await ada.page.locator(".field-task_id").all_inner_texts()
        await turn(ada, "Older")
        await expect(ada.page.locator(ROWS)).to_have_count(20)
        await expect(ada.page.get_by_role("link", name="Older")).to_have_count(0)
        await turn(ada, "Newer")
        assert await ada.page.locator(".field-task_id").all_inner_texts() == second
        await turn(ada, "Newer")
        assert await ada.page.locator(".field-task_id").all_inner_texts() == first
        assert len({*first, *second}) == 100
        assert ada.complaints == []


async def test_a_view_is_saved_opened_and_deleted(server: Server, viewer: Open):
    await server.submit({"name": "tag", "attrs": {"cloud": "azure"}}, {"name": "tag"})
    async with viewer() as ada:
        await ada.open(f"{TASKS}?q=cloud%3Dazure")
        await ada.page.get_by_text("Save as a view").click()
        await ada.page.get_by_label("Name").fill("azure's")
        await ada.page.get_by_label("for everybody").check()
        await ada.page.get_by_role("button", name="Save").click()
        await ada.until(".messagelist", "The view “azure's” was saved for everybody.")
        await ada.open(TASKS)
        await ada.page.get_by_role("navigation", name="Views").get_by_role("link", name="azure's").click()
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        await expect(ada.page.locator("#views [aria-current]")).to_have_text("azure's")
        await ada.page.get_by_label("Delete the view azure's").click()
        await ada.until(".messagelist", "The view “azure's” was deleted.")
        await expect(ada.page.get_by_role("link", name="azure's")).to_have_count(0)
        assert ada.complaints == []


async def test_selected_tasks_are_cancelled(server: Server, viewer: Open):
    await server.submit({"name": "tag"}, {"name": "tag"})
    async with viewer() as ada:
        await ada.open(TASKS)
        await ada.page.locator(f"{ROWS} input.action-select").first.check()
        await ada.page.select_option("[name=action]", "cancel")
        await ada.page.get_by_role("button", name="Go").click()
        await ada.until(".messagelist", "1 task cancelled.")
        await search(ada.page, "state:cancelled")
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        assert ada.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_others_wrote_does_nothing_and_the_page_is_open_to_all(
    server: Server, viewer: Open, scheme: str
):
    await server.submit(
        {"name": "tag", "attrs": {"note": HOSTILE}, "tags": [HOSTILE], "data": HOSTILE + "x" * 1_000_000},
        {"name": "tag", "data": {"binary": "\u0001\u007f\ufffd" * 1000}},
    )
    async with viewer(color_scheme=scheme) as ada:
        await ada.open(TASKS)
        await ada.page.locator(".field-attributes a").first.click()
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        await expect(ada.page.locator("#chips bdi")).to_contain_text("<script>alert(1)</script>")
        await ada.page.get_by_text("Save as a view").click()
        await ada.page.get_by_label("Name").fill(HOSTILE[:60])
        await ada.page.get_by_role("button", name="Save").click()
        await ada.until("#views", "<script>")
        await search(ada.page, f"stat:{HOSTILE}")
        await ada.until("[role=alert]", "There is no filter")
        assert await ada.page.locator("img[src=x]").count() == 0
        assert ada.complaints == []
        findings = await ada.findings()
        await ada.open(f"{TASKS}?q=state:pending")
        await ada.page.locator("#searchbar").press_sequentially(" a")
        await expect(ada.page.get_by_role("listbox")).to_be_visible()
        assert findings + await ada.findings() == []


async def test_a_narrow_screen_has_room_for_the_bar(server: Server, viewer: Open):
    await server.submit({"name": "a." * 99, "attrs": {"cloud": "x" * 200}})
    async with viewer(width=400) as ada:
        await ada.open(f"{TASKS}?q=cloud%3D{'x' * 200}")
        await expect(ada.page.locator(ROWS)).to_have_count(1)
        assert await ada.page.evaluate("document.documentElement.scrollWidth") <= 400
        box = await ada.page.locator("#searchbar").bounding_box()
        assert box is not None
        assert box["width"] >= 200
        assert ada.complaints == []

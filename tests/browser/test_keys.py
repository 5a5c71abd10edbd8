"""Keys in a real browser: made and shown once, revoked after a question."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from playwright.async_api import Error, expect

from tests.acceptance.processes import PATIENCE_SECONDS, Server
from tests.browser.conftest import Open, Viewer

ADD = "/admin/queueapp/apikey/add/"
RED = "rgb(186, 33, 33)"
"""Of the buttons with which the admin deletes."""


async def make(ada: Viewer) -> str:
    """A key's text."""
    await ada.open(ADD)
    await ada.page.fill("#id_name", "gcp workers")
    await ada.page.select_option("#id_role", "worker")
    await ada.page.click("[name=_save]")
    return await ada.page.locator("#key").inner_text()


async def what_is_shown(ada: Viewer) -> str:
    """Once the browser has come to rest, on a page of its own perhaps, which says that it has none."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(Error):
                return await ada.page.content()
            await asyncio.sleep(0.05)


async def test_a_key_is_shown_once_and_no_way_back_finds_it(server: Server, viewer: Open):
    async with viewer() as ada:
        text = await make(ada)
        async with server.worker("?task=tag", token=text):  # it is one
            pass
        await ada.page.click("text=The page of this key")
        await ada.until("#content", "gcp workers")
        assert text not in await ada.page.content()
        with suppress(Error):  # the browser has kept nothing that it could show
            await ada.page.go_back()
        assert text not in await what_is_shown(ada)
        assert [each for each in await ada.context.cookies() if text in each["value"]] == []


async def test_a_key_is_copied_by_a_button(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
        text = await make(ada)
        await ada.page.locator("#copy-key").press("Enter")
        await ada.until("#copied", "Copied.")
        assert await ada.page.evaluate("navigator.clipboard.readText()") == text
        assert ada.complaints == []


async def test_the_button_that_cannot_be_undone_is_red_in_its_row(server: Server, viewer: Open):
    async with viewer() as ada:
        await ada.open("/admin/queueapp/apikey/?q=test-worker")
        await ada.page.click("#result_list th a")
        await ada.page.click(".object-tools button:has-text('Revoke')")
        revoke = ada.page.locator(".submit-row [type=submit]")
        await expect(revoke).to_have_css("background-color", RED)
        await expect(ada.page.locator(".submit-row")).to_have_css("border-top-style", "solid")


async def test_revoking_says_what_it_cuts_off_and_asks(server: Server, viewer: Open):
    async with server.worker("?task=tag") as worker, viewer() as ada:
        await server.until_attached(1)
        await ada.open("/admin/queueapp/apikey/?q=test-worker")
        await ada.page.click("#result_list th a")
        await ada.page.click(".object-tools button:has-text('Revoke')")
        await ada.until("#content-main", "1 worker attached now")
        await ada.page.click("[type=submit][value='Revoke 1 key']")
        await ada.until(".messagelist", "1 API key revoked.")
        await worker.wait_closed()
        assert worker.close_code == 4401
        assert ada.complaints == []

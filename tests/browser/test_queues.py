"""A queue in a real browser: from tasks that wait to the reason, paused with a note that all can read, resumed."""

from __future__ import annotations

from tests.acceptance.processes import Server
from tests.browser.conftest import Open


async def test_a_queue_is_paused_with_a_note_and_resumed(server: Server, viewer: Open):
    await server.submit({"name": "tag"})
    async with server.worker("?task=other"), viewer() as ada:
        await ada.page.click("#pages a:has-text('Queues')")
        await ada.page.click("#result_list a:has-text('tag')")
        await ada.page.click("text=Pause …")
        await ada.page.fill("#id_note", "upstream is down")
        await ada.page.click("[type=submit][value=Pause]")
        await ada.until(".messagelist", "1 queue paused.")
        await ada.until("#content", "by ada: upstream is down")
        await ada.page.click("#pages a:has-text('Overview')")
        await ada.until("#queues", "paused by ada: upstream is down")
        await ada.page.click("#queues a:has-text('tag')")
        await ada.page.click(".object-tools button:has-text('Resume')")
        await ada.until(".messagelist", "1 queue resumed.")
        assert ada.complaints == []


async def test_its_page_says_why_things_wait_and_draws_the_last_hour(server: Server, viewer: Open):
    await server.submit(*[{"name": "tag", "attrs": {"cloud": "azure"}}] * 3)
    async with server.worker("?task=tag&cloud=aws"), viewer() as ada:
        await ada.until("#problems", "3 tasks")  # they have waited for long enough
        await ada.open("/admin/queueapp/queue/tag/change/")
        await ada.until("#queue", "no worker accepts cloud=azure")
        await ada.page.wait_for_selector("#curves canvas")
        await ada.page.click("#queue a:has-text('the first')")
        await ada.page.wait_for_url("**/admin/queueapp/task/*/change/")
        assert ada.complaints == []


async def test_an_old_page_undoes_nothing_that_others_did(server: Server, viewer: Open):
    await server.submit({"name": "tag"})
    async with viewer() as ada, viewer() as grace:
        await ada.open("/admin/queueapp/queue/tag/change/")
        await grace.open("/admin/queueapp/queue/tag/pause/")
        await grace.page.fill("#id_note", "upstream is down\nuntil noon")
        await grace.page.click("[type=submit][value=Pause]")
        await grace.until(".messagelist", "1 queue paused.")
        await ada.page.fill("#id_max_attempts", "9")
        await ada.page.click("[name=_continue]")
        await ada.until(".messagelist", "changed successfully")
        assert await ada.page.input_value("#id_note") == "upstream is down\nuntil noon"
        await grace.page.fill("#id_note", "until evening")
        await grace.page.click("[name=_continue]")
        await grace.until(".messagelist", "changed successfully")
        await ada.page.fill("#id_note", "until midnight")
        await ada.page.click("[name=_continue]")
        await ada.until(".errorlist", "Changed meanwhile: it is until evening now.")
        assert ada.complaints == []


async def test_the_note_stands_apart_from_the_choice_of_an_action(server: Server, viewer: Open):
    await server.submit({"name": "tag"})
    async with viewer() as ada:
        await ada.open("/admin/queueapp/queue/")
        choice = await ada.page.locator(".actions select[name=action]").bounding_box()
        note = await ada.page.locator(".actions label", has_text="Note:").bounding_box()
        assert choice is not None
        assert note is not None
        assert note["x"] >= choice["x"] + choice["width"] + 8

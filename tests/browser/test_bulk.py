"""Bulk in a real browser: a filter is previewed, confirmed, watched and stopped."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.acceptance.locks import held, until_waited_for
from tests.acceptance.processes import Server
from tests.browser.conftest import HOSTILE, Open

MANY = 6000


def bulk(**parameters: str) -> str:
    return f"/admin/bulk/?{urlencode(parameters)}"


async def submit_many(server: Server) -> list[str]:
    """Their ids, in the order in which an operation comes to them."""
    return sorted(await server.submit(*[{"name": "tag", "attrs": {"cloud": "azure"}}] * MANY))


async def test_a_filter_is_previewed_confirmed_and_carried_out(server: Server, viewer: Open):
    await server.submit(*[{"name": "tag"}] * 12, {"name": "other"})
    async with viewer() as ada:
        await ada.page.click("#pages a:has-text('Bulk')")
        await ada.page.fill("#bulk-name", "tag")
        await ada.page.check("[name=action][value=prioritise]")
        await ada.page.fill("[name=priority]", "7")
        await ada.page.click("text=Preview")
        await ada.until("#bulk-count", "12 tasks would be changed now: tasks with name tag")
        assert await ada.page.locator("#bulk-preview tbody tr").count() == 10
        await ada.page.click("#bulk-confirm button")
        await ada.page.wait_for_url("**/admin/queueapp/operation/*/change/")
        await ada.until(".operation", "done: 12 of 12")
        await ada.until(".field-does", "prioritise to 7")
        assert sorted(task["priority"] for task in await server.tasks()) == [0] + [7] * 12
        await ada.page.click("#pages a:has-text('Audit log')")
        await ada.until("#result_list", "prioritise")
        assert ada.complaints == []


async def test_an_operation_is_stopped_half_way(server: Server, viewer: Open):
    """It stands still at a task that somebody holds until it is stopped."""
    ids = await submit_many(server)
    with held(server, ids[MANY // 2]) as holder:
        async with viewer() as ada:
            await ada.open(bulk(action="cancel", name="tag"))
            await ada.page.click("#bulk-confirm button")
            await ada.page.wait_for_url("**/admin/queueapp/operation/*/change/")
            await ada.until(".operation", f"of {MANY:,}")
            await until_waited_for(holder)
            await ada.page.click("button:has-text('Stop')")
            await ada.until(".messagelist", "stopped.")
            await ada.until(".operation", f"of {MANY:,}")
            said = await ada.page.locator(".operation [role=status]").inner_text()
            assert said.startswith("stopped: ")
            assert await ada.page.locator("button:has-text('Stop')").count() == 0
            assert ada.complaints == []
    assert len(await server.tasks(state="pending")) >= MANY // 2


async def test_the_page_says_by_itself_that_an_operation_has_ended(server: Server, viewer: Open):
    await submit_many(server)
    async with viewer() as ada:
        await ada.open(bulk(action="prioritise", priority="1", name="tag"))
        await ada.page.click("#bulk-confirm button")
        await ada.page.wait_for_url("**/admin/queueapp/operation/*/change/")
        await ada.page.evaluate("window.notReloaded = true")
        await ada.until(".operation", f"done: {MANY:,} of {MANY:,}")
        assert await ada.page.evaluate("window.notReloaded")
        bar = ada.page.locator("progress")
        assert await bar.evaluate("bar => bar.value === bar.max && bar.max") == MANY
        assert ada.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
async def test_the_pages_are_open_to_all_at_any_width(server: Server, viewer: Open, scheme: str, width: int):
    hostile = [
        {"name": "a." * 99, "attrs": {"note": HOSTILE}, "data": HOSTILE},
        {"name": "tag", "data": "x" * 1_000_000, "attrs": {"cloud": "x" * 200}},
    ]
    await server.submit(*hostile)
    async with viewer(width=width, color_scheme=scheme) as ada:
        filters = ({"all": True}, {"attr.note": HOSTILE}, {HOSTILE: HOSTILE})
        addresses = ["/admin/bulk/", *(bulk(action="cancel", filter=json.dumps(each)) for each in filters)]
        await ada.open(bulk(action="cancel", filter=json.dumps({"attr.note": HOSTILE})))
        await ada.page.click("#bulk-confirm button")
        await ada.page.wait_for_url("**/admin/queueapp/operation/*/change/")
        addresses += [ada.page.url.partition(str(server.port))[2], "/admin/queueapp/auditentry/"]
        await ada.open("/admin/queueapp/auditentry/")
        addresses += [str(await ada.page.locator("#result_list th a").first.get_attribute("href"))]
        findings, complaints = {}, []
        for address in (*addresses, "/admin/queueapp/operation/"):
            await ada.open(address)
            await ada.page.wait_for_load_state("load")
            assert await ada.page.locator("img[src=x]").count() == 0
            assert await ada.page.evaluate("document.documentElement.scrollWidth") <= width, address
            complaints += ada.complaints
            findings[address] = await ada.findings()
            ada.complaints.clear()  # what axe-core itself does to the page breaks the policy
        assert complaints == []
        assert {address: found for address, found in findings.items() if found} == {}

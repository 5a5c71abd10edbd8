"""Coverage, the sandbox and the impact of a drain in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from tests.acceptance.processes import Server, receive
from tests.browser.conftest import HOSTILE, WORKERS, Open, choose_workers

COVERAGE, SANDBOX = "/admin/coverage/", "/admin/sandbox/"


@asynccontextmanager
async def fleet(server: Server) -> AsyncIterator[None]:
    """One that serves aws, one that serves an account of it, and one whose name nobody asks for."""
    async with (
        server.worker("?task=tag&cloud=aws,gcp&_name=wide&_version=1.4&_max_outstanding=2"),
        server.worker("?task=tag&cloud=aws&account=123&_name=narrow&_version=1.5&_max_outstanding=1") as narrow,
        server.worker("?task=colect&_name=astray"),
    ):
        await server.until_attached(3)
        await server.submit(
            *[{"name": "tag", "attrs": {"cloud": "aws", "account": "123"}}] * 15,
            *[{"name": "tag", "attrs": {"cloud": "azure"}}] * 12,
            {"name": "collect"},
        )
        await receive(narrow)  # what it holds does not wait
        yield


async def test_what_a_drain_would_do_is_said_before_it_is_done(server: Server, viewer: Open):
    async with fleet(server), viewer() as ada:
        await choose_workers(ada, "drain", "narrow", "wide")
        await ada.until("#impact", "14 waiting tasks have no other worker.")
        await ada.until("#impact", "which may be finished")
        await ada.page.click("#impact a.cancel-link")
        await ada.page.wait_for_url(f"**{WORKERS}")
        assert await ada.page.locator(".field-state", has_text="draining").count() == 0
        await choose_workers(ada, "drain", "narrow")
        await ada.page.click("#impact input[type=submit]")
        await ada.until(".messagelist", "1 worker session told to drain.")
        await ada.page.locator("#result_list a", has_text="narrow").click()
        await ada.until(".field-standing", "it can be resumed")
        await ada.page.click("button:text-is('Resume')")
        await ada.until(".messagelist", "1 worker session resumed.")
        assert ada.complaints == []


async def test_coverage_says_what_has_no_worker_and_leads_there(server: Server, viewer: Open):
    async with fleet(server), viewer() as ada:
        await ada.page.click("#pages a:text-is('Coverage')")
        await ada.until(".wrong", "No worker accepts cloud=azure for “tag”: 12 tasks wait.")
        await ada.until(".wrong", "no worker offers collect: did you mean colect?")
        await ada.until("#shadows-title ~ ul", "wide")
        await ada.page.fill("#name", "tag")
        await ada.page.press("#name", "Enter")
        await ada.page.wait_for_url("**/coverage/?name=tag")
        await ada.page.locator("tr", has_text="azure").get_by_text("sandbox").click()
        await ada.until("#summary", "It would wait: no worker matches")
        assert await ada.page.input_value("#attrs") == "cloud=azure"
        assert ada.complaints == []


async def test_the_sandbox_says_who_would_get_a_task(server: Server, viewer: Open):
    async with fleet(server), viewer() as ada:
        await ada.page.click("#pages a:text-is('Sandbox')")
        await ada.page.fill("#name", "tag")
        await ada.page.fill("#attrs", "clod=gcp")
        await ada.page.click("form.fields [type=submit]")
        await ada.until(".perhaps", "did you mean cloud?")
        await ada.page.get_by_text("Try it.").click()
        await ada.until("#answer-title ~ p", "wide")
        address = ada.page.url
        await ada.page.goto(address)  # as whoever is given it would
        await ada.until("#summary", "worker wide would be taken")
        await ada.page.locator("#answer-title ~ p a", has_text="wide").click()
        await ada.until(".field-name", "wide")
        assert ada.complaints == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
async def test_all_of_it_is_open_to_all_on_every_screen(server: Server, viewer: Open, scheme: str, width: int):
    async with fleet(server), viewer(color_scheme=scheme, width=width) as ada:
        findings, complaints = {}, []
        for path in (
            COVERAGE,
            f"{SANDBOX}?name=tag&attrs=cloud%3Daws",
            f"{SANDBOX}?name=a%20b",
            "impact",
            "worker",
        ):
            if path == "impact":
                await choose_workers(ada, "disconnect", "narrow")
            elif path == "worker":
                await ada.open(WORKERS)
                await ada.page.locator("#result_list a", has_text="narrow").click()
                await ada.until(".field-standing", "online")
            else:
                await ada.open(path)
            await ada.page.wait_for_load_state("load")
            complaints += ada.complaints
            if path != "worker":  # a table of what it offers, in the stock admin's own way
                assert await ada.page.evaluate("document.documentElement.scrollWidth") <= width, path
            findings[path] = await ada.findings()
            ada.complaints.clear()  # what axe-core itself does to the page breaks the policy
        assert complaints == []
        assert {path: found for path, found in findings.items() if found} == {}


async def test_hostile_names_and_values_do_nothing(server: Server, viewer: Open):
    await server.submit(
        {"name": "tag", "attrs": {"cloud": HOSTILE, HOSTILE: "x" * 1000}, "data": HOSTILE + "x" * 1_000_000}
    )
    query = f"?task=tag&cloud={quote(HOSTILE)}&_name={quote(HOSTILE)}&_max_outstanding=1"
    async with server.worker(query), viewer() as ada:
        await server.until_attached(1)
        address = f"{SANDBOX}?name=tag&attrs={quote(f'cloud={HOSTILE}')}"
        for path in (COVERAGE, f"{COVERAGE}?name={quote(HOSTILE)}", address, WORKERS):
            await ada.open(path)
            await ada.page.wait_for_load_state("load")
            assert await ada.page.locator("img[src=x]").count() == 0
        await choose_workers(ada, "drain", "<script>")
        await ada.until("#impact", "<script>alert(1)</script>")
        assert await ada.page.locator("img[src=x]").count() == 0
        assert ada.complaints == []

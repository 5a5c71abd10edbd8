"""A real browser on a real server: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.acceptance.processes import Server, backing, started_copy

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 150_000
"""A page is fetched again a minute later if a fetch took three seconds: `atMostEvery` in live.js."""
expect.set_options(timeout=PATIENCE_MS)
PASSWORD = "for-tests-only"
WORKERS = "/admin/queueapp/workersession/"
LOG_IN = """
from django.contrib.auth import get_user_model
from django.test import Client
client = Client()
client.force_login(get_user_model().objects.get(username="ada"))
print(client.cookies["sessionid"].value)
"""
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e'\"&"
"""What an enemy would have the API take, in names, attributes and tags. In texts control characters come to it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They share an event loop, and so a browser, which takes seconds to start. Without one they are skipped, but
    never where a change is checked before it is taken."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    if CHROMIUM is None and not os.environ.get("NEED_BROWSER"):
        for item in here:
            item.add_marker(pytest.mark.skip(reason="no Chromium is installed here (apt-get install chromium)"))


class Viewer:
    """A logged-in operator's window, with what the browser complained of."""

    def __init__(self, server: Server, context: BrowserContext, page: Page) -> None:
        self.server, self.context, self.page = server, context, page
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} {message.location}")

    async def open(self, path: str) -> None:
        await self.page.goto(f"http://127.0.0.1:{self.server.port}{path}")

    async def log_in(self) -> None:
        """By the session that was prepared: to derive a key from a password takes the server half a second."""
        address = f"http://127.0.0.1:{self.server.port}"
        await self.context.add_cookies([{"name": "sessionid", "value": self.server.keys["ada"], "url": address}])
        await self.open("/admin/")

    async def is_live(self) -> None:
        await self.until("#overview-state", "Live")

    async def until(self, selector: str, text: str) -> None:
        """The element says so, at some time."""
        await self.page.locator(selector, has_text=text).first.wait_for(timeout=PATIENCE_MS)

    async def figure(self, label: str) -> str:
        return await self.page.locator("#figures > div", has_text=label).locator("dd").inner_text()

    async def findings(self) -> list[str]:
        """What axe-core finds that is serious for somebody who cannot see, hear or use a mouse. It is evaluated by
        the browser's own tools, which no policy of the page forbids."""
        await self.page.evaluate(AXE)
        found = await self.page.evaluate("axe.run()")
        return [
            f"{each['id']}: {each['help']} {[node['html'][:120] for node in each['nodes'][:3]]}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
        ]


@pytest.fixture(scope="session")
def prepared_with_operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is never started, with keys and an operator `ada`, to be copied."""
    with backing() as environment:
        server = Server(tmp_path_factory.mktemp("browser"), DJANGO_SUPERUSER_PASSWORD=PASSWORD, **environment)
        server.prepare()
        server.manage("createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.com")
        server.keys["ada"] = server.manage("shell", "-v", "0", "-c", LOG_IN).strip()
        yield server


@pytest.fixture
def server(prepared_with_operator: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared_with_operator, tmp_path) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Without its sandbox, which root may not use: what it opens are our own pages.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


Open = Callable[..., Any]


@pytest.fixture
def viewer(server: Server, browser: Browser) -> Open:
    """`async with viewer(width=400, color_scheme="dark") as ada:`"""

    @asynccontextmanager
    async def opened(width: int = 1280, **options: Any) -> AsyncIterator[Viewer]:
        context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
        try:
            ada = Viewer(server, context, await context.new_page())
            await ada.log_in()
            yield ada
        finally:
            await context.close()

    return opened


async def choose_workers(ada: Viewer, action: str, *names: str) -> None:
    """In their list, and the action, which asks before it does anything."""
    await ada.open(WORKERS)
    for name in names:
        await ada.page.locator("#result_list tr", has_text=name).locator("input.action-select").check()
    await ada.page.select_option("select[name=action]", action)
    await ada.page.click("button[name=index]")
    await ada.until("#impact h2", "What would happen")


@asynccontextmanager
async def working(server: Server, query: str) -> AsyncIterator[None]:
    """A worker that does what it is given."""
    async with server.worker(query) as socket:

        async def work() -> None:
            async for frame in socket:
                task = json.loads(frame)
                await socket.send(json.dumps({"task_id": task["task_id"], "result": "done"}))

        busy = asyncio.create_task(work())
        try:
            yield
        finally:
            busy.cancel()

"""The pictures in the docs, taken of every page by `make screenshots`, for people to look at."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.urls import NoReverseMatch, reverse
from playwright.async_api import Browser

from tests.acceptance.processes import Server, copied
from tests.browser.conftest import Viewer

pytestmark = pytest.mark.skipif(
    not os.environ.get("SCREENSHOTS"), reason="pictures for the docs: make screenshots"
)

IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
LARGEST_BYTES = 150_000
WIDTH, HEIGHT = 1280, 800
NARROW = 400

WORKERS = (
    *(
        f"?task=tag,collect&cloud=aws&_name=aws-eu-{number}&_version=2.4.1&_max_outstanding=25"
        for number in (1, 2, 3)
    ),
    *(
        f"?task=tag,collect&cloud=gcp&_name=gcp-us-{number}&_version=2.4.1&_max_outstanding=10"
        for number in (1, 2)
    ),
    "?task=tag&_name=anything-1&_version=2.3.0&_max_outstanding=4&cloud=aws,gcp,oci",
    "?task=report.render&_name=render-4&_version=2.4.1&_max_outstanding=2",
)

PAGES: dict[str, tuple[str, str | None]] = {
    "tasks": ("queueapp_task_changelist", None),
    "task": ("queueapp_task_change", "task"),
    "errors": ("errors", None),
    "operations": ("queueapp_operation_changelist", None),
    "workers": ("queueapp_workersession_changelist", None),
    "worker": ("queueapp_workersession_change", "worker"),
    "coverage": ("coverage", None),
    "sandbox": ("sandbox", None),
    "queues": ("queueapp_queue_changelist", None),
    "queue": ("queueapp_queue_change", "queue"),
    "queue-pause": ("queueapp_queue_pause", "queue"),
    "keys": ("queueapp_apikey_changelist", None),
    "key": ("queueapp_apikey_change", "apikey"),
    "key-new": ("queueapp_apikey_add", None),
    "callbacks": ("queueapp_delivery_changelist", None),
    "callback": ("queueapp_delivery_change", "delivery"),
}
"""The picture, and the page: its name, and of which row. A page that this version does not have is left out."""


@pytest.fixture
def demo(prepared_with_operator: Server, tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    with copied(prepared_with_operator, tmp_path) as server:
        said = server.manage("shell", "-v", "0", "-c", "from tests.browser.demo_rows import make; make()")
        server.start()
        yield server, json.loads(said.strip().splitlines()[-1])


@asynccontextmanager
async def at_work(server: Server) -> AsyncIterator[None]:
    """A fleet that holds some tasks, and waits for others in vain."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(server.worker(query)) for query in WORKERS]
        await server.submit(
            *[{"name": "tag", "attrs": {"cloud": "aws", "account": "12"}, "timeout": 3600}] * 44,
            *[{"name": "tag", "attrs": {"cloud": "gcp", "account": "9"}, "timeout": 3600}] * 9,
            *[{"name": "report.render", "attrs": {"format": "pdf"}, "timeout": 3600}] * 3,
        )
        task = json.loads(await sockets[-1].recv())
        progress = {"kind": "progress", "task_id": task["task_id"], "progress": 0.62, "message": "page 132 of 214"}
        await sockets[-1].send(json.dumps(progress))
        yield


def address_of(name: str, row: str | None, rows: dict[str, str]) -> str | None:
    try:
        return reverse(f"admin:{name}", args=[] if row is None else [rows[row]])
    except NoReverseMatch:
        return None


async def test_pictures_of_every_page(demo: tuple[Server, dict[str, str]], browser: Browser) -> None:
    server, rows = demo
    async with at_work(server):
        (busiest, *_) = sorted(await server.workers(), key=lambda worker: -worker["outstanding"])
        rows |= {"queue": "tag", "worker": busiest["id"]}
        addresses = {picture: address_of(*page, rows) for picture, page in PAGES.items()}
        async with logged_in(server, browser) as ada:
            await of_the_overview(ada, "overview")
            for picture, address in addresses.items():
                if address is not None:
                    await of_a_page(ada, picture, address)
            await of_a_new_key(ada)
            await of_a_confirmation(ada, rows["apikey"])
        for suffix, options in (("-dark", {"color_scheme": "dark"}), ("-narrow", {"width": NARROW})):
            async with logged_in(server, browser, **options) as ada:
                await of_the_overview(ada, f"overview{suffix}")
                await of_a_page(ada, f"task{suffix}", addresses["task"] or "")


@asynccontextmanager
async def logged_in(server: Server, browser: Browser, width: int = WIDTH, **options: Any) -> AsyncIterator[Viewer]:
    context = await browser.new_context(viewport={"width": width, "height": HEIGHT}, **options)
    ada = Viewer(server, context, await context.new_page())
    await ada.log_in()
    yield ada
    await context.close()


async def of_the_overview(ada: Viewer, picture: str) -> None:
    await ada.is_live()
    await ada.until("#problems", "no worker accepts cloud=azure")
    await ada.page.wait_for_selector("#curves path", state="attached")
    await taken(ada, picture)


async def of_a_page(ada: Viewer, picture: str, address: str) -> None:
    await ada.open(address)
    await ada.page.wait_for_load_state("networkidle")
    await taken(ada, picture)


async def of_a_new_key(ada: Viewer) -> None:
    await ada.open(reverse("admin:queueapp_apikey_add"))
    await ada.page.fill("#id_name", "gcp workers")
    await ada.page.select_option("#id_role", "worker")
    await ada.page.click("[name=_save]")
    await ada.until("#content-main", "shown this once")
    await taken(ada, "key-made")


async def of_a_confirmation(ada: Viewer, key: str) -> None:
    await ada.open(reverse("admin:queueapp_apikey_change", args=[key]))
    await ada.page.click(".object-tools button")
    await ada.until("#content-main", "no good for ever")
    await taken(ada, "key-revoke")


async def taken(ada: Viewer, picture: str) -> None:
    path = IMAGES / f"{picture}.png"
    await ada.page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size < LARGEST_BYTES

"""The pictures in the docs, taken of every page by `make screenshots`, for people to look at."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.async_api import Browser

from tests.acceptance.processes import Server, copied
from tests.browser.conftest import Viewer, choose_workers
from tests.browser.png import smaller

pytestmark = pytest.mark.skipif(
    not os.environ.get("SCREENSHOTS"), reason="pictures for the docs: make screenshots"
)

IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
LARGEST_BYTES = 150_000
WIDTH, HEIGHT = 1280, 800
TALLEST, MARGIN = 1300, 24

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

PAGES: dict[str, tuple[str, str | None, str]] = {
    "task-waiting": ("queueapp_task_change", "waiting", ""),
    "task-failed": ("queueapp_task_change", "failed", ""),
    "workers": ("queueapp_workersession_changelist", None, ""),
    "coverage": ("coverage", None, ""),
    "sandbox": ("sandbox", None, "?name=tag&attrs=cloud%3Daws%0Aaccount%3D12"),
    "queues": ("queueapp_queue_changelist", None, ""),
    "queue": ("queueapp_queue_change", "queue", ""),
    "queue-pause": ("queueapp_queue_pause", "queue", ""),
    "key": ("queueapp_apikey_change", "apikey", ""),
    "callbacks": ("queueapp_delivery_changelist", None, ""),
}
"""The picture, and the page: its name, of which row, with which query."""

NO_SIDEBAR = 'localStorage.setItem("django.admin.navSidebarIsOpen", "false")'
"""It repeats the navigation, on a fifth of each picture."""

CUT_OFF = """() => [...document.querySelectorAll(".results, .table, .inline-group .tabular")]
    .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.innerText.slice(0, 200))"""
"""Tables that would have to be scrolled sideways."""


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
        await server.until_attached(len(WORKERS))
        await server.submit(
            *[{"name": "tag", "attrs": {"cloud": "aws", "account": "12"}, "timeout": 3600}] * 44,
            *[{"name": "tag", "attrs": {"cloud": "gcp", "account": "9"}, "timeout": 3600}] * 9,
            *[{"name": "report.render", "attrs": {"format": "pdf"}, "timeout": 3600}] * 3,
        )
        task = json.loads(await sockets[-1].recv())
        progress = {"kind": "progress", "task_id": task["task_id"], "progress": 0.62, "message": "page 132 of 214"}
        await sockets[-1].send(json.dumps(progress))
        yield


async def test_pictures_of_every_page(demo: tuple[Server, dict[str, str]], browser: Browser) -> None:
    server, rows = demo
    rows["queue"] = "tag"
    async with at_work(server):
        async with logged_in(server, browser, color_scheme="dark") as ada:
            await of_the_overview(ada, "overview-dark")
        async with logged_in(server, browser) as ada:
            await of_the_overview(ada, "overview")
            for picture, (name, row, query) in PAGES.items():
                address = reverse(f"admin:{name}", args=[] if row is None else [rows[row]])
                await ada.open(address + query)
                await ada.page.wait_for_load_state("networkidle")
                await taken(ada, picture, tallest=HEIGHT if picture == "key" else TALLEST)
            await of_a_filter(ada)
            await of_errors(ada)
            await of_a_drain(ada)
            await of_a_new_key(ada)
            await of_a_confirmation(ada, rows["apikey"])
            await of_an_operation(ada)  # last: it changes what the others show
    # Not before: it takes seconds, in which workers would answer no ping.
    for path in IMAGES.iterdir():
        if path.stat().st_size >= LARGEST_BYTES:
            path.write_bytes(smaller(path.read_bytes()))
            assert path.stat().st_size < LARGEST_BYTES, path.name


@asynccontextmanager
async def logged_in(server: Server, browser: Browser, **options: Any) -> AsyncIterator[Viewer]:
    context = await browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, **options)
    await context.add_init_script(NO_SIDEBAR)
    ada = Viewer(server, context, await context.new_page())
    await ada.log_in()
    yield ada
    await context.close()


async def of_the_overview(ada: Viewer, picture: str) -> None:
    await ada.is_live()
    await ada.until("#problems", "no worker accepts cloud=azure")
    await ada.page.wait_for_selector("#curves canvas")
    await taken(ada, picture, "#overview")


async def of_a_filter(ada: Viewer) -> None:
    await ada.open(reverse("admin:queueapp_task_changelist") + "?q=name:tag+state:pending,failed")
    await ada.page.focus("#searchbar")
    await ada.page.keyboard.press("End")
    await ada.page.keyboard.type(" a")
    await ada.until("#searchbar-words", "attr.")
    await taken(ada, "tasks", tallest=HEIGHT)


async def of_errors(ada: Viewer) -> None:
    await ada.open(reverse("admin:errors") + "?window=1h")
    await ada.page.locator("#groups summary").first.click()
    await taken(ada, "errors")


async def of_a_drain(ada: Viewer) -> None:
    await choose_workers(ada, "drain", "gcp-us-1", "gcp-us-2")
    await taken(ada, "impact")


async def of_an_operation(ada: Viewer) -> None:
    await ada.open(reverse("admin:bulk") + "?action=cancel&name=tag&attr.cloud=azure")
    await ada.until("#bulk-count", "243 tasks")
    await taken(ada, "bulk")
    await ada.page.click("#bulk-confirm button")
    await ada.page.wait_for_url("**/admin/queueapp/operation/*/change/")
    await ada.until(".operation", "done: 243 of 243")
    await taken(ada, "operation")
    await ada.open(reverse("admin:queueapp_auditentry_changelist"))
    await taken(ada, "audit")


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


async def taken(ada: Viewer, picture: str, part: str = "#content", tallest: int = TALLEST) -> None:
    """From the top of the page to the end of the part, or as much of it as anybody would look at."""
    assert await ada.page.evaluate(CUT_OFF) == [], picture
    await ada.page.mouse.move(0, 0)
    box = await ada.page.locator(part).bounding_box()
    assert box is not None
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": min(box["y"] + box["height"] + MARGIN, tallest)}
    path = IMAGES / f"{picture}.png"
    await ada.page.screenshot(path=path, animations="disabled", full_page=True, clip=clip)

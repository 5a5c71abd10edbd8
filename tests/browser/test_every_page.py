"""Every page of the site, with rows of an enemy's: it runs nothing, breaks no policy, fits a narrow screen, and is
open to those who cannot see, hear or use a mouse. Pages that are added to the site come under it by themselves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote as url_quote

import pytest
import pytest_asyncio
from django.contrib.admin.utils import quote
from django.urls import reverse
from playwright.async_api import Browser

from queueapp.site import NAVIGATION
from tests.acceptance.processes import Server, copied
from tests.browser.conftest import Viewer
from tests.browser.hostile_rows import BINARY, HOSTILE, registered

NARROW = 400
NAMED = [name for _, name, _ in NAVIGATION]
LISTS = [f"{model._meta.app_label}_{model._meta.model_name}_changelist" for model in registered()]
OTHERS = ("queueapp_apikey_add", "queueapp_queue_pause", "password_change")
PAGES = list(dict.fromkeys([*NAMED, *LISTS, *OTHERS]))
ROWS = [model._meta.label_lower for model in registered()]
WITH_A_QUEUES_KEY = ("queueapp_queue_pause",)

NOT_OURS = ("auth.user", "auth.group")
"""Forms of Django's: axe-core finds widgets for dates and permissions without labels in them."""

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""

STOPS = """[...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
    .filter((each) => each.type !== "hidden" && !each.disabled)"""
"""What a mouse can use."""

UNREACHABLE = f"() => {STOPS}.filter((each) => each.tabIndex < 0).map((each) => each.outerHTML.slice(0, 120))"
"""What the Tab key passes by."""

UNSEEN = f"""
() => {{
    const looks = (element) => {{
        const style = getComputedStyle(element);
        const outline = style.outlineStyle !== "none" && style.outlineWidth !== "0px" ? style.outline : "";
        return [outline, style.boxShadow, style.borderColor, style.backgroundColor, style.color,
            style.textDecorationLine].join();
    }};
    return {STOPS}.filter((each) => {{
        each.blur();
        const before = looks(each);
        each.focus({{ focusVisible: true }});
        const isUnseen = document.activeElement === each && looks(each) === before;
        each.blur();
        return isUnseen;
    }}).map((each) => each.outerHTML.slice(0, 120));
}}
"""
"""What looks the same with the focus as without."""

TOO_WIDE = f"""
() => {{
    const width = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
    if (width <= {NARROW}) return [];
    const widest = [...document.querySelectorAll("body *")].filter((each) => {{
        const sticksOut = (element) => element.getBoundingClientRect().right > {NARROW};
        return sticksOut(each) && ![...each.children].some(sticksOut);
    }});
    return [`${{width}} px`, ...widest.slice(0, 3).map((each) => each.outerHTML.slice(0, 120))];
}}
"""
"""Why the page has to be scrolled sideways."""


@pytest.fixture(scope="module")
def hostile(
    prepared_with_operator: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server, and the key of a row of each model."""
    with copied(prepared_with_operator, tmp_path_factory.mktemp("hostile")) as server:
        # Before it starts: it would let go of the workers of the process that the rows speak of.
        said = server.manage("shell", "-v", "0", "-c", "from tests.browser.hostile_rows import make; make()")
        server.start()
        yield server, json.loads(said.strip().splitlines()[-1])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ada(hostile: tuple[Server, dict[str, str]], browser: Browser) -> AsyncIterator[Viewer]:
    """A logged-in operator, while a worker with a name of the enemy's is attached."""
    server, _ = hostile
    name = url_quote(HOSTILE.replace(BINARY, ""))
    async with server.worker(f"?task=tag,other&_name={name}&_version={name}&cloud={'x' * 150}"):
        await server.until_attached(1)
        context = await browser.new_context(viewport={"width": 1280, "height": 900})
        await context.add_init_script(WATCH)
        viewer = Viewer(server, context, await context.new_page())
        await viewer.log_in()
        yield viewer
        await context.close()


@pytest.mark.parametrize("name", PAGES)
async def test_of_the_site(ada: Viewer, name: str) -> None:
    arguments = ["tag"] if name in WITH_A_QUEUES_KEY else []
    await is_sound(ada, reverse(f"admin:{name}", args=arguments))


@pytest.mark.parametrize("label", ROWS)
async def test_of_a_row(ada: Viewer, hostile: tuple[Server, dict[str, str]], label: str) -> None:
    key = hostile[1][label]
    address = reverse(f"admin:{label.replace('.', '_')}_change", args=[quote(key)])
    await is_sound(ada, address, with_axe=label not in NOT_OURS)


async def is_sound(ada: Viewer, address: str, with_axe: bool = True) -> None:
    page = ada.page
    ada.complaints.clear()
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1280, "height": 900})
    await ada.open(address)
    await page.wait_for_load_state("load")
    faults = {"first stop of the keyboard": await first_stop_but_the_skip_link(ada)}
    faults["navigation"] = [] if await page.locator("#pages a").count() == len(NAVIGATION) else ["is not there"]
    if address == reverse("admin:index"):
        await ada.is_live()
    faults["images"] = await page.locator("img[src=x]").evaluate_all("all => all.map(each => each.outerHTML)")
    faults["unreachable by keyboard"] = await page.evaluate(UNREACHABLE)
    faults["focus unseen"] = await page.evaluate(UNSEEN)
    faults["violations"] = await page.evaluate("window.violations")
    await page.set_viewport_size({"width": NARROW, "height": 900})
    faults["too wide"] = await page.evaluate(TOO_WIDE)
    faults["complaints"] = list(ada.complaints)
    if with_axe:  # last, for what it does to the page breaks the policy
        faults["axe, light and narrow"] = await ada.findings()
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.emulate_media(color_scheme="dark")
        await page.evaluate("Promise.all(document.getAnimations().map((each) => each.finished))")
        faults["axe, dark"] = await ada.findings()
    told = [f"{what}: {each}" for what, found in faults.items() for each in found]
    assert told == [], "\n".join(told)


async def first_stop_but_the_skip_link(ada: Viewer) -> list[str]:
    """The first stop of the Tab key leads past the navigation, unless the page has put the focus there itself."""
    if await ada.page.evaluate("document.activeElement !== document.body"):
        return []
    await ada.page.keyboard.press("Tab")
    first = await ada.page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
    return [] if "skip-to-content" in first else [first]

"""The curves of the overview in a real browser: for who sees them, in both themes, and for who does not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from tests.acceptance.processes import Server
from tests.browser.conftest import Open, Viewer
from tests.browser.curve_rows import STEP_SECONDS

STEP = timedelta(seconds=STEP_SECONDS)

BEFORE_THE_GAP, IN_THE_GAP, AFTER_THE_GAP = (1 - minutes / 60 for minutes in (35, 27.5, 10))
"""Shares of the hour that is shown at first."""

LIGHT, DARK = "#1f6feb", "#79b8ff"
"""The colour of a curve's first line, in each theme."""

COLOURS = """(canvas, share) => {
    const plot = canvas.parentElement.querySelector(".u-over").getBoundingClientRect();
    const x = Math.round(plot.left - canvas.getBoundingClientRect().left + share * plot.width);
    const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(x, 0, 1, canvas.height);
    const hex = (at) => [...data.slice(at, at + 3)].map((each) => each.toString(16).padStart(2, "0")).join("");
    return [...Array(canvas.height).keys()].filter((y) => data[4 * y + 3] === 255).map((y) => `#${hex(4 * y)}`);
}"""
"""What is drawn on the canvas at this share of its time, from the top down."""

CURSOR = """(curve) => {
    const plot = curve.querySelector(".u-over").getBoundingClientRect();
    return (curve.querySelector(".u-cursor-x").getBoundingClientRect().left - plot.left) / plot.width;
}"""

AT_THE_END = "(curve) => curve.ariaValueNow === curve.ariaValueMax"

DRAWN_IN = f"""([canvas, share, colour]) => ({COLOURS})(canvas, share).includes(colour)"""


class Curves:
    """Those of the overview that a viewer looks at, of an hour whose course is known."""

    def __init__(self, ada: Viewer) -> None:
        self.ada, self.page = ada, ada.page
        self.first = self.page.get_by_role("slider", name="Tasks a second", exact=True)
        self.canvas = self.first.locator("canvas")
        self.legend = self.page.locator("#curves figure").first.locator(".legend")

    async def said(self) -> str:
        """What a screen reader says of the first one when its cursor moves."""
        return await self.first.get_attribute("aria-valuetext") or ""

    async def moment(self) -> datetime:
        """Of which all of them speak."""
        said = "all => all.map((each) => each.getAttribute('aria-valuetext').slice(0, 8))"
        moments = await self.page.locator("#curves").get_by_role("slider").evaluate_all(said)
        assert moments == [moments[0]] * 4
        return datetime.strptime(moments[0], "%H:%M:%S")

    async def cursor(self) -> float:
        """The share of the time where it stands."""
        share: float = await self.first.evaluate(CURSOR)
        return share

    async def colours(self, share: float) -> list[str]:
        found: list[str] = await self.canvas.evaluate(COLOURS, share)
        return found

    async def next_frame(self) -> None:
        """What the page does by itself is done; new values, which are drawn too, hardly ever come so soon."""
        await self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def are_drawn_in(self, colour: str, share: float = AFTER_THE_GAP) -> None:
        canvas = await self.canvas.element_handle()
        await self.page.wait_for_function(DRAWN_IN, arg=[canvas, share, colour])

    async def hover(self, share: float) -> None:
        box = await self.first.locator(".u-over").bounding_box()
        assert box is not None
        await self.page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)


def since(earlier: datetime, later: datetime) -> timedelta:
    """Of times of the day, between which may be midnight."""
    return (later - earlier) % timedelta(days=1)


@pytest_asyncio.fixture(loop_scope="session")
async def curves(server: Server, viewer: Open) -> AsyncIterator[Curves]:
    server.manage("shell", "-v", "0", "-c", "from tests.browser.curve_rows import make; make()")
    async with viewer(timezone_id="Asia/Kolkata", color_scheme="light") as ada:
        curves = Curves(ada)
        await curves.are_drawn_in(LIGHT)
        await ada.is_live()  # what stands above them has come, and moves them no more
        yield curves
        assert ada.complaints == []


class TestWhoSees:
    async def test_reads_values_under_the_pointer_and_else_the_last(self, curves: Curves) -> None:
        await curves.hover(AFTER_THE_GAP)
        text = await curves.legend.inner_text()
        assert re.fullmatch(r"— submitted 18\s+— finished 17\s+— failed 0\s+\d\d:\d\d:\d\d", text)
        await curves.page.mouse.move(0, 0)
        await curves.page.wait_for_function("() => !document.querySelector('.legend').innerText.match(/\\d\\d:/)")

    async def test_finds_the_same_moment_in_all_curves(self, curves: Curves) -> None:
        last = await curves.moment()
        await curves.hover(BEFORE_THE_GAP)
        assert timedelta(minutes=30) < since(await curves.moment(), last) < timedelta(minutes=40)
        legends = await curves.page.locator("#curves .legend").all_inner_texts()
        assert [len(re.findall(r"\d\d:\d\d:\d\d", legend)) for legend in legends] == [1, 1, 1, 1]

    async def test_sees_a_gap_where_no_process_ran(self, curves: Curves) -> None:
        assert LIGHT in await curves.colours(BEFORE_THE_GAP)
        assert LIGHT not in await curves.colours(IN_THE_GAP)
        assert LIGHT in await curves.colours(AFTER_THE_GAP)
        await curves.hover(IN_THE_GAP)
        assert "no process was running" in await curves.legend.inner_text()

    async def test_sees_a_step_between_two_gaps_as_a_dot(self, curves: Curves) -> None:
        await curves.hover(IN_THE_GAP)
        await curves.first.focus()
        while "no process was running" in await curves.said():
            await curves.first.press("ArrowRight")
        assert LIGHT in await curves.colours(await curves.cursor())
        await curves.first.press("ArrowRight")
        assert "no process was running" in await curves.said()

    async def test_sees_the_colours_of_the_theme_at_once_when_it_changes(self, curves: Curves) -> None:
        await curves.page.emulate_media(color_scheme="dark")
        await curves.page.wait_for_function("() => matchMedia('(prefers-color-scheme: dark)').matches")
        await curves.next_frame()
        assert DARK in await curves.colours(AFTER_THE_GAP)
        toggle = curves.page.locator(".theme-toggle:visible").first
        while await curves.page.get_attribute("html", "data-theme") != "light":
            await toggle.click()
        await curves.next_frame()
        assert LIGHT in await curves.colours(AFTER_THE_GAP)

    async def test_sees_the_whole_of_them_on_a_narrow_screen(self, curves: Curves) -> None:
        await curves.page.set_viewport_size({"width": 400, "height": 900})
        await curves.page.wait_for_function(
            "() => [...document.querySelectorAll('#curves canvas')].every("
            "(each) => each.getBoundingClientRect().width <= each.closest('figure').clientWidth)"
        )
        await curves.are_drawn_in(LIGHT)
        assert LIGHT not in await curves.colours(IN_THE_GAP)


class TestWhoDoesNotSee:
    async def test_hears_values_of_each_moment_by_the_keys(self, curves: Curves) -> None:
        await curves.first.focus()
        await curves.first.press("End")
        last = await curves.moment()
        await curves.first.press("ArrowLeft")
        assert since(await curves.moment(), last) == STEP
        await curves.first.press("Home")
        await curves.first.press("PageUp")
        assert re.fullmatch(r"\d\d:\d\d:\d\d: submitted 18, finished 17, failed 0", await curves.said())
        before = await curves.moment()
        await curves.first.press("ArrowRight")
        assert since(before, await curves.moment()) == STEP

    async def test_hears_of_a_gap_when_it_begins_and_when_it_ends(self, curves: Curves) -> None:
        await curves.first.focus()
        await curves.first.press("Home")
        assert (await curves.said()).endswith(": no process was running")
        await curves.first.press("ArrowRight")
        assert (await curves.said()).endswith(": no process was running")
        ended = await curves.moment()
        await curves.first.press("ArrowRight")
        assert (await curves.said()).endswith(": submitted 18, finished 17, failed 0")
        assert since(ended, await curves.moment()) == STEP

    async def test_hears_what_came_last_in_utc_before_any_key(self, curves: Curves) -> None:
        assert await curves.first.evaluate(AT_THE_END)
        assert since(await curves.moment(), datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=30)

    async def test_goes_on_with_the_moment_when_newer_ones_come(self, curves: Curves) -> None:
        await curves.first.focus()
        await curves.first.press("Home")
        for _ in range(2):
            await curves.first.press("ArrowRight")
        moment, shown = await curves.said(), await curves.first.get_attribute("aria-valuemax")
        await curves.page.wait_for_function(
            "([curve, shown]) => curve.ariaValueMax !== shown", arg=[await curves.first.element_handle(), shown]
        )
        assert await curves.said() == moment

    async def test_comes_past_each_curve_once_by_the_tab_key(self, curves: Curves) -> None:
        await curves.first.focus()
        await curves.page.keyboard.press("End")
        await curves.page.keyboard.press("Tab")
        assert await curves.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Waiting"
        assert await curves.page.locator("#curves .legend", has_text=re.compile(r"\d\d:\d\d:\d\d")).count() == 0


async def test_each_range_is_drawn(curves: Curves) -> None:
    for button in await curves.page.locator("#ranges button").all():
        await button.press("Enter")
        assert await button.get_attribute("aria-pressed") == "true"
        has_day = await button.inner_text() in ("24h", "7d", "30d")
        form = r"^\d\d-\d\d \d\d:\d\d: " if has_day else r"^\d\d:\d\d(:\d\d)?: "
        await curves.page.wait_for_function(
            "([curve, form]) => new RegExp(form).test(curve.ariaValueText)",
            arg=[await curves.first.element_handle(), form],
        )

"""The documents show pictures that are there, and no picture lies about that none shows."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
LARGEST_BYTES = 150_000

PICTURES = {*(DOCS / "images").resolve().iterdir(), *(DOCS / "performance").resolve().glob("*.svg")}


def test_every_picture_is_shown_by_a_page_and_no_page_shows_another():
    shown = {
        (page.parent / address).resolve()
        for page in PAGES
        for address in re.findall(r"!\[[^\]]*\]\(((?!http)[^)]+)\)", page.read_text())
    }
    assert shown == PICTURES


def test_no_picture_is_too_large_to_be_looked_at_from_far_away():
    assert [picture.name for picture in PICTURES if picture.stat().st_size >= LARGEST_BYTES] == []

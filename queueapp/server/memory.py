"""How the server process looks for garbage: seldom, and not in what it was started with."""

from __future__ import annotations

import gc

YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS = 50_000, 20, 50


def settle() -> None:
    """Once everything is loaded. A pass makes tens of thousands of small objects that are gone when it ends. With
    Python's settings (a look for every 700) they are looked through again and again, and now and then the half
    million of Django and the application with them: together a quarter of the time of a pass."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)

"""uPlot, which draws the operators' curves: its two files are served out of the package that carries them.

Of that package nothing else is served (but in development, where ServeStatic looks for files beside them), and
nothing is imported: what it is for, drawing from Python, is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.contrib.staticfiles.utils import matches_patterns
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage

CARRIER = "youplot"
FILES = ("uplot.iife.min.js", "uplot.min.css")
PREFIX = "uplot"


class UplotFinder(BaseFinder):
    """Without the files nothing starts: it is better than pages without curves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        place = _place()
        self._storage = FileSystemStorage(location=place)
        self._storage.prefix = PREFIX  # type: ignore[attr-defined]  # where Django and ServeStatic look for it
        self.storages = {str(place): self._storage}  # of which ServeStatic tells where it finds no file

    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> Any:
        found = [self._storage.path(name) for name in FILES if path == f"{PREFIX}/{name}"]
        return found if find_all or not found else found[0]

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        for name in FILES:
            if not matches_patterns(name, ignore_patterns or ()):
                yield name, self._storage


def _place() -> Path:
    spec = find_spec(CARRIER)
    for root in spec.submodule_search_locations or () if spec else ():
        place = Path(root) / "vendor"
        if all((place / name).is_file() for name in FILES):
            return place
    raise ImproperlyConfigured(
        f"uPlot, which draws the operators' curves, is not here: {' and '.join(FILES)} come with the package "
        f"{CARRIER}, in the version that requirements.txt names. Install it: pip install -r requirements.txt"
    )

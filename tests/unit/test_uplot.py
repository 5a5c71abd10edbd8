"""The files of uPlot: which they are, that they are served and collected, and that nothing starts without them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import AsyncClient
from servestatic.responders import MissingFileError

from workqueue_project.uplot import CARRIER, UplotFinder

ROOT = Path(__file__).resolve().parents[2]

DIGESTS = {
    "uplot/uplot.iife.min.js": "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
    "uplot/uplot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
"""Of uPlot 1.6.31 as its author published it on npm: dist/uPlot.iife.min.js and dist/uPlot.min.css."""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def carrier(directory: Path, *files: str) -> Path:
    """A package of its name, with these files alone."""
    vendor = directory / CARRIER / "vendor"
    vendor.mkdir(parents=True)
    (vendor.parent / "__init__.py").touch()
    for name in files:
        (vendor / name).touch()
    return directory


def test_the_files_are_those_that_were_looked_at():
    places = {name: finders.find(name) for name in DIGESTS}
    assert {name: digest(Path(place).read_bytes()) for name, place in places.items() if place} == DIGESTS


def test_nothing_else_of_the_package_is_found():
    finder = UplotFinder()
    assert [f"uplot/{name}" for name, _ in finder.list(None)] == list(DIGESTS)
    assert finders.find("uplot/__init__.py") is None
    assert finders.find("uplot/../figure.py") is None


def test_they_are_collected_as_others_are(tmp_path: Path, settings: Any):
    settings.STATIC_ROOT = tmp_path
    call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["*.css"])
    assert [path.name for path in (tmp_path / "uplot").iterdir()] == ["uplot.iife.min.js"]
    call_command("collectstatic", interactive=False, verbosity=0)
    collected = {f"uplot/{path.name}": digest(path.read_bytes()) for path in (tmp_path / "uplot").iterdir()}
    assert collected == DIGESTS


@pytest.mark.parametrize("debug", [False, True])
async def test_they_are_served_as_others_are(settings: Any, debug: bool):
    settings.DEBUG = debug
    for name, expected in DIGESTS.items():
        answer = await AsyncClient().get(f"/static/{name}")
        assert answer.status_code == 200
        assert digest(b"".join([part async for part in answer])) == expected


async def test_in_development_a_missing_file_is_missed_by_its_name(settings: Any):
    settings.DEBUG = True
    with pytest.raises(MissingFileError, match="youplot/vendor"):
        await AsyncClient().get("/static/uplot/uplot.js")


def test_a_package_that_carries_them_no_more_is_named_at_the_start(tmp_path: Path):
    path = carrier(tmp_path, "uplot.min.css")
    ended = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(path), "SECRET_KEY": "x", "WORKQUEUE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert (
        ended.stderr.strip()
        .splitlines()[-1]
        .startswith(
            "django.core.exceptions.ImproperlyConfigured: uPlot, which draws the operators' curves, is not here: "
        )
    )


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, CARRIER, None)  # as if there were none
    with pytest.raises(ImproperlyConfigured, match="pip install"):
        UplotFinder()


def test_only_the_files_are_taken_from_the_package():
    started = "import django; django.setup(); import sys, workqueue_project.asgi; print('youplot' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "workqueue_project.settings", "SECRET_KEY": "x"}
    ended = subprocess.run(
        [sys.executable, "-c", started], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "False\n"

"""`DATABASE_URL`: what is wrong with it is said in a line, and never its password."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from workqueue_project import database_url

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "tr0ub4dor"

WRONG = {
    "nonsense": "does not begin with a scheme",
    "://": "does not begin with a scheme",
    "/var/lib/workqueue.sqlite3": "does not begin with a scheme",
    "sqlite:workqueue.sqlite3": "does not begin with a scheme",
    f"//ada:{PASSWORD}@db/queue": "does not begin with a scheme",
    f"ada:{PASSWORD}@db/queue": "does not begin with a scheme",
    f"postgres:/ada:{PASSWORD}@db/queue": "does not begin with a scheme",
    f'"postgres://ada:{PASSWORD}@db/queue"': "does not begin with a scheme",
    f"postgress://ada:{PASSWORD}@db/queue": "begins with postgress://",
    f"mysql://ada:{PASSWORD}@db/queue": "begins with mysql://",
    f"postgres://ada:{PASSWORD}@db:port/queue": "has a host or port that cannot be read",
    f"postgres://ada:{PASSWORD}@db:99999/queue": "has a host or port that cannot be read",
    f"postgres://ada:{PASSWORD}/x@db/queue": "has a host or port that cannot be read",
    f"postgres://ada:{PASSWORD}@[::1/queue": "has a host or port that cannot be read",
    f"postgres://ada:{PASSWORD}@db": "names no database",
    f"postgres://ada:{PASSWORD}@db/?sslmode=require": "names no database",
}

RIGHT = {
    "postgres://ada:l%2Fce@db:5433/queue": ("django.db.backends.postgresql", "queue"),
    "postgresql:///queue?host=/run/postgresql": ("django.db.backends.postgresql", "queue"),
    "POSTGRES://db/queue": ("django.db.backends.postgresql", "queue"),
    "postgres://?service=queue": ("django.db.backends.postgresql", ""),
    " postgres://db/queue\n": ("django.db.backends.postgresql", "queue"),
    "sqlite:////var/lib/workqueue.sqlite3": ("django.db.backends.sqlite3", "/var/lib/workqueue.sqlite3"),
    "sqlite:///workqueue.sqlite3": ("django.db.backends.sqlite3", "workqueue.sqlite3"),
}


@pytest.mark.parametrize(("url", "fault"), WRONG.items())
def test_what_is_wrong_is_said_with_the_form_that_is_expected(url, fault):
    with pytest.raises(ImproperlyConfigured) as caught:
        database_url.read(url)
    said = str(caught.value)
    assert said.startswith(f"DATABASE_URL {fault}")
    assert database_url.EXPECTED in said
    assert "\n" not in said
    assert PASSWORD not in said
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(("url", "read"), RIGHT.items())
def test_what_is_right_is_read(url, read):
    settings = database_url.read(url)
    assert (settings["ENGINE"], settings["NAME"]) == read


@pytest.mark.parametrize("url", [f"//ada:{PASSWORD}@db/queue", f"postgres://ada:{PASSWORD}/x@db/queue"])
def test_a_command_ends_with_that_line_alone(url, tmp_path):
    environment = {**os.environ, "SECRET_KEY": "x", "WORKQUEUE_DATA_DIR": str(tmp_path), "DATABASE_URL": url}
    ended = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("DATABASE_URL ")
    assert PASSWORD not in line

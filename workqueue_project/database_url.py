"""What `DATABASE_URL` says, or what is wrong with it, in words that give away no password."""

from __future__ import annotations

import re
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

SCHEMES = ("postgres", "postgresql", "pgsql", "psql", "sqlite")
"""Of the databases that the queue works on, as django-environ knows them."""

EXPECTED = "postgres://user:password@host:port/name or sqlite:////path/to/file"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def read(url: str) -> dict[str, Any]:
    """Django's settings for the database. ImproperlyConfigured quotes of the URL its scheme at most."""
    scheme = _SCHEME.match(url.strip())
    if scheme is None:
        raise _unusable("does not begin with a scheme such as postgres://")
    if scheme[1].lower() not in SCHEMES:
        raise _unusable(f"begins with {scheme[0]}, which is neither PostgreSQL nor SQLite")
    try:
        settings = environ.Env.db_url_config(url.strip())
    except ValueError:
        # Its words may be a part of the password: what stands behind the first / or : in it.
        raise _unusable(
            "has a host or port that cannot be read; in a password / : ? # are written as %2F %3A %3F %23"
        ) from None
    if not settings["NAME"] and "service" not in settings.get("OPTIONS", {}):
        raise _unusable("names no database at its end")
    return settings


def _unusable(fault: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"DATABASE_URL {fault}. Expected is {EXPECTED}.")

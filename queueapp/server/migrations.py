"""Whether the database has been migrated for this version, asked before a server process begins."""

from __future__ import annotations

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader


def missing_migrations() -> list[str]:
    """What `migrate` would apply, as `app.name`. Empty too where the database cannot be asked: a server may be
    started before it. A database that is ahead, as in a rolling update, lacks nothing.

    Over a connection of its own, because the pool goes on trying for seconds where nobody answers.
    """
    own = connection.copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    try:
        loader = MigrationLoader(own)
    except Error:
        return []
    finally:
        own.close()
    return [f"{app}.{name}" for app, name in sorted(loader.graph.nodes.keys() - loader.applied_migrations.keys())]

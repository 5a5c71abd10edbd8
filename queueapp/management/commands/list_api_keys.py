"""`manage.py list_api_keys [--all]`: the keys that can be used, one a line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from queueapp.domain.reach import bounds_text
from queueapp.models import ApiKey

HEADINGS = ("BEGINS", "NAME", "ROLE", "TASKS", "BOUNDS", "LAST USED", "REVOKED")
NOTHING = "-"


class Command(BaseCommand):
    help = "List the API keys that can be used, oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--all", action="store_true", help="those that were revoked too")

    def handle(self, *args: Any, all: bool, **options: Any) -> None:
        keys = ApiKey.objects.all() if all else ApiKey.objects.usable()
        rows = [HEADINGS, *map(_row, keys.order_by("id"))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.stdout.write("  ".join(map(str.ljust, row, widths)).rstrip())


def _row(key: ApiKey) -> tuple[str, ...]:
    times = (f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else NOTHING for time in (key.last_used_at, key.revoked_at))
    reach = (" ".join(key.task_globs) or "all", bounds_text(key.bounds) or NOTHING)
    return key.prefix, key.name, key.role, *reach, *times

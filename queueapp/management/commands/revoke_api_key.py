"""`manage.py revoke_api_key KEY`: makes a key useless, for ever, and ends the sessions of its workers."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from queueapp import access, audit, auth, database, relay
from queueapp.auth import SHOWN_PREFIX_LENGTH
from queueapp.models import ApiKey


class Command(BaseCommand):
    help = "Revoke an API key, for ever. Its workers are disconnected, their tasks go to others."

    def add_arguments(self, parser: CommandParser) -> None:
        shown = f"its first {SHOWN_PREFIX_LENGTH} characters or its name, as list_api_keys shows them"
        parser.add_argument("key", metavar="KEY", help=shown)

    def handle(self, *args: Any, key: str, **options: Any) -> None:
        keys = list(ApiKey.objects.usable().filter(Q(prefix=key) | Q(name=key)).order_by("id"))
        if not keys:
            raise CommandError(f"There is no usable key {key}: see list_api_keys.")
        if len(keys) > 1:
            several = ", ".join(each.prefix for each in keys)
            raise CommandError(f"{len(keys)} keys are meant, and none was revoked; say which: {several}.")
        with relay.passing_on():
            audit.carried_out(
                audit.actor_at_shell(),
                "revoke",
                lambda: access.revoke([keys[0].pk], database.now()),
                kind="key",
                named=lambda _: keys[0].prefix,
                detail=auth.described(keys[0]),
            )
        self.stdout.write(f"Revoked {keys[0]}.")

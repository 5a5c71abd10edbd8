"""`manage.py create_api_key NAME --role ROLE [--tasks GLOB …] [--bounds cloud=aws …]`: prints a new key, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from queueapp import audit, auth
from queueapp.domain.reach import parse_bounds
from queueapp.models import ApiKey


class Command(BaseCommand):
    help = "Create an API key and print it, alone, on standard output. It cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="what operators know the key by")
        parser.add_argument("--role", required=True, choices=ApiKey.Role.values)
        parser.add_argument(
            "--tasks",
            nargs="+",
            action="extend",
            default=[],
            metavar="GLOB",
            help="the task names that the key may touch, such as 'image.*'; without it, all",
        )

        parser.add_argument(
            "--bounds",
            nargs="+",
            action="extend",
            default=[],
            metavar="CRITERION=VALUES",
            help="for a worker: what each of its filters must stay within, such as 'cloud=aws,gcp'",
        )

    def handle(
        self, *args: Any, name: str, role: str, tasks: list[str], bounds: list[str], **options: Any
    ) -> None:
        try:
            actor = audit.actor_at_shell()
            with transaction.atomic():
                key, text = auth.create_key(name, role, tasks, parse_bounds(bounds), actor.name)
                audit.record(actor, "create", kind="key", subject=key.prefix, detail=auth.described(key))
        except ValueError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The key could not be stored ({error}). Is the database migrated?") from None
        self.stdout.write(text)

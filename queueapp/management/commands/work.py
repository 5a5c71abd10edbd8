"""`manage.py work MODULE[:NAME] …`: a worker whose handlers may use Django."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from queueapp.sdk import cli


class Command(BaseCommand):
    help = "Run a worker from the handlers of a module."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cli.work(argparse.Namespace(**options))
        except (cli.UnusableModule, ImportError, ValueError) as problem:
            raise CommandError(str(problem)) from problem

"""`manage.py conformance ws://…` or `--worker COMMAND`: whether a peer keeps the worker protocol."""

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from queueapp.conformance import cli


class Command(BaseCommand):
    help = "Play scripted sessions against a server, or a worker, of whatever make, and report what it keeps."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            status = cli.run(argparse.Namespace(**options))
        except ValueError as problem:
            raise CommandError(str(problem)) from problem
        sys.exit(status)

"""`manage.py protocol_documents DIRECTORY`: the worker protocol as JSON Schemas and AsyncAPI documents."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from queueapp import schemas


class Command(BaseCommand):
    help = "Write the JSON Schemas and AsyncAPI documents of the worker protocol."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", nargs="?", type=Path, default=Path("docs/protocol"))

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for name, document in schemas.documents().items():
            (directory / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

"""`manage.py serve`: the server, HTTP and WebSocket."""

from typing import Any

import daphne.server  # noqa: F401 - installs the asyncio reactor, before anything imports another
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from queueapp.server import QueueServer


class Command(BaseCommand):
    help = "Run the server. SIGTERM ends it in order: workers are told, their tasks given back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0: any free one (default 8000)")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        application = import_string(settings.ASGI_APPLICATION)
        server = QueueServer(application, host, port)
        server.run()
        if server.failed:
            raise CommandError(f"Cannot listen on {host}:{port}: is another process using it?")

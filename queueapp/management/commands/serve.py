"""`manage.py serve`: the server, HTTP and WebSocket."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from queueapp import database, sessions
from queueapp.conf import config
from queueapp.server import memory, uvicorn
from queueapp.server.migrations import missing_migrations


class Command(BaseCommand):
    help = "Run the server. SIGTERM ends it in order: workers are told, their tasks given back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument(
            "--port", type=int, default=8000, help="port to listen on; 0: any free one (default 8000)"
        )
        parser.add_argument("--daphne", action="store_true", help="run on Daphne instead of uvicorn")

    def handle(self, *args: Any, host: str, port: int, daphne: bool, **options: Any) -> None:
        self._refuse_to_lack_migrations()
        self._refuse_to_be_second()
        application = import_string(settings.ASGI_APPLICATION)
        memory.settle()
        served = serve_on_daphne if daphne else serve_on_uvicorn
        if not served(application, host, port):
            raise CommandError(f"Cannot listen on {host}:{port}: is another process using it?")

    def _refuse_to_lack_migrations(self) -> None:
        """Without its tables it would end in a traceback, with old ones it would fail request by request."""
        if missing := missing_migrations():
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise CommandError(
                f"The database lacks {missing[0]}{others}: run `manage.py migrate`, then start again."
            )

    def _refuse_to_be_second(self) -> None:
        """Without Redis a second process would hear of nothing that the first one does. One that has just died
        may look alive until its lease is over; one that lives renews it."""
        if settings.REDIS_URL or settings.DEBUG:
            return
        until = time.monotonic() + config().lease_seconds + 1
        while others := sessions.living_nodes(database.now()):
            if time.monotonic() > until:
                raise CommandError(
                    f"The server process {others[0]} already uses this database. Stop it, or set REDIS_URL (and "
                    "DATABASE_URL to PostgreSQL) to run several."
                )
            time.sleep(0.2)


def serve_on_uvicorn(application: Any, host: str, port: int) -> bool:
    """Until stopped. False: the address cannot be had."""
    try:
        listening = uvicorn.listening_socket(host, port)
    except OSError:
        return False
    uvicorn.QueueServer(application, listening).serve_until_stopped()
    return True


def serve_on_daphne(application: Any, host: str, port: int) -> bool:
    from queueapp.server.daphne import QueueServer  # installs Twisted's reactor, which nobody else wants

    server = QueueServer(application, host, port)
    server.run()
    return not server.failed

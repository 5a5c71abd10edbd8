"""A process that receives callbacks. It keeps each in a file as a JSON line and then answers 204, but not before
there is a file beside it named `open`; the file `begun` has a line for each that has come in."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

KEPT = Path(sys.argv[1])
BEGUN, OPEN = KEPT.with_name("begun"), KEPT.with_name("open")
LOCK = Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with LOCK, BEGUN.open("a") as begun:
            begun.write("one\n")
        while not OPEN.exists():
            time.sleep(0.01)
        with LOCK, KEPT.open("a") as kept:
            kept.write(json.dumps({"headers": headers, "body": body}) + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Not on the terminal of the tests."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Who delivered is gone, as the tests want it."""


with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()

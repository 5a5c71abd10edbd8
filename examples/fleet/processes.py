"""Starts the server and the workers of the demonstration, kills one, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from examples.client import Client

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.05
LOG_TAIL_LINES = 20


class ProcessFailed(Exception):
    """A process of the demonstration ended by itself, or did not come up; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """A worker to start: its `name`, the `module` with its handlers, the `filter` in words, how many tasks it
    performs and how many it holds at a time."""

    name: str
    module: str
    filter: str
    concurrency: int = 1
    max_outstanding: int = 8


class Fleet:
    """A server with a data directory of its own, and workers: used in a `with` statement, which ends them."""

    def __init__(self, directory: Path) -> None:
        self._logs = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = _environment(directory)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exception: object) -> None:
        """Workers first, so that the server sees them leave."""
        for name in reversed(self._running):
            process = self._running[name]
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def migrate(self) -> None:
        self._manage("migrate", "--verbosity", "0")

    def create_key(self, role: str) -> str:
        return self._manage("create_api_key", f"demo {role}", "--role", role).strip()

    def start_server(self) -> None:
        """Returns when the server answers."""
        self._start("server", "manage.py", "serve", "--host", "127.0.0.1", "--port", str(self.port))
        client = Client(self.url)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not client.is_alive():
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(f"The server did not come up.\n{self._log_tail('server')}")
            time.sleep(LOOK_AGAIN_SECONDS)

    def start_worker(self, plan: WorkerPlan, key: str) -> None:
        arguments = ["-m", "queueapp.sdk", plan.module, "--url", self.url, "--name", plan.name]
        arguments += ["--concurrency", str(plan.concurrency), "--max-outstanding", str(plan.max_outstanding)]
        self._start(plan.name, *arguments, WORKQUEUE_TOKEN=key)

    def kill(self, name: str) -> None:
        """SIGKILL: the process gets no chance to say good-bye."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def check(self) -> None:
        """Raises ProcessFailed when a process has ended that should be running."""
        for name, process in self._running.items():
            if process.poll() is not None:
                status = process.returncode
                raise ProcessFailed(f"{name} ended with status {status}.\n{self._log_tail(name)}")

    def _start(self, name: str, *arguments: str, **environment: str) -> None:
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demonstration, which then ends them in order
            )

    def _manage(self, *arguments: str) -> str:
        """What the command printed on standard output."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ProcessFailed(f"manage.py {arguments[0]} failed.\n{_tail(done.stderr)}")
        return done.stdout

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _log_tail(self, name: str) -> str:
        return _tail(self._log(name).read_text(errors="replace"))


def exit_on_signals() -> None:
    """Have every usual signal end the demonstration as Ctrl-C does, with everything cleaned up."""

    def leave(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def _environment(directory: Path) -> dict[str, str]:
    """This process's environment without what would lead to somebody's real database, Redis or settings."""
    private = ("WORKQUEUE_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "ALLOWED_HOSTS", "DEBUG")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(private)}
    return {
        **environment,
        "WORKQUEUE_DATA_DIR": str(directory),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "PYTHONUNBUFFERED": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

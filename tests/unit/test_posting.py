"""Posting to whatever somebody has named: real servers on this machine, real TLS, real look-ups of names."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import settings as project_settings

from queueapp.posting import ANSWER_BYTES, Answer, Poster

PATIENCE_SECONDS = 60
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Receiver:
    answer: bytes = OK
    port: int = 0
    heads: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """That the peers asked for by TLS."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
            await reader.read()  # until the peer goes
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiver(answer: bytes = OK, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    made = Receiver(answer)
    if tls is not None:
        tls.sni_callback = lambda _, name, __: made.names.append(name)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def poster() -> AsyncIterator[Poster]:
    made = Poster(4)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def _inside_allowed(settings: Any) -> None:
    settings.WORKQUEUE = replace(
        project_settings.WORKQUEUE, callback_allowed_networks="127.0.0.0/8", callback_timeout_seconds=30.0
    )


async def post(url: str, headers: dict[str, str] | None = None) -> Answer:
    async with poster() as made, asyncio.timeout(PATIENCE_SECONDS):
        return await made.post(url, headers or {}, b"{}")


def status(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *headers, f"Content-Length: {len(body)}", "", ""]).encode() + body


class TestAnAddressInside:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.9", "[::1]"])
    async def test_is_not_connected_to_by_whatever_name(self, host: str):
        async with receiver() as hook:
            answer = await post(f"http://{host}:{hook.port}/")
        assert (answer.status, hook.heads) == (None, [])
        assert "is not an address of the public internet" in answer.error

    async def test_is_not_connected_to_though_the_name_leads_elsewhere_too(self, monkeypatch: Any):
        """A name server may say anything, and other things each time."""
        asked: list[str] = []

        def rebinding(host: str, port: int, *rest: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        async with receiver() as hook:
            answer = await post(f"http://public.example:{hook.port}/")
        assert (answer.status, hook.heads, asked) == (None, [], ["public.example"])

    async def test_in_a_spelling_that_only_systems_read_leads_nowhere(self):
        async with receiver() as hook:
            for host in ("127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"):
                assert (await post(f"http://{host}:{hook.port}/")).status is None, host
        assert hook.heads == []


@pytest.mark.usefixtures("_inside_allowed")
class TestAPost:
    @pytest.mark.parametrize("line", ["200 OK", "202 Accepted", "204 No Content", "299 Fine"])
    async def test_succeeds_with_any_2xx(self, line: str):
        async with receiver(status(line)) as hook:
            assert await post(f"http://127.0.0.1:{hook.port}/") == Answer(int(line[:3]))

    @pytest.mark.parametrize("line", ["301 Moved", "400 Bad", "410 Gone", "500 Oops"])
    async def test_fails_with_any_other_status(self, line: str):
        async with receiver(status(line, body=b"why: \x00 because\n")) as hook:
            answer = await post(f"http://127.0.0.1:{hook.port}/")
        assert answer == Answer(int(line[:3]), f"{line}: why: because")

    async def test_looks_the_name_up_once_and_names_the_host(self, monkeypatch: Any):
        look_up, asked = socket.getaddrinfo, []

        def counted(host: str, *rest: Any) -> Any:
            asked.append(host)
            return look_up(host, *rest)

        monkeypatch.setattr(socket, "getaddrinfo", counted)
        async with receiver() as hook:
            await post(f"http://localhost:{hook.port}/a%20b?c=%2F", {"webhook-id": "7"})
        assert asked == ["localhost"]
        (head,) = hook.heads
        assert head.startswith("POST /a%20b?c=%2F HTTP/1.1\r\n")
        assert f"Host: localhost:{hook.port}\r\n" in head
        assert "webhook-id: 7\r\n" in head

    async def test_follows_no_redirect(self):
        async with receiver() as target:
            moved = status("307 Temporary Redirect", f"Location: http://127.0.0.1:{target.port}/")
            async with receiver(moved) as hook:
                answer = await post(f"http://127.0.0.1:{hook.port}/")
        assert (answer.status, target.heads) == (307, [])

    async def test_goes_through_no_proxy_of_the_environment(self, monkeypatch: Any):
        async with receiver() as proxy, receiver() as hook:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert (await post(f"http://127.0.0.1:{hook.port}/")).status == 200
        assert (len(hook.heads), proxy.heads) == (1, [])

    async def test_reads_little_of_an_answer_without_an_end(self):
        endless = b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 50_000_000
        async with receiver(endless) as hook:
            answer = await post(f"http://127.0.0.1:{hook.port}/")
        assert answer.status == 500
        assert len(answer.error) < ANSWER_BYTES

    async def test_does_not_wait_for_the_body_of_a_success(self):
        async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") as hook:
            assert await post(f"http://127.0.0.1:{hook.port}/") == Answer(200)

    @pytest.mark.parametrize(
        "answer", [b"", b"HTTP/1.1 200", b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nabc"], ids=len
    )
    async def test_gives_up_on_one_that_is_slow(self, settings: Any, answer: bytes):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, callback_timeout_seconds=0.2)
        async with receiver(answer) as hook:
            started = monotonic()
            answered = await post(f"http://127.0.0.1:{hook.port}/")
            assert monotonic() - started < PATIENCE_SECONDS / 2
        assert answered.error

    @pytest.mark.parametrize(
        "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000 + b"\r\n"], ids=len
    )
    async def test_of_which_the_answer_is_nonsense_fails(self, answer: bytes):
        async with receiver(answer) as hook:
            answered = await post(f"http://127.0.0.1:{hook.port}/")
        assert answered.error

    async def test_to_where_nobody_listens_fails(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        answer = await post(f"http://127.0.0.1:{port}/")
        assert answer.status is None
        assert str(port) in answer.error

    async def test_to_a_name_that_there_is_not_fails(self):
        assert (await post("http://nothing.invalid/")).error


@pytest.mark.usefixtures("_inside_allowed")
class TestTls:
    @pytest.fixture(autouse=True)
    def _trusted(self, tmp_path: Path, monkeypatch: Any) -> None:
        self.authority = Authority(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(self.authority.file))

    async def test_asks_for_the_name_of_the_url_and_takes_its_certificate(self):
        async with receiver(tls=self.authority.server("localhost")) as hook:
            assert await post(f"https://localhost:{hook.port}/") == Answer(200)
        assert hook.names == ["localhost"]

    async def test_takes_no_certificate_of_another_name(self):
        async with receiver(tls=self.authority.server("other.example")) as hook:
            answer = await post(f"https://localhost:{hook.port}/")
        assert (answer.status, hook.heads) == (None, [])
        assert "certificate" in answer.error.lower()

    async def test_takes_no_certificate_of_nobodys(self, tmp_path: Path):
        (tmp_path / "stranger").mkdir()
        async with receiver(tls=Authority(tmp_path / "stranger").server("localhost")) as hook:
            answer = await post(f"https://localhost:{hook.port}/")
        assert (answer.status, hook.heads) == (None, [])


class Authority:
    """Signs certificates that whoever is told of `file` trusts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
        own = self._certificate(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = directory / "authority.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._certificate(subject, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
        both = self._directory / "server.pem"
        both.write_bytes(
            certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        return context

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

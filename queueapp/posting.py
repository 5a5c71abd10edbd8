"""Posting to addresses that anybody may have named: only to the public internet, briefly, and once.

The address is looked at where the socket for it is made, so that what was checked is what is connected to; TLS
asks for a certificate of the URL's name all the same. Redirects are not followed, proxies and cookies not known.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from queueapp.conf import config
from queueapp.domain.addresses import address_of, is_special, read_networks

ANSWER_BYTES = 2048
"""All that is read of an answer's body. Its beginning is shown to who looks why a callback was refused."""
EXCERPT_CHARACTERS = 200


class ForbiddenAddress(OSError):
    """A name leads to an address that is not of the public internet, nor of an allowed network."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where none came; `error` is empty for a success (2xx)."""

    status: int | None
    error: str = ""


class Poster:
    """Used on one event loop; each post has a connection of its own."""

    def __init__(self, at_once: int) -> None:
        """`at_once`: how many posts there are at most, each with a thread to look up its name: a name server that
        hangs must not hold up the look-ups of others."""
        self._resolver = _Resolver(at_once)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                socket_factory=_checked_socket,
                ssl=ssl.create_default_context(),
                use_dns_cache=False,
                force_close=True,
                limit=0,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=ANSWER_BYTES,
            timeout=aiohttp.ClientTimeout(total=config().callback_timeout_seconds),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                try:
                    if response.status // 100 == 2:
                        return Answer(response.status)
                    beginning = await response.content.read(ANSWER_BYTES)
                    return Answer(response.status, _refusal(response, beginning))
                finally:
                    response.close()
        except TimeoutError:
            return Answer(None, f"No answer within {config().callback_timeout_seconds:g} s.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, _storable(str(error) or type(error).__name__))

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()


class _Resolver(AbstractResolver):
    """The system's, on threads of its own."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="callback-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _checked_socket(address_info: Any) -> socket.socket:
    family, kind, proto, _, (host, *_) = address_info
    address = address_of(host)
    if address is None or is_special(address, read_networks(config().callback_allowed_networks)):
        raise ForbiddenAddress(errno.EACCES, f"{host} is not an address of the public internet")
    return socket.socket(family, kind, proto)


def _refusal(response: aiohttp.ClientResponse, beginning: bytes) -> str:
    text = beginning.decode("utf-8", "replace")
    return _storable(f"{response.status} {response.reason}: {text}".rstrip(": "))


def _storable(text: str) -> str:
    """One short line, without what PostgreSQL refuses."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:EXCERPT_CHARACTERS]

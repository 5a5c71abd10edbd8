"""Callbacks on the wire: where they may go, and their signature (Standard Webhooks, symmetric scheme v1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from queueapp.domain.addresses import Networks, address_of, is_special

SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
URL_LENGTH = 2000
HOST_LENGTH = 253

_PRINTABLE = re.compile(r"[!-~]+")
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)\.?")
_UNUSABLE = frozenset('\\"<>^`{|}')
"""Printable, and in no URL: readers differ on what they mean."""


def signature(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`: one signature for each secret, so that a receiver may know the old one or
    the new one while they change."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret, signed, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def secret_text(secret: bytes) -> str:
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def read_secrets(texts: str) -> list[bytes]:
    """Secrets as they are written, several separated by spaces. ValueError says what is wrong with one."""
    return [_read_secret(text) for text in texts.split()]


def _read_secret(text: str) -> bytes:
    try:
        if not text.startswith(SECRET_PREFIX):
            raise ValueError
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"a secret is {SECRET_PREFIX} and base64") from None
    if len(secret) not in SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes, and not {len(secret)}")
    return secret


def host_of(url: str) -> str:
    """The host of a callback's URL, in small letters. ValueError says why no callback can go there."""
    if len(url) > URL_LENGTH:
        raise ValueError(f"must have at most {URL_LENGTH} characters")
    if not _PRINTABLE.fullmatch(url) or _UNUSABLE.intersection(url):
        raise ValueError("must be a URL in ASCII: encode other characters, as %20 or, in the host, by Punycode")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://example.com/tasks") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError("must be a URL that begins with https:// or http:// and names a host")
    if len(host) > HOST_LENGTH:
        raise ValueError(f"must name a host of at most {HOST_LENGTH} characters")
    if "@" in parts.netloc or "#" in url:
        raise ValueError("must name no user and no fragment: put a token into the path or the query")
    if _NUMBER.fullmatch(host.rpartition(".")[2] or host) and address_of(host) is None:
        raise ValueError("must name its host by a name, or by an address as 192.0.2.1 or [2001:db8::1]")
    return host


def forbidden_host(host: str, allowed: Networks) -> bool:
    """Whether the host says by itself that it leads to nowhere a callback may go; what a name leads to is seen
    when it is connected to."""
    host = host.rstrip(".")
    loopback = host == "localhost" or host.endswith(".localhost")
    address = address_of("127.0.0.1" if loopback else host)
    return address is not None and is_special(address, allowed)

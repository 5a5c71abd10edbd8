"""Who is calling: API keys for all, and for workers tokens signed with a pre-shared key (contract, 4 and 6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import jwt
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q
from django.utils import timezone
from jwt.types import Options

from queueapp import database, statements
from queueapp.conf import config
from queueapp.domain.errors import Forbidden, NotAuthenticated
from queueapp.domain.names import is_storable
from queueapp.domain.reach import Reach, bounds_text
from queueapp.models import ApiKey
from queueapp.statements import Given

KEY_COLUMNS = [field.attname for field in ApiKey._meta.concrete_fields]
"""Every request asks for a key: written out, since to put the question together takes Django ten times as long."""

_DIGESTS = Given("asked", asked_digest="text")

KEY_PREFIX = "wq_"
KEY_BYTES = 32
SHOWN_PREFIX_LENGTH = 10
NAME_LENGTH = 200
TASK_GLOB = re.compile(r"[A-Za-z0-9_.:*?\[\]!-]{1,200}")
LAST_USED_RESOLUTION = timedelta(minutes=1)

PBKDF2_ROUNDS = 100_000
PSK_KEY_BYTES = 32
MAX_SALT_BYTES = 256
DERIVED_KEYS_KEPT = 1024
ONLY_VALIDITY: Options = {
    "verify_exp": True,
    "verify_aud": False,
    "verify_iss": False,
    "verify_iat": False,
    "verify_nbf": True,
    "verify_sub": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """A worker that may attach. `api_key` is None for one that came with the pre-shared key."""

    api_key: ApiKey | None = None

    @property
    def reach(self) -> Reach:
        return self.api_key.reach if self.api_key else Reach()


def create_key(
    name: str,
    role: str,
    task_globs: Iterable[str] = (),
    bounds: Mapping[str, Sequence[str]] | None = None,
    created_by: str = "",
) -> tuple[ApiKey, str]:
    """A new key: its row, and its text, which is nowhere else to be had. ValueError says what cannot be used.

    `bounds`, which are for workers, come from `domain.reach.parse_bounds`.
    """
    globs = list(task_globs)
    if not name.strip() or len(name) > NAME_LENGTH or not is_storable(name):
        raise ValueError(f"A key's name is text of 1 to {NAME_LENGTH} characters.")
    if role not in ApiKey.Role.values:
        raise ValueError(f"{role!r} is no role: a key's is one of {', '.join(ApiKey.Role.values)}.")
    for glob in globs:
        if not TASK_GLOB.fullmatch(glob):
            raise ValueError(f"{glob!r} matches no task name: names have letters, digits and _ . : - only.")
    if bounds and role != ApiKey.Role.WORKER:
        raise ValueError(f"Bounds are for a worker's filters: a key with the role {role} has none.")
    text = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    key = ApiKey.objects.create(
        name=name,
        role=role,
        prefix=text[:SHOWN_PREFIX_LENGTH],
        digest=digest_of(text),
        task_globs=globs,
        bounds=dict(bounds) if bounds else None,
        created_by=created_by,
    )
    return key, text


def described(key: ApiKey) -> str:
    """What the key is for, in a line: `producer ci: image.*`."""
    reach = " ".join(key.task_globs) or "tasks of every name"
    return f"{key.role} {key.name}: {reach}" + (f"; {bounds_text(key.bounds)}" if key.bounds else "")


def authenticate(token: str) -> ApiKey | None:
    """The usable key of this text; None for one that is unknown or revoked. Notes that it is used."""
    key = keys_of([token]).get(token)
    if key is not None:
        note_use(key)
    return key


def keys_of(tokens: Collection[str]) -> dict[str, ApiKey]:
    """The usable keys of these texts, without those that are unknown or revoked.

    The rows are looked up by digests. What the time of that tells is about digests, which nobody can aim at.
    """
    digests = {token: digest_of(token) for token in tokens if token.startswith(KEY_PREFIX) and token.isascii()}
    if not digests:
        return {}
    rows = statements.execute(
        f"""
        WITH {_DIGESTS.table} SELECT {database.clock()}, {", ".join(KEY_COLUMNS)} FROM queueapp_apikey
        WHERE digest IN (SELECT asked_digest FROM asked) AND revoked_at IS NULL
        """,
        [_DIGESTS.rows((digest,) for digest in digests.values())],
    )
    keys = {key.digest: key for key in (key_of_row(*row) for row in rows)}
    return {token: keys[digest] for token, digest in digests.items() if digest in keys}


def key_of_row(read_at: Any, *columns: Any) -> ApiKey:
    """From `database.clock()` and `KEY_COLUMNS`, as the driver has them."""
    key = ApiKey.from_db(DEFAULT_DB_ALIAS, KEY_COLUMNS, columns)
    key.read_at = database.told_time(read_at)
    # The other times are not read here.
    key.task_globs = database.as_json(key.task_globs)
    key.bounds = database.as_json(key.bounds)
    key.last_used_at = key.last_used_at and database.as_datetime(key.last_used_at)
    return key


def authenticate_worker(token: str) -> WorkerIdentity:
    """Who attaches with this token: an API key, or a JWT when there is a pre-shared key.

    Raises NotAuthenticated for a bad credential, Forbidden for a key that is not a worker's. Deriving a key
    from a salt not seen before takes tens of milliseconds: not to be called on an event loop.
    """
    if token.startswith(KEY_PREFIX):
        key = authenticate(token)
        if key is None:
            raise NotAuthenticated("The API key is unknown or revoked.")
        if key.role != ApiKey.Role.WORKER:
            raise Forbidden(f"A key with the role {key.role} does not attach: use one with the role worker.")
        return WorkerIdentity(key)
    psk = config().psk
    if not psk:
        raise NotAuthenticated("An API key is needed.")
    _check_token(token, psk)
    return WorkerIdentity()


def digest_of(token: str) -> str:
    """A plain digest is right here: a slow or salted one protects secrets that can be guessed, and 256 random
    bits cannot. It is also what makes the lookup one step."""
    return hashlib.sha256(token.encode()).hexdigest()


def note_use(key: ApiKey) -> None:
    """Keep `last_used_at`, written once a minute however busy the key is and however many processes serve it."""
    if is_use_to_be_noted(key):
        now = timezone.now()
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def is_use_to_be_noted(key: ApiKey) -> bool:
    """By this machine's clock, which will do: people read it, nothing is decided by it."""
    return key.last_used_at is None or key.last_used_at < timezone.now() - LAST_USED_RESOLUTION


def _check_token(token: str, psk: str) -> None:
    """Accept a HS256 JWT signed with the key derived from the pre-shared one, within the time it is good for.

    Other claims are the issuer's affair: `iat` above all, by which a skewed clock would lock a worker out.
    """
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "HS256":
            raise NotAuthenticated("The token must be signed with HS256.")
        key = _derived_key(psk, _salt(header.get("salt")))
        jwt.decode(token, key, algorithms=["HS256"], options=ONLY_VALIDITY)
    except jwt.ExpiredSignatureError:
        raise NotAuthenticated("The token has expired.") from None
    except (jwt.PyJWTError, UnicodeEncodeError):
        raise NotAuthenticated("The token is not valid.") from None


def _salt(encoded: object) -> bytes:
    """The bytes of a salt in either alphabet of base64, padded or not."""
    if not isinstance(encoded, str) or len(encoded) > 2 * MAX_SALT_BYTES:
        raise NotAuthenticated("The token's header needs a salt, in base64.")
    text = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        salt = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise NotAuthenticated("The salt in the token's header is not base64.") from None
    if not 1 <= len(salt) <= MAX_SALT_BYTES:
        raise NotAuthenticated(f"The salt in the token's header must have 1 to {MAX_SALT_BYTES} bytes.")
    return salt


@lru_cache(maxsize=DERIVED_KEYS_KEPT)
def _derived_key(psk: str, salt: bytes) -> bytes:
    """Kept by salt: a fleet that reconnects all at once would otherwise cost minutes of computing."""
    return hashlib.pbkdf2_hmac("sha256", psk.encode(), salt, PBKDF2_ROUNDS, PSK_KEY_BYTES)

"""Who calls the API: the holder of a key. Admin users come by session, which DRF looks after."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from queueapp.auth import authenticate
from queueapp.models import ApiKey

SCHEME = "bearer"


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """What `request.user` is for a request with a key: somebody, but no user of the admin."""

    key: ApiKey
    is_authenticated: bool = True
    is_active: bool = True
    is_staff: bool = False
    is_superuser: bool = False

    def __str__(self) -> str:
        return str(self.key)


def token_of(header: str) -> str | None:
    """The token of an `Authorization`; None for another scheme, or none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == SCHEME else None


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer wq_…`: `request.auth` is the ApiKey. A bad key is refused, whoever has a session."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, ApiKey] | None:
        token = token_of(get_authorization_header(request).decode("latin-1"))
        if token is None:
            return None
        key = authenticate(token)
        if key is None:
            raise AuthenticationFailed("The API key is unknown or revoked.")
        return KeyHolder(key), key

    def authenticate_header(self, request: Request) -> str:
        """With this in `WWW-Authenticate`, DRF answers 401; without it, 403."""
        return 'Bearer realm="workqueue"'

"""Why a request is refused, where DRF has no exception for it.

Apart from `problems`, because DRF imports the parsers while its own views are not there yet.
"""

from __future__ import annotations

from http import HTTPStatus

from rest_framework.exceptions import APIException


class BadRequest(APIException):
    """The request as a whole cannot be served, for the reason in `detail`."""

    status_code = HTTPStatus.BAD_REQUEST


class Conflict(APIException):
    """The state of what the request is about forbids it."""

    status_code = HTTPStatus.CONFLICT


class TooLarge(APIException):
    """The body has more bytes than the limit."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

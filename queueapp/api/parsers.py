"""Bodies come in through here: JSON that can be stored, and not more of it than the limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from queueapp.api.refusals import TooLarge
from queueapp.conf import config
from queueapp.domain.payloads import parse_json


class BodyParser(BaseParser):
    """The text of a JSON body, for who reads it in a way of its own. Raises TooLarge (413)."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = config().body_limit_bytes
        # The length is what was read, not what a header says: a chunked body has no such header.
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge(f"A body has at most {limit} bytes.")
        return body


class StrictJSONParser(BodyParser):
    """Raises InvalidJson (400) or TooLarge (413)."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return parse_json(super().parse(stream, media_type, parser_context))

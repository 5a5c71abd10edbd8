"""A client of the REST API on the standard library alone: no more than these examples need."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urljoin

TIMEOUT_SECONDS = 30.0


class ApiError(Exception):
    """The server answered with an error; `status` and the problem document (RFC 9457) say which."""

    def __init__(self, status: int, problem: Any) -> None:
        super().__init__(f"{status}: {problem}")
        self.status = status
        self.problem = problem


class Client:
    """`base_url` is the server's root, `token` an API key."""

    def __init__(self, base_url: str, token: str = "") -> None:
        self._base_url = base_url.rstrip("/") + "/"
        self._token = token

    def is_alive(self) -> bool:
        """Whether the server answers its health check."""
        try:
            self._call("GET", "healthz")
        except (ApiError, OSError):
            return False
        return True

    def submit(self, tasks: list[dict[str, Any]]) -> list[str]:
        """Submit all or nothing; the ids in the order of the tasks."""
        answer = self._call("POST", "api/v1/tasks", tasks)
        ids: list[str] = answer["ids"]
        return ids

    def attempts(self, task_id: str) -> list[dict[str, Any]]:
        return list(self.list(f"tasks/{task_id}/attempts"))

    def list(self, what: str, **query: str) -> Iterator[dict[str, Any]]:
        """Every entry of a cursor-paginated list, page after page."""
        url = f"api/v1/{what}" + (f"?{urlencode(query)}" if query else "")
        while url:
            page = self._call("GET", url)
            yield from page["results"]
            url = page["next"]

    def _call(self, method: str, url: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(urljoin(self._base_url, url), data, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                content = response.read()
                is_json = "json" in response.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, error.read().decode(errors="replace")) from None
        return json.loads(content) if is_json and response.status != HTTPStatus.NO_CONTENT else None

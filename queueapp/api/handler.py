"""Requests that come with a key, past what serves browsers.

Django runs the halves of each middleware on a thread that it makes for the request: with those for sessions,
users and messages that is some twenty changes of thread. A key needs none of them. What is left here are the looks
at hosts and headers, which wait for nobody, and one change of thread, to the view.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin

from queueapp.api.base import off_loop, set_apart

Application = Callable[[Any, Any, Any], Awaitable[None]]


def with_keys_apart(others: Application) -> Application:
    """An application that serves requests with a key itself, and leaves all others to `others`."""
    keyed = KeyedHandler()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await (keyed if _has_key(scope) else others)(scope, receive, send)

    return application


class KeyedHandler(ASGIHandler):
    def load_middleware(self, is_async: bool = False) -> None:
        def nobody(request: Any) -> HttpResponseBase:
            raise AssertionError("These are asked for their halves.")

        self._looks: list[MiddlewareMixin] = [
            SecurityMiddleware(nobody),
            CommonMiddleware(nobody),
            XFrameOptionsMiddleware(nobody),
        ]
        self._middleware_chain = convert_exception_to_response(self._respond)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.handle(scope, receive, send)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        request, response = self.create_request(scope, body)
        try:
            if request is None:
                assert response is not None
                await self.send_response(response, send)
            else:
                await self._unless_the_client_leaves(self._answer(request, send), receive)
        finally:
            body.close()

    async def _answer(self, request: Any, send: Any) -> None:
        await self.send_response(await self.run_get_response(request), send)

    async def _unless_the_client_leaves(self, work: Any, receive: Any) -> None:
        """A producer that waits for its task, or follows it, and goes away is not waited for."""
        answering = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            answering.cancel()
            leaving.cancel()

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        for look in self._looks:
            refused = look.process_request(request) if hasattr(look, "process_request") else None
            if refused is not None:
                return refused
        set_apart(request)
        view, arguments, named = self.resolve_request(request)
        if iscoroutinefunction(view):
            response = _rendered(await view(request, *arguments, **named))
        else:
            response = await off_loop(lambda: _rendered(view(request, *arguments, **named)))
        for look in reversed(self._looks):
            if hasattr(look, "process_response"):
                response = look.process_response(request, response)
        return response


def _rendered(response: Any) -> HttpResponseBase:
    return response.render() if hasattr(response, "render") else response


def _has_key(scope: Any) -> bool:
    return any(
        name == b"authorization" and value[:7].lower() == b"bearer " for name, value in scope.get("headers", ())
    )

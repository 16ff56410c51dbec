"""What every request passes on its way in and out: trace id, size, headers, counting, the last net.

``furnish(app, door)`` builds it into an app. Routers of a door use ``GuardedRoute``, which refuses
cross-site writes, finds out who asks, and counts the request against its limit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voltyard.kernel.errors import Invalid, TooMany, VoltyardError
from voltyard.kernel.limits import BODY_BYTES_MAX
from voltyard.kernel.log import logger
from voltyard.web import auth, csrf
from voltyard.web.door import Door, door_of
from voltyard.web.health import REQUESTS, SECONDS
from voltyard.web.problems import Render, Unexpected, note, path_of, problem, too_large, translate

TRACE_BYTES = 8
HEADERS_OVER_TLS = (
    ("Strict-Transport-Security", "max-age=31536000"),
    # Browsers ignore it without TLS, and complain.
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Referrer-Policy", "same-origin"),
)
"""Set unless the answer has its own; a page may say more in its Content-Security-Policy."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
BytesMax = Callable[[Scope], int]


def bytes_max(_scope: Scope) -> int:
    """Return how long the body of any request may be that has no limit of its own."""
    return BODY_BYTES_MAX


def larger(at: Mapping[tuple[str, str], int]) -> BytesMax:
    """Return limits of which some differ: by method and path, as the app knows it."""

    def limit(scope: Scope) -> int:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return at.get((scope["method"], path), BODY_BYTES_MAX)

    return limit


def furnish(app: FastAPI, door: Door, render: Render = problem, limit: BytesMax = bytes_max) -> None:
    """Build the doorway into an app; ``render`` turns an error into that door's kind of answer.

    ``limit`` tells how long the body of a request may be.
    """

    async def refuse(request: Request, wrong: Exception) -> Response:
        error = translate(wrong)
        note(request, error)
        return render(request, error)

    app.state.door = door
    for kind in (VoltyardError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, refuse)
    app.add_middleware(Doorway, door=door, render=render, limit=limit)


class Doorway:
    """The outermost layer of a door."""

    def __init__(self, app: ASGIApp, door: Door, render: Render, limit: BytesMax = bytes_max) -> None:
        self._app, self._door, self._render, self._limit = app, door, render, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state.setdefault("trace", secrets.token_hex(TRACE_BYTES))
        state.setdefault("headers", {})
        passage = _Passage(self._door, scope, receive, send, self._limit(scope))
        try:
            if passage.is_too_large:
                wrong = translate(too_large(passage.bytes_max))
                note(Request(scope), wrong)
                await self._render(Request(scope), wrong)(scope, receive, passage.send)
            else:
                await self._app(scope, passage.receive, passage.send)
        except Exception:
            logger("web").exception(
                "a request failed",
                trace=state["trace"],
                method=scope["method"],
                path=path_of(Request(scope)),
            )
            if passage.has_ended:
                return  # what follows an answer may fail without taking the connection down
            if passage.has_begun:
                raise
            await self._render(Request(scope), Unexpected())(scope, receive, passage.send)


class _Passage:
    """One request on its way through."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        self.has_begun = self.has_ended = False
        self.bytes_max = most
        self._door, self._scope, self._receive, self._send = door, scope, receive, send
        self._began_s = door.ctx.clock.monotonic()
        self._taken_bytes = 0
        self._status = 0
        self._is_stream = False

    @property
    def is_too_large(self) -> bool:
        declared = Headers(scope=self._scope).get("content-length", "")
        return declared.isdecimal() and int(declared) > self.bytes_max

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken_bytes += len(message.get("body", b""))
            if self._taken_bytes > self.bytes_max:
                raise too_large(self.bytes_max)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._status = message["status"]
            self._dress(MutableHeaders(scope=message))
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last:
            self.has_ended = True
            self._count()
        await self._send(message)

    def _dress(self, headers: MutableHeaders) -> None:
        for name, value in HEADERS + (HEADERS_OVER_TLS if self._door.ctx.settings.is_https else ()):
            headers.setdefault(name, value)
        headers["Trace-Id"] = self._scope["state"]["trace"]
        headers.update(self._scope["state"]["headers"])
        self._is_stream = headers.get("content-type", "").startswith("text/event-stream")

    def _count(self) -> None:
        # The template, not the address: an id in a label would make a time series for each thing.
        route = getattr(self._scope.get("route"), "path", "-")
        method = self._scope["method"]
        REQUESTS.labels(self._door.name, method, route, self._status).inc()
        if not self._is_stream:
            passed_s = self._door.ctx.clock.monotonic() - self._began_s
            SECONDS.labels(self._door.name, method, route).observe(passed_s)


async def admit(request: Request) -> None:
    """Let a request in. Raises: ForeignPage; TooMany; Invalid."""
    csrf.check(request)
    door = door_of(request)
    caller = await auth.identify(request)
    who = caller.user.id if caller is not None else door.limits.address(request)
    left, headers = door.limits.request(who)
    request.scope.setdefault("state", {}).setdefault("headers", {}).update(headers)
    if not left.is_allowed:
        raise TooMany("too many requests in a short time: wait a moment", retry_after_s=left.retry_after_s)
    if "\0" in request.url.path or b"%00" in request.scope["query_string"]:
        raise Invalid("the address holds a character that no text can hold", (("", "leave out %00"),))


class GuardedRoute(APIRoute):
    """A route that nobody reaches without being looked at."""

    def get_route_handler(self) -> Handler:
        """Return the handler of the route, behind the guard."""
        handle = self.behind_the_guard(super().get_route_handler())

        async def guarded(request: Request) -> Response:
            await admit(request)
            return await handle(request)

        return guarded

    def behind_the_guard(self, handle: Handler) -> Handler:
        """Return what is done with a request that was let in."""
        return handle

"""Errors on HTTP: the kind of an error decides the status, in one table; the document is RFC 9457.

What the framework refuses by itself (a shape, an address, a method) becomes one of our errors first,
so that a caller meets a single form of refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from voltyard.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    PeerFault,
    Refused,
    TimedOut,
    TooMany,
    Unauthenticated,
    Unavailable,
    VoltyardError,
)
from voltyard.kernel.limits import BODY_BYTES_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.wire import encode

MEDIA_TYPE = "application/problem+json"
RETRY_S = 5
RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code", "trace", "errors"})
PARTS_OF_A_REQUEST = frozenset({"body", "query", "path", "header", "cookie"})
SECRET_IN_PATH = re.compile(r"(/files/(?:up|down)/|/proofs/)[^/]+")

Render = Callable[[Request, VoltyardError], Response]


class NoSuchAddress(NotFound):
    """Nothing is served at this address."""

    title = "There is nothing at this address"


class WrongMethod(Refused):
    """This address does not know this method; the header Allow lists those that it knows."""

    title = "This address does not know this method"


class TooLarge(Refused):
    """The body of the request is too large."""

    title = "The request is too large"


class Unexpected(VoltyardError):
    """Something went wrong on our side; the trace id leads to the line in the log that says what."""

    title = "Something went wrong on our side"


STATUS: Final[Mapping[type[VoltyardError], int]] = MappingProxyType(
    {
        Unauthenticated: 401,
        Forbidden: 403,
        NotFound: 404,
        WrongMethod: 405,
        Conflict: 409,
        Gone: 410,
        TooLarge: 413,
        Invalid: 422,
        TooMany: 429,
        Refused: 400,
        PeerFault: 502,
        Unavailable: 503,
        TimedOut: 504,
        VoltyardError: 500,
    }
)
"""The one table: the nearest class of an error counts."""


def status_of(kind: type[VoltyardError]) -> int:
    """Return the HTTP status of a kind of error."""
    return next(STATUS[each] for each in kind.__mro__ if each in STATUS)


def pointer(place: tuple[Any, ...]) -> str:
    """Return the JSON pointer of a place as the framework names it."""
    words = place[1:] if place and place[0] in PARTS_OF_A_REQUEST else place
    return "".join(f"/{str(word).replace('~', '~0').replace('/', '~1')}" for word in words)


def too_large(bytes_max: int) -> HTTPException:
    """Return the refusal of a body that is too long, in the framework's form: it lets no other one pass."""
    return HTTPException(413, str(bytes_max))


def translate(wrong: Exception) -> VoltyardError:
    """Return our own error for one that the framework raised."""
    match wrong:
        case VoltyardError():
            return wrong
        case RequestValidationError():
            return Invalid("some values are not valid", tuple(_error(each) for each in wrong.errors()))
        case HTTPException(status_code=404):
            return NoSuchAddress()
        case HTTPException(status_code=405):
            return WrongMethod(allow=(wrong.headers or {}).get("Allow", ""))
        case HTTPException(status_code=413, detail=told):
            most = int(told) if told.isdecimal() else BODY_BYTES_MAX
            return TooLarge(f"a request has at most {most} bytes", bytes_max=most)
        case HTTPException(status_code=status) if 400 <= status < 500:
            return Invalid("the request cannot be read", (("", "its body is not what was declared"),))
        case _:
            return Unexpected()


def _error(found: Mapping[str, Any]) -> tuple[str, str]:
    if found["type"] == "json_invalid":
        return "", f"this is not JSON: {found['ctx']['error']}"
    return pointer(tuple(found["loc"])), str(found["msg"]).removeprefix("Value error, ")


def document(error: VoltyardError, *, instance: str, trace: str) -> dict[str, Any]:
    """Return an error as a problem document."""
    code = error.code()
    problem: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": error.title,
        "status": status_of(type(error)),
        "detail": error.detail,
        "instance": instance,
        "code": code,
        "trace": trace,
    }
    if isinstance(error, Invalid):
        problem["errors"] = [{"pointer": where, "detail": why} for where, why in error.errors]
    return problem | {name: fact for name, fact in error.facts.items() if name not in RESERVED}


def headers_of(error: VoltyardError) -> dict[str, str]:
    """Return the headers that go with an error, whatever the body looks like."""
    headers = {"Cache-Control": "no-store"}
    match error:
        case TimedOut():
            pass
        case TooMany() | Unavailable():
            headers["Retry-After"] = str(error.facts.get("retry_after_s", RETRY_S))
        case WrongMethod():
            headers["Allow"] = str(error.facts.get("allow", ""))
    return headers


def trace_of(request: Request) -> str:
    """Return the trace id of a request."""
    return str(request.scope.get("state", {}).get("trace", ""))


def path_of(request: Request) -> str:
    """Return the path of a request as it may be written down: without the token of a file or a letter."""
    return SECRET_IN_PATH.sub(r"\1***", request.url.path)


def problem(request: Request, error: VoltyardError) -> Response:
    """Answer a request with a problem document."""
    headers = headers_of(error)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = document(error, instance=request.url.path, trace=trace_of(request))
    return Response(encode(body), body["status"], headers, MEDIA_TYPE)


def note(request: Request, error: VoltyardError) -> None:
    """Log an error as loudly as its kind deserves."""
    log = logger("web")
    facts = {
        "code": error.code(),
        "trace": trace_of(request),
        "method": request.method,
        "path": path_of(request),
    }
    if isinstance(error, Refused):
        log.info("refused", **facts)
    else:
        log.warning("failed", **facts)

"""Writes that a foreign page made a browser send: refused.

A browser says where a request comes from in Sec-Fetch-Site, an older one in Origin. A program that
shows a bearer token cannot be used by a page, so it is exempt. No secrets in forms are needed.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request

from voltyard.kernel.errors import Forbidden
from voltyard.web.auth import credential
from voltyard.web.door import door_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
OWN_PAGES = frozenset({"same-origin", "none"})


class ForeignPage(Forbidden):
    """The request comes from a page of another website, in the name of whoever is logged in here."""

    title = "This request comes from another website"


def is_own(request: HTTPConnection, public_url: str, *, has_cookie: bool) -> bool:
    """Say whether a write comes from our own pages, or from no page at all."""
    fetched_from = request.headers.get("sec-fetch-site")
    if fetched_from is not None:
        return fetched_from in OWN_PAGES
    origin = request.headers.get("origin")
    if origin is None:
        return not has_cookie
    host = request.headers.get("host", "")
    return bool(host) and (
        urlsplit(origin).netloc.lower() == host.lower() or origin.rstrip("/") == _origin(public_url)
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def check(request: Request) -> None:
    """Refuse a write that a foreign page had sent. Raises: ForeignPage."""
    if request.method in SAFE_METHODS:
        return
    shown = credential(request)
    if shown is not None and not shown.is_cookie:
        return
    public_url = door_of(request).ctx.settings.public_url
    if not is_own(request, public_url, has_cookie=shown is not None):
        raise ForeignPage("open Voltyard itself and try again there")

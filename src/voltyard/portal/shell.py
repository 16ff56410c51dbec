"""What every page shares: who looks at it, the frame around it, and how a thing that went wrong is shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo, available_timezones

from fastapi import Depends
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from voltyard.accounts.service import LANGUAGES, THEMES, User
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, Unauthenticated, VoltyardError
from voltyard.portal import formats, words
from voltyard.portal.assets import Assets, NotBuilt
from voltyard.portal.i18n import catalogue
from voltyard.web.auth import Caller, SignedIn
from voltyard.web.problems import headers_of, status_of, trace_of

P = ParamSpec("P")
T = TypeVar("T")

TEMPLATES = Path(__file__).parent / "templates"
THEME_COOKIE = "voltyard_theme"
ZONE_COOKIE = "voltyard_tz"
FLASH_COOKIE = "voltyard_flash"
YEAR_S = 365 * 24 * 3600
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "private, no-cache",
}


class Shell:
    """The templates in each language, the built files, and the context: one for the whole portal."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.assets = Assets()
        self._environments: Final = {language: self._environment(language) for language in LANGUAGES}

    def _environment(self, language: str) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(catalogue(language), newstyle=True)  # type: ignore[attr-defined]
        environment.globals |= {
            "asset": self.assets.url,
            "words": words,
            "formats": formats,
            "locale": language,
            "with_query": with_query,
        }
        for show in (
            formats.counted,
            formats.energy,
            formats.power,
            formats.current,
            formats.percent,
            formats.latency,
        ):
            environment.filters[show.__name__] = _in_locale(show, language)
        environment.filters["duration"] = formats.duration
        environment.filters["capitalize_first"] = sentence
        environment.filters["pair"] = lambda word: (word, word.replace("_", " "))
        return environment

    def text(self, language: str, message: str) -> str:
        """Translate one of our texts."""
        return catalogue(language).gettext(message)

    def render(self, name: str, language: str, values: Mapping[str, Any]) -> str:
        """Render a template in a language."""
        environment = self._environments.get(language) or self._environments["en"]
        return environment.get_template(name).render(values)

    def bare(self, request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a page for somebody who is not logged in, or for whom nothing else works."""
        theme = request.cookies.get(THEME_COOKIE, "auto")
        frame = {
            "theme": theme if theme in THEMES else "auto",
            "zone": browser_zone(request),
            "browser_zone": browser_zone(request),
            "now": self.ctx.clock.now(),
            "flash": None,
        }
        response = HTMLResponse(self.render(name, "en", frame | values), status, PAGE_HEADERS)
        if values.get("flash"):
            response.delete_cookie(FLASH_COOKIE)
        return response

    def go(self, address: str, said: str = "") -> Response:
        """Send a browser on after a form, with a word, in its language, of what was done."""
        response = RedirectResponse(address, 303)
        if said:
            response.set_cookie(
                FLASH_COOKIE,
                base64.urlsafe_b64encode(json.dumps({"tone": "good", "text": said}).encode()).decode(),
                max_age=60,
                httponly=True,
                samesite="lax",
                secure=self.ctx.settings.is_https,
            )
        return response


def _in_locale(show: Callable[[float | None, str], str], language: str) -> Callable[[float | None], str]:
    return lambda value: show(value, language)


def with_query(chosen: Mapping[str, str], *, after: object) -> str:
    """Return a query with what was chosen and the page behind ``after``."""
    asked = dict(chosen) | {"after": str(after)}
    return urlencode({name: value for name, value in asked.items() if value})


def browser_zone(request: Request) -> tzinfo:
    """Return the time zone that the browser told in a cookie, UTC until it did."""
    name = request.cookies.get(ZONE_COOKIE, "")
    return ZoneInfo(name if name in available_timezones() else "UTC")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a person who is logged in."""

    shell: Shell
    request: Request
    caller: Caller

    @property
    def actor(self) -> Actor:
        """Who acts."""
        return self.caller.actor

    @property
    def user(self) -> User:
        """The person."""
        return self.caller.user

    @property
    def ctx(self) -> Context:
        """The parts that a use-case needs."""
        return self.shell.ctx

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.ctx.clock.now()

    @property
    def zone(self) -> tzinfo:
        """The browser's time zone."""
        return browser_zone(self.request)

    def text(self, message: str) -> str:
        """Translate one of our texts into the person's language."""
        return self.shell.text(self.user.language, message)

    async def read(self, act: Callable[Concatenate[Work, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Look with the person's rights."""
        return await self.ctx.db.read(self.actor, act, *args, **kwargs)

    async def work(self, act: Callable[Concatenate[Work, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Act with the person's rights."""
        return await self.ctx.db.work(self.actor, act, *args, **kwargs)

    def page(self, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a page, or a fragment of one, with what the frame around it needs."""
        frame = {
            "user": self.user,
            "theme": self.user.theme,
            "zone": self.zone,
            "browser_zone": self.zone,
            "now": self.now,
            "path": self.request.url.path,
            "query": self.request.query_params,
            "flash": read_flash(self.request),
        }
        response = HTMLResponse(
            self.shell.render(name, self.user.language, frame | values), status, PAGE_HEADERS
        )
        if FLASH_COOKIE in self.request.cookies:
            response.delete_cookie(FLASH_COOKIE)
        return response

    def go(self, address: str, said: str = "") -> Response:
        """Send the browser on after a form, with a word of what was done."""
        return self.shell.go(address, self.text(said) if said else "")


def read_flash(request: Request) -> dict[str, str] | None:
    """Return the word of what was done that the page before left."""
    try:
        said = json.loads(base64.urlsafe_b64decode(request.cookies[FLASH_COOKIE]))
        return {"tone": "good", "text": str(said["text"])}
    except (KeyError, ValueError, TypeError):
        return None


async def visit(request: Request, caller: SignedIn) -> Visit:
    """Return the visit of who is logged in. Raises: Unauthenticated."""
    return Visit(request.app.state.shell, request, caller)


Here = Annotated[Visit, Depends(visit)]


# --- forms ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Form:
    """What was typed into a form and what is wrong with it, so that nothing has to be typed twice."""

    values: Mapping[str, str]
    errors: Mapping[str, str]
    alert: str = ""
    help: str = ""

    def value(self, field: str, otherwise: str = "") -> str:
        """Return what stands in a field."""
        return self.values.get(field, otherwise)

    def error(self, field: str) -> str:
        """Return what is wrong with a field, empty if nothing is."""
        return self.errors.get(field, "")


BLANK: Final = Form({}, {})


def refused(values: Mapping[str, str], wrong: VoltyardError) -> Form:
    """Return a form as it was filled in, with the fields marked that were refused."""
    errors = {}
    if isinstance(wrong, Invalid):
        errors = {pointer.lstrip("/"): detail for pointer, detail in wrong.errors}
        for field in errors.keys() & words.EMPTY.keys():
            if not values.get(field, "").strip():
                errors[field] = words.EMPTY[field]
    alert = "" if errors else sentence(wrong.detail)
    return Form(values, errors, alert, words.help_for(wrong.code()))


def sentence(text: str) -> str:
    """Return a text with a capital in front and a stop behind."""
    whole = text[:1].upper() + text[1:]
    return whole if whole.endswith((".", "!", "?", "…")) else f"{whole}."


def toast(tone: str, text: str, help_text: str = "") -> str:
    """Return the header that makes a browser show a short notice."""
    return json.dumps({"toast": {"tone": tone, "text": text, "help": help_text}})


# --- when something goes wrong --------------------------------------------------------------------


def show_error(request: Request, wrong: VoltyardError) -> Response:
    """Show an error: the log-in page, a toast for a fragment, or a whole page."""
    if isinstance(wrong, Unauthenticated):
        return _to_log_in(request)
    if isinstance(wrong, NotBuilt):
        return PlainTextResponse(wrong.title, status_of(NotBuilt))
    shell: Shell = request.app.state.shell
    status, help_text = status_of(type(wrong)), words.help_for(wrong.code())
    if request.headers.get("hx-request"):
        headers = {"HX-Reswap": "none", "HX-Trigger": toast("bad", sentence(wrong.detail), help_text)}
        return Response(status_code=status, headers=headers_of(wrong) | headers)
    response = shell.bare(
        request,
        "error.html",
        status=status,
        code=status,
        title=wrong.title,
        detail=sentence(wrong.detail) if wrong.detail != wrong.title else "",
        help=help_text,
        trace=trace_of(request) if status >= 500 else "",
    )
    response.headers.update(headers_of(wrong))
    return response


def _to_log_in(request: Request) -> Response:
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    is_page = request.method in {"GET", "HEAD"} and wanted != "/"
    after = f"?next={quote(wanted, safe='/')}" if is_page else ""
    return RedirectResponse(f"/login{after}", 303)

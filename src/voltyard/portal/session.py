"""Log in and out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from voltyard.accounts import proofs
from voltyard.accounts.factors import TICKET_LASTS, CodeNeeded, WrongCode, log_in, log_in_with_code
from voltyard.accounts.service import User, WrongPassword, log_out
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.errors import TooMany, Unauthenticated, VoltyardError
from voltyard.kernel.limits import SESSION_DAYS
from voltyard.portal import shell as shells
from voltyard.portal.proofs import sees_inbox
from voltyard.portal.shell import BLANK, THEME_COOKIE, YEAR_S, Shell, read_flash, refused
from voltyard.portal.words import _
from voltyard.web.auth import COOKIE, MaybeSignedIn
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import headers_of, status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
TICKET_COOKIE = "voltyard_ticket"


def safe_next(wanted: str) -> str:
    """Return where to go after logging in; only places of the portal itself."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and "\n" not in wanted
    return wanted if is_ours else "/"


@router.get("/login")
async def show(request: Request, caller: MaybeSignedIn, next: str = "/") -> Response:  # noqa: A002 - as in the address
    """Show the log-in page, or go on for who is logged in already."""
    if caller is not None:
        return RedirectResponse(safe_next(next), 303)
    return _page(request, "login.html", next)


def _page(
    request: Request, name: str, wanted: str, form: shells.Form = BLANK, wrong: VoltyardError | None = None
) -> Response:
    """Show a page of the log-in, with what is offered beside it."""
    shell: Shell = request.app.state.shell
    response = shell.bare(
        request,
        name,
        status=200 if wrong is None else status_of(type(wrong)),
        form=form,
        next=safe_next(wanted),
        may_sign_up=proofs.may_sign_up(shell.ctx.settings),
        keeps_mail=sees_inbox(request),
        flash=read_flash(request),
    )
    response.headers.update({} if wrong is None else headers_of(wrong))
    return response


def _origin(request: Request) -> dict[str, str]:
    """Return where a log-in is done and with what, for its session."""
    limits = door_of(request).limits
    return {"address": limits.address(request), "agent": request.headers.get("user-agent", "")}


@router.post("/login")
async def enter(
    request: Request,
    email: Text = "",
    password: Text = "",
    next: Text = "/",  # noqa: A002 - as in the address
) -> Response:
    """Log in, or say what is wrong and keep the address that was typed."""
    shell: Shell = request.app.state.shell
    try:
        door_of(request).limits.prove(request, email)
        user, secret = await log_in(shell.ctx, email, password, **_origin(request))
    except CodeNeeded as needed:
        sent_on = RedirectResponse(f"/login/code?next={quote(safe_next(next), safe='/')}", 303)
        sent_on.set_cookie(
            TICKET_COOKIE, needed.ticket, max_age=int(TICKET_LASTS.total_seconds()), path="/login/code",
            httponly=True, samesite="lax", secure=shell.ctx.settings.is_https,
        )  # fmt: skip
        return sent_on
    except (WrongPassword, TooMany) as wrong:
        return _page(request, "login.html", next, refused({"email": email}, wrong), wrong)
    return _let_in(shell, user, secret, next)


def _let_in(shell: Shell, user: User, secret: str, wanted: str) -> Response:
    sent_on = RedirectResponse(safe_next(wanted), 303)
    is_https = shell.ctx.settings.is_https
    sent_on.set_cookie(
        COOKIE, secret, max_age=SESSION_DAYS * 86_400, httponly=True, samesite="lax", secure=is_https
    )
    sent_on.set_cookie(THEME_COOKIE, user.theme, max_age=YEAR_S, samesite="lax", secure=is_https)
    sent_on.delete_cookie(TICKET_COOKIE, path="/login/code")
    return sent_on


@router.get("/login/code")
async def ask_code(request: Request, next: str = "/") -> Response:  # noqa: A002 - as in the address
    """Ask for the code of the second factor."""
    if TICKET_COOKIE not in request.cookies:
        return RedirectResponse("/login", 303)
    return _page(request, "login_code.html", next)


@router.post("/login/code")
async def enter_code(
    request: Request,
    code: Text = "",
    next: Text = "/",  # noqa: A002 - as in the address
) -> Response:
    """Log in with the code, or say what is wrong with it."""
    shell: Shell = request.app.state.shell
    ticket = request.cookies.get(TICKET_COOKIE, "")
    try:
        door_of(request).limits.prove(request, ticket.partition(".")[0])
        user, secret = await log_in_with_code(shell.ctx, ticket, code, **_origin(request))
    except WrongCode as wrong:
        told = _("That code does not count: try the next one, or a recovery code.")
        return _page(request, "login_code.html", next, shells.Form({}, {"code": told}), wrong)
    except TooMany as wrong:
        return _page(request, "login_code.html", next, refused({}, wrong), wrong)
    except Unauthenticated:
        return shell.go("/login", _("That took too long. Log in again."))
    return _let_in(shell, user, secret, next)


@router.post("/logout")
async def leave(request: Request) -> Response:
    """Log out here; other browsers stay logged in."""
    shell: Shell = request.app.state.shell
    secret = request.cookies.get(COOKIE, "")
    await shell.ctx.db.work(ANYONE, log_out, secret, shell.ctx.settings.secret_key())
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response

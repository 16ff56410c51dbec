"""Log in and out."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi import Form as Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from voltyard.accounts.factors import TICKET_LASTS, CodeNeeded, WrongCode, log_in, log_in_with_code
from voltyard.accounts.service import User, WrongPassword, log_out
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.errors import TooMany, Unauthenticated
from voltyard.kernel.limits import SESSION_DAYS
from voltyard.kernel.settings import Settings, SignUp
from voltyard.portal.proofs import sees_inbox
from voltyard.portal.shell import BLANK, THEME_COOKIE, YEAR_S, Form, Shell, read_flash, refused
from voltyard.portal.words import _
from voltyard.web.auth import COOKIE, MaybeSignedIn
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import headers_of, status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Field()]
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
    shell: Shell = request.app.state.shell
    return shell.bare(
        request, "login.html", form=BLANK, next=safe_next(next), **ways_in(shell.ctx.settings, request)
    )


def ways_in(settings: Settings, request: Request) -> dict[str, Any]:
    """Return what the log-in page offers beside a password."""
    return {
        "may_sign_up": settings.sign_up is SignUp.OPEN and settings.sends_mail,
        "keeps_mail": sees_inbox(request),
        "flash": read_flash(request),
    }


@router.post("/login")
async def enter(
    request: Request,
    email: Text = "",
    password: Text = "",
    next: Text = "/",  # noqa: A002 - as in the address
) -> Response:
    """Log in, or say what is wrong and keep the address that was typed."""
    shell: Shell = request.app.state.shell
    door = door_of(request)
    try:
        door.limits.log_in(door.limits.address(request), email)
        user, secret = await log_in(
            shell.ctx,
            email,
            password,
            address=door.limits.address(request),
            agent=request.headers.get("user-agent", ""),
        )
    except CodeNeeded as needed:
        sent_on = RedirectResponse(f"/login/code?next={quote(safe_next(next), safe='/')}", 303)
        sent_on.set_cookie(
            TICKET_COOKIE, needed.ticket, max_age=int(TICKET_LASTS.total_seconds()), path="/login/code",
            httponly=True, samesite="lax", secure=shell.ctx.settings.is_https,
        )  # fmt: skip
        return sent_on
    except (WrongPassword, TooMany) as wrong:
        form = refused({"email": email}, wrong)
        status = status_of(type(wrong))
        offered = ways_in(shell.ctx.settings, request)
        response = shell.bare(
            request, "login.html", status=status, form=form, next=safe_next(next), **offered
        )
        response.headers.update(headers_of(wrong))
        return response
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
    shell: Shell = request.app.state.shell
    if TICKET_COOKIE not in request.cookies:
        return RedirectResponse("/login", 303)
    offered = ways_in(shell.ctx.settings, request)
    return shell.bare(request, "login_code.html", form=BLANK, next=safe_next(next), **offered)


@router.post("/login/code")
async def enter_code(
    request: Request,
    code: Text = "",
    next: Text = "/",  # noqa: A002 - as in the address
) -> Response:
    """Log in with the code, or say what is wrong with it."""
    shell: Shell = request.app.state.shell
    door = door_of(request)
    ticket = request.cookies.get(TICKET_COOKIE, "")
    try:
        # A code has a million values: whose ticket it is must not try many of them.
        door.limits.log_in(door.limits.address(request), ticket.partition(".")[0])
        user, secret = await log_in_with_code(
            shell.ctx,
            ticket,
            code,
            address=door.limits.address(request),
            agent=request.headers.get("user-agent", ""),
        )
    except (WrongCode, TooMany) as wrong:
        form = (
            Form({}, {"code": _("That code does not count: try the next one, or a recovery code.")})
            if isinstance(wrong, WrongCode)
            else refused({}, wrong)
        )
        offered = ways_in(shell.ctx.settings, request)
        response = shell.bare(
            request,
            "login_code.html",
            status=status_of(type(wrong)),
            form=form,
            next=safe_next(next),
            **offered,
        )
        response.headers.update(headers_of(wrong))
        return response
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

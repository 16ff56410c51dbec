"""One's own account: name, language, theme, API tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from voltyard.accounts import service as accounts
from voltyard.kernel.errors import Invalid
from voltyard.portal import shell as shells
from voltyard.portal.shell import BLANK, THEME_COOKIE, YEAR_S, Here, Visit, refused
from voltyard.portal.words import _
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]


async def account_page(
    here: Visit,
    *,
    profile: shells.Form | None = None,
    token: shells.Form = BLANK,
    secret: str = "",
    status: int = 200,
) -> Response:
    """Show the account, with a fresh token's secret if there is one."""
    own = shells.Form({"name": here.user.name, "language": here.user.language}, {})
    response = here.page(
        "account.html",
        status=status,
        profile=profile or own,
        token=token,
        secret=secret,
        tokens=await here.read(accounts.list_tokens),
    )
    if secret:
        response.headers["Cache-Control"] = "no-store"
    return response


@router.get("/account")
async def show(here: Here) -> Response:
    """Show the account."""
    return await account_page(here)


@router.post("/account")
async def change(here: Here, name: Text = "", language: Text = "en") -> Response:
    """Change name and language."""
    try:
        await here.work(accounts.set_preferences, name=name, language=language)
    except Invalid as wrong:
        form = refused({"name": name, "language": language}, wrong)
        return await account_page(here, profile=form, status=status_of(type(wrong)))
    return here.go("/account", _("Saved."))


@router.post("/account/theme")
async def set_theme(here: Here, theme: Text = "auto") -> Response:
    """Keep the theme, in the account and for the log-in page."""
    await here.work(accounts.set_preferences, theme=theme)
    if here.request.headers.get("x-quiet"):
        response = Response(status_code=204)
    else:
        response = here.go("/account", _("Saved."))
    is_https = here.ctx.settings.is_https
    response.set_cookie(THEME_COOKIE, theme, max_age=YEAR_S, samesite="lax", secure=is_https)
    return response


@router.post("/account/tokens")
async def add_token(here: Here, name: Text = "") -> Response:
    """Make an API token and show its secret, this once."""
    try:
        made, secret = await here.work(accounts.add_token, name, here.ctx.settings.secret_key())
    except Invalid as wrong:
        form = refused({"name": name}, wrong)
        return await account_page(here, token=form, status=status_of(type(wrong)))
    assert made.name
    return await account_page(here, secret=secret)


@router.post("/account/tokens/{token_id}/revoke")
async def revoke_token(here: Here, token_id: str) -> Response:
    """Make an API token useless."""
    await here.work(accounts.revoke_token, token_id)
    return here.go("/account", _("The token is revoked; whatever used it is locked out."))

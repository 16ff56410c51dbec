"""One's own account: name, language, theme, how one gets in, where one is logged in, API tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import segno
from fastapi import APIRouter, Form
from starlette.responses import Response

from voltyard.accounts import factors, proofs
from voltyard.accounts import service as accounts
from voltyard.accounts.factors import FactorIsOn, WrongCode
from voltyard.accounts.service import WrongPassword
from voltyard.kernel.errors import Conflict, Invalid, TooMany, VoltyardError
from voltyard.portal import shell as shells
from voltyard.portal.shell import BLANK, THEME_COOKIE, YEAR_S, Here, Visit, refused
from voltyard.portal.words import _
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]


async def account_page(
    here: Visit,
    *,
    profile: shells.Form | None = None,
    token: shells.Form = BLANK,
    password: shells.Form = BLANK,
    email: shells.Form = BLANK,
    factor: shells.Form = BLANK,
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
        password=password,
        email=email,
        factor=factor,
        factor_state=await here.read(factors.state),
        sends_mail=here.ctx.settings.sends_mail,
        sessions=await here.read(accounts.list_sessions),
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


# --- how one gets in ------------------------------------------------------------------------------


@router.get("/account/password")
@router.get("/account/email")
@router.get("/account/factor/off")
async def lead_back(here: Here) -> Response:
    """Lead who loads the page anew after a refusal back to the account."""
    return here.go("/account")


@router.post("/account/password")
async def change_password(here: Here, present: Text = "", password: Text = "") -> Response:
    """Change one's own password; other browsers are logged out."""
    try:
        _count_attempt(here)
        await proofs.change_password(here.ctx, here.actor, present, password)
    except (Invalid, WrongPassword, TooMany) as wrong:
        return await account_page(here, password=_marked(wrong, {}), status=_status(wrong))
    return here.go("/account", _("Your password is changed. Your other browsers were logged out."))


@router.post("/account/email")
async def change_email(here: Here, email: Text = "", present_for_email: Text = "") -> Response:
    """Send a letter to the address that one wants to have."""
    try:
        _count_attempt(here)
        door_of(here.request).limits.letter(here.request)
        await proofs.change_email(here.ctx, here.actor, email, present_for_email)
    except (Invalid, Conflict, WrongPassword, TooMany) as wrong:
        form = _marked(wrong, {"email": email}, "present_for_email")
        return await account_page(here, email=form, status=_status(wrong))
    return here.go("/account", _("A letter is on its way to the new address: open the link in it."))


def _count_attempt(here: Visit) -> None:
    """Count an attempt to prove who one is, also for who is logged in: a browser may be left alone."""
    door_of(here.request).limits.prove(here.request, here.user.email)


def _marked(wrong: VoltyardError, typed: Mapping[str, str], field: str = "present") -> shells.Form:
    """Return the form with what is wrong; a wrong password is wrong where it was typed."""
    if isinstance(wrong, WrongPassword):
        return shells.Form(typed, {field: _("that is not your present password")})
    return refused(typed, wrong)


def _status(wrong: VoltyardError) -> int:
    # Whoever types a wrong password here is logged in all the same.
    return 422 if isinstance(wrong, WrongPassword) else status_of(type(wrong))


@router.post("/account/sessions/{session_id}/end")
async def end_session(here: Here, session_id: str) -> Response:
    """Log one browser out."""
    await here.work(accounts.end_session, session_id)
    return here.go("/account", _("That browser is logged out."))


@router.post("/account/sessions/end")
async def end_sessions(here: Here) -> Response:
    """Log all other browsers out."""
    await here.work(accounts.end_sessions)
    return here.go("/account", _("All your other browsers are logged out."))


# --- the second factor ----------------------------------------------------------------------------


@router.get("/account/factor")
async def show_factor(here: Here) -> Response:
    """Show what to tell one's phone."""
    return await _factor_page(here, BLANK)


async def _factor_page(here: Visit, form: shells.Form, status: int = 200) -> Response:
    try:
        setup = await here.work(factors.begin, here.ctx.settings.secret_key())
    except FactorIsOn:
        return here.go("/account#factor")
    picture = segno.make(setup.uri, error="m").svg_data_uri(scale=5, border=4, dark="#000", light="#fff")
    response = here.page("factor.html", status=status, form=form, setup=setup, picture=picture, codes=())
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/account/factor")
async def confirm_factor(here: Here, code: Text = "") -> Response:
    """Turn the second factor on with a first code, and show the recovery codes, this once."""
    try:
        _count_attempt(here)
        codes = await here.work(factors.confirm, code, here.ctx.settings.secret_key())
    except WrongCode:
        form = shells.Form({}, {"code": _("that is not what your phone shows now: try the next one")})
        return await _factor_page(here, form, 422)
    except TooMany as wrong:
        return await _factor_page(here, refused({}, wrong), status_of(TooMany))
    response = here.page("factor.html", form=BLANK, setup=None, picture="", codes=codes)
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/account/factor/off")
async def turn_factor_off(here: Here, present_for_factor: Text = "") -> Response:
    """Turn the second factor off."""
    try:
        _count_attempt(here)
        await factors.turn_off(here.ctx, here.actor, present_for_factor)
    except (WrongPassword, Conflict, TooMany) as wrong:
        form = _marked(wrong, {}, "present_for_factor")
        return await account_page(here, factor=form, status=_status(wrong))
    return here.go("/account#factor", _("The second factor is off."))

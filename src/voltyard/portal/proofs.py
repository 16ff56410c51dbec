"""Sign up, ask for a new password, and what the links in letters lead to; and the inbox of a try-out."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from voltyard.accounts import letters, proofs
from voltyard.accounts.proofs import ProofDead, ProofKind, SignUpClosed
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.errors import Conflict, Invalid, NotFound, TooMany, VoltyardError
from voltyard.kernel.settings import SignUp
from voltyard.portal.shell import BLANK, Shell, refused
from voltyard.portal.words import _
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import headers_of, status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
LETTER_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox allow-popups"


def _bare(request: Request, name: str, wrong: VoltyardError | None = None, **values: Any) -> HTMLResponse:
    shell: Shell = request.app.state.shell
    status = 200 if wrong is None else status_of(type(wrong))
    response = shell.bare(request, name, status=status, keeps_mail=shell.ctx.settings.keeps_mail, **values)
    if wrong is not None:
        response.headers.update(headers_of(wrong))
    return response


# --- asking for a letter --------------------------------------------------------------------------


@router.get("/signup")
async def sign_up_page(request: Request) -> Response:
    """Show the form for a new account, or say who can make one."""
    shell: Shell = request.app.state.shell
    settings = shell.ctx.settings
    if settings.sign_up is SignUp.CLOSED:
        raise SignUpClosed("nobody can sign up here by themselves: ask whoever runs this installation")
    letters.require_mail(settings)
    return _bare(request, "sign_up.html", form=BLANK)


@router.post("/signup")
async def sign_up(request: Request, email: Text = "", name: Text = "") -> Response:
    """Write to somebody who wants an account; what is answered is the same for everybody."""
    shell: Shell = request.app.state.shell
    door = door_of(request)
    try:
        door.limits.letter(door.limits.address(request))
        await proofs.sign_up(shell.ctx, email, name)
    except (Invalid, TooMany) as wrong:
        return _bare(request, "sign_up.html", wrong, form=refused({"email": email, "name": name}, wrong))
    return _bare(request, "letter_sent.html", email=email.strip(), is_sign_up=True)


@router.get("/forgot")
async def forgot_page(request: Request, email: str = "") -> Response:
    """Show the form for a new password, or say who can set one."""
    shell: Shell = request.app.state.shell
    is_possible = shell.ctx.settings.sends_mail
    return _bare(request, "forgot.html", form=BLANK, email=email[:254], is_possible=is_possible)


@router.post("/forgot")
async def forgot(request: Request, email: Text = "") -> Response:
    """Write to somebody who wants a new password; what is answered is the same for everybody."""
    shell: Shell = request.app.state.shell
    door = door_of(request)
    try:
        door.limits.letter(door.limits.address(request))
        await proofs.forgot(shell.ctx, email)
    except (Invalid, TooMany) as wrong:
        form = refused({"email": email}, wrong)
        return _bare(request, "forgot.html", wrong, form=form, email=email, is_possible=True)
    return _bare(request, "letter_sent.html", email=email.strip(), is_sign_up=False)


# --- using a link ---------------------------------------------------------------------------------


@router.get("/proofs/{token}")
async def show(request: Request, token: str) -> Response:
    """Show what a link is for; opening it changes nothing, since mail programs open links by themselves."""
    shell: Shell = request.app.state.shell
    try:
        proof = await shell.ctx.db.read(ANYONE, proofs.find, token, shell.ctx.settings.secret_key())
    except ProofDead as wrong:
        return _bare(request, "proof_dead.html", wrong, why=refused({}, wrong))
    return _page(request, token, proof, BLANK)


def _page(
    request: Request, token: str, proof: proofs.Proof, form: Any, wrong: VoltyardError | None = None
) -> Response:
    page = "confirm_email.html" if proof.kind is ProofKind.CHANGE_EMAIL else "password_new.html"
    response = _bare(request, page, wrong, form=form, token=token, proof=proof)
    # The address of this page opens an account: no other site may hear of it.
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/proofs/{token}")
async def use(request: Request, token: str, password: Text = "", name: Text = "") -> Response:
    """Set the password, or take the new address, that a link is for."""
    shell: Shell = request.app.state.shell
    key = shell.ctx.settings.secret_key()
    try:
        proof = await shell.ctx.db.read(ANYONE, proofs.find, token, key)
        if proof.kind is ProofKind.CHANGE_EMAIL:
            await shell.ctx.db.work(ANYONE, proofs.confirm_email, token, key)
            return shell.go("/account", _("Your e-mail address is changed."))
        try:
            await proofs.set_password(shell.ctx, token, password, name)
        except Invalid as wrong:
            return _page(request, token, proof, refused({"name": name}, wrong), wrong)
    except Conflict as wrong:
        return _bare(request, "proof_dead.html", wrong, why=refused({}, wrong))
    return shell.go("/login", _("Your password is set. Log in with it."))


# --- the inbox of a try-out -----------------------------------------------------------------------


def _require_here(request: Request) -> Shell:
    """Let nobody but who sits at this machine look: the letters open every account. Raises: NotFound."""
    shell: Shell = request.app.state.shell
    address = door_of(request).limits.address(request).partition("/")[0]
    is_here = (
        ipaddress.ip_address(address).is_loopback if address.strip("0123456789abcdef.:") == "" else False
    )
    if not shell.ctx.settings.keeps_mail or not is_here:
        raise NotFound("there is no such page")
    return shell


@router.get("/inbox")
async def inbox(request: Request) -> Response:
    """Show what would have been sent."""
    shell = _require_here(request)
    found = await shell.ctx.db.read(ANYONE, letters.list_letters)
    return _bare(request, "inbox.html", letters=found, letter=None)


@router.get("/inbox/{letter_id}")
async def read_letter(request: Request, letter_id: str) -> Response:
    """Show one letter."""
    shell = _require_here(request)
    found = await shell.ctx.db.read(ANYONE, letters.list_letters)
    letter = await shell.ctx.db.read(ANYONE, letters.get, letter_id)
    return _bare(request, "inbox.html", letters=found, letter=letter)


@router.get("/inbox/{letter_id}/body")
async def letter_body(request: Request, letter_id: str) -> Response:
    """Show the HTML of a letter as a mail program would, with nothing of it running."""
    shell = _require_here(request)
    letter = await shell.ctx.db.read(ANYONE, letters.get, letter_id)
    headers = {"Content-Security-Policy": LETTER_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(letter.html.replace("<head>", '<head><base target="_blank">', 1), headers=headers)

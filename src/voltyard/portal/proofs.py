"""Sign up, ask for a new password, and what the links in letters lead to; and the inbox of a try-out."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from voltyard.accounts import letters, proofs
from voltyard.accounts.proofs import ProofDead, ProofKind
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.errors import Conflict, Invalid, NotFound, TooMany, VoltyardError
from voltyard.portal.shell import BLANK, Shell, refused
from voltyard.portal.words import _
from voltyard.web.auth import Caller, MaybeSignedIn
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute
from voltyard.web.limits import read_address
from voltyard.web.problems import headers_of, status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
LINK = re.compile(r"https?://\S+/proofs/\S+")
LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)


def _bare(request: Request, name: str, wrong: VoltyardError | None = None, **values: Any) -> HTMLResponse:
    shell: Shell = request.app.state.shell
    status = 200 if wrong is None else status_of(type(wrong))
    response = shell.bare(request, name, status=status, keeps_mail=sees_inbox(request), **values)
    if wrong is not None:
        response.headers.update(headers_of(wrong))
    return response


# --- asking for a letter --------------------------------------------------------------------------


@router.get("/signup")
async def sign_up_page(request: Request) -> Response:
    """Show the form for a new account, or say who can make one."""
    shell: Shell = request.app.state.shell
    proofs.require_sign_up(shell.ctx.settings)
    return _bare(request, "sign_up.html", form=BLANK)


@router.post("/signup")
async def sign_up(request: Request, email: Text = "", name: Text = "") -> Response:
    """Write to somebody who wants an account; what is answered is the same for everybody."""
    shell: Shell = request.app.state.shell
    try:
        door_of(request).limits.letter(request)
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
    try:
        door_of(request).limits.letter(request)
        await proofs.forgot(shell.ctx, email)
    except (Invalid, TooMany) as wrong:
        form = refused({"email": email}, wrong)
        return _bare(request, "forgot.html", wrong, form=form, email=email, is_possible=True)
    return _bare(request, "letter_sent.html", email=email.strip(), is_sign_up=False)


# --- using a link ---------------------------------------------------------------------------------


@router.get("/proofs/{token}")
async def show(request: Request, caller: MaybeSignedIn, token: str) -> Response:
    """Show what a link is for; opening it changes nothing, since mail programs open links by themselves.

    Another address counts for who is logged in only: a letter that went to a wrong one must open nothing.
    """
    shell: Shell = request.app.state.shell
    try:
        proof = await shell.ctx.db.read(ANYONE, proofs.find, token, shell.ctx.settings.secret_key())
    except ProofDead as wrong:
        return _dead(request, wrong)
    if _is_anothers(proof, caller):
        return _as_oneself(request, token, caller)
    return _page(request, token, proof, BLANK)


def _dead(request: Request, wrong: Conflict) -> Response:
    """Show that a link does nothing, and why."""
    return _bare(request, "proof_dead.html", wrong, why=refused({}, wrong), title=wrong.title)


def _is_anothers(proof: proofs.Proof, caller: Caller | None) -> bool:
    """Say whether a link is for an address that somebody else asked for than who opened it."""
    return proof.kind is ProofKind.CHANGE_EMAIL and (caller is None or caller.user.id != proof.user_id)


def _as_oneself(request: Request, token: str, caller: Caller | None) -> Response:
    """Have who opened the link for another address log in as who asked for it."""
    shell: Shell = request.app.state.shell
    if caller is None:
        return RedirectResponse(f"/login?next=/proofs/{quote(token, safe='')}", 303)
    return shell.go("/account", _("That link is for another account: log out, and open it again."))


def _page(
    request: Request, token: str, proof: proofs.Proof, form: Any, wrong: VoltyardError | None = None
) -> Response:
    page = "confirm_email.html" if proof.kind is ProofKind.CHANGE_EMAIL else "password_new.html"
    response = _bare(request, page, wrong, form=form, token=token, proof=proof)
    # That no other site hears of this address is what Referrer-Policy says of every page of ours; with a
    # stricter one browsers would hide from us where the form comes from.
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/proofs/{token}")
async def use(
    request: Request, caller: MaybeSignedIn, token: str, password: Text = "", name: Text = ""
) -> Response:
    """Set the password, or take the new address, that a link is for."""
    shell: Shell = request.app.state.shell
    key = shell.ctx.settings.secret_key()
    try:
        proof = await shell.ctx.db.read(ANYONE, proofs.find, token, key)
        if proof.kind is ProofKind.CHANGE_EMAIL:
            if caller is None or _is_anothers(proof, caller):
                return _as_oneself(request, token, caller)
            await shell.ctx.db.work(caller.actor, proofs.confirm_email, token, key)
            return shell.go("/account", _("Your e-mail address is changed."))
        try:
            await proofs.set_password(shell.ctx, token, password, name)
        except Invalid as wrong:
            return _page(request, token, proof, refused({"name": name}, wrong), wrong)
    except Conflict as wrong:
        return _dead(request, wrong)
    return shell.go("/login", _("Your password is set. Log in with it."))


# --- the inbox of a try-out -----------------------------------------------------------------------


FORWARDED = ("forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
OWN_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))


def sees_inbox(request: Request) -> bool:
    """Say whether somebody who sits at this machine asks, and nobody through it.

    Whatever came over a proxy came from elsewhere; a page from elsewhere that has its name lead to this
    machine still says its own name.
    """
    shell: Shell = request.app.state.shell
    peer = request.client.host if request.client is not None else ""
    address = read_address(peer)
    is_here = address is not None and address.is_loopback
    is_direct = not any(name in request.headers for name in FORWARDED)
    return shell.ctx.settings.keeps_mail and is_here and is_direct and request.url.hostname in OWN_HOSTS


def _require_here(request: Request) -> Shell:
    """Let nobody but who sits at this machine look: the letters open every account. Raises: NotFound."""
    if not sees_inbox(request):
        raise NotFound("there is no such page")
    shell: Shell = request.app.state.shell
    return shell


@router.get("/inbox")
async def inbox(request: Request) -> Response:
    """Show what would have been sent."""
    shell = _require_here(request)
    found = await shell.ctx.db.read(ANYONE, letters.list_letters)
    return _bare(request, "inbox.html", letters=found, letter=None, link=None)


@router.get("/inbox/{letter_id}")
async def read_letter(request: Request, letter_id: str) -> Response:
    """Show one letter."""
    shell = _require_here(request)
    found = await shell.ctx.db.read(ANYONE, letters.list_letters)
    letter = await shell.ctx.db.read(ANYONE, letters.get, letter_id)
    link = LINK.search(letter.text)
    return _bare(request, "inbox.html", letters=found, letter=letter, link=link and link[0])


@router.get("/inbox/{letter_id}/body")
async def letter_body(request: Request, letter_id: str) -> Response:
    """Show the HTML of a letter as a mail program would, with nothing of it running."""
    shell = _require_here(request)
    letter = await shell.ctx.db.read(ANYONE, letters.get, letter_id)
    headers = {"Content-Security-Policy": LETTER_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return HTMLResponse(letter.html.replace("<head>", '<head><base target="_blank">', 1), headers=headers)

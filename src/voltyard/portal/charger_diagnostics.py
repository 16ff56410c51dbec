"""The tab Diagnostics: what a charger is, how it is connected and how safely, its PIN, its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from voltyard.accounts import service as accounts
from voltyard.chargers import certificates, outcomes, security
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import Command
from voltyard.chargers.security import Look, Security
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Forbidden, Invalid, NotFound, Refused, VoltyardError
from voltyard.kernel.seal import SealBroken
from voltyard.locations.access import Permission
from voltyard.portal.chargers import frame
from voltyard.portal.outcomes import Said, say
from voltyard.portal.shell import Form as Filled
from voltyard.portal.shell import Here, Visit, refused, sentence
from voltyard.portal.words import _
from voltyard.speech import CertificateHash, CertificateKind
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
EVENTS = 10
CERTIFICATES = 8


class Step(NamedTuple):
    """A security profile as its row shows it: reached, next, or what is missing for it.

    ``may_insist``: all that is missing is our knowledge of whom the charger trusts.
    """

    profile: int
    is_reached: bool
    is_wanted: bool
    missing: str
    may_insist: bool


def next_steps(found: Security, *, has_tls: bool) -> list[Step]:
    """Return the security profiles with what each of them needs before it can be asked for."""
    missing_tls = _("Chargers cannot come over TLS here: whoever runs this installation can switch it on.")
    password = "" if found.has_password else _("Give the charger a password first.")
    root = (
        ""
        if found.trusts_us or found.is_tls
        else _("Let the charger trust our root certificate first, below.")
    )
    own = (
        ""
        if found.certificate is not None
        else _("Have the charger ask for a certificate of its own first, below.")
    )
    tls = "" if has_tls else missing_tls
    needs = ((1, (password,)), (2, (password, tls, root)), (3, (tls, root, own)))
    return [
        Step(
            profile,
            found.enforced >= profile,
            found.wanted == profile,
            lacking[0] if lacking else "",
            lacking == [root],
        )
        for profile, missing in needs
        for lacking in [[need for need in missing if need]]
    ]


def _people(work: Work, looks: Sequence[Look]) -> dict[str, str]:
    ids = {each.actor_id for each in looks if each.actor_kind in {"user", "token"}}
    return {user_id: accounts.user(work, user_id).name for user_id in ids}


def diagnostics_view(work: Work, charger_id: str, urls: tuple[str, str], after: int | None) -> dict[str, Any]:
    """Return what the tab shows, with what is sensitive for those who may see it."""
    values = frame(work, charger_id)
    if Permission.VIEW_SENSITIVE not in values["may"]:
        return values | {"security": None, "plain_url": urls[0], "tls_url": urls[1]}
    found = security.state(work, charger_id, urls)
    papers = security.papers(work, charger_id)
    events = security.list_events(work, charger_id, after=after, limit=EVENTS + 1)
    looks = security.list_looks(work, charger_id, 3)
    return values | {
        "security": found,
        "steps": next_steps(found, has_tls=bool(urls[1])),
        "own": papers.own[:CERTIFICATES],
        "roots": papers.roots,
        "events": events[:EVENTS],
        "more": events[EVENTS - 1].number if len(events) > EVENTS else "",
        "looks": looks,
        "people": _people(work, looks),
    }


def _urls(ctx: Context) -> tuple[str, str]:
    return ctx.settings.ocpp_url, ctx.settings.ocpp_tls_url


async def page_of(
    here: Visit,
    charger_id: str,
    *,
    status: int = 200,
    said: Said | None = None,
    form: Filled | None = None,
    pin: str = "",
    after: str = "",
) -> Response:
    """Show the tab, with what was just said or done."""
    values = await here.read(diagnostics_view, charger_id, _urls(here.ctx), to_number(after))
    response = here.page(
        "charger_diagnostics.html",
        status=status,
        tab="diagnostics",
        said=said,
        form=form or Filled({"name": values["charger"].name}, {}),
        pin=pin,
        after=after,
        **values,
    )
    if pin:
        response.headers["Cache-Control"] = "no-store"
    return response


async def _told(here: Visit, charger_id: str, done: Command) -> Response:
    return await page_of(here, charger_id, said=say(here, outcomes.explain(done)))


async def _refused(here: Visit, charger_id: str, wrong: VoltyardError) -> Response:
    """Show a refusal where the button is; what may not be known or done at all is for the whole page."""
    if isinstance(wrong, Forbidden | NotFound):
        raise wrong
    # htmx draws no refusals by their status, so that the page comes as one that is right.
    status = 200 if here.request.headers.get("hx-request") else status_of(type(wrong))
    return await page_of(here, charger_id, status=status, said=Said(sentence(wrong.detail), "bad"))


@router.get("/chargers/{charger_id}/diagnostics")
async def show(here: Here, charger_id: str, after: str = "") -> Response:
    """Show what a charger is, and how it is connected."""
    return await page_of(here, charger_id, after=after)


@router.get("/chargers/{charger_id}/details")
async def moved(_here: Here, charger_id: str) -> Response:
    """Lead old bookmarks on."""
    return RedirectResponse(f"/chargers/{charger_id}/diagnostics", 308)


@router.post("/chargers/{charger_id}/rename")
async def rename(here: Here, charger_id: str, name: Text = "") -> Response:
    """Give a charger a name."""
    try:
        await here.work(chargers.rename, charger_id, name)
    except Invalid as wrong:
        form = refused({"name": name}, wrong)
        return await page_of(here, charger_id, status=status_of(type(wrong)), form=form)
    return here.go(f"/chargers/{charger_id}/diagnostics", _("Saved."))


@router.post("/chargers/{charger_id}/unlink")
async def unlink(here: Here, charger_id: str) -> Response:
    """Take a charger out of its location."""
    charger = await here.read(chargers.get, charger_id)
    assert charger.location_id is not None, "an unclaimed charger is seen by nobody"
    await here.work(chargers.unlink, charger.location_id, charger_id)
    return here.go(
        f"/locations/{charger.location_id}/chargers", _("The charger is unlinked and can be added again.")
    )


@router.post("/chargers/{charger_id}/pin")
async def show_pin(here: Here, charger_id: str) -> Response:
    """Show the PIN; that somebody looked is noted."""
    key = here.ctx.settings.secret_key()
    try:
        pin = await here.work(security.reveal_pin, charger_id, key)
    except (Conflict, SealBroken) as wrong:
        return await _refused(here, charger_id, wrong)
    return await page_of(here, charger_id, pin=pin)


@router.post("/chargers/{charger_id}/security/password")
async def rotate(here: Here, charger_id: str) -> Response:
    """Give the charger a new password that nobody sees."""
    try:
        done = await security.rotate_password(here.ctx, here.actor, charger_id)
    except Refused as wrong:
        return await _refused(here, charger_id, wrong)
    return await _told(here, charger_id, done)


@router.post("/chargers/{charger_id}/security/profile")
async def raise_profile(here: Here, charger_id: str, profile: Text = "", is_sure: Text = "") -> Response:
    """Have the charger come with a higher security profile."""
    try:
        done = await security.raise_profile(
            here.ctx, here.actor, charger_id, to_number(profile) or 0, is_sure=bool(is_sure)
        )
    except Refused as wrong:
        return await _refused(here, charger_id, wrong)
    return await _told(here, charger_id, done)


@router.post("/chargers/{charger_id}/certificates")
async def request_certificate(here: Here, charger_id: str) -> Response:
    """Have the charger ask for a certificate of its own."""
    return await _told(here, charger_id, await certificates.ask_for_request(here.ctx, here.actor, charger_id))


@router.post("/chargers/{charger_id}/certificates/{certificate_id}/revoke")
async def revoke_certificate(here: Here, charger_id: str, certificate_id: str) -> Response:
    """Let the charger in with this certificate no longer."""
    try:
        await here.work(certificates.revoke, charger_id, certificate_id)
    except Conflict as wrong:
        return await _refused(here, charger_id, wrong)
    return await page_of(here, charger_id, said=Said(here.text(_("The certificate is revoked.")), "good"))


@router.post("/chargers/{charger_id}/roots")
async def install_root(here: Here, charger_id: str) -> Response:
    """Have the charger trust our root certificate."""
    try:
        done = await certificates.install_root(here.ctx, here.actor, charger_id)
    except (Refused, SealBroken) as wrong:
        return await _refused(here, charger_id, wrong)
    return await _told(here, charger_id, done)


@router.post("/chargers/{charger_id}/roots/read")
async def read_roots(here: Here, charger_id: str) -> Response:
    """Ask the charger which root certificates it trusts, of both kinds."""
    await certificates.read_roots(here.ctx, here.actor, charger_id, CertificateKind.MANUFACTURER)
    done = await certificates.read_roots(here.ctx, here.actor, charger_id, CertificateKind.CENTRAL)
    return await _told(here, charger_id, done)


@router.post("/chargers/{charger_id}/roots/delete")
async def delete_root(
    here: Here,
    charger_id: str,
    algorithm: Text = "",
    issuer_name_hash: Text = "",
    issuer_key_hash: Text = "",
    serial: Text = "",
) -> Response:
    """Have the charger trust a root certificate no longer."""
    hashed = CertificateHash(algorithm, issuer_name_hash, issuer_key_hash, serial)
    try:
        done = await certificates.delete_root(here.ctx, here.actor, charger_id, hashed)
    except Refused as wrong:
        return await _refused(here, charger_id, wrong)
    return await _told(here, charger_id, done)

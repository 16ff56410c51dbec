"""How safe a charger's connection is: profile, password, certificates, PIN, security events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from voltyard.api.commands import Command
from voltyard.api.shapes import Inward, Outward, Page, page, refusals, whole
from voltyard.chargers import certificates, security
from voltyard.speech import CertificateHash, CertificateKind
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["security"])


class Certificate(Outward):
    """A certificate of a charger, or its request for one; `word` is the charger's, or why it was refused."""

    id: str
    status: Annotated[
        str,
        Field(description="asked, signed, accepted, rejected, replaced, revoked, refused or failed."),
    ]
    word: str
    serial: str | None
    fingerprint: str | None
    valid_from_at: datetime | None
    valid_until_at: datetime | None
    asked_at: datetime
    answered_at: datetime | None


class Refusal(Outward):
    """Why somebody who came in the charger's name was turned away last."""

    why: str
    address: str
    at: datetime


class Security(Outward):
    """How a charger proves who it is.

    `enforced_profile` is the security profile below which it is not let in, `profile_in_use` what its present
    connection proves, `wanted_profile` one that it has accepted and not come with yet.
    `is_password_pending` says that a new password was sent which the charger did not confirm: both are good.
    """

    enforced_profile: int
    profile_in_use: int | None
    wanted_profile: int | None
    is_tls: bool
    address: str | None
    has_password: bool
    password_at: datetime | None
    is_password_pending: bool
    has_pin: bool
    trusts_our_root: bool
    certificate: Certificate | None
    refusal: Refusal | None
    iccid: Annotated[str | None, Field(description="The middle is hidden.")]
    imsi: Annotated[str | None, Field(description="The middle is hidden.")]
    plain_url: Annotated[
        str, Field(description="What to type into the charger without TLS; empty: TLS only.")
    ]
    tls_url: Annotated[str, Field(description="What to type into the charger for TLS; empty: there is none.")]


class SecurityEvent(Outward):
    """Something a charger told that concerns its safety; `is_critical` marks what people should look at."""

    kind: str
    info: str | None
    is_critical: bool
    told_at: datetime | None
    heard_at: datetime


class HashedRoot(Outward):
    """What a root certificate in a charger is known by; hashes in hexadecimal, as the charger tells them."""

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial: str


class Root(Outward):
    """A root certificate in a charger; `name` and `valid_until_at` are known where it came from here."""

    kind: CertificateKind
    name: str
    valid_until_at: datetime | None
    is_ours: bool
    hash: HashedRoot
    heard_at: datetime


class Pin(Outward):
    """The PIN of a charger's sticker."""

    pin: str


class RootPem(Outward):
    """The root certificate of this installation, which chargers have to trust for TLS."""

    certificate: str


class Raise(Inward):
    """A higher security profile; the charger comes back with it, or falls back to the present one."""

    profile: Annotated[int, Field(ge=1, le=3)]
    trusts_already: Annotated[
        bool, Field(description="The charger trusts this server's certificate, although we cannot know it.")
    ] = False


class NewPassword(Inward):
    """A new password; a random one is made, which nobody ever sees, unless one is given."""

    password: Annotated[str | None, Field(max_length=64, description="16 to 40 hexadecimal digits.")] = None


class NewRoot(Inward):
    """A root certificate that a charger is to trust: this installation's, unless another is given."""

    kind: CertificateKind = CertificateKind.CENTRAL
    certificate: Annotated[str | None, Field(max_length=5_500, description="As PEM.")] = None


class RootKind(Inward):
    """Which root certificates are meant."""

    kind: CertificateKind = CertificateKind.CENTRAL


class Unwanted(Inward):
    """The root certificate that a charger is to trust no longer."""

    algorithm: Annotated[str, Field(pattern="^(?i:SHA256|SHA384|SHA512)$")]
    issuer_name_hash: Annotated[str, Field(min_length=1, max_length=128)]
    issuer_key_hash: Annotated[str, Field(min_length=1, max_length=128)]
    serial: Annotated[str, Field(min_length=1, max_length=40)]


@router.get("/chargers/{charger_id}/security", responses=refusals(403, 404))
async def read_security(ctx: Ctx, caller: SignedIn, charger_id: str) -> Security:
    """Return how a charger proves who it is."""
    found = await security.look(ctx, caller.actor, charger_id)
    return Security(
        enforced_profile=found.enforced,
        profile_in_use=found.in_use,
        wanted_profile=found.wanted,
        is_tls=found.is_tls,
        address=found.address,
        has_password=found.has_password,
        password_at=found.password_at,
        is_password_pending=found.has_candidate,
        has_pin=found.is_pin_kept,
        trusts_our_root=found.trusts_us,
        certificate=Certificate.model_validate(found.certificate) if found.certificate else None,
        refusal=Refusal.model_validate(found.refusal) if found.refusal else None,
        iccid=found.iccid,
        imsi=found.imsi,
        plain_url=found.plain_url,
        tls_url=found.tls_url,
    )


@router.post("/chargers/{charger_id}/security/profile", responses=refusals(403, 404, 409))
async def raise_profile(ctx: Ctx, caller: SignedIn, charger_id: str, wanted: Raise) -> Command:
    """Have a charger come with a higher security profile; it is enforced once it does."""
    done = await security.raise_profile(
        ctx, caller.actor, charger_id, wanted.profile, is_sure=wanted.trusts_already
    )
    return Command.of(done)


@router.post("/chargers/{charger_id}/security/password", responses=refusals(403, 404))
async def rotate_password(
    ctx: Ctx, caller: SignedIn, charger_id: str, wanted: NewPassword | None = None
) -> Command:
    """Give a charger a new password; it counts once the charger has accepted it."""
    password = wanted.password if wanted is not None else None
    return Command.of(await security.rotate_password(ctx, caller.actor, charger_id, password))


@router.get("/chargers/{charger_id}/security/events", responses=refusals(403, 404))
async def list_security_events(
    ctx: Ctx, caller: SignedIn, charger_id: str, asked: AskedPage
) -> Page[SecurityEvent]:
    """List what a charger told of its safety, newest first."""
    found = await ctx.db.read(
        caller.actor, security.list_events, charger_id, after=asked.after_number(), limit=asked.most
    )
    return page(asked.slice(found, lambda event: event.number), SecurityEvent.model_validate)


@router.get("/chargers/{charger_id}/pin", responses=refusals(403, 404, 409))
async def read_pin(ctx: Ctx, caller: SignedIn, charger_id: str, response: Response) -> Pin:
    """Return the PIN of a charger; each look is noted."""
    response.headers["Cache-Control"] = "no-store"
    key = ctx.settings.secret_key()
    return Pin(pin=await ctx.db.work(caller.actor, security.reveal_pin, charger_id, key))


@router.get("/chargers/{charger_id}/certificates", responses=refusals(403, 404))
async def list_certificates(ctx: Ctx, caller: SignedIn, charger_id: str) -> Page[Certificate]:
    """List the certificates that a charger asked for, newest first."""
    found = await ctx.db.read(caller.actor, certificates.of_charger, charger_id)
    return whole(found, Certificate.model_validate)


@router.post("/chargers/{charger_id}/certificates", responses=refusals(403, 404))
async def request_certificate(ctx: Ctx, caller: SignedIn, charger_id: str) -> Command:
    """Have a charger make a new key and ask for a certificate; it comes in the list once it has asked."""
    return Command.of(await certificates.ask_for_request(ctx, caller.actor, charger_id))


@router.post(
    "/chargers/{charger_id}/certificates/{certificate_id}/revoke",
    status_code=204,
    responses=refusals(403, 404, 409),
)
async def revoke_certificate(ctx: Ctx, caller: SignedIn, charger_id: str, certificate_id: str) -> None:
    """Let a charger in with this certificate no longer."""
    await ctx.db.work(caller.actor, certificates.revoke, charger_id, certificate_id)


@router.get("/chargers/{charger_id}/roots", responses=refusals(403, 404))
async def list_roots(ctx: Ctx, caller: SignedIn, charger_id: str) -> Page[Root]:
    """List the root certificates that a charger trusts, as it told last."""
    found = await ctx.db.read(caller.actor, certificates.roots, charger_id)
    return whole(found, Root.model_validate)


@router.post("/chargers/{charger_id}/roots", responses=refusals(403, 404))
async def install_root(ctx: Ctx, caller: SignedIn, charger_id: str, wanted: NewRoot | None = None) -> Command:
    """Have a charger trust a root certificate."""
    wanted = wanted or NewRoot()
    done = await certificates.install_root(
        ctx, caller.actor, charger_id, kind=wanted.kind, certificate_pem=wanted.certificate
    )
    return Command.of(done)


@router.post("/chargers/{charger_id}/roots/read", responses=refusals(403, 404))
async def read_roots(ctx: Ctx, caller: SignedIn, charger_id: str, wanted: RootKind | None = None) -> Command:
    """Ask a charger which root certificates it trusts, and keep its answer."""
    kind = wanted.kind if wanted is not None else CertificateKind.CENTRAL
    return Command.of(await certificates.read_roots(ctx, caller.actor, charger_id, kind))


@router.post("/chargers/{charger_id}/roots/delete", responses=refusals(403, 404))
async def delete_root(ctx: Ctx, caller: SignedIn, charger_id: str, unwanted: Unwanted) -> Command:
    """Have a charger trust a root certificate no longer."""
    hashed = CertificateHash(
        unwanted.algorithm, unwanted.issuer_name_hash, unwanted.issuer_key_hash, unwanted.serial
    )
    return Command.of(await certificates.delete_root(ctx, caller.actor, charger_id, hashed))


@router.get("/security/root", responses=refusals())
async def read_root(ctx: Ctx, caller: SignedIn) -> RootPem:  # noqa: ARG001 - whoever is logged in may see it
    """Return the root certificate of this installation, to be loaded into chargers by hand."""
    return RootPem(certificate=await certificates.root_pem(ctx))

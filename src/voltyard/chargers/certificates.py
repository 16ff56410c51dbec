"""Certificates of chargers, and the local authority that signs them.

A charger asks to have its request signed; it is checked at once and signed by a job, which hands the
certificate over (white paper, use cases A02 and A03). The authority is a root and an issuer below it; their
keys lie sealed in the database, so that all processes share them. It is made when it is first needed.

Root certificates in chargers are installed, listed and deleted on request (M03 to M05).

Of each charger the newest ``CERTIFICATES_OF_CHARGER_KEPT`` requests are kept, and all that could still open a
door; what it told of its roots is replaced by what it tells next. Authorities are kept for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from voltyard.chargers import commands, parameters_store, service
from voltyard.chargers import security_store as store
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import ChargerChanged, subject
from voltyard.chargers.keys import fold
from voltyard.chargers.service import Place
from voltyard.kernel import certificates as x509
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.certificates import BadCertificate, KeyKind, Pair
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, NotFound, Unavailable
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import (
    AUTHORITY_DAYS,
    CERTIFICATE_RENEWAL_DAYS,
    CERTIFICATES_OF_CHARGER_KEPT,
    CHARGER_CERTIFICATE_DAYS,
    ROOTS_OF_CHARGER_MAX,
    SERVER_CERTIFICATE_DAYS,
    SIGNINGS_OF_CHARGER_PER_DAY_MAX,
)
from voltyard.kernel.seal import seal, unseal
from voltyard.kernel.settings import Settings
from voltyard.kernel.wire import Message
from voltyard.locations.access import Permission
from voltyard.speech import (
    CertificateHash,
    CertificateKind,
    DeleteCertificate,
    InstallCertificate,
    InstalledCertificates,
    Priority,
    SigningAsked,
    TellCertificates,
    TriggerExtended,
    UseCertificate,
)

ACTOR = system("certificates")
ROOT, ISSUER = "root", "issuer"
ORGANISATION = "Voltyard"
CHAIN_LENGTH_MAX = 10_000
"""White paper §5.1: the longest chain that CertificateSigned may carry."""
HAND_OVER_AFTER_S = 1.0
"""Some chargers want the answer to their request before the certificate."""
RENEWAL_STEP = 50


class NotInForce(Conflict):
    """The certificate is not one with which the charger could come, so it cannot be revoked."""

    title = "This certificate is not in force"


# --- the authority --------------------------------------------------------------------------------


def _row(name: str, pair: Pair, secret: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "certificate": pair.certificate_pem,
        "key_sealed": seal(pair.key_pem.encode(), secret, f"authority:{name}"),
        "valid_until": x509.describe(pair.certificate_pem).valid_until_at,
    }


def _pair(row: Any, secret: bytes) -> Pair:
    return Pair(row.certificate, unseal(row.key_sealed, secret, f"authority:{row.name}").decode())


async def authority(ctx: Context) -> tuple[Pair, Pair]:
    """Return the local authority, root and issuer; make it at first use. Raises: SealBroken."""
    secret = ctx.settings.secret_key()
    root = await _made(ctx, ROOT)
    if root is None:
        now = ctx.clock.now()
        until_at = now + timedelta(days=AUTHORITY_DAYS)
        name = f"Voltyard root {hashlib.sha256(new_id('cert').encode()).hexdigest()[:8]}"
        root = await _keep(
            ctx, ROOT, await asyncio.to_thread(x509.new_root, name, ORGANISATION, now, until_at), secret
        )
    issuer = await _made(ctx, ISSUER)
    if issuer is None:
        now = ctx.clock.now()
        until_at = now + timedelta(days=AUTHORITY_DAYS)
        name = x509.describe(root.certificate_pem).common_name.replace("root", "issuer")
        made = await asyncio.to_thread(x509.new_issuer, root, name, ORGANISATION, now, until_at)
        issuer = await _keep(ctx, ISSUER, made, secret)
    return root, issuer


async def _made(ctx: Context, name: str) -> Pair | None:
    row = await ctx.db.read(ACTOR, store.find_authority, name)
    return None if row is None else _pair(row, ctx.settings.secret_key())


async def _keep(ctx: Context, name: str, pair: Pair, secret: bytes) -> Pair:
    """Keep a pair; should another process have been first, its own counts."""
    await ctx.db.work(ACTOR, store.insert_authority, _row(name, pair, secret))
    kept = await _made(ctx, name)
    assert kept is not None, "an authority that was just kept is there"
    return kept


async def root_pem(ctx: Context) -> str:
    """Return the root certificate that chargers have to trust, as PEM; it is no secret."""
    root, _ = await authority(ctx)
    return root.certificate_pem


def server_names(settings: Settings) -> tuple[str, ...]:
    """Return the names and addresses by which chargers may call this machine, the public ones first."""
    found = [
        urlsplit(settings.ocpp_tls_url or settings.ocpp_url).hostname,
        urlsplit(settings.public_url).hostname,
    ]
    found += [socket.gethostname(), socket.getfqdn(), "localhost", "127.0.0.1"]
    return tuple(dict.fromkeys(name.lower() for name in found if name))


@dataclass(frozen=True, slots=True)
class ServerPair:
    """A certificate of the TLS listener with its chain and key, as PEM."""

    chain_pem: str
    key_pem: str


async def server_pairs(ctx: Context) -> tuple[ServerPair, ...]:
    """Return the certificates of the TLS listener of this machine, renewed before they end.

    They come from the files of the settings, else from the local authority: one with an RSA key and one with
    an elliptic one, since the white paper has chargers that know only one of the two. Raises: OSError;
    SealBroken.
    """
    chain, key = ctx.settings.ocpp_tls_certificate, ctx.settings.ocpp_tls_key
    if chain is not None and key is not None:
        return (ServerPair(chain.read_text(), key.read_text()),)
    root, issuer = await authority(ctx)
    names = server_names(ctx.settings)
    mark = hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]
    pairs = [await _server_pair(ctx, issuer, names, kind, f"server:{kind}:{mark}") for kind in KeyKind]
    above = issuer.certificate_pem + root.certificate_pem
    return tuple(ServerPair(pair.certificate_pem + above, pair.key_pem) for pair in pairs)


async def _server_pair(ctx: Context, issuer: Pair, names: Sequence[str], kind: KeyKind, name: str) -> Pair:
    row = await ctx.db.read(ACTOR, store.find_authority, name)
    now = ctx.clock.now()
    secret = ctx.settings.secret_key()
    is_fresh = row is not None and row.valid_until - now > timedelta(days=CERTIFICATE_RENEWAL_DAYS)
    if row is not None and is_fresh and x509.is_issued_by(row.certificate, issuer.certificate_pem):
        return _pair(row, secret)
    until_at = now + timedelta(days=SERVER_CERTIFICATE_DAYS)
    made = await asyncio.to_thread(x509.new_server, issuer, names, kind, now, until_at)
    await ctx.db.work(ACTOR, store.replace_authority, _row(name, made, secret))
    return made


def other_authorities(settings: Settings) -> tuple[str, ...]:
    """Return the authorities besides our own whose certificates chargers may come with. Raises: OSError."""
    path = settings.ocpp_tls_client_authorities
    return x509.split(path.read_text()) if path is not None else ()


async def trusted_pem(ctx: Context) -> str:
    """Return all authorities whose certificates chargers may come with, as one PEM text."""
    root, issuer = await authority(ctx)
    return issuer.certificate_pem + root.certificate_pem + "".join(other_authorities(ctx.settings))


# --- signing --------------------------------------------------------------------------------------


class SignFor(Message, frozen=True):
    """Sign what a charger asked for and hand it over."""

    certificate_id: str


class AskRenewal(Message, frozen=True):
    """Have a charger ask for a new certificate, because its present one ends soon."""

    charger_id: str


def asked(work: Work, items: Sequence[tuple[Place, SigningAsked]]) -> list[bool]:
    """Check what chargers ask to have signed; say for each whether it will be done.

    A charger that nobody has claimed gets nothing. What is refused is kept with the reason, for people.
    """
    return [_asked(work, place, said.request_pem) for place, said in items]


def _asked(work: Work, place: Place, request_pem: str) -> bool:
    if place.location_id is None:
        return False
    since_at = work.now - timedelta(days=1)
    if store.count_asked(work, place.charger_id, since_at) >= SIGNINGS_OF_CHARGER_PER_DAY_MAX:
        return False
    row = store.find_credentials(work, place.charger_id)
    assert row is not None, "a charger that speaks is there"
    certificate_id = new_id("cert")
    why = ""
    try:
        x509.check_request(request_pem, identity=row.identity)
    except BadCertificate as wrong:
        why = wrong.detail
    store.insert_certificate(
        work,
        id=certificate_id,
        charger_id=place.charger_id,
        status="refused" if why else "asked",
        request=request_pem[:CHAIN_LENGTH_MAX],
        word=why,
        answered_at=work.now if why else None,
    )
    store.delete_spent_certificates(work, place.charger_id, CERTIFICATES_OF_CHARGER_KEPT)
    if not why:
        jobs.enqueue(work, SignFor(certificate_id), delay_s=HAND_OVER_AFTER_S)
    _tell(work, place)
    return not why


def _tell(work: Work, place: Place) -> None:
    work.emit(
        subject(place.location_id, place.charger_id),
        ChargerChanged(place.charger_id, place.location_id, "security"),
    )


async def sign_for(ctx: Context, job: SignFor) -> None:
    """Sign what a charger asked for, unless that was done, and hand it over.

    Raises: Unavailable when the charger gave no answer, so that it is tried again.
    """
    row = await ctx.db.read(ACTOR, store.find_certificate, job.certificate_id)
    if row is None or row.status not in {"asked", "signed"}:
        return
    _, issuer = await authority(ctx)
    if row.status == "asked":
        identity = await ctx.db.read(ACTOR, _identity, row.charger_id)
        if identity is None:
            await ctx.db.work(ACTOR, _give_up, row.id, "the charger was unlinked")
            return
        try:
            x509.check_request(row.request, identity=identity, organisation=ctx.settings.cpo_name)
        except BadCertificate as wrong:
            await ctx.db.work(ACTOR, _give_up, row.id, wrong.detail)
            return
        until_at = ctx.clock.now() + timedelta(days=CHARGER_CERTIFICATE_DAYS)
        pem = await asyncio.to_thread(
            x509.sign_request, issuer, row.request, identity=identity, now=ctx.clock.now(), until_at=until_at
        )
        await ctx.db.work(ACTOR, _signed, row.id, pem)
        row = await ctx.db.read(ACTOR, store.find_certificate, row.id)
        assert row is not None, "a certificate that was signed is there"
    longest = await ctx.db.read(ACTOR, _chain_length_max, row.charger_id)
    chain = _chain(row.certificate, issuer, longest)
    if not chain:
        await ctx.db.work(ACTOR, _give_up, row.id, f"the charger takes {longest} characters at most")
        return
    done = await commands.ask(ctx, ACTOR, row.charger_id, UseCertificate(chain), priority=Priority.BACKGROUND)
    if done.status not in {CommandStatus.EXECUTED, CommandStatus.REJECTED}:
        raise Unavailable("the charger gave no answer to its certificate; it is handed over again")
    await ctx.db.work(ACTOR, _handed_over, row.id, done.status is CommandStatus.EXECUTED, done.word)


def _identity(work: Work, charger_id: str) -> str | None:
    row = store.find_credentials(work, charger_id)
    return row.identity if row is not None and row.location_id is not None else None


def _chain_length_max(work: Work, charger_id: str) -> int:
    """Return the longest chain that a charger takes, in characters, as far as it told."""
    for row in parameters_store.find_parameters(work, charger_id):
        told = (row.reported or "").strip()
        if row.key == fold("CertificateSignedMaxChainSize") and told.isascii() and told.isdecimal():
            return min(int(told), CHAIN_LENGTH_MAX) if len(told) < 10 else CHAIN_LENGTH_MAX
    return CHAIN_LENGTH_MAX


def _chain(certificate_pem: str, issuer: Pair, longest: int) -> str:
    """Return a certificate with its issuer behind it, or alone where that is too long, or nothing.

    The root is known to whoever trusts it, and we know our issuer, so that the certificate alone will do.
    """
    for chain in (certificate_pem + issuer.certificate_pem, certificate_pem):
        if len(chain) <= longest:
            return chain
    return ""


def _signed(work: Work, certificate_id: str, pem: str) -> None:
    said = x509.describe(pem)
    store.set_certificate(
        work,
        certificate_id,
        was=("asked",),
        status="signed",
        certificate=pem,
        serial=said.serial,
        fingerprint=said.fingerprint,
        valid_from=said.valid_from_at,
        valid_until=said.valid_until_at,
    )


def _give_up(work: Work, certificate_id: str, why: str) -> None:
    store.set_certificate(
        work, certificate_id, was=("asked", "signed"), status="failed", word=why, answered_at=work.now
    )


def _handed_over(work: Work, certificate_id: str, is_accepted: bool, word: str) -> None:
    row = store.find_certificate(work, certificate_id)
    if row is None:
        return
    status = "accepted" if is_accepted else "rejected"
    # Meanwhile the charger may have come with it already, which says more than its answer.
    if store.set_certificate(
        work, certificate_id, was=("signed",), status=status, word=word, answered_at=work.now
    ):
        if is_accepted:
            store.replace_older(work, row.charger_id, certificate_id)
        (place,) = service.places(work, [row.charger_id])
        _tell(work, place)


async def ask_for_request(ctx: Context, actor: Actor, charger_id: str) -> Command:
    """Have a charger make a new key and ask for a certificate (A02).

    Raises: NotFound; Forbidden.
    """
    await ctx.db.read(actor, service.get, charger_id, Permission.EDIT_CHARGERS)
    return await commands.ask(ctx, actor, charger_id, TriggerExtended("SignChargePointCertificate"))


def renew_due(work: Work) -> int:
    """Write down for chargers whose certificate ends soon that a new one is due; return for how many."""
    rows = store.find_ending(
        work,
        work.now + timedelta(days=CERTIFICATE_RENEWAL_DAYS),
        work.now - timedelta(days=1),
        RENEWAL_STEP,
    )
    for row in rows:
        store.set_certificate(work, row.id, was=("accepted",), renewal_asked_at=work.now)
        jobs.enqueue(work, AskRenewal(row.charger_id), key=f"renewal:{row.charger_id}")
    return len(rows)


async def ask_renewal(ctx: Context, job: AskRenewal) -> None:
    """Have a charger ask for a new certificate; one that is away is asked again the next day (A03)."""
    with contextlib.suppress(NotFound):
        await commands.ask(
            ctx,
            ACTOR,
            job.charger_id,
            TriggerExtended("SignChargePointCertificate"),
            priority=Priority.BACKGROUND,
        )


def revoke(work: Work, charger_id: str, certificate_id: str) -> None:
    """Let a charger in with this certificate no longer, and close the socket it came with.

    Raises: NotFound; Forbidden; NotInForce.
    """
    charger = service.get(work, charger_id, Permission.EDIT_CHARGERS)
    row = store.find_certificate(work, check("cert", certificate_id))
    if row is None or row.charger_id != charger_id:
        raise NotFound("there is no such certificate of this charger", id=certificate_id)
    if not store.set_certificate(work, certificate_id, was=store.IN_FORCE, status="revoked"):
        raise NotInForce("only a certificate that could still be used can be revoked")
    credentials = store.find_credentials(work, charger_id)
    if credentials is not None and credentials.certificate_serial == row.serial:
        service.part(work, Place(charger_id, charger.location_id))
    _tell(work, Place(charger_id, charger.location_id))


@dataclass(frozen=True, slots=True)
class ChargerCertificate:
    """A certificate of a charger, or a request for one; ``word`` is the charger's, or why it was refused.

    ``status`` is asked, signed, accepted, rejected, replaced, revoked, refused or failed.
    """

    id: str
    status: str
    word: str
    serial: str | None
    fingerprint: str | None
    valid_from_at: datetime | None
    valid_until_at: datetime | None
    asked_at: datetime
    answered_at: datetime | None


def of_charger(work: Work, charger_id: str, limit: int = 20) -> list[ChargerCertificate]:
    """Return the certificates of a charger, newest first. Raises: NotFound; Forbidden."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    return [
        ChargerCertificate(
            row.id,
            row.status,
            row.word,
            row.serial,
            row.fingerprint,
            row.valid_from,
            row.valid_until,
            row.asked_at,
            row.answered_at,
        )
        for row in store.list_certificates(work, charger_id, limit)
    ]


# --- roots in chargers ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Root:
    """A root certificate in a charger; its name and its end are known if it came from us."""

    kind: CertificateKind
    hash: CertificateHash
    name: str
    valid_until_at: datetime | None
    is_ours: bool
    heard_at: datetime


def roots(work: Work, charger_id: str) -> list[Root]:
    """Return the root certificates of a charger, as far as is known. Raises: NotFound; Forbidden."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    own = store.find_authority(work, ROOT)
    mark = _mark(_hash(own.certificate)) if own is not None else ""
    found = []
    for row in store.find_roots(work, charger_id):
        said = x509.describe(row.certificate) if row.certificate else None
        each = _hash_of(row)
        is_ours = own is not None and _mark(each) == mark
        if said is None and is_ours and own is not None:
            said = x509.describe(own.certificate)
        found.append(
            Root(
                CertificateKind(row.kind),
                each,
                said.common_name if said is not None else "",
                said.valid_until_at if said is not None else None,
                is_ours,
                row.heard_at,
            )
        )
    return found


def _hash(certificate_pem: str) -> CertificateHash:
    made = x509.hashes_of(certificate_pem)
    return CertificateHash(made.algorithm, made.issuer_name_hash, made.issuer_key_hash, made.serial)


def _hash_of(row: Any) -> CertificateHash:
    return CertificateHash(row.algorithm, row.issuer_name_hash, row.issuer_key_hash, row.serial)


def _mark(certificate: CertificateHash) -> str:
    """Return by which a root is told from others: chargers differ in case and in leading zeros."""
    serial = certificate.serial.strip().lower().removeprefix("0x").lstrip("0")
    parts = (certificate.algorithm, certificate.issuer_name_hash, certificate.issuer_key_hash)
    return " ".join((*(part.strip().lower() for part in parts), serial))


def trusts_us(work: Work, charger_id: str) -> bool:
    """Say whether a charger is known to trust our root; whoever asks."""
    own = store.find_authority(work, ROOT)
    if own is None:
        return False
    mark = _mark(_hash(own.certificate))
    return any(
        row.kind == CertificateKind.CENTRAL.value and _mark(_hash_of(row)) == mark
        for row in store.find_roots(work, charger_id)
    )


async def install_root(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    *,
    kind: CertificateKind = CertificateKind.CENTRAL,
    certificate_pem: str | None = None,
) -> Command:
    """Have a charger trust a root certificate: our own, unless another is given (M05).

    Raises: NotFound; Forbidden; BadCertificate.
    """
    await ctx.db.read(actor, service.get, charger_id, Permission.EDIT_CHARGERS)
    if certificate_pem is None:
        certificate_pem = await root_pem(ctx)
    else:
        (certificate_pem,) = _only(certificate_pem)
        if not x509.describe(certificate_pem).is_authority:
            raise BadCertificate("that is no authority's certificate: chargers trust authorities only")
    done = await commands.ask(ctx, actor, charger_id, InstallCertificate(kind, certificate_pem))
    if done.status is CommandStatus.EXECUTED:
        await ctx.db.work(actor, _installed, charger_id, kind, certificate_pem)
    return done


def _only(pem: str) -> tuple[str]:
    found = x509.split(pem)
    if len(found) != 1:
        raise BadCertificate("give one certificate, without others behind it")
    return (found[0],)


def _installed(work: Work, charger_id: str, kind: CertificateKind, certificate_pem: str) -> None:
    # Hashes are of the certificate itself as its issuer, which is right for a root: it signed itself.
    made = _hash(certificate_pem)
    for row in store.find_roots(work, charger_id):
        if row.kind == kind.value and _mark(_hash_of(row)) == _mark(made):
            store.delete_root(work, charger_id, row)
    store.insert_roots(
        work,
        [
            {
                "charger_id": charger_id,
                "kind": kind.value,
                "algorithm": made.algorithm,
                "issuer_name_hash": made.issuer_name_hash,
                "issuer_key_hash": made.issuer_key_hash,
                "serial": made.serial,
                "certificate": certificate_pem,
            }
        ],
    )
    (place,) = service.places(work, [charger_id])
    _tell(work, place)


async def read_roots(ctx: Context, actor: Actor, charger_id: str, kind: CertificateKind) -> Command:
    """Ask a charger which root certificates of a kind it trusts, and keep the answer (M03).

    Raises: NotFound; Forbidden.
    """
    await ctx.db.read(actor, service.get, charger_id, Permission.EDIT_CHARGERS)
    done = await commands.ask(ctx, actor, charger_id, TellCertificates(kind))
    if isinstance(done.details, InstalledCertificates):
        await ctx.db.work(actor, _told_roots, charger_id, kind, done.details)
    return done


def _told_roots(work: Work, charger_id: str, kind: CertificateKind, told: InstalledCertificates) -> None:
    known = {_mark(_hash_of(row)): row.certificate for row in store.find_roots(work, charger_id)}
    store.delete_roots(work, charger_id, kind.value)
    rows: dict[str, dict[str, Any]] = {}
    for each in told.certificates[:ROOTS_OF_CHARGER_MAX]:
        # Kept as the charger spells them: it may want to hear the same when one is to be deleted.
        rows[_mark(each)] = {
            "charger_id": charger_id,
            "kind": kind.value,
            "algorithm": each.algorithm[:16],
            "issuer_name_hash": each.issuer_name_hash[:128],
            "issuer_key_hash": each.issuer_key_hash[:128],
            "serial": each.serial[:64],
            "certificate": known.get(_mark(each)),
        }
    store.insert_roots(work, list(rows.values()))
    (place,) = service.places(work, [charger_id])
    _tell(work, place)


async def delete_root(ctx: Context, actor: Actor, charger_id: str, certificate: CertificateHash) -> Command:
    """Have a charger trust a root certificate no longer (M04).

    Raises: NotFound; Forbidden.
    """
    await ctx.db.read(actor, service.get, charger_id, Permission.EDIT_CHARGERS)
    done = await commands.ask(ctx, actor, charger_id, DeleteCertificate(certificate))
    # One that is not there is gone as well.
    if done.status is CommandStatus.EXECUTED or done.word == "NotFound":
        await ctx.db.work(actor, _deleted, charger_id, certificate)
    return done


def _deleted(work: Work, charger_id: str, certificate: CertificateHash) -> None:
    for row in store.find_roots(work, charger_id):
        if _mark(_hash_of(row)) == _mark(certificate):
            store.delete_root(work, charger_id, row)
    (place,) = service.places(work, [charger_id])
    _tell(work, place)

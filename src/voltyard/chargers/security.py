"""How safe a charger's connection is, and making it safer: password, security profile, PIN, security events.

The profiles of the white paper "Improved security for OCPP 1.6-J": 0 nothing, 1 a password over a plain
socket, 2 a password over TLS, 3 a client certificate over TLS. A profile is only ever raised; an
administrator of the installation may lower it in the terminal, for a charger that cannot be reached any more.

Security events are kept for ``SECURITY_EVENT_DAYS``, looks at PINs for ``LOOK_DAYS``.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voltyard.chargers import certificates, commands, service
from voltyard.chargers import security_store as store
from voltyard.chargers.certificates import ChargerCertificate, Root
from voltyard.chargers.commands import Command
from voltyard.chargers.credentials import PROFILE_MAX
from voltyard.chargers.events import ChargerChanged, subject
from voltyard.chargers.service import Place
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid, NotFound
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import LOOK_DAYS, SECURITY_EVENT_DAYS, SECURITY_EVENTS_OF_CHARGER_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.seal import unseal
from voltyard.locations.access import Permission
from voltyard.speech import SecurityTold, SetKey

PASSWORD_BYTES = 20
PASSWORD = re.compile(r"([0-9A-Fa-f]{2}){8,20}")
PRUNE_STEP = 1_000

CRITICAL = frozenset(
    (
        "SecurityLogWasCleared",
        "MemoryExhaustion",
        "TamperDetectionActivated",
        "InvalidFirmwareSignature",
        "InvalidFirmwareSigningCertificate",
        "InvalidCentralSystemCertificate",
        "InvalidChargePointCertificate",
        "InvalidTLSVersion",
        "InvalidTLSCipherSuite",
        "AttemptedReplayAttacks",
        "FailedToAuthenticateAtCentralSystem",
        "CentralSystemFailedToAuthenticate",
    )
)
"""The events of the white paper (§4) that somebody should look at; restarts, clocks and updates are not."""
LOOPBACK = frozenset({"127.0.0.1", "::1"})


class ProfileNotRaised(Conflict):
    """A security profile can be raised and never lowered: the charger would refuse it."""

    title = "A security profile can only be raised"


class NotReadyForProfile(Conflict):
    """Something is missing without which the charger could not come back with the higher profile."""

    title = "The charger could not come back with this security profile"


class PinNotKept(Conflict):
    """The charger was registered when PINs were kept only as hashes, which nobody can read."""

    title = "The PIN of this charger cannot be shown"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a socket in a charger's name was turned away last; ``why`` is a word of ``speech.Entry``."""

    why: str
    address: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Security:
    """How a charger proves who it is.

    ``enforced`` is the security profile below which nobody is let in, ``in_use`` what its present socket
    proves (None while it is offline), ``wanted`` a profile that it has accepted and not come with yet.
    ``has_candidate`` says that a new password was sent that it did not confirm.
    """

    enforced: int
    in_use: int | None
    wanted: int | None
    is_tls: bool
    address: str | None
    has_password: bool
    password_at: datetime | None
    has_candidate: bool
    has_pin: bool
    is_pin_kept: bool
    trusts_us: bool
    certificate: ChargerCertificate | None
    refusal: Refusal | None
    iccid: str | None
    imsi: str | None
    plain_url: str
    tls_url: str


def partly(text: str | None) -> str | None:
    """Hide the middle of a number that names a person's contract: ICCID, IMSI."""
    if not text:
        return None
    if len(text) <= 8:
        return "•" * len(text)
    return f"{text[:4]}{'•' * (len(text) - 8)}{text[-4:]}"


async def look(ctx: Context, actor: Actor, charger_id: str) -> Security:
    """Return how a charger proves who it is. Raises: NotFound; Forbidden."""
    urls = (ctx.settings.ocpp_url, ctx.settings.ocpp_tls_url)
    return await ctx.db.read(actor, state, charger_id, urls)


def state(work: Work, charger_id: str, urls: tuple[str, str]) -> Security:
    """Return how a charger proves who it is; ``urls`` are the plain address and that of TLS, or empty.

    Raises: NotFound; Forbidden.
    """
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    row = store.find_credentials(work, charger_id)
    assert row is not None, "a charger that one may see is there"
    is_online = row.session_id is not None
    newest = [each for each in certificates.of_charger(work, charger_id) if each.status == "accepted"]
    # What was tried while it belonged to somebody else is not this owner's business.
    is_own = row.refused_at is not None and row.claimed_at is not None and row.refused_at >= row.claimed_at
    identity = service.path_of(row.identity)
    plain, tls = urls
    return Security(
        enforced=row.security_profile,
        in_use=row.profile_in_use if is_online else None,
        wanted=row.wanted_profile,
        is_tls=bool(row.is_tls) if is_online else False,
        address=row.address,
        has_password=row.password_hash is not None,
        password_at=row.password_at,
        has_candidate=row.candidate_hashes is not None,
        has_pin=row.pin_hash is not None,
        is_pin_kept=row.pin_sealed is not None,
        trusts_us=certificates.trusts_us(work, charger_id),
        certificate=newest[0] if newest else None,
        refusal=Refusal(row.refused_why or "", row.refused_address or "", row.refused_at) if is_own else None,
        iccid=partly(row.iccid),
        imsi=partly(row.imsi),
        plain_url=f"{plain}/{identity}" if not plain.startswith("wss:") else "",
        tls_url=f"{tls}/{identity}" if tls else "",
    )


def is_on_this_machine(work: Work, charger_id: str) -> bool:
    """Say whether a charger comes from this very machine, as simulated ones do: it reaches ``localhost``.

    Raises: NotFound; Forbidden.
    """
    service.get(work, charger_id)
    row = store.find_credentials(work, charger_id)
    return row is not None and row.address in LOOPBACK


# --- password -------------------------------------------------------------------------------------


def new_password() -> str:
    """Make a fresh password: 20 random bytes as 40 hexadecimal digits (A01, and quirk Q7)."""
    return secrets.token_hex(PASSWORD_BYTES)


async def rotate_password(ctx: Context, actor: Actor, charger_id: str, new: str | None = None) -> Command:
    """Give a charger a new password, a random one unless one is given, and remember only its hash.

    It counts once the charger has accepted it. If the answer is lost, the old and the new one are good until
    the charger comes with one of them. The command says what became of it.
    Raises: NotFound; Forbidden; Invalid for a password that is not 16 to 40 hexadecimal digits.
    """
    await ctx.db.read(actor, service.get, charger_id, Permission.EDIT_CHARGERS)
    password = new_password() if new is None else new.strip()
    if not PASSWORD.fullmatch(password):
        raise Invalid(
            "that cannot be the password of a charger",
            (("/password", "16 to 40 hexadecimal digits, an even number of them"),),
        )
    return await commands.ask(ctx, actor, charger_id, SetKey("AuthorizationKey", password))


# --- profile --------------------------------------------------------------------------------------


async def raise_profile(
    ctx: Context, actor: Actor, charger_id: str, profile: int, *, is_sure: bool = False
) -> Command:
    """Have a charger come with a higher security profile from its next connection on (A05).

    The higher profile is enforced from the first connection that fulfils it; until then the present one is.
    ``is_sure`` stands for "the charger trusts this server's certificate, although that was never seen".
    Raises: NotFound; Forbidden; Invalid; ProfileNotRaised; NotReadyForProfile.
    """
    has_tls = bool(ctx.settings.ocpp_tls_url)
    await ctx.db.read(actor, _check_raise, charger_id, profile, has_tls, is_sure)
    return await commands.ask(ctx, actor, charger_id, SetKey("SecurityProfile", str(profile)))


def _check_raise(work: Work, charger_id: str, profile: int, has_tls: bool, is_sure: bool) -> None:
    service.get(work, charger_id, Permission.EDIT_CHARGERS)
    row = store.find_credentials(work, charger_id)
    assert row is not None, "a charger that one may change is there"
    if not 0 <= profile <= PROFILE_MAX:
        raise Invalid("there is no such security profile", (("/profile", "1, 2 or 3"),))
    if profile <= row.security_profile:
        raise ProfileNotRaised(
            f"this charger's security profile is {row.security_profile} already, and it can only be raised; "
            "an administrator of the installation can lower it in the terminal"
        )
    if profile <= 2 and row.password_hash is None:
        raise NotReadyForProfile("the charger has no password yet: give it one first")
    if profile >= 2:
        _check_tls(work, row, has_tls, is_sure)
    if profile == PROFILE_MAX and store.find_certificate_in_force(work, charger_id) is None:
        raise NotReadyForProfile(
            "the charger holds no certificate of its own: have it ask for one first and wait until it took it"
        )


def _check_tls(work: Work, row: Any, has_tls: bool, is_sure: bool) -> None:
    if not has_tls:
        raise NotReadyForProfile(
            "chargers cannot come over TLS here: whoever runs this installation can switch that on "
            "(VOLTYARD_OCPP_TLS_PORT, or a wss address in VOLTYARD_PUBLIC_OCPP_URL)"
        )
    has_come = row.session_id is not None and row.is_tls
    if not has_come and not is_sure and not certificates.trusts_us(work, row.id):
        raise NotReadyForProfile(
            "the charger may not trust this server's certificate: install our root certificate in it first, "
            "or confirm that it knows the certificate's issuer"
        )


def lower_profile(work: Work, identity: str, profile: int) -> None:
    """Enforce a lower security profile for a charger that cannot be reached any more; for the terminal.

    Raises: NotFound; Invalid.
    """
    assert work.actor.is_system, "only whoever runs the installation lowers a security profile"
    found = service.find(work, identity)
    if found is None:
        raise NotFound(f"there is no charger {identity!r}")
    row = store.find_credentials(work, found.charger_id)
    assert row is not None
    if not 0 <= profile <= row.security_profile:
        raise Invalid(f"this charger's security profile is {row.security_profile}: name a lower one")
    store.set_credentials(
        work, found.charger_id, security_profile=profile, wanted_profile=None, wanted_profile_at=None
    )
    logger("security").warning(
        "a security profile was lowered",
        charger_id=found.charger_id,
        was=row.security_profile,
        now=profile,
        by=work.actor.subject_id,
    )
    _tell(work, found)


def _tell(work: Work, place: Place) -> None:
    work.emit(
        subject(place.location_id, place.charger_id),
        ChargerChanged(place.charger_id, place.location_id, "security"),
    )


# --- PIN ------------------------------------------------------------------------------------------


def reveal_pin(work: Work, charger_id: str, key: bytes) -> str:
    """Return the PIN of a charger, and note who looked; ``key`` is the installation's secret.

    Raises: NotFound; Forbidden; PinNotKept; SealBroken.
    """
    charger = service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    row = store.find_credentials(work, charger_id)
    assert row is not None, "a charger that one may see is there"
    if row.pin_sealed is None:
        raise PinNotKept(
            "the PIN of this charger was stored only as a hash: import it anew with its PIN to show it"
            if row.pin_hash is not None
            else "this charger was registered without a PIN"
        )
    pin = unseal(row.pin_sealed, key, service.seal_of_pin(row.identity_key)).decode()
    store.insert_look(
        work,
        id=new_id("look"),
        what="pin",
        charger_id=charger_id,
        location_id=charger.location_id,
        actor_kind=work.actor.kind.value,
        actor_id=work.actor.subject_id,
        door=work.actor.door,
    )
    return pin


@dataclass(frozen=True, slots=True)
class Look:
    """That somebody looked at something which is shown to few."""

    id: str
    what: str
    actor_kind: str
    actor_id: str
    door: str
    at: datetime


def list_looks(work: Work, charger_id: str, limit: int = 10) -> list[Look]:
    """Return who looked at a charger's PIN, newest first. Raises: NotFound; Forbidden."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    return [
        Look(row.id, row.what, row.actor_kind, row.actor_id, row.door, row.at)
        for row in store.list_looks(work, charger_id, limit)
    ]


# --- security events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """Something a charger told that concerns its safety; ``is_critical`` marks what people should look at."""

    number: int
    kind: str
    info: str | None
    is_critical: bool
    told_at: datetime | None
    heard_at: datetime


def told(work: Work, items: Sequence[tuple[Place, SecurityTold]]) -> None:
    """Keep security events of chargers; of each the newest ``SECURITY_EVENTS_OF_CHARGER_MAX``."""
    store.insert_events(
        work,
        [
            {
                "charger_id": place.charger_id,
                "kind": (said.kind or "Unknown")[:64],
                "info": said.info[:255] if said.info else None,
                "is_critical": said.kind in CRITICAL,
                "told_at": said.told_at if service.is_believed(said.told_at, work.now) else None,
            }
            for place, said in items
        ],
    )
    places = {place.charger_id: place for place, _ in items}
    store.delete_events_beyond(work, list(places), SECURITY_EVENTS_OF_CHARGER_MAX)
    for place in places.values():
        _tell(work, place)


def list_events(
    work: Work, charger_id: str, *, after: int | None = None, limit: int = 25
) -> list[SecurityEvent]:
    """Return a page of a charger's security events, newest first. Raises: NotFound; Forbidden."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    return [
        SecurityEvent(row.number, row.kind, row.info, row.is_critical, row.told_at, row.heard_at)
        for row in store.list_events(work, charger_id, after=after, limit=limit)
    ]


def forget_old(work: Work) -> int:
    """Forget some of the events and looks that are too old; return how many, 0 when none are left."""
    gone = store.delete_old_events(work, work.now - timedelta(days=SECURITY_EVENT_DAYS), PRUNE_STEP)
    return gone + store.delete_old_looks(work, work.now - timedelta(days=LOOK_DAYS))


@dataclass(frozen=True, slots=True)
class Papers:
    """The certificates that concern a charger: its own, and the roots it trusts."""

    own: tuple[ChargerCertificate, ...]
    roots: tuple[Root, ...]


def papers(work: Work, charger_id: str) -> Papers:
    """Return the certificates that concern a charger. Raises: NotFound; Forbidden."""
    return Papers(
        tuple(certificates.of_charger(work, charger_id)), tuple(certificates.roots(work, charger_id))
    )

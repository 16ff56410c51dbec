"""How a charger proves who it is, and how that changes: passwords, security profiles, client certificates.

The rules are functions of values. A change of the password or of the profile goes to the charger as a key
of its configuration, by whatever door; ``about_to_set`` and ``was_set`` keep our side in step with it.

Invariants: a password that a charger accepted counts from then on, and one that it may have accepted counts
beside the old one until the charger shows one of the two; a higher profile is enforced from the first
connection that fulfils it; no password is kept in clear.

From the white paper "Improved security for OCPP 1.6-J", edition 3: use cases A00 (sockets), A01 (password)
and A05 (profile).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from voltyard.accounts.secrets import is_same, machine_hash
from voltyard.chargers import security_store as store
from voltyard.kernel import certificates
from voltyard.kernel.certificates import BadCertificate
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import CANDIDATE_S
from voltyard.kernel.wire import decode
from voltyard.speech import Ask, ByHand, Entry, Hello, SetKey

PASSWORD_KEY = "authorizationkey"
PROFILE_KEY = "securityprofile"
PROFILE_MAX = 3
REFUSAL_PAUSE = timedelta(minutes=1)
_HEX = re.compile(rb"([0-9A-Fa-f]{2})+")
REBOOT_REQUIRED = "rebootrequired"


class Shown(StrEnum):
    """Which of its passwords a socket showed."""

    NONE = "none"
    PRESENT = "present"
    CANDIDATE = "candidate"


class Answered(StrEnum):
    """What a charger answered when it was given a new password or profile."""

    OBEYED = "obeyed"
    LATER = "later"
    REFUSED = "refused"
    NOTHING = "nothing"


class Paper(StrEnum):
    """What a socket's client certificate is worth."""

    ABSENT = "absent"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Proof:
    """All that a socket proves of who it is."""

    is_tls: bool
    password: Shown
    paper: Paper
    serial: str | None = None

    @property
    def profile(self) -> int:
        """Return the security profile that this socket fulfils."""
        if self.is_tls and self.paper is Paper.GOOD:
            return 3
        if self.password is Shown.NONE:
            return 0
        return 2 if self.is_tls else 1


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a charger's credentials."""

    has_password: bool
    profile: int
    wanted_profile: int | None
    candidate_at: datetime | None
    is_candidate_late: bool


@dataclass(frozen=True, slots=True)
class Letting:
    """Whether a socket is let in, and what changes because of it."""

    entry: Entry
    enforced: int
    takes_candidate: bool = False
    drops_candidate: bool = False

    @property
    def is_in(self) -> bool:
        """Say whether the socket is let in."""
        return self.entry is Entry.WELCOME


def weigh(kept: Kept, proof: Proof, now: datetime) -> Letting:
    """Decide about a socket.

    The profile that a charger has accepted counts as soon as it is fulfilled; until then the old one does
    (A05). A good certificate proves more than a password, so it stands in for one.
    """
    enforced = kept.profile
    if kept.wanted_profile is not None and proof.profile >= kept.wanted_profile:
        enforced = max(enforced, kept.wanted_profile)
    entry = _entry(enforced, proof, has_password=kept.has_password)
    if entry is not Entry.WELCOME:
        return Letting(entry, kept.profile)
    is_old = kept.candidate_at is not None and now - kept.candidate_at > timedelta(seconds=CANDIDATE_S)
    return Letting(
        entry,
        enforced,
        takes_candidate=proof.password is Shown.CANDIDATE,
        # A charger that still comes with the old password has not taken the new one, unless the ask is under
        # way, or the charger has said that it needs a restart first.
        drops_candidate=is_old
        and not kept.is_candidate_late
        and (proof.password is Shown.PRESENT or (not kept.has_password and proof.password is Shown.NONE)),
    )


def _entry(enforced: int, proof: Proof, *, has_password: bool) -> Entry:
    if enforced >= 2 and not proof.is_tls:
        return Entry.NOT_TLS
    if enforced == PROFILE_MAX:
        if proof.paper is Paper.ABSENT:
            return Entry.NO_CERTIFICATE
        return Entry.WELCOME if proof.paper is Paper.GOOD else Entry.WRONG_CERTIFICATE
    if (enforced >= 1 or has_password) and proof.profile == 0:
        return Entry.WRONG_PASSWORD
    return Entry.WELCOME


# --- what a socket shows --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trust:
    """What sockets are measured by: the key of our hashes, and authorities that are not ours."""

    key: bytes
    others: tuple[str, ...] = field(default=())


def forms(password: str | None) -> tuple[bytes, ...]:
    """Return what a password can be meant as: bytes, or hexadecimal text that stands for them (quirk Q7)."""
    if password is None:
        return ()
    try:
        sent = base64.b64decode(password, validate=True)
    except (binascii.Error, ValueError):
        return ()
    found = [sent, sent.hex().encode(), sent.hex().upper().encode()]
    if _HEX.fullmatch(sent):
        found += [bytes.fromhex(sent.decode()), sent.lower(), sent.upper()]
    return tuple(found)


def shown(password: str | None, row: Any, key: bytes) -> Shown:
    """Return which of a charger's passwords was sent; all of them are compared, whichever fits."""
    hashes = [machine_hash(form, key) for form in forms(password)]
    present, candidate = (
        kept is not None and sum(is_same(kept, each) for each in hashes) > 0
        for kept in (row.password_hash, row.candidate_hash)
    )
    if candidate:
        return Shown.CANDIDATE
    return Shown.PRESENT if present else Shown.NONE


def read_paper(work: Work, row: Any, hello: Hello, others: Sequence[str]) -> tuple[Paper, str | None]:
    """Return what a client certificate is worth for this charger, and its serial number (profile 3, A00).

    It must name the charger, be valid now, and come from our authority and not be revoked, or from one that
    the installation trusts besides.
    """
    if hello.certificate is None:
        return Paper.ABSENT, None
    try:
        pem = certificates.from_der(hello.certificate)
        said = certificates.describe(pem)
        is_named = said.common_name.strip().lower() == row.identity_key
        if not is_named or not said.valid_from_at <= work.now < said.valid_until_at:
            return Paper.BAD, said.serial
        issuer = store.find_authority(work, "issuer")
        if issuer is not None and certificates.is_issued_by(pem, issuer.certificate):
            is_good = store.take_certificate(work, row.id, said.fingerprint)
        else:
            is_good = any(certificates.is_issued_by(pem, each) for each in others)
    except BadCertificate:
        return Paper.BAD, None
    return (Paper.GOOD if is_good else Paper.BAD), said.serial


def prove(work: Work, row: Any, hello: Hello, trust: Trust) -> Proof:
    """Return what a socket proves."""
    paper, serial = read_paper(work, row, hello, trust.others) if hello.is_tls else (Paper.ABSENT, None)
    return Proof(hello.is_tls, shown(hello.password, row, trust.key), paper, serial)


def let_in(work: Work, row: Any, hello: Hello, trust: Trust) -> tuple[Entry, Proof]:
    """Decide about the socket of a registered charger, and keep what it shows or why it was refused."""
    proof = prove(work, row, hello, trust)
    kept = Kept(
        row.password_hash is not None,
        row.security_profile,
        row.wanted_profile,
        row.candidate_at if row.candidate_hash is not None else None,
        row.is_candidate_late,
    )
    letting = weigh(kept, proof, work.now)
    values: dict[str, Any] = {}
    if letting.takes_candidate:
        values |= {"password_hash": row.candidate_hash, "password_at": work.now}
    if letting.takes_candidate or letting.drops_candidate:
        values |= NO_CANDIDATE
    if letting.enforced != row.security_profile:
        values |= {"security_profile": letting.enforced, "wanted_profile": None, "wanted_profile_at": None}
    if not letting.is_in and _is_news(row, letting.entry, work.now):
        values |= {
            "refused_at": work.now,
            "refused_why": letting.entry.value,
            "refused_address": hello.address[:64],
        }
    if values:
        store.set_credentials(work, row.id, **values)
    return letting.entry, proof


def _is_news(row: Any, entry: Entry, now: datetime) -> bool:
    """Say whether a refusal is worth a row: whoever knocks all the time is noted once a minute."""
    return row.refused_at is None or row.refused_why != entry.value or now - row.refused_at >= REFUSAL_PAUSE


# --- keys that change what a charger proves itself with -------------------------------------------

NO_CANDIDATE: Final = MappingProxyType(
    {"candidate_hash": None, "candidate_at": None, "is_candidate_late": False}
)


def key_of(ask: Ask) -> tuple[str, str] | None:
    """Return key and value if an ask sets a password or a profile, by whatever door it came."""
    if isinstance(ask, SetKey):
        key, value = ask.key, ask.value
    elif isinstance(ask, ByHand) and ask.action == "ChangeConfiguration":
        try:
            said = decode(ask.payload, dict)
        except Invalid:
            return None
        key, value = str(said.get("key", "")), str(said.get("value", ""))
    else:
        return None
    key = key.strip().lower()
    return (key, value) if key in {PASSWORD_KEY, PROFILE_KEY} else None


def about_to_set(work: Work, charger_id: str, ask: Ask, key: bytes) -> None:
    """Keep the hash of a password before it is sent: should the answer be lost, both are good."""
    found = key_of(ask)
    if found is not None and found[0] == PASSWORD_KEY:
        store.set_credentials(
            work,
            charger_id,
            candidate_hash=machine_hash(found[1], key),
            candidate_at=work.now,
            is_candidate_late=False,
        )


def was_set(work: Work, charger_id: str, ask: Ask, answered: Answered, key: bytes) -> None:
    """Keep what a charger answered to a new password or profile.

    Obeyed: it counts alone from now on (A01). Refused: it is forgotten. Neither: it may count, so that it
    is good beside the old one until the charger shows which.
    """
    found = key_of(ask)
    if found is None:
        return
    if found[0] == PASSWORD_KEY:
        _password_was_set(work, charger_id, machine_hash(found[1], key), answered)
    elif answered in {Answered.OBEYED, Answered.LATER}:
        _profile_was_set(work, charger_id, _profile(found[1]))


def _profile(value: str) -> int:
    text = value.strip()
    return int(text) if text.isascii() and text.isdigit() and int(text) <= PROFILE_MAX else 0


def _profile_was_set(work: Work, charger_id: str, profile: int) -> None:
    """Wait for the charger to come with a profile; it may have done so before its answer was written down."""
    row = store.find_credentials(work, charger_id)
    if row is None or profile <= row.security_profile:
        return
    if row.session_id is not None and row.profile_in_use >= profile:
        store.set_credentials(work, charger_id, security_profile=profile, wanted_profile=None)
    else:
        store.want_profile(work, charger_id, profile)


def _password_was_set(work: Work, charger_id: str, sent: str, answered: Answered) -> None:
    match answered:
        case Answered.OBEYED:
            store.set_credentials(work, charger_id, password_hash=sent, password_at=work.now, **NO_CANDIDATE)
        case Answered.LATER:
            store.set_credentials(
                work, charger_id, candidate_hash=sent, candidate_at=work.now, is_candidate_late=True
            )
        case Answered.REFUSED:
            store.drop_candidate(work, charger_id, sent)
        case Answered.NOTHING:
            # A socket of before may have come and gone meanwhile and had the candidate forgotten.
            store.keep_candidate(work, charger_id, sent)

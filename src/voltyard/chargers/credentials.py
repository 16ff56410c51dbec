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
CANDIDATES_MAX = 5
"""So many new passwords may be unconfirmed at a time; then the oldest is forgotten."""


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


def kept_hash(password: str, key: bytes) -> str:
    """Return what is kept of a password, in a spelling by which it is known again however it is sent.

    Digits of mixed case may come back as the bytes that they mean, whose spelling is lost (quirk Q7).
    """
    is_mixed = password not in {password.lower(), password.upper()}
    is_hex = _HEX.fullmatch(password.encode()) is not None
    return machine_hash(password.lower() if is_mixed and is_hex else password, key)


def shown(password: str | None, row: Any, key: bytes) -> Shown:
    """Return which of a charger's passwords was sent; all of them are compared, whichever fits."""
    return _shown(password, row, key)[0]


def _shown(password: str | None, row: Any, key: bytes) -> tuple[Shown, str]:
    """Return which kind of password was sent, and the hash that it fits; empty where it fits none."""
    hashes = [machine_hash(form, key) for form in forms(password)]
    kept = [*candidates_of(row), *([row.password_hash] if row.password_hash is not None else [])]
    fitting = [each for each in kept if sum(is_same(each, sent) for sent in hashes) > 0]
    if not fitting:
        return Shown.NONE, ""
    return (Shown.PRESENT if fitting[0] == row.password_hash else Shown.CANDIDATE), fitting[0]


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
            is_good = any(
                certificates.is_issued_by(pem, each) and work.now < certificates.describe(each).valid_until_at
                for each in others
            )
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
        row.candidate_at if row.candidate_hashes is not None else None,
        row.is_candidate_late,
    )
    letting = weigh(kept, proof, work.now)
    values: dict[str, Any] = {}
    if letting.takes_candidate:
        _, taken = _shown(hello.password, row, trust.key)
        values |= {"password_hash": taken, "password_at": work.now}
        values |= _as_columns(_after(candidates_of(row), taken))
    elif letting.drops_candidate:
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
    {"candidate_hashes": None, "candidate_at": None, "is_candidate_late": False}
)


def candidates_of(row: Any) -> tuple[str, ...]:
    """Return the hashes of the passwords that were sent and not confirmed, the newest last."""
    return tuple((row.candidate_hashes or "").split())


def with_candidate(candidates: Sequence[str], sent: str) -> tuple[str, ...]:
    """Return the candidates with one more, as the newest."""
    return (*(each for each in candidates if each != sent), sent)[-CANDIDATES_MAX:]


def after_answer(
    counts: str | None, candidates: Sequence[str], sent: str, answered: Answered
) -> tuple[str | None, tuple[str, ...]]:
    """Return the password that counts and the candidates, once a charger has answered to a new one.

    Invariant: what the charger may hold is among them. One that was obeyed and is no candidate any more
    was followed by another meanwhile: the answers were written down in the wrong order.
    """
    if answered is Answered.REFUSED:
        return counts, tuple(each for each in candidates if each != sent)
    if answered is Answered.OBEYED and sent in candidates:
        return sent, _after(candidates, sent)
    return counts, tuple(candidates) if sent in {counts, *candidates} else with_candidate(candidates, sent)


def _after(candidates: Sequence[str], taken: str) -> tuple[str, ...]:
    """Return the candidates that were sent after one that the charger has taken."""
    return tuple(candidates)[list(candidates).index(taken) + 1 :]


def _as_columns(candidates: Sequence[str]) -> dict[str, Any]:
    return {"candidate_hashes": " ".join(candidates)} if candidates else dict(NO_CANDIDATE)


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
    if found is None or found[0] != PASSWORD_KEY:
        return
    row = store.lock_credentials(work, charger_id)
    if row is not None:
        before = candidates_of(row)
        store.set_credentials(
            work,
            charger_id,
            candidate_hashes=" ".join(with_candidate(before, kept_hash(found[1], key))),
            candidate_at=work.now,
            is_candidate_late=bool(before) and row.is_candidate_late,
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
        _password_was_set(work, charger_id, kept_hash(found[1], key), answered)
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
    row = store.lock_credentials(work, charger_id)
    if row is None:
        return
    before = candidates_of(row)
    counts, candidates = after_answer(row.password_hash, before, sent, answered)
    values = _as_columns(candidates)
    if candidates and sent in candidates:
        # A socket of before may have come and gone meanwhile and had the candidate forgotten.
        values["candidate_at"] = work.now
    if answered is Answered.LATER and sent in candidates:
        values["is_candidate_late"] = True
    if counts != row.password_hash:
        values |= {"password_hash": counts, "password_at": work.now}
    store.set_credentials(work, charger_id, **values)

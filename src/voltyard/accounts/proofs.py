"""Proofs that somebody reads the mail of an address: to sign up, for a new password or another address.

A proof is an id and a time until which it counts. The link that is sent is the id with a code that only the
installation's secret can make, so that nothing in the database, and no job, opens anything. It works once.
An address is never told whether somebody is registered under it, except by a letter to that address.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from voltyard.accounts import letters, proofs_store, service, store
from voltyard.accounts.secrets import hash_password, is_same, machine_hash
from voltyard.accounts.service import EmailTaken, User, check_password, tidy_email, tidy_name
from voltyard.kernel import jobs
from voltyard.kernel.actor import ANYONE, Actor, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid
from voltyard.kernel.ids import is_id, new_id
from voltyard.kernel.log import logger
from voltyard.kernel.settings import Settings, SignUp
from voltyard.kernel.wire import Message

ACTOR: Final = system("accounts")
CODE_LENGTH: Final = 40
LETTERS_MAX: Final = 3
"""Letters to one address within an hour; more are not sent, whoever asks for them."""
HOUR: Final = timedelta(hours=1)


class ProofKind(StrEnum):
    """What a proof is for."""

    SIGN_UP = "sign_up"
    RESET = "reset"
    CHANGE_EMAIL = "change_email"


LASTS: Final = MappingProxyType(
    {
        ProofKind.SIGN_UP: timedelta(days=1),
        ProofKind.RESET: HOUR,
        ProofKind.CHANGE_EMAIL: timedelta(days=1),
    }
)


class ProofDead(Conflict):
    """The link was used already, its time is over, or it was never sent."""

    title = "This link does not work any more"


class SignUpClosed(Conflict):
    """Nobody signs up by themselves here."""

    title = "Nobody can sign up here"


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that can be used now."""

    id: str
    kind: ProofKind
    email: str
    name: str
    user_id: str | None
    language: str


def token_of(proof_id: str, key: bytes) -> str:
    """Return what stands in the link of a proof."""
    return f"{proof_id}-{machine_hash(f'proof:{proof_id}', key)[:CODE_LENGTH]}"


def find(work: Work, token: str, key: bytes, *, is_used: bool = False) -> Proof:
    """Return the proof of a link; with ``is_used`` for this Work alone, since it works once.

    Raises: ProofDead.
    """
    proof_id, _, _ = token.partition("-")
    is_one = is_id("prf", proof_id)
    row = proofs_store.find_proof(work, proof_id, is_locked=is_used) if is_one else None
    if row is None or not is_same(token, token_of(proof_id, key)):
        raise ProofDead("this link is not one of ours: open the one in the latest letter")
    if _is_over(work, row):
        raise ProofDead("this link was used already, or its time is over: ask for a new one")
    return Proof(row.id, ProofKind(row.kind), row.email, row.name, row.user_id, row.language)


# --- asking for one -------------------------------------------------------------------------------


class ProofAsked(Message, frozen=True):
    """Job: somebody asked for a letter to this address; what is in it depends on who is registered there.

    Looked up by a job, so that whoever asks cannot tell by how long it takes.
    """

    kind: ProofKind
    email: str
    name: str
    language: str
    user_id: str = ""


def may_sign_up(settings: Settings) -> bool:
    """Say whether people can make accounts by themselves."""
    return settings.sign_up is SignUp.OPEN and settings.sends_mail


def require_sign_up(settings: Settings) -> None:
    """Refuse who cannot make an account by themselves, and say who can. Raises: SignUpClosed; NoMail."""
    if settings.sign_up is SignUp.CLOSED:
        raise SignUpClosed("nobody can sign up here by themselves: ask whoever runs this installation")
    letters.require_mail(settings)


async def sign_up(ctx: Context, email: str, name: str, language: str = "en") -> None:
    """Write to somebody who wants an account; to who has one already, that they have.

    Raises: SignUpClosed; NoMail; Invalid for the address.
    """
    require_sign_up(ctx.settings)
    asked = ProofAsked(ProofKind.SIGN_UP, tidy_email(email), tidy_name(name), language)
    await ctx.db.work(ANYONE, jobs.enqueue, asked)


async def forgot(ctx: Context, email: str) -> None:
    """Write to somebody who wants a new password, if there is such a person. Raises: NoMail; Invalid."""
    letters.require_mail(ctx.settings)
    await ctx.db.work(ANYONE, jobs.enqueue, ProofAsked(ProofKind.RESET, tidy_email(email), "", "en"))


async def change_email(ctx: Context, actor: Actor, email: str, password: str) -> None:
    """Write to the new address of somebody who wants another one; it counts once its link was opened.

    Raises: NoMail; WrongPassword; Invalid, also for the address that one has already.
    """
    letters.require_mail(ctx.settings)
    tidy = tidy_email(email)
    row = await service.require_password(ctx, actor, password)
    if row.email == tidy:
        raise Invalid("that is your address already", (("/email", "enter another one"),))
    asked = ProofAsked(ProofKind.CHANGE_EMAIL, tidy, row.name, row.language, row.id)
    await ctx.db.work(actor, jobs.enqueue, asked)


async def answer(ctx: Context, asked: ProofAsked) -> None:
    """Write the letter that somebody asked for, if one is due."""
    await ctx.db.work(ACTOR, _answer, asked)


def _answer(work: Work, asked: ProofAsked) -> None:
    known = store.find_user_by_email(work, asked.email)
    kind = ProofKind.RESET if known is not None and asked.kind is ProofKind.SIGN_UP else asked.kind
    is_for_somebody = kind is ProofKind.RESET
    # An address that somebody else has is nobody's new one, and a stranger's password is not set anew.
    if is_for_somebody is (known is None) or not _may_write(work, kind, asked.email):
        return
    if known is not None:
        letter = "have_account" if asked.kind is ProofKind.SIGN_UP else ""
        _write(work, kind, known.email, known.name, known.id, known.language, letter)
    else:
        _write(work, kind, asked.email, asked.name, asked.user_id or None, asked.language)


def _may_write(work: Work, kind: ProofKind, email: str) -> bool:
    """Say whether one more letter of a kind may go to an address: nobody's inbox is filled by strangers."""
    is_allowed = proofs_store.count_since(work, kind.value, email, work.now - HOUR) < LETTERS_MAX
    if not is_allowed:
        logger("accounts").warning("no more letters to this address for now", kind=kind.value)
    return is_allowed


def _write(
    work: Work,
    kind: ProofKind,
    email: str,
    name: str,
    user_id: str | None,
    language: str,
    letter: str = "",
) -> None:
    proof_id = new_id("prf")
    proofs_store.insert_proof(
        work,
        id=proof_id,
        kind=kind.value,
        email=email,
        name=name,
        user_id=user_id,
        language=language,
        until_at=work.now + LASTS[kind],
    )
    letters.write(work, letter or kind.value, email, language, {"name": name}, proof_id=proof_id)


# --- using one ------------------------------------------------------------------------------------


async def set_password(ctx: Context, token: str, password: str, name: str = "") -> User:
    """Set the password that a link to sign up or to a new password is for; every browser is logged out.

    Raises: ProofDead; Invalid for a password that is too short; EmailTaken.
    """
    check_password(password)
    # Before the slow part, and again inside the Work that uses it.
    await ctx.db.read(ANYONE, find, token, ctx.settings.secret_key())
    hashed = await asyncio.to_thread(hash_password, password)
    return await ctx.db.work(ANYONE, _set_password, token, ctx.settings.secret_key(), hashed, tidy_name(name))


def _set_password(work: Work, token: str, key: bytes, hashed: str, name: str) -> User:
    proof = find(work, token, key, is_used=True)
    if proof.kind is ProofKind.CHANGE_EMAIL:
        raise ProofDead("this link is for another address, not for a password")
    proofs_store.use_all(work, proof.email, proof.user_id)
    if proof.user_id is None:
        return service.add_user(work, proof.email, hashed, name or proof.name, language=proof.language)
    store.set_user(work, proof.user_id, password_hash=hashed)
    store.delete_sessions_of(work, proof.user_id)
    person = service.user(work, proof.user_id)
    letters.write(work, "password_changed", person.email, person.language, {"name": person.name})
    return person


def confirm_email(work: Work, token: str, key: bytes) -> User:
    """Take the address to which a link was sent, as the one who asked for it; the old one is told.

    Raises: ProofDead, also for somebody else's link; EmailTaken.
    """
    proof = find(work, token, key, is_used=True)
    if proof.user_id != work.actor.subject_id:
        raise ProofDead("this link is for another account: log in to that one, and open it again")
    if proof.kind is not ProofKind.CHANGE_EMAIL or proof.user_id is None:
        raise ProofDead("this link is for a password, not for an address")
    before = service.user(work, proof.user_id)
    if store.find_user_by_email(work, proof.email) is not None:
        raise EmailTaken(email=proof.email)
    proofs_store.use_all(work, proof.email, proof.user_id)
    store.set_user(work, proof.user_id, email=proof.email)
    letters.write(
        work, "email_changed", before.email, before.language, {"name": before.name, "email": proof.email}
    )
    return service.user(work, proof.user_id)


async def change_password(ctx: Context, actor: Actor, present: str, password: str) -> None:
    """Change one's own password; all browsers are logged out but the one in which it is done.

    Raises: WrongPassword; Invalid.
    """
    check_password(password)
    await service.require_password(ctx, actor, present)
    hashed = await asyncio.to_thread(hash_password, password)
    await ctx.db.work(actor, _change_password, hashed)


def _change_password(work: Work, hashed: str) -> None:
    user_id = work.actor.subject_id
    store.set_user(work, user_id, password_hash=hashed)
    service.end_sessions(work)
    person = service.user(work, user_id)
    proofs_store.use_all(work, person.email, user_id)
    letters.write(work, "password_changed", person.email, person.language, {"name": person.name})


def is_dead(work: Work, proof_id: str, /) -> bool:
    """Say whether a link need not be sent any more: it was used, or its time is over."""
    row = proofs_store.find_proof(work, proof_id, is_locked=False)
    return row is None or _is_over(work, row)


def _is_over(work: Work, row: Any) -> bool:
    return row.used_at is not None or bool(row.until_at <= work.now)


def forget_old(work: Work) -> int:
    """Forget proofs that have been over for a while; return how many."""
    return proofs_store.delete_old(work, work.now - timedelta(days=7))

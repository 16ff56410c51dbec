"""The second factor: a code of six digits that somebody's phone makes, beside the password.

RFC 6238, by ``pyotp``. A code counts once, and a moment before and after its half minute. Ten recovery codes,
each good for one log-in, are for who has lost the phone. Between password and code a browser holds a *ticket*
that says whose password was right, for a few minutes; it opens nothing by itself.
"""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyotp

from voltyard.accounts import factors_store as factors
from voltyard.accounts import letters, service, store
from voltyard.accounts.secrets import is_same, machine_hash
from voltyard.accounts.service import User
from voltyard.kernel.actor import ANYONE, Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, TooMany, Unauthenticated
from voltyard.kernel.log import logger
from voltyard.kernel.seal import seal, unseal

ISSUER: Final = "Voltyard"
STEP_S: Final = 30
RECOVERY_CODES: Final = 10
RECOVERY_BYTES: Final = 5
WRONG_TRIES_MAX: Final = 5
BLOCKED_FOR: Final = timedelta(minutes=15)
"""A code has a million values, and whoever tries them knows the password: after five, nothing is tried."""
TICKET_LASTS: Final = timedelta(minutes=5)
_SIX: Final = re.compile(r"[0-9]{6}")


class WrongCode(Unauthenticated):
    """The code is not the one that the phone shows now, or was used already."""

    title = "That code does not count"


class CodeNeeded(Unauthenticated):
    """The password is right, and a code is asked for beside it."""

    title = "A code is needed, too"

    def __init__(self, ticket: str) -> None:
        super().__init__("enter the code that your phone shows")
        self.ticket = ticket


class FactorIsOn(Conflict):
    """A second factor is on already: it is turned off before there is another one."""

    title = "A second factor is on already"


class NoFactor(Conflict):
    """There is no second factor that could be confirmed or turned off."""

    title = "There is no second factor"


@dataclass(frozen=True, slots=True)
class Factor:
    """The second factor of a person: on since when, and how many recovery codes are left."""

    since_at: datetime | None
    codes_left: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What a phone has to know: the secret as text, and as the address that a QR code holds."""

    secret: str
    uri: str


def state(work: Work) -> Factor:
    """Return how it stands with the second factor of the one who acts."""
    row = factors.find_factor(work, work.actor.subject_id)
    if row is None or row.confirmed_at is None:
        return Factor(None, 0)
    return Factor(row.confirmed_at, factors.count_codes(work, work.actor.subject_id))


def begin(work: Work, key: bytes) -> Setup:
    """Return what to tell one's phone; the same again until it was confirmed. Raises: FactorIsOn."""
    person = service.user(work, work.actor.subject_id)
    row = factors.find_factor(work, person.id)
    if row is not None and row.confirmed_at is not None:
        raise FactorIsOn("turn it off before you set up another one")
    if row is None:
        secret = pyotp.random_base32()
        factors.insert_factor(work, person.id, seal(secret.encode(), key, _about(person.id)))
    else:
        secret = unseal(row.secret_sealed, key, _about(person.id)).decode()
    return Setup(secret, pyotp.TOTP(secret).provisioning_uri(name=person.email, issuer_name=ISSUER))


def _about(user_id: str) -> str:
    return f"second factor of {user_id}"


def confirm(work: Work, code: str, key: bytes) -> tuple[str, ...]:
    """Turn the second factor on with a first code; return the recovery codes, this once.

    Raises: NoFactor; FactorIsOn; WrongCode.
    """
    user_id = work.actor.subject_id
    row = factors.find_factor(work, user_id, is_locked=True)
    if row is None:
        raise NoFactor("begin anew: there is nothing to confirm")
    if row.confirmed_at is not None:
        raise FactorIsOn("it is on already")
    step = _step_of(row, code, work.now, key)
    if step is None:
        raise WrongCode("that is not what your phone shows now: try the next one")
    codes = tuple(_recovery_code() for _ in range(RECOVERY_CODES))
    factors.set_factor(work, user_id, confirmed_at=work.now, last_step=step)
    factors.replace_codes(work, user_id, [_hash_of(user_id, each, key) for each in codes])
    person = service.user(work, user_id)
    letters.write(work, "factor_on", person.email, person.language, {"name": person.name})
    return codes


def _recovery_code() -> str:
    text = secrets.token_hex(RECOVERY_BYTES)
    return f"{text[:5]}-{text[5:]}"


def _hash_of(user_id: str, code: str, key: bytes) -> str:
    plain = "".join(each for each in code.lower() if each.isalnum())
    return machine_hash(f"recovery:{user_id}:{plain}", key)


def _step_of(row: Any, code: str, now: datetime, key: bytes) -> int | None:
    """Return the half minute whose code this is, None for none that counts; each counts once (§5.2)."""
    digits = code.replace(" ", "")
    if not _SIX.fullmatch(digits):
        return None
    totp = pyotp.TOTP(unseal(row.secret_sealed, key, _about(row.user_id)).decode(), interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    for step in (present, present - 1, present + 1):
        at = datetime.fromtimestamp(step * STEP_S, UTC)
        if step > row.last_step and is_same(totp.at(at), digits):
            return step
    return None


async def turn_off(ctx: Context, actor: Actor, password: str) -> None:
    """Turn one's second factor off. Raises: WrongPassword; NoFactor."""
    await service.require_password(ctx, actor, password)
    await ctx.db.work(actor, _turn_off, actor.subject_id)


def _turn_off(work: Work, user_id: str) -> None:
    if not factors.delete_factor(work, user_id):
        raise NoFactor("there is no second factor to turn off")
    person = service.user(work, user_id)
    letters.write(work, "factor_off", person.email, person.language, {"name": person.name})


def put_off(work: Work, email: str) -> User:
    """Turn somebody's second factor off for whoever runs the installation. Raises: NotFound; NoFactor."""
    assert work.actor.is_system
    person = service.user_by_email(work, email)
    _turn_off(work, person.id)
    return person


# --- logging in -----------------------------------------------------------------------------------


def ticket_for(work: Work, row: Any, key: bytes) -> str | None:
    """Return the ticket of somebody whose password was right; None if no code is asked for."""
    factor = factors.find_factor(work, row.id)
    if factor is None or factor.confirmed_at is None:
        return None
    until = int((work.now + TICKET_LASTS).timestamp())
    return f"{row.id}.{until}.{_mark(row, until, key)}"


def _mark(row: Any, until: int, key: bytes) -> str:
    # Another password makes every ticket worthless.
    return machine_hash(f"ticket:{row.id}:{until}:{row.password_hash}", key)


def use_ticket(work: Work, ticket: str, code: str, key: bytes) -> Any:
    """Return whose ticket it is, None if the code does not count; one that does counts no more after that.

    Raises: Unauthenticated for a ticket that is over; TooMany after many wrong codes, whatever this one is.
    """
    user_id, _, rest = ticket.partition(".")
    until, _, mark = rest.partition(".")
    row = store.find_user(work, user_id)
    is_alive = row is not None and until.isdecimal() and len(until) < 12 and int(until) > work.now.timestamp()
    if not is_alive or not is_same(mark, _mark(row, int(until), key)):
        raise Unauthenticated("that took too long: log in again")
    assert row is not None
    factor = factors.find_factor(work, user_id, is_locked=True)
    if factor is None or factor.confirmed_at is None:
        raise Unauthenticated("log in again")
    if factor.blocked_until is not None and factor.blocked_until > work.now:
        wait_s = math.ceil((factor.blocked_until - work.now).total_seconds())
        raise TooMany("too many wrong codes: wait a quarter of an hour", retry_after_s=wait_s)
    step = _step_of(factor, code, work.now, key)
    if step is None and not factors.use_code(work, user_id, _hash_of(user_id, code, key)):
        # No error here: that it was wrong has to be stored.
        tries = factor.wrong_tries + 1
        is_last = tries >= WRONG_TRIES_MAX
        blocked_until = work.now + BLOCKED_FOR if is_last else None
        factors.set_factor(work, user_id, wrong_tries=0 if is_last else tries, blocked_until=blocked_until)
        return None
    last_step = factor.last_step if step is None else step
    factors.set_factor(work, user_id, last_step=last_step, wrong_tries=0)
    return row


async def log_in(
    ctx: Context, email: str, password: str, *, address: str = "", agent: str = ""
) -> tuple[User, str]:
    """Log in with a password where no code is asked for.

    Raises: WrongPassword; CodeNeeded, with the ticket for ``log_in_with_code``.
    """
    row = await service.check_login(ctx, email, password)
    ticket = await ctx.db.read(ANYONE, ticket_for, row, ctx.settings.secret_key())
    if ticket is not None:
        raise CodeNeeded(ticket)
    return await service.open_session(ctx, row, address=address, agent=agent)


async def log_in_with_code(
    ctx: Context, ticket: str, code: str, *, address: str = "", agent: str = ""
) -> tuple[User, str]:
    """Log in with a ticket and a code. Raises: Unauthenticated; WrongCode; TooMany."""
    row = await ctx.db.work(ANYONE, use_ticket, ticket, code, ctx.settings.secret_key())
    if row is None:
        logger("accounts").warning("a wrong code", user=ticket.partition(".")[0])
        raise WrongCode("that code does not count: try the next one, or a recovery code")
    return await service.open_session(ctx, row, address=address, agent=agent)

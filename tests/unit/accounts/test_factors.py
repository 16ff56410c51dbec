"""The second factor: codes that count once, recovery codes, and tickets that open nothing by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyotp
import pytest

from tests.factories import SYSTEM, make_user
from voltyard.accounts import factors, proofs, service
from voltyard.accounts.factors import (
    BLOCKED_FOR,
    RECOVERY_CODES,
    STEP_S,
    TICKET_LASTS,
    WRONG_TRIES_MAX,
    CodeNeeded,
    FactorIsOn,
    NoFactor,
    WrongCode,
)
from voltyard.accounts.proofs import ProofAsked, ProofKind
from voltyard.accounts.service import WrongPassword
from voltyard.kernel.context import Context
from voltyard.kernel.errors import TooMany, Unauthenticated

PASSWORD = "first password"


class Phone:
    """An authenticator app, on the clock of the test."""

    def __init__(self, ctx: Context, secret: str) -> None:
        self._ctx, self._totp = ctx, pyotp.TOTP(secret)

    def code(self, steps: int = 0) -> str:
        at: datetime = self._ctx.clock.now() + timedelta(seconds=steps * STEP_S)
        return self._totp.at(at)


async def with_factor(ctx: Context) -> tuple[Any, Phone, tuple[str, ...]]:
    person = await make_user(ctx)
    await service.put_password(ctx, SYSTEM, person.user.email, PASSWORD)
    key = ctx.settings.secret_key()
    setup = await ctx.db.work(person.actor, factors.begin, key)
    phone = Phone(ctx, setup.secret)
    codes = await ctx.db.work(person.actor, factors.confirm, phone.code(), key)
    return person, phone, codes


async def ticket(ctx: Context, person: Any) -> str:
    with pytest.raises(CodeNeeded) as needed:
        await factors.log_in(ctx, person.user.email, PASSWORD)
    return needed.value.ticket


async def test_without_one_a_password_is_enough(ctx: Context):
    person = await make_user(ctx)
    await service.put_password(ctx, SYSTEM, person.user.email, PASSWORD)
    assert (await factors.log_in(ctx, person.user.email, PASSWORD))[0].id == person.user.id
    await ctx.db.work(person.actor, factors.begin, ctx.settings.secret_key())
    assert (await factors.log_in(ctx, person.user.email, PASSWORD))[0].id == person.user.id, "not confirmed"
    assert await ctx.db.read(person.actor, factors.state) == factors.Factor(None, 0)


async def test_it_is_on_once_a_first_code_was_right(ctx: Context):
    person = await make_user(ctx)
    key = ctx.settings.secret_key()
    with pytest.raises(NoFactor):
        await ctx.db.work(person.actor, factors.confirm, "000000", key)
    setup = await ctx.db.work(person.actor, factors.begin, key)
    assert await ctx.db.work(person.actor, factors.begin, key) == setup, "a page that is loaded again"
    assert setup.uri.startswith("otpauth://totp/Voltyard:")
    phone = Phone(ctx, setup.secret)
    for wrong in ("", "12345", "abcdef", phone.code(3), phone.code(-3)):
        with pytest.raises(WrongCode):
            await ctx.db.work(person.actor, factors.confirm, wrong, key)
    codes = await ctx.db.work(person.actor, factors.confirm, phone.code(), key)
    assert len(set(codes)) == RECOVERY_CODES
    found = await ctx.db.read(person.actor, factors.state)
    assert found == factors.Factor(ctx.clock.now(), RECOVERY_CODES)
    with pytest.raises(FactorIsOn):
        await ctx.db.work(person.actor, factors.begin, key)
    with pytest.raises(FactorIsOn):
        await ctx.db.work(person.actor, factors.confirm, phone.code(1), key)


async def test_a_code_counts_once_and_a_moment_around_its_half_minute(ctx: Context, clock):
    person, phone, _ = await with_factor(ctx)
    clock.advance(3 * STEP_S)
    for steps, is_right in (
        (-2, False),
        (2, False),
        (-1, True),
        (0, True),
        (0, False),
        (-1, False),
        (1, True),
    ):
        held, code = await ticket(ctx, person), phone.code(steps)
        if is_right:
            opened, secret = await factors.log_in_with_code(ctx, held, f" {code[:3]} {code[3:]}")
            assert opened.id == person.user.id
            assert secret.startswith("vys_")
        else:
            with pytest.raises(WrongCode):
                await factors.log_in_with_code(ctx, held, code)


async def test_the_code_that_turned_it_on_lets_nobody_in(ctx: Context):
    person, phone, _ = await with_factor(ctx)
    with pytest.raises(WrongCode):
        await factors.log_in_with_code(ctx, await ticket(ctx, person), phone.code())


async def test_each_recovery_code_lets_in_once(ctx: Context):
    person, _, codes = await with_factor(ctx)
    other, _, foreign = await with_factor(ctx)
    held = await ticket(ctx, person)
    with pytest.raises(WrongCode):
        await factors.log_in_with_code(ctx, held, foreign[0])
    assert (await factors.log_in_with_code(ctx, held, f" {codes[0].upper()} "))[0].id == person.user.id
    with pytest.raises(WrongCode):
        await factors.log_in_with_code(ctx, held, codes[0])
    assert (await ctx.db.read(person.actor, factors.state)).codes_left == RECOVERY_CODES - 1
    assert (await ctx.db.read(other.actor, factors.state)).codes_left == RECOVERY_CODES


async def test_after_five_wrong_codes_nothing_is_tried_for_a_while(ctx: Context, clock):
    person, phone, codes = await with_factor(ctx)
    for _ in range(WRONG_TRIES_MAX):
        with pytest.raises(WrongCode):
            await factors.log_in_with_code(ctx, await ticket(ctx, person), "nonsense")
    with pytest.raises(TooMany) as refused:
        await factors.log_in_with_code(ctx, await ticket(ctx, person), codes[0])
    assert refused.value.facts["retry_after_s"] == 900
    clock.advance(BLOCKED_FOR.total_seconds() - 1)
    with pytest.raises(TooMany):
        await factors.log_in_with_code(ctx, await ticket(ctx, person), phone.code())
    clock.advance(1)
    assert (await factors.log_in_with_code(ctx, await ticket(ctx, person), codes[0]))[0].id == person.user.id
    for _ in range(WRONG_TRIES_MAX - 1):
        with pytest.raises(WrongCode):
            await factors.log_in_with_code(ctx, await ticket(ctx, person), "nonsense")
    await factors.log_in_with_code(ctx, await ticket(ctx, person), phone.code())


async def test_a_ticket_is_ones_own_lasts_minutes_and_ends_with_the_password(ctx: Context, clock):
    person, _, codes = await with_factor(ctx)
    other, _, _ = await with_factor(ctx)
    held = await ticket(ctx, person)
    parts = held.split(".")
    forged = [
        "", "x", ".".join([other.user.id, *parts[1:]]), held[:-1], f"{parts[0]}.{parts[1]}",
        ".".join([parts[0], str(int(parts[1]) + 60), parts[2]]), f"{parts[0]}.{'9' * 40}.{parts[2]}",
    ]  # fmt: skip
    for wrong in forged:
        with pytest.raises(Unauthenticated) as refused:
            await factors.log_in_with_code(ctx, wrong, codes[0])
        assert not isinstance(refused.value, WrongCode)
    clock.advance(TICKET_LASTS.total_seconds())
    with pytest.raises(Unauthenticated):
        await factors.log_in_with_code(ctx, held, codes[0])
    held = await ticket(ctx, person)
    await proofs.change_password(ctx, person.actor, PASSWORD, "second password")
    with pytest.raises(Unauthenticated):
        await factors.log_in_with_code(ctx, held, codes[0])


async def test_it_is_turned_off_with_the_password_or_by_who_runs_the_installation(ctx: Context):
    person, _, _ = await with_factor(ctx)
    held = await ticket(ctx, person)
    with pytest.raises(WrongPassword):
        await factors.turn_off(ctx, person.actor, "wrong password")
    await factors.turn_off(ctx, person.actor, PASSWORD)
    with pytest.raises(NoFactor):
        await factors.turn_off(ctx, person.actor, PASSWORD)
    with pytest.raises(Unauthenticated):
        await factors.log_in_with_code(ctx, held, "000000")
    assert (await factors.log_in(ctx, person.user.email, PASSWORD))[0].id == person.user.id
    lost, _, _ = await with_factor(ctx)
    assert (await ctx.db.work(SYSTEM, factors.put_off, lost.user.email)).id == lost.user.id
    assert (await factors.log_in(ctx, lost.user.email, PASSWORD))[0].id == lost.user.id


async def test_a_letter_alone_does_not_get_past_it(ctx: Context):
    person, _, _ = await with_factor(ctx)
    asked = ProofAsked(ProofKind.RESET, person.user.email, "", "en")
    await proofs.answer(ctx, asked)
    rows = await ctx.db.read(SYSTEM, lambda work: list(work.rows(proofs.proofs_store.proofs.select())))
    token = proofs.token_of(rows[-1].id, ctx.settings.secret_key())
    await proofs.set_password(ctx, token, "second password")
    with pytest.raises(CodeNeeded):
        await factors.log_in(ctx, person.user.email, "second password")

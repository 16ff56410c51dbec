"""Leases, on both databases: one holder at a time, inherited when it falls silent."""

from __future__ import annotations

import asyncio

import pytest

from voltyard.kernel import leases
from voltyard.kernel.actor import system
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.limits import LEASE_BEAT_S, LEASE_S

ACTOR = system("test")
CONTENDERS = ("anna", "ben", "carla", "dan", "eva", "finn")
ANNA, BEN, *_ = CONTENDERS
DUTY = "power.loc_1"


async def take(ctx: Context, holder: str, name: str = DUTY) -> bool:
    return await ctx.db.work(ACTOR, leases.take, name, holder)


async def release(ctx: Context, holder: str, name: str = DUTY) -> None:
    await ctx.db.work(ACTOR, leases.release, name, holder)


async def contend(ctx: Context) -> list[str]:
    """Let all contenders try at once; return those who won."""
    won = await asyncio.gather(*(take(ctx, each) for each in CONTENDERS))
    return [each for each, has_won in zip(CONTENDERS, won, strict=True) if has_won]


async def test_of_six_who_contend_at_once_one_wins(ctx: Context):
    (winner,) = await contend(ctx)
    assert await contend(ctx) == [winner]


async def test_of_six_who_contend_for_a_lease_that_has_run_out_one_wins(ctx: Context, clock: FakeClock):
    assert await take(ctx, "somebody who is gone")
    assert await contend(ctx) == []
    clock.advance(LEASE_S + 0.001)
    assert len(await contend(ctx)) == 1


async def test_a_holder_that_renews_on_the_beat_keeps_its_lease(ctx: Context, clock: FakeClock):
    assert await take(ctx, ANNA)
    for _ in range(10):
        clock.advance(LEASE_BEAT_S)
        assert not await take(ctx, BEN)
        assert await take(ctx, ANNA)


async def test_a_renewed_lease_counts_from_its_renewal(ctx: Context, clock: FakeClock):
    await take(ctx, ANNA)
    clock.advance(LEASE_S - 1)
    assert await take(ctx, ANNA)
    clock.advance(LEASE_S)
    assert not await take(ctx, BEN)
    clock.advance(0.001)
    assert await take(ctx, BEN)


async def test_a_lease_that_has_run_out_is_inherited_and_its_old_holder_has_to_wait(
    ctx: Context, clock: FakeClock
):
    await take(ctx, ANNA)
    clock.advance(LEASE_S)
    assert not await take(ctx, BEN)
    clock.advance(0.001)
    assert await take(ctx, BEN)
    assert not await take(ctx, ANNA)


async def test_a_holder_that_was_late_keeps_a_lease_that_nobody_took(ctx: Context, clock: FakeClock):
    await take(ctx, ANNA)
    clock.advance(10 * LEASE_S)
    assert await take(ctx, ANNA)
    assert not await take(ctx, BEN)


async def test_a_lease_is_given_back_by_its_holder_only(ctx: Context):
    await take(ctx, ANNA)
    await release(ctx, BEN)
    assert not await take(ctx, BEN)
    await release(ctx, ANNA)
    assert await take(ctx, BEN)


async def test_an_old_holder_does_not_give_back_what_another_has_inherited(ctx: Context, clock: FakeClock):
    await take(ctx, ANNA)
    clock.advance(LEASE_S + 1)
    await take(ctx, BEN)
    await release(ctx, ANNA)
    assert not await take(ctx, ANNA)
    assert await take(ctx, BEN)


async def test_giving_back_what_nobody_holds_is_no_error(ctx: Context):
    await release(ctx, ANNA)
    assert await take(ctx, ANNA)


async def test_leases_of_different_names_do_not_meet(ctx: Context):
    assert await take(ctx, ANNA)
    assert await take(ctx, BEN, "power.loc_2")
    await release(ctx, BEN)
    await release(ctx, BEN, "power.loc_2")
    assert not await take(ctx, BEN)
    assert await take(ctx, ANNA, "power.loc_2")


async def test_a_lease_that_is_taken_in_a_work_that_fails_was_never_taken(ctx: Context):
    def take_and_fall(work: Work) -> None:
        assert leases.take(work, DUTY, ANNA)
        raise RuntimeError("fell")

    with pytest.raises(RuntimeError, match="fell"):
        await ctx.db.work(ACTOR, take_and_fall)
    assert await take(ctx, BEN)

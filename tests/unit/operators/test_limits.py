"""One limit of many: the lowest counts, the charger is told once, and nobody raises another's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.factories import SYSTEM, make_transaction, place_of
from tests.unit.operators.office import make_link, make_linked
from voltyard.central import desk
from voltyard.chargers import service as chargers
from voltyard.chargers.tables import parameters
from voltyard.kernel import jobs, leases
from voltyard.kernel.db import Work
from voltyard.kernel.errors import ChargerOffline, TooMany
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import LEASE_S
from voltyard.operators import limits, service
from voltyard.operators.events import Compose
from voltyard.operators.profiles import Unacceptable
from voltyard.operators.service import Wanted
from voltyard.speech import (
    Answer,
    Asked,
    Booted,
    ClearLimit,
    ConnectorStatus,
    Ended,
    Heard,
    LimitPeriod,
    LimitPurpose,
    Priority,
    Role,
    Said,
    SetLimit,
    Started,
    StatusTold,
    Told,
)


def limit(amps: float, *, purpose=LimitPurpose.DEFAULT, connector=1, level=0, number=None) -> SetLimit:
    return SetLimit(connector, purpose, 1, level, (LimitPeriod(0, amps),), number=number)


class Charger:
    """What a charger heard, and how it answers."""

    def __init__(self, ctx, charger):
        self.ctx, self.charger, self.asked, self.word = ctx, charger, [], "Accepted"
        self.refusal: Exception | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        if self.refusal is not None:
            raise self.refusal
        answer = Answer(self.word == "Accepted", self.word, f'{{"status":"{self.word}"}}')
        return Told(answer, "SetChargingProfile", "{}")

    async def compose(self, *, pause_s: float = limits.PACE_S) -> list[Asked]:
        """Let the job run; return what the charger heard, and let some time pass."""
        self.asked = []
        await limits.compose(self.ctx, Compose(self.charger.id))
        self.ctx.clock.advance(pause_s)
        return self.asked

    async def asks(self) -> list[Any]:
        """Let the job run; return what the charger was asked for."""
        return [asked.ask for asked in await self.compose()]

    async def waiting(self) -> dict[str, float]:
        """Return in how many seconds which jobs are due, by what stands before the charger in their keys."""

        def find(work: Work) -> dict[str, float]:
            rows = work.rows(
                sa.select(jobs.jobs.c.key, jobs.jobs.c.run_at).where(jobs.jobs.c.key.is_not(None))
            )
            return {
                row.key.partition(":")[0]: (row.run_at - work.now).total_seconds()
                for row in rows
                if row.key.endswith(self.charger.id)
            }

        return await self.ctx.db.read(SYSTEM, find)

    async def forget_jobs(self) -> None:
        await self.ctx.db.work(SYSTEM, lambda work: work.run(sa.delete(jobs.jobs)))

    async def say(self, *said: Said) -> None:
        """Let the desk hear the charger."""
        for each in said:
            heard = Heard(self.charger.id, "soc_1", new_id("cmd"), type(each).__name__, "{}", each)
            await self.ctx.db.work(SYSTEM, desk.hear, [heard])

    async def now(self) -> list[limits.LimitNow]:
        return await self.ctx.db.read(SYSTEM, limits.limits_now, self.charger.id)

    async def told_keys(self, **values: str) -> None:
        def keep(work: Work) -> None:
            for key, value in values.items():
                work.insert(parameters, charger_id=self.charger.id, key=key.lower(), name=key, reported=value)

        await self.ctx.db.work(SYSTEM, keep)

    async def put(self, link, what: SetLimit) -> None:
        await self.ctx.db.work(SYSTEM, limits.put, link.id, self.charger.id, what)


@pytest.fixture
async def scene(ctx):
    charger, first = await make_linked(ctx)
    status = [(place_of(charger), StatusTold(1, ConnectorStatus.AVAILABLE))]
    await ctx.db.work(SYSTEM, chargers.tell_status, status)
    second = await make_link(ctx, charger, Role.BILLING)
    found = Charger(ctx, charger)
    served = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, found.hear)
    yield found, first, second
    await served.stop()


async def test_the_lowest_limit_counts_and_its_owner_is_named(ctx, scene):
    charger, first, second = scene
    await charger.put(first, limit(16))
    await charger.put(second, limit(10))
    (asked,) = await charger.compose()
    assert (asked.ask.purpose, asked.ask.periods[0].limit_a) == (LimitPurpose.DEFAULT, 10.0)
    assert await charger.compose() == [], "the same again is not sent"
    (now,) = await ctx.db.read(SYSTEM, limits.limits_now, charger.charger.id)
    assert (now.connector, now.limit_a, now.by, now.word) == (1, 10.0, (second.id,), "Accepted")
    await charger.put(second, limit(25))
    (asked,) = await charger.compose()
    assert (asked.ask.periods[0].limit_a, asked.priority) == (16.0, Priority.DATA_CONTROL)
    await charger.put(first, limit(6))
    (asked,) = await charger.compose()
    assert (asked.ask.periods[0].limit_a, asked.priority) == (6.0, Priority.SAFETY), "a fall is urgent"


async def test_without_any_limit_the_charger_is_set_free_again(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.compose()
    assert await ctx.db.work(SYSTEM, limits.clear, first.id, charger.charger.id, ClearLimit())
    assert not await ctx.db.work(SYSTEM, limits.clear, first.id, charger.charger.id, ClearLimit())
    assert {type(asked.ask) for asked in await charger.compose()} == {ClearLimit}
    assert await ctx.db.read(SYSTEM, limits.limits_now, charger.charger.id) == []


async def test_an_operator_that_may_not_limit_or_has_gone_limits_nothing(ctx, scene):
    charger, first, second = scene
    await charger.put(first, limit(8))
    await charger.put(second, limit(12))
    await charger.compose()
    await ctx.db.work(SYSTEM, service.change, first.id, Wanted(is_limiting=False), ctx.settings)
    (asked,) = await charger.compose()
    assert asked.ask.periods[0].limit_a == 12.0
    await ctx.db.work(SYSTEM, service.disconnect, second.id)
    assert {type(asked.ask) for asked in await charger.compose()} == {ClearLimit}


async def test_a_running_charge_gets_the_limit_for_itself(ctx, scene):
    charger, first, _ = scene
    number = await make_transaction(ctx, charger.charger)
    await charger.put(first, limit(14))
    running, default = await charger.asks()
    assert (running.purpose, running.number) == (LimitPurpose.TRANSACTION, number)
    assert default.purpose is LimitPurpose.DEFAULT
    with pytest.raises(Unacceptable):
        await charger.put(first, limit(14, purpose=LimitPurpose.TRANSACTION, number=number + 1))


async def test_a_limit_of_the_whole_charger_is_left_for_the_charger_to_divide(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(20, purpose=LimitPurpose.CHARGER, connector=0))
    purposes = {asked.ask.connector: asked.ask.purpose for asked in await charger.compose()}
    assert purposes[0] is LimitPurpose.CHARGER


async def test_behind_what_was_looked_ahead_stands_the_lowest(ctx, scene):
    charger, first, _ = scene
    periods = (LimitPeriod(0, 8.0), LimitPeriod(3_600, 16.0))
    what = SetLimit(1, LimitPurpose.DEFAULT, 1, 0, periods, starts_at=ctx.clock.now())
    await charger.put(first, what)
    (asked,) = await charger.compose()
    assert [(each.start_s, each.limit_a) for each in asked.ask.periods] == [
        (0, 8.0), (3_600, 16.0), (86_400, 8.0),
    ]  # fmt: skip
    ctx.clock.advance(timedelta(hours=2).total_seconds())
    assert await charger.compose() == [], "the charger follows it by itself"
    ctx.clock.advance(timedelta(hours=12).total_seconds())
    (asked,) = await charger.compose()
    assert asked.ask.periods[0].limit_a == 16.0


async def test_each_operator_sees_its_own_view(ctx, scene):
    charger, first, second = scene
    await charger.put(first, limit(16))
    await charger.put(second, limit(10))
    for link, amps in ((first, 16.0), (second, 10.0)):
        view = await ctx.db.read(SYSTEM, limits.own_view, link.id, charger.charger.id, 1, 600)
        assert [each.limit_a for each in view.periods] == [amps]


async def test_a_limit_that_was_refused_is_shown_so_and_tried_again_at_the_next_look(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    charger.word = "Rejected"
    assert len(await charger.compose()) == 1, "it is not pestered with it"
    assert [(now.limit_a, now.word) for now in await charger.now()] == [(16.0, "Rejected")]
    assert "compose-look" in await charger.waiting()
    charger.word = "Accepted"
    assert len(await charger.compose()) == 1
    assert [now.word for now in await charger.now()] == ["Accepted"]
    assert await charger.compose() == []


async def test_a_limit_that_could_not_be_cleared_is_not_forgotten(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.compose()
    await ctx.db.work(SYSTEM, limits.clear, first.id, charger.charger.id, ClearLimit())
    charger.word = "Rejected"
    assert len(await charger.compose()) == 1
    assert [(now.limit_a, now.word) for now in await charger.now()] == [(16.0, "Rejected")]
    charger.word = "Unknown"
    assert len(await charger.compose()) == 1
    assert await charger.now() == [], "there was nothing to clear"
    assert await charger.compose() == []


async def test_a_charger_that_is_away_is_told_later(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.forget_jobs()
    charger.refusal = ChargerOffline("gone")
    assert len(await charger.compose(pause_s=0)) == 1
    assert await charger.waiting() == {"compose-again": limits.AGAIN_S}, "a look in hours would be too late"
    charger.refusal = None
    ctx.clock.advance(limits.AGAIN_S)
    assert len(await charger.compose(pause_s=0)) == 1
    assert (await charger.waiting())["compose-look"] == limits.LOOK_S


async def test_a_charger_with_too_many_waiting_requests_is_asked_again_soon(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.forget_jobs()
    charger.refusal = TooMany("later")
    assert len(await charger.compose(pause_s=0)) == 1
    assert await charger.waiting() == {"compose-soon": limits.SOON_S}
    charger.refusal = None
    ctx.clock.advance(limits.SOON_S)
    assert len(await charger.compose()) == 1, "it does not have that limit yet"


async def test_after_a_restart_the_limits_are_brought_again(ctx, scene):
    charger, first, _ = scene
    await charger.say(Booted("ABB", "Terra"))
    assert "compose" not in await charger.waiting(), "nobody limits it"
    await charger.put(first, limit(16))
    await charger.compose()
    await charger.forget_jobs()
    await charger.say(Booted("ABB", "Terra"))
    assert (await charger.waiting())["compose"] == limits.SETTLE_S[Booted]
    (asked,) = await charger.compose()
    assert asked.ask.periods[0].limit_a == 16.0
    assert await charger.compose() == []


async def test_what_was_sent_while_a_charger_restarted_is_sent_again(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.compose()
    await charger.put(first, limit(10))
    charger.meanwhile = lambda: charger.say(Booted("ABB", "Terra"))
    assert [ask.periods[0].limit_a for ask in await charger.asks()] == [10.0, 10.0]
    assert await charger.asks() == []


async def test_a_limit_reaches_a_transaction_that_starts_afterwards_with_all_its_periods(ctx, scene):
    charger, first, _ = scene
    periods = (LimitPeriod(0, 16.0), LimitPeriod(3_600, 8.0))
    await charger.put(first, SetLimit(1, LimitPurpose.DEFAULT, 1, 0, periods))
    (default,) = await charger.asks()
    assert default.periods == (LimitPeriod(0, 16.0),)
    await charger.forget_jobs()
    await charger.say(Started(1, "04A1B2C3", 0, ctx.clock.now()))
    assert (await charger.waiting())["compose"] == limits.SETTLE_S[Started]
    (running,) = await charger.asks()
    assert running.purpose is LimitPurpose.TRANSACTION
    assert running.periods == periods


async def test_the_limit_of_one_transaction_is_none_for_the_next(ctx, scene):
    charger, first, second = scene
    number = await make_transaction(ctx, charger.charger)
    await charger.put(second, limit(20))
    await charger.put(first, limit(6, purpose=LimitPurpose.TRANSACTION, number=number))
    running, default = await charger.asks()
    assert [each.periods[0].limit_a for each in (running, default)] == [6.0, 20.0]
    await charger.forget_jobs()
    await charger.say(Ended(number, 2_000, ctx.clock.now()))
    assert (await charger.waiting())["compose"] == 0
    assert await charger.asks() == [], "the default that it has is right already"
    assert [(now.limit_a, now.by) for now in await charger.now()] == [(20.0, (second.id,))]
    await charger.say(Started(1, "04A1B2C3", 2_000, ctx.clock.now()))
    (running,) = await charger.asks()
    assert running.periods[0].limit_a == 20.0


async def test_a_limit_of_a_transaction_alone_leaves_no_default(ctx, scene):
    charger, first, _ = scene
    number = await make_transaction(ctx, charger.charger)
    await charger.put(first, limit(6, purpose=LimitPurpose.TRANSACTION, number=number))
    (running,) = await charger.asks()
    assert (running.purpose, running.number) == (LimitPurpose.TRANSACTION, number)
    await charger.say(Ended(number, 2_000, ctx.clock.now()))
    assert await charger.asks() == []
    assert await charger.now() == []


async def test_a_transaction_that_its_charger_does_not_know_yet_is_limited_soon(ctx, scene):
    charger, first, _ = scene
    number = await make_transaction(ctx, charger.charger)
    await charger.put(first, limit(6, purpose=LimitPurpose.TRANSACTION, number=number))
    charger.word = "Rejected"
    await charger.compose(pause_s=0)
    assert (await charger.waiting())["compose-soon"] == limits.SOON_S


async def test_sayings_that_change_no_limit_ask_nothing_of_the_database(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.forget_jobs()
    await charger.say(StatusTold(1, ConnectorStatus.CHARGING))
    assert "compose" not in await charger.waiting()


async def test_a_change_while_the_charger_answers_is_brought_after_it(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    charger.meanwhile = lambda: charger.put(first, limit(10))
    (asked,) = await charger.compose(pause_s=0)
    assert asked.ask.periods[0].limit_a == 16.0
    ctx.clock.advance(limits.FALL_PACE_S)
    (asked,) = await charger.compose()
    assert asked.ask.periods[0].limit_a == 10.0


async def test_only_one_job_at_a_time_talks_to_a_charger(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.forget_jobs()
    waiting: list[dict[str, float]] = []

    async def second() -> None:
        await limits.compose(ctx, Compose(charger.charger.id))
        waiting.append(await charger.waiting())

    charger.meanwhile = second
    assert len(await charger.compose()) == 1
    assert waiting == [{"compose": limits.BUSY_S}], "the other one comes again"
    await charger.put(first, limit(10))
    assert len(await charger.compose()) == 1, "the first one has let go of it"


async def test_a_job_that_was_overtaken_leaves_the_charger_to_the_other_one(ctx, scene):
    charger, first, _ = scene
    await make_transaction(ctx, charger.charger)
    await charger.put(first, limit(16))
    await charger.forget_jobs()

    async def overtake() -> None:
        ctx.clock.advance(LEASE_S + 1)
        assert await ctx.db.work(SYSTEM, leases.take, f"compose.{charger.charger.id}", "another")

    charger.meanwhile = overtake
    assert len(await charger.compose(pause_s=0)) == 1, "of two limits"
    assert await charger.waiting() == {"compose-again": limits.AGAIN_S}


async def test_a_flood_of_limits_reaches_the_charger_at_a_bearable_pace(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    await charger.compose(pause_s=0)
    await charger.forget_jobs()
    await charger.put(first, limit(10))
    assert (await charger.waiting())["compose"] == limits.FALL_PACE_S
    assert await charger.compose(pause_s=limits.FALL_PACE_S) == []
    (asked,) = await charger.compose(pause_s=limits.FALL_PACE_S)
    assert (asked.ask.periods[0].limit_a, asked.priority) == (10.0, Priority.SAFETY)
    await charger.forget_jobs()
    await charger.put(first, limit(20))
    assert await charger.compose(pause_s=0) == []
    assert (await charger.waiting())["compose"] <= limits.PACE_S - limits.FALL_PACE_S
    ctx.clock.advance(limits.PACE_S - limits.FALL_PACE_S)
    (asked,) = await charger.compose()
    assert (asked.ask.periods[0].limit_a, asked.priority) == (20.0, Priority.DATA_CONTROL)


@pytest.mark.parametrize(
    ("most", "amps", "told"),
    [
        ("1", (10.0, 6.0, 8.0), [(0, 6.0)]),
        ("2", (10.0, 6.0, 8.0), [(0, 10.0), (3_600, 6.0)]),
        ("2", (6.0, 10.0, 8.0), [(0, 6.0)]),
        ("3", (6.0, 10.0, 8.0), [(0, 6.0), (3_600, 8.0), (86_400, 6.0)]),
        ("4", (6.0, 10.0, 8.0), [(0, 6.0), (3_600, 10.0), (7_200, 8.0), (86_400, 6.0)]),
        ("junk", (10.0, 8.0, 6.0), [(0, 10.0), (3_600, 8.0), (7_200, 6.0)]),
    ],
)
async def test_a_schedule_has_no_more_periods_than_its_charger_takes(ctx, scene, most, amps, told):
    charger, first, _ = scene
    await charger.told_keys(ChargingScheduleMaxPeriods=most)
    periods = tuple(LimitPeriod(3_600 * hour, each) for hour, each in enumerate(amps))
    what = SetLimit(1, LimitPurpose.DEFAULT, 1, 0, periods, starts_at=ctx.clock.now())
    await charger.put(first, what)
    (ask,) = await charger.asks()
    assert [(each.start_s, each.limit_a) for each in ask.periods] == told

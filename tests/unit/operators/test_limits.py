"""One limit of many: the lowest counts, the charger is told once, and nobody raises another's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import SYSTEM, make_transaction, place_of
from tests.unit.operators.office import make_link, make_linked
from voltyard.chargers import service as chargers
from voltyard.operators import limits, service
from voltyard.operators.events import Compose
from voltyard.operators.profiles import Unacceptable
from voltyard.operators.service import Wanted
from voltyard.speech import (
    Answer,
    Asked,
    ClearLimit,
    ConnectorStatus,
    LimitPeriod,
    LimitPurpose,
    Priority,
    Role,
    SetLimit,
    StatusTold,
    Told,
)


def limit(amps: float, *, purpose=LimitPurpose.DEFAULT, connector=1, level=0, number=None) -> SetLimit:
    return SetLimit(connector, purpose, 1, level, (LimitPeriod(0, amps),), number=number)


class Charger:
    """What a charger heard, and how it answers."""

    def __init__(self, ctx, charger):
        self.ctx, self.charger, self.asked, self.word = ctx, charger, [], "Accepted"

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked)
        answer = Answer(self.word == "Accepted", self.word, f'{{"status":"{self.word}"}}')
        return Told(answer, "SetChargingProfile", "{}")

    async def compose(self) -> list[Asked]:
        """Let the job run; return what the charger heard."""
        self.asked = []
        await limits.compose(self.ctx, Compose(self.charger.id))
        return self.asked

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
    await charger.put(first, limit(14, purpose=LimitPurpose.TRANSACTION, number=number))
    running, default = (asked.ask for asked in await charger.compose())
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


async def test_a_charger_that_is_away_is_told_later(ctx, scene):
    charger, first, _ = scene
    await charger.put(first, limit(16))
    charger.word = "Rejected"
    await charger.compose()
    (now,) = await ctx.db.read(SYSTEM, limits.limits_now, charger.charger.id)
    assert now.word == "Rejected"

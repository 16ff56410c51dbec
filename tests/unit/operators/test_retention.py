"""What of the log is forgotten, and what some operator was not told yet."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.factories import SYSTEM, make_charger, make_location
from voltyard.chargers import calls
from voltyard.chargers import service as chargers
from voltyard.operators import deliveries, deliveries_store, retention, service, serving
from voltyard.operators.retention import RECENT
from voltyard.operators.service import Wanted
from voltyard.operators.serving import Record
from voltyard.speech import Beat, Heard, Role

START, STOP, METER = "StartTransaction", "StopTransaction", "MeterValues"
ROW = 1_250
"""What one row of these tests takes."""


async def say(ctx, charger, *actions: str) -> list[int]:
    heard = [Heard(charger.id, "soc", "m", action, "x" * 1_000, Beat()) for action in actions]
    return await ctx.db.work(SYSTEM, calls.log, heard)


async def prune(ctx, rows_max: int) -> int:
    """Take one bite out of a log in which nothing is recent, and return how many calls it held."""
    ctx.clock.advance(RECENT.total_seconds() + 1)
    spare = await ctx.db.read(SYSTEM, retention.find_spare, bytes_max=rows_max * ROW)
    return await ctx.db.work(SYSTEM, calls.forget, spare)


async def left(ctx, charger) -> list[int]:
    found = await ctx.db.read(SYSTEM, calls.list_calls, charger.id, limit=100)
    return sorted(call.number for call in found)


@pytest.fixture
async def linked(ctx):
    """A charger with an operator that was told nothing yet, and one without."""
    location = await make_location(ctx)
    charger, other = [await make_charger(ctx, location.id) for _ in range(2)]
    wanted = Wanted(url="wss://example.com/ocpp", role=Role.OBSERVER, name="Operator")
    link = await ctx.db.work(SYSTEM, service.connect, charger.id, wanted, ctx.settings)
    return charger, link, other


async def told(ctx, charger, link, cursor: int) -> None:
    await ctx.db.work(serving.ACTOR, serving.record, [Record(link.id, charger.id, cursor=cursor)])


async def test_the_oldest_calls_that_nobody_waits_for_go_first(ctx, linked, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 3)
    charger, link, other = linked
    mine = await say(ctx, charger, START, METER, "Heartbeat", STOP)
    others = await say(ctx, other, *[METER] * 6)
    assert await prune(ctx, 10) == 0
    assert await prune(ctx, 9) == 3
    assert await prune(ctx, 9) == 0
    assert await left(ctx, charger) == [mine[0], mine[1], mine[3]], "a sign of life is told to nobody"
    assert await left(ctx, other) == others[2:]
    await told(ctx, charger, link, mine[3])
    assert await prune(ctx, 4) == 3
    assert (await left(ctx, charger), await left(ctx, other)) == ([], others[2:])


async def test_of_what_somebody_waits_for_readings_go_and_starts_and_stops_stay(ctx, linked):
    charger, _, other = linked
    mine = await say(ctx, charger, START, METER, "StatusNotification", STOP)
    await say(ctx, other, METER)
    assert await prune(ctx, 0) == 1
    assert await prune(ctx, 0) == 2
    assert await prune(ctx, 0) == 0
    assert await left(ctx, charger) == [mine[0], mine[3]]


async def test_age_takes_all(ctx, clock, linked):
    charger, _, _ = linked
    await say(ctx, charger, START, METER, STOP)
    clock.advance(30 * 86_400 + 1)
    await retention.prune(ctx, days=30, bytes_max=10**12)
    assert await left(ctx, charger) == []


async def test_what_was_said_within_the_hour_stays_however_large_the_log(ctx, clock, linked, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 2)
    charger, _, other = linked
    await say(ctx, charger, METER, METER, METER)
    await say(ctx, other, METER, METER, METER)
    clock.advance(RECENT.total_seconds() + 1)
    mine, others = await say(ctx, charger, METER), await say(ctx, other, METER)
    await retention.prune(ctx, days=30, bytes_max=0)
    assert (await left(ctx, charger), await left(ctx, other)) == (mine, others)


async def test_an_operator_of_where_the_charger_stood_before_holds_nothing_back(ctx, linked):
    charger, _, _ = linked
    await say(ctx, charger, START, STOP)
    await ctx.db.work(SYSTEM, chargers.unlink, charger.location_id, charger.id)
    assert await prune(ctx, 0) == 2


def test_what_is_open_is_found_by_its_index():
    """A bound list would hide from SQLite that the index of what is open holds all of it."""
    query = sa.select(deliveries_store.deliveries.c.call_number).where(deliveries_store.IS_OPEN)
    assert "IN ('retrying', 'held', 'parked')" in str(query)


async def test_what_an_operator_refused_stays_as_long_as_it_can_be_told_again(ctx, linked):
    charger, link, _ = linked
    first, second = await say(ctx, charger, START, START)
    refused = Record(link.id, charger.id, second, call_number=first, action=START, status="parked")
    await ctx.db.work(serving.ACTOR, serving.record, [refused])
    assert await prune(ctx, 0) == 1
    assert await prune(ctx, 0) == 0
    assert await left(ctx, charger) == [first]


async def test_deliveries_go_with_age_and_size_but_for_what_is_owed(ctx, clock, linked, monkeypatch):
    charger, link, _ = linked
    (said,) = await say(ctx, charger, START)
    values = {"call_number": said, "action": START, "payload": "y" * 750}
    records = [Record(link.id, charger.id, status="parked", **values)]
    records += [Record(link.id, charger.id, **values) for _ in range(5)]
    lost = Record(link.id, charger.id, call_number=999_999, action=STOP, status="parked")
    await ctx.db.work(serving.ACTOR, serving.record, [*records, lost])
    monkeypatch.setattr(retention, "STEP", 2)

    async def forget(bytes_max: int) -> int:
        return await ctx.db.work(SYSTEM, retention.forget_deliveries, days=30, bytes_max=bytes_max)

    clock.advance(1)
    assert await forget(6_000) == 0
    assert await forget(4_900) == 2
    assert await forget(4_900) == 0
    clock.advance(30 * 86_400)
    assert [await forget(10**9) for _ in range(3)] == [2, 2, 0]
    found = await ctx.db.read(SYSTEM, deliveries.list_deliveries, link.id)
    assert [(each.status, each.call_number) for each in found] == [("parked", said)], "it can still be told"
    assert await forget(0) == 0

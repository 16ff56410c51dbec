"""The log of calls: everything but heartbeats, for a while."""

from __future__ import annotations

import sqlalchemy as sa

from tests.factories import SYSTEM, make_charger
from voltyard.chargers import calls
from voltyard.chargers.tables import calls as table
from voltyard.kernel.limits import CALL_LOG_DAYS
from voltyard.speech import Beat, Booted, Heard

DAY_S = 86_400


def heard(charger_id: str, action: str = "BootNotification", **over) -> Heard:
    said = Beat() if action == "Heartbeat" else Booted("Acme", "One")
    return Heard(charger_id, "soc_1", over.get("message_id", "m1"), action, over.get("raw", "{}"), said)


async def rows(ctx):
    return await ctx.db.read(SYSTEM, lambda work: work.rows(sa.select(table).order_by(table.c.number)))


async def test_payloads_are_kept_as_they_came_and_in_order(ctx, clock):
    charger = await make_charger(ctx)
    raw = '{"chargePointVendor":"Ac\\u006de",  "x":1}'
    await ctx.db.work(
        SYSTEM, calls.log, [heard(charger.id, raw=raw), heard(charger.id, message_id="m" * 200)]
    )
    first, second = await rows(ctx)
    assert (first.payload, first.action, first.at) == (raw, "BootNotification", clock.now())
    assert second.number > first.number
    assert second.message_id == "m" * 64


async def test_heartbeats_are_left_out(ctx):
    charger = await make_charger(ctx)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id, "Heartbeat")])
    assert await rows(ctx) == []


async def test_nothing_heard_is_nothing_logged(ctx):
    await ctx.db.work(SYSTEM, calls.log, [])
    assert await rows(ctx) == []


async def test_old_calls_are_forgotten_in_bites(ctx, clock, monkeypatch):
    monkeypatch.setattr(calls, "PRUNE_STEP", 2)
    charger = await make_charger(ctx)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)] * 3)
    clock.advance(CALL_LOG_DAYS * DAY_S)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id, "StatusNotification")])
    assert await ctx.db.work(SYSTEM, calls.prune) == 0
    clock.advance(1)
    assert [await ctx.db.work(SYSTEM, calls.prune) for _ in range(3)] == [2, 1, 0]
    assert [row.action for row in await rows(ctx)] == ["StatusNotification"]

"""Meter values of many chargers at once find their transactions."""

from datetime import timedelta

from tests.factories import SYSTEM
from tests.unit.central.speakers import handle, make_places
from voltyard.central import charging, metering
from voltyard.speech import Metered, Reading, Started, Thanks
from voltyard.transactions import service as transactions


async def test_readings_join_their_transactions_and_all_are_thanked_for(ctx):
    places = await make_places(ctx, 3)
    now = ctx.clock.now()
    start = Started(1, "GOOD", 1_000, now)
    starts = await handle(ctx, charging.started, *((place, start) for place in places))
    readings = tuple(Reading(now + timedelta(seconds=n), energy_wh=1_000.0 + n) for n in (1, 2))
    said = [Metered(1, each.number, readings) for each in starts]
    assert await handle(ctx, metering.metered, *zip(places, said, strict=True)) == [
        Thanks(each.number) for each in starts
    ]
    assert await handle(ctx, metering.metered, *zip(places, said, strict=True)) == [
        Thanks(each.number) for each in starts
    ]
    for found in await ctx.db.read(SYSTEM, transactions.list_transactions):
        assert found.energy_wh == 2
        assert len(await ctx.db.read(SYSTEM, transactions.samples, found.id)) == 2


async def test_readings_without_a_transaction_are_kept_too(ctx):
    (place,) = await make_places(ctx, 1)
    said = Metered(1, None, (Reading(None, energy_wh=5.0),))
    assert await handle(ctx, metering.metered, (place, said)) == [Thanks()]
    kept = await ctx.db.read(SYSTEM, transactions.latest_sample, place.charger_id, 1)
    assert kept.energy_wh == 5.0

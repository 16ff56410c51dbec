"""Chargers that start: claimed ones work, others wait."""

from tests.factories import SYSTEM, make_charger, place_of
from tests.unit.central.speakers import handle, make_places
from voltyard.central import boot
from voltyard.chargers import service as chargers
from voltyard.kernel import jobs
from voltyard.kernel.limits import HEARTBEAT_S, PENDING_RETRY_S
from voltyard.kernel.wire import decode
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.speech import Beat, Booted, Registration, Ticked, Welcomed


async def test_claimed_chargers_may_work_and_others_come_again_soon(ctx):
    (claimed,) = await make_places(ctx, 1)
    waiting = place_of(await make_charger(ctx))
    now = ctx.clock.now()
    said = Booted("V", "M", serial="S", firmware="1.2")
    assert await handle(ctx, boot.booted, (claimed, said), (waiting, said)) == [
        Welcomed(Registration.ACCEPTED, now, HEARTBEAT_S),
        Welcomed(Registration.PENDING, now, PENDING_RETRY_S),
    ]
    for place in (claimed, waiting):
        shown = await ctx.db.read(SYSTEM, chargers.get, place.charger_id)
        assert (shown.vendor, shown.serial, shown.firmware, shown.booted_at) == ("V", "S", "1.2", now)


async def test_words_that_are_too_long_are_cut_and_not_refused(ctx):
    (place,) = await make_places(ctx, 1)
    (reply,) = await handle(ctx, boot.booted, (place, Booted("V" * 500, "M" * 500, serial="S" * 500)))
    assert reply.registration is Registration.ACCEPTED
    assert len((await ctx.db.read(SYSTEM, chargers.get, place.charger_id)).vendor) == 120


async def test_a_heartbeat_is_told_the_time(ctx):
    places = await make_places(ctx, 3)
    replies = await handle(ctx, boot.beat, *((place, Beat()) for place in places))
    assert replies == [Ticked(ctx.clock.now())] * 3


async def test_a_boot_has_the_cards_of_a_claimed_charger_looked_at(ctx):
    (claimed,) = await make_places(ctx, 1)
    waiting = place_of(await make_charger(ctx))
    await ctx.db.work(SYSTEM, jobs.claim, "somebody", most=100)  # what the claim itself had made due
    await handle(ctx, boot.booted, (claimed, Booted("V", "M")), (waiting, Booted("V", "M")))
    ctx.clock.advance(local_lists.BOOT_DELAY_S)
    due = await ctx.db.work(SYSTEM, jobs.claim, "test", most=100)
    asked = [decode(job.body, SyncList) for job in due if job.kind == SyncList.__name__]
    assert asked == [SyncList(claimed.charger_id)]

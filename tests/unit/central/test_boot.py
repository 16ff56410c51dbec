"""Chargers that start: claimed ones work, others wait."""

from tests.factories import SYSTEM, make_charger, place_of
from tests.unit.central.speakers import handle, make_places
from voltyard.central import boot, status
from voltyard.chargers import service as chargers
from voltyard.chargers import transfers
from voltyard.chargers.after_boot import LookAfterBoot
from voltyard.chargers.stages import Kind, Stage
from voltyard.kernel import jobs
from voltyard.kernel.limits import HEARTBEAT_S, PENDING_RETRY_S
from voltyard.kernel.wire import decode
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.speech import Beat, Booted, FirmwareTold, Registration, Ticked, Welcomed


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


async def test_the_parameters_of_a_claimed_charger_are_looked_at_after_its_boot(ctx):
    (claimed,) = await make_places(ctx, 1)
    waiting = place_of(await make_charger(ctx))
    await handle(ctx, boot.booted, (claimed, Booted("V", "M")), (waiting, Booted("V", "M")))
    ctx.clock.advance(60)
    taken = await ctx.db.work(SYSTEM, jobs.claim, "test", most=50)
    bodies = [decode(job.body, LookAfterBoot) for job in taken if job.kind == "LookAfterBoot"]
    assert bodies == [LookAfterBoot(claimed.charger_id)]


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


async def test_a_start_tells_what_became_of_an_update(ctx):
    one, two = await make_places(ctx, 2)
    await handle(
        ctx, boot.booted, (one, Booted("V", "M", firmware="1")), (two, Booted("V", "M", firmware="1"))
    )
    begun = []
    for place in (one, two):
        charger = await ctx.db.read(SYSTEM, chargers.get, place.charger_id)
        begun.append(
            await ctx.db.work(
                SYSTEM, transfers.begin, charger, Kind.FIRMWARE, Stage.ASKED, None, version_wanted="2"
            )
        )
    await handle(ctx, status.progress, (one, FirmwareTold("Downloaded")), (two, FirmwareTold("Downloading")))
    await handle(
        ctx, boot.booted, (one, Booted("V", "M", firmware="2")), (two, Booted("V", "M", firmware="1"))
    )
    found = [await ctx.db.read(SYSTEM, transfers.get, each) for each in begun]
    assert [(each.stage, each.version_after, each.is_proven) for each in found] == [
        (Stage.INSTALLED, "2", True),
        (Stage.DOWNLOADING, "1", False),
    ]

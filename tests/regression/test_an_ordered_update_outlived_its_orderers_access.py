"""An update that was ordered for a charger that is away was sent even if its orderer had no access any more.

An installer whose access had ended could so have firmware of his own installed hours later. It is looked at
anew when the charger is asked, as it is with runs.
"""

from datetime import timedelta

from tests.factories import make_member
from tests.unit.chargers.deliveries import BARE, a_charger, answering, look
from tests.unit.chargers.test_firmware import do_jobs, upload
from voltyard.chargers import firmware
from voltyard.chargers.stages import Stage
from voltyard.locations.access import Level


async def test_an_update_is_sent_with_the_rights_of_the_moment(sqlite_ctx, clock):
    ctx = sqlite_ctx
    charger, owner = await a_charger(ctx)
    ends_at = clock.now() + timedelta(minutes=1)
    installer = await make_member(ctx, charger.location_id, Level.FULL, until_at=ends_at)
    file = await upload(ctx, installer)
    ordered = await firmware.update_many(ctx, installer.actor, [charger.id], firmware_id=file.id)
    heard = await answering(ctx, charger.id, BARE)
    clock.advance(120)
    assert await do_jobs(ctx) == 1
    assert heard == []
    assert (await look(ctx, owner, ordered.transfers[0])).stage is Stage.CANCELLED
    clock.advance(firmware.LOOK_AGAIN_S)
    assert await do_jobs(ctx) == 0

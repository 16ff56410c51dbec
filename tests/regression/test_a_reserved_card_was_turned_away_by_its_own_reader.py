"""A card whose reader tells its bytes in reverse was turned away from the connector that was kept for it.

Cards were recognised by their reverse (quirk Q34), reservations compared the tag as it was told.
"""

from tests.factories import SYSTEM, make_card
from tests.unit.reservations.test_service import make_scene
from voltyard.chargers import service as chargers
from voltyard.reservations.service import ReservationState
from voltyard.speech import Booted, Reserve, Verdict

TAG, REVERSED = "04A1B2C3", "C3B2A104"


async def test_a_card_is_known_at_its_reservation_however_its_reader_tells_it(ctx):
    scene = await make_scene(ctx)
    await make_card(ctx, scene.charger.location_id, id_tag=TAG)
    await ctx.db.work(SYSTEM, chargers.boot, [(scene.place, Booted("KEBA AG", "P30"))])
    scene.words[Reserve] = "Rejected"
    made = await scene.reserve(tag=TAG, is_insisting=True)
    reply = await scene.start(REVERSED)
    assert reply.verdict is Verdict.ACCEPTED
    assert (await scene.state(made)).state is ReservationState.USED

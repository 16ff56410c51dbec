"""A charger whose connection closed before it answered to a reservation kept the connector all the same.

We took it for one that was never asked: nobody had a reservation, and for days nobody could charge there.
"""

import pytest

from tests.factories import SYSTEM
from tests.unit.reservations.test_service import make_scene
from voltyard.kernel.errors import ChargerOffline
from voltyard.reservations import service as reservations
from voltyard.reservations.service import ReservationState
from voltyard.speech import CancelReservation, Reserve


async def test_a_charger_that_may_have_obeyed_is_told_that_nothing_is_reserved(ctx):
    scene = await make_scene(ctx)
    answer = scene.answer

    async def obeys_and_goes(asked):
        if isinstance(asked.ask, Reserve):
            scene.asked.append(asked.ask)
            raise ChargerOffline("the charger's connection closed before it answered")
        return await answer(asked)

    await scene.serving.stop()
    scene.answer = obeys_and_goes
    await scene.connect()
    with pytest.raises(ChargerOffline):
        await scene.reserve()
    await scene.work_off()
    (reserved, cancelled) = scene.asked
    assert cancelled == CancelReservation(reserved.reservation)
    (made,) = await ctx.db.read(SYSTEM, reservations.list_reservations, scene.charger.id)
    assert made.state is ReservationState.REFUSED

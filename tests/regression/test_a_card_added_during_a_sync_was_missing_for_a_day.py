"""A card that was added while a charger's list was being sent could be missing from it for a day.

The list was said to be in step at the end, with what had been wanted at the beginning; if the charger went
away just then, nobody looked again, since a list that is in step is only looked at once a day.
"""

from tests.factories import make_card
from tests.unit.local_lists.test_service import boot, make_peer, state, work_off
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.local_lists.service import ListState
from voltyard.speech import ReplaceCards


async def test_a_list_is_in_step_with_the_cards_of_the_end_not_of_the_beginning(ctx):
    peer = await make_peer(ctx, "A1")
    location_id = peer.charger.location_id

    async def slow(asked):
        told = await type(peer).answer(peer, asked)
        if isinstance(asked.ask, ReplaceCards):
            await make_card(ctx, location_id, id_tag="B2")
            await local_lists._spread(ctx, location_id, is_withdrawn=False)
        return told

    await peer.leave()
    peer.answer = slow
    await peer.connect()
    await local_lists.sync(ctx, SyncList(peer.charger.id))
    assert (await state(ctx, peer)).state is ListState.WAITING
    await peer.leave()
    await work_off(ctx)
    del peer.answer
    await peer.connect()
    await boot(ctx, peer)
    await work_off(ctx, hours=0.1)
    assert peer.held == {"A1": "Accepted", "B2": "Accepted"}
    assert (await state(ctx, peer)).state is ListState.IN_STEP

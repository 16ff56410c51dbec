"""Starts and stops of many chargers at once: each gets its own number, and no energy is refused."""

from tests.factories import SYSTEM
from tests.unit.central.speakers import handle, make_places
from voltyard.central import charging
from voltyard.speech import Ended, Judged, Started, Verdict
from voltyard.transactions import service as transactions


async def listed(ctx):
    found = await ctx.db.read(SYSTEM, transactions.list_transactions)
    return {each.number: each for each in found}


async def test_every_start_has_a_number_of_its_own_whatever_the_verdict(ctx):
    places = await make_places(ctx, 6)
    said = [Started(1, "GOOD" if number % 2 else "BAD", number) for number in range(6)]
    replies = await handle(ctx, charging.started, *zip(places, said, strict=True))
    assert [reply.verdict for reply in replies] == [Verdict.INVALID, Verdict.ACCEPTED] * 3
    numbers = [reply.number for reply in replies]
    assert len(set(numbers)) == 6
    found = await listed(ctx)
    assert [found[number].meter_start_wh for number in numbers] == list(range(6))
    assert [found[number].charger_id for number in numbers] == [place.charger_id for place in places]


async def test_a_repeated_start_is_the_same_start_also_within_one_batch(ctx):
    (place,) = await make_places(ctx, 1)
    said = Started(1, "GOOD", 5, ctx.clock.now())
    first, second = await handle(ctx, charging.started, (place, said), (place, said))
    (third,) = await handle(ctx, charging.started, (place, said))
    assert first == second == third
    assert len(await listed(ctx)) == 1


async def test_stops_are_always_answered_well(ctx):
    one, two = await make_places(ctx, 2)
    (reply,) = await handle(ctx, charging.started, (one, Started(1, "GOOD", 5)))
    said = [(one, Ended(reply.number, 105)), (two, Ended(reply.number, 9)), (two, Ended(0, 9))]
    assert await handle(ctx, charging.ended, *said) == [Judged(number=reply.number), Judged(), Judged()]
    found = (await listed(ctx))[reply.number]
    assert (found.energy_wh, found.is_active) == (100, False), "another charger's stop changes nothing"


async def test_a_stop_with_a_card_is_told_what_holds_for_that_card(ctx):
    one, two = await make_places(ctx, 2)
    said = [(one, Ended(1, 105, id_tag="GOOD")), (one, Ended(1, 9)), (two, Ended(0, 9, id_tag="BAD"))]
    replies = await handle(ctx, charging.ended, *said)
    assert [reply.verdict for reply in replies] == [Verdict.ACCEPTED, None, Verdict.INVALID]

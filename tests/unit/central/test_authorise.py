"""Cards at readers: those of the charger's own location count, others do not."""

from datetime import timedelta

from tests.factories import SYSTEM, make_card, make_charger, place_of
from tests.unit.central.speakers import handle, make_places
from voltyard.cards import service as cards
from voltyard.central import authorise
from voltyard.speech import Judged, MayCharge, Started, Verdict


async def test_each_card_is_judged_by_the_location_of_its_charger(ctx):
    (one,) = await make_places(ctx, 1, card="ONE")
    (two,) = await make_places(ctx, 1, card="TWO")
    nowhere = place_of(await make_charger(ctx))
    replies = await handle(
        ctx,
        authorise.may_charge,
        *((place, MayCharge(tag)) for place in (one, two, nowhere) for tag in ("ONE", "t-w:o")),
    )
    good, bad = Verdict.ACCEPTED, Verdict.INVALID
    assert [reply.verdict for reply in replies] == [good, bad, bad, good, bad, bad]


async def test_blocked_and_expired_cards_are_told_apart(ctx):
    (place,) = await make_places(ctx, 1)
    blocked = await make_card(ctx, place.location_id, id_tag="BLOCKED")
    await ctx.db.work(SYSTEM, lambda work: cards.change(work, blocked.id, is_blocked=True))
    until = ctx.clock.now() + timedelta(hours=1)
    await make_card(ctx, place.location_id, id_tag="SHORT", expires_at=until)
    ask = [(place, MayCharge(tag)) for tag in ("BLOCKED", "SHORT", "GOOD")]
    replies = await handle(ctx, authorise.may_charge, *ask)
    assert replies == [
        Judged(Verdict.BLOCKED),
        Judged(Verdict.ACCEPTED, expires_at=until),
        Judged(Verdict.ACCEPTED),
    ]
    ctx.clock.advance(3601)
    assert (await handle(ctx, authorise.may_charge, ask[1]))[0].verdict is Verdict.EXPIRED


async def test_a_start_is_judged_as_its_card_is(ctx):
    (place,) = await make_places(ctx, 1)
    found = await handle(ctx, authorise.judge, (place, Started(1, "good", 0)), (place, MayCharge("bad")))
    assert [each.verdict for each in found] == [Verdict.ACCEPTED, Verdict.INVALID]
    assert found[0].card_id is not None
    assert found[1].card_id is None


async def test_a_card_was_used_when_its_charge_began_not_when_we_heard_of_it(ctx):
    (place,) = await make_places(ctx, 1)

    async def used_at():
        return (await ctx.db.read(SYSTEM, cards.find, place.location_id, "GOOD")).used_at

    last_week = ctx.clock.now() - timedelta(days=7)
    await handle(ctx, authorise.judge, (place, Started(1, "GOOD", 1, last_week)))
    assert await used_at() == last_week
    await handle(ctx, authorise.may_charge, (place, MayCharge("GOOD")))
    assert await used_at() == ctx.clock.now()
    await handle(ctx, authorise.judge, (place, Started(1, "GOOD", 2, last_week)))
    assert await used_at() == ctx.clock.now(), "history does not turn it back"

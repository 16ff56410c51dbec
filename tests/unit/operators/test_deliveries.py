"""Receipts, and what people can do about what an operator refuses."""

from __future__ import annotations

import pytest

from tests.factories import SYSTEM, make_member
from tests.unit.operators.office import make_linked, say
from voltyard.kernel.errors import Forbidden, NotFound
from voltyard.locations.access import Level
from voltyard.operators import deliveries, serving
from voltyard.operators.deliveries import DeliveryStatus, NotParked
from voltyard.operators.serving import Record

PAYLOAD = '{"connectorId":1,"idTag":"A","meterStart":1,"timestamp":"2026-01-01T12:00:00Z"}'


async def park(ctx, charger, link, status="parked", number=7) -> int:
    call = await ctx.db.work(SYSTEM, say, charger.id, "StartTransaction", PAYLOAD, number)
    record = Record(
        link.id, charger.id, call, call_number=call, transaction_number=number, message_id="x:1",
        action="StartTransaction", status=status, answer='{"errorCode":"InternalError"}', tries=5,
    )  # fmt: skip
    await ctx.db.work(serving.ACTOR, serving.record, [record])
    return (await ctx.db.read(SYSTEM, deliveries.list_deliveries, link.id))[0].number


async def test_a_receipt_shows_what_was_said_and_what_went_out(ctx):
    charger, link = await make_linked(ctx)
    call = await ctx.db.work(SYSTEM, say, charger.id, "StopTransaction", '{"transactionId":7}', 7)
    record = Record(
        link.id, charger.id, call, call_number=call, transaction_number=7, message_id="x:1",
        action="StopTransaction", payload='{"transactionId":9001}', note="number", answer="{}",
    )  # fmt: skip
    asked = Record(
        link.id, charger.id, is_inward=True, message_id="9", action="ChangeConfiguration",
        payload='{"key":"AuthorizationKey","value":"top-secret-key-0123"}', status="refused",
        note="no_consent",
    )  # fmt: skip
    await ctx.db.work(serving.ACTOR, serving.record, [record, asked])
    inward, outward = await ctx.db.read(SYSTEM, deliveries.list_deliveries, link.id)
    assert (outward.said, outward.payload, outward.note) == (
        '{"transactionId":7}', '{"transactionId":9001}', ("number",),
    )  # fmt: skip
    assert (inward.is_inward, inward.status, inward.note) == (True, DeliveryStatus.REFUSED, ("no_consent",))
    assert "top-secret" not in inward.payload
    (of_call,) = await ctx.db.read(SYSTEM, deliveries.of_call, charger.id, call)
    assert of_call == outward
    only = await ctx.db.read(
        SYSTEM, deliveries.list_deliveries, link.id, statuses=[DeliveryStatus.DONE], is_inward=False
    )
    assert only == [outward]
    assert await ctx.db.read(SYSTEM, deliveries.list_deliveries, link.id, before=outward.number) == []


async def test_what_was_parked_is_told_again_or_given_up(ctx):
    charger, link = await make_linked(ctx)
    number = await park(ctx, charger, link)
    assert (await ctx.db.read(serving.ACTOR, serving.find, link.id)).blocked == {7}
    again = await ctx.db.work(SYSTEM, deliveries.retry, link.id, number)
    assert (again.status, again.next_at) == (DeliveryStatus.RETRYING, ctx.clock.now())
    skipped = await ctx.db.work(SYSTEM, deliveries.skip, link.id, number)
    assert skipped.status is DeliveryStatus.SKIPPED
    known = await ctx.db.read(serving.ACTOR, serving.known, link.id, [7])
    assert (known[7].state, known[7].theirs) == ("unknown", None)
    assert (await ctx.db.read(serving.ACTOR, serving.find, link.id)).blocked == frozenset()
    with pytest.raises(NotParked):
        await ctx.db.work(SYSTEM, deliveries.retry, link.id, number)
    with pytest.raises(NotFound):
        await ctx.db.work(SYSTEM, deliveries.skip, link.id, number + 100)


async def test_only_who_may_change_operators_decides(ctx):
    charger, link = await make_linked(ctx)
    number = await park(ctx, charger, link)
    sensitive = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    basic = await make_member(ctx, charger.location_id, Level.BASIC)
    assert await ctx.db.read(sensitive.actor, deliveries.list_deliveries, link.id)
    for act in (deliveries.retry, deliveries.skip):
        with pytest.raises(Forbidden):
            await ctx.db.work(sensitive.actor, act, link.id, number)
    with pytest.raises(Forbidden):
        await ctx.db.read(basic.actor, deliveries.list_deliveries, link.id)

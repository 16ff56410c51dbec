"""The log of calls: every frame, with its answer, secrets masked, for a while."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import calls, service
from voltyard.chargers.tables import calls as table
from voltyard.kernel import blocks
from voltyard.kernel.errors import Forbidden, NotFound
from voltyard.kernel.limits import CALL_LOG_DAYS
from voltyard.locations.access import Level
from voltyard.speech import AnswerTraced, Beat, Booted, CallStatus, CallTraced, Heard, Traced

DAY_S = 86_400


def heard(charger_id: str, action: str = "BootNotification", **over) -> Heard:
    said = Beat() if action == "Heartbeat" else Booted("Acme", "One")
    return Heard(charger_id, "soc_1", over.get("message_id", "m1"), action, over.get("raw", "{}"), said)


async def prune(ctx) -> int:
    return await ctx.db.work(SYSTEM, calls.forget_old, days=CALL_LOG_DAYS)


def ours(charger_id: str, clock, **over) -> CallTraced:
    values = {
        "charger_id": charger_id, "session_id": "soc_1", "message_id": "vy-1", "is_outward": True,
        "origin": "user:usr_1", "command_id": "", "action": "Reset", "payload": '{"type":"Soft"}',
        "at": clock.now(), "status": CallStatus.PENDING,
    }  # fmt: skip
    return CallTraced(**(values | over))


async def rows(ctx):
    return await ctx.db.read(SYSTEM, lambda work: work.rows(sa.select(table).order_by(table.c.number)))


async def test_payloads_are_kept_as_they_came_and_in_order(ctx, clock):
    charger = await make_charger(ctx)
    raw = '{"chargePointVendor":"Ac\\u006de",  "x":1}'
    await ctx.db.work(
        SYSTEM, calls.log, [heard(charger.id, raw=raw), heard(charger.id, message_id="m" * 200)]
    )
    first, second = await rows(ctx)
    assert (first.payload, first.action, first.at) == (raw, "BootNotification", clock.now())
    assert second.number > first.number
    assert second.message_id == "m" * 64


async def test_the_numbers_of_the_rows_are_told_in_order(ctx):
    charger = await make_charger(ctx)
    first = await ctx.db.work(SYSTEM, calls.log, [heard(charger.id), heard(charger.id, "Heartbeat")])
    second = await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)])
    assert first + second == [row.number for row in await rows(ctx)]


async def test_nothing_heard_is_nothing_logged(ctx):
    await ctx.db.work(SYSTEM, calls.log, [])
    assert await rows(ctx) == []


async def test_old_calls_are_forgotten_in_bites(ctx, clock, monkeypatch):
    monkeypatch.setattr(calls, "PRUNE_STEP", 2)
    charger = await make_charger(ctx)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)] * 3)
    clock.advance(CALL_LOG_DAYS * DAY_S)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id, "StatusNotification")])
    assert await prune(ctx) == 0
    clock.advance(1)
    assert [await prune(ctx) for _ in range(3)] == [2, 1, 0]
    assert [row.action for row in await rows(ctx)] == ["StatusNotification"]


async def test_numbers_never_start_again(ctx):
    charger = await make_charger(ctx)
    numbers = await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)] * 3)
    assert await ctx.db.work(SYSTEM, calls.forget, numbers) == 3
    assert await rows(ctx) == []
    # … or whoever reads on from one would miss rows.
    assert await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)]) == [4]


async def test_the_size_of_a_log_is_what_its_texts_and_rows_take(ctx):
    charger = await make_charger(ctx)
    assert await ctx.db.read(SYSTEM, calls.size) == 0
    numbers = await ctx.db.work(SYSTEM, calls.log, [heard(charger.id, raw="x" * 1_000)] * 10)
    assert await ctx.db.read(SYSTEM, calls.size) == 12_500
    assert await ctx.db.read(SYSTEM, lambda work: calls.size(work, first=numbers[6], beside=2)) == 7_500
    assert await ctx.db.read(SYSTEM, lambda work: calls.size(work, first=None, beside=4)) == 5_000


async def test_an_answer_stands_beside_its_call(ctx, clock):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id)
    (number,) = await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)])
    answer = AnswerTraced(number, CallStatus.DONE, '{"status":"Accepted"}', 12.5)
    await ctx.db.work(SYSTEM, calls.trace, Traced(answers=(answer,)))
    (call,) = await ctx.db.read(SYSTEM, calls.list_calls, charger.id)
    assert (call.status, call.answer, call.latency_ms) == (CallStatus.DONE, '{"status":"Accepted"}', 12.5)
    assert not call.is_outward


async def test_a_call_of_ours_is_pending_then_answered_even_late(ctx, clock):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id)
    (number,) = await ctx.db.work(SYSTEM, calls.trace, Traced((ours(charger.id, clock),)))
    (call,) = await ctx.db.read(SYSTEM, calls.list_calls, charger.id)
    assert (call.status, call.answer, call.origin) == (CallStatus.PENDING, None, "user:usr_1")
    clock.advance(calls.PENDING_MAX.total_seconds() + 1)
    (call,) = await ctx.db.read(SYSTEM, calls.list_calls, charger.id)
    assert call.status is CallStatus.FAILED
    for status, text in ((CallStatus.FAILED, ""), (CallStatus.DONE, '{"status":"Accepted"}')):
        answer = AnswerTraced(number, status, text, 70_000.0)
        await ctx.db.work(SYSTEM, calls.trace, Traced(answers=(answer,)))
        (call,) = await ctx.db.read(SYSTEM, calls.list_calls, charger.id)
        assert (call.status, call.answer) == (status, text or None)


async def test_secrets_are_masked_on_both_ways(ctx, clock):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id)
    asked = ours(
        charger.id, clock, action="ChangeConfiguration",
        payload='{"key":"AuthorizationKey","value":"hunter2hunter2"}',
        status=CallStatus.DONE, latency_ms=3.0,
        answer='{"configurationKey":[{"key":"AuthorizationKey","readonly":false,"value":"hunter2"}]}',
    )  # fmt: skip
    await ctx.db.work(SYSTEM, calls.trace, Traced((asked,)))
    (call,) = await ctx.db.read(SYSTEM, calls.list_calls, charger.id)
    assert "hunter2" not in call.payload + (call.answer or "")
    assert call.latency_ms == 3.0


async def test_the_log_is_filtered_by_what_people_look_for(ctx, clock):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id)
    await ctx.db.work(
        SYSTEM,
        calls.log,
        [
            heard(charger.id, raw='{"chargePointVendor":"Ækme"}'),
            heard(charger.id, "MeterValues"),
            heard(charger.id, "Heartbeat"),
        ],
    )
    clock.advance(60)
    await ctx.db.work(SYSTEM, calls.trace, Traced((ours(charger.id, clock),)))

    async def found(*, before=None, after=None, limit=25, **chosen) -> list[str]:
        page = {"before": before, "after": after, "limit": limit}
        listed = await ctx.db.read(SYSTEM, calls.list_calls, charger.id, calls.Wanted(**chosen), **page)
        return [call.action for call in listed]

    assert await found() == ["Reset", "Heartbeat", "MeterValues", "BootNotification"]
    assert await found(is_significant=True) == ["Reset", "BootNotification"]
    assert await found(is_outward=True) == ["Reset"]
    assert await found(actions=("MeterValues", "Reset"), is_significant=True) == ["Reset", "MeterValues"]
    assert await found(q="ækme") == ["BootNotification"]
    assert await found(q="100%") == []
    assert await found(status=CallStatus.PENDING, is_significant=True) == ["Reset", "BootNotification"]
    assert await found(from_at=clock.now()) == ["Reset"]
    assert await found(until_at=clock.now(), limit=1) == ["Heartbeat"]
    first = (await ctx.db.read(SYSTEM, calls.list_calls, charger.id))[-1].number
    assert await found(after=first, limit=2) == ["MeterValues", "Heartbeat"]
    assert await found(before=first + 2) == ["MeterValues", "BootNotification"]


async def test_the_log_is_for_those_who_may_see_what_is_sensitive(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id)
    basic = await make_member(ctx, location.id, Level.BASIC)
    sensitive = await make_member(ctx, location.id, Level.SENSITIVE)
    stranger = await make_user(ctx)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)])
    assert len(await ctx.db.read(sensitive.actor, calls.list_calls, charger.id)) == 1
    with pytest.raises(Forbidden):
        await ctx.db.read(basic.actor, calls.list_calls, charger.id)
    with pytest.raises(NotFound):
        await ctx.db.read(stranger.actor, calls.list_calls, charger.id)


async def test_a_new_owner_sees_nothing_of_the_old_one(ctx, clock):
    before = await make_location(ctx)
    charger = await make_charger(ctx, before.id, identity="MOVES-1")
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id)])
    clock.advance(10)
    await ctx.db.work(SYSTEM, service.unlink, before.id, charger.id)
    owner = await make_user(ctx)
    after = await make_location(ctx, owner)
    await service.claim(ctx, owner.actor, after.id, identity="MOVES-1", pin="4711")
    assert await ctx.db.read(owner.actor, calls.list_calls, charger.id) == []
    clock.advance(10)
    await ctx.db.work(SYSTEM, calls.log, [heard(charger.id, "Heartbeat")])
    assert [call.action for call in await ctx.db.read(owner.actor, calls.list_calls, charger.id)] == [
        "Heartbeat"
    ]


async def test_calls_are_found_however_many_blocks_lie_between_them(ctx, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCKS", {True: 2, False: 2})
    location = await make_location(ctx)
    rare, busy = [await make_charger(ctx, location.id) for _ in range(2)]
    first = await ctx.db.work(SYSTEM, calls.log, [heard(rare.id)])
    await ctx.db.work(SYSTEM, calls.log, [heard(busy.id, message_id=f"m{n}") for n in range(61)])
    second = await ctx.db.work(SYSTEM, calls.log, [heard(rare.id), heard(busy.id), heard(rare.id)])

    async def found(**how):
        return [call.number for call in await ctx.db.read(SYSTEM, calls.list_calls, rare.id, **how)]

    newest_first = [second[2], second[0], first[0]]
    assert await found() == newest_first
    assert await found(limit=2) == newest_first[:2]
    assert await found(before=second[2]) == newest_first[1:]
    assert await found(after=first[0]) == newest_first[1::-1]
    assert await found(after=0, limit=1) == first
    assert await ctx.db.read(SYSTEM, calls.list_actions, rare.id) == ["BootNotification"]
    assert [
        mark.number for mark in await ctx.db.read(SYSTEM, calls.list_marks, rare.id, after=None, limit=9)
    ] == newest_first


async def test_what_others_have_heard_before_does_not_hide_what_is_new(ctx):
    location = await make_location(ctx)
    slow, quick = [(await make_charger(ctx, location.id)).id for _ in range(2)]
    await ctx.db.work(SYSTEM, calls.log, [heard(slow)])
    numbers = await ctx.db.work(SYSTEM, calls.log, [heard(quick) for _ in range(6)])
    behind = {slow: 0, quick: numbers[-2]}
    said, is_more = await ctx.db.read(SYSTEM, calls.said_after, behind, limit=4)
    assert [each.charger_id for each in said] == [slow]
    assert is_more, "the look was full of what is known already"
    said, is_more = await ctx.db.read(SYSTEM, calls.said_after, {quick: numbers[-2]}, limit=4)
    assert ([each.number for each in said], is_more) == ([numbers[-1]], False)
    last = [await ctx.db.read(SYSTEM, calls.last_number_of, each) for each in (slow, quick, "nobody")]
    assert last == [numbers[0] - 1, numbers[-1], 0]

"""The tail of a log: every call told once, and once more for its answer, in whatever order they appear."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import sqlalchemy as sa

from tests.factories import SYSTEM, make_charger, make_location
from voltyard.chargers import calls, calls_tail
from voltyard.chargers.calls import ALL, Wanted
from voltyard.chargers.calls_tail import KEPT_FOR, KEPT_MARKS, News, Tail
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.speech import AnswerTraced, Beat, CallStatus, Heard, Traced


def heard(charger_id: str, action: str = "Heartbeat") -> Heard:
    return Heard(charger_id, "soc_1", "m1", action, "{}", Beat())


class Listener:
    """Somebody who follows a log."""

    def __init__(self, ctx: Context, charger_id: str, wanted: Wanted = ALL) -> None:
        self.ctx, self.charger_id, self.wanted = ctx, charger_id, wanted
        self.tail: Tail | None = None

    async def look(self, number: int | None = None) -> News:
        news = await self.ctx.db.read(
            SYSTEM, calls_tail.go_on, self.charger_id, self.wanted, self.tail, number
        )
        self.tail = news.tail
        return news

    async def told(self, number: int | None = None) -> list[tuple[int, bool]]:
        return [(each.call.number, each.is_new) for each in (await self.look(number)).told]


async def followed(ctx: Context, wanted: Wanted = ALL) -> Listener:
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id)
    return Listener(ctx, charger.id, wanted)


async def log(listener: Listener, *actions: str) -> list[int]:
    rows = [heard(listener.charger_id, action) for action in actions or ("Heartbeat",)]
    return await listener.ctx.db.work(SYSTEM, calls.log, rows)


async def answer(listener: Listener, number: int, status: CallStatus = CallStatus.DONE) -> None:
    told = AnswerTraced(number, status, "{}", 5.0)
    await listener.ctx.db.work(SYSTEM, calls.trace, Traced(answers=(told,)))


async def test_what_was_there_before_is_not_told_until_its_answer_comes(ctx):
    listener = await followed(ctx)
    (old,) = await log(listener)
    assert await listener.told() == []
    (new,) = await log(listener)
    assert await listener.told() == [(new, True)]
    assert await listener.told() == []
    await answer(listener, new)
    await answer(listener, old)
    assert await listener.told() == [(old, False), (new, False)]
    assert await listener.told() == []


async def test_a_call_is_told_when_it_begins_to_fit_and_told_on_when_it_no_longer_does(ctx):
    pending = await followed(ctx, Wanted(status=CallStatus.PENDING))
    done = Listener(ctx, pending.charger_id, Wanted(status=CallStatus.DONE))
    await pending.look()
    await done.look()
    (number,) = await log(pending)
    assert (await pending.told(), await done.told()) == ([(number, True)], [])
    await answer(pending, number)
    assert (await pending.told(), await done.told()) == ([(number, False)], [(number, False)])


async def test_a_call_without_an_answer_is_told_as_failed_in_the_end(ctx, clock):
    listener = await followed(ctx)
    await listener.look()
    (number,) = await log(listener)
    await listener.look()
    clock.advance(calls.PENDING_MAX.total_seconds() + 1)
    (told,) = (await listener.look()).told
    assert (told.call.number, told.call.status, told.is_new) == (number, CallStatus.FAILED, False)


async def test_one_look_tells_no_more_than_a_page_and_the_next_goes_on(ctx, monkeypatch):
    monkeypatch.setattr(calls_tail, "TOLD_MAX", 3)
    listener = await followed(ctx)
    await listener.look()
    numbers = await log(listener, *["Heartbeat"] * 7)
    found = [await listener.told() for _ in range(4)]
    assert [len(each) for each in found] == [3, 3, 1, 0]
    assert [number for each in found for number, _ in each] == numbers


async def test_what_is_remembered_is_bounded_by_time_and_number(ctx, clock):
    listener = await followed(ctx)
    await listener.look()
    for _ in range(3):
        await log(listener, *["Heartbeat"] * KEPT_MARKS)
        while (await listener.look()).told:
            pass
    assert listener.tail is not None
    assert len(listener.tail.seen) == 3 * KEPT_MARKS, "young ones are kept"
    clock.advance(KEPT_FOR.total_seconds() + 1)
    while (await listener.look()).told:
        pass
    await listener.look()
    assert len(listener.tail.seen) == KEPT_MARKS
    assert listener.tail.floor + KEPT_MARKS == listener.tail.newest
    (number,) = await log(listener)
    assert await listener.told() == [(number, True)]


async def test_a_flood_is_told_as_lost(ctx, monkeypatch):
    monkeypatch.setattr(calls_tail, "MARKS_MAX", 10)
    listener = await followed(ctx)
    await listener.look()
    await log(listener, *["Heartbeat"] * 20)
    assert (await listener.look()).is_lost
    monkeypatch.undo()
    (number,) = await log(listener)
    assert await listener.told() == [(number, True)]


async def test_who_comes_back_is_told_what_is_new_and_what_was_not_whole(ctx, clock):
    listener = await followed(ctx)
    long_ago, unanswered = await log(listener, "BootNotification", "Reset")
    await answer(listener, long_ago)
    clock.advance(60)
    (last,) = await log(listener)
    clock.advance(600)
    missed = await log(listener, "Heartbeat", "StatusNotification")
    await answer(listener, missed[0])
    assert await listener.told(last) == [(last, True), (missed[0], True), (missed[1], True)]
    assert await listener.told() == []
    again = Listener(ctx, listener.charger_id, Wanted(actions=("StatusNotification",)))
    assert await again.told(last) == [(missed[1], True)]
    assert await again.told() == []
    nothing = Listener(ctx, listener.charger_id)
    assert {number for number, _ in await nothing.told(0)} == {long_ago, unanswered, last, *missed}


async def test_who_missed_too_much_reads_the_log_anew(ctx, monkeypatch):
    monkeypatch.setattr(calls_tail, "RESUME_MAX", 5)
    listener = await followed(ctx)
    numbers = await log(listener, *["Heartbeat"] * 9)
    news = await listener.look(numbers[0])
    assert (news.is_lost, news.told) == (True, ())
    assert await listener.told() == []
    other = Listener(ctx, listener.charger_id)
    assert [number for number, _ in await other.told(numbers[5])] == numbers[4:]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_a_call_that_appears_after_one_with_a_higher_number_is_told(ctx, database_url):
    """Two Works count and commit side by side: the one that counted first commits last."""
    listener = await followed(ctx)
    await listener.look()

    def slowly(work: Work) -> int:
        (number,) = calls.log(work, [heard(listener.charger_id, "First")])
        work.row(sa.text("select pg_advisory_xact_lock(4711)"))
        return number

    def waits(work: Work) -> bool:
        return bool(work.value(sa.text("select count(*) from pg_locks where objid = 4711 and not granted")))

    holder = await asyncpg.connect(database_url)
    try:
        assert await holder.fetchval("select pg_try_advisory_lock(4711)")
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
            slow = tasks.create_task(ctx.db.work(SYSTEM, slowly))
            while not await ctx.db.read(SYSTEM, waits):
                pass
            (later,) = await log(listener, "Second")
            assert await listener.told() == [(later, True)]
            # Many more come before the first is committed.
            more = await log(listener, *["Heartbeat"] * 50)
            assert [number for number, _ in await listener.told()] == more
            await holder.fetchval("select pg_advisory_unlock(4711)")
            counted = await slow
    finally:
        await holder.close()
    assert counted < later
    assert await listener.told() == [(counted, True)]
    assert await listener.told() == []

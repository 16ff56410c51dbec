"""Reading the log for all lines together, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.factories import SYSTEM, make_charger, make_location
from tests.unit.gateway.peers import until
from voltyard.chargers import calls
from voltyard.kernel.context import Context
from voltyard.kernel.db import DatabaseUnavailable
from voltyard.lines import feeder
from voltyard.lines.feeder import PAUSE_S, Feeder, Take
from voltyard.operators.serving import Fed, Wish
from voltyard.proxy.sayings import Saying
from voltyard.speech import Beat, Heard

LINK = "link_01JD000000000000000000000"


class CountingDatabase:
    """A database that counts what is read, and fails as often as it is told to."""

    def __init__(self, ctx: Context) -> None:
        self._db = ctx.db
        self.reads: list[dict[str, Any]] = []
        self.wrong: list[Exception] = []

    async def read(self, actor: Any, act: Any, *args: Any, **kwargs: Any) -> Any:
        self.reads.append(dict(args[0]))
        if self.wrong:
            raise self.wrong.pop()
        return await self._db.read(actor, act, *args, **kwargs)


class House:
    """A feeder that runs, and what it gave to whom."""

    def __init__(self, ctx: Context, database: CountingDatabase, reader: Feeder) -> None:
        self.ctx, self.database, self.reader = ctx, database, reader
        self.fed: dict[str, list[Fed]] = {}
        self.sayings: dict[str, Sequence[Saying]] = {}

    async def say(self, charger_id: str, *actions: str) -> list[int]:
        heard = [Heard(charger_id, "soc", "m", action, "{}", Beat()) for action in actions]
        return await self.ctx.db.work(SYSTEM, calls.log, heard)

    def want(self, link_id: str, charger_id: str, after: int = 0) -> None:
        self.fed[link_id] = []
        self.reader.want(link_id, Wish(charger_id, after), self.take(link_id))

    def take(self, link_id: str) -> Take:
        def took(sayings: Sequence[Saying], fed: Fed) -> None:
            self.sayings[link_id] = sayings
            self.fed[link_id].append(fed)

        return took

    def numbers(self, link_id: str) -> list[int]:
        return [said.number for fed in self.fed[link_id] for said in fed.said]


@asynccontextmanager
async def house_of(ctx: Context) -> AsyncIterator[House]:
    database = CountingDatabase(ctx)
    reader = Feeder(replace(ctx, db=database))
    task = asyncio.create_task(reader.run())
    yield House(ctx, database, reader)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def house(ctx: Context) -> AsyncIterator[House]:
    async with house_of(ctx) as found:
        yield found


async def chargers(ctx: Context, count: int) -> list[str]:
    location = await make_location(ctx)
    return [(await make_charger(ctx, location.id)).id for _ in range(count)]


async def test_one_look_serves_all_who_want_something(house: House):
    one, two = await chargers(house.ctx, 2)
    first = await house.say(one, "StatusNotification", "Heartbeat", "MeterValues")
    second = await house.say(two, "StatusNotification")
    house.want("A", one)
    house.want("B", one, first[0])
    house.want("C", two)
    house.want("D", two, second[0])
    await until(lambda: all(house.fed.values()))
    assert house.numbers("A") == [first[0], first[2]], "no line needs heartbeats"
    assert house.numbers("B") == [first[2]]
    assert house.numbers("C") == second
    assert house.numbers("D") == []
    assert all(fed.is_all for one in house.fed.values() for fed in one)
    assert len(house.database.reads) == 1


async def test_a_newer_wish_takes_the_place_of_the_older_and_none_is_left_for_who_is_gone(house: House):
    (one,) = await chargers(house.ctx, 1)
    said = await house.say(one, "StatusNotification", "MeterValues")
    older: list[Fed] = []
    house.reader.want("A", Wish(one, 0), lambda _sayings, fed: older.append(fed))
    house.want("A", one, said[0])
    house.want("GONE", one)
    house.reader.forget("GONE")
    house.reader.forget("NEVER THERE")
    await until(lambda: house.fed["A"])
    assert house.numbers("A") == said[1:]
    assert older == house.fed["GONE"] == []


async def test_whoever_is_in_a_hurry_waits_for_no_others(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feeder, "GATHER_S", 60.0)
    (one,) = await chargers(house.ctx, 1)
    said = await house.say(one, "StatusNotification")
    house.want("A", one)
    house.reader.hurry()
    await until(lambda: house.fed["A"])
    assert house.numbers("A") == said


async def test_those_for_whom_there_was_no_room_come_next(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feeder, "READ_MAX", 3)
    one, two = await chargers(house.ctx, 2)
    first = await house.say(one, *["MeterValues"] * 5)
    second = await house.say(two, "StatusNotification")
    house.want("A", one)
    house.want("B", two)
    await until(lambda: all(house.fed.values()))
    assert house.numbers("A") == first[:3]
    assert house.numbers("B") == second
    assert [sorted(asked) for asked in house.database.reads] == [["A", "B"], ["B"]]
    assert not house.fed["A"][0].is_all


async def test_links_of_a_charger_that_are_equally_far_are_told_the_same(house: House):
    (one,) = await chargers(house.ctx, 1)
    said = await house.say(one, "StatusNotification", "MeterValues")
    for link_id, after in (("A", 0), ("B", 0), ("C", said[0])):
        house.want(link_id, one, after)
    await until(lambda: all(house.fed.values()))
    assert house.sayings["A"] is house.sayings["B"]
    assert [saying.number for saying in house.sayings["A"]] == said
    assert [saying.number for saying in house.sayings["C"]] == said[1:]


@pytest.mark.parametrize("wrong", [DatabaseUnavailable(), RuntimeError()])
async def test_what_could_not_be_read_is_read_a_little_later(sqlite_ctx: Context, clock, wrong):
    async with house_of(sqlite_ctx) as house:
        (one,) = await chargers(house.ctx, 1)
        said = await house.say(one, "StatusNotification", "MeterValues")
        house.database.wrong.append(wrong)
        house.want("A", one)
        house.want("B", one)
        await until(lambda: house.database.reads and clock._sleepers)
        house.want("B", one, said[0])
        clock.advance(PAUSE_S)
        await until(lambda: all(house.fed.values()))
        assert house.numbers("A") == said
        assert house.numbers("B") == said[1:], "what is wanted since is not forgotten"


async def test_one_is_found_at_once_behind_what_others_have_heard_already(ctx: Context, monkeypatch):
    monkeypatch.setattr(feeder, "READ_MAX", 4)
    async with house_of(ctx) as house:
        location = await make_location(ctx)
        slow, quick = [(await make_charger(ctx, location.id)).id for _ in range(2)]
        await house.say(slow, "StatusNotification")
        numbers = await house.say(quick, *["StatusNotification"] * 6)
        house.want(LINK, quick, numbers[-2])
        house.want("other", slow)
        await until(lambda: house.fed[LINK])
        assert house.numbers(LINK) == numbers[-1:]
        assert len(house.database.reads) == 2

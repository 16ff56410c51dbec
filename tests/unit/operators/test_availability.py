"""What an operator that has gone wanted out of use is in use again, unless another one wants it so too."""

from __future__ import annotations

import pytest

from tests.factories import SYSTEM, make_member
from tests.unit.operators.office import make_link, make_linked
from voltyard.chargers import commands
from voltyard.kernel import jobs
from voltyard.kernel.errors import ChargerOffline, TimedOut
from voltyard.kernel.wire import decode
from voltyard.locations.access import Level
from voltyard.operators import availability, service, serving
from voltyard.operators.events import FreeConnectors
from voltyard.speech import Answer, Asked, SetAvailability, Told


async def test_connectors_come_back_when_the_last_one_who_wanted_them_out_of_use_has_gone(ctx):
    charger, first = await make_linked(ctx)
    second = await make_link(ctx, charger)
    for link, connector in ((first, 1), (first, 2), (second, 2)):
        await ctx.db.work(SYSTEM, serving.set_inoperative, link.id, connector, is_operative=False)
    asked: list[Asked] = []

    async def hear(what: Asked) -> Told:
        asked.append(what)
        return Told(Answer(True, "Accepted", "{}"), "ChangeAvailability", "{}")

    served = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, hear)

    async def leave(link) -> list[SetAvailability]:
        asked.clear()
        await ctx.db.work(SYSTEM, service.disconnect, link.id)
        for job in await ctx.db.work(SYSTEM, jobs.claim, "test", only=[FreeConnectors.__name__]):
            await availability.free(ctx, decode(job.body, FreeConnectors))
        return [each.ask for each in asked]

    assert await leave(first) == [SetAvailability(1, is_operative=True)]
    assert await leave(second) == [SetAvailability(2, is_operative=True)]
    await served.stop()


async def test_a_charger_that_another_one_wants_out_of_use_stays_so(ctx):
    charger, first = await make_linked(ctx)
    second = await make_link(ctx, charger)
    await ctx.db.work(SYSTEM, serving.set_inoperative, first.id, 1, is_operative=False)
    await ctx.db.work(SYSTEM, serving.set_inoperative, second.id, 0, is_operative=False)
    await ctx.db.work(SYSTEM, service.disconnect, first.id)
    # Nobody serves the charger: a question would be an error.
    await availability.free(ctx, FreeConnectors(charger.id, (1,)))


@pytest.mark.parametrize("wrong", [ChargerOffline("gone"), TimedOut("no answer")])
async def test_a_charger_that_is_away_or_silent_is_asked_again_in_a_minute(ctx, wrong):
    charger, _ = await make_linked(ctx)
    asked: list[Asked] = []

    async def hear(what: Asked) -> Told:
        asked.append(what)
        if len(asked) == 1:
            raise wrong
        return Told(Answer(True, "Accepted", "{}"), "ChangeAvailability", "{}")

    async def due() -> list[FreeConnectors]:
        found = await ctx.db.work(SYSTEM, jobs.claim, "test", only=[FreeConnectors.__name__])
        return [decode(job.body, FreeConnectors) for job in found]

    served = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, hear)
    duty = FreeConnectors(charger.id, (1, 2))
    await availability.free(ctx, duty)
    assert await due() == []
    ctx.clock.advance(availability.AGAIN_S)
    assert await due() == [duty]
    await availability.free(ctx, duty)
    assert [each.ask.connector for each in asked] == [1, 1, 2]
    ctx.clock.advance(availability.AGAIN_S)
    assert await due() == [], "it is done"
    await served.stop()


async def test_what_people_closed_no_operator_opens_by_leaving(ctx):
    charger, link = await make_linked(ctx)
    heard: list[Asked] = []

    async def hear(what: Asked) -> Told:
        heard.append(what)
        word = '{"connectorId":1,"type":"Inoperative"}'
        return Told(Answer(True, "Accepted", '{"status":"Accepted"}'), "ChangeAvailability", word)

    served = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, hear)
    person = await make_member(ctx, charger.location_id, Level.FULL)
    await commands.ask(ctx, person.actor, charger.id, SetAvailability(1, is_operative=False))
    await ctx.db.work(SYSTEM, serving.set_inoperative, link.id, 1, is_operative=False)
    heard.clear()
    await availability.free(ctx, FreeConnectors(charger.id, (1,)))
    assert heard == []
    await served.stop()

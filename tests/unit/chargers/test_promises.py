from __future__ import annotations

import pytest

from tests.factories import SYSTEM
from tests.unit.chargers.test_commands import charger_with_owner, serve
from voltyard.chargers import commands, effects, findings_report, promises
from voltyard.chargers import service as chargers
from voltyard.chargers.events import MessagePromised
from voltyard.kernel import jobs
from voltyard.kernel.limits import MESSAGE_EFFECT_S
from voltyard.kernel.wire import decode
from voltyard.speech import Answer, Metered, Trigger

ACCEPTED = Answer(True, "Accepted", '{"status":"Accepted"}')


async def due(ctx) -> list[MessagePromised]:
    found = await ctx.db.work(SYSTEM, jobs.claim, "test")
    return [decode(job.body, MessagePromised) for job in found if job.kind == "MessagePromised"]


async def kinds(ctx, charger) -> list[str]:
    return [each.flaw.kind for each in await ctx.db.read(SYSTEM, findings_report.list_findings, charger.id)]


@pytest.mark.parametrize("comes", [True, False])
async def test_a_message_that_was_promised_and_does_not_come_is_a_finding(ctx, comes):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, ACCEPTED)
    await commands.trigger(ctx, owner.actor, charger.id, "MeterValues", 1)
    if comes:
        await ctx.db.work(SYSTEM, effects.note, [(charger.id, Metered(1, None, ()))])
    ctx.clock.advance(MESSAGE_EFFECT_S + 2)
    (promised,) = await due(ctx)
    await promises.look(ctx, promised)
    assert await kinds(ctx, charger) == ([] if comes else ["trigger_without_message"])


async def test_what_cannot_be_recognised_is_not_waited_for(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, ACCEPTED)
    await commands.ask(ctx, owner.actor, charger.id, Trigger("SignedFirmwareStatusNotification"))
    ctx.clock.advance(MESSAGE_EFFECT_S + 2)
    assert await due(ctx) == []


async def test_a_command_of_an_earlier_owner_is_no_finding_of_the_next_one(ctx):
    charger, owner = await charger_with_owner(ctx)
    await serve(ctx, charger.id, ACCEPTED)
    await commands.trigger(ctx, owner.actor, charger.id, "MeterValues", 1)
    ctx.clock.advance(MESSAGE_EFFECT_S + 2)
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    for promised in await due(ctx):
        await promises.look(ctx, promised)
    await promises.look(ctx, MessagePromised("cmd_01JD00000000000000000000AA"))
    assert await kinds(ctx, charger) == []

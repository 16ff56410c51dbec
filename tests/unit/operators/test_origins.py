"""Operators are named where it is told who asked."""

from __future__ import annotations

from tests.factories import SYSTEM
from tests.unit.operators.office import make_linked
from voltyard.chargers import calls
from voltyard.operators import origins, service
from voltyard.speech import CallStatus, CallTraced, Traced


async def test_an_operator_bears_its_name_also_after_it_has_gone(ctx):
    charger, link = await make_linked(ctx)
    traced = CallTraced(
        charger.id, "soc_1", "vy-1", is_outward=True, origin=f"link:{link.id}", command_id="",
        action="Reset", payload="{}", at=ctx.clock.now(), status=CallStatus.PENDING,
    )  # fmt: skip
    await ctx.db.work(SYSTEM, calls.trace, Traced((traced,)))
    await ctx.db.work(SYSTEM, service.disconnect, link.id)
    found = await ctx.db.read(SYSTEM, calls.list_calls, charger.id)
    named = await ctx.db.read(SYSTEM, origins.list_origins, found)
    assert named[f"link:{link.id}"].name == "Office"
    assert await ctx.db.read(SYSTEM, origins.names, []) == {}

"""Links for tests of the operators' room."""

from __future__ import annotations

from typing import Any

from tests.factories import SYSTEM, make_charger, make_location
from voltyard.chargers import calls
from voltyard.chargers.service import Charger
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.operators import service
from voltyard.operators.service import Link, Wanted
from voltyard.speech import ConnectorStatus, Heard, Role, StatusTold

URL = "wss://ocpp.example.com/chargers"


async def make_link(ctx: Context, charger: Charger, role: Role = Role.DATA_CONTROL, **over: Any) -> Link:
    """Connect an operator to a charger."""
    wanted = Wanted(**{"name": "Office", "url": URL, "role": role} | over)
    return await ctx.db.work(SYSTEM, service.connect, charger.id, wanted, ctx.settings)


async def make_linked(ctx: Context, role: Role = Role.DATA_CONTROL, **over: Any) -> tuple[Charger, Link]:
    """Make a charger at a location, and an operator of it."""
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    return charger, await make_link(ctx, charger, role, **over)


def say(work: Work, charger_id: str, action: str, payload: str = "{}", number: int | None = None) -> int:
    """Keep a saying of a charger in the log; return its number there."""
    said = StatusTold(1, ConnectorStatus.AVAILABLE)
    return calls.log(work, [Heard(charger_id, "soc_1", "m1", action, payload, said)], [number])[0]

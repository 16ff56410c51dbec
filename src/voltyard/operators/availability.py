"""Connectors that an operator wanted out of use come back when it has gone."""

from __future__ import annotations

from typing import Final

from voltyard.chargers import commands
from voltyard.chargers.commands import CommandStatus
from voltyard.kernel import jobs
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.operators import store
from voltyard.operators.events import FreeConnectors
from voltyard.operators.words import words
from voltyard.speech import Priority, SetAvailability

ACTOR: Final = system("operators")
AGAIN_S: Final = 60.0


async def free(ctx: Context, message: FreeConnectors) -> None:
    """Bring into use again what only an operator that has gone wanted out of use."""
    for connector in await ctx.db.read(ACTOR, _unwanted, message):
        ask = SetAvailability(connector, is_operative=True)
        done = await commands.ask(ctx, ACTOR, message.charger_id, ask, priority=Priority.BACKGROUND)
        if done.status in {CommandStatus.OFFLINE, CommandStatus.EXPIRED}:
            await ctx.db.work(ACTOR, _again, message)
            return


def _again(work: Work, message: FreeConnectors) -> None:
    # Under a key: else a job that is done twice would become two for good.
    key = f"free:{message.charger_id}:{','.join(map(str, message.connectors))}"[:128]
    jobs.enqueue(work, message, delay_s=AGAIN_S, key=key)


def _unwanted(work: Work, message: FreeConnectors) -> list[int]:
    still = {word for row in store.links_of(work, message.charger_id) for word in words(row.inoperative)}
    still |= {str(connector) for connector in store.owners_out_of_use(work, message.charger_id)}
    if "0" in still:  # somebody else wants the whole charger out of use
        return []
    return [connector for connector in message.connectors if str(connector) not in still]

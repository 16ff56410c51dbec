"""Messages that a charger accepted to send, and whether they came; those that did not are findings (Q48)."""

from __future__ import annotations

from voltyard.chargers import commands, findings
from voltyard.chargers.effects import Effect
from voltyard.chargers.events import MessagePromised
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.speech import FlawTold

ACTOR = system("promises")


async def look(ctx: Context, message: MessagePromised) -> None:
    """See whether a message came in its time."""
    await ctx.db.work(ACTOR, _look, message.command_id)


def _look(work: Work, command_id: str) -> None:
    try:
        command = commands.get(work, command_id)
    except NotFound:  # it was asked at another location, or the charger is gone
        return
    if command.effect is Effect.MISSED:
        odd = FlawTold(command.charger_id, "trigger_without_message", 1, "", command.request)
        findings.told(work, [odd])

"""A charger that answers asks about files, for the tests of transfers and of firmware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.factories import SYSTEM, Person, make_charger, make_location, make_user, place_of
from voltyard.chargers import service as chargers
from voltyard.chargers import transfers
from voltyard.chargers.service import Charger
from voltyard.chargers.transfers import Transfer
from voltyard.kernel.context import Context
from voltyard.speech import Answer, AnswerRefused, Ask, Asked, Booted, FileNamed, Hello, Outcome, Told

YES = Answer(True, "Accepted", '{"status":"Accepted"}')
BARE = Answer(True, "", "{}")
NAMED = Answer(True, "", '{"fileName":"cp.log"}', FileNamed("cp.log"))
UNABLE = AnswerRefused("NotImplemented")


async def answering(ctx: Context, charger_id: str, answer: Callable[[Ask], Outcome] | Outcome) -> list[Any]:
    """Answer what a charger is asked; return the list of asks, which grows."""
    heard: list[Any] = []

    async def serve(asked: Asked) -> Told:
        heard.append(asked.ask)
        outcome = answer(asked.ask) if callable(answer) else answer
        return Told(outcome, type(asked.ask).__name__, "{}")

    await ctx.bus.serve(f"charger.{charger_id}.ask", Asked, serve)
    return heard


async def a_charger(ctx: Context, **over: Any) -> tuple[Charger, Person]:
    """Make a charger that is connected and has told its firmware, and its owner."""
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id, **over)
    hello = Hello(charger.identity, "soc", "gateway", "ocpp1.6", "192.0.2.1")
    key = ctx.settings.secret_key()
    await ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False)
    await boot(ctx, charger, "6.5.0")
    return await ctx.db.read(owner.actor, chargers.get, charger.id), owner


async def boot(ctx: Context, charger: Charger, firmware: str | None) -> None:
    """Have a charger start and tell its firmware."""
    items = [(place_of(charger), Booted("Alfen", "Eve Double", firmware=firmware))]
    await ctx.db.work(SYSTEM, chargers.boot, items)
    await ctx.db.work(SYSTEM, transfers.booted, items)


async def tell(ctx: Context, charger: Charger, *said: Any) -> None:
    """Have a charger say how far it is."""
    for each in said:
        await ctx.db.work(SYSTEM, transfers.told, [(place_of(charger), each)])


async def look(ctx: Context, owner: Person, transfer: Transfer) -> Transfer:
    """Return a transfer as it is now."""
    return await ctx.db.read(owner.actor, transfers.get, transfer.id)


def token_of(url: str) -> str:
    """Return the token in one of our addresses."""
    return url.partition("/files/")[2].split("/")[1]


async def send(ctx: Context, url: str, data: bytes, name: str = "cp.log") -> None:
    """Leave a file at an address of ours, without the door."""
    slot = await ctx.db.work(SYSTEM, transfers.open_upload, token_of(url), name, ctx.settings.secret_key())
    arriving = ctx.files.arriving()
    arriving.write(data)
    try:
        await transfers.keep(ctx, slot, name, arriving)
    finally:
        arriving.drop()

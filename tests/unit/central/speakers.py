"""Chargers that speak to the list functions of central, without a bus between."""

from __future__ import annotations

from typing import Any

from tests.factories import SYSTEM, make_card, make_charger, make_location, place_of
from voltyard.chargers.service import Place
from voltyard.kernel.context import Context


async def make_places(ctx: Context, count: int, *, card: str = "GOOD") -> list[Place]:
    """Make chargers at one location with one card."""
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag=card)
    return [place_of(await make_charger(ctx, location.id)) for _ in range(count)]


async def handle(ctx: Context, function: Any, *items: Any) -> list[Any]:
    """Run a list function in a Work of its own."""
    return await ctx.db.work(SYSTEM, function, items)

"""Cards of a location: add, block, unblock, remove."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from voltyard.cards import service as cards
from voltyard.kernel.errors import Conflict, Invalid
from voltyard.portal.locations import cards_page
from voltyard.portal.shell import Here, refused
from voltyard.portal.words import _
from voltyard.web.doorway import GuardedRoute
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]


@router.post("/locations/{location_id}/cards")
async def add(here: Here, location_id: str, name: Text = "", id_tag: Text = "") -> Response:
    """Add a card to a location."""
    try:
        await here.work(cards.add, location_id, name=name, id_tag=id_tag)
    except (Invalid, Conflict) as wrong:
        form = refused({"name": name, "id_tag": id_tag}, wrong)
        return await cards_page(here, location_id, form, status_of(type(wrong)))
    return here.go(f"/locations/{location_id}/cards", _("The card may charge at this location now."))


@router.post("/cards/{card_id}/block")
async def block(here: Here, card_id: str) -> Response:
    """Block a card."""
    card = await here.work(cards.change, card_id, is_blocked=True)
    return here.go(f"/locations/{card.location_id}/cards", _("The card is blocked."))


@router.post("/cards/{card_id}/unblock")
async def unblock(here: Here, card_id: str) -> Response:
    """Let a blocked card charge again."""
    card = await here.work(cards.change, card_id, is_blocked=False)
    return here.go(f"/locations/{card.location_id}/cards", _("The card may charge again."))


@router.post("/cards/{card_id}/remove")
async def remove(here: Here, card_id: str) -> Response:
    """Remove a card."""
    card = await here.read(cards.get, card_id)
    await here.work(cards.remove, card_id)
    return here.go(f"/locations/{card.location_id}/cards", _("The card is removed."))

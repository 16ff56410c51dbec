"""Cards of a location: list, add, change, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field

from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.cards import service as cards
from voltyard.kernel.limits import TAG_LENGTH_MAX
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["cards"])

Name = Annotated[str, Field(min_length=1, max_length=255)]
IdToken = Annotated[
    str,
    Field(
        min_length=1,
        max_length=TAG_LENGTH_MAX,
        pattern=r"[^\s:\-]",
        description="What the reader reads from the card.",
    ),
]


class Card(Outward):
    """A card; it is valid on all chargers of its location."""

    id: str
    location_id: str
    name: str
    id_token: str
    is_blocked: bool
    expires_at: datetime | None
    created_at: datetime
    used_at: datetime | None

    @classmethod
    def of(cls, card: cards.Card) -> Card:
        """Return a card in its shape."""
        return cls(
            id=card.id,
            location_id=card.location_id,
            name=card.name,
            id_token=card.id_tag,
            is_blocked=card.is_blocked,
            expires_at=card.expires_at,
            created_at=card.created_at,
            used_at=card.used_at,
        )


class NewCard(Inward):
    """A card to be added."""

    name: Name
    id_token: IdToken
    expires_at: AwareDatetime | None = None


class CardChange(Inward):
    """What to change of a card; what is left out stays."""

    name: Name | None = None
    is_blocked: bool | None = None


@router.get("/locations/{location_id}/cards", responses=refusals(404))
async def list_cards(
    ctx: Ctx,
    caller: SignedIn,
    location_id: str,
    asked: AskedPage,
    q: Annotated[
        str, Query(max_length=120, description="Part of the name or of what the reader reads.")
    ] = "",
) -> Page[Card]:
    """List the cards of a location, newest first."""
    found = await ctx.db.read(
        caller.actor,
        cards.list_cards,
        location_id=location_id,
        q=q,
        after=asked.after_id("card"),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda card: card.id), Card.of)


@router.post("/locations/{location_id}/cards", status_code=201, responses=refusals(403, 404, 409))
async def add_card(ctx: Ctx, caller: SignedIn, location_id: str, new: NewCard) -> Card:
    """Add a card to a location."""
    card = await ctx.db.work(
        caller.actor,
        cards.add,
        location_id,
        name=new.name,
        id_tag=new.id_token,
        expires_at=new.expires_at,
    )
    return Card.of(card)


@router.get("/cards/{card_id}", responses=refusals(404))
async def read_card(ctx: Ctx, caller: SignedIn, card_id: str) -> Card:
    """Return a card."""
    return Card.of(await ctx.db.read(caller.actor, cards.get, card_id))


@router.patch("/cards/{card_id}", responses=refusals(403, 404))
async def change_card(ctx: Ctx, caller: SignedIn, card_id: str, change: CardChange) -> Card:
    """Rename, block or unblock a card."""
    card = await ctx.db.work(
        caller.actor, cards.change, card_id, name=change.name, is_blocked=change.is_blocked
    )
    return Card.of(card)


@router.delete("/cards/{card_id}", status_code=204, responses=refusals(403, 404))
async def remove_card(ctx: Ctx, caller: SignedIn, card_id: str) -> None:
    """Remove a card; its transactions stay."""
    await ctx.db.work(caller.actor, cards.remove, card_id)

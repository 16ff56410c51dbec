"""Reservations: connectors kept for a card until a time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field, model_validator

from voltyard.api.cards import IdToken
from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.reservations import service as reservations
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["reservations"])


class Reservation(Outward):
    """A reservation; `connector_id` 0 stands for any connector of the charger."""

    id: str
    number: Annotated[int, Field(description="By this number the charger knows it.")]
    charger_id: str
    location_id: str
    connector_id: int
    card_id: str | None
    id_token: str
    state: reservations.ReservationState
    word: Annotated[str, Field(description="The charger's own status word, or our reason.")]
    is_kept_by_charger: Annotated[
        bool, Field(description="False: the charger cannot; others are stopped once they have started.")
    ]
    made_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    transaction_number: int | None

    @classmethod
    def of(cls, found: reservations.Reservation) -> Reservation:
        """Return a reservation in its shape."""
        return cls(
            id=found.id,
            number=found.number,
            charger_id=found.charger_id,
            location_id=found.location_id,
            connector_id=found.connector,
            card_id=found.card_id,
            id_token=found.id_tag,
            state=found.state,
            word=found.word,
            is_kept_by_charger=found.is_kept_by_charger,
            made_at=found.made_at,
            expires_at=found.expires_at,
            ended_at=found.ended_at,
            transaction_number=found.transaction_number,
        )


class NewReservation(Inward):
    """A connector to be kept for a card: name what its reader reads, or the card."""

    connector_id: Annotated[int, Field(ge=0, le=1_000, description="0: any connector.")] = 0
    id_token: IdToken | None = None
    card_id: str | None = None
    expires_at: AwareDatetime
    even_unsupported: Annotated[
        bool,
        Field(description="Reserve also where the charger cannot keep others off, and only Voltyard can."),
    ] = False

    @model_validator(mode="after")
    def _one_card(self) -> NewReservation:
        if (self.id_token is None) == (self.card_id is None):
            raise ValueError("name either id_token or card_id")
        return self


@router.get("/chargers/{charger_id}/reservations", responses=refusals(404))
async def list_reservations(
    ctx: Ctx,
    caller: SignedIn,
    charger_id: str,
    asked: AskedPage,
    active: Annotated[
        bool | None, Query(description="Only those that hold, or only those that are over.")
    ] = None,
) -> Page[Reservation]:
    """List the reservations of a charger, newest first."""
    found = await ctx.db.read(
        caller.actor,
        reservations.list_reservations,
        charger_id,
        is_active=active,
        after=asked.after_id("res"),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda each: each.id), Reservation.of)


@router.post("/chargers/{charger_id}/reservations", status_code=201, responses=refusals(403, 404, 409, 504))
async def make_reservation(ctx: Ctx, caller: SignedIn, charger_id: str, new: NewReservation) -> Reservation:
    """Keep a connector for a card, and have the charger do so too."""
    made = await reservations.create(
        ctx,
        caller.actor,
        charger_id,
        connector=new.connector_id,
        expires_at=new.expires_at,
        id_tag=new.id_token or "",
        card_id=new.card_id,
        is_insisting=new.even_unsupported,
    )
    return Reservation.of(made)


@router.get("/reservations/{reservation_id}", responses=refusals(404))
async def read_reservation(ctx: Ctx, caller: SignedIn, reservation_id: str) -> Reservation:
    """Return a reservation."""
    return Reservation.of(await ctx.db.read(caller.actor, reservations.get, reservation_id))


@router.delete("/reservations/{reservation_id}", responses=refusals(403, 404, 409))
async def cancel_reservation(ctx: Ctx, caller: SignedIn, reservation_id: str) -> Reservation:
    """Cancel a reservation; the connector is free at once."""
    return Reservation.of(await reservations.cancel(ctx, caller.actor, reservation_id))

"""Local lists: which cards a charger knows when it is offline."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from voltyard.api.shapes import Outward, refusals
from voltyard.local_lists import service as local_lists
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute

router = APIRouter(route_class=OnceRoute, tags=["cards"])


class LocalList(Outward):
    """How the list of cards in a charger stands; it follows the cards of its location by itself."""

    charger_id: str
    state: local_lists.ListState
    version: int | None
    card_count: Annotated[int, Field(description="Cards that the charger holds.")]
    left_out_count: Annotated[
        int, Field(description="Cards that do not fit; those not used for longest are left out.")
    ]
    cards_max: Annotated[int | None, Field(description="How many cards the charger keeps, if it tells.")]
    in_step_at: Annotated[datetime | None, Field(description="Since when it holds what it should.")]
    checked_at: datetime | None
    word: Annotated[str, Field(description="The charger's last word about its list, or our reason.")]


@router.get("/chargers/{charger_id}/local-list", responses=refusals(404))
async def read_local_list(ctx: Ctx, caller: SignedIn, charger_id: str) -> LocalList:
    """Return how the list of cards in a charger stands."""
    return LocalList.model_validate(await ctx.db.read(caller.actor, local_lists.get, charger_id))


@router.post("/chargers/{charger_id}/local-list/sync", status_code=202, responses=refusals(403, 404))
async def sync_local_list(ctx: Ctx, caller: SignedIn, charger_id: str) -> LocalList:
    """Have the list brought in step now, whatever was believed of it; look at it again to see the outcome."""
    return LocalList.model_validate(await ctx.db.work(caller.actor, local_lists.request_sync, charger_id))

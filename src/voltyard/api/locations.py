"""Locations: create, list, look at, change, archive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.kernel.db import Work
from voltyard.locations import service as locations
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["locations"])

Name = Annotated[str, Field(min_length=1, max_length=120)]
Street = Annotated[str, Field(max_length=200)]
Postcode = Annotated[str, Field(max_length=20)]
City = Annotated[str, Field(max_length=120)]
Country = Annotated[str, Field(max_length=2, description="Two letters, such as NL.")]
Timezone = Annotated[str, Field(description="A name such as Europe/Amsterdam.")]


class Location(Outward):
    """A location; `permissions` says what the caller may do there."""

    id: str
    name: str
    street: str
    postcode: str
    city: str
    country: str
    timezone: str
    created_at: datetime
    archived_at: datetime | None
    permissions: list[str]


class NewLocation(Inward):
    """A location to be created; it belongs to the caller's personal team unless another is named."""

    name: Name
    street: Street = ""
    postcode: Postcode = ""
    city: City = ""
    country: Country = ""
    timezone: Timezone = "Europe/Amsterdam"
    team_id: str | None = None


class LocationChange(Inward):
    """What to change of a location; what is left out stays."""

    name: Name | None = None
    street: Street | None = None
    postcode: Postcode | None = None
    city: City | None = None
    country: Country | None = None
    timezone: Timezone | None = None


def _shown(work: Work, found: locations.Location) -> Location:
    return Location(
        id=found.id,
        name=found.name,
        street=found.street,
        postcode=found.postcode,
        city=found.city,
        country=found.country,
        timezone=found.timezone,
        created_at=found.created_at,
        archived_at=found.archived_at,
        permissions=sorted(permission.value for permission in locations.permissions(work, found.id)),
    )


def _one(work: Work, act: Callable[..., locations.Location], *args: Any, **named: Any) -> Location:
    """Do something with a location and show it as it is then."""
    return _shown(work, act(work, *args, **named))


def _many(work: Work, /, **filters: Any) -> list[Location]:
    return [_shown(work, found) for found in locations.list_locations(work, **filters)]


@router.get("/locations", responses=refusals())
async def list_locations(
    ctx: Ctx,
    caller: SignedIn,
    asked: AskedPage,
    q: Annotated[str, Query(max_length=120, description="Part of the name, city or street.")] = "",
    team: Annotated[str | None, Query(description="Only locations of this team.")] = None,
) -> Page[Location]:
    """List the locations that one may see, newest first."""
    found = await ctx.db.read(
        caller.actor, _many, q=q, team_id=team, after=asked.after_id("loc"), limit=asked.most
    )
    return page(asked.slice(found, lambda each: each.id), lambda each: each)


@router.post("/locations", status_code=201, responses=refusals(403))
async def create_location(ctx: Ctx, caller: SignedIn, new: NewLocation) -> Location:
    """Create a location."""
    return await ctx.db.work(caller.actor, _one, locations.create, **new.model_dump())


@router.get("/locations/{location_id}", responses=refusals(404))
async def read_location(ctx: Ctx, caller: SignedIn, location_id: str) -> Location:
    """Return a location."""
    return await ctx.db.read(caller.actor, _one, locations.get, location_id)


@router.patch("/locations/{location_id}", responses=refusals(403, 404))
async def change_location(ctx: Ctx, caller: SignedIn, location_id: str, change: LocationChange) -> Location:
    """Change what is named of a location."""
    return await ctx.db.work(caller.actor, _one, locations.change, location_id, **change.model_dump())


@router.delete("/locations/{location_id}", status_code=204, responses=refusals(403, 404))
async def archive_location(ctx: Ctx, caller: SignedIn, location_id: str) -> None:
    """Take a location out of all lists; its history stays."""
    await ctx.db.work(caller.actor, locations.archive, location_id)

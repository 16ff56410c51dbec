"""Locations: the list, a new one, and the tabs of each."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.background import BackgroundTask
from starlette.responses import Response

from voltyard.cards import service as cards
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, NotFound, Refused
from voltyard.kernel.limits import PAGE_DEFAULT
from voltyard.locations import service as locations
from voltyard.portal import shell as shells
from voltyard.portal.figures import all_chargers, card_names, figures
from voltyard.portal.shell import BLANK, Here, Visit, refused
from voltyard.portal.words import _
from voltyard.transactions import service as transactions
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
CARDS_MAX = 500


def zones() -> list[str]:
    """Return the time zones that one can choose, the usual spelling only."""
    return sorted(
        name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/")
    )


def list_view(work: Work, q: str, after: str | None) -> dict[str, Any]:
    """Return a page of locations with the number of their chargers."""
    rows = locations.list_locations(work, q=q, after=after, limit=PAGE_DEFAULT + 1)
    devices = all_chargers(work)
    return {
        "rows": rows[:PAGE_DEFAULT],
        "more": rows[PAGE_DEFAULT - 1].id if len(rows) > PAGE_DEFAULT else "",
        "totals": Counter(charger.location_id for charger in devices),
        "online": Counter(charger.location_id for charger in devices if charger.is_online),
    }


@router.get("/locations")
async def show_all(here: Here, q: str = "", after: str = "") -> Response:
    """Show the locations."""
    return here.page("locations.html", q=q, after=after, **await here.read(list_view, q, after or None))


def typed_location(
    name: Text = "",
    street: Text = "",
    postcode: Text = "",
    city: Text = "",
    country: Text = "",
    timezone: Text = "",
) -> dict[str, str]:
    """Return what was typed into the form of a location."""
    return {
        "name": name,
        "street": street,
        "postcode": postcode,
        "city": city,
        "country": country,
        "timezone": timezone,
    }


Typed = Annotated[dict[str, str], Depends(typed_location)]


@router.get("/locations/new")
async def show_new(here: Here) -> Response:
    """Show the form for a new location."""
    zone = str(here.zone)
    form = shells.Form({"country": "NL", "timezone": zone if zone != "UTC" else "Europe/Amsterdam"}, {})
    return here.page("location_new.html", form=form, zones=zones())


@router.post("/locations/new")
async def create(here: Here, typed: Typed) -> Response:
    """Create a location."""
    try:
        made = await here.work(locations.create, **typed)
    except Invalid as wrong:
        form = refused(typed, wrong)
        return here.page("location_new.html", status=status_of(type(wrong)), form=form, zones=zones())
    return here.go(f"/locations/{made.id}", _("The location is there. Now add its chargers."))


def frame(work: Work, location_id: str) -> dict[str, Any]:
    """Return what every tab of a location needs."""
    location = locations.get(work, location_id)
    return {
        "location": location,
        "zone": zoneinfo.ZoneInfo(location.timezone),
        "may": locations.permissions(work, location_id),
    }


def overview_view(work: Work, location_id: str) -> dict[str, Any]:
    """Return the overview of a location."""
    values = frame(work, location_id)
    now = figures(work, values["zone"], location_id)
    return values | {
        "figures": now,
        "cards": card_names(work, now.running),
        "chargers": all_chargers(work, location_id),
    }


@router.get("/locations/{location_id}")
async def show(here: Here, location_id: str) -> Response:
    """Show a location at a glance."""
    return here.page("location.html", tab="overview", **await here.read(overview_view, location_id))


@router.get("/locations/{location_id}/live")
async def live(here: Here, location_id: str) -> Response:
    """Show the part of the overview that changes while one looks."""
    return here.page("_location_live.html", **await here.read(overview_view, location_id))


def chargers_view(work: Work, location_id: str) -> dict[str, Any]:
    """Return the chargers of a location, and those that wait to be claimed."""
    return frame(work, location_id) | {
        "chargers": all_chargers(work, location_id),
        "waiting": chargers.list_waiting(work),
    }


@router.get("/locations/{location_id}/chargers")
async def show_chargers(here: Here, location_id: str, identity: str = "") -> Response:
    """Show the chargers of a location and the form that adds one."""
    form = shells.Form({"identity": identity}, {})
    values = await here.read(chargers_view, location_id)
    return here.page("location.html", tab="chargers", form=form, **values)


@router.post("/locations/{location_id}/chargers")
async def add_charger(here: Here, location_id: str, identity: Text = "", pin: Text = "") -> Response:
    """Claim a charger for a location."""
    try:
        added = await chargers.claim(here.ctx, here.actor, location_id, identity=identity, pin=pin)
    except Refused as wrong:
        if isinstance(wrong, NotFound) and not isinstance(wrong, chargers.WrongPin):
            raise
        form = refused({"identity": identity}, wrong)
        values = await here.read(chargers_view, location_id)
        return here.page("location.html", status=status_of(type(wrong)), tab="chargers", form=form, **values)
    response = here.go(f"/chargers/{added.id}", _("The charger belongs to this location now."))
    response.background = BackgroundTask(commands.greet, here.ctx, here.actor, added)
    return response


def transactions_view(work: Work, location_id: str, after: int | None) -> dict[str, Any]:
    """Return a page of the transactions of a location."""
    rows = transactions.list_transactions(work, location_id=location_id, after=after, limit=PAGE_DEFAULT + 1)
    return frame(work, location_id) | {
        "rows": rows[:PAGE_DEFAULT],
        "more": rows[PAGE_DEFAULT - 1].number if len(rows) > PAGE_DEFAULT else "",
        "cards": card_names(work, rows),
    }


@router.get("/locations/{location_id}/transactions")
async def show_transactions(here: Here, location_id: str, after: str = "") -> Response:
    """Show the transactions of a location."""
    values = await here.read(transactions_view, location_id, to_number(after))
    return here.page("location.html", tab="transactions", after=after, **values)


def cards_view(work: Work, location_id: str) -> dict[str, Any]:
    """Return the cards of a location."""
    return frame(work, location_id) | {
        "rows": cards.list_cards(work, location_id=location_id, limit=CARDS_MAX)
    }


async def cards_page(here: Visit, location_id: str, form: shells.Form, status: int = 200) -> Response:
    """Show the cards of a location with the form that adds one."""
    values = await here.read(cards_view, location_id)
    return here.page("location.html", status=status, tab="cards", form=form, **values)


@router.get("/locations/{location_id}/cards")
async def show_cards(here: Here, location_id: str) -> Response:
    """Show the cards of a location."""
    return await cards_page(here, location_id, BLANK)


def _fields(location: locations.Location) -> dict[str, str]:
    return {
        "name": location.name,
        "street": location.street,
        "postcode": location.postcode,
        "city": location.city,
        "country": location.country,
        "timezone": location.timezone,
    }


@router.get("/locations/{location_id}/settings")
async def show_settings(here: Here, location_id: str) -> Response:
    """Show what can be changed of a location."""
    values = await here.read(frame, location_id)
    form = shells.Form(_fields(values["location"]), {})
    return here.page("location.html", tab="settings", form=form, zones=zones(), **values)


@router.post("/locations/{location_id}/settings")
async def change(here: Here, location_id: str, typed: Typed) -> Response:
    """Change a location."""
    try:
        await here.work(locations.change, location_id, **typed)
    except Invalid as wrong:
        values = await here.read(frame, location_id)
        return here.page(
            "location.html",
            status=status_of(type(wrong)),
            tab="settings",
            form=refused(typed, wrong),
            zones=zones(),
            **values,
        )
    return here.go(f"/locations/{location_id}/settings", _("Saved."))


@router.post("/locations/{location_id}/archive")
async def archive(here: Here, location_id: str) -> Response:
    """Take a location out of all lists."""
    await here.work(locations.archive, location_id)
    return here.go("/locations", _("The location is archived. Its transactions stay."))

"""Transactions: the list, and each one with its graph."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from voltyard.chargers.outcomes import explain
from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.kernel.limits import PAGE_DEFAULT, SAMPLES_PAGE_MAX
from voltyard.locations import service as locations
from voltyard.locations.access import Permission
from voltyard.portal.figures import all_chargers, all_locations, card_names, zones_of
from voltyard.portal.formats import average_w
from voltyard.portal.outcomes import say
from voltyard.portal.shell import Here, toast
from voltyard.transactions import service as transactions
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number

router = APIRouter(route_class=GuardedRoute)
STATUSES: Mapping[str, bool] = {"running": True, "ended": False}
FIELDS = ("status", "location", "charger", "from", "to", "after")


def read_day(text: str, zone: tzinfo, *, days: int = 0) -> datetime | None:
    """Read a date field as the instant at which that local day begins, or a later one; None if it is none."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - the zone is put in below
        return (day + timedelta(days=days)).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def list_view(work: Work, chosen: Mapping[str, str], zone: tzinfo) -> dict[str, Any]:
    """Return a page of transactions as it was asked for."""
    rows = transactions.list_transactions(
        work,
        location_id=chosen["location"] or None,
        charger_id=chosen["charger"] or None,
        is_active=STATUSES.get(chosen["status"]),
        started_from=read_day(chosen["from"], zone),
        started_to=read_day(chosen["to"], zone, days=1),
        after=to_number(chosen["after"]),
        limit=PAGE_DEFAULT + 1,
    )
    places = all_locations(work)
    return {
        "rows": rows[:PAGE_DEFAULT],
        "more": rows[PAGE_DEFAULT - 1].number if len(rows) > PAGE_DEFAULT else "",
        "cards": card_names(work, rows),
        "locations": places,
        "zones": zones_of(places),
        "chargers": sorted(all_chargers(work), key=lambda charger: charger.label.casefold()),
    }


@router.get("/transactions")
async def show_all(here: Here) -> Response:
    """Show the transactions."""
    chosen = {name: here.request.query_params.get(name, "") for name in FIELDS}
    values = await here.read(list_view, chosen, here.zone)
    is_filtered = any(chosen[name] for name in FIELDS[:-1])
    return here.page("transactions.html", chosen=chosen, is_filtered=is_filtered, **values)


def view(work: Work, transaction_id: str) -> dict[str, Any]:
    """Return a transaction with what its page needs."""
    found = transactions.get(work, transaction_id)
    assert found.location_id is not None, "a transaction without a location is seen by nobody"
    try:
        zone: tzinfo | None = ZoneInfo(locations.get(work, found.location_id).timezone)
    except NotFound:
        zone = None
    lasting = (found.ended_at or work.now) - found.started_at
    return {
        "transaction": found,
        "lasting": lasting,
        "average_w": average_w(found.energy_wh, lasting),
        "card_name": card_names(work, [found]).get(found.card_id or "", ""),
        "may_control": Permission.CONTROL in locations.permissions(work, found.location_id),
    } | ({"zone": zone} if zone is not None else {})


@router.get("/transactions/{transaction_id}")
async def show(here: Here, transaction_id: str) -> Response:
    """Show a transaction."""
    return here.page("transaction.html", **await here.read(view, transaction_id))


@router.get("/transactions/{transaction_id}/live")
async def live(here: Here, transaction_id: str) -> Response:
    """Show the figures anew."""
    return here.page("_transaction_live.html", **await here.read(view, transaction_id))


@router.post("/transactions/{transaction_id}/stop")
async def stop(here: Here, transaction_id: str) -> Response:
    """Ask the charger to end this transaction."""
    found = await here.read(transactions.get, transaction_id)
    done = await transactions.request_stop(
        here.ctx, here.actor, found.charger_id, transaction_id=transaction_id
    )
    said = say(here, explain(done))
    if not here.request.headers.get("hx-request"):
        return here.go(f"/transactions/{transaction_id}", said.text)
    response = await live(here, transaction_id)
    response.headers["HX-Trigger"] = toast(said.tone, said.text)
    return response


def columns(work: Work, transaction_id: str, after: datetime | None) -> dict[str, Any]:
    """Return the samples of a transaction as columns, in the order of time."""
    found = transactions.get(work, transaction_id)
    rows = []
    while True:
        page = transactions.samples(work, transaction_id, after=after, limit=SAMPLES_PAGE_MAX)
        rows += page
        if len(page) < SAMPLES_PAGE_MAX:
            break
        after = page[-1].at
    return {
        "at": [each.at.timestamp() for each in rows],
        "l1": [each.current_l1_a for each in rows],
        "l2": [each.current_l2_a for each in rows],
        "l3": [each.current_l3_a for each in rows],
        "offered": [each.offered_a for each in rows],
        "is_active": found.is_active,
    }


@router.get("/transactions/{transaction_id}/samples.json")
async def samples(here: Here, transaction_id: str, after: float = 0.0) -> Response:
    """Return the samples behind an instant, for the graph."""
    since = datetime.fromtimestamp(after, UTC) if 0 < after < 4e9 else None
    content = await here.read(columns, transaction_id, since)
    return JSONResponse(content, headers={"Cache-Control": "no-store"})

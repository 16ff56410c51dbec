"""Chargers: the table, each charger's page with its tabs, and what one can ask of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form
from starlette.background import BackgroundTask
from starlette.responses import Response

from voltyard.cards import service as cards
from voltyard.chargers import commands, outcomes
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import Command
from voltyard.chargers.outcomes import Told
from voltyard.chargers.service import Charger, Connector
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Invalid, NotFound, Refused
from voltyard.kernel.limits import PAGE_DEFAULT
from voltyard.locations import service as locations
from voltyard.portal import shell as shells
from voltyard.portal.figures import all_locations, card_names
from voltyard.portal.outcomes import explain, say
from voltyard.portal.shell import Here, Visit, refused
from voltyard.portal.words import _
from voltyard.speech import ConnectorStatus
from voltyard.transactions import service as transactions
from voltyard.transactions.service import Sample, Transaction
from voltyard.web.doorway import GuardedRoute
from voltyard.web.paging import to_number
from voltyard.web.problems import status_of

router = APIRouter(route_class=GuardedRoute)
Text = Annotated[str, Form()]
CARDS_MAX = 200
RECENT = 10
ASKED = 50
"""After a boot Voltyard asks a good deal by itself, which must not hide what somebody has just asked."""
OUTCOME_SHOWN = timedelta(minutes=2)
CHARGES = frozenset((outcomes.START, outcomes.STOP))
CONNECTIONS: Mapping[str, bool | None] = {"online": True, "offline": False}


# --- the table ------------------------------------------------------------------------------------


def list_view(
    work: Work, q: str, location_id: str, connection: str, status: str, after: str
) -> dict[str, Any]:
    """Return a page of chargers with the names of their locations."""
    rows = chargers.list_chargers(
        work,
        q=q,
        location_id=location_id or None,
        is_online=CONNECTIONS.get(connection),
        status=status or None,
        after=after or None,
        limit=PAGE_DEFAULT + 1,
    )
    places = all_locations(work)
    return {
        "rows": rows[:PAGE_DEFAULT],
        "more": rows[PAGE_DEFAULT - 1].id if len(rows) > PAGE_DEFAULT else "",
        "locations": places,
        "names": {location.id: location.name for location in places},
        "waiting": chargers.list_waiting(work),
    }


async def list_page(
    here: Visit,
    asked: Mapping[str, str],
    *,
    status: int = 200,
    refusals: Mapping[str, shells.Form] | None = None,
) -> Response:
    """Show the table of chargers as it was asked for."""
    names = ("q", "location", "connection", "status", "after")
    q, location_id, connection, state, after = (asked.get(name, "") for name in names)
    values = await here.read(list_view, q, location_id, connection, state, after)
    chosen = {name: asked.get(name, "") for name in names}
    return here.page(
        "chargers.html",
        status=status,
        chosen=chosen,
        is_filtered=any((q, location_id, connection, state)),
        statuses=list(ConnectorStatus),
        refusals=refusals or {},
        **values,
    )


@router.get("/chargers")
async def show_all(here: Here) -> Response:
    """Show the chargers."""
    return await list_page(here, here.request.query_params)


@router.post("/chargers/waiting")
async def claim_waiting(here: Here, identity: Text = "", location_id: Text = "") -> Response:
    """Bring a waiting charger to a location; only for administrators, who need no PIN."""
    try:
        if not location_id:
            raise Invalid("choose a location", (("/location_id", "choose a location"),))
        added = await chargers.claim(here.ctx, here.actor, location_id, identity=identity)
    except Refused as wrong:
        if isinstance(wrong, NotFound) and not isinstance(wrong, chargers.WrongPin):
            raise
        form = refused({"location_id": location_id}, wrong)
        return await list_page(here, {}, status=status_of(type(wrong)), refusals={identity: form})
    response = here.go(f"/chargers/{added.id}", _("The charger belongs to this location now."))
    response.background = BackgroundTask(commands.greet, here.ctx, here.actor, added)
    return response


# --- one charger ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outlet:
    """A connector as its card shows it."""

    connector: Connector
    running: Transaction | None
    sample: Sample | None
    said: Told | None


def frame(work: Work, charger_id: str) -> dict[str, Any]:
    """Return what every tab of a charger needs."""
    charger = chargers.get(work, charger_id)
    assert charger.location_id is not None, "an unclaimed charger is seen by nobody"
    location = locations.get(work, charger.location_id)
    return {
        "charger": charger,
        "location": location,
        "zone": ZoneInfo(location.timezone),
        # The head says whose clocks are meant, so that no row has to.
        "is_zone_told": True,
        "may": locations.permissions(work, charger.location_id),
    }


def _latest(recent: Sequence[Command], purposes: frozenset[str], connector: Connector) -> Command | None:
    for each in recent:
        # One that names no connector, or the whole charger, is about each of them.
        if outcomes.purpose(each.kind) in purposes and each.connector in {None, 0, connector.number}:
            return each
    return None


def _has_moved_on(connector: Connector, start: Command) -> bool:
    """Say whether the connector's own word is newer than what was said of a start, and means more."""
    return connector.status_at > start.created_at and connector.status not in {
        ConnectorStatus.AVAILABLE,
        ConnectorStatus.PREPARING,
    }


def _said(
    work: Work,
    connector: Connector,
    running: Transaction | None,
    recent: Sequence[Command],
    began_at: datetime,
) -> Told | None:
    """Return what the last request came to, as long as nothing newer has happened.

    ``began_at`` is when the connector's newest transaction started.
    """
    either = outcomes.STOP if running is not None else outcomes.START
    last = _latest(recent, frozenset((either, outcomes.UNLOCK, outcomes.RESTART)), connector)
    if last is None or work.now - last.created_at > OUTCOME_SHOWN:
        return None
    what = outcomes.purpose(last.kind)
    if what == outcomes.START and _has_moved_on(connector, last):
        return None
    if what in CHARGES and began_at > last.created_at:
        return None
    return explain(last, [connector])


def live_view(work: Work, charger_id: str) -> dict[str, Any]:
    """Return the connectors of a charger with what happens at them."""
    values = frame(work, charger_id)
    charger: Charger = values["charger"]
    running = {
        each.connector: each
        for each in transactions.list_transactions(work, charger_id=charger_id, is_active=True, limit=100)
    }
    newest = transactions.list_transactions(work, charger_id=charger_id, limit=RECENT)
    began = {each.connector: each.started_at for each in reversed(newest)}
    recent = [
        each
        for each in commands.list_commands(work, charger_id, limit=ASKED)
        if work.now - each.created_at <= OUTCOME_SHOWN
    ]
    outlets = [
        Outlet(
            connector,
            running.get(connector.number),
            transactions.latest_sample(
                work, charger_id, connector.number, number=running[connector.number].number
            )
            if connector.number in running
            else None,
            _said(
                work,
                connector,
                running.get(connector.number),
                recent,
                began.get(connector.number, charger.created_at),
            ),
        )
        for connector in charger.connectors
    ]
    return values | {"outlets": outlets, "cards": card_names(work, list(running.values()))}


def overview_view(work: Work, charger_id: str) -> dict[str, Any]:
    """Return the overview of a charger, with the cards that may start it."""
    values = live_view(work, charger_id)
    rows = cards.list_cards(work, location_id=values["location"].id, limit=CARDS_MAX)
    return values | {"start_cards": [card for card in rows if not card.is_blocked]}


@router.get("/chargers/{charger_id}")
async def show(here: Here, charger_id: str) -> Response:
    """Show a charger and what happens at its connectors."""
    return here.page("charger_overview.html", tab="overview", **await here.read(overview_view, charger_id))


@router.get("/chargers/{charger_id}/live")
async def live(here: Here, charger_id: str) -> Response:
    """Show the connectors anew."""
    return here.page("_charger_live.html", **await here.read(live_view, charger_id))


@router.get("/chargers/{charger_id}/head")
async def head(here: Here, charger_id: str) -> Response:
    """Show the connection anew."""
    return here.page("_charger_head.html", **await here.read(frame, charger_id))


def transactions_view(work: Work, charger_id: str, after: int | None) -> dict[str, Any]:
    """Return a page of the transactions of a charger."""
    rows = transactions.list_transactions(work, charger_id=charger_id, after=after, limit=PAGE_DEFAULT + 1)
    return frame(work, charger_id) | {
        "rows": rows[:PAGE_DEFAULT],
        "more": rows[PAGE_DEFAULT - 1].number if len(rows) > PAGE_DEFAULT else "",
        "cards": card_names(work, rows),
    }


@router.get("/chargers/{charger_id}/transactions")
async def show_transactions(here: Here, charger_id: str, after: str = "") -> Response:
    """Show the transactions of a charger."""
    values = await here.read(transactions_view, charger_id, to_number(after))
    return here.page("charger_transactions.html", tab="transactions", after=after, **values)


# --- asking ---------------------------------------------------------------------------------------


async def _outcome(here: Visit, charger_id: str, done: Command) -> Response:
    """Answer a button: the connectors redrawn for htmx, else the page to go back to."""
    if not here.request.headers.get("hx-request"):
        return here.go(f"/chargers/{charger_id}")
    response = await live(here, charger_id)
    if outcomes.purpose(done.kind) not in CHARGES:
        said = say(here, outcomes.explain(done))
        response.headers["HX-Trigger"] = shells.toast(said.tone, said.text)
    return response


@router.post("/chargers/{charger_id}/start")
async def start(
    here: Here, charger_id: str, connector: Text = "", card: Text = "", id_tag: Text = ""
) -> Response:
    """Ask a charger to start with a card of its location, or with a tag that was typed."""
    done = await transactions.request_start(
        here.ctx,
        here.actor,
        charger_id,
        id_tag=id_tag if card in {"", "typed"} else card,
        connector=to_number(connector),
    )
    return await _outcome(here, charger_id, done)


@router.post("/chargers/{charger_id}/stop")
async def stop(here: Here, charger_id: str, transaction_id: Text = "") -> Response:
    """Ask a charger to end a transaction; only its own word ends it."""
    done = await transactions.request_stop(
        here.ctx, here.actor, charger_id, transaction_id=transaction_id or None
    )
    return await _outcome(here, charger_id, done)

"""Chargers: claim, list, look at, rename, unlink."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Query
from pydantic import Field

from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.api.transactions import Sample
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.kernel.db import Work
from voltyard.kernel.limits import IDENTITY_LENGTH_MAX
from voltyard.speech import ConnectorStatus
from voltyard.transactions import service as transactions
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["chargers"])

Connection = Literal["online", "offline", "never_seen"]


class Connector(Outward):
    """One outlet; `reading` is the newest one, told where a single charger is asked for."""

    connector_id: int
    status: ConnectorStatus
    error: str
    info: str | None
    vendor_error: str | None
    status_at: datetime
    reading: Sample | None = None


class Charger(Outward):
    """A charger; `status` and `error` are those of the charger as a whole."""

    id: str
    identity: str
    name: str
    location_id: str | None
    connection: Connection
    vendor: str | None
    model: str | None
    serial: str | None
    firmware: str | None
    ocpp_version: str | None
    status: ConnectorStatus | None
    error: str
    seen_at: datetime | None
    connected_at: datetime | None
    disconnected_at: datetime | None
    booted_at: datetime | None
    created_at: datetime
    connectors: list[Connector]


class Claim(Inward):
    """The serial number and PIN on a charger's sticker."""

    identity: Annotated[str, Field(min_length=1, max_length=IDENTITY_LENGTH_MAX)]
    pin: Annotated[str, Field(max_length=64)] = ""


class ChargerChange(Inward):
    """What to change of a charger; an empty name takes it away."""

    name: Annotated[str, Field(max_length=255)] | None = None


def _shown(charger: chargers.Charger, readings: dict[int, Sample] | None = None) -> Charger:
    told = readings or {}
    return Charger.model_validate(
        {
            "id": charger.id,
            "identity": charger.identity,
            "name": charger.name,
            "location_id": charger.location_id,
            "connection": charger.connection,
            "vendor": charger.vendor,
            "model": charger.model,
            "serial": charger.serial,
            "firmware": charger.firmware,
            "ocpp_version": charger.version,
            "status": charger.status,
            "error": charger.error,
            "seen_at": charger.seen_at,
            "connected_at": charger.connected_at,
            "disconnected_at": charger.disconnected_at,
            "booted_at": charger.booted_at,
            "created_at": charger.created_at,
            "connectors": [
                Connector(
                    connector_id=each.number,
                    status=each.status,
                    error=each.error,
                    info=each.info,
                    vendor_error=each.vendor_error,
                    status_at=each.status_at,
                    reading=told.get(each.number),
                )
                for each in charger.connectors
            ],
        }
    )


def _with_readings(work: Work, charger_id: str) -> Charger:
    charger = chargers.get(work, charger_id)
    newest = {
        each.number: transactions.latest_sample(work, charger_id, each.number) for each in charger.connectors
    }
    return _shown(charger, {number: Sample.of(sample) for number, sample in newest.items() if sample})


def _change(work: Work, charger_id: str, change: ChargerChange) -> Charger:
    if change.name is not None:
        chargers.rename(work, charger_id, change.name)
    return _with_readings(work, charger_id)


CONNECTIONS: tuple[tuple[Connection | None, dict[str, Any]], ...] = (
    (None, {}),
    ("online", {"is_online": True}),
    ("offline", {"is_online": False, "is_seen": True}),
    ("never_seen", {"is_online": False, "is_seen": False}),
)


@router.get("/chargers", responses=refusals())
async def list_chargers(
    ctx: Ctx,
    caller: SignedIn,
    asked: AskedPage,
    q: Annotated[str, Query(max_length=120, description="Part of identity, name, vendor or model.")] = "",
    location: Annotated[str | None, Query(description="Only at this location.")] = None,
    connection: Annotated[Connection | None, Query()] = None,
    status: Annotated[ConnectorStatus | None, Query(description="Of any connector.")] = None,
) -> Page[Charger]:
    """List the chargers that one may see, newest first."""
    found = await ctx.db.read(
        caller.actor,
        chargers.list_chargers,
        q=q,
        location_id=location,
        status=status.value if status is not None else None,
        after=asked.after_id("chg"),
        limit=asked.most,
        **dict(CONNECTIONS)[connection],
    )
    return page(asked.slice(found, lambda charger: charger.id), _shown)


@router.get("/chargers/{charger_id}", responses=refusals(404))
async def read_charger(ctx: Ctx, caller: SignedIn, charger_id: str) -> Charger:
    """Return a charger with the newest reading of each connector."""
    return await ctx.db.read(caller.actor, _with_readings, charger_id)


@router.patch("/chargers/{charger_id}", responses=refusals(403, 404))
async def change_charger(ctx: Ctx, caller: SignedIn, charger_id: str, change: ChargerChange) -> Charger:
    """Rename a charger."""
    return await ctx.db.work(caller.actor, _change, charger_id, change)


@router.post("/locations/{location_id}/chargers", status_code=201, responses=refusals(403, 404, 409))
async def claim_charger(
    ctx: Ctx, caller: SignedIn, location_id: str, claim: Claim, afterwards: BackgroundTasks
) -> Charger:
    """Bring a charger to a location with the serial number and PIN of its sticker."""
    charger = await chargers.claim(ctx, caller.actor, location_id, identity=claim.identity, pin=claim.pin)
    afterwards.add_task(commands.greet, ctx, caller.actor, charger)
    return _shown(charger)


@router.delete(
    "/locations/{location_id}/chargers/{charger_id}", status_code=204, responses=refusals(403, 404)
)
async def unlink_charger(ctx: Ctx, caller: SignedIn, location_id: str, charger_id: str) -> None:
    """Take a charger out of a location; it may be claimed again."""
    await ctx.db.work(caller.actor, chargers.unlink, location_id, charger_id)

"""Transactions, their samples, and stops that name no transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from voltyard.api.shapes import Outward, Page, page, refusals
from voltyard.kernel.limits import SAMPLES_PAGE_MAX
from voltyard.transactions import service as transactions
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import CURSOR_LENGTH_MAX, AskedPage, Paging

router = APIRouter(route_class=OnceRoute, tags=["transactions"])

SAMPLES_DEFAULT = 1_000


class PerPhase(Outward):
    """A value for each phase; null where the charger did not tell."""

    l1: float | None
    l2: float | None
    l3: float | None


class Sample(Outward):
    """What the meter showed at one instant."""

    at: datetime
    current_a: PerPhase
    offered_a: float | None
    power_w: float | None
    energy_wh: float | None
    soc_percent: float | None
    voltage_v: PerPhase

    @classmethod
    def of(cls, sample: transactions.Sample) -> Sample:
        """Return a sample in its shape."""
        return cls(
            at=sample.at,
            current_a=PerPhase(l1=sample.current_l1_a, l2=sample.current_l2_a, l3=sample.current_l3_a),
            offered_a=sample.offered_a,
            power_w=sample.power_w,
            energy_wh=sample.energy_wh,
            soc_percent=sample.soc_percent,
            voltage_v=PerPhase(l1=sample.voltage_l1_v, l2=sample.voltage_l2_v, l3=sample.voltage_l3_v),
        )


class Transaction(Outward):
    """One charge of one car; `energy_wh` is what it has taken until now, or took in all."""

    id: str
    number: int
    status: Literal["active", "finished"]
    charger_id: str
    charger_name: str
    location_id: str | None
    location_name: str | None
    connector_id: int
    card_id: str | None
    id_token: str
    verdict: str
    started_at: datetime
    ended_at: datetime | None
    meter_start_wh: int
    meter_stop_wh: int | None
    energy_wh: int
    power_w: float | None
    soc_percent: float | None
    metered_at: datetime | None
    stop_reason: str | None
    is_estimated: bool

    @classmethod
    def of(cls, transaction: transactions.Transaction) -> Transaction:
        """Return a transaction in its shape."""
        return cls(
            id=transaction.id,
            number=transaction.number,
            status="active" if transaction.is_active else "finished",
            charger_id=transaction.charger_id,
            charger_name=transaction.charger_label,
            location_id=transaction.location_id,
            location_name=transaction.location_name,
            connector_id=transaction.connector,
            card_id=transaction.card_id,
            id_token=transaction.id_tag,
            verdict=transaction.verdict,
            started_at=transaction.started_at,
            ended_at=transaction.ended_at,
            meter_start_wh=transaction.meter_start_wh,
            meter_stop_wh=transaction.meter_stop_wh,
            energy_wh=transaction.energy_wh,
            power_w=transaction.power_w,
            soc_percent=transaction.soc_percent,
            metered_at=transaction.metered_at,
            stop_reason=transaction.stop_reason,
            is_estimated=transaction.is_estimated,
        )


class OrphanStop(Outward):
    """A stop that named no transaction of its charger."""

    id: str
    charger_id: str
    number: int
    meter_wh: int
    id_token: str | None
    reason: str | None
    heard_at: datetime

    @classmethod
    def of(cls, stop: transactions.OrphanStop) -> OrphanStop:
        """Return an orphan stop in its shape."""
        return cls(
            id=stop.id,
            charger_id=stop.charger_id,
            number=stop.number,
            meter_wh=stop.meter_wh,
            id_token=stop.id_tag,
            reason=stop.reason,
            heard_at=stop.heard_at,
        )


@router.get("/transactions", responses=refusals())
async def list_transactions(
    ctx: Ctx,
    caller: SignedIn,
    asked: AskedPage,
    location: Annotated[str | None, Query(description="Only at this location.")] = None,
    charger: Annotated[str | None, Query(description="Only at this charger.")] = None,
    card: Annotated[str | None, Query(description="Only with this card.")] = None,
    status: Annotated[Literal["active", "finished"] | None, Query()] = None,
    started_from: Annotated[
        AwareDatetime | None, Query(alias="from", description="Started then or later.")
    ] = None,
    started_to: Annotated[AwareDatetime | None, Query(alias="to", description="Started before then.")] = None,
) -> Page[Transaction]:
    """List the transactions that one may see, newest first."""
    found = await ctx.db.read(
        caller.actor,
        transactions.list_transactions,
        location_id=location,
        charger_id=charger,
        card_id=card,
        is_active=None if status is None else status == "active",
        started_from=started_from,
        started_to=started_to,
        after=asked.after_number(),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda each: each.number), Transaction.of)


@router.get("/transactions/orphans", responses=refusals())
async def list_orphan_stops(
    ctx: Ctx,
    caller: SignedIn,
    asked: AskedPage,
    charger: Annotated[str | None, Query(description="Only of this charger.")] = None,
) -> Page[OrphanStop]:
    """List the stops that name no transaction, newest first."""
    found = await ctx.db.read(
        caller.actor,
        transactions.list_orphans,
        charger_id=charger,
        after=asked.after_id("stk"),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda stop: stop.id), OrphanStop.of)


@router.get("/transactions/{transaction_id}", responses=refusals(403, 404))
async def read_transaction(ctx: Ctx, caller: SignedIn, transaction_id: str) -> Transaction:
    """Return a transaction."""
    return Transaction.of(await ctx.db.read(caller.actor, transactions.get, transaction_id))


@router.get("/transactions/{transaction_id}/samples", responses=refusals(403, 404))
async def list_samples(
    ctx: Ctx,
    caller: SignedIn,
    transaction_id: str,
    limit: Annotated[int, Query(ge=1, le=SAMPLES_PAGE_MAX)] = SAMPLES_DEFAULT,
    cursor: Annotated[str | None, Query(max_length=CURSOR_LENGTH_MAX)] = None,
) -> Page[Sample]:
    """List what the meter showed during a transaction, oldest first."""
    asked = Paging(limit, cursor)
    found = await ctx.db.read(
        caller.actor,
        transactions.samples,
        transaction_id,
        after=asked.after_instant(),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda sample: sample.at.isoformat()), Sample.of)

"""Runs: one command for many chargers, with a result for each of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from voltyard.api.commands import as_json
from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.chargers import runs
from voltyard.kernel.db import Work
from voltyard.kernel.limits import RUN_CHARGERS_MAX
from voltyard.kernel.wire import encode
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["commands"])

ChargerId = Annotated[str, Field(min_length=1, max_length=64)]


class BulkCommand(Inward):
    """Any action of OCPP, with its payload, for many chargers."""

    command: Annotated[str, Field(pattern=r"^[A-Za-z]{1,50}$", examples=["Reset"])]
    data: dict[str, Any] = Field(default_factory=dict, examples=[{"type": "Soft"}])
    charger_ids: Annotated[list[ChargerId], Field(min_length=1, max_length=RUN_CHARGERS_MAX)]


class RunCounts(Outward):
    """How many chargers have which result; `skipped` are those that the caller may not command."""

    total: int
    pending: int
    sent: int
    offline: int
    error: int
    skipped: int


class Run(Outward):
    """A run: `running` until every charger has its result, then `completed`, or `cancelled`."""

    id: str
    command: str
    data: Any
    status: runs.RunStatus
    counts: RunCounts
    actor_id: str
    door: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, run: runs.Run) -> Run:
        """Return a run in its shape."""
        return cls(**_values(run))


class RunCharger(Outward):
    """What became of one charger of a run."""

    charger_id: str
    status: runs.ItemStatus
    message: str
    executed_at: datetime | None
    command_id: str | None


class WholeRun(Run):
    """A run with its chargers, in the order in which they were named."""

    chargers: list[RunCharger]


def _values(run: runs.Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "command": run.action,
        "data": as_json(run.payload),
        "status": run.status,
        "counts": RunCounts.model_validate(run.counts),
        "actor_id": run.actor_id,
        "door": run.door,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
    }


def _whole(work: Work, run_id: str) -> WholeRun:
    run = runs.get(work, run_id)
    chargers = [RunCharger.model_validate(item) for item in runs.list_items(work, run_id)]
    return WholeRun(**_values(run), chargers=chargers)


@router.post("/commands/bulk", status_code=202, responses=refusals())
async def begin_run(ctx: Ctx, caller: SignedIn, bulk: BulkCommand, response: Response) -> WholeRun:
    """Begin a run; chargers that one may not command, or that do not exist, are skipped, which is no error.

    It goes on after the answer: look at it under its own address until it is no longer `running`.
    """
    payload = encode(bulk.data).decode()
    run = await ctx.db.work(caller.actor, runs.begin, bulk.command, payload, bulk.charger_ids)
    response.headers["Location"] = f"/api/v1/commands/bulk/{run.id}"
    return await ctx.db.read(caller.actor, _whole, run.id)


@router.get("/commands/bulk", responses=refusals())
async def list_runs(ctx: Ctx, caller: SignedIn, asked: AskedPage) -> Page[Run]:
    """List one's own runs, newest first."""
    found = await ctx.db.read(caller.actor, runs.list_runs, after=asked.after_id("run"), limit=asked.most)
    return page(asked.slice(found, lambda run: run.id), Run.of)


@router.get("/commands/bulk/{run_id}", responses=refusals(404))
async def read_run(ctx: Ctx, caller: SignedIn, run_id: str) -> WholeRun:
    """Return a run of one's own, with the result of each charger."""
    return await ctx.db.read(caller.actor, _whole, run_id)


@router.post("/commands/bulk/{run_id}/cancel", responses=refusals(404))
async def cancel_run(ctx: Ctx, caller: SignedIn, run_id: str) -> WholeRun:
    """Ask no more chargers; those that are left stay `pending`. One that is over stays as it is."""
    await ctx.db.work(caller.actor, runs.cancel, run_id)
    return await ctx.db.read(caller.actor, _whole, run_id)

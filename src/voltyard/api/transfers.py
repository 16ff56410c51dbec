"""Transfers: firmware on its way to a charger, diagnostics and logs on their way from it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field
from starlette.responses import FileResponse

from voltyard.api.shapes import Inward, Outward, Page, page, refusals
from voltyard.chargers import transfers
from voltyard.chargers.stages import Kind, Stage
from voltyard.kernel.errors import Gone
from voltyard.kernel.limits import RECEIVED_DAYS
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.idempotency import OnceRoute
from voltyard.web.paging import AskedPage

router = APIRouter(route_class=OnceRoute, tags=["firmware and files"])

Retries = Annotated[int, Field(ge=0, le=transfers.RETRIES_MAX)]
RetryInterval = Annotated[int, Field(ge=1, le=transfers.RETRY_INTERVAL_S_MAX)]
Address = Annotated[
    str,
    Field(
        max_length=transfers.ADDRESS_LENGTH_MAX,
        description="http, https, ftp, ftps or sftp, with name and password if it needs them; "
        "they are told to the charger and kept nowhere.",
    ),
]


class TransferStep(Outward):
    """One step; `word` is the charger's own, empty where Voltyard noticed it."""

    stage: Stage
    word: str
    at: datetime


class TransferFile(Outward):
    """A file that the charger sent."""

    id: str
    name: str
    size_bytes: int
    sha256: str
    received_at: datetime


class Transfer(Outward):
    """A transfer with its steps, oldest first.

    `is_proven` tells whether the charger told the new firmware when it started afterwards. `address` is
    empty where the file comes to Voltyard or from it. `files` and `address` are shown to those who may see
    sensitive data.
    """

    id: str
    charger_id: str
    kind: Kind
    stage: Stage
    word: str
    is_going_on: bool
    is_ours: bool
    address: str
    name: str
    from_at: datetime | None
    until_at: datetime | None
    retrieve_at: datetime | None
    install_at: datetime | None
    retries: int | None
    retry_interval_s: int | None
    firmware_id: str | None
    is_signed: bool
    version_wanted: str
    version_before: str
    version_after: str | None
    is_proven: bool | None
    actor_kind: str
    actor_id: str
    door: str
    created_at: datetime
    changed_at: datetime
    ends_at: datetime
    steps: list[TransferStep]
    files: list[TransferFile]


class Fetching(Inward):
    """What to fetch from a charger: all its diagnostics, or those of a time.

    A charger that does not know the one is asked for the other: diagnostics as a log, a log as diagnostics.
    """

    kind: Literal[Kind.DIAGNOSTICS, Kind.LOG, Kind.SECURITY_LOG] = Kind.DIAGNOSTICS
    from_at: AwareDatetime | None = None
    until_at: AwareDatetime | None = None
    address: Annotated[Address, Field(description="Where the charger leaves it; empty: at Voltyard.")] = ""
    retries: Retries | None = None
    retry_interval_s: RetryInterval | None = None


@router.get("/chargers/{charger_id}/transfers", responses=refusals(404))
async def list_transfers(ctx: Ctx, caller: SignedIn, charger_id: str, asked: AskedPage) -> Page[Transfer]:
    """List the transfers of a charger, newest first."""
    found = await ctx.db.read(
        caller.actor,
        transfers.list_transfers,
        charger_id,
        after=asked.after_id("xfr"),
        limit=asked.most,
    )
    return page(asked.slice(found, lambda transfer: transfer.id), Transfer.model_validate)


@router.post("/chargers/{charger_id}/transfers", status_code=201, responses=refusals(403, 404, 409))
async def fetch_from_charger(
    ctx: Ctx, caller: SignedIn, charger_id: str, fetching: Fetching | None = None
) -> Transfer:
    """Ask a charger for its diagnostics or a log; what it answered at once is in `stage`.

    The file comes minutes later: listen to `TransferChanged`, or look again.
    """
    wish = fetching or Fetching()
    begun = await transfers.fetch_diagnostics(
        ctx,
        caller.actor,
        charger_id,
        kind=wish.kind,
        from_at=wish.from_at,
        until_at=wish.until_at,
        address=wish.address,
        retries=wish.retries,
        retry_interval_s=wish.retry_interval_s,
    )
    return Transfer.model_validate(begun)


@router.get("/transfers/{transfer_id}", responses=refusals(404))
async def read_transfer(ctx: Ctx, caller: SignedIn, transfer_id: str) -> Transfer:
    """Return a transfer."""
    return Transfer.model_validate(await ctx.db.read(caller.actor, transfers.get, transfer_id))


@router.delete("/transfers/{transfer_id}", status_code=204, responses=refusals(403, 404, 409))
async def delete_transfer(ctx: Ctx, caller: SignedIn, transfer_id: str) -> None:
    """Delete a transfer with its files, or cancel one that waits; no charger can be called back."""
    await transfers.remove(ctx, caller.actor, transfer_id)


@router.get(
    "/transfers/{transfer_id}/file",
    response_class=FileResponse,
    responses=refusals(403, 404, 410)
    | {200: {"description": "The file.", "content": {"application/octet-stream": {}}}},
)
async def read_transfer_file(
    ctx: Ctx,
    caller: SignedIn,
    transfer_id: str,
    file_id: Annotated[str | None, Query(max_length=40, description="The newest if none is named.")] = None,
) -> FileResponse:
    """Download what a charger sent, as it came; nobody has looked into it."""
    file = await ctx.db.read(caller.actor, transfers.received, transfer_id, file_id)
    if not ctx.files.is_there(file.stored):
        raise Gone(f"the file was deleted: files are kept for {RECEIVED_DAYS} days")
    return FileResponse(
        ctx.files.path(file.stored),
        media_type="application/octet-stream",
        filename=file.name,
        headers={"Cache-Control": "private, no-store"},
    )

"""The chargers' door for files: ``build(ctx)`` gives the app that stands at ``/files``.

Who knows an address may use it, until it ends: the token in it is the only proof. What comes in is kept as
bytes and never looked into; what is refused is refused in few and constant words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.types import Scope

from voltyard.chargers import transfers
from voltyard.kernel.actor import ANYONE, charger
from voltyard.kernel.buckets import Buckets
from voltyard.kernel.context import Context
from voltyard.kernel.errors import NotFound, TooMany, Unavailable, VoltyardError
from voltyard.kernel.limits import (
    ARRIVING_MAX,
    FILE_REQUESTS_PER_MINUTE_MAX,
    FILES_BYTES_MAX,
    RECEIVED_BYTES_MAX,
    WRONG_ADDRESSES_PER_MINUTE_MAX,
)
from voltyard.web.auth import Ctx
from voltyard.web.door import Door, door_of
from voltyard.web.doorway import GuardedRoute, furnish
from voltyard.web.limits import Limits
from voltyard.web.problems import headers_of, status_of
from voltyard.web.uploads import NotWhole, take

BASE = "/files"
NOTHING_HERE = "There is nothing at this address."
NEVER_KEPT: Final = MappingProxyType({"Cache-Control": "no-store"})
router = APIRouter(route_class=GuardedRoute)


class TooBusy(Unavailable):
    """As many files arrive as this process takes in at the same time: try again in a moment."""

    title = "Too many files arrive just now"


class Counts:
    """What the door counts: addresses that were not right, and files that are arriving."""

    def __init__(self) -> None:
        self._wrong = Buckets.per_minute(WRONG_ADDRESSES_PER_MINUTE_MAX)
        self._arriving = 0

    def wrong(self, request: Request) -> None:
        """Count a wrong address. Raises: TooMany."""
        door = door_of(request)
        left = self._wrong.take(door.limits.address(request), door.ctx.clock.monotonic())
        if not left.is_allowed:
            raise TooMany("too many wrong addresses: wait a moment", retry_after_s=left.retry_after_s)

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Count a file as long as it arrives. Raises: TooBusy."""
        if self._arriving >= ARRIVING_MAX:
            raise TooBusy("too many files arrive just now: try again in a moment")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1


@router.api_route("/up/{token}", methods=["PUT", "POST"])
@router.api_route("/up/{token}/{name:path}", methods=["PUT", "POST"])
async def leave(ctx: Ctx, request: Request, token: str, name: str = "") -> Response:
    """Take a file that a charger was asked for: as the body, or as the file of a form."""
    counts: Counts = request.app.state.counts
    key = ctx.settings.secret_key()
    with counts.arriving():
        try:
            slot = await ctx.db.work(ANYONE, transfers.open_upload, token, name, key)
        except NotFound:
            counts.wrong(request)
            raise
        actor = charger(slot.charger_id)
        try:
            taken = await take(request, ctx.files, bytes_max=RECEIVED_BYTES_MAX)
        except VoltyardError as wrong:
            why = "cut" if isinstance(wrong, NotWhole) else wrong.code()
            await ctx.db.work(actor, transfers.upload_cut, slot, why)
            raise
        try:
            await transfers.keep(ctx, slot, taken.name or name, taken.arriving)
        except VoltyardError as wrong:
            await ctx.db.work(actor, transfers.upload_cut, slot, wrong.code())
            raise
        finally:
            await asyncio.to_thread(taken.arriving.drop)
    return PlainTextResponse("Received.\n", headers=NEVER_KEPT)


@router.api_route("/down/{token}", methods=["GET", "HEAD"])
@router.api_route("/down/{token}/{name:path}", methods=["GET", "HEAD"])
async def fetch(ctx: Ctx, request: Request, token: str) -> Response:
    """Give the firmware that a charger was told to fetch, whole or in ranges."""
    counts: Counts = request.app.state.counts
    try:
        serving = await transfers.serve(ctx, token, is_looking=request.method == "HEAD")
    except NotFound:
        counts.wrong(request)
        raise
    return FileResponse(
        ctx.files.path(serving.stored),
        media_type="application/octet-stream",
        filename=serving.name,
        headers=NEVER_KEPT,
    )


def refuse(_request: Request, wrong: VoltyardError) -> Response:
    """Answer in a line of plain text: chargers read the status, people read their logs."""
    text = NOTHING_HERE if isinstance(wrong, NotFound) else f"{wrong.title}: {wrong.detail}"
    return PlainTextResponse(f"{text}\n", status_of(type(wrong)), headers_of(wrong))


def _bytes_max(_scope: Scope) -> int:
    """Let every body begin: what is not asked for is never read, and what is too long is noted."""
    return FILES_BYTES_MAX


def build(ctx: Context) -> FastAPI:
    """Return the app, ready to be mounted at ``/files``."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.counts = Counts()
    app.include_router(router)
    limits = Limits(
        ctx.clock,
        trusted_proxies=ctx.settings.trusted_proxies,
        requests_per_minute=FILE_REQUESTS_PER_MINUTE_MAX,
    )
    furnish(app, Door("files", ctx, ctx.settings.secret_key(), limits), refuse, _bytes_max)
    return app

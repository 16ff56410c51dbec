"""Whether the process lives, whether it can work, and what it counts: for machines that watch it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from voltyard.kernel.actor import ANYONE
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import TimedOut, VoltyardError
from voltyard.kernel.ids import new_id
from voltyard.kernel.log import logger
from voltyard.kernel.wire import Message
from voltyard.locations.service import visible

READY_S = 3.0

REQUESTS = Counter(
    "voltyard_http_requests_total", "Requests answered.", ("door", "method", "route", "status")
)
SECONDS = Histogram(
    "voltyard_http_request_seconds",
    "Time until a request was answered whole; streams of events are left out.",
    ("door", "method", "route"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
STREAMS = Gauge("voltyard_event_streams", "Streams of events that are open.", ("door",))


class Echo(Message, frozen=True):
    """What a process tells itself to find out whether the bus carries."""


def _look(work: Work) -> None:
    """Read from a table: an unreachable database fails here, and one that was never migrated."""
    work.row(visible(work, work.actor).limit(1))


async def _hear_oneself(ctx: Context) -> None:
    subject = f"echo.{new_id('ses')}"
    listening = await ctx.bus.listen(subject, queue_max=1)
    try:
        await ctx.bus.publish(subject, Echo())
        await listening.next()
    finally:
        await listening.stop()


async def _tell(part: str, running: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(READY_S):
            await running
    except TimeoutError:
        word = TimedOut.code()
    except VoltyardError as wrong:
        word = wrong.code()
    except Exception:
        logger("web").exception("a part does not answer", part=part)
        word = "unexpected"
    else:
        return "ok"
    logger("web").warning("not ready", part=part, code=word)
    return word


def add(app: Starlette, ctx: Context) -> None:
    """Add the routes for those who watch the process; they stand at the root."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        database, bus = await asyncio.gather(
            _tell("database", ctx.db.read(ANYONE, _look)), _tell("bus", _hear_oneself(ctx))
        )
        is_ready = database == "ok" and bus == "ok"
        return JSONResponse({"database": database, "bus": bus}, 200 if is_ready else 503)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.add_route("/healthz", healthz)
    app.add_route("/readyz", readyz)
    app.add_route("/metrics", metrics)

"""The wiring: settings become parts, parts become roles, and roles run until told to stop.

One process with everything (SQLite, LocalBus) or many with one role each (PostgreSQL, NATS): the same
code. Roles stop in the reverse order of their start, so that chargers say good-bye to a desk that
still hears them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from voltyard.api import app as api
from voltyard.api import files
from voltyard.central.desk import Desk
from voltyard.chargers import certificates
from voltyard.gateway.server import Gateway, TlsListening
from voltyard.gateway.tls import server_context
from voltyard.kernel import hops, migrate
from voltyard.kernel.bus import Bus, LocalBus
from voltyard.kernel.bus_nats import NatsBus
from voltyard.kernel.clock import SystemClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.kernel.files import Files
from voltyard.kernel.log import logger, set_up
from voltyard.kernel.settings import Settings
from voltyard.lines.main import Lines
from voltyard.portal import app as portal
from voltyard.web import health
from voltyard.worker import main as worker

GRACE_S = 3
Start = Callable[[Callable[..., None]], Coroutine[Any, Any, None]]
GC_YOUNG, GC_MIDDLE, GC_OLD = 20_000, 20, 20
HTTP_BACKLOG = 2_048


@dataclass(slots=True)
class Ports:
    """Where this process listens, once it does; 0 where it does not."""

    http: int = 0
    ocpp: int = 0
    ocpp_tls: int = 0


@contextlib.asynccontextmanager
async def parts(settings: Settings) -> AsyncIterator[Context]:
    """Build the parts that all roles share, and let go of them at the end."""
    clock = SystemClock()
    bus: Bus = (
        await NatsBus.connect(settings.nats_url.get_secret_value())
        if settings.nats_url is not None
        else LocalBus()
    )
    database = Database(settings.url, clock=clock, bus=bus)
    try:
        yield Context(database, bus, clock, Files(settings.data / "files"), settings)
    finally:
        await database.close()
        await bus.close()


async def upgrade(settings: Settings) -> None:
    """Bring the database to the newest form of its tables."""
    settings.make_data()
    await asyncio.to_thread(migrate.upgrade, settings.url)


def http_app(ctx: Context) -> FastAPI:
    """Return the one HTTP application with the doors that this process plays."""
    roles = ctx.settings.role_names
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    health.add(app, ctx)
    app.state.doors = []
    for playing, place, build in (
        ({"api"}, api.BASE, api.build),
        # Chargers are told one address, whichever of the two processes answers there.
        ({"api", "portal"}, files.BASE, files.build),
        ({"portal"}, "/", portal.build),
    ):
        if playing & set(roles):
            room = build(ctx)
            app.mount(place, room)
            app.state.doors.append(room.state.door)
    return app


def end_streams(app: FastAPI) -> None:
    """End the streams of events, which would else go on until uvicorn breaks them off."""
    for door in app.state.doors:
        door.closing.set()


class _HttpServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: stopping is decided in one place, here."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the port, and say so."""
        await super().startup(sockets=sockets)
        self.has_started.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    """Open the HTTP port. uvicorn would end the process if it could not, without a word to people."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=HTTP_BACKLOG)
    except OSError as wrong:
        why = f"the HTTP port {port} of {host} cannot be used: {os.strerror(wrong.errno or 0)}"
        raise OSError(f"{why}; choose another one with --http-port or VOLTYARD_HTTP_PORT") from wrong


async def _serve_http(ctx: Context, ready: Callable[[int], None]) -> None:
    listening = _listen(ctx.settings.host, ctx.settings.http_port)
    app = http_app(ctx)
    server = _HttpServer(
        uvicorn.Config(
            app,
            backlog=HTTP_BACKLOG,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=ctx.settings.trusted_proxies,
            timeout_graceful_shutdown=GRACE_S,
            http="httptools",
            loop="none",
        )
    )
    running = asyncio.ensure_future(server.serve(sockets=[listening]))
    started = asyncio.ensure_future(server.has_started.wait())
    try:
        await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
            raise OSError(f"HTTP cannot be served on port {ctx.settings.http_port}")
        ready(server.servers[0].sockets[0].getsockname()[1])
        await asyncio.shield(running)
    finally:
        started.cancel()
        end_streams(app)
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await running


def tls_listening(ctx: Context, ready: Callable[[int], None]) -> TlsListening | None:
    """Return where and with what chargers come over TLS; None if that is switched off."""
    if not ctx.settings.ocpp_tls_port:
        return None

    async def offer() -> ssl.SSLContext:
        pairs = await certificates.server_pairs(ctx)
        trusted = await certificates.trusted_pem(ctx)
        return await asyncio.to_thread(server_context, pairs, trusted)

    return TlsListening(ctx.settings.ocpp_tls_port, offer, ready)


def _start(start: Start, heard: Callable[..., None]) -> tuple[asyncio.Future[None], asyncio.Future[None]]:
    """Start one role; the second future tells when it is ready."""
    is_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ready(*what: int) -> None:
        heard(*what)
        if not is_ready.done():
            is_ready.set_result(None)

    return asyncio.ensure_future(start(ready)), is_ready


async def _first(running: Sequence[asyncio.Future[Any]]) -> None:
    """Wait until one of these is done."""
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


async def serve(
    settings: Settings,
    *,
    ready: Callable[[Ports, Context], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Play the roles of this process until ``stop`` is set or one of them fails.

    Raises: whatever the failing role raised.
    """
    log = logger("app")
    stop = stop or asyncio.Event()
    ports = Ports()
    if settings.nats_url is None:
        await upgrade(settings)
    async with parts(settings) as ctx:
        roles = ctx.settings.role_names

        def http_ready(port: int) -> None:
            ports.http = port

        def ocpp_ready(port: int) -> None:
            ports.ocpp = port

        def ocpp_tls_ready(port: int) -> None:
            ports.ocpp_tls = port

        gateway = Gateway(
            bus=ctx.bus,
            clock=ctx.clock,
            host=ctx.settings.host,
            port=ctx.settings.ocpp_port,
            trusted_proxies=ctx.settings.trusted_proxies,
            tls=tls_listening(ctx, ocpp_tls_ready),
            installation=hops.name_of(ctx.settings.secret_key()),
        )
        starts: list[tuple[bool, Start, Callable[..., None]]] = [
            ("central" in roles, Desk(ctx).run, lambda: None),
            ("worker" in roles, lambda ready: worker.run(ctx, ready), lambda: None),
            ("lines" in roles, Lines(ctx).run, lambda: None),
            (bool({"api", "portal"} & set(roles)), lambda ready: _serve_http(ctx, ready), http_ready),
            ("gateway" in roles, gateway.run, ocpp_ready),
        ]
        tasks: list[asyncio.Future[None]] = []
        stopped = asyncio.ensure_future(stop.wait())
        try:
            for is_played, start, heard in starts:
                if not is_played:
                    continue
                task, is_ready = _start(start, heard)
                tasks.append(task)
                # Whoever waits for another part must not be deaf to a stop, or to a part that fails.
                await _first([*tasks, stopped, is_ready])
                if stopped.done() or any(task.done() for task in tasks):
                    break
            else:
                log.info(
                    "ready",
                    http_port=ports.http,
                    ocpp_port=ports.ocpp,
                    ocpp_tls_port=ports.ocpp_tls,
                    roles=",".join(roles),
                )
                if ready is not None:
                    ready(ports, ctx)
                await _first([*tasks, stopped])
        finally:
            stopped.cancel()
            failed: BaseException | None = None
            for task in reversed(tasks):
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled() and task.exception() is not None:
                    failed = failed or task.exception()
        if failed is not None:
            raise failed
        log.info("stopped")


def raise_file_limit() -> None:
    """Let this process hold as many sockets as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` on Ctrl+C and on the signal that service managers send."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


def calm_the_collector() -> None:
    """Let the garbage collector look less often, and never at what was imported.

    Most of what a message makes is freed by counting references; looking for cycles after every 700
    objects walked through the same living ones again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, GC_MIDDLE, GC_OLD)


def run(main: Callable[[], Coroutine[Any, Any, None]], settings: Settings) -> None:
    """Run a program on uvloop with logs and limits set up."""
    set_up(level=settings.log_level, is_json=settings.log_json)
    raise_file_limit()
    calm_the_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def run_server(settings: Settings) -> None:
    """Serve until a signal comes."""

    async def main() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await serve(settings, stop=stop)

    run(main, settings)

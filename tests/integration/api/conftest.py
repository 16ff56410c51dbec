"""The REST door in process, over a real database of each kind, with a few people and chargers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx2
import pytest
import sqlalchemy as sa
import structlog
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from voltyard.accounts import service as accounts
from voltyard.accounts.secrets import machine_hash
from voltyard.api.app import build
from voltyard.cards.service import Judgement
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered, Place
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database, metadata
from voltyard.kernel.files import Files
from voltyard.kernel.settings import Settings
from voltyard.kernel.units import PerPhase
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.speech import (
    Answer,
    Asked,
    Booted,
    ConnectorStatus,
    Ended,
    Hello,
    Metered,
    Outcome,
    Reading,
    Started,
    StatusTold,
    Told,
    Verdict,
)
from voltyard.transactions import service as transactions

SYSTEM = system("test")
PIN = "1234"
NAMES = count(1)
DEADLINE_S = 10.0


async def postgres_database(server: str) -> str:
    """Make a database with all tables on a server, the first time as the pattern of the others."""
    connection = await asyncpg.connect(server)
    try:
        found = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'voltyard_api'")
        if not found:
            await connection.execute("CREATE DATABASE voltyard_api")
            pattern = sa.make_url(server).set(drivername="postgresql+asyncpg", database="voltyard_api")
            engine = create_async_engine(pattern)
            async with engine.begin() as tables:
                await tables.run_sync(metadata.create_all)
            await engine.dispose()
        name = f"voltyard_api_{next(NAMES)}"
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE voltyard_api")
    finally:
        await connection.close()
    return str(sa.make_url(server).set(database=name).render_as_string(hide_password=False))


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Log nowhere: drawing a traceback for a terminal takes seconds."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(params=["sqlite", "postgres"])
async def ctx(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Context]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'voltyard.db'}"
        engine = sa.create_engine(url)
        metadata.create_all(engine)
        engine.dispose()
    else:
        url = await postgres_database(request.getfixturevalue("postgres_server"))
    clock, bus = FakeClock(), LocalBus(is_strict=True)
    settings = Settings(data=tmp_path, secret="a secret of the tests", public_url="http://voltyard.test")
    db = Database(url, clock=clock, bus=bus)
    yield Context(db, bus, clock, Files(tmp_path / "files"), settings)
    await db.close()
    await bus.close()


@pytest.fixture
def api(ctx: Context) -> FastAPI:
    return build(ctx)


@pytest.fixture
def app(api: FastAPI) -> FastAPI:
    outer = FastAPI()
    outer.mount("/api/v1", api)
    return outer


@dataclass
class Person:
    """Somebody with an account, an Actor, and a client that shows their token."""

    user: accounts.User
    actor: Actor
    token: str
    http: httpx2.AsyncClient = field(repr=False)

    @property
    def team_id(self) -> str:
        return self.user.teams[0].id


def client(app: FastAPI, **headers: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://voltyard.test/api/v1", headers=headers
    )


Enrol = Callable[..., Awaitable[Person]]


@pytest.fixture
async def enrol(ctx: Context, app: FastAPI) -> AsyncIterator[Enrol]:
    people: list[Person] = []

    async def add(name: str, *, is_admin: bool = False) -> Person:
        user = await accounts.register(
            ctx, f"{name}@example.com", password=None, name=name, is_admin=is_admin
        )
        key = ctx.settings.secret_key()
        _, token = await ctx.db.work(SYSTEM, accounts.add_token, "tests", key, user.id)
        actor, user = await ctx.db.read(SYSTEM, accounts.actor_of_token, token, key)
        people.append(Person(user, actor, token, client(app, Authorization=f"Bearer {token}")))
        return people[-1]

    yield add
    for person in people:
        await person.http.aclose()


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(app) as nobody:
        yield nobody


@pytest.fixture
async def session(ctx: Context, app: FastAPI, owner: Person) -> AsyncIterator[httpx2.AsyncClient]:
    """The owner's browser: a client that shows a cookie."""
    secret = "vys_of_a_browser"
    await ctx.db.work(
        SYSTEM, accounts._open_session, owner.user.id, machine_hash(secret, ctx.settings.secret_key())
    )
    async with client(app, Cookie=f"voltyard_session={secret}") as browser:
        yield browser


@pytest.fixture
async def owner(enrol: Enrol) -> Person:
    return await enrol("owner")


@pytest.fixture
async def stranger(enrol: Enrol) -> Person:
    return await enrol("stranger")


@pytest.fixture
async def guest(enrol: Enrol, ctx: Context, owner: Person, location_id: str) -> Person:
    """Somebody who may look at the owner's location, and no more."""
    person = await enrol("guest")
    await ctx.db.work(owner.actor, locations.grant, location_id, person.team_id, Level.BASIC)
    return person


@pytest.fixture
async def location_id(ctx: Context, owner: Person) -> str:
    made = await ctx.db.work(owner.actor, locations.create, name="Home", city="Utrecht", country="NL")
    return made.id


async def deliver(ctx: Context, identity: str, *, is_online: bool = False) -> str:
    """Put a charger into the stock, connected or not; return its id."""
    key = ctx.settings.secret_key()
    await ctx.db.work(SYSTEM, chargers.register, [Delivered(identity, PIN)], key)
    if is_online:
        hello = Hello(identity, f"session-{identity}", "gateway", "ocpp1.6", "127.0.0.1")
        welcomes = await ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False)
        return str(welcomes[0].charger_id)
    found = await ctx.db.read(SYSTEM, chargers.store.find_by_keys, [chargers.identity_key(identity)])
    return str(found[chargers.identity_key(identity)].id)


@pytest.fixture
async def charger_id(ctx: Context, owner: Person, location_id: str) -> str:
    """A charger of the owner: connected, booted, with two connectors."""
    charger_id = await deliver(ctx, "ACE0001", is_online=True)
    await chargers.claim(ctx, owner.actor, location_id, identity="ACE0001", pin=PIN)
    place = Place(charger_id, location_id)
    await ctx.db.work(SYSTEM, chargers.boot, [(place, Booted("Voltyard", "Sim 22", firmware="1.0"))])
    for number in (0, 1, 2):
        told = StatusTold(number, ConnectorStatus.AVAILABLE)
        await ctx.db.work(SYSTEM, chargers.tell_status, [(place, told)])
    return charger_id


@pytest.fixture
async def transaction_id(ctx: Context, owner: Person, location_id: str, charger_id: str) -> str:
    """A running transaction with three readings."""
    return await charge(ctx, owner, Place(charger_id, location_id))


async def charge(
    ctx: Context,
    owner: Person,
    place: Place,
    *,
    connector: int = 1,
    meter_wh: int = 1_000,
    is_over: bool = False,
) -> str:
    """Have a charger charge a car, three readings long; return the id of the transaction."""
    started = Started(connector, "04AABBCC", meter_wh, ctx.clock.now())
    (number,) = await ctx.db.work(
        SYSTEM, transactions.start, [(place, started)], [Judgement(Verdict.ACCEPTED)]
    )
    for turn in (1, 2, 3):
        assert isinstance(ctx.clock, FakeClock)
        ctx.clock.advance(60)
        reading = Reading(
            told_at=ctx.clock.now(),
            energy_wh=meter_wh + 100.0 * turn,
            power_w=6_000.0,
            current_a=PerPhase(8.0, 8.5, 9.0),
            offered_a=16.0,
            voltage_v=PerPhase(230.0, 231.0, 232.0),
            soc_percent=40.0 + turn,
        )
        await ctx.db.work(SYSTEM, transactions.meter, [(place, Metered(connector, number, (reading,)))])
    if is_over:
        ended = Ended(number, meter_wh + 400, ctx.clock.now())
        await ctx.db.work(SYSTEM, transactions.end, [(place, ended)])
    shown = await ctx.db.read(owner.actor, transactions.list_transactions)
    return next(each.id for each in shown if each.number == number)


Play = Callable[..., Awaitable[list[Asked]]]


@pytest.fixture
def play(ctx: Context) -> Play:
    """Play the exchange of a charger: answer every ask with this outcome and keep what was asked."""

    async def serve(charger_id: str, outcome: Outcome | None = None) -> list[Asked]:
        heard: list[Asked] = []
        told = Told(outcome or Answer(True, "Accepted", '{"status":"Accepted"}'), "Played", "{}")

        async def answer(asked: Asked) -> Told:
            heard.append(asked)
            return told

        await ctx.bus.serve(f"charger.{charger_id}.ask", Asked, answer)
        return heard

    return serve


class Listener:
    """A client of the event stream that reads while the answer goes on."""

    def __init__(self, app: FastAPI, token: str, **headers: str) -> None:
        shown = {"authorization": f"Bearer {token}", "host": "voltyard.test"} | headers
        self.status = 0
        self.headers: dict[str, str] = {}
        self._text = ""
        self._changed = asyncio.Condition()
        self._leaving = asyncio.Event()
        self._is_asked = False
        self._app = app
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/v1/events",
            "raw_path": b"/api/v1/events",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in shown.items()],
            "client": ("127.0.0.1", 1),
            "server": ("voltyard.test", 80),
        }

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_wrong: object) -> None:
        self._leaving.set()
        await self.ended()

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _receive(self) -> dict[str, Any]:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        async with self._changed:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self._text += message.get("body", b"").decode()
            self._changed.notify_all()

    async def ended(self) -> None:
        """Wait until the server has ended the stream."""
        async with asyncio.timeout(DEADLINE_S):
            await self._task

    async def until(self, is_there: Callable[[str], bool]) -> str:
        """Wait until what was heard so far has this property; return it."""
        async with asyncio.timeout(DEADLINE_S), self._changed:
            await self._changed.wait_for(lambda: is_there(self._text))
            return self._text

    async def opened(self) -> None:
        """Wait until the stream is open."""
        await self.until(lambda text: "retry:" in text)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the events heard so far: their names and what they say."""
        heard = []
        for block in self._text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in lines:
                heard.append((lines["event"], json.loads(lines["data"])))
        return heard

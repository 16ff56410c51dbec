"""The portal in a browser: what people see and press, at both widths and in both themes."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, expect

from voltyard.accounts import service as accounts
from voltyard.accounts.service import User
from voltyard.cards import service as cards
from voltyard.cards.service import Judgement
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered, Place
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import SystemClock
from voltyard.kernel.context import Context
from voltyard.kernel import migrate
from voltyard.kernel.db import Database
from voltyard.kernel.files import Files
from voltyard.kernel.settings import Settings
from voltyard.kernel.units import PerPhase
from voltyard.locations import service as locations
from voltyard.portal.app import build
from voltyard.speech import (
    Answer,
    Asked,
    Booted,
    ConnectorStatus,
    Ended,
    Hello,
    Metered,
    Reading,
    StartCharging,
    Started,
    StatusTold,
    StopCharging,
    Told,
    Verdict,
)
from voltyard.transactions import service as transactions

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "frontend/node_modules/axe-core/axe.min.js"
PASSWORD = "a long enough password"
CENTRAL = system("central")
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
KEY_PIN = "4711"


# --- a small world ----------------------------------------------------------------------------------


def readings(
    start: datetime, minutes: int, *, phases: int = 3, most_a: float = 16.0, so_far: int | None = None
) -> list[Reading]:
    """What a car takes: a ramp, a dip when the house needs the current, and a tail when it is full."""
    found, energy = [], 1_000_000.0
    for step in range((minutes if so_far is None else so_far) * 2 + 1):
        share = step / max(1, minutes * 2)
        offered = 10.0 if 0.35 < share < 0.5 else most_a
        tail = 1.0 if share < 0.86 else math.exp(-(share - 0.86) * 14)
        ramp = min(1.0, step / 3)
        amps = [round(max(0.0, (offered - 0.4) * ramp * tail - 0.25 * n + 0.12 * math.sin(step / 3 + n)), 2)
                for n in range(phases)]  # fmt: skip
        power = sum(amps) * 231
        energy += power / 120
        found.append(
            Reading(
                told_at=start + timedelta(seconds=30 * step),
                energy_wh=round(energy),
                power_w=round(power, 1),
                current_a=PerPhase(*amps, *([None] * (3 - phases))),
                voltage_v=PerPhase(231.0, 230.4, 231.2),
                offered_a=offered,
                soc_percent=round(min(100.0, 38 + 60 * share), 0) if phases == 3 else None,
            )
        )
    return found


@dataclass
class World:
    """The context of a portal with people, locations and chargers in it."""

    ctx: Context
    user: User
    actor: Actor
    locations: dict[str, str] = field(default_factory=dict)
    chargers: dict[str, str] = field(default_factory=dict)
    transactions: dict[str, str] = field(default_factory=dict)
    address: str = ""

    async def tell(self, charger_id: str, *said: StatusTold) -> None:
        place = (await self.ctx.db.read(CENTRAL, chargers.places, [charger_id]))[0]
        await self.ctx.db.work(CENTRAL, chargers.tell_status, [(place, each) for each in said])

    async def connect(self, identity: str) -> str:
        hello = Hello(identity, f"ses-{identity}", "gateway-1", "ocpp1.6", "192.0.2.7")
        key = self.ctx.settings.secret_key()
        welcome = (await self.ctx.db.work(CENTRAL, chargers.connect, [hello], key=key, is_holding=True))[0]
        booted = Booted(vendor="Alfen", model="Eve Double Pro-line", serial=identity, firmware="6.5.0-4221")
        await self.ctx.db.work(CENTRAL, chargers.boot, [(Place(welcome.charger_id, None), booted)])
        return welcome.charger_id

    async def start(
        self, place: Place, connector: int, tag: str, at: datetime, verdict: Verdict = Verdict.ACCEPTED,
        card_id: str | None = None,
    ) -> int:  # fmt: skip
        said = Started(connector, tag, 1_000_000, at)
        judged = Judgement(verdict, card_id)
        return (await self.ctx.db.work(CENTRAL, transactions.start, [(place, said)], [judged]))[0]

    async def meter(self, place: Place, connector: int, number: int, found: list[Reading]) -> None:
        said = Metered(connector, number, tuple(found))
        await self.ctx.db.work(CENTRAL, transactions.meter, [(place, said)])

    async def end(self, place: Place, number: int, last: Reading, reason: str) -> None:
        said = Ended(number, int(last.energy_wh or 0), last.told_at, reason)
        await self.ctx.db.work(CENTRAL, transactions.end, [(place, said)])

    async def id_of(self, number: int) -> str:
        rows = await self.ctx.db.read(self.actor, transactions.list_transactions, limit=200)
        return next(row.id for row in rows if row.number == number)


async def open_context(folder: Path) -> Context:
    settings = Settings(data=folder, _env_file=None)  # type: ignore[call-arg]
    folder.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(migrate.upgrade, settings.url)
    clock, bus = SystemClock(), LocalBus(is_strict=True)
    return Context(Database(settings.url, clock=clock, bus=bus), bus, clock, Files(folder / "files"), settings)


async def make_world(ctx: Context, *, is_empty: bool = False) -> World:
    """Two locations, chargers in all sorts of states, cards, and charges old and new."""
    user = await accounts.register(
        ctx, "robin@example.com", password=PASSWORD, name="Robin Vermeer",
        team="Vermeer Installations", is_admin=True,
    )  # fmt: skip
    team = user.teams[0].id
    actor = Actor(kind=Kind.USER, subject_id=user.id, team_ids=(team,), door="portal", is_admin=True)
    world = World(ctx, user, actor)
    if is_empty:
        return world
    key = ctx.settings.secret_key()
    office = await ctx.db.work(
        actor, locations.create, name="Head office Utrecht", street="Croeselaan 18", postcode="3521 CB",
        city="Utrecht", country="NL",
    )  # fmt: skip
    garage = await ctx.db.work(
        actor, locations.create, name="Harbour garage, level −2, behind the northern ramp",
        street="Kalvebod Brygge 31", postcode="1560", city="København", country="DK",
        timezone="Europe/Copenhagen",
    )  # fmt: skip
    world.locations = {"office": office.id, "garage": garage.id}
    names = {
        "charging": ("ALF-0042317", office.id, "Entrance left"),
        "free": ("ALF-0042318", office.id, "Entrance right"),
        "paused": ("NXB-22-104-77", garage.id, "Bay 14"),
        "faulted": ("EVB-P1916-0033", garage.id, "Bay 15, the one whose name somebody made far too long to fit"),
        "offline": ("ZAP081142", garage.id, ""),
    }
    found = [Delivered(identity, pin=KEY_PIN) for identity, _, _ in names.values()]
    stock = [*found, Delivered("STOCK-0001", pin=KEY_PIN), Delivered("NEVER-SEEN-1", pin=KEY_PIN)]
    await ctx.db.work(CENTRAL, chargers.register, stock, key)
    for word, (identity, location_id, name) in names.items():
        world.chargers[word] = await world.connect(identity)
        await chargers.claim(ctx, actor, location_id, identity=identity, pin=KEY_PIN)
        if name:
            await ctx.db.work(actor, chargers.rename, world.chargers[word], name)
    never = await chargers.claim(ctx, actor, office.id, identity="NEVER-SEEN-1", pin=KEY_PIN)
    world.chargers["never"] = never.id
    await world.connect("WAITING-9001")
    states = {
        "charging": (ConnectorStatus.CHARGING, ConnectorStatus.AVAILABLE),
        "free": (ConnectorStatus.AVAILABLE, ConnectorStatus.PREPARING),
        "paused": (ConnectorStatus.SUSPENDED_EV,),
        "offline": (ConnectorStatus.AVAILABLE,),
    }
    for word, statuses in states.items():
        for number, status in enumerate(statuses, start=1):
            await world.tell(world.chargers[word], StatusTold(number, status))
    broken = StatusTold(1, ConnectorStatus.FAULTED, "GroundFailure", "RCD tripped", None, "E-114")
    await world.tell(world.chargers["faulted"], broken)
    await ctx.db.work(CENTRAL, chargers.disconnect, world.chargers["offline"], "ses-ZAP081142")
    anna = await ctx.db.work(actor, cards.add, office.id, name="Anna de Wit", id_tag="04A2B8C19D3E80")
    await ctx.db.work(actor, cards.add, office.id, name="Pool car 3", id_tag="DEADBEEF")
    lost = await ctx.db.work(actor, cards.add, office.id, name="Lost in March", id_tag="0411223344")
    await ctx.db.work(actor, cards.change, lost.id, is_blocked=True)
    mads = await ctx.db.work(actor, cards.add, garage.id, name="Mads Jørgensen", id_tag="0499887766")
    now = datetime.now(UTC)
    at_office, at_garage = Place(world.chargers["free"], office.id), Place(world.chargers["paused"], garage.id)
    for hours, minutes, reason in ((3, 95, "EVDisconnected"), (27, 240, "Local"), (51, 35, "Remote")):
        began = now - timedelta(hours=hours, minutes=minutes)
        number = await world.start(at_office, 1, "04A2B8C19D3E80", began, card_id=anna.id)
        took = readings(began, minutes)
        await world.meter(at_office, 1, number, took)
        await world.end(at_office, number, took[-1], reason)
        world.transactions.setdefault("ended", await world.id_of(number))
    began = now - timedelta(hours=9)
    number = await world.start(at_office, 2, "FFFF0000", began, Verdict.INVALID)
    await world.end(at_office, number, Reading(told_at=began + timedelta(seconds=20), energy_wh=1_000_000), "DeAuthorized")
    world.transactions["refused"] = await world.id_of(number)
    began = now - timedelta(minutes=52)
    at_charging = Place(world.chargers["charging"], office.id)
    number = await world.start(at_charging, 1, "04A2B8C19D3E80", began, card_id=anna.id)
    await world.meter(at_charging, 1, number, readings(began, 75, so_far=51))
    world.transactions["running"] = await world.id_of(number)
    for hours in (30, 2):
        began = now - timedelta(hours=hours)
        number = await world.start(at_garage, 1, "0499887766", began, card_id=mads.id)
        await world.meter(at_garage, 1, number, readings(began, 180, phases=1, most_a=32.0, so_far=119))
        world.transactions.setdefault("estimated", await world.id_of(number))
    return world


class PlayedCharger:
    """A charger that says yes, and does what it said a moment later."""

    def __init__(self, world: World, charger_id: str, location_id: str, *, answer: str = "Accepted") -> None:
        self.world, self.charger_id, self.answer = world, charger_id, answer
        self.place = Place(charger_id, location_id)
        self.asked: list[Any] = []
        self.numbers: dict[int, int] = {}

    async def serve(self) -> None:
        await self.world.ctx.bus.serve(f"charger.{self.charger_id}.ask", Asked, self.hear)

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked.ask)
        is_accepted = self.answer == "Accepted"
        names = {StartCharging: "RemoteStartTransaction", StopCharging: "RemoteStopTransaction"}
        action = names.get(type(asked.ask), "Reset")
        return Told(Answer(is_accepted=is_accepted, status=self.answer, payload="{}"), action, "{}")

    async def plug_in(self, tag: str, connector: int = 1) -> int:
        now = datetime.now(UTC)
        await self.world.tell(self.charger_id, StatusTold(connector, ConnectorStatus.CHARGING))
        number = await self.world.start(self.place, connector, tag, now)
        self.numbers[connector] = number
        await self.world.meter(self.place, connector, number, readings(now, 0))
        return number


# --- the portal on a port -----------------------------------------------------------------------------


@asynccontextmanager
async def serve(ctx: Context, port: int = 0) -> AsyncIterator[str]:
    """Run the portal on a real port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(build(ctx), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await running
    listener.close()

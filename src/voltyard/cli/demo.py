"""The demo: a real server on the embedded default, and a simulated world around it.

Three locations with their people, cards and chargers, two weeks of history, and virtual chargers
that live on while one looks. Everything goes through the same services and sockets as in real use.
What people do with the chargers once they are there is told in ``showcase.py``.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from voltyard import app
from voltyard.accounts import service as accounts
from voltyard.accounts.service import User
from voltyard.cards import service as cards
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered, Place
from voltyard.cli import demo_operators, showcase
from voltyard.cli.showcase import People, Stage
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.settings import PrivateNetworks, Settings
from voltyard.kernel.units import PerPhase
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.sim import quirks
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock, live
from voltyard.sim.plans import life
from voltyard.sim.station import Nameplate
from voltyard.speech import Ended, Metered, Reading, Started
from voltyard.transactions import service as transactions

ACTOR = system("demo")
PASSWORD = "voltyard-demo"
HISTORY_DAYS = 14
SAMPLE_STEP = timedelta(minutes=5)
GAP_S = 90.0
STAY_S = 600.0
CHARGER_PASSWORD = "demo-charger-password"
PIN = "1234"

WAITING_CARS = frozenset({("VY-HOME-01", 1), ("VY-OFFICE-01", 1), ("VY-PUBLIC-02", 1)})
"""Connectors whose car waits for a person at the portal to start it."""
QUIET = frozenset({showcase.RESERVED_AT})
"""Connectors to which no car comes by itself."""
PATIENT_CAR = Car("a patient car", phases=3, limit_a=16, battery_wh=77_000, soc=0.35, tells_soc=True)
CAR_LOOKS_S = 2.0
CAR_STAYS_S = 10.0


@dataclass(frozen=True)
class Scene:
    """One location of the demo."""

    name: str
    street: str
    postcode: str
    city: str
    country: str
    timezone: str
    chargers: tuple[Nameplate, ...]
    cards: tuple[tuple[str, str], ...]


def plate(
    identity: str,
    vendor: str,
    model: str,
    *,
    firmware: str = "2.4.1",
    connectors: int = 1,
    phases: int = 3,
    has_cable: bool = False,
    kind: str = quirks.NONE,
) -> Nameplate:
    """Return the nameplate of one virtual charger; ``kind`` is that of its quirks."""
    return Nameplate(
        identity,
        model,
        vendor,
        f"SN-{identity}",
        firmware,
        connectors=connectors,
        phases=phases,
        fuse_a=63.0,
        has_cable=has_cable,
        quirks=kind,
        zone=ZoneInfo("Europe/Copenhagen"),
    )


SCENES = (
    Scene(
        "Home",
        "Tulpenstraat 12",
        "2011 AB",
        "Haarlem",
        "NL",
        "Europe/Amsterdam",
        (plate("VY-HOME-01", "Volt Time", "Source 2S"),),
        (("Sanne", "04A1B2C3D4"), ("Spare key", "04FFEE0011")),
    ),
    Scene(
        "Office car park",
        "Industrivej 20",
        "2605",
        "Brøndby",
        "DK",
        "Europe/Copenhagen",
        (
            plate("VY-OFFICE-01", "NexBlue", "Point 2"),
            plate("VY-OFFICE-02", "NexBlue", "Point 2"),
            plate("VY-OFFICE-03", "NexBlue", "Edge", phases=1, has_cable=True),
            plate("VY-OFFICE-04", "Easee", "Charge Max", connectors=2),
            plate("VY-OFFICE-05", "Easee", "Charge Max", connectors=2),
            # No real make: nobody's product shall be said to speak like this.
            plate(showcase.OLD, "Elderberry", "Classic 22", firmware="0.9.3", kind=quirks.ODD),
        ),
        (("Mikkel", "0411AA22BB"), ("Freja", "0433CC44DD"), ("Visitor card", "0455EE66FF")),
    ),
    Scene(
        "Harbour square (public)",
        "Kade 1",
        "1011 AA",
        "Amsterdam",
        "NL",
        "Europe/Amsterdam",
        (
            plate("VY-PUBLIC-01", "Alfen", "Twin 4XL", connectors=2),
            plate("VY-PUBLIC-02", "Alfen", "Twin 4XL", connectors=2),
        ),
        (("Public card A", "047788AA99"), ("Public card B", "04BBCC00DD")),
    ),
)


def actor_of(person: User) -> Actor:
    """Return a person as the one who acts."""
    return Actor(
        kind=Kind.USER,
        subject_id=person.id,
        team_ids=tuple(team.id for team in person.teams),
        door="demo",
        is_admin=person.is_admin,
    )


async def build(ctx: Context, seed: int) -> People:
    """Make the people, locations, chargers, cards, the history and the firmware of the world."""
    installer = await accounts.register(
        ctx,
        "installer@voltyard.example",
        password=PASSWORD,
        name="Iris Installer",
        team="Bright Installations",
        is_admin=True,
    )
    owner = await accounts.register(
        ctx, "sanne@voltyard.example", password=PASSWORD, name="Sanne de Vries", team="Sanne"
    )
    operator = await accounts.register(
        ctx, "operator@voltyard.example", password=PASSWORD, name="Olav Operator", team="Harbour Charging"
    )
    owners = (owner, installer, operator)
    chance = random.Random(seed)
    for scene, person in zip(SCENES, owners, strict=True):
        actor = actor_of(person)
        location = await ctx.db.work(actor, _make_location, scene)
        delivered = [
            Delivered(one.identity, PIN, CHARGER_PASSWORD, one.vendor, one.model) for one in scene.chargers
        ]
        await ctx.db.work(ACTOR, chargers.register, delivered, ctx.settings.secret_key())
        for one in scene.chargers:
            charger = await chargers.claim(ctx, actor, location.id, identity=one.identity, pin=PIN)
            tags = [tag for _, tag in scene.cards]
            await ctx.db.work(
                ACTOR, _make_history, Place(charger.id, location.id), one, tags, chance.randrange(2**31)
            )
        if person is not installer:
            team = installer.teams[0].id
            await ctx.db.work(ACTOR, locations.grant, location.id, team, Level.FULL)
    held = Delivered("VY-NEW-01", PIN, CHARGER_PASSWORD, "Zaptec", "Go 2")
    await ctx.db.work(ACTOR, chargers.register, [held], ctx.settings.secret_key())
    people = People(actor_of(installer), actor_of(owner), actor_of(operator))
    await showcase.add_firmware(ctx, people, seed)
    return people


def _make_location(work: Work, scene: Scene) -> locations.Location:
    location = locations.create(
        work,
        name=scene.name,
        street=scene.street,
        postcode=scene.postcode,
        city=scene.city,
        country=scene.country,
        timezone=scene.timezone,
    )
    for name, tag in scene.cards:
        cards.add(work, location.id, name=name, id_tag=tag)
    return location


def _make_history(work: Work, place: Place, one: Nameplate, tags: list[str], seed: int) -> None:
    """Tell two weeks of sessions to the same functions that hear real chargers, each on its day."""
    now = work.now
    chance = random.Random(seed)
    meter_wh = chance.randrange(100_000, 3_000_000)
    for connector in range(1, one.connectors + 1):
        for days_ago in range(HISTORY_DAYS, 0, -1):
            if chance.random() < 0.25:
                continue
            begin = now - timedelta(days=days_ago, minutes=chance.randrange(-300, 300))
            tag = chance.choice(tags)
            meter_wh = _tell_session(work, place, connector, tag, begin, meter_wh, one, chance)
    work.now = now


def _tell_session(
    work: Work,
    place: Place,
    connector: int,
    tag: str,
    begin: datetime,
    meter_wh: int,
    one: Nameplate,
    chance: random.Random,
) -> int:
    # As if it had been heard when it happened: otherwise every charger were found to tell old stories.
    work.now = begin
    started = Started(connector, tag, meter_wh, begin)
    judgements = cards.judge(work, [(place.location_id, tag)])
    number = transactions.start(work, [(place, started)], judgements)[0]
    phases = min(one.phases, chance.choice((1, 3, 3)))
    car_a, offered_a = chance.choice((10.0, 16.0, 16.0, 32.0)), chance.choice((16.0, 25.0, 32.0))
    steps = chance.randrange(8, 60)
    readings, energy_wh, at = [], float(meter_wh), begin
    for step in range(steps):
        at = begin + (step + 1) * SAMPLE_STEP
        if step in {steps // 3, 2 * steps // 3}:
            offered_a = chance.choice((8.0, 12.0, 16.0, 32.0))
        taper = min(1.0, (steps - step) / (steps * 0.25))
        flow_a = round(min(car_a, offered_a) * taper * chance.uniform(0.97, 1.0), 1)
        power_w = flow_a * 230.0 * phases
        energy_wh += power_w * SAMPLE_STEP.total_seconds() / 3600
        flows = tuple(flow_a if phase < phases else 0.0 for phase in range(3))
        readings.append(
            Reading(
                told_at=at,
                energy_wh=round(energy_wh),
                power_w=round(power_w),
                current_a=PerPhase(*flows),
                voltage_v=PerPhase(230.4, 229.8, 231.1),
                offered_a=offered_a,
            )
        )
    work.now = at
    transactions.meter(work, [(place, Metered(connector, number, tuple(readings)))])
    stop_wh = round(energy_wh)
    reason = chance.choice(("Local", "Local", "EVDisconnected", "Remote"))
    work.now = at + timedelta(minutes=chance.randrange(1, 40))
    ended = Ended(number, stop_wh, work.now, reason, tag)
    transactions.end(work, [(place, ended)])
    return stop_wh


def _seed_of(seed: int, identity: str) -> int:
    """Return the seed of one charger's life; the same in every run."""
    return random.Random(f"{seed}/{identity}").getrandbits(31)


async def _wait_for_a_person(runner: Runner, connector: int, clock: SimulatedClock) -> None:
    """Keep a car plugged in; it charges when somebody at the portal starts it, and leaves once stopped."""
    ended_s = 0.0
    while True:
        await clock.sleep(CAR_LOOKS_S)
        state = runner.machine.snapshot()["connectors"][connector - 1]["status"]
        if state == "Available":
            runner.act(lambda machine, now: machine.plug(connector, PATIENT_CAR, now))
        ended_s = ended_s + CAR_LOOKS_S if state == "Finishing" else 0.0
        if ended_s >= CAR_STAYS_S:
            runner.act(lambda machine, now: machine.unplug(connector, now))
            ended_s = 0.0


def _runner(one: Nameplate, ports: app.Ports, seed: int, clock: SimulatedClock) -> Runner:
    machine = VirtualCharger(one, _seed_of(seed, one.identity), clock.now())
    return Runner(
        machine,
        f"ws://127.0.0.1:{ports.ocpp}/ocpp",
        CHARGER_PASSWORD,
        clock,
        lambda _line: None,
        tls_url=f"wss://localhost:{ports.ocpp_tls}/ocpp" if ports.ocpp_tls else "",
    )


async def _live(ctx: Context, people: People, ports: app.Ports, seed: int, speed: float) -> None:
    """Run the virtual chargers with their cars and drivers, and let people do something with them."""
    clock = SimulatedClock(ctx.clock)
    runners: dict[str, Runner] = {}
    async with asyncio.TaskGroup() as group:
        for scene in SCENES:
            tags = tuple(tag for _, tag in scene.cards)
            for one in scene.chargers:
                runner = runners[one.identity] = _runner(one, ports, seed, clock)
                group.create_task(runner.run())
                for connector in runner.machine.connectors:
                    place = (one.identity, connector)
                    if place in WAITING_CARS:
                        group.create_task(_wait_for_a_person(runner, connector, clock))
                    elif place not in QUIET:
                        steps = life(f"{seed}/{one.identity}/{connector}", tags, GAP_S / speed, STAY_S)
                        group.create_task(live(runner, connector, steps, clock))
        waiting = _runner(plate("VY-NEW-01", "Zaptec", "Go 2"), ports, seed, clock)
        group.create_task(waiting.run())
        ids: Mapping[str, str] = await ctx.db.read(ACTOR, showcase.ids_of, tuple(runners))
        async with demo_operators.offices(ctx, people.installer, ids):
            await showcase.play(Stage(ctx, people, ids, runners))
            await asyncio.Event().wait()


async def _first(*waiting: asyncio.Future[Any]) -> None:
    """Wait until the first of these is done."""
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def free_port(wanted: int) -> int:
    """Return this port of the machine itself if nobody has it, else one that is free; 0 stays 0."""
    if not wanted:
        return 0
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as tried:
                found: int = tried.getsockname()[1]
                return found
        except OSError:
            continue
    return 0


def _program() -> str:
    """Return how this program was called, since it need not be on the path."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "voltyard" else "voltyard"


def _tell(settings: Settings, ports: app.Ports) -> None:
    over_tls = (
        f"\n            wss://localhost:{ports.ocpp_tls}/ocpp/IDENTITY, trusting what this prints:"
        f"\n            {_program()} charger root --data {settings.data}"
        if ports.ocpp_tls
        else ""
    )
    print(
        f"""
  Voltyard is running.

  Portal    http://localhost:{ports.http}
  API       http://localhost:{ports.http}/api/v1/docs
  Letters   http://localhost:{ports.http}/inbox, where what would be sent by e-mail is kept
  Chargers  ws://localhost:{ports.ocpp}/ocpp/IDENTITY{over_tls}

  Log in as                                          password
    installer     installer@voltyard.example         {PASSWORD}
    end user      sanne@voltyard.example             {PASSWORD}
    operator      operator@voltyard.example          {PASSWORD}

  A car waits at VY-HOME-01, VY-OFFICE-01 and VY-PUBLIC-02: start it, watch it, stop it.
  A charger waits to be claimed: serial number VY-NEW-01, PIN {PIN}.
  Firmware {showcase.NEW_VERSION} waits for {showcase.UPDATABLE}: its tab Firmware and files.
  {showcase.OLD} speaks OCPP badly: Findings. {showcase.SECURE} comes over TLS: Diagnostics.
  {showcase.DRIFTED} was changed by hand: Parameters. {showcase.RESERVED_AT[0]} is reserved: Reservations.
  {demo_operators.TOLD}
  Meters, sun and prices join the demo with their parts of the product.

  Data lies in {settings.data}; Ctrl+C ends all of it.
""",
        flush=True,
    )


def run(settings: Settings, *, seed: int, speed: float) -> None:
    """Run the demo until Ctrl+C; its folder is emptied first."""
    if (settings.data / "voltyard.db").exists():
        shutil.rmtree(settings.data)
    # Its operators live on this machine.
    settings = settings.model_copy(update={"operator_private_networks": PrivateNetworks.ALLOW}).keeping_mail()
    if "public_url" not in settings.model_fields_set:
        # Its chargers fetch and leave files there.
        settings = settings.model_copy(update={"public_url": f"http://localhost:{settings.http_port}"})

    async def main() -> None:
        asked, stop = asyncio.Event(), asyncio.Event()
        app.stop_on_signals(asked)
        await app.upgrade(settings)
        async with app.parts(settings) as ctx:
            people = await build(ctx, seed)
        started: asyncio.Future[tuple[app.Ports, Context]] = asyncio.get_running_loop().create_future()
        ending = asyncio.ensure_future(asked.wait())
        serving = asyncio.ensure_future(
            app.serve(settings, ready=lambda ports, ctx: started.set_result((ports, ctx)), stop=stop)
        )
        await _first(serving, started, ending)
        living: asyncio.Future[None] | None = None
        if started.done() and not serving.done():
            ports, ctx = await started
            living = asyncio.ensure_future(_live(ctx, people, ports, seed, speed))
            _tell(settings, ports)
            await _first(serving, living, ending)
            # The chargers go first: nobody knocks at a door that is being closed.
            living.cancel()
            await asyncio.wait([living])
        ending.cancel()
        stop.set()
        await serving
        if living is not None and not living.cancelled() and living.exception() is not None:
            await living

    app.run(main, settings)

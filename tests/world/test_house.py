"""A hundred virtual chargers at a time talk to the real desk and rooms; each remembers what it has charged.

The network loses, doubles, spoils and delays frames; sockets break between a commit and its answer; the
desk dies before or after a commit. When all is said, what is stored is what the chargers remember.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from tests.factories import SYSTEM, make_card, make_charger, make_location
from tests.fixtures import context
from tests.world.wire import JUNK, ORIGINS, PRIORITIES, Socket, asks, disturb, hold, seeds
from voltyard.cards import service as cards
from voltyard.central.desk import ACTOR, hear
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import TooMany
from voltyard.kernel.settings import Settings
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import dialect
from voltyard.sim.car import Car
from voltyard.sim.charger import Disconnect, Effect, Reboot, Send, VirtualCharger
from voltyard.sim.envelope import Payload
from voltyard.sim.outbox import Transaction
from voltyard.sim.station import Nameplate
from voltyard.speech import Heard, Reply, Said
from voltyard.transactions.tables import orphan_stops, samples, transactions

PART = 200
HOUSEHOLD = 100
CARDS = ("CARD1", "CARD1", "CARD1", "LOST", "STRANGER")
CAR = Car(limit_a=16, battery_wh=60_000, soc=0.3, ramp_a_per_s=16)


class DeskDied(Exception):
    """The desk died before its commit."""


@dataclass
class Memory:
    """What a charger remembers of one transaction."""

    start: Payload
    stop: Payload | None = None
    registers: dict[datetime, float] = field(default_factory=dict)


@dataclass
class Waiting:
    """A saying on its way to the desk, and the socket that waits for its reply, if any does."""

    heard: Heard
    said: Said
    socket: Socket | None


class Guest:
    """One charger of the house and its connections, one after the other."""

    def __init__(self, seed: int, charger_id: str, clock: FakeClock) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.charger_id = charger_id
        self.clock = clock
        self.last_at = clock.now()
        plate = Nameplate("H", connectors=self.rng.choice((1, 1, 2)), call_timeout_s=25, boot_s=3)
        self.charger = VirtualCharger(plate, seed, clock.now())
        self.station = self.charger._station
        # What it has charged it never gives up, and some let anybody charge while they are alone.
        self.station.keys.set_count("TransactionMessageAttempts", 1_000)
        self.station.keys.change("AllowOfflineTxForUnknownId", self.rng.choice(("true", "false")))
        self.station.keys.change("MeterValueSampleInterval", self.rng.choice(("0", "45", "60")))
        self.memories: dict[Transaction, Memory] = {}
        self.asks = asks(self.rng, 1)
        self.asked = 0
        self.sockets = 0
        self.socket: Socket | None = None
        self.rate = self.rng.choice((0.0, 0.03, 0.12))
        self.late: list[Heard] = []
        self.connect()

    # both ends

    def at(self) -> datetime:
        """Return the time; a charger does one thing after the other, a millisecond apart at the least."""
        self.last_at = max(self.clock.now(), self.last_at + timedelta(milliseconds=1))
        return self.last_at

    def connect(self) -> None:
        if self.socket is None and self.charger.may_connect:
            self.socket = Socket(self.sockets)
            self.sockets += 1
            self.do(self.charger.connected(self.at()))

    def lose(self) -> None:
        """Cut the connection; what was under way may still be heard, later."""
        socket, self.socket = self.socket, None
        if socket is None:
            return
        now = self.clock.monotonic()
        while socket.up and self.rng.random() < 0.5 and not socket.is_closed:
            socket.deliver(now)
            if socket.handed_up is not None:
                break
        waiting = self.understood(socket) if socket.handed_up is not None else None
        if waiting is not None:
            self.late.append(waiting.heard)
        socket.close(now)
        self.do(self.charger.disconnected(self.at()))

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the charger wants, and write down what it now remembers."""
        for effect in effects:
            match effect:
                case Send(text) if self.socket is not None:
                    self.socket.up.append(text.encode())
                case Disconnect() | Reboot():
                    self.lose()
        for saying in self.station.outbox.lasting:
            transaction, payload = saying.transaction, saying.payload
            assert transaction is not None
            match saying.action:
                case "StartTransaction":
                    self.memories.setdefault(transaction, Memory(payload))
                case "StopTransaction":
                    self.memories[transaction].stop = payload
                case "MeterValues":
                    for value in payload["meterValue"]:
                        at = datetime.fromisoformat(value["timestamp"])
                        for sample in value["sampledValue"]:
                            if sample["measurand"] == "Energy.Active.Import.Register":
                                self.memories[transaction].registers[at] = float(sample["value"])

    def understood(self, socket: Socket) -> Waiting | None:
        """Read the call that was handed up, as the exchange does."""
        call = socket.handed_up
        assert isinstance(call, Call)
        said = dialect.read(call, [])
        if isinstance(said, dialect.Malformed):
            socket.refuse(said.code, self.clock.monotonic())
            return None
        heard = Heard(
            self.charger_id,
            f"soc_{self.seed}_{self.sockets}",
            call.id_raw.decode("utf-8", "replace").strip('"'),
            call.action,
            call.payload.decode("utf-8", "replace"),
            said,
        )
        return Waiting(heard, said, socket)

    # one round

    def round(self, *, is_calm: bool) -> list[Waiting]:
        """Let some things happen until a call waits for the desk; return what the desk is to hear."""
        now = self.clock.monotonic()
        if self.socket is not None:
            self.socket.tick(now)
        self.do(self.charger.tick(self.at()))
        if not is_calm:
            self.happen()
        self.connect()
        found = [
            Waiting(heard, heard.said, None) for heard in self.late if is_calm or self.rng.random() < 0.4
        ]
        for each in found:
            self.late.remove(each.heard)
        found += self.deliver(0.0 if is_calm else self.rate)
        return found

    def deliver(self, rate: float) -> Iterator[Waiting]:
        """Let frames arrive until nothing is left, or the desk is asked."""
        for _ in range(40):
            socket = self.socket
            if socket is None:
                return
            if socket.is_closed:
                self.lose()
                return
            disturb(self.rng, socket.down, rate)
            disturb(self.rng, socket.up, rate)
            if socket.down:
                text = socket.down.popleft().decode("utf-8", "replace")
                self.do(self.charger.received(text, self.at()))
            elif socket.handed_up is not None:
                waiting = self.understood(socket)
                if waiting is not None:
                    yield waiting
                    return
            elif socket.up:
                socket.deliver(self.clock.monotonic())
            else:
                return

    def happen(self) -> None:
        """Let somebody do something."""
        at = self.at()
        connector = self.rng.choice(self.charger.connectors)
        match self.rng.choices(
            ("nothing", "plug", "swipe", "unplug", "power cut", "cut", "junk", "ask"),
            (30, 12, 14, 6, 1, 3, 3, 3),
        )[0]:
            case "plug":
                self.do(self.charger.plug(connector, CAR, at))
            case "swipe":
                self.do(self.charger.swipe(self.rng.choice(CARDS), self.rng.choice((None, connector)), at))
            case "unplug":
                self.do(self.charger.unplug(connector, at))
            case "power cut":
                self.do(self.charger.power_cut(self.rng.choice((1, 60)), at))
            case "cut":
                self.lose()
            case "junk" if self.socket is not None:
                self.socket.up.append(self.rng.choice(JUNK))
            case "ask" if self.socket is not None:
                self.ask(self.socket)

    def ask(self, socket: Socket) -> None:
        action, payload = dialect.write(next(self.asks))
        self.asked += 1
        with suppress(TooMany):
            socket.ask(
                self.asked,
                action,
                payload,
                self.clock.monotonic(),
                priority=self.rng.choice(PRIORITIES),
                origin=self.rng.choice(ORIGINS),
                timeout_s=30.0,
            )

    def replied(self, waiting: Waiting, reply: Reply) -> None:
        """Answer what the desk has decided, unless that socket is gone."""
        socket = waiting.socket
        if socket is None or socket is not self.socket or socket.handed_up is None:
            return
        socket.answer(dialect.answer(waiting.said, reply), self.clock.monotonic())
        if self.rng.random() < self.rate / 4:
            # The answer is lost with its connection: the charger says everything again.
            self.lose()

    # the end

    def go_home(self) -> None:
        """End whatever charges."""
        self.do(self.charger.restore_network(self.at()))
        for connector in self.charger.connectors:
            self.do(self.charger.unplug(connector, self.at()))
        self.station.end_all("Local")
        self.do(self.charger.tick(self.at()))

    @property
    def is_quiet(self) -> bool:
        """Whether everything was said and answered."""
        socket = self.socket
        return (
            socket is not None
            and not (socket.up or socket.down or self.late)
            and socket.handed_up is None
            and self.station.is_accepted
            and not self.station.outbox.lasting
        )

    def judge(self, rows: list[Any], told: dict[int, dict[datetime, float]], orphans: list[Any]) -> None:
        """Compare what is stored with what the charger remembers."""
        if self.socket is not None:
            self.socket.judge_rest()
            self.lose()
        stored = {(row.connector, row.start_told_at, row.id_tag): row for row in rows}
        hold(len(stored) == len(rows), "a transaction is stored twice")
        hold(len(rows) == len(self.memories), f"{len(self.memories)} were charged, {len(rows)} are stored")
        hold(not orphans, f"stops without a transaction: {orphans}")
        for transaction, memory in self.memories.items():
            began = datetime.fromisoformat(memory.start["timestamp"])
            row = stored.get((transaction.connector, began, transaction.id_tag))
            hold(row is not None, f"lost: {memory}")
            assert row is not None
            hold(memory.stop is not None, "the charger has forgotten to stop")
            assert memory.stop is not None
            ended = datetime.fromisoformat(memory.stop["timestamp"])
            wanted = (transaction.number, memory.start["meterStart"], memory.stop["meterStop"])
            hold((row.number, row.meter_start_wh, row.meter_stop_wh) == wanted, f"{row} is not {wanted}")
            hold(
                row.stop_reason == memory.stop["reason"], f"{row.stop_reason} is not {memory.stop['reason']}"
            )
            hold((row.started_at, row.ended_at) == (began, ended), f"{row} is not {began} to {ended}")
            hold(not row.is_estimated and not row.is_start_estimated, f"estimated: {row}")
            found = told.get(row.number, {})
            missing = memory.registers.items() - found.items()
            hold(not missing, f"readings of {row.number} that are not stored so: {sorted(missing)}")


class House:
    """A database with chargers at one location, used by one household of guests after the other."""

    def __init__(self, ctx: Context, clock: FakeClock, charger_ids: list[str]) -> None:
        self.ctx = ctx
        self.clock = clock
        self.charger_ids = charger_ids

    async def hear(self, waiting: list[Waiting], rng: random.Random, guests: dict[str, Guest]) -> None:
        """Have the desk hear these in one batch; now and then it dies of it."""
        if not waiting:
            return
        fate = rng.random()

        def work(work: Work) -> list[Any]:
            replies = hear(work, [each.heard for each in waiting])
            if fate < 0.02:
                raise DeskDied
            return replies

        try:
            replies = await self.ctx.db.work(ACTOR, work)
        except DeskDied:
            for each in waiting:
                # Nothing is stored, nothing is answered: the socket closes.
                guests[each.heard.charger_id].lose()
            return
        for each, replied in zip(waiting, replies, strict=True):
            if fate < 0.04:
                guests[each.heard.charger_id].lose()
            else:
                guests[each.heard.charger_id].replied(each, replied.replied.reply)

    async def entertain(self, seed: int, count: int) -> int:
        """Have so many guests, with seeds from this one on; return how many transactions they made."""
        rng = random.Random(seed)
        self.clock.advance(3_600)
        before = await self.ctx.db.read(
            SYSTEM, lambda work: work.value(sa.select(sa.func.max(transactions.c.number)))
        )
        guests = [
            Guest(seed + place, charger_id, self.clock)
            for place, charger_id in enumerate(self.charger_ids[:count])
        ]
        by_id = {guest.charger_id: guest for guest in guests}
        for number in range(45):
            self.clock.advance(rng.choice((0.5, 3, 11, 20, 40)))
            if number % 3 == 0:
                # Mostly they talk without much time going by.
                self.clock.advance(rng.choice((5, 60)))
            await self.hear([each for guest in guests for each in guest.round(is_calm=False)], rng, by_id)
        for guest in guests:
            guest.go_home()
        for _ in range(400):
            self.clock.advance(7)
            await self.hear([each for guest in guests for each in guest.round(is_calm=True)], rng, by_id)
            if all(guest.is_quiet for guest in guests):
                break
        await self.judge(guests, before or 0)
        return sum(len(guest.memories) for guest in guests)

    async def judge(self, guests: list[Guest], before: int) -> None:
        def look(work: Work) -> tuple[Any, Any, Any]:
            return (
                work.rows(sa.select(transactions).where(transactions.c.number > before)),
                work.rows(sa.select(samples).where(samples.c.number > before)),
                work.rows(sa.select(orphan_stops)),
            )

        rows, sampled, orphans = await self.ctx.db.read(SYSTEM, look)
        told: dict[int, dict[datetime, float]] = {}
        for sample in sampled:
            told.setdefault(sample.number, {})[sample.at] = sample.energy_wh
        wrong: list[str] = []
        for guest in guests:
            try:
                hold(guest.is_quiet, "after a long time something is still unsaid")
                guest.judge(
                    [row for row in rows if row.charger_id == guest.charger_id],
                    told,
                    [row for row in orphans if row.charger_id == guest.charger_id],
                )
            except AssertionError as why:
                wrong.append(f"guest {guest.seed}: {why}")
        assert not wrong, "; ".join((*wrong, f"replay it with: make world SEED={guests[0].seed}"))


@pytest_asyncio.fixture
async def house(sqlite_url: str, settings: Settings, bus: LocalBus) -> AsyncIterator[House]:
    clock = FakeClock()
    async for ctx in context(sqlite_url, clock, bus, settings):
        location = await make_location(ctx)
        await make_card(ctx, location.id, id_tag="CARD1")
        lost = await make_card(ctx, location.id, id_tag="LOST")
        await ctx.db.work(SYSTEM, cards.change, lost.id, is_blocked=True)
        chargers = [await make_charger(ctx, location.id) for _ in range(HOUSEHOLD)]
        yield House(ctx, clock, [charger.id for charger in chargers])


HOUSEHOLDS = seeds(PART)[::HOUSEHOLD]
SHARE = 2


@pytest.mark.parametrize("first", HOUSEHOLDS[::SHARE], ids=lambda first: f"from seed {first}")
async def test_what_chargers_remember_is_stored_once(house: House, first: int):
    at = HOUSEHOLDS.index(first)
    made = 0
    for seed in HOUSEHOLDS[at : at + SHARE]:
        made += await house.entertain(seed, HOUSEHOLD)
    assert made > HOUSEHOLD // 2

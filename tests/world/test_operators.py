"""Several operators at one charger, each with a will of its own, on the real rooms and a database.

The charger says sessions; the operators answer late, wrongly, with errors or never, hang up, ask for what
they may and may not; the platform forgets everything but what is stored, at any moment. Time is a number.
After every step: no operator has heard of a number that it did not give, and Data & Control has started or
stopped nothing. In the end, when all operators behave, each has been told everything, in order, once.
"""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import SYSTEM, make_card, make_charger, make_location, place_of
from tests.world.wire import hold, seeds
from voltyard.central.desk import ACTOR, hear
from voltyard.chargers import service as chargers
from voltyard.kernel.context import Context
from voltyard.lines import records, telling
from voltyard.lines.line import manner_of
from voltyard.lines.requests import Requests
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import dialect
from voltyard.operators import deliveries, limits, profiles, serving
from voltyard.operators import service as operators
from voltyard.operators.events import Compose
from voltyard.operators.profiles import Held
from voltyard.operators.service import Wanted
from voltyard.operators.serving import Record, Serving
from voltyard.proxy import standin
from voltyard.proxy.standin import StandIn, State
from voltyard.speech import (
    Answer,
    Asked,
    ConnectorStatus,
    Fallback,
    Heard,
    Role,
    SetLimit,
    StartCharging,
    StatusTold,
    StopCharging,
    Told,
)

PART = 12
SEEDS_MAX = 500
"""One of these takes half a second: `make world` runs so many."""
STEPS = 160
CARD = "CARD1"
ROLES = (Role.BILLING, Role.DATA_CONTROL, Role.DATA_CONTROL, Role.OBSERVER)


class Office:
    """An operator's back office; well-behaved or not, it knows again what it was told before."""

    def __init__(self, link_id: str, role: Role, first: int, rng: random.Random) -> None:
        self.link_id, self.role, self.rng = link_id, role, rng
        self.number = first
        self.is_good = False
        self.given: set[int] = set()
        self.starts: dict[str, int] = {}
        self.order: list[tuple[str, str]] = []
        self.ids = 0

    def answers(self, frame: list[Any]) -> tuple[str, int] | None:
        """Take in a call of the stand-in; return the answer and after how many steps it comes, if it does."""
        _, message_id, action, payload = frame
        number = payload.get("transactionId")
        hold(number is None or number in self.given, f"{self.role} was told {number}, which it never gave")
        chance = 1.0 if self.is_good else self.rng.random()
        delay = 0 if self.is_good else self.rng.choice((0, 0, 0, 1, 4))
        if chance < 0.08:
            return None
        if chance < 0.16 and action != "BootNotification":
            return json.dumps([4, message_id, "InternalError", "", {}]), delay
        if chance < 0.2 and action == "StartTransaction":
            return json.dumps([3, message_id, {"nonsense": True}]), delay
        answer: dict[str, Any] = {}
        if action == "BootNotification":
            words = ("Accepted", "Accepted", "Accepted", "Pending", "Rejected")
            status = "Accepted" if self.is_good else self.rng.choice(words)
            answer = {"status": status, "currentTime": "2026-01-01T00:00:00Z", "interval": 300}
        if action == "StartTransaction":
            key = payload["timestamp"]
            if key not in self.starts:
                self.starts[key] = self.number
                self.given.add(self.number)
                self.number += self.rng.randint(1, 5)
                self.order.append(("start", key))
            verdict = self.rng.choice(("Accepted", "Accepted", "Invalid"))
            answer = {"transactionId": self.starts[key], "idTagInfo": {"status": verdict}}
        if action == "StopTransaction" and ("stop", payload["timestamp"]) not in self.order:
            self.order.append(("stop", payload["timestamp"]))
        return json.dumps([3, message_id, answer]), delay

    def ask(self) -> str:
        """Ask for something, allowed or not."""
        self.ids += 1
        known = self.rng.choice([*self.given, 4_711]) if self.given else 4_711
        amps = self.rng.choice((6.0, 8.5, 10.0, 16.0, 32.0))
        profile = {
            "chargingProfileId": 1,
            "stackLevel": self.rng.randint(0, 2),
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {
                "chargingRateUnit": "A",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": amps}],
            },
        }
        action, payload = self.rng.choice(
            (
                ("RemoteStartTransaction", {"idTag": CARD, "connectorId": 1}),
                ("RemoteStopTransaction", {"transactionId": known}),
                ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profile}),
                ("ClearChargingProfile", {}),
                ("GetConfiguration", {}),
                ("Reset", {"type": "Soft"}),
                ("Nonsense", {}),
            )
        )
        return json.dumps([2, str(self.ids), action, payload])


@dataclass
class Line:
    """A line without a socket: it carries out a stand-in's effects against the database, step by step."""

    world: World
    office: Office
    stand_in: StandIn | None = None
    inbound: deque[tuple[int, str]] = field(default_factory=deque)
    todo: deque[standin.Effect] = field(default_factory=deque)
    early: int = 0

    @property
    def now(self) -> float:
        return self.world.ctx.clock.monotonic()

    async def open(self) -> None:
        ctx = self.world.ctx
        link = await self.link()
        situation = await ctx.db.read(serving.ACTOR, serving.situation, link)
        self.inbound.clear()
        self.todo.clear()
        self.early += 1
        self.stand_in = StandIn(
            manner_of(link),
            cursor=link.cursor,
            attached=link.attached_number,
            message_ids=link.id[-12:],
            prefix=f"{link.id[-8:]}{self.early:06x}-",
            jitter=0.5,
            blocked=tuple(link.blocked),
            latest=[records.saying(said) for said in situation.latest],
        )
        told = telling.statuses(situation.facts, ctx.clock.now())
        self.carry(self.stand_in.opened(telling.boot(situation.facts), told, situation.number, self.now))

    def carry(self, effects: Any) -> None:
        self.todo.extend(effects)

    def drop(self) -> None:
        self.stand_in = None
        self.inbound.clear()
        self.todo.clear()

    async def settle(self) -> None:
        """Carry out all that is to do."""
        while self.todo and self.stand_in is not None:
            await self.do(self.todo.popleft(), self.stand_in)

    async def do(self, effect: standin.Effect, stand_in: StandIn) -> None:
        ctx, link_id = self.world.ctx, self.office.link_id
        match effect:
            case standin.Send(data):
                frame = json.loads(data)
                if frame[0] == 2:
                    if stand_in.state is not State.ONLINE:
                        hold(frame[2] == "BootNotification", f"{frame[2]} before the boot was accepted")
                    answered = self.office.answers(frame)
                    if answered is not None:
                        self.inbound.append((answered[1], answered[0]))
            case standin.Close():
                self.drop()
            case standin.Want(after):
                wish = serving.Wish(self.world.charger_id, after, stand_in.knows)
                fed, _ = await ctx.db.read(serving.ACTOR, serving.feed, {link_id: wish}, limit=7)
                found = fed[link_id]
                sayings = [records.saying(said) for said in found.said]
                self.carry(stand_in.fed(sayings, records.ties(found.known), self.now, is_all=found.is_all))
            case standin.WantOwed():
                owed, known = await ctx.db.read(serving.ACTOR, serving.list_owed, link_id)
                rows = records.owed(owed, ctx.clock.now())
                self.carry(stand_in.owe(rows, records.ties(known), self.now))
            case standin.Told(report):
                before = await self.link()
                record = records.record(before, report, ctx.clock.now(), is_awaited=True)
                await ctx.db.work(serving.ACTOR, serving.record, [record])
                hold((await self.link()).cursor >= before.cursor, "a cursor moved back")
                self.carry(stand_in.stored(self.now))
            case standin.Moved(cursor):
                await ctx.db.work(
                    serving.ACTOR, serving.record, [Record(link_id, self.world.charger_id, cursor)]
                )
            case standin.Requested(call):
                await self.requested(call, stand_in)

    async def link(self) -> Serving:
        link = await self.world.ctx.db.read(serving.ACTOR, serving.find, self.office.link_id)
        assert link is not None
        return link

    async def requested(self, call: Call, stand_in: StandIn) -> None:
        link = await self.link()
        self.world.asking = self.office.role
        done = await self.world.requests.carry_out(link, stand_in, call, self.carry)
        self.world.asking = None
        if done.error:
            self.carry(stand_in.refuse(call, done.error, done.description, self.now))
        else:
            self.carry(stand_in.answer(call, done.answer, self.now))

    async def step(self) -> None:
        """Let one thing that is on its way arrive."""
        if self.stand_in is None or not self.inbound:
            return
        delay, text = self.inbound.popleft()
        if delay > 0:
            self.inbound.append((delay - 1, text))
            return
        self.carry(self.stand_in.received(text.encode(), self.now))
        await self.settle()


class World:
    """A charger, its operators, and a clock."""

    def __init__(self, ctx: Context, charger_id: str, rng: random.Random) -> None:
        self.ctx, self.charger_id, self.rng = ctx, charger_id, rng
        self.lines: list[Line] = []
        self.requests = Requests(ctx)
        self.asking: Role | None = None
        self.sent: dict[int, SetLimit] = {}
        self.script: deque[tuple[str, dict[str, Any]]] = deque()
        self.number = 0
        self.meter_wh = 1_000
        self.order: list[tuple[str, str]] = []
        self.ids = 0

    async def hear_asked(self, asked: Asked) -> Told:
        """Be the charger that is asked."""
        if isinstance(asked.ask, StartCharging | StopCharging):
            hold(self.asking is Role.BILLING, f"{self.asking} had the charger start or stop")
        if isinstance(asked.ask, SetLimit):
            await self.check_limit(asked.ask)
        return Told(Answer(True, "Accepted", '{"status":"Accepted"}'), type(asked.ask).__name__, "{}")

    async def check_limit(self, limit: SetLimit) -> None:
        """See that a composed limit is never above any of its parts."""
        if limit.connector == 0:
            return
        assert limit.starts_at is not None
        for line in self.lines:
            if line.office.role is Role.OBSERVER:
                continue
            held: tuple[Held, ...] = await self.ctx.db.read(
                SYSTEM, lambda work, link=line.office.link_id: limits._held(work, link)
            )
            for period in limit.periods:
                at = limit.starts_at + timedelta(seconds=period.start_s)
                part = profiles.limit_at(held, limit.connector, at, running=None, phases=3)
                hold(
                    part is None or period.limit_a is None or period.limit_a <= part + 0.05,
                    f"composed {period.limit_a} above {part}",
                )

    def stamp(self) -> str:
        return self.ctx.clock.now().isoformat().replace("+00:00", "Z")

    async def say(self) -> None:
        """Let the charger say the next thing of its sessions, sometimes twice."""
        if not self.script:
            self.script.extend(
                ("StatusNotification" if each == "s" else each, {}) for each in
                ("s", "StartTransaction", "s", "MeterValues", "MeterValues", "StopTransaction", "s")
            )  # fmt: skip
        action, _ = self.script.popleft()
        at = self.stamp()
        self.meter_wh += self.rng.randint(1, 300)
        payload: dict[str, Any] = {
            "StatusNotification": {
                "connectorId": 1, "status": "Charging", "errorCode": "NoError", "timestamp": at,
            },
            "StartTransaction": {
                "connectorId": 1, "idTag": CARD, "meterStart": self.meter_wh, "timestamp": at,
            },
            "MeterValues": {
                "connectorId": 1,
                "transactionId": self.number,
                "meterValue": [{"timestamp": at, "sampledValue": [{"value": str(self.meter_wh)}]}],
            },
            "StopTransaction": {
                "transactionId": self.number, "meterStop": self.meter_wh, "timestamp": at, "reason": "Local",
            },
        }[action]  # fmt: skip
        if action == "StartTransaction":
            self.order.append(("start", at))
        if action == "StopTransaction":
            self.order.append(("stop", at))
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            await self.heard(action, json.dumps(payload))
        self.ctx.clock.advance(self.rng.choice((0.5, 2.0, 5.0)))

    async def heard(self, action: str, payload: str) -> None:
        self.ids += 1
        call = Call(f'"{self.ids}"'.encode(), action, payload.encode())
        said = dialect.read(call, [])
        assert not isinstance(said, dialect.Malformed), said
        one = Heard(self.charger_id, "soc_1", str(self.ids), action, payload, said)
        (handled,) = await self.ctx.db.work(ACTOR, hear, [one])
        if action == "StartTransaction":
            self.number = handled.replied.reply.number
        for line in self.lines:
            if line.stand_in is not None:
                line.carry(line.stand_in.woken(line.now))

    async def step(self) -> None:
        line = self.rng.choice(self.lines)
        what = self.rng.random()
        if what < 0.3:
            await self.say()
        elif what < 0.36:
            line.drop()
        elif what < 0.38:
            for each in self.lines:  # the platform dies: what is not stored is gone
                each.drop()
        elif what < 0.5 and line.stand_in is None:
            await line.open()
        elif what < 0.56 and line.stand_in is not None and line.stand_in.state is State.ONLINE:
            line.carry(line.stand_in.received(line.office.ask().encode(), line.now))
        elif what < 0.6:
            await limits.compose(self.ctx, Compose(self.charger_id))
        elif what < 0.7:
            self.ctx.clock.advance(self.rng.choice((1.0, 31.0, 61.0)))
            for each in self.lines:
                if each.stand_in is not None:
                    each.carry(each.stand_in.tick(each.now))
        else:
            await line.step()
        for each in self.lines:
            await each.settle()

    async def end_well(self) -> None:
        """Let everybody behave until each operator knows everything."""
        while self.script:
            await self.say()
        for line in self.lines:
            line.office.is_good = True
            if line.stand_in is None:
                await line.open()
            parked = await self.ctx.db.read(
                SYSTEM,
                deliveries.list_deliveries,
                line.office.link_id,
                statuses=[deliveries.DeliveryStatus.PARKED],
                limit=100,
            )
            for each in parked:
                await self.ctx.db.work(SYSTEM, deliveries.retry, line.office.link_id, each.number)
        for _ in range(3_000):
            for line in self.lines:
                if line.stand_in is None:
                    await line.open()
                await line.settle()
                await line.step()
            if all([await self.is_told(line) for line in self.lines]):
                return
            if not any(line.inbound for line in self.lines):
                self.ctx.clock.advance(30.0)
                for line in self.lines:
                    if line.stand_in is not None:
                        line.carry(line.stand_in.tick(line.now))
                        line.carry(line.stand_in.woken(line.now))
        raise AssertionError("an operator that behaves was not told everything")

    async def is_told(self, line: Line) -> bool:
        if line.stand_in is None or not line.stand_in.is_drained:
            return False
        owed, _ = await self.ctx.db.read(serving.ACTOR, serving.list_owed, line.office.link_id)
        return not owed and len(line.office.order) == len(self.order)


def check_order(heard: list[tuple[str, str]], told: list[tuple[str, str]]) -> None:
    """See that everything was heard once, each stop after its start; a refusal may delay a transaction."""
    hold(sorted(heard) == sorted(told), f"{heard} is not {told}")
    starts = [each for each in told if each[0] == "start"]
    stops = [each for each in told if each[0] == "stop"]
    for start, stop in zip(starts, stops, strict=False):
        hold(heard.index(start) < heard.index(stop), f"{stop} came before {start}")


async def play(ctx: Context, seed: int) -> None:
    rng = random.Random(seed)
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag=CARD)
    charger = await make_charger(ctx, location.id)
    status = [(place_of(charger), StatusTold(1, ConnectorStatus.AVAILABLE))]
    await ctx.db.work(SYSTEM, chargers.tell_status, status)
    world = World(ctx, charger.id, rng)
    served = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, world.hear_asked)
    for index, role in enumerate(rng.sample(ROLES, rng.randint(1, len(ROLES)))):
        if role is Role.BILLING and any(line.office.role is Role.BILLING for line in world.lines):
            continue
        wanted = Wanted(name=f"O{index}", url="wss://example.com", role=role, fallback=Fallback.ALL)
        link = await ctx.db.work(SYSTEM, operators.connect, charger.id, wanted, ctx.settings)
        world.lines.append(Line(world, Office(link.id, role, 1 + 1_000 * index, rng)))
    try:
        for _ in range(STEPS):
            await world.step()
        await world.end_well()
        for line in world.lines:
            check_order(line.office.order, world.order)
    except AssertionError as wrong:
        raise AssertionError(f"seed {seed}: {wrong}") from wrong
    finally:
        await served.stop()


@pytest.mark.timeout(600)
async def test_operators_with_a_will_of_their_own_are_told_everything_once_and_in_order(sqlite_ctx):
    for seed in seeds(PART)[:SEEDS_MAX]:
        await play(sqlite_ctx, seed)

"""Random conversations of a virtual charger with a session and the dialect: no database, no sockets."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.world.wire import JUNK, ORIGINS, PRIORITIES, Broken, Socket, asks, disturb, hold, seeds
from voltyard.kernel.errors import TooMany
from voltyard.ocpp.v16 import dialect
from voltyard.sim.car import Car
from voltyard.sim.charger import Disconnect, Effect, Reboot, Send, VirtualCharger
from voltyard.sim.station import Nameplate
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Ask,
    Beat,
    Booted,
    Decided,
    Ended,
    Judged,
    MayCharge,
    Registration,
    Reply,
    Said,
    SigningAsked,
    Started,
    Thanks,
    Ticked,
    VendorReply,
    VendorTold,
    Verdict,
    Welcomed,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PART = 2_000
CAR = Car(limit_a=16, battery_wh=60_000, soc=0.3, ramp_a_per_s=16)


class Conversation:
    """One charger and its connections, one after the other."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        plate = Nameplate("W", connectors=self.rng.choice((1, 1, 2)), call_timeout_s=20)
        self.charger = VirtualCharger(plate, seed, START)
        self.sockets = 0
        self.number = 0
        self.told: dict[object, Ask] = {}
        self.asks = asks(self.rng, 1)
        self.rate = self.rng.choice((0.0, 0.02, 0.1))
        self.old: list[bytes] = []
        self.socket: Socket | None = None
        self.is_polite = self.rng.random() < 0.8
        self.connect()

    @property
    def at(self) -> datetime:
        """The instant that both clocks show."""
        return START + timedelta(seconds=self.now)

    # both ends

    def connect(self) -> None:
        """Open a socket, if the charger has power and a network."""
        if self.socket is None and self.charger.may_connect:
            self.socket = Socket(self.sockets)
            self.sockets += 1
            self.do(self.charger.connected(self.at))

    def lose(self) -> None:
        """Cut the connection; either end notices."""
        if self.socket is None:
            return
        socket, self.socket = self.socket, None
        self.read_answers(socket)
        socket.close(self.now)
        self.old = [*socket.up, *socket.down][:5]
        self.do(self.charger.disconnected(self.at))

    def do(self, effects: list[Effect]) -> None:
        """Carry out what the charger wants."""
        for effect in effects:
            match effect:
                case Send(text) if self.socket is not None:
                    self.socket.up.append(text.encode())
                case Disconnect() | Reboot():
                    self.lose()

    def read_answers(self, socket: Socket) -> None:
        """Understand the charger's answers."""
        for token, payload in socket.answers.items():
            outcome = dialect.read_answer(self.told[token], payload)
            hold(isinstance(outcome, Answer | AnswerRefused), "an answer that means nothing")
        socket.answers.clear()

    def reply(self, said: Said) -> Reply:
        """Decide as some central system might."""
        match said:
            case Booted():
                words = (Registration.ACCEPTED,) * 20 + (Registration.PENDING, Registration.REJECTED)
                return Welcomed(self.rng.choice(words), self.at, 300)
            case Beat():
                return Ticked(self.at)
            case MayCharge():
                return Judged(self.rng.choice((Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.INVALID)))
            case Started():
                self.number += 1
                return Judged(Verdict.ACCEPTED, number=self.number)
            case Ended():
                return Judged()
            case SigningAsked():
                return Decided(is_accepted=False)
            case VendorTold():
                return VendorReply("Accepted")
        return Thanks()

    def judge(self, socket: Socket) -> None:
        """Answer the call that was handed up, as the exchange does."""
        assert socket.handed_up is not None
        flaws: list[str] = []
        said = dialect.read(socket.handed_up, flaws)
        if isinstance(said, dialect.Malformed):
            socket.refuse(said.code, self.now)
        elif self.rng.random() < 0.03:
            socket.refuse("InternalError", self.now)
        else:
            socket.answer(dialect.answer(said, self.reply(said)), self.now)

    # one step

    def step(self) -> None:
        """Let one thing happen."""
        socket = self.socket
        match self.rng.choices(
            ("up", "down", "judge", "ask", "time", "person", "junk", "burst", "cut"),
            (30, 30, 30, 4, 5, 6, 3, 0.4, 0.6),
        )[0]:
            case "up" if socket and socket.up and not (self.is_polite and socket.session.is_inward_full):
                disturb(self.rng, socket.up, self.rate)
                if socket.up:
                    socket.deliver(self.now)
            case "down" if socket and socket.down:
                disturb(self.rng, socket.down, self.rate)
                if socket.down:
                    text = socket.down.popleft().decode("utf-8", "replace")
                    self.do(self.charger.received(text, self.at))
            case "judge" if socket and socket.handed_up:
                self.judge(socket)
            case "ask" if socket:
                self.ask(socket)
            case "time":
                self.pass_time(self.rng.choice((0.1, 1.0, 5.0, 21.0, 31.0, 65.0)))
            case "person":
                self.person()
            case "junk" if socket:
                socket.up.append(self.rng.choice((*JUNK, *self.old)))
            case "burst" if socket:
                socket.up.extend(b'[2,"b%d","Heartbeat",{}]' % number for number in range(20))
                while socket.up and not socket.is_closed and not self.is_polite:
                    socket.deliver(self.now)
            case "cut":
                self.lose()
        if self.socket is not None:
            self.read_answers(self.socket)
            if self.socket.is_closed:
                self.lose()
        self.connect()

    def ask(self, socket: Socket) -> None:
        ask = next(self.asks)
        token = (self.sockets, len(self.told))
        self.told[token] = ask
        action, payload = dialect.write(ask)
        try:
            socket.ask(
                token,
                action,
                payload,
                self.now,
                priority=self.rng.choice(PRIORITIES),
                origin=self.rng.choice(ORIGINS),
                timeout_s=self.rng.choice((1.0, 30.0)),
            )
        except TooMany:
            del self.told[token]

    def pass_time(self, delay_s: float) -> None:
        self.now += delay_s
        if self.socket is not None:
            self.socket.tick(self.now)
        self.do(self.charger.tick(self.at))

    def person(self) -> None:
        connector = self.rng.choice(self.charger.connectors)
        match self.rng.choices(("plug", "swipe", "unplug", "power cut", "button"), (10, 10, 6, 1, 1))[0]:
            case "plug":
                self.do(self.charger.plug(connector, CAR, self.at))
            case "swipe":
                self.do(self.charger.swipe("CARD1", self.rng.choice((None, connector)), self.at))
            case "unplug":
                self.do(self.charger.unplug(connector, self.at))
            case "power cut":
                self.do(self.charger.power_cut(30, self.at))
            case "button":
                self.do(self.charger.press_button(self.at))

    def finish(self) -> None:
        """Let everything arrive, then judge what is left."""
        for _ in range(400):
            socket = self.socket
            if socket is None:
                break
            if socket.handed_up is not None:
                self.judge(socket)
            elif socket.up and not socket.session.is_inward_full:
                socket.deliver(self.now)
            elif socket.down:
                text = socket.down.popleft().decode("utf-8", "replace")
                self.do(self.charger.received(text, self.at))
            else:
                break
            if self.socket is not None and self.socket.is_closed:
                break
        if self.socket is not None:
            self.socket.judge_rest()
        self.lose()

    def run(self) -> int:
        """Talk to the end; return the number of steps."""
        steps = self.rng.randrange(50, 350)
        for _ in range(steps):
            self.step()
        self.finish()
        return steps


# Ranges, so that a worker that dies takes no ten thousand with it, and a seed is quickly found again.
SHARE = 250


@pytest.mark.parametrize("first", seeds(PART)[::SHARE], ids=lambda first: f"from seed {first}")
def test_any_conversation_keeps_the_rules_of_the_wire(first: int):
    for seed in seeds(PART)[first - seeds(PART).start :][:SHARE]:
        try:
            Conversation(seed).run()
        except Exception as wrong:
            rule = str(wrong) if isinstance(wrong, Broken) else repr(wrong)
            raise AssertionError(f"{rule}; replay it with: make world SEED={seed}") from wrong

"""One socket of the world: a session, the frames on their way, and a watcher that trusts neither end."""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from voltyard.ocpp import session as machine
from voltyard.ocpp.frames import Call
from voltyard.ocpp.session import Effects, Session
from voltyard.speech import (
    Ask,
    ByHand,
    CancelReservation,
    ClearLimit,
    ForgetCards,
    GetKeys,
    LimitPeriod,
    LimitPurpose,
    ListedCard,
    ReplaceCards,
    Restart,
    SetAvailability,
    SetKey,
    SetLimit,
    StartCharging,
    StopCharging,
    TellCardsVersion,
    TellComposite,
    TellVendor,
    Trigger,
    Unlock,
    UpdateCards,
    Verdict,
)

SEED = os.environ.get("VOLTYARD_WORLD_SEED")
COUNT = os.environ.get("VOLTYARD_WORLD_COUNT")

_CALL = re.compile(rb'\s*\[\s*"?2"?\s*,\s*("(?:[^"\\]|\\.)*"|[^,\]\s]+)')
_ANSWER = re.compile(rb'\[[34],("(?:[^"\\]|\\.)*"|[^,\]\s]+),')


def seeds(part: int) -> range:
    """Return the seeds to run: one that is asked for, else as many as are asked for, else a part."""
    if SEED is not None:
        return range(int(SEED), int(SEED) + 1)
    return range(int(COUNT) if COUNT is not None else part)


class Broken(AssertionError):
    """A rule of the world does not hold."""


def hold(is_true: object, rule: str) -> None:
    """Say which rule is broken."""
    if not is_true:
        raise Broken(rule)


def is_call(frame: bytes) -> bool:
    """Say whether a frame is a call that nobody could misread."""
    try:
        parts = json.loads(frame)
    except (ValueError, RecursionError):
        return False
    match parts:
        case [2, str(call_id), str(), dict()]:
            return len(call_id) <= 100
    return False


class Socket:
    """The central system's end of one connection, watched."""

    def __init__(self, number: int) -> None:
        self.session = Session(f"w{number}-")
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.handed_up: Call | None = None
        self.is_closed = False
        self.open_id: bytes | None = None
        self.running: set[object] = set()
        self.expired: set[object] = set()
        self.answers: dict[object, bytes] = {}
        self._ids: set[bytes] = set()
        self._delivered: Counter[bytes] = Counter()
        self._answered: Counter[bytes] = Counter()
        self._calls: dict[bytes, set[bytes]] = {}
        self._order: list[Any] = []
        self._order_before = 0
        self._heard_until = -1

    # what happens to the session

    def deliver(self, now: float) -> None:
        """Let the next frame of the charger arrive."""
        frame = self.up.popleft()
        self._order_before = len(self._order)
        found = _CALL.match(frame.removeprefix(b"\xef\xbb\xbf"))
        if found is not None:
            self._delivered[found[1]] += 1
            if is_call(frame):
                self._calls.setdefault(found[1], set()).add(frame)
                self._order.append(json.loads(frame)[1:])
        self.take(self.session.received(frame, now))

    def ask(self, token: object, action: str, payload: bytes, now: float, **more: Any) -> None:
        """Ask the charger. Raises: TooMany."""
        effects = self.session.ask(token, action, payload, now=now, **more)
        self.running.add(token)
        self.take(effects)

    def answer(self, payload: bytes, now: float) -> None:
        """Answer the call that was handed up."""
        self._settle(self.session.answer(self._take_up(), payload, now))

    def refuse(self, code: str, now: float) -> None:
        """Refuse the call that was handed up."""
        self._settle(self.session.refuse(self._take_up(), code, "", now))

    def tick(self, now: float) -> None:
        """Let time pass."""
        self.take(self.session.tick(now))
        wake_at = self.session.wake_at
        hold(wake_at is None or wake_at > now, "a deadline passed unseen")

    def close(self, now: float) -> None:
        """Cut the connection."""
        self.take(self.session.closed(now))
        self.is_closed = True
        self.handed_up = None
        hold(not self.running, "an ask survived its connection")

    # the watcher

    def take(self, effects: Effects) -> None:
        """Carry effects out, and judge them."""
        for effect in effects:
            match effect:
                case machine.Send(data):
                    self._sent(data)
                case machine.Heard(call):
                    self._heard(call)
                case machine.Answered(token, payload):
                    self._ended(token, was_open=True)
                    self.answers[token] = payload
                case machine.AnsweredError(token, _, _):
                    self._ended(token, was_open=True)
                case machine.Expired(token, was_sent):
                    self._ended(token, was_open=was_sent)
                    self.expired.add(token)
                case machine.Dropped(token, why):
                    self._ended(token, was_open=why == machine.UNANSWERED)
                case machine.AnsweredLate(token):
                    hold(token in self.expired, "a late answer to an ask that had not expired")
                    self.expired.remove(token)
                case machine.Close():
                    self.is_closed = True
                case machine.Noted("repeated_call"):
                    # Passed over: it is answered with the call that it repeats.
                    del self._order[self._order_before :]
                case machine.Noted():
                    pass
                case unknown:
                    raise Broken(f"an effect that nobody knows: {unknown}")

    def _sent(self, data: bytes) -> None:
        self.down.append(data)
        parts = json.loads(data)
        hold(len(data) and isinstance(parts, list), "what is sent is an array")
        if parts[0] == 2:
            raw = json.dumps(parts[1]).encode()
            hold(self.open_id is None, "two calls of ours were open")
            hold(raw not in self._ids, "a message id of ours was used twice")
            self._ids.add(raw)
            self.open_id = raw
            return
        found = _ANSWER.match(data)
        hold(found is not None, f"an answer without an id: {data!r}")
        assert found is not None
        self._answered[found[1]] += 1
        hold(self._answered[found[1]] <= self._delivered[found[1]], f"answered too often: {data!r}")

    def _heard(self, call: Call) -> None:
        hold(self.handed_up is None, "two calls of theirs were handed up")
        self.handed_up = call
        said = [json.loads(call.id_raw), call.action, json.loads(call.payload)]
        if said in self._order:  # else it was repaired on the way in
            place = self._order.index(said)
            hold(place > self._heard_until, "calls of theirs were handed up in another order")
            self._order[place] = None
            self._heard_until = place

    def _ended(self, token: object, *, was_open: bool) -> None:
        hold(token in self.running, "an ask ended twice, or was never asked")
        self.running.remove(token)
        if was_open:
            hold(self.open_id is not None, "an answer to no call")
            self.open_id = None

    def _take_up(self) -> Call:
        call = self.handed_up
        assert call is not None
        self.handed_up = None
        return call

    def _settle(self, effects: Effects) -> None:
        answers = [
            effect
            for effect in effects
            if isinstance(effect, machine.Send) and not isinstance(effect, machine.SendAsk)
        ]
        hold(self.is_closed or len(answers) == 1, "a call was not answered once")
        self.take(effects)

    def judge_rest(self) -> None:
        """Once nothing is on its way any more: each call of theirs was answered, or the socket closed."""
        hold(self.is_closed or self.handed_up is None, "a call waits for nobody")
        for raw, frames in self._calls.items():
            hold(
                self.is_closed or self._answered[raw] >= len(frames),
                f"call {raw!r} was told in {len(frames)} ways and answered {self._answered[raw]} times",
            )


# --- what the network does ------------------------------------------------------------------------

JUNK = (
    b"",
    b" ",
    b"hello",
    b"[",
    b"[]",
    b"[2]",
    b"{}",
    b"null",
    b"\x00\xff\xfe",
    b'[2,"j1"]',
    b'[2,"j2","Heartbeat"]',
    b'[2,"j3","Heartbeat",null]',
    b'[2,"j4","Heartbeat",[]]',
    b'[2,"j5","Heartbeat",[1]]',
    b'[2,"j6","NobodyKnowsThis",{}]',
    b'[2,"j7","Reset",{"type":"Hard"}]',
    b'[2,"j8","BootNotification",{"chargePointVendor":1}]',
    b'[2,"j9","StatusNotification",{"connectorId":-1,"status":"Available","errorCode":"NoError"}]',
    b'[2,"j10","StatusNotification",{"connectorId":"1","status":"charging","errorCode":null,}]',
    b'[2,"j11","MeterValues",{"connectorId":1,"meterValue":[{"timestamp":"never","sampledValue":{}}]}]',
    b'[2,"j12","Authorize",{"idTag":""}]',
    b'[2,"j13","Authorize",{"idTag":"' + b"9" * 60 + b'"}]',
    b'[2,"j14","DataTransfer",{"vendorId":"v","data":{"deep":[1,{"a":null}]}}]',
    b'[2,15,"Heartbeat",{}]',
    b'[2,"' + b"i" * 90 + b'","Heartbeat",{}]',
    b'[2,"' + b"i" * 400 + b'","Heartbeat",{}]',
    b'[3,"nobody-asked",{}]',
    b'[3,"w0-1",{"status":"Accepted"}]',
    b'[3,"w1-1",{"status":7}]',
    b'[4,"nobody-asked","GenericError","",{}]',
    b'[4,"w0-2"]',
    b'[5,"x","Heartbeat",{}]',
    b'["2","j16","Heartbeat",{}]',
    b"[" * 3_000,
)


def spoiled(rng: random.Random, frame: bytes) -> bytes:
    """Return a frame cut short, or with one of the mistakes that chargers make."""
    match rng.randrange(5):
        case 0 | 1:
            return frame[: rng.randrange(len(frame) + 1)]
        case 2:
            return frame[:-2] + b",}]" if frame.endswith(b"}]") else frame + b"]"
        case 3:
            return b"\xef\xbb\xbf  " + frame + b"\r\n\x00"
        case _:
            return frame.replace(b":null", b":,", 1) + frame


def disturb(rng: random.Random, way: deque[bytes], rate: float) -> None:
    """Let the network do something to the frames that are on their way."""
    if not way or rng.random() >= rate:
        return
    match rng.randrange(4):
        case 0:
            way.appendleft(way[0])
        case 1:
            way[0] = spoiled(rng, way[0])
        case 2 if len(way) > 1:
            way[0], way[1] = way[1], way[0]
        case 3:
            way.popleft()


ORIGINS = ("usr_a", "usr_b", "central")
PRIORITIES = tuple(machine.Priority)


def asks(rng: random.Random, number: int) -> Iterator[Ask]:
    """Give asks without end; ``number`` is a transaction's, known to the charger or not."""
    cards = (ListedCard("CARD1", Verdict.ACCEPTED), ListedCard("CARD2", Verdict.BLOCKED))
    periods = (LimitPeriod(0, limit_a=10.0), LimitPeriod(600, limit_a=16.0))
    while True:
        yield rng.choice(
            (
                StartCharging("CARD1", rng.choice((None, 1))),
                StopCharging(number),
                SetKey("MeterValueSampleInterval", rng.choice(("30", "300"))),
                GetKeys(),
                GetKeys(("NobodyKnowsThis",)),
                SetAvailability(1, is_operative=True),
                Unlock(9),
                ForgetCards(),
                Trigger(rng.choice(("Heartbeat", "StatusNotification", "MeterValues"))),
                TellVendor("vendor", "kind", "data"),
                SetLimit(0, LimitPurpose.CHARGER, 1, 0, periods),
                SetLimit(1, LimitPurpose.DEFAULT, 2, 1, periods),
                ClearLimit(),
                TellComposite(1, 600),
                ReplaceCards(1, cards),
                UpdateCards(2, cards[:1]),
                TellCardsVersion(),
                CancelReservation(1),
                Restart(is_hard=rng.random() < 0.3),
                ByHand("ClearCache", "{}"),
            )
        )

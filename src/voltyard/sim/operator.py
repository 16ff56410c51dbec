"""A simulated operator's back office as a pure machine: the central system's side of OCPP 1.6J.

It stands outside like a real one: it knows nothing of stand-ins and shares no protocol code with them.
Its ids count from 1, as those of many back offices do, so that two of them are sure to collide.

Invariants (property tests of the same names):
a repeated start gets the number of the first · no two transactions share a number ·
a repeat changes nothing · each call is answered once under its own id · answers keep the order of the calls ·
at most one ask is open per charger · each ask ends once · chargers do not mix
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from voltyard.sim.envelope import (
    BadPayload,
    Call,
    CallError,
    CallResult,
    Fields,
    Payload,
    decode,
    encode_call,
    encode_error,
    encode_result,
    written,
)

ASK_S = 30.0
"""How long it waits for an answer."""
EVERY = "*"
"""Stands for all actions in a manner."""
NORMAL_CLOSURE = 1000
ENERGY = "Energy.Active.Import.Register"


@dataclass(frozen=True)
class Manner:
    """How a back office behaves; it may change while chargers are connected."""

    first_number: int = 1
    """Its transactions count from here, again whenever this changes."""
    accepted_tags: frozenset[str] | None = None
    """The cards that may charge; None lets all of them."""
    verdict_on_others: str = "Invalid"
    registration: str = "Accepted"
    interval_s: int = 300
    """What it answers to a boot: the interval of heartbeats, or of the next attempt."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """The actions that it answers with a CALLERROR, and with which code; it takes in none of them."""
    nonsense: frozenset[str] = frozenset()
    """The actions that it takes in and answers with what is no JSON."""
    silent: frozenset[str] = frozenset()
    """The actions that it takes in and never answers."""
    delay_s: float = 0.0
    """How late it answers."""
    closes_at_once: bool = False
    """Whether it closes a connection as soon as it stands."""
    password: str | None = None
    """What it expects with basic authentication; None lets everybody in."""
    user: str | None = None
    """The name that goes with the password; the identity unless given."""
    refuses_with: int | None = None
    """The HTTP status with which it turns everybody away."""


@dataclass(frozen=True)
class Send:
    """Put this text on the socket of a charger."""

    identity: str
    text: str


@dataclass(frozen=True)
class Close:
    """Close the socket of a charger, then tell ``disconnected``."""

    identity: str
    code: int
    reason: str


@dataclass(frozen=True)
class WakeAt:
    """Call ``tick`` then, unless something else happens before; replaces the last one."""

    at: datetime


@dataclass(frozen=True)
class Log:
    """Tell a person."""

    text: str


@dataclass(frozen=True)
class NoAnswer:
    """How an ask ends that nobody answered."""

    why: str


@dataclass
class Ask:
    """Something that it asked of a charger, and how that ended."""

    id: str
    identity: str
    action: str
    payload: Payload
    outcome: CallResult | CallError | NoAnswer | None = None


@dataclass(frozen=True)
class Ended:
    """An ask has its outcome."""

    ask: Ask


Effect = Send | Close | WakeAt | Log | Ended


@dataclass(frozen=True)
class Received:
    """One call of a charger, as it came.

    ``is_repeat``: of the same content as an earlier one, and of an action in which that means the same
    thing told twice. A start counts by connector, tag, time and meter, as back offices compare it.
    """

    action: str
    id: str
    payload: Payload
    at: datetime
    is_repeat: bool


@dataclass
class Transaction:
    """What it knows of one transaction, under its own number."""

    number: int
    connector: int
    id_tag: str
    meter_start: int
    started_at: datetime
    verdict: str
    """What it said about the card."""
    meter_values: list[Payload] = field(default_factory=list)
    """The elements of ``meterValue``, in order of arrival."""
    stopped_at: datetime | None = None
    meter_stop: int | None = None
    reason: str | None = None
    stop_tag: str | None = None
    stop_values: list[Payload] = field(default_factory=list)
    """What came with the stop as ``transactionData``."""

    @property
    def is_running(self) -> bool:
        """Whether no stop has been told."""
        return self.stopped_at is None


@dataclass
class Charger:
    """What it has heard of one charger, over all its connections, in order of arrival."""

    identity: str
    is_connected: bool = False
    connections: int = 0
    registration: str = ""
    """What it answered to the last boot; empty before the first."""
    boots: list[Payload] = field(default_factory=list)
    statuses: list[Payload] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    """What no charger in good order does, in words."""

    def status(self, connector: int) -> str | None:
        """Return what a connector last told about itself."""
        return next(
            (str(each["status"]) for each in reversed(self.statuses) if each["connectorId"] == connector),
            None,
        )

    def transaction(self, number: int) -> Transaction | None:
        """Return the transaction with this number, if it gave that number to this charger."""
        return next((each for each in self.transactions if each.number == number), None)

    def heard(self, action: str) -> list[Payload]:
        """Return the payloads of an action, repeats among them."""
        return [each.payload for each in self.received if each.action == action]

    @property
    def repeats(self) -> list[Received]:
        """What was told twice."""
        return [each for each in self.received if each.is_repeat]


@dataclass
class _Wire:
    """What is still to be said to one charger: its late answers, and what it is asked."""

    late: deque[tuple[datetime, str]] = field(default_factory=deque)
    waiting: deque[Ask] = field(default_factory=deque)
    open: tuple[datetime, Ask] | None = None
    """The ask that it was sent, and until when it may answer."""

    def wake_at(self) -> datetime | None:
        due = [self.late[0][0]] if self.late else []
        return min([*due, self.open[0]] if self.open is not None else due, default=None)


class Operator:
    """One back office with all its chargers; every input returns its effects in the order to do them."""

    def __init__(self, manner: Manner | None = None) -> None:
        self._manner = manner or Manner()
        self.chargers: dict[str, Charger] = {}
        self._wires: dict[str, _Wire] = {}
        self._told: set[tuple[str, str]] = set()
        """By which charger what was told, as ``_content`` has it."""
        self._next_number = self._manner.first_number
        self._asked = 0
        self._effects: list[Effect] = []
        self._woken_at: datetime | None = None

    @property
    def manner(self) -> Manner:
        """How it behaves."""
        return self._manner

    def behave(self, manner: Manner) -> None:
        """Behave otherwise from now on."""
        if manner.first_number != self._manner.first_number:
            self._next_number = manner.first_number
        self._manner = manner

    def charger(self, identity: str) -> Charger:
        """Return what is known of a charger, nothing yet if it never came."""
        return self.chargers.setdefault(identity, Charger(identity))

    @property
    def wake_at(self) -> datetime | None:
        """When ``tick`` is due, None when nothing waits for its time."""
        return min((at for wire in self._wires.values() if (at := wire.wake_at()) is not None), default=None)

    # The socket

    def refusal(self, identity: str, authorization: str | None) -> int | None:
        """Return the HTTP status that turns a charger away at the door, None to let it in (1.6-J §6.2)."""
        if self._manner.refuses_with is not None:
            return self._manner.refuses_with
        if self._manner.password is None:
            return None
        user = identity if self._manner.user is None else self._manner.user
        return None if _credentials(authorization) == f"{user}:{self._manner.password}".encode() else 401

    def connected(self, identity: str, now: datetime) -> list[Effect]:
        """A charger's socket is open; an older one of the same charger counts as gone."""
        charger = self.charger(identity)
        if charger.is_connected:
            self._log(charger, "connects again")
            self._drop(charger, "the connection was replaced")
        else:
            self._log(charger, "connects")
        charger.is_connected = True
        charger.connections += 1
        if self._manner.closes_at_once:
            self._effects.append(Close(identity, NORMAL_CLOSURE, ""))
        return self._conclude(now)

    def disconnected(self, identity: str, now: datetime) -> list[Effect]:
        """A charger's socket is gone."""
        charger = self.charger(identity)
        if charger.is_connected:
            charger.is_connected = False
            self._log(charger, "is gone")
            self._drop(charger, "the connection was lost")
        return self._conclude(now)

    def received(self, identity: str, text: str, now: datetime) -> list[Effect]:
        """A text came from a charger."""
        charger = self.charger(identity)
        if not charger.is_connected:
            return self._conclude(now)
        match decode(text):
            case Call() as call:
                self._take_call(charger, call, now)
            case CallResult() | CallError() as answer:
                self._take_answer(charger, answer)
            case malformed:
                self._find_odd(charger, f"what is no message: {malformed.why}")
                if malformed.call_id is not None:
                    error = encode_error(malformed.call_id, "FormationViolation", malformed.why)
                    self._effects.append(Send(identity, error))
        return self._conclude(now)

    def tick(self, now: datetime) -> list[Effect]:
        """Time has passed."""
        # Whoever keeps the time may come a little early: tell the next instant anew, or nobody comes again.
        self._woken_at = None
        return self._conclude(now)

    # Asking

    def ask(self, identity: str, action: str, payload: Payload, now: datetime) -> tuple[Ask, list[Effect]]:
        """Ask something of a charger, once its earlier asks have ended (1.6-J §4.1.1)."""
        charger = self.charger(identity)
        self._asked += 1
        ask = Ask(str(self._asked), identity, action, payload)
        charger.asks.append(ask)
        if charger.is_connected:
            self._wire(identity).waiting.append(ask)
        else:
            self._end(charger, ask, NoAnswer("the charger is not connected"))
        return ask, self._conclude(now)

    def _ask_next(self, charger: Charger, wire: _Wire, now: datetime) -> None:
        if wire.open is None and wire.waiting:
            ask = wire.waiting.popleft()
            wire.open = now + timedelta(seconds=ASK_S), ask
            self._log(charger, f"is asked {ask.action} {_brief(ask.payload)}".rstrip())
            self._effects.append(Send(charger.identity, encode_call(ask.id, ask.action, ask.payload)))

    def _take_answer(self, charger: Charger, answer: CallResult | CallError) -> None:
        wire = self._wire(charger.identity)
        if wire.open is None or wire.open[1].id != answer.id:
            self._find_odd(charger, f"an answer to nothing that is open: {answer.id}")
            return
        (_, ask), wire.open = wire.open, None
        self._end(charger, ask, answer)

    def _end(self, charger: Charger, ask: Ask, outcome: CallResult | CallError | NoAnswer) -> None:
        ask.outcome = outcome
        self._log(charger, f"answers {ask.action}: {_ending(outcome)}".rstrip())
        self._effects.append(Ended(ask))

    def _drop(self, charger: Charger, why: str) -> None:
        """Forget what was to be said on a connection that is gone."""
        wire = self._wires.pop(charger.identity, _Wire())
        opened = [] if wire.open is None else [wire.open[1]]
        for ask in [*opened, *wire.waiting]:
            self._end(charger, ask, NoAnswer(why))

    def _wire(self, identity: str) -> _Wire:
        return self._wires.setdefault(identity, _Wire())

    # Being asked

    def _take_call(self, charger: Charger, call: Call, now: datetime) -> None:
        content = _content(call)
        is_repeat = content is not None and (charger.identity, content) in self._told
        if content is not None:
            self._told.add((charger.identity, content))
        charger.received.append(Received(call.action, call.id, call.payload, now, is_repeat))
        code = _chosen(self._manner.errors, call.action)
        try:
            if code is not None:
                text = encode_error(call.id, code, "so it was told to answer")
                self._log(charger, f"says {call.action} and is answered {code}")
            else:
                text = encode_result(call.id, self._reply(charger, call, now))
        except BadPayload as bad:
            self._find_odd(charger, f"{call.action}: {bad.description}")
            text = encode_error(call.id, bad.code, bad.description)
        if {call.action, EVERY} & self._manner.nonsense:
            text = f'[3,"{call.id}",{{"status":'
        if not {call.action, EVERY} & self._manner.silent:
            self._answer(charger.identity, text, now)

    def _answer(self, identity: str, text: str, now: datetime) -> None:
        late = self._wire(identity).late
        at = now + timedelta(seconds=self._manner.delay_s)
        # A shorter delay must not let an answer overtake those before it.
        late.append((max(at, late[-1][0]) if late else at, text))

    def _reply(self, charger: Charger, call: Call, now: datetime) -> Payload:
        """Take in a call and return its answer. Raises: BadPayload."""
        fields = Fields(call.payload)
        if call.action != "BootNotification":
            self._check_registration(charger, call)
        match call.action:
            case "BootNotification":
                return self._booted(charger, fields, now)
            case "Heartbeat":
                return {"currentTime": written(now)}
            case "Authorize":
                verdict = self._verdict(fields.text("idTag"))
                self._log(charger, f"asks for card {fields.text('idTag')}: {verdict}")
                return {"idTagInfo": {"status": verdict}}
            case "StartTransaction":
                return self._started(charger, fields)
            case "StopTransaction":
                return self._stopped(charger, fields)
            case "MeterValues":
                return self._metered(charger, call, fields)
            case "StatusNotification":
                connector, status = fields.whole("connectorId"), fields.text("status")
                fields.text("errorCode")
                if "timestamp" not in call.payload or call.payload not in charger.statuses:
                    charger.statuses.append(call.payload)
                self._log(charger, f"connector {connector} is {status}")
                return {}
            case "DataTransfer":
                fields.text("vendorId")
                return {"status": "UnknownVendorId"}
            case "SignCertificate":
                return {"status": "Rejected"}
            case (
                "DiagnosticsStatusNotification"
                | "FirmwareStatusNotification"
                | "LogStatusNotification"
                | "SignedFirmwareStatusNotification"
            ):
                self._log(charger, f"says {call.action}: {fields.text('status')}")
                return {}
            case "SecurityEventNotification":
                self._log(charger, f"says {call.action}: {fields.text('type')}")
                return {}
            case _:
                raise BadPayload("NotImplemented", "not known")

    def _check_registration(self, charger: Charger, call: Call) -> None:
        """Refuse what is said before a boot was accepted (OCPP 1.6 §4.2). Raises: BadPayload."""
        is_triggered = any(
            ask.action in {"TriggerMessage", "ExtendedTriggerMessage"}
            and ask.payload.get("requestedMessage") == call.action
            for ask in charger.asks
        )
        if charger.registration == "Accepted" or (charger.registration == "Pending" and is_triggered):
            return
        raise BadPayload("SecurityError", "said before a boot was accepted")

    def _booted(self, charger: Charger, fields: Fields, now: datetime) -> Payload:
        vendor, model = fields.text("chargePointVendor"), fields.text("chargePointModel")
        charger.boots.append(fields.payload)
        charger.registration = self._manner.registration
        self._log(charger, f"boots, a {vendor} {model}: {charger.registration}")
        return {
            "status": charger.registration,
            "currentTime": written(now),
            "interval": self._manner.interval_s,
        }

    def _verdict(self, tag: str) -> str:
        """Return what it says about a card; tags are compared without case (CiString20Type)."""
        accepted = self._manner.accepted_tags
        if accepted is None or tag.lower() in {each.lower() for each in accepted}:
            return "Accepted"
        return self._manner.verdict_on_others

    def _started(self, charger: Charger, fields: Fields) -> Payload:
        told = (
            fields.whole("connectorId"),
            fields.text("idTag"),
            fields.instant("timestamp"),
            fields.whole("meterStart"),
        )
        known = next(
            (
                each
                for each in charger.transactions
                if (each.connector, each.id_tag, each.started_at, each.meter_start) == told
            ),
            None,
        )
        if known is not None:
            self._log(charger, f"tells the start of {known.number} again")
            return {"transactionId": known.number, "idTagInfo": {"status": known.verdict}}
        connector, tag, at, meter = told
        started = Transaction(self._next_number, connector, tag, meter, at, self._verdict(tag))
        self._next_number += 1
        charger.transactions.append(started)
        self._log(
            charger,
            f"starts transaction {started.number} at connector {connector} with card {tag}, "
            f"{started.verdict}, at {meter} Wh",
        )
        return {"transactionId": started.number, "idTagInfo": {"status": started.verdict}}

    def _stopped(self, charger: Charger, fields: Fields) -> Payload:
        number, at, meter = (
            fields.whole("transactionId"),
            fields.instant("timestamp"),
            fields.whole("meterStop"),
        )
        reason, tag = fields.text_or_none("reason") or "Local", fields.text_or_none("idTag")
        values = (
            [each.payload for each in fields.items("transactionData")]
            if fields.payload.get("transactionData") is not None
            else []
        )
        known = charger.transaction(number)
        if known is None:
            # It must be taken all the same, or the charger would tell it for ever (OCPP 1.6 §4.10).
            self._find_odd(charger, f"the stop of {number}, which it does not know")
        elif known.is_running:
            known.stopped_at, known.meter_stop, known.reason, known.stop_tag = at, meter, reason, tag
            known.stop_values = values
            self._log(charger, f"ends transaction {number} at {meter} Wh: {reason}")
        elif (known.stopped_at, known.meter_stop, known.reason) != (at, meter, reason):
            self._find_odd(charger, f"another stop of {number}, which has ended")
        else:
            self._log(charger, f"tells the end of {number} again")
        return {} if tag is None else {"idTagInfo": {"status": self._verdict(tag)}}

    def _metered(self, charger: Charger, call: Call, fields: Fields) -> Payload:
        connector, number = fields.whole("connectorId"), fields.whole_or_none("transactionId")
        values = [each.payload for each in fields.items("meterValue") if each.items("sampledValue")]
        known = None if number is None else charger.transaction(number)
        if number is not None and known is None:
            self._find_odd(charger, f"the meter of {number}, which it does not know")
        elif known is not None and known.connector != connector:
            self._find_odd(charger, f"the meter of {number} at connector {connector}, where it is not")
        elif known is not None:
            known.meter_values.extend(value for value in values if value not in known.meter_values)
        of = f"of transaction {number}" if number is not None else f"at connector {connector}"
        self._log(charger, f"tells the meter {of}{_register(values)}")
        return {}

    # Time

    def _conclude(self, now: datetime) -> list[Effect]:
        for identity, wire in self._wires.items():
            charger = self.chargers[identity]
            while wire.late and wire.late[0][0] <= now:
                self._effects.append(Send(identity, wire.late.popleft()[1]))
            if wire.open is not None and wire.open[0] <= now:
                (_, ask), wire.open = wire.open, None
                self._end(charger, ask, NoAnswer("there was no answer in time"))
            self._ask_next(charger, wire, now)
        wake_at = self.wake_at
        if wake_at is not None and wake_at != self._woken_at:
            self._effects.append(WakeAt(wake_at))
        self._woken_at = wake_at
        effects, self._effects = self._effects, []
        return effects

    # Words

    def _log(self, charger: Charger, text: str) -> None:
        self._effects.append(Log(f"{charger.identity}: {text}"))

    def _find_odd(self, charger: Charger, what: str) -> None:
        charger.oddities.append(what)
        self._log(charger, f"odd: {what}")


def _chosen(errors: Mapping[str, str], action: str) -> str | None:
    return errors.get(action, errors.get(EVERY))


def _credentials(authorization: str | None) -> bytes | None:
    """Return what stands in a header of basic authentication, None when it is no such header."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None


def _content(call: Call) -> str | None:
    """Return by what a call is recognised when it is told again; None for what may be said again."""
    match call.action:
        case "StartTransaction":
            what = {
                name: call.payload.get(name) for name in ("connectorId", "idTag", "timestamp", "meterStart")
            }
        case "StopTransaction" | "MeterValues":
            what = call.payload
        case "StatusNotification" if "timestamp" in call.payload:
            what = call.payload
        case _:
            return None
    return f"{call.action} {json.dumps(what, sort_keys=True)}"


def _ending(outcome: CallResult | CallError | NoAnswer) -> str:
    """Return in words how an ask ended."""
    if isinstance(outcome, NoAnswer):
        return outcome.why
    if isinstance(outcome, CallError):
        return f"{outcome.code} {outcome.description}"
    return _brief(outcome.payload)


def _brief(payload: Payload) -> str:
    """Return a payload in a few words: its plain values."""
    return ", ".join(
        f"{name} {value}" for name, value in payload.items() if not isinstance(value, dict | list)
    )


def _register(values: list[Payload]) -> str:
    """Return what the newest energy register among meter values says, as the end of a sentence."""
    for value in reversed(values):
        for sample in value.get("sampledValue") or ():
            # Left out, the measurand is this one, and the unit is Wh (OCPP 1.6 §7.31).
            if sample.get("measurand", ENERGY) == ENERGY:
                return f": {sample.get('value')} {sample.get('unit', 'Wh')}"
    return ""

"""Plays the central system's side of a recording against a simulated charger, in one process and no time.

What people did is read from what the charger had said: a connector that prepares got a cable, a card was
held before the reader, a stop for a lost cable was an unplugging. Compared are the words of its answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from voltyard.sim.car import Car
from voltyard.sim.charger import Disconnect, Effect, Reboot, Send, VirtualCharger, WakeAt
from voltyard.sim.envelope import (
    Call,
    CallError,
    CallResult,
    Payload,
    decode,
    encode_call,
    encode_result,
    written,
)
from voltyard.sim.replay import NUMBER, AnswerBook, Difference, Entry, Recording, Report, told
from voltyard.sim.station import Nameplate

CONNECTORS_MAX = 16
TICKS_MAX = 10_000
FREE_NUMBER = 900_000_000
"""Transactions that the recording does not know count from here."""


def play(recording: Recording) -> Report:
    """Play a recording and compare the answers of the simulated charger with those of the real one."""
    rehearsal = _Rehearsal(recording)
    for entry in recording.entries:
        rehearsal.step(entry)
    return rehearsal.report


def _connectors(entries: Iterable[Entry]) -> int:
    numbers = [entry.payload.get("connectorId") for entry in entries if entry.payload is not None]
    return min(CONNECTORS_MAX, max((number for number in numbers if isinstance(number, int)), default=1) or 1)


class _Rehearsal:
    """The simulated charger, and the little that a central system must answer it."""

    def __init__(self, recording: Recording) -> None:
        self.report = Report()
        self._now = recording.entries[0].at
        plate = Nameplate(recording.identity or "REPLAY", connectors=_connectors(recording.entries))
        self._machine = VirtualCharger(plate, 1, self._now)
        self._book = AnswerBook(recording.sayings)
        self._answers: dict[str, CallResult | CallError] = {}
        self._wake_at: datetime | None = None
        self._free = FREE_NUMBER
        self._carry_out(self._machine.connected(self._now))

    def step(self, entry: Entry) -> None:
        """Let time pass until an entry, then do what it tells of."""
        self._pass_until(max(entry.at, self._now))
        if entry.is_outward and entry.payload is not None:
            self._ask(entry, entry.payload)
        elif entry.payload is not None:
            self._act(entry, entry.payload)

    # --- the central system ---

    def _ask(self, entry: Entry, payload: Payload) -> None:
        if not entry.has_answer:
            self.report.notes.append(f"call {entry.number} {entry.action}: had no answer, left out")
            return
        call_id = f"replay-{entry.number}"
        self.report.played += 1
        self._carry_out(self._machine.received(encode_call(call_id, entry.action, payload), self._now))
        answer = self._answers.pop(call_id, None)
        if answer is None:
            self.report.lacks(entry, "the simulated charger gave no answer")
            return
        self.report.compared += 1
        before, now = (_word(said) for said in (entry.answer, told(answer)))
        if before != now:
            text = f"was {before} and is {now}"
            self.report.differences.append(Difference(entry.number, entry.action, text))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(text):
                    self._hear(text)
                case WakeAt(at):
                    self._wake_at = at
                case Disconnect():
                    self._carry_out(self._machine.connected(self._now))
                case Reboot(after_s):
                    self._now += timedelta(seconds=after_s)
                    self._carry_out(self._machine.connected(self._now))
                case _:
                    pass

    def _hear(self, text: str) -> None:
        match decode(text):
            case Call(call_id, action, payload):
                answer = encode_result(call_id, self._reply(action, payload))
                self._carry_out(self._machine.received(answer, self._now))
            case CallResult(call_id) | CallError(call_id) as answered:
                self._answers[call_id] = answered
            case _:
                pass

    def _reply(self, action: str, payload: Payload) -> Payload:
        """Answer as it was recorded; what was not said then is answered with a yes."""
        found = self._book.find(action, payload, {})
        recorded = found.answer if found is not None and "errorCode" not in found.answer else {}
        time = {"currentTime": written(self._now)}
        match action:
            case "BootNotification":
                return {"status": "Accepted", "interval": 86_400} | recorded | time
            case "Heartbeat":
                return time
            case "Authorize" | "StopTransaction":
                return {"idTagInfo": {"status": "Accepted"}} | recorded
            case "StartTransaction":
                self._free += 1
                return {NUMBER: self._free, "idTagInfo": {"status": "Accepted"}} | recorded
            case "DataTransfer":
                return {"status": "Accepted"} | recorded
            case _:
                return dict(recorded)

    # --- people ---

    def _act(self, entry: Entry, payload: Payload) -> None:
        """Do what people must have done for the charger to say this."""
        number = payload.get("connectorId", 1)
        known = number in self._machine.connectors
        tag = str(payload.get("idTag") or "")
        match entry.action, payload.get("status"):
            case "StatusNotification", "Preparing" if known and not self._has_car(number):
                self._carry_out(self._machine.plug(number, Car(), self._now))
            case "StatusNotification", "Available" if known and self._has_car(number):
                self._carry_out(self._machine.unplug(number, self._now))
            case "Authorize", _ if tag and not self._any_session():
                self._carry_out(self._machine.swipe(tag, None, self._now))
            case "StartTransaction", _ if known and tag and not self._machine.is_charging_session(number):
                if not self._has_car(number):
                    self._carry_out(self._machine.plug(number, Car(), self._now))
                if not self._machine.is_charging_session(number):
                    self._carry_out(self._machine.swipe(tag, number, self._now))
            case "StopTransaction", _:
                self._stop(str(payload.get("reason") or ""), tag, payload.get(NUMBER))
            case _:
                pass

    def _stop(self, reason: str, tag: str, transaction: Any) -> None:
        for each in self._machine.snapshot()["connectors"]:
            if each["transaction"] != transaction or not each["is_charging_session"]:
                continue
            if reason in {"Local", ""}:
                self._carry_out(self._machine.swipe(tag or each["id_tag"], each["connector"], self._now))
            elif reason == "EVDisconnected":
                self._carry_out(self._machine.unplug(each["connector"], self._now))

    def _has_car(self, number: int) -> bool:
        return any(
            each["connector"] == number and each["car"] is not None
            for each in self._machine.snapshot()["connectors"]
        )

    def _any_session(self) -> bool:
        return any(self._machine.is_charging_session(number) for number in self._machine.connectors)

    # --- time ---

    def _pass_until(self, at: datetime) -> None:
        for _ in range(TICKS_MAX):
            if self._wake_at is None or self._wake_at > at:
                break
            self._now, self._wake_at = max(self._now, self._wake_at), None
            self._carry_out(self._machine.tick(self._now))
        self._now = max(self._now, at)


def _word(answer: Payload) -> str:
    return str(answer.get("errorCode") or answer.get("status") or "answered")

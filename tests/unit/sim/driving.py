"""A central system in a few lines, and a hand that drives a virtual charger through time."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ocpp.messages import Call, CallResult, _validate_payload

from voltyard.sim.car import Car
from voltyard.sim.charger import Disconnect, Effect, Log, Reboot, Send, VirtualCharger
from voltyard.sim.station import Nameplate
from voltyard.sim.upkeep import Download, Upload

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CAR = Car(limit_a=16, battery_wh=60_000, soc=0.3, ramp_a_per_s=16)

Answers = dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]]


class Bench:
    """One charger and its central system; every message either way is checked against the schema."""

    def __init__(self, **plate: Any) -> None:
        self.machine = VirtualCharger(Nameplate("CP1", **plate), 7, START)
        self.now = START
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.log: list[str] = []
        self.reboots: list[float] = []
        self.disconnects: list[str] = []
        self.ids: list[str] = []
        self.held: list[str] = []
        self.open_id: str | None = None
        self.number = 100
        self.asked = 0
        self.result: Any = None
        self.answers: Answers = {}
        self.is_mute = False
        self.files: list[Download | Upload] = []

    # effects

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(text):
                    self._hear(json.loads(text))
                case Log(text):
                    self.log.append(text)
                case Reboot(after_s):
                    self.reboots.append(after_s)
                case Disconnect(reason):
                    self.disconnects.append(reason)
                    self.open_id = None
                case Download() | Upload():
                    self.files.append(effect)
        waiting, self.held = self.held, []
        for text in waiting:
            self.do(self.machine.received(text, self.now))

    def _hear(self, message: list[Any]) -> None:
        if message[0] != 2:
            self.result = message
            return
        _, call_id, action, payload = message
        assert call_id not in self.ids, "a message id was used twice"
        assert self.open_id is None, "two calls were open"
        _validate_payload(Call(call_id, action, payload), "1.6")
        self.ids.append(call_id)
        self.said.append((action, payload))
        self.open_id = call_id
        if not self.is_mute:
            answer = self.answers.get(action, self.default(action))(payload)
            if answer is not None:
                _validate_payload(CallResult(call_id, answer, action), "1.6")
                self.held.append(json.dumps([3, call_id, answer]))
                self.open_id = None

    def default(self, action: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def answer(_payload: dict[str, Any]) -> dict[str, Any]:
            match action:
                case "BootNotification":
                    at = self.now.isoformat().replace("+00:00", "Z")
                    return {"status": "Accepted", "currentTime": at, "interval": 300}
                case "Heartbeat":
                    return {"currentTime": self.now.isoformat()}
                case "Authorize":
                    return {"idTagInfo": {"status": "Accepted"}}
                case "StartTransaction":
                    self.number += 1
                    return {"transactionId": self.number, "idTagInfo": {"status": "Accepted"}}
                case "DataTransfer":
                    return {"status": "Accepted"}
            return {}

        return answer

    def refuse(self, code: str = "InternalError") -> None:
        """Answer the open call with an error."""
        call_id, self.open_id = self.open_id, None
        self.do(self.machine.received(json.dumps([4, call_id, code, "", {}]), self.now))

    def reply(self, payload: dict[str, Any]) -> None:
        """Answer the open call."""
        call_id, self.open_id = self.open_id, None
        self.do(self.machine.received(json.dumps([3, call_id, payload]), self.now))

    # the world

    def connect(self) -> Bench:
        self.open_id = None
        self.do(self.machine.connected(self.now))
        return self

    def lose(self) -> None:
        self.open_id = None
        self.do(self.machine.disconnected(self.now))

    def wait(self, seconds: float, step_s: float | None = None) -> None:
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=step_s or seconds))
            self._expire()
            self.do(self.machine.tick(self.now))

    def _expire(self) -> None:
        # What the charger gives up is no longer open; its own deadline comes first in the tick.
        opened = self.machine._station.outbox.open
        if opened is not None and opened.expires_at <= self.now:
            self.open_id = None

    def plug(self, car: Car = CAR, connector: int = 1) -> None:
        self.do(self.machine.plug(connector, car, self.now))

    def unplug(self, connector: int = 1) -> None:
        self.do(self.machine.unplug(connector, self.now))

    def swipe(self, tag: str = "TAG", connector: int | None = None) -> None:
        self.do(self.machine.swipe(tag, connector, self.now))

    def charge(self, tag: str = "TAG", car: Car = CAR) -> Bench:
        self.plug(car)
        self.swipe(tag)
        return self

    def ask(self, action: str, **payload: Any) -> dict[str, Any]:
        """Send a command and return its answer, which must fit the schema."""
        self.asked += 1
        call_id = f"ask-{self.asked}"
        _validate_payload(Call(call_id, action, payload), "1.6")
        self.result = None
        self.do(self.machine.received(json.dumps([2, call_id, action, payload]), self.now))
        assert self.result is not None, f"{action} was not answered"
        assert self.result[:2] == [3, call_id], self.result
        _validate_payload(CallResult(call_id, self.result[2], action), "1.6")
        return dict(self.result[2])

    def error(self, action: str, payload: Any) -> str:
        """Send a bad command and return the code of its error."""
        self.do(self.machine.received(json.dumps([2, "bad", action, payload]), self.now))
        assert self.result[:2] == [4, "bad"], self.result
        return str(self.result[2])

    def set_key(self, key: str, value: str) -> str:
        return str(self.ask("ChangeConfiguration", key=key, value=value)["status"])

    # what was seen

    def all(self, action: str) -> list[dict[str, Any]]:
        return [payload for said, payload in self.said if said == action]

    def actions(self) -> list[str]:
        return [action for action, _ in self.said]

    def statuses(self, connector: int = 1) -> list[str]:
        return [one["status"] for one in self.all("StatusNotification") if one["connectorId"] == connector]

    def state(self, connector: int = 1) -> dict[str, Any]:
        return dict(self.machine.snapshot()["connectors"][connector - 1])

    @property
    def status(self) -> str:
        return str(self.state()["status"])


def profile(
    limit: float = 10,
    *,
    purpose: str = "TxDefaultProfile",
    unit: str = "A",
    number: int = 1,
    level: int = 0,
    kind: str = "Absolute",
    periods: list[dict[str, Any]] | None = None,
    schedule: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": {
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": periods or [{"startPeriod": 0, "limit": limit}],
            **(schedule or {}),
        },
        **more,
    }

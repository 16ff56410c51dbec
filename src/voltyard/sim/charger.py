"""A virtual OCPP 1.6J charger as a pure machine: inputs in, effects out, time as an argument.

It stands outside like a real one: it trusts nobody's clock but the caller's, shares no protocol
code with the server, and answers what it does not know with NotImplemented.

Invariants:
- at most one call of its own is open; an answer that comes too late is told apart and ignored;
- nothing but boots is said before the central system has accepted one (OCPP 1.6 §4.2);
- how often ``tick`` is called changes nothing of what happens, only when it is said;
- time never goes back: an earlier ``now`` counts as the latest one seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from voltyard.sim import quirks
from voltyard.sim.answers import answer
from voltyard.sim.car import Car
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
from voltyard.sim.outbox import Saying
from voltyard.sim.station import Nameplate, Station, Timer
from voltyard.sim.tags import read_tag_info
from voltyard.sim.upkeep import Download, Upkeep, Upload
from voltyard.sim.wallet import Wallet

BOOT_RETRY_S = 60
"""How long to wait when the central system names no interval."""


@dataclass(frozen=True)
class Send:
    """Put this text on the socket."""

    text: str


@dataclass(frozen=True)
class WakeAt:
    """Call ``tick`` then, unless something else happens before; replaces the last one."""

    at: datetime


@dataclass(frozen=True)
class Log:
    """Tell a person."""

    text: str


@dataclass(frozen=True)
class Disconnect:
    """Drop the socket; the machine already counts as disconnected."""

    reason: str


@dataclass(frozen=True)
class Reboot:
    """The charger is down for this long; connect again after it."""

    after_s: float


Effect = Send | WakeAt | Log | Disconnect | Reboot | Download | Upload


class VirtualCharger:
    """One virtual charger; every input returns its effects in the order in which to do them."""

    def __init__(self, plate: Nameplate, seed: int, now: datetime) -> None:
        assert now.tzinfo is not None
        self._station = Station(plate, seed, now)
        self._upkeep = Upkeep(self._station)
        self._effects: list[Effect] = []
        self._is_online = False
        self._has_network = True
        self._registration = "none"
        self._woken_at: datetime | None = None
        self._thinking: list[str] = []
        """Answers that a slow charger still owes."""

    @property
    def plate(self) -> Nameplate:
        """What is printed on the charger."""
        return self._station.plate

    @property
    def connectors(self) -> tuple[int, ...]:
        """The numbers of its connectors."""
        return tuple(self._station.connectors)

    @property
    def may_connect(self) -> bool:
        """Whether there is power and a network."""
        return self._has_network and self._station.is_powered

    @property
    def password(self) -> str | None:
        """The password that the central system has set with AuthorizationKey, if it did."""
        return self._station.keys.text("AuthorizationKey") or None

    @property
    def wallet(self) -> Wallet:
        """What it keeps for TLS."""
        return self._station.wallet

    @property
    def security_profile(self) -> int:
        """The security profile that it connects with."""
        return self._station.keys.count("SecurityProfile")

    @property
    def is_trying_profile(self) -> bool:
        """Whether its security profile is new and no connection has proved it yet."""
        return self._station.profile_before is not None

    def is_charging_session(self, connector: int) -> bool:
        """Tell whether a transaction runs at a connector."""
        return self._station.connectors[connector].transaction is not None

    @property
    def ping_interval_s(self) -> int:
        """WebSocketPingInterval; 0 means that the charger does not ping."""
        return self._station.keys.count("WebSocketPingInterval")

    # The socket

    def fall_back(self, now: datetime) -> list[Effect]:
        """No connection came about with the new security profile: the old one counts again (A05)."""
        self._advance(now)
        before = self._station.profile_before
        if before is not None:
            self._station.keys.set_count("SecurityProfile", before)
            self._station.profile_before = None
            self._log(f"falls back to security profile {before}")
        return self._conclude()

    def connected(self, now: datetime) -> list[Effect]:
        """The socket is open."""
        self._advance(now)
        self._station.profile_before = None
        self._drop()
        self._station.is_powered = True
        self._station.timers.pop(("up", 0), None)
        self._is_online = True
        self._boot()
        return self._conclude()

    def disconnected(self, now: datetime) -> list[Effect]:
        """The socket is gone."""
        self._advance(now)
        self._drop()
        return self._conclude()

    def received(self, text: str, now: datetime) -> list[Effect]:
        """A text came from the central system."""
        self._advance(now)
        if not self._is_online:
            self._log("a message after the end of the connection is ignored")
            return self._conclude()
        match decode(text):
            case Call() as call:
                self._answer(call)
            case CallResult(call_id, payload):
                saying = self._closed(call_id)
                if saying is not None:
                    self._understood(saying, payload)
            case CallError(call_id, code, description):
                saying = self._closed(call_id)
                if saying is not None:
                    self._failed(saying, f"{code} {description}".strip())
            case malformed:
                self._log(f"malformed message: {malformed.why}")
                if malformed.call_id is not None:
                    text = encode_error(malformed.call_id, "FormationViolation", malformed.why)
                    self._effects.append(Send(text))
        return self._conclude()

    def tick(self, now: datetime) -> list[Effect]:
        """Time has passed."""
        # Whoever keeps the time may come a little early: tell the next instant anew, or nobody comes again.
        self._woken_at = None
        self._advance(now)
        return self._conclude()

    # Files

    def uploaded(self, is_done: bool, now: datetime) -> list[Effect]:
        """A file that was to be sent has arrived, or could not be sent."""
        self._advance(now)
        self._upkeep.uploaded(is_done)
        return self._conclude()

    def downloaded(self, data: bytes | None, is_genuine: bool, now: datetime) -> list[Effect]:
        """Firmware that was to be fetched is here, or could not be had (None)."""
        self._advance(now)
        self._upkeep.downloaded(data, is_genuine)
        return self._conclude()

    # People and accidents

    def plug(self, connector: int, car: Car, now: datetime) -> list[Effect]:
        """A car is plugged in."""
        self._advance(now)
        self._station.plug(connector, car)
        return self._conclude()

    def unplug(self, connector: int, now: datetime) -> list[Effect]:
        """The car is unplugged."""
        self._advance(now)
        self._station.unplug(connector)
        return self._conclude()

    def swipe(self, id_tag: str, connector: int | None, now: datetime) -> list[Effect]:
        """A card is held before the reader; without a connector the charger guesses which is meant."""
        self._advance(now)
        self._station.swipe(id_tag, connector)
        return self._conclude()

    def press_button(self, now: datetime) -> list[Effect]:
        """The touch button is pressed."""
        self._advance(now)
        self._station.press_button()
        return self._conclude()

    def fault(self, connector: int, code: str, now: datetime) -> list[Effect]:
        """Something breaks; ``code`` is a ChargePointErrorCode (§7.6), connector 0 the whole charger."""
        self._advance(now)
        self._station.fault(connector, code)
        return self._conclude()

    def clear_fault(self, connector: int, now: datetime) -> list[Effect]:
        """It is repaired."""
        self._advance(now)
        self._station.clear_fault(connector)
        return self._conclude()

    def cut_network(self, now: datetime) -> list[Effect]:
        """The network is gone until ``restore_network``."""
        self._advance(now)
        self._has_network = False
        self._hang_up("network cut")
        return self._conclude()

    def restore_network(self, now: datetime) -> list[Effect]:
        """The network is back."""
        self._advance(now)
        self._has_network = True
        return self._conclude()

    def set_by_hand(self, name: str, value: str, now: datetime) -> list[Effect]:
        """Somebody sets a key at the charger itself, past the central system."""
        self._advance(now)
        self._station.keys.change(name, value)
        return self._conclude()

    def power_cut(self, off_s: float, now: datetime) -> list[Effect]:
        """The power is gone for a while; what charged is told as PowerLoss after it."""
        self._advance(now)
        self._station.end_all("PowerLoss")
        self._go_down(off_s + self.plate.boot_s)
        return self._conclude()

    def snapshot(self) -> Payload:
        """Return what a person at the control port wants to see, as of the last input."""
        station = self._station
        return {
            "identity": station.plate.identity,
            "model": station.plate.model,
            "firmware": station.firmware,
            "at": written(station.now),
            "network": self._has_network,
            "powered": station.is_powered,
            "online": self._is_online,
            "registration": self._registration,
            "queue": len(station.outbox),
            "transaction_messages": len(station.outbox.lasting),
            "error": station.error,
            "connectors": [connector.snapshot() for connector in station.connectors.values()],
        }

    # Time

    def _advance(self, now: datetime) -> None:
        """Live through everything that was due until now, each at its own instant."""
        now = max(now, self._station.now)
        while True:
            timer, due_at = self._next_due()
            if timer is None or due_at is None or due_at > now:
                break
            # Due but unheard until now: it happens no earlier than the present.
            self._station.pass_until(max(due_at, self._station.now))
            self._came_due(timer)
            self._station.settle()
        self._station.pass_until(now)

    def _next_due(self) -> tuple[Timer | None, datetime | None]:
        due = list(self._station.timers.items())
        outbox = self._station.outbox
        if outbox.open is not None:
            due.append((("timeout", 0), outbox.open.expires_at))
        elif outbox.resumes_at is not None:
            due.append((("retry", 0), outbox.resumes_at))
        return min(due, key=lambda item: (item[1], item[0]), default=(None, None))

    def _came_due(self, timer: Timer) -> None:
        self._station.timers.pop(timer, None)
        outbox = self._station.outbox
        match timer[0]:
            case "timeout":
                assert outbox.open is not None
                saying = outbox.close(outbox.open.id)
                assert saying is not None
                self._failed(saying, "no answer in time")
            case "retry":
                outbox.resumes_at = None
            case "boot":
                self._boot()
            case "reboot":
                self._go_down(self.plate.boot_s)
            case "reconnect":
                self._hang_up("new credentials")
            case "answer":
                self._effects.extend(Send(text) for text in self._thinking)
                self._thinking.clear()
            case "up":
                self._station.is_powered = True
            case "firmware" | "diagnostics":
                self._upkeep.came_due(timer[0])
            case _:
                self._station.came_due(*timer)

    def _conclude(self) -> list[Effect]:
        self._station.settle()
        # What was made due at once, such as an upload, happens after the answer that promised it.
        self._advance(self._station.now)
        if not self._station.outbox.lasting:
            self._upkeep.all_is_said()
        self._say_next()
        _, due_at = self._next_due()
        effects = [*self._effects, *self._upkeep.wanted, *(Log(text) for text in self._station.log)]
        self._effects.clear()
        self._upkeep.wanted.clear()
        self._station.log.clear()
        if due_at is not None and due_at != self._woken_at:
            effects.append(WakeAt(due_at))
        self._woken_at = due_at
        return effects

    # Saying

    def _say_next(self) -> None:
        if not self._is_online:
            return
        timeout = timedelta(seconds=self.plate.call_timeout_s)
        may_say = {"Accepted": "all", "Pending": "triggered", "Rejected": "boot"}.get(
            self._registration, "boot"
        )
        opened = self._station.outbox.next(self._station.now, may_say, timeout)
        if opened is not None:
            action, payload = opened.saying.action, opened.saying.wire_payload()
            said = quirks.bend(self.plate.quirks, action, payload, self.plate.zone)
            self._effects.append(Send(encode_call(opened.id, action, said)))

    def _log(self, text: str) -> None:
        self._effects.append(Log(text))

    def _boot(self) -> None:
        self._station.outbox.add(Saying("BootNotification", self._upkeep.boot_payload()))

    def _closed(self, call_id: str) -> Saying | None:
        saying = self._station.outbox.close(call_id)
        if saying is None:
            self._log(f"late or foreign answer {call_id}")
        return saying

    def _understood(self, saying: Saying, payload: Payload) -> None:
        try:
            self._read_answer(saying, Fields(payload))
        except BadPayload as bad:
            self._failed(saying, bad.description)

    def _read_answer(self, saying: Saying, fields: Fields) -> None:
        match saying.action:
            case "BootNotification":
                self._booted(fields.text("status"), fields.whole("interval"))
            case "Authorize":
                info = read_tag_info(fields.inner("idTagInfo"))
                assert saying.swipe is not None
                self._station.learn(saying.swipe.id_tag, info)
                self._station.decided(saying.swipe, info)
            case "StartTransaction":
                number, info = fields.whole("transactionId"), read_tag_info(fields.inner("idTagInfo"))
                assert saying.transaction is not None
                self._station.started(saying.transaction, number, info)
            case "StopTransaction" if "idTag" in saying.payload:
                verdict = fields.inner_or_none("idTagInfo")
                if verdict is not None:
                    self._station.learn(saying.payload["idTag"], read_tag_info(verdict))
            case _:
                pass

    def _booted(self, status: str, interval_s: int) -> None:
        waits = ": it waits until somebody claims it in the portal" if status == "Pending" else ""
        self._log(f"boot {status}{waits}")
        self._registration = status
        station = self._station
        if status == "Accepted":
            first = not station.is_accepted
            station.is_accepted = True
            if interval_s > 0:
                station.keys.set_count("HeartbeatInterval", interval_s)
            station.schedule_heartbeat()
            station.timers.pop(("boot", 0), None)
            if first:
                places = [0, *station.connectors]
                station.outbox.begin_replay([station.status_saying(place) for place in places])
                self._upkeep.accepted()
        else:
            station.is_accepted = False
            station.after("boot", 0, interval_s if interval_s > 0 else BOOT_RETRY_S)

    def _failed(self, saying: Saying, why: str) -> None:
        """A call of ours was refused or not answered."""
        self._log(f"{saying.action}: {why}")
        station = self._station
        if saying.transaction is not None:
            self._try_again(saying)
        elif saying.swipe is not None:
            station.decide_alone(saying.swipe)
        elif saying.action == "BootNotification" and not station.is_accepted:
            station.after("boot", 0, BOOT_RETRY_S)

    def _try_again(self, saying: Saying) -> None:
        """Repeat a transaction message, with growing pauses, a limited number of times (§3.7.1)."""
        saying.attempts += 1
        keys = self._station.keys
        if saying.attempts >= keys.count("TransactionMessageAttempts"):
            self._log(f"{saying.action} is given up after {saying.attempts} attempts")
            return
        pause_s = keys.count("TransactionMessageRetryInterval") * saying.attempts
        self._station.outbox.put_back(saying, self._station.now + timedelta(seconds=pause_s))

    def _answer(self, call: Call) -> None:
        if self._registration == "Rejected":
            # Until accepted a rejected charger answers nothing (§4.2).
            self._log(f"{call.action} is ignored: the boot was rejected")
            return
        try:
            text = encode_result(call.id, answer(self._station, self._upkeep, call.action, call.payload))
        except BadPayload as bad:
            text = encode_error(call.id, bad.code, bad.description)
        slow_s = quirks.SLOW_S.get(call.action, 0.0) if self.plate.quirks == quirks.ODD else 0.0
        if slow_s:
            self._thinking.append(text)
            self._station.after("answer", 0, slow_s)
        else:
            self._effects.append(Send(text))

    # Going down

    def _hang_up(self, reason: str) -> None:
        if self._is_online:
            self._drop()
            self._effects.append(Disconnect(reason))

    def _drop(self) -> None:
        """Forget the connection; whoever waited for an answer is decided about alone."""
        self._is_online = False
        self._registration = "none"
        self._station.is_accepted = False
        for timer in ("boot", "heartbeat", "reconnect", "answer"):
            self._station.timers.pop((timer, 0), None)
        self._thinking.clear()
        for saying in self._station.outbox.cut():
            if saying.swipe is not None:
                self._station.decide_alone(saying.swipe)

    def _go_down(self, down_s: float) -> None:
        """Lose everything that a charger does not keep: the connection, authorisations, half-done work."""
        station = self._station
        station.is_powered = False
        self._hang_up("reboot")
        # What still ran, for a reset that came out of a firmware update.
        station.end_all("Reboot")
        for connector in station.connectors.values():
            station.withdraw(connector)
            connector.is_finishing = False
        station.keys.apply_pending()
        self._upkeep.rebooted()
        station.after("up", 0, down_s)
        self._effects.append(Reboot(down_s))

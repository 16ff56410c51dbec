"""One connector: what is plugged, authorised, reserved and metered, and the state that follows.

Invariants:
- the meter never goes back;
- the nine states of OCPP 1.6 §4.9 are derived, never stored, so no transition can be forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from voltyard.sim.car import Battery, Car
from voltyard.sim.envelope import Payload, written
from voltyard.sim.outbox import Transaction
from voltyard.sim.profiles import Limit, Profile

NO_ERROR = "NoError"


@dataclass(frozen=True)
class Authorisation:
    """A tag that may begin here; ``until`` ends it when no car comes (ConnectionTimeOut)."""

    id_tag: str
    parent: str | None
    until: datetime
    is_pinned: bool
    profile: Profile | None = None
    """The TxProfile that came with a RemoteStartTransaction (§5.11)."""


@dataclass(frozen=True)
class Reservation:
    """A connector that is kept for a tag (§5.13)."""

    id: int
    id_tag: str
    parent: str | None
    expires_at: datetime

    def is_for(self, id_tag: str, parent: str | None) -> bool:
        """Tell whether this tag, or its group, holds the reservation."""
        same_group = parent is not None and parent == self.parent
        return id_tag.lower() == self.id_tag.lower() or same_group


class Connector:
    """The state of one connector; ``phases`` is how many are wired."""

    def __init__(self, number: int, phases: int, voltage_v: float, meter_wh: float) -> None:
        self.number = number
        self.phases = phases
        self.voltage_v = voltage_v
        self.meter_wh = meter_wh
        self.battery: Battery | None = None
        self.authorisation: Authorisation | None = None
        self.reservation: Reservation | None = None
        self.transaction: Transaction | None = None
        self.is_operative = True
        self.becomes_operative: bool | None = None
        """The availability that waits for the end of the transaction (§5.2)."""
        self.is_finishing = False
        self.error = NO_ERROR
        self.limit = Limit(0.0, phases)
        self.reported: tuple[str, str] | None = None

    @property
    def meter_reading_wh(self) -> int:
        """The energy register as it is told, in whole Wh, rounded down."""
        return int(self.meter_wh)

    @property
    def offered_a(self) -> float:
        """What the control pilot offers now, per phase; 0 when it offers nothing."""
        return self.limit.current_a

    @property
    def phases_in_use(self) -> int:
        """On how many phases the plugged car can draw."""
        return 0 if self.battery is None else min(self.limit.phases, self.battery.car.phases)

    @property
    def drawn_a(self) -> float:
        """What the car takes now on each phase in use."""
        return 0.0 if self.battery is None or self.offered_a == 0 else self.battery.drawn_a

    @property
    def power_w(self) -> float:
        """What the car takes now."""
        return self.drawn_a * self.voltage_v * self.phases_in_use

    def status(self) -> str:
        """Return the ChargePointStatus that follows from everything else (§4.9, §7.7)."""
        if self.error != NO_ERROR:
            return "Faulted"
        if self.transaction is not None:
            return self._charging_status(self.transaction)
        if not self.is_operative:
            return "Unavailable"
        if self.is_finishing and self.authorisation is None:
            return "Finishing"
        if self.authorisation is None and self.reservation is not None:
            return "Reserved"
        if self.battery is not None or self.authorisation is not None:
            return "Preparing"
        return "Available"

    def _charging_status(self, transaction: Transaction) -> str:
        if self.battery is None:
            return "SuspendedEV"
        if self.offered_a == 0 or transaction.is_suspended:
            return "SuspendedEVSE"
        return "SuspendedEV" if self.battery.is_full else "Charging"

    def plug(self, car: Car) -> None:
        """Put a car to the connector; it waits for an offer."""
        self.battery = Battery(car)

    def unplug(self) -> None:
        """Take the car away."""
        self.battery = None
        self.is_finishing = False

    def offer(self, limit: Limit) -> None:
        """Offer this from now on; a drawn current above it falls at once."""
        self.limit = limit
        if self.battery is not None:
            self.battery.settle(limit.current_a)

    def flow(self, duration_s: float) -> None:
        """Let energy flow for a while at the present offer."""
        if self.battery is not None and self.offered_a > 0:
            self.meter_wh += self.battery.draw(self.offered_a, self.voltage_v, self.phases_in_use, duration_s)

    def seconds_until_full(self) -> float | None:
        """Return how long the present offer takes to fill the car, or None if it never does."""
        if self.battery is None or self.offered_a == 0:
            return None
        return self.battery.seconds_until_full(self.offered_a, self.voltage_v, self.phases_in_use)

    def meter_value(self, at: datetime, measurands: list[str], context: str) -> Payload | None:
        """Return one meterValue object (§7.33), or None when nothing of it can be measured here."""
        sampled = [value for name in measurands for value in self._sampled(name, context)]
        return {"timestamp": written(at), "sampledValue": sampled} if sampled else None

    def _sampled(self, measurand: str, context: str) -> list[Payload]:
        def value(number: str, unit: str, location: str = "Outlet", phase: str | None = None) -> Payload:
            one: Payload = {
                "value": number,
                "context": context,
                "format": "Raw",
                "measurand": measurand,
                "location": location,
                "unit": unit,
            }
            return one if phase is None else {**one, "phase": phase}

        wired = range(1, self.phases + 1)
        match measurand:
            case "Energy.Active.Import.Register":
                return [value(str(self.meter_reading_wh), "Wh")]
            case "Power.Active.Import":
                return [value(f"{self.power_w:.1f}", "W")]
            case "Current.Offered":
                return [value(f"{self.offered_a:.1f}", "A")]
            case "Current.Import":
                taken = [self.drawn_a if phase <= self.phases_in_use else 0.0 for phase in wired]
                return [value(f"{taken[phase - 1]:.1f}", "A", phase=f"L{phase}") for phase in wired]
            case "Voltage":
                return [value(f"{self.voltage_v:.1f}", "V", phase=f"L{phase}-N") for phase in wired]
            case "SoC" if self.battery is not None and self.battery.car.tells_soc:
                return [value(f"{self.battery.soc * 100:.0f}", "Percent", location="EV")]
            case _:
                return []

    def snapshot(self) -> Payload:
        """Return what a person at the control port wants to see."""
        running, battery = self.transaction, self.battery
        taken = [self.drawn_a if phase < self.phases_in_use else 0.0 for phase in range(3)]
        return {
            "connector": self.number,
            "status": self.status(),
            "error": self.error,
            "car": None if battery is None else battery.car.name,
            "soc": None if battery is None else round(battery.soc, 4),
            "meter_wh": self.meter_reading_wh,
            "offered_a": round(self.offered_a, 3),
            "current_a": [round(one, 3) for one in taken],
            "power_w": round(self.power_w, 1),
            "transaction": None if running is None else running.number,
            "is_charging_session": running is not None,
            "id_tag": None if running is None else running.id_tag,
            "reservation": None if self.reservation is None else self.reservation.id,
            "is_operative": self.is_operative,
            "led": self._led(),
        }

    def _led(self) -> str:
        """Return how the ring would glow: the words of the usual chargers."""
        match self.status():
            case "Faulted":
                return "red steady"
            case "Charging":
                return "white pulsing"
            case "Preparing" if self.authorisation is None:
                return "white flashing"
            case "Available" | "Unavailable":
                return "white standby"
            case _:
                return "white steady"


def next_multiple(now: datetime, interval_s: int) -> datetime:
    """Return the next instant of the clock-aligned grid that begins at midnight UTC (§3.16.2)."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = (now - midnight) // timedelta(seconds=interval_s) + 1
    tomorrow = midnight + timedelta(days=1)
    return min(midnight + passed * timedelta(seconds=interval_s), tomorrow)

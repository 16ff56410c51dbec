"""Charging profiles as a charger keeps them, and the limit that they make at a time (OCPP 1.6 §3.13).

Invariants:
- the composed limit is never above any ChargePointMaxProfile nor above the winning Tx or TxDefault one;
- between two neighbouring ``boundaries`` the limit does not change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from voltyard.sim.envelope import BadPayload, Fields

MAX = "ChargePointMaxProfile"
TX_DEFAULT = "TxDefaultProfile"
TX = "TxProfile"


@dataclass(frozen=True)
class Period:
    """A limit from this second of the schedule on."""

    start_s: int
    limit: float
    phases: int | None


@dataclass(frozen=True)
class Limit:
    """A limit in amps per phase, and on how many phases."""

    current_a: float
    phases: int


@dataclass(frozen=True)
class Profile:
    """One charging profile of the central system; ``rate_unit`` is A or W."""

    id: int
    purpose: str
    kind: str
    stack_level: int
    rate_unit: str
    periods: tuple[Period, ...]
    installed_at: datetime
    transaction_number: int | None = None
    recurrence: timedelta | None = None
    start_at: datetime | None = None
    duration_s: int | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def anchor(self, at: datetime, began_at: datetime | None) -> datetime | None:
        """Return when the schedule that covers this instant began, or None if none does."""
        if (self.valid_from and at < self.valid_from) or (self.valid_to and at >= self.valid_to):
            return None
        anchor = self._anchor(at, began_at)
        if at < anchor or (self.duration_s is not None and at >= anchor + timedelta(seconds=self.duration_s)):
            return None
        return anchor

    def _anchor(self, at: datetime, began_at: datetime | None) -> datetime:
        if self.kind == "Relative" or self.start_at is None:
            return began_at or self.installed_at
        if self.recurrence is None or at < self.start_at:
            return self.start_at
        return self.start_at + (at - self.start_at) // self.recurrence * self.recurrence

    def limit(self, at: datetime, began_at: datetime | None, voltage_v: float, phases: int) -> Limit | None:
        """Return the limit at this instant, or None when the profile says nothing then."""
        anchor = self.anchor(at, began_at)
        if anchor is None:
            return None
        passed_s = (at - anchor).total_seconds()
        # The first period begins with the schedule: ``read_profile`` takes no other.
        period = [period for period in self.periods if period.start_s <= passed_s][-1]
        used = min(phases, period.phases or phases)
        per_phase_a = period.limit / (voltage_v * used) if self.rate_unit == "W" else period.limit
        return Limit(per_phase_a, used)

    def boundaries(self, at: datetime, began_at: datetime | None) -> Iterator[datetime]:
        """Yield instants at which the limit may change, the next one after ``at`` among them."""
        yield from (edge for edge in (self.valid_from, self.valid_to) if edge)
        anchor = self._anchor(at, began_at)
        for start in (anchor, anchor + self.recurrence) if self.recurrence else (anchor,):
            yield from (start + timedelta(seconds=period.start_s) for period in self.periods)
            if self.duration_s is not None:
                yield start + timedelta(seconds=self.duration_s)


def read_profile(fields: Fields, now: datetime) -> Profile:
    """Read a csChargingProfiles object. Raises ``BadPayload`` when it breaks its schema."""
    schedule = fields.inner("chargingSchedule")
    kind = fields.choice("chargingProfileKind", "Absolute", "Recurring", "Relative")
    start_at = schedule.instant_or_none("startSchedule")
    recurrence = None
    if kind == "Recurring":
        every = fields.choice("recurrencyKind", "Daily", "Weekly")
        recurrence = timedelta(days=1 if every == "Daily" else 7)
        if start_at is None:
            raise BadPayload("PropertyConstraintViolation", "a recurring schedule needs startSchedule")
    periods = tuple(
        Period(item.whole("startPeriod"), item.number("limit"), item.whole_or_none("numberPhases"))
        for item in schedule.items("chargingSchedulePeriod")
    )
    if not periods or periods[0].start_s != 0 or any(period.limit < 0 for period in periods):
        raise BadPayload("PropertyConstraintViolation", "periods start at 0 and limits are not negative")
    if any(later.start_s <= earlier.start_s for earlier, later in pairwise(periods)):
        raise BadPayload("PropertyConstraintViolation", "periods are in the order of their starts")
    return Profile(
        id=fields.whole("chargingProfileId"),
        purpose=fields.choice("chargingProfilePurpose", MAX, TX_DEFAULT, TX),
        kind=kind,
        stack_level=fields.whole("stackLevel"),
        rate_unit=schedule.choice("chargingRateUnit", "A", "W"),
        periods=periods,
        installed_at=now,
        transaction_number=fields.whole_or_none("transactionId"),
        recurrence=recurrence,
        start_at=start_at,
        duration_s=schedule.whole_or_none("duration"),
        valid_from=fields.instant_or_none("validFrom"),
        valid_to=fields.instant_or_none("validTo"),
    )


@dataclass
class ProfileShelf:
    """All profiles that a charger holds, by connector."""

    held: list[tuple[int, Profile]] = field(default_factory=list)

    def install(self, connector: int, profile: Profile) -> None:
        """Add a profile; it replaces one of the same id, or of the same place, level and purpose (§5.16)."""
        self.held = [
            (place, old)
            for place, old in self.held
            if old.id != profile.id
            and (place, old.stack_level, old.purpose) != (connector, profile.stack_level, profile.purpose)
        ]
        self.held.append((connector, profile))

    def clear(
        self,
        profile_id: int | None = None,
        connector: int | None = None,
        purpose: str | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Remove what matches every given filter and return how many (§5.5)."""
        kept = [
            (place, old)
            for place, old in self.held
            if (profile_id is not None and old.id != profile_id)
            or (connector is not None and place != connector)
            or (purpose is not None and old.purpose != purpose)
            or (stack_level is not None and old.stack_level != stack_level)
        ]
        removed = len(self.held) - len(kept)
        self.held = kept
        return removed

    def ceiling(self, at: datetime, voltage_v: float, phases: int) -> Limit | None:
        """Return the limit of the whole charger at this instant."""
        return self._winner(self._held(MAX, 0), at, None, voltage_v, phases)

    def session_limit(
        self, connector: int, at: datetime, began_at: datetime | None, voltage_v: float, phases: int
    ) -> Limit | None:
        """Return the limit of one connector: TxProfile, else TxDefault of it, else TxDefault of all."""
        for purpose, place in ((TX, connector), (TX_DEFAULT, connector), (TX_DEFAULT, 0)):
            limit = self._winner(self._held(purpose, place), at, began_at, voltage_v, phases)
            if limit is not None:
                return limit
        return None

    def next_boundary(self, at: datetime, began_at: dict[int, datetime]) -> datetime | None:
        """Return the next instant at which any limit may change; ``began_at`` is by connector."""
        later = [
            edge
            for place, profile in self.held
            for began in ([began_at.get(place)] if place else [None, *began_at.values()])
            for edge in profile.boundaries(at, began)
            if edge > at
        ]
        return min(later, default=None)

    def _held(self, purpose: str, place: int) -> list[Profile]:
        return [profile for at, profile in self.held if at == place and profile.purpose == purpose]

    @staticmethod
    def _winner(
        profiles: Iterable[Profile], at: datetime, began_at: datetime | None, voltage_v: float, phases: int
    ) -> Limit | None:
        """Return what the highest stack level says that says anything at this instant (§3.13.2)."""
        for profile in sorted(profiles, key=lambda one: -one.stack_level):
            limit = profile.limit(at, began_at, voltage_v, phases)
            if limit is not None:
                return limit
        return None


def share_out(wishes_a: list[float], total_a: float, minimum_a: float) -> list[float]:
    """Divide the charger's feed fairly between connectors, first come first.

    Nobody gets more than the wish or less than the minimum: who cannot have the minimum gets 0,
    the latest first. The sum is never above the total.
    """
    serving = [index for index, wish in enumerate(wishes_a) if wish >= minimum_a]
    while serving and total_a / len(serving) < minimum_a:
        serving.pop()
    shares = [0.0] * len(wishes_a)
    left_a = total_a
    for place, index in enumerate(sorted(serving, key=lambda one: wishes_a[one])):
        shares[index] = min(wishes_a[index], left_a / (len(serving) - place))
        left_a -= shares[index]
    return shares


def rounded_down(value: float) -> float:
    """Return a limit with one decimal, never above the value (OCPP 1.6 §7.14)."""
    return math.floor(value * 10 + 1e-6) / 10

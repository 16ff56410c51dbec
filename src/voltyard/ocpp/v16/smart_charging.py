"""Limits: charging profiles out, composite schedules in. OCPP 1.6 §3.13, the profile Smart Charging.

Invariants (property tests of the same names):
a limit is never written higher than it was asked · a composite that cannot be understood is None
"""

from __future__ import annotations

from itertools import pairwise
from math import floor, isfinite
from types import MappingProxyType
from typing import Final, Literal, assert_never

from voltyard.kernel.errors import Invalid
from voltyard.kernel.units import round_down_a, watts
from voltyard.ocpp.v16 import told
from voltyard.ocpp.v16.messages import (
    ChargingProfile,
    ChargingSchedule,
    ConnectorId,
    Count,
    Instant,
    Number,
    Payload,
    PlainAnswer,
    Purpose,
    RateUnit,
    Seconds,
)
from voltyard.ocpp.v16.writing import request, seconds
from voltyard.quirks import NONE, Quirks
from voltyard.speech import (
    ClearLimit,
    CompositeLimits,
    LimitPeriod,
    LimitPurpose,
    Repeat,
    SetLimit,
    TellComposite,
)

LIMIT_MAX: Final = 2**31 - 1


class SetChargingProfile(Payload, frozen=True):
    """OCPP 1.6 §6.43."""

    connector_id: ConnectorId
    cs_charging_profiles: ChargingProfile


class SetChargingProfileAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.44."""

    status: Literal["Accepted", "NotSupported", "Rejected"]


class ClearChargingProfile(Payload, frozen=True):
    """OCPP 1.6 §6.13."""

    id: Number | None = None
    connector_id: ConnectorId | None = None
    charging_profile_purpose: Purpose | None = None
    stack_level: Count | None = None


class ClearChargingProfileAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.14."""

    status: Literal["Accepted", "Unknown"]


class GetCompositeSchedule(Payload, frozen=True):
    """OCPP 1.6 §6.21."""

    connector_id: ConnectorId
    duration: Seconds
    charging_rate_unit: RateUnit | None = None


class GetCompositeScheduleAnswer(PlainAnswer, frozen=True):
    """OCPP 1.6 §6.22."""

    connector_id: ConnectorId | None = None
    schedule_start: Instant | None = None
    charging_schedule: ChargingSchedule | None = None


_PURPOSES: Final = MappingProxyType(
    {
        LimitPurpose.CHARGER: "ChargePointMaxProfile",
        LimitPurpose.DEFAULT: "TxDefaultProfile",
        LimitPurpose.TRANSACTION: "TxProfile",
    }
)
_REPEATS: Final = MappingProxyType({Repeat.DAILY: "Daily", Repeat.WEEKLY: "Weekly"})


def write(ask: SetLimit | ClearLimit | TellComposite, quirks: Quirks = NONE) -> tuple[str, bytes]:
    """Write an ask about limits as an action and its payload. Raises: Invalid."""
    match ask:
        case SetLimit(connector):
            return request(
                SetChargingProfile, {"connectorId": connector, "csChargingProfiles": _profile(ask, quirks)}
            )
        case ClearLimit(profile_number, connector, purpose, stack_level):
            return request(
                ClearChargingProfile,
                {
                    "id": profile_number,
                    "connectorId": connector,
                    "chargingProfilePurpose": None if purpose is None else _PURPOSES[purpose],
                    "stackLevel": None if stack_level is None else _stack_level(stack_level, quirks),
                },
            )
        case TellComposite(connector, duration_s, unit):
            return request(
                GetCompositeSchedule,
                {"connectorId": connector, "duration": duration_s, "chargingRateUnit": unit},
            )
    assert_never(ask)


def read_composite(payload: bytes) -> CompositeLimits | None:
    """Understand the answer to GetCompositeSchedule; None if any part of it cannot be. Never raises."""
    answer = told.read(told.COMPOSITE, payload, [])
    schedule = None if answer is None else answer.charging_schedule
    if answer is None or schedule is None or not schedule.charging_schedule_period:
        return None
    unit = (schedule.charging_rate_unit or "").strip().upper()
    if unit not in {"A", "W"}:
        return None
    periods: list[LimitPeriod] = []
    for period in schedule.charging_schedule_period:
        start_s, limit = period.start_period, period.limit
        if start_s is None or limit is None:
            # A stretch left out would look as if the limit before it went on.
            return None
        limit_a, limit_w = (limit, None) if unit == "A" else (None, limit)
        periods.append(LimitPeriod(start_s, limit_a, limit_w, period.number_phases))
    starts_at = told.in_utc(answer.schedule_start or schedule.start_schedule, [])
    return CompositeLimits(tuple(periods), starts_at, schedule.duration)


def _profile(ask: SetLimit, quirks: Quirks) -> dict[str, object]:
    _refuse_contradictions(ask)
    unit = _unit(ask.periods)
    shaped = [_shaped(period, quirks) for period in ask.periods]
    kind = "Recurring" if ask.repeats else "Absolute" if ask.starts_at else "Relative"
    return {
        "chargingProfileId": ask.profile_number,
        "transactionId": None if quirks.limit_without_transaction else ask.number,
        "stackLevel": _stack_level(ask.stack_level, quirks),
        "chargingProfilePurpose": _PURPOSES[ask.purpose],
        "chargingProfileKind": kind,
        "recurrencyKind": None if ask.repeats is None else _REPEATS[ask.repeats],
        "validFrom": seconds(ask.valid_from_at),
        "validTo": seconds(ask.valid_until_at),
        "chargingSchedule": {
            "duration": ask.duration_s,
            "startSchedule": seconds(ask.starts_at),
            "chargingRateUnit": "W" if quirks.is_limited_in_watts else unit,
            "chargingSchedulePeriod": [
                _period(period, f"/periods/{place}", quirks) for place, period in enumerate(shaped)
            ],
        },
    }


def _refuse_contradictions(ask: SetLimit) -> None:
    """Refuse what the types allow and OCPP 1.6 §3.13 does not."""
    if ask.purpose is LimitPurpose.CHARGER and ask.connector != 0:
        raise _invalid("/connector", "a limit of the whole charger belongs to connector 0")
    if ask.purpose is LimitPurpose.TRANSACTION and ask.connector == 0:
        raise _invalid("/connector", "name the connector of the transaction")
    if ask.purpose is not LimitPurpose.TRANSACTION and ask.number is not None:
        raise _invalid("/number", "leave it out: this limit is for no single transaction")
    if ask.repeats is not None and ask.starts_at is None:
        raise _invalid("/starts_at", "say from when a limit that repeats itself counts")
    starts = [period.start_s for period in ask.periods]
    if not starts or starts[0] != 0:
        raise _invalid("/periods", "let the first period start at 0")
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise _invalid("/periods", "let each period start later than the one before")


def _unit(periods: tuple[LimitPeriod, ...]) -> RateUnit:
    """Return the unit of all periods; a charging schedule has but one."""
    told_in = {(period.limit_a is not None, period.limit_w is not None) for period in periods}
    if told_in == {(True, False)}:
        return "A"
    if told_in == {(False, True)}:
        return "W"
    raise _invalid("/periods", "limit every period in amperes, or every one in watts")


def _stack_level(asked: int, quirks: Quirks) -> int:
    """Return a stack level that the charger takes (quirk Q51)."""
    return asked if quirks.stack_level_max is None else min(asked, quirks.stack_level_max)


def _shaped(period: LimitPeriod, quirks: Quirks) -> LimitPeriod:
    """Return a period in the form that the charger heeds, never with a higher limit (quirk Q51)."""
    if quirks.is_limited_in_watts and period.limit_a is not None and isfinite(period.limit_a):
        # Where it is not said how many phases there are, one is the only count that is never too many.
        period = LimitPeriod(period.start_s, None, watts(period.limit_a, period.phases or 1), period.phases)
    if quirks.limit_needs_phases and period.phases is None:
        # OCPP 1.6 §7.14: without a number, three are meant.
        period = LimitPeriod(period.start_s, period.limit_a, period.limit_w, 3)
    return period


def _period(period: LimitPeriod, pointer: str, quirks: Quirks) -> dict[str, object]:
    limit = period.limit_w if period.limit_a is None else period.limit_a
    # Written so that a NaN is out of range as well.
    if limit is None or not 0 <= limit <= LIMIT_MAX:
        raise _invalid(pointer, f"a limit lies between 0 and {LIMIT_MAX}")
    # OCPP 1.6 §7.14 allows one decimal, of amperes and of watts; some chargers take none (quirk Q51), so
    # that a whole number is written as one.
    rounded = float(floor(limit)) if quirks.is_limited_in_whole_numbers else round_down_a(limit)
    return {
        "startPeriod": period.start_s,
        "limit": int(rounded) if rounded.is_integer() else rounded,
        "numberPhases": period.phases,
    }


def _invalid(pointer: str, problem: str) -> Invalid:
    return Invalid(f"{pointer[1:]}: {problem}", ((pointer, problem),))

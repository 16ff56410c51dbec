"""What a central system asks of a charge point, read by the letter; what a charge point answers, written so.

The other direction of ``dialect``: there we bear with chargers, here we are strict with back offices, since
what they ask is passed on to hardware. A ``detail`` goes back to who asked and quotes nothing of it.

Invariants (property tests of the same names):
read never raises · what fits the schema is read · a detail never quotes the payload ·
what is answered fits the schema · limits undoes what writing a limit does
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from voltyard.kernel.units import amps, round_down_a, watts
from voltyard.ocpp.v16 import actions
from voltyard.ocpp.v16.dialect import Malformed
from voltyard.ocpp.v16.messages import ChargingProfile, ChargingSchedulePeriod, Payload, RateUnit
from voltyard.ocpp.v16.smart_charging import (
    LIMIT_MAX,
    ClearChargingProfile,
    GetCompositeSchedule,
    SetChargingProfile,
)
from voltyard.ocpp.v16.writing import checked, refusal, seconds
from voltyard.speech import (
    ClearLimit,
    CompositeLimits,
    LimitPeriod,
    LimitPurpose,
    LimitUnit,
    Repeat,
    SetLimit,
    TellComposite,
)

_ANY: Final = msgspec.json.Decoder()
_PURPOSES: Final = MappingProxyType(
    {
        "ChargePointMaxProfile": LimitPurpose.CHARGER,
        "TxDefaultProfile": LimitPurpose.DEFAULT,
        "TxProfile": LimitPurpose.TRANSACTION,
    }
)
_REPEATS: Final = MappingProxyType({"Daily": Repeat.DAILY, "Weekly": Repeat.WEEKLY})


# --- what is asked --------------------------------------------------------------------------------


def read(action: str, payload: bytes) -> Payload | Malformed:
    """Read a request into its struct. Never raises.

    Fields that the message lacks, nulls, and texts with a NUL are refused like any other misfit.
    """
    pair = actions.TO_CHARGER.get(action)
    if pair is None:
        # 1.6-J §4.2.3: known but not for us, as opposed to not known.
        if action in actions.FROM_CHARGER:
            return Malformed("NotSupported", "this action is not supported here")
        return Malformed("NotImplemented", "this action is not known")
    try:
        value = _ANY.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Malformed("FormationViolation", "the payload is not JSON")
    if not isinstance(value, dict):
        return Malformed("FormationViolation", "the payload is not an object")
    try:
        request = msgspec.convert(value, pair[0])
    except msgspec.ValidationError as wrong:
        return _misfit(wrong)
    known = msgspec.to_builtins(request, builtin_types=(datetime,))
    return _oddity(value, known, "") or _contradiction(request) or request


def _misfit(wrong: msgspec.ValidationError) -> Malformed:
    pointer, problem = refusal(wrong).errors[0]
    at = f"{pointer}: " if pointer else ""
    if problem.startswith("Object missing"):
        return Malformed("OccurenceConstraintViolation", f"{at}a field that the message needs is missing")
    if ", got `" in problem:
        return Malformed("TypeConstraintViolation", f"{at}{problem}")
    if problem.startswith("Invalid"):
        # Here alone the sentence would quote what was sent.
        problem = "this is none of the values that OCPP allows"
    return Malformed("PropertyConstraintViolation", f"{at}{problem}")


def _oddity(value: object, known: object, pointer: str) -> Malformed | None:
    """Find what the structs let pass: unknown fields, nulls, NULs, instants that UTC has no room for."""
    if isinstance(value, dict) and isinstance(known, dict):
        for name, part in value.items():
            if name not in known:
                if part is None:
                    return Malformed("TypeConstraintViolation", f"{pointer or '/'}: leave out what is null")
                return Malformed("FormationViolation", f"{pointer or '/'}: holds an unknown field")
            found = _oddity(part, known[name], f"{pointer}/{name}")
            if found is not None:
                return found
    elif isinstance(value, list) and isinstance(known, list):
        for place, part in enumerate(value):
            found = _oddity(part, known[place], f"{pointer}/{place}")
            if found is not None:
                return found
    elif isinstance(known, datetime):
        if not _is_in_range(known):
            return Malformed("PropertyConstraintViolation", f"{pointer}: this time is out of range")
    elif isinstance(value, str) and "\x00" in value:
        return Malformed("PropertyConstraintViolation", f"{pointer}: a text may not hold a NUL")
    return None


def _is_in_range(at: datetime) -> bool:
    if at.tzinfo is None:
        return True
    try:
        at.astimezone(UTC)
    except OverflowError:
        return False
    return True


def _contradiction(request: Payload) -> Malformed | None:
    """Find what a limit cannot be made of: one that repeats itself without saying how often."""
    profile = (
        request.cs_charging_profiles
        if isinstance(request, SetChargingProfile)
        else getattr(request, "charging_profile", None)
    )
    if profile is None or profile.charging_profile_kind != "Recurring" or profile.recurrency_kind is not None:
        return None
    return Malformed("PropertyConstraintViolation", "a recurring profile needs its recurrencyKind")


def limits(asked: SetChargingProfile) -> SetLimit:
    """Return a charging profile as a limit, instants and units as they were told.

    OCPP 1.6 §7.13: without a ``startSchedule`` a profile counts from the start of the charge, a Relative one
    always does. What contradicts itself, such as periods out of order, is kept; who keeps limits refuses it.
    ``minChargingRate`` has no place in a limit.
    """
    return limit(asked.connector_id, asked.cs_charging_profiles)


def limit(connector: int, profile: ChargingProfile) -> SetLimit:
    """Return a charging profile for this connector as a limit, as ``limits`` does."""
    schedule = profile.charging_schedule
    kind = profile.charging_profile_kind
    return SetLimit(
        connector,
        _PURPOSES[profile.charging_profile_purpose],
        profile.charging_profile_id,
        profile.stack_level,
        tuple(_period(period, schedule.charging_rate_unit) for period in schedule.charging_schedule_period),
        profile.transaction_id,
        None if kind == "Relative" else _utc(schedule.start_schedule),
        schedule.duration,
        _REPEATS[profile.recurrency_kind] if kind == "Recurring" and profile.recurrency_kind else None,
        _utc(profile.valid_from),
        _utc(profile.valid_to),
    )


def clear(asked: ClearChargingProfile) -> ClearLimit:
    """Return which limits are to be forgotten."""
    purpose = asked.charging_profile_purpose
    return ClearLimit(
        asked.id, asked.connector_id, None if purpose is None else _PURPOSES[purpose], asked.stack_level
    )


def composite(asked: GetCompositeSchedule) -> TellComposite:
    """Return of which connector, for how long and in which unit the limits are wanted."""
    unit = asked.charging_rate_unit
    return TellComposite(asked.connector_id, asked.duration, None if unit is None else LimitUnit(unit))


def _period(period: ChargingSchedulePeriod, unit: RateUnit) -> LimitPeriod:
    value = float(period.limit)
    limit_a, limit_w = (value, None) if unit == "A" else (None, value)
    return LimitPeriod(period.start_period, limit_a, limit_w, period.number_phases)


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)


# --- what is answered -----------------------------------------------------------------------------


def answer(action: str, **fields: object) -> bytes:
    """Write a charge point's answer; fields bear the names of the struct, such as ``list_version``.

    Raises: Invalid when OCPP 1.6 has no room for a value, TypeError when a field is unknown or missing.
    """
    kind = actions.TO_CHARGER[action][1]
    written: dict[str, object] = msgspec.to_builtins(kind(**fields))
    return checked(kind, written)


def composite_answer(connector: int, limits: CompositeLimits | None, unit: LimitUnit | None) -> bytes:
    """Write the answer to GetCompositeSchedule: Rejected where there is nothing to tell.

    ``unit`` is the one that was asked for; where none was, the first period's is taken. A period in the other
    unit is converted; where its phases are not said, three are meant (OCPP 1.6 §7.14). Raises: Invalid.
    """
    if limits is None or not limits.periods:
        return answer("GetCompositeSchedule", status="Rejected")
    if unit is None:
        unit = LimitUnit.WATTS if limits.periods[0].limit_a is None else LimitUnit.AMPERES
    starts_at = seconds(limits.starts_at)
    return answer(
        "GetCompositeSchedule",
        status="Accepted",
        connector_id=connector,
        schedule_start=starts_at,
        charging_schedule={
            "duration": limits.duration_s,
            "startSchedule": starts_at,
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": [
                {
                    "startPeriod": period.start_s,
                    "limit": _tenths(_limit_in(period, unit)),
                    "numberPhases": period.phases,
                }
                for period in limits.periods
            ],
        },
    )


def _limit_in(period: LimitPeriod, unit: LimitUnit) -> float:
    phases = period.phases or 3
    if unit is LimitUnit.AMPERES:
        return amps(period.limit_w or 0.0, phases) if period.limit_a is None else period.limit_a
    return watts(period.limit_a or 0.0, phases) if period.limit_w is None else period.limit_w


def _tenths(value: float) -> float:
    rounded = round_down_a(min(value, LIMIT_MAX))
    return int(rounded) if rounded.is_integer() else rounded

"""Limits out and composite schedules in, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import AT, NOON, TIMES, built, fits
from voltyard.kernel.errors import Invalid
from voltyard.kernel.units import watts
from voltyard.ocpp.v16 import smart_charging
from voltyard.quirks import Quirks
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

CHARGER, DEFAULT, TRANSACTION = LimitPurpose
SIXTEEN = (LimitPeriod(0, 16.0),)
numbers = st.none() | st.integers(-(2**31), 2**31 - 1)
seconds = st.none() | st.integers(0, 2**31 - 1)


@st.composite
def limits(draw: st.DrawFn) -> SetLimit:
    """Draw a limit without contradictions."""
    purpose = draw(st.sampled_from(LimitPurpose))
    is_in_amperes = draw(st.booleans())
    values = st.floats(0, 2**31 - 1) | st.integers(0, 99).map(float)
    starts = sorted(draw(st.sets(st.integers(1, 99_999), max_size=3)))
    periods = []
    for start_s in (0, *starts):
        value, phases = draw(values), draw(st.sampled_from([None, 1, 2, 3]))
        periods.append(
            LimitPeriod(start_s, value, None, phases)
            if is_in_amperes
            else LimitPeriod(start_s, None, value, phases)
        )
    starts_at = draw(st.none() | TIMES)
    return SetLimit(
        0 if purpose is CHARGER else draw(st.integers(1, 9)),
        purpose,
        draw(st.integers(-(2**31), 2**31 - 1)),
        draw(st.integers(0, 99)),
        tuple(periods),
        draw(numbers) if purpose is TRANSACTION else None,
        starts_at,
        draw(seconds),
        None if starts_at is None else draw(st.none() | st.sampled_from(Repeat)),
        draw(st.none() | TIMES),
        draw(st.none() | TIMES),
    )


asks = (
    limits()
    | st.builds(
        ClearLimit,
        numbers,
        st.none() | st.integers(0, 9),
        st.none() | st.sampled_from(LimitPurpose),
        st.none() | st.integers(0, 9),
    )
    | st.builds(
        TellComposite, st.integers(0, 9), st.integers(0, 2**31 - 1), st.none() | st.sampled_from(LimitUnit)
    )
)


@given(asks)
def test_what_is_written_fits_the_schema(ask: Any) -> None:
    fits(*smart_charging.write(ask))


@given(limits())
def test_a_limit_is_never_written_higher_than_it_was_asked(ask: SetLimit) -> None:
    profile = json.loads(smart_charging.write(ask)[1])["csChargingProfiles"]
    for period, written in zip(
        ask.periods, profile["chargingSchedule"]["chargingSchedulePeriod"], strict=True
    ):
        asked = period.limit_w if period.limit_a is None else period.limit_a
        assert asked is not None
        # The tolerance of `round_down_a`, far below what a fuse knows.
        assert asked - 0.1 < written["limit"] <= asked + 1e-6
        assert round(written["limit"], 1) == written["limit"]


models = st.builds(
    Quirks,
    stack_level_max=st.none() | st.integers(0, 3),
    is_limited_in_watts=st.booleans(),
    is_limited_in_whole_numbers=st.booleans(),
    limit_needs_phases=st.booleans(),
    limit_without_transaction=st.booleans(),
)


@given(limits(), models)
def test_no_model_gets_a_higher_limit_than_was_asked(ask: SetLimit, quirks: Quirks) -> None:  # Q51
    try:
        profile = json.loads(smart_charging.write(ask, quirks)[1])["csChargingProfiles"]
    except Invalid:
        assert quirks.is_limited_in_watts, "only in watts may a limit become too large to be written"
        return
    schedule = profile["chargingSchedule"]
    for period, written in zip(ask.periods, schedule["chargingSchedulePeriod"], strict=True):
        if period.limit_w is not None:
            most = period.limit_w
        else:
            assert period.limit_a is not None
            is_turned = schedule["chargingRateUnit"] == "W"
            most = watts(period.limit_a, period.phases or 1) if is_turned else period.limit_a
        assert written["limit"] <= most + 1e-6
        assert not quirks.is_limited_in_whole_numbers or isinstance(written["limit"], int)
        assert not quirks.limit_needs_phases or written["numberPhases"] == (period.phases or 3)
    assert quirks.stack_level_max is None or profile["stackLevel"] <= quirks.stack_level_max
    assert not quirks.limit_without_transaction or "transactionId" not in profile
    assert not quirks.is_limited_in_watts or schedule["chargingRateUnit"] == "W"


def test_a_limit_is_taken_back_at_the_level_at_which_it_was_given() -> None:  # Q51
    quirks = Quirks(stack_level_max=0)
    payload = smart_charging.write(ClearLimit(stack_level=7), quirks)[1]
    assert json.loads(payload) == {"stackLevel": 0}
    assert json.loads(smart_charging.write(ClearLimit(connector=1), quirks)[1]) == {"connectorId": 1}


PROFILE: dict[str, Any] = {
    "chargingProfileId": 9,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}],
    },
}


def profile(schedule: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    return PROFILE | changed | {"chargingSchedule": PROFILE["chargingSchedule"] | (schedule or {})}


@pytest.mark.parametrize(
    ("ask", "action", "payload"),
    [
        (
            SetLimit(1, DEFAULT, 9, 0, SIXTEEN),
            "SetChargingProfile",
            {"connectorId": 1, "csChargingProfiles": profile()},
        ),
        (
            SetLimit(0, CHARGER, 9, 2, SIXTEEN, starts_at=NOON, duration_s=60),
            "SetChargingProfile",
            {
                "connectorId": 0,
                "csChargingProfiles": profile(
                    {"startSchedule": AT, "duration": 60},
                    chargingProfilePurpose="ChargePointMaxProfile",
                    chargingProfileKind="Absolute",
                    stackLevel=2,
                ),
            },
        ),
        (
            SetLimit(
                2,
                TRANSACTION,
                9,
                0,
                (LimitPeriod(0, None, 11_040.06, 3), LimitPeriod(900, None, 0.0)),
                57,
                NOON,
                None,
                Repeat.DAILY,
                NOON,
                NOON + timedelta(days=1, microseconds=1),
            ),
            "SetChargingProfile",
            {
                "connectorId": 2,
                "csChargingProfiles": profile(
                    {
                        "chargingRateUnit": "W",
                        "startSchedule": AT,
                        "chargingSchedulePeriod": [
                            {"startPeriod": 0, "limit": 11_040, "numberPhases": 3},
                            {"startPeriod": 900, "limit": 0},
                        ],
                    },
                    chargingProfilePurpose="TxProfile",
                    chargingProfileKind="Recurring",
                    recurrencyKind="Daily",
                    transactionId=57,
                    validFrom=AT,
                    validTo="2026-03-02T12:00:00Z",
                ),
            },
        ),
        (ClearLimit(), "ClearChargingProfile", {}),
        (
            ClearLimit(9, 0, CHARGER, 2),
            "ClearChargingProfile",
            {
                "id": 9,
                "connectorId": 0,
                "chargingProfilePurpose": "ChargePointMaxProfile",
                "stackLevel": 2,
            },
        ),
        (TellComposite(1, 3600), "GetCompositeSchedule", {"connectorId": 1, "duration": 3600}),
        (
            TellComposite(0, 60, LimitUnit.WATTS),
            "GetCompositeSchedule",
            {"connectorId": 0, "duration": 60, "chargingRateUnit": "W"},
        ),
    ],
)
def test_an_ask_is_written_to_the_letter(ask: Any, action: str, payload: dict[str, Any]) -> None:
    written, raw = smart_charging.write(ask)
    assert (written, json.loads(raw)) == (action, payload)
    fits(action, raw)


@pytest.mark.parametrize(
    ("limit", "text"), [(16.0, "16"), (15.99, "15.9"), (6.1, "6.1"), (0.3, "0.3"), (0.09, "0"), (-0.0, "0")]
)
def test_a_whole_number_is_written_without_decimals(limit: float, text: str) -> None:  # Q51
    raw = smart_charging.write(SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(0, limit),)))[1]
    assert f'"limit":{text}}}' in raw.decode()


@pytest.mark.parametrize("number", [None, 57])
def test_a_limit_of_a_transaction_may_leave_its_number_out(number: int | None) -> None:  # Q51
    raw = smart_charging.write(SetLimit(1, TRANSACTION, 9, 0, SIXTEEN, number))[1]
    assert json.loads(raw)["csChargingProfiles"].get("transactionId") == number


@pytest.mark.parametrize(
    ("ask", "pointer", "hint"),
    [
        (SetLimit(1, CHARGER, 9, 0, SIXTEEN), "/connector", "connector 0"),
        (SetLimit(0, TRANSACTION, 9, 0, SIXTEEN), "/connector", "name the connector"),
        (SetLimit(1, DEFAULT, 9, 0, SIXTEEN, 57), "/number", "leave it out"),
        (SetLimit(1, DEFAULT, 9, 0, SIXTEEN, repeats=Repeat.WEEKLY), "/starts_at", "from when"),
        (SetLimit(1, DEFAULT, 9, 0, ()), "/periods", "start at 0"),
        (SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(60, 16.0),)), "/periods", "start at 0"),
        (SetLimit(1, DEFAULT, 9, 0, SIXTEEN * 2), "/periods", "later than"),
        (SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(0),)), "/periods", "in amperes"),
        (SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(0, 16.0, 3680.0),)), "/periods", "in amperes"),
        (SetLimit(1, DEFAULT, 9, 0, (*SIXTEEN, LimitPeriod(9, None, 1.0))), "/periods", "in watts"),
        (SetLimit(1, DEFAULT, 9, 0, (*SIXTEEN, LimitPeriod(9, -1.0))), "/periods/1", "between 0"),
        (SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(0, float("nan")),)), "/periods/0", "between 0"),
        (SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(0, float("inf")),)), "/periods/0", "between 0"),
        (SetLimit(1, DEFAULT, 9, -1, SIXTEEN), "/csChargingProfiles/stackLevel", "int"),
        (SetLimit(-1, DEFAULT, 9, 0, SIXTEEN), "/connectorId", "int"),
        (
            SetLimit(1, DEFAULT, 9, 0, (LimitPeriod(0, 16.0, None, 4),)),
            "/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/0/numberPhases",
            "int",
        ),
        (
            SetLimit(1, DEFAULT, 9, 0, SIXTEEN, starts_at=NOON.replace(tzinfo=None)),
            "/csChargingProfiles/chargingSchedule/startSchedule",
            "timezone",
        ),
        (ClearLimit(connector=-1), "/connectorId", "int"),
        (TellComposite(1, -1), "/duration", "int"),
    ],
)
def test_what_has_no_room_is_refused_with_what_to_do(ask: Any, pointer: str, hint: str) -> None:
    with pytest.raises(Invalid) as refused:
        smart_charging.write(ask)
    assert refused.value.errors[0][0] == pointer
    assert hint in refused.value.detail


SCHEDULE: dict[str, Any] = {
    "chargingRateUnit": "A",
    "chargingSchedulePeriod": [
        {"startPeriod": 0, "limit": 16.5, "numberPhases": 3},
        {"startPeriod": 60, "limit": 0},
    ],
}
PERIODS = (LimitPeriod(0, 16.5, None, 3), LimitPeriod(60, 0.0))
WHOLE = {"status": "Accepted", "connectorId": 1, "scheduleStart": AT, "chargingSchedule": SCHEDULE}


@pytest.mark.parametrize(
    ("quirk", "payload", "limits"),
    [
        ("none", WHOLE, CompositeLimits(PERIODS, NOON)),
        (
            "none",
            {"chargingSchedule": SCHEDULE | {"startSchedule": AT, "duration": 90}},
            CompositeLimits(PERIODS, NOON, 90),
        ),
        (
            "none",
            {
                "chargingSchedule": {
                    "chargingRateUnit": "W",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11_000}],
                }
            },
            CompositeLimits((LimitPeriod(0, None, 11_000.0),)),
        ),
        (
            "Q24",
            {
                "chargingSchedule": {
                    "chargingRateUnit": " a ",
                    "chargingSchedulePeriod": [{"startPeriod": "0", "limit": "16,5"}],
                }
            },
            CompositeLimits((LimitPeriod(0, 16.5),)),
        ),
        (
            "Q25",
            {
                "chargingSchedule": {
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": {"startPeriod": 0, "limit": 16},
                }
            },
            CompositeLimits((LimitPeriod(0, 16.0),)),
        ),
        (
            "Q35",
            WHOLE | {"scheduleStart": "2026-03-01 12:00"},
            CompositeLimits(PERIODS, NOON),
        ),
    ],
)
def test_a_composite_is_understood(quirk: str, payload: dict[str, Any], limits: CompositeLimits) -> None:
    assert smart_charging.read_composite(json.dumps(payload).encode()) == limits, quirk


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        {"status": "Accepted"},
        {"chargingSchedule": "none"},
        {"chargingSchedule": {}},
        {"chargingSchedule": SCHEDULE | {"chargingRateUnit": "kW"}},
        {"chargingSchedule": {"chargingSchedulePeriod": SCHEDULE["chargingSchedulePeriod"]}},
        {"chargingSchedule": SCHEDULE | {"chargingSchedulePeriod": []}},
        {"chargingSchedule": SCHEDULE | {"chargingSchedulePeriod": [{"startPeriod": 0}]}},
        {"chargingSchedule": SCHEDULE | {"chargingSchedulePeriod": [{"startPeriod": 0, "limit": "NaN"}]}},
        {"chargingSchedule": SCHEDULE | {"chargingSchedulePeriod": [{"limit": 16}]}},
    ],
)
def test_a_composite_that_cannot_be_understood_is_none(payload: Any) -> None:
    assert smart_charging.read_composite(json.dumps(payload).encode()) is None


@settings(deadline=None)
@given(built(smart_charging.GetCompositeScheduleAnswer))
def test_each_composite_of_1_6_is_understood(answer: Any) -> None:
    found = smart_charging.read_composite(msgspec.json.encode(answer))
    assert (found is None) == (answer.charging_schedule is None)


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_read_composite_never_raises(payload: bytes) -> None:
    assert smart_charging.read_composite(payload) is None

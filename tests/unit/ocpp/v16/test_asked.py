"""What back offices ask, read by the letter, and what a charge point answers, judged by the schemas."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import AT, NOON, TIMES, built, fits
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.frames import ERROR_CODES
from voltyard.ocpp.v16 import actions, asked, smart_charging
from voltyard.ocpp.v16.dialect import Malformed
from voltyard.ocpp.v16.messages import RemoteStartTransaction, Reset
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
PROFILE: dict[str, Any] = {
    "chargingProfileId": 9,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute",
    "chargingSchedule": {
        "chargingRateUnit": "A",
        "startSchedule": "2026-03-01T14:00:00+02:00",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}],
    },
}
SET = {"connectorId": 1, "csChargingProfiles": PROFILE}


def read(action: str, payload: Any) -> Any:
    return asked.read(action, json.dumps(payload).encode())


def test_a_request_is_read_into_its_struct() -> None:
    assert read("Reset", {"type": "Soft"}) == Reset("Soft")
    assert asked.read("RemoteStartTransaction", b' {"idTag" : "A"} ') == RemoteStartTransaction("A")


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(actions.TO_CHARGER)))
def test_what_fits_the_schema_is_read(data: st.DataObject, action: str) -> None:
    request = data.draw(built(actions.TO_CHARGER[action][0]))
    payload = msgspec.json.encode(request)
    fits(action, payload)
    found = asked.read(action, payload)
    if isinstance(found, Malformed):
        # What no schema can say: `built` draws the two fields apart.
        assert "recurrencyKind" in found.detail
    else:
        assert found == request


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Dance", {}, "NotImplemented"),
        ("Heartbeat", {}, "NotSupported"),
        ("Reset", [], "FormationViolation"),
        ("Reset", {"type": "Soft", "secret": 1}, "FormationViolation"),
        ("Reset", {}, "OccurenceConstraintViolation"),
        ("Reset", {"type": 5}, "TypeConstraintViolation"),
        ("Reset", {"type": None}, "TypeConstraintViolation"),
        ("Reset", {"type": "secret"}, "PropertyConstraintViolation"),
        ("RemoteStartTransaction", {"idTag": "A", "connectorId": None}, "TypeConstraintViolation"),
        ("RemoteStartTransaction", {"idTag": "A", "connectorId": 0}, "PropertyConstraintViolation"),
        ("RemoteStartTransaction", {"idTag": "secret" * 9}, "PropertyConstraintViolation"),
        ("RemoteStartTransaction", {"idTag": "A\0"}, "PropertyConstraintViolation"),
        ("GetConfiguration", {"key": ["a", "secret\0"]}, "PropertyConstraintViolation"),
        ("GetConfiguration", {"key": ["a", 1]}, "TypeConstraintViolation"),
        (
            "SendLocalList",
            {
                "listVersion": 1,
                "updateType": "Full",
                "localAuthorizationList": [{"idTag": "A", "secret": "B"}],
            },
            "FormationViolation",
        ),
        (
            "ReserveNow",
            {"connectorId": 1, "expiryDate": "secret", "idTag": "A", "reservationId": 1},
            "PropertyConstraintViolation",
        ),
        (
            "ReserveNow",
            {
                "connectorId": 1,
                "expiryDate": "0001-01-01T00:00:00+05:00",
                "idTag": "A",
                "reservationId": 1,
            },
            "PropertyConstraintViolation",
        ),
        (
            "SetChargingProfile",
            SET | {"csChargingProfiles": PROFILE | {"chargingProfileKind": "Recurring"}},
            "PropertyConstraintViolation",
        ),
        (
            "RemoteStartTransaction",
            {"idTag": "A", "chargingProfile": PROFILE | {"chargingProfileKind": "Recurring"}},
            "PropertyConstraintViolation",
        ),
        (
            "SetChargingProfile",
            SET
            | {
                "csChargingProfiles": PROFILE
                | {
                    "chargingSchedule": {
                        "chargingRateUnit": "A",
                        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.05}],
                    }
                }
            },
            "PropertyConstraintViolation",
        ),
    ],
)
def test_a_misfit_is_refused_with_the_code_that_ocpp_has_for_it(action: str, payload: Any, code: str) -> None:
    found = read(action, payload)
    assert isinstance(found, Malformed)
    assert found.code == code
    assert "secret" not in found.detail
    assert "\0" not in found.detail


def test_the_detail_says_where_it_does_not_fit() -> None:
    found = read("SendLocalList", {"listVersion": 1, "updateType": "F", "localAuthorizationList": []})
    assert found == Malformed(
        "PropertyConstraintViolation", "/updateType: this is none of the values that OCPP allows"
    )
    assert read("ReserveNow", {}).detail == "a field that the message needs is missing"
    assert read("UnlockConnector", {"connectorId": "1"}).detail == "/connectorId: Expected `int`, got `str`"


def test_a_card_may_expire_at_a_time_without_an_offset() -> None:
    listed = [{"idTag": "A", "idTagInfo": {"status": "Accepted", "expiryDate": "2026-03-01T12:00:00"}}]
    found = read("SendLocalList", {"listVersion": 1, "updateType": "Full", "localAuthorizationList": listed})
    assert not isinstance(found, Malformed)


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"", b"[" * 5_000, b'{"type":"\\ud800"}'])
def test_what_is_no_json_is_refused(payload: bytes) -> None:
    assert asked.read("Reset", payload) == Malformed("FormationViolation", "the payload is not JSON")


names = sorted({*actions.TO_CHARGER, "Heartbeat", "Dance"})
words = st.sampled_from(
    ["type", "idTag", "connectorId", "key", "value", "vendorId", "data", "listVersion", "updateType", "log"]
)
MARK = "QUOTED"
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([MARK, MARK * 99, AT, "\0", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.just(MARK), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.sampled_from(names), st.binary(max_size=30))
def test_read_never_raises(action: str, payload: bytes) -> None:
    found = asked.read(action, payload)
    assert not isinstance(found, Malformed) or found.code in ERROR_CODES


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(names), st.dictionaries(words | st.just(MARK), values, max_size=4))
def test_a_detail_never_quotes_the_payload(action: str, payload: Any) -> None:
    found = asked.read(action, json.dumps(payload).encode())
    if isinstance(found, Malformed):
        assert found.code in ERROR_CODES
        assert MARK not in found.detail
        assert len(found.detail) < 255


# --- limits ---------------------------------------------------------------------------------------


@st.composite
def drawn_limits(draw: st.DrawFn) -> SetLimit:
    """Draw a limit in the precision of the wire."""
    purpose = draw(st.sampled_from(LimitPurpose))
    is_in_amperes = draw(st.booleans())
    periods = []
    for start_s in (0, *sorted(draw(st.sets(st.integers(1, 99_999), max_size=3)))):
        value, phases = draw(st.integers(0, 99_999)) / 10, draw(st.sampled_from([None, 1, 2, 3]))
        both = (value, None) if is_in_amperes else (None, value)
        periods.append(LimitPeriod(start_s, *both, phases))
    starts_at = draw(st.none() | TIMES)
    instants = [None if at is None else at.replace(microsecond=0) for at in (starts_at, *draw(bounds))]
    return SetLimit(
        0 if purpose is CHARGER else draw(st.integers(1, 9)),
        purpose,
        draw(st.integers(-(2**31), 2**31 - 1)),
        draw(st.integers(0, 99)),
        tuple(periods),
        draw(st.none() | st.integers(1, 9)) if purpose is TRANSACTION else None,
        instants[0],
        draw(st.none() | st.integers(0, 99_999)),
        None if starts_at is None else draw(st.none() | st.sampled_from(Repeat)),
        *instants[1:],
    )


bounds = st.tuples(st.none() | TIMES, st.none() | TIMES)


@settings(deadline=None)
@given(drawn_limits())
def test_limits_undoes_what_writing_a_limit_does(limit: SetLimit) -> None:
    found = asked.read(*smart_charging.write(limit))
    assert isinstance(found, smart_charging.SetChargingProfile)
    assert asked.limits(found) == limit


@given(
    st.builds(
        ClearLimit,
        st.none() | st.integers(-9, 9),
        st.none() | st.integers(0, 9),
        st.none() | st.sampled_from(LimitPurpose),
        st.none() | st.integers(0, 9),
    )
)
def test_clear_undoes_what_writing_does(ask: ClearLimit) -> None:
    found = asked.read(*smart_charging.write(ask))
    assert isinstance(found, smart_charging.ClearChargingProfile)
    assert asked.clear(found) == ask


@given(
    st.builds(TellComposite, st.integers(0, 9), st.integers(0, 99), st.none() | st.sampled_from(LimitUnit))
)
def test_composite_undoes_what_writing_does(ask: TellComposite) -> None:
    found = asked.read(*smart_charging.write(ask))
    assert isinstance(found, smart_charging.GetCompositeSchedule)
    assert asked.composite(found) == ask


def limit_of(**changed: Any) -> SetLimit:
    found = read("SetChargingProfile", SET | {"csChargingProfiles": PROFILE | changed})
    assert isinstance(found, smart_charging.SetChargingProfile)
    return asked.limits(found)


def test_an_instant_keeps_its_place_in_time_and_comes_in_utc() -> None:
    limit = limit_of(validTo="2026-03-01T13:00:00.5+01:00")
    assert limit.starts_at == NOON
    assert limit.starts_at is not None
    assert limit.starts_at.tzinfo is UTC
    assert limit.valid_until_at == NOON + timedelta(seconds=0.5)


def test_a_relative_profile_has_no_start() -> None:
    assert limit_of(chargingProfileKind="Relative").starts_at is None


def test_only_a_recurring_profile_repeats_itself() -> None:
    assert limit_of(recurrencyKind="Daily").repeats is None
    limit = limit_of(recurrencyKind="Weekly", chargingProfileKind="Recurring")
    assert (limit.repeats, limit.starts_at) == (Repeat.WEEKLY, NOON)


def test_the_profile_of_a_remote_start_is_a_limit_too() -> None:
    found = read(
        "RemoteStartTransaction",
        {"idTag": "A", "chargingProfile": PROFILE | {"chargingProfilePurpose": "TxProfile"}},
    )
    assert isinstance(found, RemoteStartTransaction)
    assert found.charging_profile is not None
    assert asked.limit(2, found.charging_profile) == SetLimit(
        2, TRANSACTION, 9, 0, (LimitPeriod(0, 16.0),), starts_at=NOON
    )


# --- answers --------------------------------------------------------------------------------------


def test_an_answer_is_written_to_the_letter() -> None:
    assert asked.answer("Reset", status="Rejected") == b'{"status":"Rejected"}'
    assert asked.answer("GetLocalListVersion", list_version=-1) == b'{"listVersion":-1}'
    assert asked.answer("UpdateFirmware") == b"{}"


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(actions.TO_CHARGER)))
def test_what_is_answered_fits_the_schema(data: st.DataObject, action: str) -> None:
    drawn = data.draw(built(actions.TO_CHARGER[action][1]))
    payload = asked.answer(action, **{name: getattr(drawn, name) for name in drawn.__struct_fields__})
    fits(action, payload, is_answer=True)
    assert msgspec.json.decode(payload, type=type(drawn)) == drawn


def test_an_answer_that_has_no_room_is_refused() -> None:
    with pytest.raises(Invalid):
        asked.answer("Reset", status="Perhaps")
    with pytest.raises(Invalid):
        asked.answer("DataTransfer", status="Accepted", data="\ud800")
    with pytest.raises(TypeError):
        asked.answer("Reset")
    with pytest.raises(TypeError):
        asked.answer("Reset", status="Accepted", colour="red")


LIMITS = CompositeLimits((LimitPeriod(0, 16.0, None, 3), LimitPeriod(60, 6.19)), NOON, 3600)


@pytest.mark.parametrize(
    ("limits", "unit", "told_in", "told"),
    [
        (LIMITS, None, "A", [16, 6.1]),
        (LIMITS, LimitUnit.AMPERES, "A", [16, 6.1]),
        (LIMITS, LimitUnit.WATTS, "W", [11_040, 4_271.1]),
        (CompositeLimits((LimitPeriod(0, None, 2_300.0, 1),), NOON), None, "W", [2_300]),
        (CompositeLimits((LimitPeriod(0, None, 2_300.0, 1),)), LimitUnit.AMPERES, "A", [10]),
        (CompositeLimits((LimitPeriod(0, math.inf),)), None, "A", [2**31 - 1]),
    ],
)
def test_a_composite_is_told_in_the_unit_that_was_asked_for(
    limits: CompositeLimits, unit: LimitUnit | None, told_in: str, told: list[float]
) -> None:
    payload = asked.composite_answer(1, limits, unit)
    fits("GetCompositeSchedule", payload, is_answer=True)
    schedule = json.loads(payload)["chargingSchedule"]
    assert schedule["chargingRateUnit"] == told_in
    assert [period["limit"] for period in schedule["chargingSchedulePeriod"]] == told


def test_a_composite_is_answered_to_the_letter() -> None:
    at = NOON.astimezone(timezone(timedelta(hours=2))) + timedelta(milliseconds=7)
    limits = CompositeLimits((LimitPeriod(0, 0.0, None, 1),), at, 60)
    assert json.loads(asked.composite_answer(2, limits, None)) == {
        "status": "Accepted",
        "connectorId": 2,
        "scheduleStart": AT,
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "duration": 60,
            "startSchedule": AT,
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 0, "numberPhases": 1}],
        },
    }


@pytest.mark.parametrize("limits", [None, CompositeLimits(())])
def test_a_composite_of_nothing_is_rejected(limits: CompositeLimits | None) -> None:
    assert asked.composite_answer(1, limits, None) == b'{"status":"Rejected"}'


@pytest.mark.parametrize(
    "limits",
    [CompositeLimits((LimitPeriod(0, -1.0),)), CompositeLimits((LimitPeriod(0, 1.0),), datetime(1, 1, 1))],  # noqa: DTZ001
)
def test_a_composite_that_has_no_room_is_refused(limits: CompositeLimits) -> None:
    with pytest.raises(Invalid):
        asked.composite_answer(1, limits, None)

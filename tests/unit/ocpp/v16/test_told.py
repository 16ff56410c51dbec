"""What chargers send in the wrong type, time or number, and what is made of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltyard.ocpp.v16 import told

DECODERS = (
    told.BOOT,
    told.STATUS,
    told.AUTHORIZE,
    told.METERS,
    told.START,
    told.STOP,
    told.TRANSFER,
    told.PROGRESS,
    told.SECURITY_EVENT,
    told.SIGNING,
    told.COMPOSITE,
    told.CARDS_VERSION,
    told.FILE,
    told.CERTIFICATES,
)
NAMES = st.sampled_from(
    [
        "connectorId",
        "transactionId",
        "meterStart",
        "meterStop",
        "timestamp",
        "sampledValue",
        "meterValue",
        "transactionData",
        "value",
        "unit",
        "idTag",
        "status",
        "data",
        "vendorId",
        "info",
        "requestId",
        "chargingSchedule",
        "chargingSchedulePeriod",
        "startPeriod",
        "limit",
        "scheduleStart",
        "listVersion",
        "certificateHashData",
    ]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["1", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "nan", "1e999", "1,5"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    json_values.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=30), st.sampled_from(DECODERS)
)
def test_read_never_raises(payload: bytes, decoder: Any) -> None:
    for found in (told.read(decoder, payload, []), told.read_meters(payload, [])):
        assert found is None or hasattr(found, "__struct_fields__")


@given(st.text(max_size=8) | st.sampled_from(sorted(told.NULL_WORDS)))
def test_a_value_that_cannot_be_understood_is_none_never_0(text: str) -> None:
    if told.number(text) == 0:
        assert "0" in text
    start = told.read(told.START, json.dumps({"meterStart": text}).encode(), [])
    assert start is not None
    assert start.meter_start is None or any(character.isdigit() for character in text)


def start(**fields: Any) -> tuple[told.Start, list[str]]:
    flaws: list[str] = []
    found = told.read(told.START, json.dumps(fields).encode(), flaws)
    assert found is not None
    return found, flaws


@pytest.mark.parametrize(
    ("quirk", "given_value", "value", "flaws"),
    [
        ("none", 1, 1, []),
        ("none", None, None, []),
        ("Q24", "1", 1, ["number_as_text"]),
        ("Q24", " 12 ", 12, ["number_as_text"]),
        ("Q24", "1234.0", 1234, ["number_as_text"]),
        ("Q24", 12.0, 12, []),
        ("Q24", 12.7, 12, ["fraction_dropped"]),
        ("Q28", "12,7", 12, ["number_as_text", "fraction_dropped"]),
        ("Q28", "", None, ["empty_value"]),
        ("Q28", "NaN", None, ["empty_value"]),
        ("Q28", "-", None, ["empty_value"]),
        ("Q28", "null", None, ["empty_value"]),
        ("Q28", "abc", None, ["number_as_text", "unreadable_number"]),
        ("Q28", True, None, ["unreadable_number"]),
        ("Q28", [1], None, ["unreadable_number"]),
        ("Q28", 2**60, None, ["unreadable_number"]),
        ("Q28", "1e999", None, ["number_as_text", "unreadable_number"]),
        ("Q28", "1e99", None, ["number_as_text", "unreadable_number"]),
    ],
)
def test_a_whole_number_is_read_from_what_is_near_to_one(
    quirk: str, given_value: object, value: int | None, flaws: list[str]
) -> None:
    found, noted = start(meterStart=given_value)
    assert (found.meter_start, noted) == (value, flaws), quirk


def test_a_number_of_32_bits_is_held_to_them() -> None:
    assert start(connectorId=2**31)[0].connector_id is None
    assert start(connectorId=2**31 - 1)[0].connector_id == 2**31 - 1


@pytest.mark.parametrize(
    ("quirk", "given_value", "value", "flaws"),
    [
        ("none", "04A1", "04A1", []),
        ("Q24", 604.213, "604.213", ["number_for_text"]),
        ("Q24", 17, "17", ["number_for_text"]),
        ("Q24", True, "true", ["wrong_type"]),
        ("Q24", ["x"], None, ["wrong_type"]),
        ("NUL", "a\x00b", "ab", []),
    ],
)
def test_a_text_is_read_from_what_is_near_to_one(
    quirk: str, given_value: object, value: str | None, flaws: list[str]
) -> None:
    found, noted = start(idTag=given_value)
    assert (found.id_tag, noted) == (value, flaws), quirk


def test_a_vendors_data_may_be_any_json() -> None:
    flaws: list[str] = []
    transfer = told.read(told.TRANSFER, b'{"vendorId":"v","data":{"a":[1]}}', flaws)
    assert transfer == told.Transfer("v", None, '{"a":[1]}')
    assert flaws == ["object_for_text"]
    assert told.read(told.TRANSFER, b'{"vendorId":"v","data":5}', []) == told.Transfer("v", None, "5")


NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T12:00:00z", NOON),
        ("2026-03-01t12:00:00Z", NOON),
        ("2026-03-01 12:00:00Z", NOON),
        (" 2026-03-01T12:00:00Z ", NOON),
        ("2026-03-01T12:00Z", NOON),
        ("2026-03-01T12:00:00.1Z", NOON + timedelta(milliseconds=100)),
        ("2026-03-01T12:00:00,25Z", NOON + timedelta(milliseconds=250)),
        ("2026-03-01T12:00:00.1234567Z", NOON + timedelta(microseconds=123_456)),
        ("2026-03-01T14:00:00+02", NOON),
        ("2026-03-01T14:00:00+0200", NOON),
        ("2026-03-01T14:00:00+02:00", NOON),
        ("2026-03-01T06:30:00 -05:30", NOON),
        ("2026-03-01T12:00:60Z", NOON + timedelta(seconds=59)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2099-12-31T00:00:00Z", datetime(2099, 12, 31, tzinfo=UTC)),
        ("2026-03-01T12:00:00", NOON.replace(tzinfo=None)),
        ("2026-02-30T12:00:00Z", None),
        ("2026-03-01T24:00:00Z", None),
        ("2026-03-01T12:00:00+99:00", None),
        ("0000-00-00T00:00:00Z", None),
        ("2026-03-01", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_a_time_is_read_in_every_spelling_that_chargers_use(text: str, at: datetime | None) -> None:  # Q35
    assert told.time(text) == at


def test_a_time_without_an_offset_is_taken_for_utc() -> None:  # Q35
    flaws: list[str] = []
    assert told.in_utc(NOON.replace(tzinfo=None), flaws) == NOON
    assert told.in_utc(told.time("2026-03-01T14:00:00+02:00"), flaws) == NOON
    assert told.in_utc(NOON, flaws) is NOON
    assert told.in_utc(None, flaws) is None
    assert flaws == ["time_without_offset"]


def test_a_time_outside_the_calendar_is_none() -> None:
    flaws: list[str] = []
    assert told.in_utc(told.time("0001-01-01T00:00:00+14:00"), flaws) is None
    assert flaws == ["unreadable_time"]


def test_an_unreadable_time_costs_only_itself() -> None:  # Q35
    assert start(timestamp="soon", idTag="A") == (told.Start(id_tag="A"), ["unreadable_time"])
    assert start(timestamp=1_700_000_000) == (told.Start(), ["unreadable_time"])
    assert start(timestamp="2026-03-01T14:00:00+02")[0].timestamp == NOON


def meters(meter_value: object) -> tuple[Any, list[str]]:
    flaws: list[str] = []
    found = told.read_meters(json.dumps({"connectorId": 1, "meterValue": meter_value}).encode(), flaws)
    assert found is not None
    return found.meter_value, flaws


def test_an_object_that_stands_alone_counts_as_an_array_of_one() -> None:  # Q25
    value = {"sampledValue": {"value": "5"}}
    assert meters(value) == (
        [told.MeterValue(None, [told.Sample("5")])],
        ["object_for_array", "object_for_array"],
    )


def test_a_certificate_that_stands_alone_counts_as_an_array_of_one() -> None:  # Q25
    flaws: list[str] = []
    found = told.read(told.CERTIFICATES, b'{"certificateHashData":{"serialNumber":"01"}}', flaws)
    assert found == told.Certificates([told.Certificate(serial_number="01")])
    assert flaws == ["object_for_array"]


def test_what_is_no_object_in_an_array_is_left_out() -> None:
    assert meters([None, 5, {"sampledValue": "x"}]) == (
        [told.MeterValue(None, [])],
        ["wrong_type", "wrong_type"],
    )


@pytest.mark.parametrize(
    ("given_value", "value", "flaws"),
    [
        (16, 16.0, []),
        (16.5, 16.5, []),
        ("16,5", 16.5, ["number_as_text"]),
        ("NaN", None, ["number_as_text", "unreadable_number"]),
        (True, None, ["unreadable_number"]),
        (2**70, None, ["unreadable_number"]),
        (None, None, []),
    ],
)
def test_a_decimal_number_is_read_from_what_is_near_to_one(
    given_value: object, value: float | None, flaws: list[str]
) -> None:  # Q24, Q28
    noted: list[str] = []
    # The start as text sends it all through the second pass.
    period = {"startPeriod": "0", "limit": given_value}
    payload = {"chargingSchedule": {"chargingSchedulePeriod": [period]}}
    found = told.read(told.COMPOSITE, json.dumps(payload).encode(), noted)
    assert found is not None
    assert found.charging_schedule == told.Schedule(None, [told.Period(0, value)])
    assert noted == ["number_as_text", *flaws]


@pytest.mark.parametrize("schedule", ["none", 5, [{"duration": 1}]])
def test_an_object_that_is_none_is_not_told(schedule: object) -> None:
    flaws: list[str] = []
    payload = json.dumps({"chargingSchedule": schedule}).encode()
    assert told.read(told.COMPOSITE, payload, flaws) == told.Composite()
    assert flaws == ["wrong_type"]


def test_unknown_fields_are_ignored() -> None:  # Q30
    assert start(idTag="A", vendorField={"a": 1}) == (told.Start(id_tag="A"), [])
    assert start(idTag="A", connectorId="1", vendorField=1)[0] == told.Start(1, "A")


@pytest.mark.parametrize("payload", [b"[]", b"7", b"", b'{"a"', b"\xff{}", b'{"idTag":' + b"[" * 5_000])
def test_what_is_no_object_is_none(payload: bytes) -> None:
    assert told.read(told.START, payload, []) is None
    assert told.read_meters(payload, []) is None

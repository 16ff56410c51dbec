"""What is found out about a saying: once, whoever asks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.proxy.rewriting import added, replaced, value
from voltyard.proxy.sayings import BOOT, METER, STOP, Saying

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def saying(payload: Any, action: str = METER) -> Saying:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Saying(1, action, raw, NOON, 5)


def readings(*times: Any) -> list[dict[str, Any]]:
    return [{"timestamp": each} for each in times]


def test_it_is_of_the_connector_that_it_names() -> None:
    assert [saying(each).connector for each in ({"connectorId": 2}, {"connectorId": "3"}, {})] == [2, 3, 0]
    found = saying({"connectorId": 2})
    assert found.connector == found.connector == 2


def test_the_same_content_has_the_same_digest() -> None:
    one, other = saying({"a": 1}), saying({"a": 1})
    assert one.digest == one.digest == other.digest != saying({"a": 2}).digest
    assert one == other


def test_its_place_is_its_connectors_or_the_chargers() -> None:
    assert saying({}, BOOT).place == b"boot"
    assert saying({"connectorId": 2}, "StatusNotification").place == b"2"
    assert saying({}, "StatusNotification").place == b"0"


@given(
    st.dictionaries(st.sampled_from(("transactionId", "a", "b")), st.integers() | st.text()),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=3),
)
def test_each_operator_gets_its_own_number(payload: dict[str, Any], numbers: list[int]) -> None:
    one = saying(payload)
    for theirs in numbers:
        raw = b"%d" % theirs
        if "transactionId" in payload:
            told, note, edit = one.numbered(theirs)
            assert (told, note) == (replaced(one.payload, {"transactionId": raw}), "number")
            assert edit is not None
            assert one.payload[: edit.head] + edit.put + one.payload[len(one.payload) - edit.tail :] == told
        else:
            assert one.numbered(theirs) == (added(one.payload, "transactionId", raw), "number_added", None)


def test_a_number_that_is_told_twice_is_replaced_twice() -> None:
    payload, note, edit = saying(b'{"transactionId":1,"transactionId":2}').numbered(7)
    assert (payload, note, edit) == (b'{"transactionId":7,"transactionId":7}', "number", None)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["2026-03-01T11:00:00Z", "2026-03-01T11:30:00Z"], NOON - timedelta(minutes=30)),
        (["2026-03-01T11:00:00Z", "1970-01-01T00:00:00Z"], NOON),
        (["2026-03-01T11:00:00Z", "2026-03-01T11:00:00"], NOON),
        ([7], NOON),
        (["x"], NOON),
        ([], NOON),
    ],
)
def test_it_was_measured_when_its_last_reading_says(told: list[Any], expected: datetime) -> None:
    assert saying({"meterValue": readings(*told)}).measured_at == expected


def test_what_cannot_be_read_was_measured_when_it_was_heard() -> None:
    assert saying(b'{"meterValue":7}').measured_at == NOON
    assert saying(
        {"transactionData": readings("2026-03-01T11:00:00Z")}, STOP
    ).measured_at == NOON - timedelta(hours=1)


def times_of(payload: bytes, field: str = "meterValue") -> list[Any]:
    return [each["timestamp"] for each in json.loads(payload)[field]]


def test_readings_keep_their_distances_where_the_clock_is_wrong() -> None:
    told = saying({"meterValue": readings("1970-01-01T00:00:00Z", "1970-01-01T00:10:00Z", "x")})
    assert times_of(told.with_likely_times(told.payload)) == [
        "2026-03-01T11:50:00Z",
        "2026-03-01T12:00:00Z",
        "x",
    ]


@pytest.mark.parametrize("first", ["2099-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_one_reading_that_cannot_be_is_of_when_it_was_heard(first: str) -> None:
    told = saying({"meterValue": readings(first, "2026-03-01T11:00:00Z")})
    assert times_of(told.with_likely_times(told.payload)) == ["2026-03-01T12:00:00Z", "2026-03-01T11:00:00Z"]


def test_a_time_that_can_be_is_left_alone_whatever_stands_beside_it() -> None:
    told = saying({"meterValue": readings("2026-03-01T10:00:00Z", "1970-01-01T00:00:10Z")})
    assert times_of(told.with_likely_times(told.payload)) == ["2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z"]


def test_no_time_is_too_far_off_to_be_mended() -> None:
    told = saying({"meterValue": readings("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")})
    assert times_of(told.with_likely_times(told.payload)) == ["2026-03-01T12:00:00Z"] * 2


def test_readings_of_a_stop_go_by_the_time_of_the_stop() -> None:
    told = saying(
        {"timestamp": "1970-01-01T01:00:00Z", "transactionData": readings("1970-01-01T00:30:00Z")}, STOP
    )
    assert times_of(told.with_likely_times(told.payload), "transactionData") == ["2026-03-01T11:30:00Z"]
    told = saying({"transactionData": readings("1970-01-01T00:30:00Z")}, STOP)
    assert times_of(told.with_likely_times(told.payload), "transactionData") == ["2026-03-01T12:00:00Z"]


def test_likely_times_leave_every_byte_as_it_was() -> None:
    told = saying({"meterValue": readings("2026-03-01T11:00:00Z", "x", 7)})
    assert told.with_likely_times(told.payload) is told.payload
    numbered, *_ = told.numbered(9)
    assert told.with_likely_times(numbered) is numbered
    assert value(numbered, "transactionId") == b"9"

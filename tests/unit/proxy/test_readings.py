"""Edits inside readings: what is chosen, and at what time it was measured."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.proxy.readings import NO_CHOICE, Choice, choice, chosen, instant, retimed

FIELD = "meterValue"
MEASURANDS = ("Energy.Active.Import.Register", "Power.Active.Import", "Voltage", "SoC")
CONTEXTS = ("Sample.Periodic", "Sample.Clock", "Transaction.Begin", "Transaction.End", "Trigger", "Other")


def message(*readings: list[Any]) -> bytes:
    return json.dumps({"connectorId": 1, FIELD: [{"sampledValue": each} for each in readings]}).encode()


def left(payload: bytes | None) -> list[list[Any]]:
    assert payload is not None
    return [each["sampledValue"] for each in json.loads(payload)[FIELD]]


VALUES = st.fixed_dictionaries(
    {"value": st.text(max_size=5)},
    optional={
        "measurand": st.sampled_from(MEASURANDS),
        "context": st.sampled_from(CONTEXTS),
        "format": st.sampled_from(("Raw", "SignedData")),
        "phase": st.sampled_from(("L1", "L2")),
    },
)
CHOICES = st.builds(
    choice,
    *[st.none() | st.lists(st.sampled_from(MEASURANDS)).map(",".join) for _ in range(2)],
)


@given(st.lists(st.lists(VALUES, max_size=4), max_size=3), CHOICES)
def test_what_is_kept_stays_as_it_was(readings: list[list[Any]], picked: Choice) -> None:
    payload = message(*readings)
    kept = chosen(payload, FIELD, picked)
    rest = [] if kept is None else left(kept)
    wanted = [
        one
        if any(each.get("format") == "SignedData" for each in one)
        else [each for each in one if picked.wants(json.dumps(each).encode())]
        for one in readings
    ]
    assert rest == [kept for kept, one in zip(wanted, readings, strict=True) if kept or not one]
    if kept is not None and kept != payload:
        for each in (value for one in rest for value in one):
            assert json.dumps(each).encode() in kept


@given(st.lists(VALUES), CHOICES)
def test_a_signed_reading_stays_as_it_was(values: list[Any], picked: Choice) -> None:
    signed = message([*values, {"format": "SignedData"}])
    assert chosen(signed, FIELD, picked) == signed
    timed = signed.replace(b'{"sampledValue"', b'{"timestamp": "1970-01-01T00:00:00Z", "sampledValue"')
    assert retimed(timed, FIELD, lambda at: at + timedelta(1)) == timed


@given(st.lists(st.lists(VALUES, max_size=4), max_size=3))
def test_nothing_chosen_changes_nothing(readings: list[list[Any]]) -> None:
    payload = message(*readings)
    assert chosen(payload, FIELD, NO_CHOICE) is payload
    assert not NO_CHOICE.is_made


def test_what_is_sampled_and_what_the_clock_has_measured_are_chosen_by_themselves() -> None:
    by_clock, at_intervals = {"context": "Sample.Clock", "measurand": "SoC"}, {"measurand": "SoC"}
    payload = message([by_clock, at_intervals])
    assert left(chosen(payload, FIELD, choice("", None))) == [[by_clock]]
    assert left(chosen(payload, FIELD, choice(None, ""))) == [[at_intervals]]
    assert chosen(payload, FIELD, choice("", "")) is None


def test_a_phase_may_be_chosen_by_itself() -> None:
    one, two = {"measurand": "Current.Import", "phase": "L1"}, {"measurand": "Current.Import", "phase": "L2"}
    assert left(chosen(message([one, two]), FIELD, choice("Current.Import.L1", None))) == [[one]]
    assert left(chosen(message([one, two]), FIELD, choice(" current.import ,", None))) == [[one, two]]


def test_what_begins_and_ends_a_transaction_is_always_told() -> None:
    ends = [{"context": "Transaction.Begin"}, {"context": "Transaction.End"}]
    assert left(chosen(message(ends), FIELD, choice("", ""))) == [ends]


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b'{"meterValue":[]}',
        b'{"meterValue":7}',
        b'{"meterValue":[7]}',
        b'{"meterValue":[{"sampledValue":7}]}',
        b'{"meterValue":[{"sampledValue":[]}]}',
        b'{"meterValue":[{"sampledValue":["no object"]}]}',
    ],
)
def test_what_cannot_be_read_stays_as_it_is(payload: bytes) -> None:
    assert chosen(payload, FIELD, choice("", "")) == payload
    assert retimed(payload, FIELD, lambda at: at + timedelta(1)) == payload


def test_every_reading_gets_the_time_that_is_made_of_its_own() -> None:
    payload = (
        b'{"meterValue":[{"timestamp":"2026-01-01T00:00:00Z" ,"x":1},{"timestamp":"2026-01-02T00:00:00Z"}]}'
    )
    first = datetime(2026, 1, 1, tzinfo=UTC)
    found = retimed(payload, FIELD, lambda at: at if at == first else at + timedelta(hours=1))
    assert found == payload.replace(b"01-02T00", b"01-02T01")


def test_a_zone_with_seconds_is_not_told_as_another_instant() -> None:
    payload = b'{"meterValue":[{"timestamp":"1970-01-01T00:00:10+01:00:30"}]}'
    found = retimed(payload, FIELD, lambda at: at + timedelta(days=1))
    assert found == b'{"meterValue":[{"timestamp":"1970-01-01T22:59:40Z"}]}'


@pytest.mark.parametrize("told", [None, 7, "x", "2026-01-01T00:00:00"])
def test_what_is_no_instant_is_none(told: object) -> None:
    assert instant(told) is None

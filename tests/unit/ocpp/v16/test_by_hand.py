"""What a person may write, and what is said when it does not fit."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import built, fits
from voltyard.kernel.errors import Invalid
from voltyard.ocpp.v16 import actions, by_hand

PROFILE = (
    '{"connectorId":1,"csChargingProfiles":{"chargingProfileId":1,"stackLevel":0,"chargingProfilePurpose":'
    '"TxProfile","chargingProfileKind":"Relative","chargingSchedule":{"chargingRateUnit":"A",'
    '"chargingSchedulePeriod":[{"startPeriod":0,"limit":%s}]}}}'
)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(sorted(actions.TO_CHARGER)))
def test_what_fits_the_schema_passes_as_it_is_written(data: st.DataObject, action: str) -> None:
    payload = msgspec.json.encode(data.draw(built(actions.TO_CHARGER[action][0])))
    assert by_hand.write(action, payload.decode()) == payload
    fits(action, payload)


def test_blanks_are_taken_out_and_numbers_stay_as_they_are_written() -> None:
    assert by_hand.write("SetChargingProfile", PROFILE % " 16.0 ") == (PROFILE % "16.0").encode()
    assert by_hand.write("GetLocalListVersion", " { } ") == b"{}"


@pytest.mark.parametrize(
    ("action", "payload", "pointer", "hint"),
    [
        ("Heartbeat", "{}", "/action", "no action"),
        ("Reset", "{", "/payload", "not JSON"),
        ("Reset", '{"type":"\ud800"}', "/payload", "not JSON"),
        ("Reset", "[" * 5_000, "/payload", "not JSON"),
        ("Reset", "[]", "/payload", "as an object"),
        ("Reset", " " * 70_000, "/payload", "shorten"),
        ("Reset", '{"type":"Medium"}', "/type", "Medium"),
        ("Reset", "{}", "", "type"),
        ("Reset", '{"type":"Soft","when":1}', "/when", "is not a field"),
        ("GetConfiguration", '{"key":null}', "/key", "leave it out"),
        ("SetChargingProfile", '{"anything":1}', "", "connectorId"),
        (
            "SetChargingProfile",
            PROFILE % "16.05",
            "/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/0",
            "one decimal",
        ),
        (
            "SetChargingProfile",
            PROFILE % '16,"phases":3',
            "/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/0/phases",
            "is not a field",
        ),
        (
            "ReserveNow",
            '{"connectorId":1,"expiryDate":"2026-03-01T12:00:00","idTag":"A","reservationId":1}',
            "/expiryDate",
            "timezone",
        ),
        ("UpdateFirmware", "{}", "", "location"),
        ("CertificateSigned", '{"certificateChain":""}', "/certificateChain", "not empty"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    action: str, payload: str, pointer: str, hint: str
) -> None:
    with pytest.raises(Invalid) as refused:
        by_hand.write(action, payload)
    assert refused.value.errors[0][0] == pointer
    assert hint in refused.value.detail


@given(st.sampled_from(sorted(actions.TO_CHARGER)), st.text(max_size=20))
def test_any_text_is_written_or_refused(action: str, payload: str) -> None:
    try:
        written = by_hand.write(action, payload)
    except Invalid:
        return
    fits(action, json.loads(written))

"""Forms of commands: what is typed becomes a payload that OCPP 1.6 takes, and comes back as it was typed."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.ocpp.v16 import by_hand
from voltyard.ocpp.v16.actions import TO_CHARGER
from voltyard.portal import ocpp_forms
from voltyard.portal.ocpp_forms import FORMS, CommandForm, Field, FieldKind, build, defaults, fill

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
# What a person might type that fits.
FITTING = {
    FieldKind.TEXT: "ftp://example.com/x",
    FieldKind.LONG: "-----BEGIN-----",
    FieldKind.NUMBER: "7",
    FieldKind.DECIMAL: "6",
    FieldKind.CONNECTOR: "1",
    FieldKind.INSTANT: "2027-01-31T18:00",
    FieldKind.LINES: "HeartbeatInterval\n\n MeterValueSampleInterval ",
    FieldKind.PERIODS: "0 16 3\n3600 6,5",
    FieldKind.CARDS: "04A2 Accepted 2027-12-31T23:59 PARENT\n05 blocked\n06",
}


def fitting(field: Field) -> str:
    return field.choices[-1] if field.choices else FITTING[field.kind][: field.length]


def typed(form: CommandForm, *, is_whole: bool) -> dict[str, str]:
    return {field.name: fitting(field) for field in form.fields if is_whole or field.is_required}


def test_there_is_a_form_for_every_command_that_ocpp_knows():
    assert set(FORMS) == set(TO_CHARGER)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("action", FORMS)
def test_what_fits_becomes_a_payload_that_ocpp_takes(action: str, is_whole: bool):
    form = FORMS[action]
    payload, errors = build(form, typed(form, is_whole=is_whole), AMSTERDAM)
    assert errors == {}
    by_hand.write(action, json.dumps(payload))
    values, left = fill(form, payload, AMSTERDAM)
    assert left == []
    assert build(form, values, AMSTERDAM) == (payload, {})


@pytest.mark.parametrize("action", FORMS)
def test_what_is_required_by_ocpp_is_marked_as_required(action: str):
    form = FORMS[action]
    for missing in (field for field in form.fields if field.is_required and not field.part):
        values = typed(form, is_whole=False) | {missing.name: " "}
        assert build(form, values, AMSTERDAM)[1] == {missing.name: "fill this in"}


def test_times_are_those_of_the_place():
    form = FORMS["ReserveNow"]
    values = typed(form, is_whole=True) | {"expiryDate": "2027-07-01T12:00"}
    payload, _ = build(form, values, AMSTERDAM)
    assert payload["expiryDate"] == "2027-07-01T10:00:00Z"
    assert fill(form, payload, AMSTERDAM)[0]["expiryDate"] == "2027-07-01T12:00:00"


def test_lists_are_written_line_by_line():
    form = FORMS["SetChargingProfile"]
    payload, _ = build(form, typed(form, is_whole=True), AMSTERDAM)
    assert payload["csChargingProfiles"]["chargingSchedule"]["chargingSchedulePeriod"] == [
        {"startPeriod": 0, "limit": 16, "numberPhases": 3},
        {"startPeriod": 3600, "limit": 6.5},
    ]
    form = FORMS["SendLocalList"]
    payload, _ = build(form, typed(form, is_whole=True), AMSTERDAM)
    assert payload["localAuthorizationList"] == [
        {
            "idTag": "04A2",
            "idTagInfo": {
                "status": "Accepted",
                "expiryDate": "2027-12-31T22:59:00Z",
                "parentIdTag": "PARENT",
            },
        },
        {"idTag": "05", "idTagInfo": {"status": "Blocked"}},
        {"idTag": "06"},
    ]


def test_a_part_that_nobody_began_is_left_out():
    form = FORMS["RemoteStartTransaction"]
    payload, errors = build(form, defaults(form) | {"idTag": "04"}, AMSTERDAM)
    assert (payload, errors) == ({"idTag": "04"}, {})
    begun = {"idTag": "04", "chargingProfile.chargingSchedule.chargingSchedulePeriod": "0 6"}
    payload, errors = build(form, defaults(form) | begun, AMSTERDAM)
    assert (payload["chargingProfile"]["chargingProfilePurpose"], errors) == ("TxProfile", {})


@pytest.mark.parametrize(
    ("action", "field", "text", "problem"),
    [
        ("GetCompositeSchedule", "duration", "soon", "type a whole number"),
        ("GetCompositeSchedule", "duration", "-1", "type 0 or more"),
        ("GetCompositeSchedule", "duration", "2147483648", "type 2147483647 or less"),
        ("GetCompositeSchedule", "connectorId", "x", "type a whole number"),
        ("UnlockConnector", "connectorId", "0", "type 1 or more"),
        ("Reset", "type", "Warm", "choose one of the list"),
        ("ReserveNow", "idTag", "1" * 21, "shorten it to at most 20 characters"),
        ("ReserveNow", "expiryDate", "tomorrow", "type a date and a time"),
        ("ReserveNow", "expiryDate", "0001-01-01T00:00", "type a date and a time"),
        ("GetConfiguration", "key", "short\n" + "x" * 51, "shorten it"),
        ("SetChargingProfile", "csChargingProfiles.chargingSchedule.chargingSchedulePeriod", "0", "write"),
        ("SetChargingProfile", "csChargingProfiles.chargingSchedule.chargingSchedulePeriod", "0 x", "write"),
        ("SetChargingProfile", "csChargingProfiles.chargingSchedule.minChargingRate", "nan", "type a number"),
        ("SetChargingProfile", "csChargingProfiles.chargingSchedule.minChargingRate", "-1", "type 0"),
        ("SendLocalList", "localAuthorizationList", "04 Welcome", "the status of a card"),
        ("SendLocalList", "localAuthorizationList", "04 Accepted - - more", "write each line"),
    ],
)
def test_what_does_not_fit_says_what_to_type(action: str, field: str, text: str, problem: str):
    form = FORMS[action]
    errors = build(form, typed(form, is_whole=False) | {field: text}, AMSTERDAM)[1]
    assert list(errors) == [field]
    assert errors[field].startswith(problem)


def test_a_payload_with_more_than_the_form_knows_says_so():
    values, left = fill(FORMS["Reset"], {"type": "Soft", "why": {"so": 1}}, AMSTERDAM)
    assert (values, left) == ({"type": "Soft"}, ["why.so"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(FORMS)), st.data())
def test_any_json_and_any_text_is_borne(action: str, data: st.DataObject):
    form = FORMS[action]
    names = st.sampled_from([field.name.split(".")[0] for field in form.fields] or ["x"])
    payload = data.draw(st.dictionaries(names | st.text(max_size=5), JSON, max_size=4))
    values, left = fill(form, payload, AMSTERDAM)
    assert all(isinstance(value, str) for value in values.values())
    assert left == sorted(left)
    texts = {field.name: data.draw(st.text(max_size=20)) for field in form.fields}
    written, errors = build(form, texts, AMSTERDAM)
    assert set(errors) <= set(texts)
    json.dumps(written)


def test_forms_explain_themselves():
    for profile, forms in ocpp_forms.PROFILES.items():
        assert profile
        for form in forms:
            assert form.about.endswith(".")
            assert all(field.label for field in form.fields)
            assert len({field.name for field in form.fields}) == len(form.fields)

"""Every action of 1.6, both ways, against an independent set of JSON schemas."""

from __future__ import annotations

from importlib.resources import files

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import built, fits, schema_of
from voltyard.ocpp.v16 import actions

BOTH = {**actions.FROM_CHARGER, **actions.TO_CHARGER}


def test_no_action_of_1_6_is_left_out() -> None:
    names = {path.name.removesuffix(".json") for path in files("ocpp").joinpath("v16", "schemas").iterdir()}
    assert set(BOTH) == {name for name in names if not name.endswith("Response")}


def test_only_vendors_messages_go_both_ways() -> None:
    assert set(actions.FROM_CHARGER) & set(actions.TO_CHARGER) == {"DataTransfer"}


@pytest.mark.parametrize("action", sorted(BOTH))
def test_each_answer_is_named_after_its_action(action: str) -> None:
    request, answer = BOTH[action]
    assert (request.__name__, answer.__name__) == (action, action + "Answer")


@pytest.mark.parametrize("action", sorted(BOTH))
def test_each_message_has_the_fields_of_its_schema(action: str) -> None:
    for kind, is_answer in zip(BOTH[action], (False, True), strict=True):
        schema = schema_of(action, is_answer=is_answer)
        fields = msgspec.structs.fields(kind)
        assert {field.encode_name for field in fields} == set(schema.get("properties", ()))
        needed = {field.encode_name for field in fields if field.default is msgspec.NODEFAULT}
        assert needed == set(schema.get("required", ()))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(BOTH)), st.booleans())
def test_what_is_encoded_fits_the_schema_and_is_read_back(
    data: st.DataObject, action: str, is_answer: bool
) -> None:
    message = data.draw(built(BOTH[action][is_answer]))
    encoded = msgspec.json.encode(message)
    fits(action, encoded, is_answer=is_answer)
    assert msgspec.json.decode(encoded, type=type(message)) == message

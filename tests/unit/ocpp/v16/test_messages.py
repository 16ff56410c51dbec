"""The strict messages of 1.6, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp.messages import Call, CallResult, _validate_payload

from voltyard.ocpp.v16 import messages

REQUESTS = {**messages.FROM_CHARGER, **messages.TO_CHARGER}
TIMES = st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def valid(action: str, payload: Any, *, is_answer: bool = False) -> None:
    message = CallResult("1", payload, action) if is_answer else Call("1", action, payload)
    _validate_payload(message, "1.6")


@pytest.mark.parametrize("action", sorted(REQUESTS))
def test_each_action_is_named_after_its_request(action: str) -> None:
    request, answer = REQUESTS[action]
    assert (request.__name__, answer.__name__) == (action, action + "Answer")


@pytest.mark.parametrize("action", sorted(messages.ACTIONS_FROM_CHARGER | messages.ACTIONS_TO_CHARGER))
def test_each_action_is_one_of_1_6(action: str) -> None:
    schema_of(action, is_answer=False)
    schema_of(action, is_answer=True)


@pytest.mark.parametrize("action", sorted(REQUESTS))
def test_each_message_has_the_fields_of_its_schema(action: str) -> None:
    for kind, is_answer in zip(REQUESTS[action], (False, True), strict=True):
        schema = schema_of(action, is_answer=is_answer)
        fields = msgspec.structs.fields(kind)
        assert {field.encode_name for field in fields} == set(schema.get("properties", ()))
        needed = {field.encode_name for field in fields if field.default is msgspec.NODEFAULT}
        assert needed == set(schema.get("required", ()))


def schema_of(action: str, *, is_answer: bool) -> dict[str, Any]:
    name = f"{action}Response.json" if is_answer else f"{action}.json"
    schema: dict[str, Any] = json.loads(files("ocpp").joinpath("v16", "schemas", name).read_text("utf-8-sig"))
    return schema


@st.composite
def built(draw: st.DrawFn, kind: type[messages.Payload]) -> messages.Payload:
    """Draw a message with any of its optional fields."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.default is msgspec.NODEFAULT or draw(st.booleans()):
            values[field.name] = draw(of_type(msgspec.inspect.type_info(field.type)))
    return kind(**values)


def of_type(info: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case msgspec.inspect.UnionType(types):
            return of_type(next(one for one in types if not isinstance(one, msgspec.inspect.NoneType)))
        case msgspec.inspect.LiteralType(values):
            return st.sampled_from(values)
        case msgspec.inspect.EnumType(cls):
            return st.sampled_from(cls)
        case msgspec.inspect.StrType(max_length=length):
            return st.text("aZ0 é", max_size=length if length is None else min(length, 30))
        case msgspec.inspect.IntType(ge=ge, gt=gt, le=le):
            return st.integers(gt + 1 if gt is not None else ge if ge is not None else -9, le or 9)
        case msgspec.inspect.FloatType():
            return st.integers(0, 99).map(float)
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.DateTimeType():
            return TIMES
        case msgspec.inspect.ListType(item_type=item):
            return st.lists(of_type(item), min_size=1, max_size=3)
        case msgspec.inspect.StructType(cls):
            return built(cls)
    raise AssertionError(info)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(sorted(REQUESTS)), st.booleans())
def test_what_is_encoded_fits_the_schema_and_is_read_back(
    data: st.DataObject, action: str, is_answer: bool
) -> None:
    message = data.draw(built(REQUESTS[action][is_answer]))
    encoded = msgspec.json.encode(message)
    valid(action, json.loads(encoded), is_answer=is_answer)
    assert msgspec.json.decode(encoded, type=type(message)) == message

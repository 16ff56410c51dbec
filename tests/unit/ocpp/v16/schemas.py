"""What we write is judged by the JSON schemas that the PyPI package `ocpp` carries."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect
from ocpp.messages import Call, CallResult, _validate_payload

from voltyard.ocpp.v16 import messages

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
AT = "2026-03-01T12:00:00Z"
TIMES = st.datetimes(datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def fits(action: str, payload: Any, *, is_answer: bool = False) -> None:
    """Raise unless the schema of this action takes the payload."""
    if isinstance(payload, bytes):
        payload = json.loads(payload)
    message = CallResult("1", payload, action) if is_answer else Call("1", action, payload)
    _validate_payload(message, "1.6")


def schema_of(action: str, *, is_answer: bool) -> dict[str, Any]:
    """Return the schema of a request or an answer."""
    name = f"{action}Response.json" if is_answer else f"{action}.json"
    schema: dict[str, Any] = json.loads(files("ocpp").joinpath("v16", "schemas", name).read_text("utf-8-sig"))
    return schema


@st.composite
def built(draw: st.DrawFn, kind: type[messages.Payload]) -> messages.Payload:
    """Draw a message with any of its optional fields."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.default is msgspec.NODEFAULT or draw(st.booleans()):
            values[field.name] = draw(_of_type(inspect.type_info(field.type)))
    return kind(**values)


def _of_type(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.UnionType(types):
            return _of_type(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.LiteralType(values):
            return st.sampled_from(values)
        case inspect.EnumType(cls):
            return st.sampled_from(cls)
        case inspect.StrType(pattern=str()):
            return st.sampled_from(["https://example.com/a", "ftp://name:word@192.0.2.1/b"])
        case inspect.StrType(min_length=least, max_length=length):
            return st.text("aZ0 é", min_size=least or 0, max_size=min(length or 30, 30))
        case inspect.IntType(ge=ge, gt=gt, le=le):
            return st.integers(gt + 1 if gt is not None else ge if ge is not None else -9, le or 9)
        case inspect.FloatType():
            return st.integers(0, 99).map(float)
        case inspect.BoolType():
            return st.booleans()
        case inspect.DateTimeType():
            return TIMES
        case inspect.ListType(item_type=item):
            return st.lists(_of_type(item), min_size=1, max_size=3)
        case inspect.StructType(cls):
            return built(cls)
    raise AssertionError(info)

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.sim import envelope
from voltyard.sim.envelope import BadPayload, Call, CallError, CallResult, Fields, Malformed, decode


def test_messages_survive_the_wire():
    assert decode(envelope.encode_call("1", "Heartbeat", {"a": 1})) == Call("1", "Heartbeat", {"a": 1})
    assert decode(envelope.encode_result("1", {})) == CallResult("1", {})
    assert decode(envelope.encode_error("1", "GenericError", "x" * 300)) == CallError(
        "1", "GenericError", "x" * 255
    )
    assert decode('[4,"1","GenericError"]') == CallError("1", "GenericError", "")


@pytest.mark.parametrize(
    ("text", "call_id"),
    [("", None), ("{}", None), ("[]", None), ("[2]", None), ('[2,"7",1,{}]', "7"), ('[2,"7","A",[]]', "7"),
     ('[3,"7",[]]', None), ("[" * 100_000, None)],
)  # fmt: skip
def test_a_malformed_text_is_told_apart(text, call_id):
    read = decode(text)
    assert isinstance(read, Malformed)
    assert read.call_id == call_id


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=12))
def test_whatever_comes_nothing_is_raised(value):
    decode(json.dumps(value))


GOOD = Fields(
    {
        "t": "x",
        "i": 1,
        "f": 1.5,
        "b": True,
        "at": "2026-03-01T12:00:00Z",
        "o": {"t": "y"},
        "l": [{"t": "z"}],
        "s": ["a"],
    }
)


def test_fields_are_read_by_their_type():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (GOOD.text("t"), GOOD.whole("i"), GOOD.number("f"), GOOD.yes("b")) == ("x", 1, 1.5, True)
    assert GOOD.number("i") == 1
    assert GOOD.instant("at") == GOOD.instant_or_none("at") == noon
    assert Fields({"at": "2026-03-01T12:00:00"}).instant("at") == noon
    assert GOOD.inner("o").text("t") == "y"
    assert GOOD.inner_or_none("o") == GOOD.inner("o")
    assert [one.text("t") for one in GOOD.items("l")] == ["z"]
    assert GOOD.texts("s") == ["a"]
    assert GOOD.choice("t", "x", "y") == "x"
    left_out = (GOOD.text_or_none("q"), GOOD.whole_or_none("q"), GOOD.inner_or_none("q"), GOOD.texts("q"))
    assert left_out == (None, None, None, [])
    assert GOOD.instant_or_none("q") is None
    assert GOOD.whole_or_none("i") == 1


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (lambda: GOOD.text("q"), "OccurenceConstraintViolation"),
        (lambda: GOOD.text("i"), "TypeConstraintViolation"),
        (lambda: GOOD.whole("b"), "TypeConstraintViolation"),
        (lambda: GOOD.whole("f"), "TypeConstraintViolation"),
        (lambda: GOOD.yes("i"), "TypeConstraintViolation"),
        (lambda: GOOD.items("s"), "TypeConstraintViolation"),
        (lambda: GOOD.texts("l"), "TypeConstraintViolation"),
        (lambda: GOOD.instant("t"), "TypeConstraintViolation"),
        (lambda: GOOD.choice("t", "a"), "PropertyConstraintViolation"),
    ],
)
def test_a_bad_field_is_named_with_its_code(read, code):
    with pytest.raises(BadPayload) as bad:
        read()
    assert bad.value.code == code


def test_times_are_written_in_utc_with_milliseconds():
    at = datetime(2026, 3, 1, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert envelope.written(at) == "2026-03-01T12:00:00.123Z"

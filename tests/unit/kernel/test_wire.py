"""What travels arrives as it was, and what has another shape is refused."""

from __future__ import annotations

import inspect
import json
import typing
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect as shapes

from voltyard import speech
from voltyard.kernel.errors import Invalid
from voltyard.kernel.units import PerPhase
from voltyard.kernel.wire import Message, decode, encode

MESSAGES = [
    kind
    for _, kind in inspect.getmembers(speech, inspect.isclass)
    if issubclass(kind, Message) and kind is not Message
]
UNIONS = {"Said": speech.Said, "Reply": speech.Reply, "Ask": speech.Ask, "Outcome": speech.Outcome}
IN_UNIONS = [(name, kind) for name, union in UNIONS.items() for kind in typing.get_args(union)]
EXAMPLES = 15

instants = st.datetimes(timezones=st.just(UTC))
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Newer(Message, frozen=True, tag="Started"):
    """A Started as a newer process may say it: with a field that we do not know."""

    connector: int
    id_tag: str
    meter_wh: int
    tariff: dict[str, list[int]]


def values(shape: shapes.Type) -> st.SearchStrategy[Any]:
    """Return values of any type that a message may hold."""
    match shape:
        case shapes.StructType(cls):
            return messages(cls)
        case shapes.UnionType(types):
            return st.one_of([values(each) for each in types])
        case shapes.EnumType(cls):
            return st.sampled_from(cls)
        case shapes.VarTupleType(item):
            return st.lists(values(item), max_size=2).map(tuple)
        case shapes.TupleType(items):
            return st.tuples(*map(values, items))
        case shapes.NamedTupleType(cls, fields):
            return st.tuples(*(values(field.type) for field in fields)).map(lambda each: cls(*each))
        case shapes.DateTimeType():
            return instants
        case shapes.BoolType():
            return st.booleans()
        case shapes.IntType():
            return st.integers(-(2**63), 2**63 - 1)
        case shapes.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case shapes.StrType():
            return st.text(max_size=30)
        case shapes.NoneType():
            return st.none()
    raise AssertionError(f"no values of {shape}: add them here")


def messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Return messages of one kind, with any values in their fields."""
    shape = shapes.type_info(kind)
    assert isinstance(shape, shapes.StructType)
    return st.builds(kind, **{field.name: values(field.type) for field in shape.fields})


def test_the_whole_vocabulary_is_tried():
    assert {kind for _, kind in IN_UNIONS} < set(MESSAGES)
    assert {speech.Reading, speech.Hello, speech.Heard, speech.Asked, speech.Told} <= set(MESSAGES)


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_message_travels_unchanged(kind: type[Message], data: st.DataObject):
    message = data.draw(messages(kind))
    arrived = decode(encode(message), kind)
    assert arrived == message
    assert type(arrived) is kind
    assert encode(arrived) == encode(message)


@pytest.mark.parametrize(("name", "kind"), IN_UNIONS)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_union_is_told_apart_by_its_tags(name: str, kind: type[Message], data: st.DataObject):
    message = data.draw(messages(kind))
    arrived = decode(encode(message), UNIONS[name])
    assert arrived == message
    assert type(arrived) is kind


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), extra=st.dictionaries(st.text(max_size=8).map("new_".__add__), junk, max_size=3))
def test_fields_of_a_newer_process_are_ignored(
    kind: type[Message], data: st.DataObject, extra: dict[str, Any]
):
    message = data.draw(messages(kind))
    told = json.loads(encode(message))
    assert decode(json.dumps(extra | told), kind) == message
    assert decode(json.dumps(told | extra).encode(), kind) == message


def test_an_older_process_hears_a_newer_one():
    newer = Newer(connector=1, id_tag="04A2", meter_wh=7, tariff={"night": [1, 2]})
    assert decode(encode(newer), speech.Said) == speech.Started(connector=1, id_tag="04A2", meter_wh=7)


def test_the_tag_is_the_name_of_the_class():
    assert json.loads(encode(speech.Beat())) == {"type": "Beat"}
    assert len({kind.__struct_config__.tag for kind in MESSAGES}) == len(MESSAGES)


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(wrong=junk.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_is_no_message(kind: type[Message], wrong: object):
    with pytest.raises(Invalid):
        decode(encode(wrong), kind)


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_of_another_kind_is_refused(kind: type[Message]):
    with pytest.raises(Invalid) as caught:
        decode(b'{"type":"Unheard"}', kind)
    assert kind.__name__ in caught.value.detail


@pytest.mark.parametrize("kind", [kind for kind in MESSAGES if shapes.type_info(kind).fields])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_field_of_another_type_is_refused(kind: type[Message], data: st.DataObject):
    told = json.loads(encode(data.draw(messages(kind))))
    name = data.draw(st.sampled_from(sorted(told.keys() - {"type"})))
    with pytest.raises(Invalid):
        decode(json.dumps(told | {name: {"an": ["object"]}}), kind)


def test_a_field_that_is_missing_is_refused():
    for kind in MESSAGES:
        for field in shapes.type_info(kind).fields:
            if field.required:
                with pytest.raises(Invalid):
                    decode(json.dumps({"type": kind.__name__}), kind)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"nonsense",
        b"{",
        b'{"type":"Beat"',
        b'{"type":"Beat"}}',
        b'{"type":1}',
        b"{}",
        b'{"type":"MayCharge","id_tag":"\xff"}',
        b'{"type":"MayCharge","id_tag":"\xed\xa0\x80"}',
        b'{"type":"MayCharge","id_tag":"\\ud800"}',
        b'{"type":"MayCharge","id_tag":"a","type":"Beat"',
        b'{"type":"MayCharge","id_tag":"a\x01"}',
        b'{"type":"Started","connector":1e999,"id_tag":"","meter_wh":0}',
        b"\xff\xfe",
        b"[" * 100_000,
        '{"type":"MayCharge","id_tag":"\ud800"}',
    ],
)
def test_broken_data_is_refused_and_breaks_nothing(data: bytes | str):
    with pytest.raises(Invalid):
        decode(data, speech.Said)


def test_data_nested_too_deep_is_refused_where_any_value_may_stand():
    with pytest.raises(Invalid):
        decode(b"[" * 100_000, object)


@given(st.binary(max_size=60))
def test_bytes_of_chance_are_read_or_refused(data: bytes):
    try:
        decode(data, object)
    except Invalid:
        return
    json.loads(data)


def test_a_refusal_does_not_hide_its_cause():
    with pytest.raises(Invalid) as caught:
        decode(b'{"type":"StopCharging","number":"7"}', speech.Ask)
    assert "number" in caught.value.detail
    assert isinstance(caught.value.__cause__, msgspec.ValidationError)


def test_an_instant_keeps_its_place_in_time_and_arrives_aware():
    noon = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    arrived = decode(encode(speech.Ticked(noon)), speech.Ticked).now
    assert arrived == noon
    assert arrived.utcoffset() == timedelta(hours=2)


def test_a_value_per_phase_is_short_on_the_wire():
    assert json.loads(encode(speech.Reading(current_a=PerPhase(16, None, 15.5))))["current_a"] == [
        16,
        None,
        15.5,
    ]


def test_lists_and_plain_values_can_be_written_too():
    assert decode(encode([speech.Beat(), speech.Beat()]), list[speech.Beat]) == [speech.Beat()] * 2
    assert decode(encode({"a": 1}), dict[str, int]) == {"a": 1}


def test_a_message_cannot_be_changed():
    with pytest.raises(AttributeError):
        speech.MayCharge("04A2").id_tag = "other"

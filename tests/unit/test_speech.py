"""The neutral vocabulary travels unharmed, and its words are those of 1.6 where it borrows them."""

from __future__ import annotations

import typing
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from voltyard import speech
from voltyard.kernel import wire
from voltyard.kernel.errors import Invalid
from voltyard.kernel.units import PerPhase

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UNIONS = (speech.Said, speech.Reply, speech.Ask, speech.Outcome)
SENTENCES = [(kind, union) for union in UNIONS for kind in typing.get_args(union)]


def example(info: msgspec.inspect.Type) -> Any:
    match info:
        case msgspec.inspect.UnionType(types):
            return example(types[0])
        case msgspec.inspect.EnumType(cls):
            return next(iter(cls))
        case msgspec.inspect.DateTimeType():
            return NOON
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.IntType():
            return 1
        case msgspec.inspect.VarTupleType(msgspec.inspect.StrType()):
            return ("a", "b")
        case msgspec.inspect.VarTupleType():
            return (speech.Reading(NOON, energy_wh=1.5, current_a=PerPhase(16.0), others=(("a", "b", "c"),)),)
    return "text"


@pytest.mark.parametrize(("kind", "union"), SENTENCES)
def test_each_sentence_travels_and_is_told_from_the_others(kind: type[msgspec.Struct], union: Any) -> None:
    fields = msgspec.structs.fields(kind)
    sentence = kind(*(example(msgspec.inspect.type_info(field.type)) for field in fields))
    assert wire.decode(wire.encode(sentence), union) == sentence


def test_a_sentence_without_its_fields_is_refused() -> None:
    with pytest.raises(Invalid):
        wire.decode(b'{"type":"StopCharging"}', speech.Ask)  # type: ignore[arg-type]


def test_unknown_fields_of_a_newer_process_are_ignored() -> None:
    assert wire.decode(b'{"type":"Beat","mood":1}', speech.Beat) == speech.Beat()


def test_a_reading_holds_no_guess() -> None:
    assert set(msgspec.structs.asdict(speech.Reading()).values()) == {
        None,
        "Sample.Periodic",
        PerPhase(),
        (),
    }


def test_a_connector_has_nine_states() -> None:
    assert len(speech.ConnectorStatus) == 9


def test_the_most_urgent_class_comes_first() -> None:
    assert [str(priority) for priority in speech.Priority] == [
        "safety",
        "stop",
        "billing",
        "portal",
        "data_control",
        "background",
    ]

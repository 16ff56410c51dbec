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
UNIONS = (speech.Said, speech.Reply, speech.Ask, speech.Details, speech.Outcome)
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
        case msgspec.inspect.FloatType():
            return 1.5
        case msgspec.inspect.VarTupleType(msgspec.inspect.StrType()):
            return ("a", "b")
        case msgspec.inspect.VarTupleType(msgspec.inspect.StructType(cls)) if cls is not speech.Reading:
            return (sentence_of(cls),)
        case msgspec.inspect.StructType(cls):
            return sentence_of(cls)
        case msgspec.inspect.VarTupleType():
            return (speech.Reading(NOON, energy_wh=1.5, current_a=PerPhase(16.0), others=(("a", "b", "c"),)),)
    return "text"


def sentence_of(kind: type[msgspec.Struct]) -> Any:
    fields = msgspec.structs.fields(kind)
    return kind(*(example(msgspec.inspect.type_info(field.type)) for field in fields))


@pytest.mark.parametrize(("kind", "union"), SENTENCES)
def test_each_sentence_travels_and_is_told_from_the_others(kind: type[msgspec.Struct], union: Any) -> None:
    sentence = sentence_of(kind)
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


@pytest.mark.parametrize("details", [sentence_of(kind) for kind in typing.get_args(speech.Details)])
def test_what_an_answer_tells_besides_travels_with_it(details: Any) -> None:
    told = speech.Told(speech.Answer(is_accepted=True, status="", payload="{}", details=details), "A", "{}")
    assert wire.decode(wire.encode(told), speech.Told) == told


@pytest.mark.parametrize(
    ("outcome", "is_unable"),
    [
        (speech.Answer(is_accepted=False, status="NotSupported", payload="{}"), True),
        (speech.Answer(is_accepted=False, status="NotImplemented", payload="{}"), True),
        (speech.AnswerRefused("NotSupported"), True),
        (speech.AnswerRefused("notImplemented"), True),
        (None, True),
        (speech.Answer(is_accepted=False, status="Rejected", payload="{}"), False),
        (speech.Answer(is_accepted=True, status="", payload="{}"), False),
        (speech.AnswerRefused("InternalError"), False),
    ],
)
def test_a_charger_that_cannot_says_so_in_many_ways(
    outcome: speech.Outcome | None, is_unable: bool
) -> None:  # Q54
    assert speech.is_unable(outcome) is is_unable

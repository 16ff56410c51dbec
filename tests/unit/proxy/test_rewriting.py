"""Edits of raw payloads, against what json.loads makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voltyard.proxy import rewriting
from voltyard.proxy.rewriting import added, replaced, value, without

blanks = st.text(" \t\r\n", max_size=2)
NAMES = ("transactionId", "idTag", "é", "", "a,b", '"', "{", "\\")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)


class Piece(NamedTuple):
    """A member with the text around its value."""

    name: str
    before: str
    raw: str
    after: str


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    name = draw(st.sampled_from(NAMES))
    key = json.dumps(name, ensure_ascii=draw(st.booleans()))
    if name and draw(st.booleans()):
        key = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
    raw = json.dumps(
        draw(values),
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        allow_nan=False,
    )
    return Piece(name, f"{draw(blanks)}{key}{draw(blanks)}:{draw(blanks)}", raw, draw(blanks))


members = st.lists(pieces(), max_size=6)


def joined(given_members: Sequence[Piece], inside: str = "") -> bytes:
    text = ",".join(f"{piece.before}{piece.raw}{piece.after}" for piece in given_members)
    return f" {{{text or inside}}}\n".encode()


changes = st.dictionaries(
    st.sampled_from(NAMES), values.map(lambda each: json.dumps(each).encode()), max_size=3
)


@given(members, blanks, changes)
def test_all_other_bytes_stay_as_they_were(drawn: list[Piece], inside: str, put: dict[str, bytes]) -> None:
    payload = joined(drawn, inside)
    expected = joined(
        [piece._replace(raw=put[piece.name].decode()) if piece.name in put else piece for piece in drawn],
        inside,
    )
    assert replaced(payload, put) == expected
    kept = [piece for piece in drawn if piece.name not in put]
    assert without(payload, put) == joined(kept, "" if drawn else inside)


@given(members, changes)
def test_what_is_read_from_the_result_is_what_was_put_there(
    drawn: list[Piece], put: dict[str, bytes]
) -> None:
    payload = joined(drawn)
    before: dict[str, Any] = json.loads(payload)
    result = replaced(payload, put)
    assert json.loads(result) == before | {
        name: json.loads(raw) for name, raw in put.items() if name in before
    }
    left = without(payload, put)
    assert json.loads(left) == {name: each for name, each in before.items() if name not in put}
    for name in NAMES:
        raw = value(result, name)
        assert (raw is None) == (name not in before)
        if raw is not None:
            assert json.loads(raw) == json.loads(result)[name]
        assert (value(left, name) is None) == (name not in before or name in put)


@given(members, st.integers(0, 200), st.binary(max_size=3))
@example([], 1, b"")
def test_no_object_that_can_be_decoded_is_refused(drawn: list[Piece], place: int, noise: bytes) -> None:
    whole = joined(drawn)
    payload = whole[:place] + noise + whole[place + 1 :]
    is_object = False
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_object = isinstance(msgspec.json.decode(payload), dict)
    try:
        value(payload, "idTag")
        replaced(payload, {"idTag": b"1"})
        without(payload, ["idTag"])
    except ValueError:
        assert not is_object


METERS = (
    b'{"connectorId": 1, "transactionId" : 57,"meterValue":[{"timestamp":"2026-03-01T12:00:00Z",'
    b'"sampledValue":[{"value":"OCMF|{\\"FV\\":\\"1.0\\"}|{\\"SD\\":\\"30\\"}","format":"SignedData"},'
    b'{"value":"4.20"}]}],"x":1.0e2 }'
)


def test_only_the_number_of_the_transaction_becomes_another() -> None:
    assert replaced(METERS, {"transactionId": b"9001"}) == METERS.replace(b"57", b"9001")
    assert without(METERS, {"transactionId"}) == METERS.replace(b' "transactionId" : 57,', b"")
    assert value(METERS, "transactionId") == b"57"
    assert value(METERS, "x") == b"1.0e2"
    assert value(METERS, "timestamp") is None


@pytest.mark.parametrize(
    ("payload", "changed"),
    [
        (b'{"a":1,"b":2,"a":[1]}', b'{"a":9,"b":2,"a":9}'),
        (b'{"\\u0061":"}"}', b'{"\\u0061":9}'),
        (b'{"A":1}', b'{"A":1}'),
        (b'{"b":{"a":1},"c":"\\"a\\":1"}', b'{"b":{"a":1},"c":"\\"a\\":1"}'),
        (b"{ }", b"{ }"),
        (b'{"a":true}', b'{"a":9}'),
        (b'{"a":null,"\\ud800":1}', b'{"a":9,"\\ud800":1}'),
        (b'{"a":1,"\\\xff":1}', b'{"a":9,"\\\xff":1}'),
    ],
)
def test_a_name_is_known_in_any_spelling_and_at_the_top_only(payload: bytes, changed: bytes) -> None:
    assert replaced(payload, {"a": b"9", "\ud800": b"9"}) == changed


@pytest.mark.parametrize(
    ("payload", "left"),
    [
        (b'{ "a":1 , "b":2 }', b'{ "b":2 }'),
        (b'{"b":2, "a":1}', b'{"b":2}'),
        (b' { "a":1 } ', b" {} "),
        (b'{"b":2,"a":1,"c":3}', b'{"b":2,"c":3}'),
        (b'{"b":2}', b'{"b":2}'),
    ],
)
def test_a_member_goes_with_its_blanks_and_one_comma(payload: bytes, left: bytes) -> None:
    assert without(payload, {"a"}) == left


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1',
        b'{"a":[1}',
        b'{"a":[',
        b'{"a":"',
        b"{1:2}",
        b'{"a":1,}',
    ],
)
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        value(payload, "a")


@pytest.mark.parametrize(
    "value_of",
    [
        lambda n: b"[" * n + b"]" * n,
        lambda n: b'"' + b'\\"' * n + b'"',
        lambda n: b'["' + b"\\\\" * n + b'"]',
        lambda n: b'["' + b'\\"' * n,
        lambda n: b"[" + b'"",' * n + b"1]",
        lambda n: b'"' + b"\\" * (2 * n),
        lambda n: b" " * n,
        lambda n: b"1" * n,
    ],
)
def test_time_is_linear_whatever_the_depth(value_of: Any) -> None:
    long = 100_000
    begun = perf_counter()
    with suppress(ValueError):
        payload = b'{"b":' + value_of(long) + b',"a":1}'
        assert replaced(payload, {"a": b"2"}) == payload[:-2] + b"2}"
    # Squared, it would take minutes.
    assert perf_counter() - begun < 5


def test_nothing_to_change_gives_the_very_payload() -> None:
    assert replaced(METERS, {"idTag": b'"A"'}) is METERS
    assert without(METERS, ()) is METERS
    assert rewriting.value(b"{}", "a") is None


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=3), st.sampled_from(["", " ", "\n\t"]))
def test_one_more_field_leaves_the_rest_as_it_was(payload: dict[str, int], blank: str) -> None:
    raw = blank + json.dumps(payload)[:-1] + blank + "}" + blank
    result = added(raw.encode(), "transactionId", b"7")
    assert json.loads(result) == {"transactionId": 7} | payload
    assert raw.encode().strip()[1:] in result


@pytest.mark.parametrize(
    ("raw", "number", "word"),
    [
        (None, None, ""),
        (b"", None, ""),
        (b"7", 7, ""),
        (b"7.0", 7, ""),
        (b"7.5", None, ""),
        (b"1e300", None, ""),
        (b'" -7 "', -7, " -7 "),
        (b'"x"', None, "x"),
        (b'"99999999999999999999"', None, "99999999999999999999"),
        (b"99999999999999999999", None, ""),
        (b"true", None, ""),
        (b"[7]", None, ""),
        (b"[" * 5_000, None, ""),
    ],
)
def test_a_raw_value_is_read_as_what_it_can_be(raw: bytes | None, number: int | None, word: str) -> None:
    assert (rewriting.integer(raw), rewriting.text(raw)) == (number, word)


def test_a_value_that_reads_as_a_name_is_no_name() -> None:
    assert replaced(b'{"a\\/b":1,"c":"a/b"}', {"a/b": b"2"}) == b'{"a\\/b":2,"c":"a/b"}'

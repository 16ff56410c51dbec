"""The envelopes of OCPP-J: what is read, what is forgiven, what is written."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voltyard.kernel.limits import FRAME_BYTES_MAX
from voltyard.ocpp import frames
from voltyard.ocpp.frames import Broken, Call, CallError, CallResult, Empty, decode

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(st.text(max_size=8), json_values, max_size=4).map(
    lambda it: json.dumps(it).encode()
)
# A surrogate is no text, so no peer can have sent it as an id or action of ours.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=36)
ids = st.one_of(texts, st.integers(0, 2**40)).map(lambda it: json.dumps(it, ensure_ascii=False).encode())


@given(st.binary(max_size=200) | st.text(max_size=200))
@example(b"[" * 50_000)
@example('["\ud800"]')
@example(b'[2,"a","H",' + b"[" * 5_000)
def test_decode_never_raises(text: bytes | str) -> None:
    assert isinstance(decode(text), Call | CallResult | CallError | Broken | Empty)


@given(json_values.map(json.dumps), st.integers(0, 40), st.sampled_from(list('[]{},:"\\ 0n\x00é')))
def test_decode_never_raises_on_damaged_json(text: str, place: int, damage: str) -> None:
    decode(f'[2,"1","A",{text}]'[:place] + damage + text[place:])


@given(texts, texts, payloads)
def test_decode_undoes_encode_of_a_call(message_id: str, action: str, payload: bytes) -> None:
    read = decode(frames.encode_call(message_id, action, payload))
    assert isinstance(read, Call)
    assert (json.loads(read.id_raw), read.action, read.payload) == (message_id, action, payload)


@given(ids, payloads)
def test_decode_undoes_encode_of_a_result(id_raw: bytes, payload: bytes) -> None:
    assert decode(frames.encode_result(id_raw, payload)) == CallResult(id_raw, payload)


@given(ids, st.sampled_from(sorted(frames.ERROR_CODES)), texts, payloads)
def test_decode_undoes_encode_of_an_error(id_raw: bytes, code: str, text: str, details: bytes) -> None:
    assert decode(frames.encode_error(id_raw, code, text, details)) == CallError(id_raw, code, text, details)


@given(ids)
def test_an_id_is_echoed_byte_for_byte(id_raw: bytes) -> None:
    call = decode(b'[2, %b ,"Heartbeat",{}]' % id_raw)
    assert isinstance(call, Call)
    assert frames.encode_result(call.id_raw, b"{}") == b"[3,%b,{}]" % id_raw


@given(json_values.map(lambda it: json.dumps(it).encode()))
def test_a_payload_is_a_json_object(value: bytes) -> None:
    frame = decode(b'[2,"1","A",%b]' % value)
    if isinstance(frame, Call):
        assert isinstance(json.loads(frame.payload), dict)
    else:
        assert frame == Broken(b'"1"', "FormationViolation", "the payload is not an object", frames.CALL)


@pytest.mark.parametrize(
    ("quirk", "text", "expected"),
    [
        ("Q15", b"", Empty()),
        ("Q15", b" \r\n", Empty()),
        ("Q16", b'[2,"1","Heartbeat",null]', Call(b'"1"', "Heartbeat", b"{}", flaws=("no_payload",))),
        ("Q16", b'[2,"1","Heartbeat"]', Call(b'"1"', "Heartbeat", b"{}", flaws=("no_payload",))),
        ("Q16", b'[2,"1","Heartbeat",[ ]]', Call(b'"1"', "Heartbeat", b"{}", flaws=("no_payload",))),
        ("Q16", b'[3,"1"]', CallResult(b'"1"', b"{}")),
        ("Q16", b'[3,"1",null]', CallResult(b'"1"', b"{}")),
        ("Q17", b'[2,"1","A",{"a":[,{"b":1}]}]', Call(b'"1"', "A", b'{"a":[{"b":1}]}', True)),
        ("Q17", b'[2,"1","A",{"a":[, ,1]}]', Call(b'"1"', "A", b'{"a":[1]}', True)),
        ("Q17", b'[2,"1","A",{"a":,"b":1}]', Call(b'"1"', "A", b'{"a":null,"b":1}', True)),
        ("Q17", b'[2,"1","A",{"a":}]', Call(b'"1"', "A", b'{"a":null}', True)),
        ("Q17", b'[2,"1","A",{"a":[1,],"b":2,},]', Call(b'"1"', "A", b'{"a":[1],"b":2}', True)),
        ("Q17", b'[2,"1","A",{"a":1,,"b":2}]', Call(b'"1"', "A", b'{"a":1,"b":2}', True)),
        ("Q17", b'[2,"1","A",{"a":NaN,"b":-Infinity}]', Call(b'"1"', "A", b'{"a":null,"b":null}', True)),
        ("Q17", b'[2,"1","A",{"a":"x,]\n","b":1,}]', Call(b'"1"', "A", b'{"a":"x,]\\u000a","b":1}', True)),
        ("Q17", b'[2,"1","A",{}]\x00', Call(b'"1"', "A", b"{}", True)),
        ("Q17", b'\xef\xbb\xbf[2,"1","A",{}]', Call(b'"1"', "A", b"{}", True)),
        ("Q17", b'[3,"1",{"a":,}]', CallResult(b'"1"', b'{"a":null}', True)),
        ("Q19", b'[2,17,"A",{}]', Call(b"17", "A", b"{}", flaws=("odd_message_id",))),
        ("Q19", b'[2,1.50,"A",{}]', Call(b"1.50", "A", b"{}", flaws=("odd_message_id",))),
        ("Q19", b'[2,null,"A",{}]', Call(b"null", "A", b"{}", flaws=("odd_message_id",))),
        (
            "Q19",
            b'[2,"%b","A",{}]' % (b"x" * 100),
            Call(b'"%b"' % (b"x" * 100), "A", b"{}", flaws=("odd_message_id",)),
        ),
        ("Q19", '[2,"\\u0041é","A",{}]', Call('"\\u0041é"'.encode(), "A", b"{}")),
        ("Q22", b'[4,"1","FormatViolation"]', CallError(b'"1"', "FormatViolation")),
        ("Q22", b'[4,"1"]', CallError(b'"1"', "GenericError")),
        ("Q22", b'[4,"1",17,null,null]', CallError(b'"1"', "GenericError")),
        ("Q22", b'[4,"1","X","why",{"a":1}]', CallError(b'"1"', "X", "why", b'{"a":1}')),
        ("type as text", b'["2","1","A",{}]', Call(b'"1"', "A", b"{}")),
        ("more elements", b'[2,"1","A",{},7]', Call(b'"1"', "A", b"{}")),
        ("latin text", b'[2,"1","A",{"a":"caf\xe9"}]', Call(b'"1"', "A", '{"a":"caf�"}'.encode(), True)),
        ("latin text, answer", b'[3,"1",{"a":"\xe9"}]', CallResult(b'"1"', '{"a":"�"}'.encode(), True)),
    ],
)
def test_a_peculiar_frame_is_read(quirk: str, text: bytes | str, expected: frames.Frame) -> None:
    assert decode(text) == expected, quirk


@pytest.mark.parametrize(
    ("text", "id_raw", "kind"),
    [
        (b"hello", None, 0),
        (b"{}", None, 0),
        (b"[]", None, 0),
        (b"[2]", None, 0),
        (b'[5,"1",{}]', None, 0),
        (b'[2,{},"A",{}]', None, 2),
        (b'[2,[1],"A",{}]', None, 2),
        (b'[2,"%b","A",{}]' % (b"x" * 300), None, 2),
        (b'[2,"1"]', b'"1"', 2),
        (b'[2,"1",7,{}]', b'"1"', 2),
        (b'[2,"1","A",7]', b'"1"', 2),
        (b'[2,"1","A",[1]]', b'"1"', 2),
        (b'[3,"1",7]', b'"1"', 3),
        (b'[2,"1","A",{"a" "b"}]', b'"1"', 2),
        (b'\xef\xbb\xbf [2, "a\\"b" ,"A",{"a"', b'"a\\"b"', 2),
        (b'[2,17,"A",{"a"', b"17", 2),
        (b'[3,"1",{"a"', b'"1"', 3),
        (b'[4,"1",{"a"', b'"1"', 4),
        (b'[9,"1",{"a"', None, 0),
        (b'[2,"1","A",' + b"[" * 5_000, b'"1"', 2),
        (b'[2,"1","A",{"a":"\\', b'"1"', 2),
    ],
)
def test_a_broken_frame_gives_its_id_back_when_it_has_one(
    text: bytes, id_raw: bytes | None, kind: int
) -> None:
    frame = decode(text)
    assert isinstance(frame, Broken)
    assert (frame.id_raw, frame.kind) == (id_raw, kind)


def test_nothing_of_a_broken_frame_is_quoted_in_the_detail() -> None:
    frame = decode(b'[2,"1","Secret",{"password"')
    assert isinstance(frame, Broken)
    assert "Secret" not in frame.detail
    assert "password" not in frame.detail


@pytest.mark.parametrize("text", [b" " * (FRAME_BYTES_MAX + 1), "é" * (FRAME_BYTES_MAX // 2 + 1)])
def test_a_frame_longer_than_the_limit_is_not_read(text: bytes | str) -> None:
    assert decode(text) is frames.TOO_LONG


@pytest.mark.parametrize(
    "text",
    [
        b'[2,"1","A",{"a":' + b'"\\' * (FRAME_BYTES_MAX // 2 - 20),
        b'[2,"1","A",{' + b'"\\"' * (FRAME_BYTES_MAX // 3 - 20),
        b"[" + b" " * (FRAME_BYTES_MAX - 2),
        b"[" + b",  " * (FRAME_BYTES_MAX // 3 - 2),
        b"," * FRAME_BYTES_MAX,
        b"[ ," * (FRAME_BYTES_MAX // 3),
    ],
)
def test_repair_takes_time_in_proportion_to_the_length(text: bytes) -> None:
    started = time.process_time()
    assert isinstance(decode(text), Broken)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("FormatViolation", "FormationViolation"),
        ("OccurrenceConstraintViolation", "OccurenceConstraintViolation"),
        ("RpcFrameworkError", "GenericError"),
        ("MessageTypeNotSupported", "NotSupported"),
        ("SomethingElse", "GenericError"),
        ("NotImplemented", "NotImplemented"),
    ],
)
def test_an_error_is_written_in_the_spelling_of_1_6(code: str, written: str) -> None:
    assert json.loads(frames.encode_error(b"1", code)) == [4, 1, written, "", {}]


def test_a_description_is_cut_to_255_characters() -> None:
    assert len(json.loads(frames.encode_error(b"1", "GenericError", "é" * 300))[3]) == 255
    assert json.loads(frames.encode_error(b"1", "GenericError", "\ud800"))[3] == "?"

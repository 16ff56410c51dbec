"""Recordings: read, compared, and answered from."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sim.recordings import ACCEPTED, asked, said, written
from voltyard.sim.envelope import CallError, CallResult
from voltyard.sim.replay import (
    AnswerBook,
    BadRecording,
    Report,
    differences,
    learn_number,
    read_recording,
    renumbered,
    told,
)


def test_a_recording_is_read_in_the_order_of_time():
    late = asked(1, "Reset", {"type": "Soft"}, ACCEPTED, at="2026-03-01T12:00:09Z")
    recording = read_recording(
        written(late, said(2, "Heartbeat", {}, {}), said(3, "", "[3,", odd="unreadable_frame"))
    )
    assert [entry.action for entry in recording.entries] == ["Heartbeat", "", "Reset"]
    assert [entry.action for entry in recording.asks] == ["Reset"]
    assert (recording.identity, len(recording.sayings)) == ("CP1", 2)
    odd = recording.entries[1]
    assert (odd.payload, odd.raw, odd.odd, odd.has_answer) == (None, "[3,", "unreadable_frame", False)


def test_a_recording_of_two_chargers_names_none():
    two = written(said(1, "Heartbeat", {}, {}), said(2, "Heartbeat", {}, {}, identity="CP2"))
    assert read_recording(two).identity == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is nothing in it"),
        ("{", "line 1 is no JSON object"),
        ("[1]", "line 1 is no JSON object"),
        (written(said(1, "Heartbeat", {})) + '{"number": 2}', "line 2 lacks 'at'"),
        (written(said(1, "Heartbeat", {}, at="never")), "line 1: Invalid isoformat"),
    ],
)
def test_a_file_that_is_no_recording_says_where(text: str, why: str):
    with pytest.raises(BadRecording, match=why):
        read_recording(text)


@pytest.mark.parametrize(
    ("recorded", "now", "expected"),
    [
        ({"status": "Accepted"}, {"status": "Rejected"}, ["status was Accepted and is Rejected"]),
        ({"idTagInfo": ACCEPTED}, {"idTagInfo": {"status": "Invalid"}},
         ["idTagInfo.status was Accepted and is Invalid"]),
        ({"currentTime": "2026-03-01T12:00:00Z"}, {"currentTime": "2027-03-01T12:00:00.5Z"}, []),
        ({"currentTime": "2026-03-01T12:00:00Z"}, {"currentTime": "soon"},
         ["currentTime was a time and is a text: soon"]),
        ({"transactionId": 1}, {"transactionId": 99}, []),
        ({"transactionId": 1}, {"transactionId": "1"}, ["transactionId was a number and is a text: 1"]),
        ({"a": True}, {"a": 1}, ["a was a yes or no and is a number: 1"]),
        ({"a": {}}, {}, ["a was {} and is missing"]),
        ({}, {"a": None}, ["a is new: null"]),
        ({"a": [{"status": "A"}]}, {"a": [{"status": "B"}, {}]}, ["a[0].status was A and is B"]),
        ({"a": [1]}, {"a": []}, ["a had 1 items and has 0"]),
        ({"errorCode": "X", "errorDescription": "one"}, {"errorCode": "X", "errorDescription": "two"}, []),
        ({}, [], ["the answer was an object and is a list: []"]),
    ],
)  # fmt: skip
def test_words_and_shapes_are_compared_and_nothing_else(recorded, now, expected):
    assert list(differences(recorded, now)) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)


@given(JSON)
def test_nothing_differs_from_itself(value):
    assert list(differences(value, json.loads(json.dumps(value)))) == []


@given(JSON)
def test_what_knows_no_number_is_left_alone(value):
    assert renumbered(value, {}) == value


def test_transactions_get_their_numbers_of_this_run():
    (start,) = read_recording(written(said(1, "StartTransaction", {}, {"transactionId": 17}))).entries
    numbers: dict[int, int] = {}
    learn_number(start, CallError("x", "InternalError", ""), numbers)
    assert numbers == {}
    learn_number(start, CallResult("x", {"transactionId": 4}), numbers)
    payload = {"transactionId": 17, "list": [{"transactionId": 17}, {"transactionId": 3}], "x": 17}
    assert renumbered(payload, numbers) == {
        "transactionId": 4, "list": [{"transactionId": 4}, {"transactionId": 3}], "x": 17
    }  # fmt: skip


def test_the_same_question_gets_the_same_answer_and_another_the_next():
    recording = read_recording(
        written(
            asked(1, "GetConfiguration", {}, {"configurationKey": []}),
            asked(2, "GetConfiguration", {"key": ["A"]}, {"unknownKey": ["A"]}),
            asked(3, "Reset", {"type": "Soft"}),
            asked(4, "RemoteStopTransaction", {"transactionId": 17}, ACCEPTED),
        )
    )
    book = AnswerBook(recording.asks)
    found = book.find("GetConfiguration", {"key": ["A"]}, {})
    assert found is not None
    assert found.number == 2
    for _ in range(2):
        found = book.find("GetConfiguration", {"key": ["B"]}, {})
        assert found is not None
        assert found.number == 1
    assert book.find("Reset", {"type": "Soft"}, {}) is None, "there is no answer to give"
    assert book.find("RemoteStopTransaction", {"transactionId": 4}, {17: 4}) is not None
    assert book.unused == ()


def test_a_report_tells_what_differs_and_what_could_not_be_compared():
    recording = read_recording(
        written(said(1, "Authorize", {}, {"idTagInfo": ACCEPTED}), said(2, "Heartbeat", {}))
    )
    report = Report()
    for entry in recording.entries:
        report.compare(entry, CallError("x", "InternalError", "oh"))
    assert sorted(str(each) for each in report.differences) == [
        "call 1 Authorize: errorCode is new: InternalError",
        'call 1 Authorize: idTagInfo was {"status": "Accepted"} and is missing',
    ]
    assert report.compared == 1
    assert report.notes == ["call 2 Heartbeat: nothing is recorded to compare with"]
    assert told(CallResult("x", {"a": 1})) == {"a": 1}

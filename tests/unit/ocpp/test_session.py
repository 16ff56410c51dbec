"""One connection as a value machine: two lanes, queues with classes, deadlines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voltyard.kernel.errors import TooMany
from voltyard.kernel.limits import ASK_QUEUE_MAX, ASK_QUEUE_ORIGIN_MAX, FRAME_BYTES_MAX, INWARD_QUEUE_MAX
from voltyard.ocpp.frames import Call
from voltyard.ocpp.session import (
    LATE_MAX,
    UNANSWERED,
    UNSENT,
    Answered,
    AnsweredError,
    AnsweredLate,
    Close,
    Dropped,
    Effect,
    Effects,
    Expired,
    Heard,
    Noted,
    Send,
    SendAsk,
    Session,
)
from voltyard.speech import Priority

PRIORITIES = tuple(Priority)


def ask(
    session: Session,
    token: object,
    *,
    priority: Priority = Priority.PORTAL,
    origin: str = "portal",
    timeout_s: float = 30,
    now: float = 0,
) -> Effects:
    return session.ask(
        token,
        "Reset",
        b'{"n":%d}' % hash(token),
        priority=priority,
        origin=origin,
        timeout_s=timeout_s,
        now=now,
    )


def call(message_id: str, action: str = "Heartbeat") -> bytes:
    return b'[2,"%b","%b",{}]' % (message_id.encode(), action.encode())


def sent(effects: Iterable[Effect]) -> list[Any]:
    return [json.loads(effect.data) for effect in effects if isinstance(effect, Send)]


def heard(effects: Iterable[Effect]) -> Call:
    (one,) = [effect.call for effect in effects if isinstance(effect, Heard)]
    return one


def drained(session: Session) -> list[object]:
    """Answer what is open until nothing waits, and return the tokens in the order of sending."""
    order: list[object] = []
    number = 1
    while True:
        effects = session.received(b'[3,"x%d",{}]' % number, 0)
        answered = [effect.token for effect in effects if isinstance(effect, Answered)]
        if not answered:
            return order
        order += answered
        number += 1


# --- out ---


def test_an_ask_is_sent_at_once_when_the_lane_is_free() -> None:
    session = Session("x")
    assert sent(ask(session, 7)) == [[2, "x1", "Reset", {"n": 7}]]
    assert list(session.received(b'[3,"x1",{"status":"Accepted"}]', 1)) == [
        Answered(7, b'{"status":"Accepted"}')
    ]


def test_at_most_one_of_our_calls_is_open() -> None:
    session = Session("x")
    ask(session, 1)
    assert ask(session, 2) == ()
    assert list(session.received(b'[3,"x1",{}]', 1)) == [
        Answered(1, b"{}"),
        SendAsk(b'[2,"x2","Reset",{"n":2}]', 2, "x2"),
    ]


def test_a_more_urgent_ask_goes_first() -> None:
    session = Session("x")
    ask(session, "open")
    for priority in reversed(PRIORITIES):
        ask(session, priority, priority=priority)
    assert drained(session) == ["open", *PRIORITIES]


def test_origins_of_a_class_take_turns() -> None:
    session = Session("x")
    ask(session, "open")
    for token in ("a1", "a2", "a3", "b1", "b2", "c1"):
        ask(session, token, origin=token[0])
    assert drained(session) == ["open", "a1", "b1", "c1", "a2", "b2", "a3"]


def test_queues_are_bounded_in_all_and_for_each_origin() -> None:
    session = Session("x")
    ask(session, "open")
    for number in range(ASK_QUEUE_ORIGIN_MAX):
        ask(session, number, origin="a")
    with pytest.raises(TooMany):
        ask(session, "one more", origin="a", priority=Priority.SAFETY)
    for number in range(ASK_QUEUE_MAX - ASK_QUEUE_ORIGIN_MAX):
        ask(session, number, origin="b")
    with pytest.raises(TooMany):
        ask(session, "one more", origin="c")
    session.received(b'[3,"x1",{}]', 0)
    ask(session, "there is room again", origin="a")


def test_the_deadline_of_an_open_call_counts_from_sending() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=100, now=0)
    ask(session, 2, timeout_s=30, now=0)
    session.received(b'[3,"x1",{}]', 20)
    assert session.wake_at == 50
    assert session.tick(49) == ()
    assert list(session.tick(50)) == [Expired(2, was_sent=True)]
    assert session.wake_at is None


def test_an_ask_that_waits_too_long_expires_unsent() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=100)
    ask(session, 2, timeout_s=30, origin="a")
    ask(session, 3, timeout_s=60, origin="a")
    ask(session, 4, timeout_s=30, origin="b")
    assert session.wake_at == 30
    assert list(session.tick(30)) == [Expired(2, was_sent=False), Expired(4, was_sent=False)]
    assert session.wake_at == 60
    assert drained(session) == [1, 3]


def test_an_ask_whose_time_passed_between_ticks_is_not_sent() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=100)
    ask(session, 2, timeout_s=30)
    ask(session, 3, timeout_s=90)
    effects = session.received(b'[3,"x1",{}]', 40)
    assert [type(effect) for effect in effects] == [Answered, Expired, SendAsk]
    assert effects[1] == Expired(2, was_sent=False)


def test_an_expired_call_makes_room_for_the_next() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=10)
    ask(session, 2, timeout_s=30)
    assert list(session.tick(10)) == [
        Expired(1, was_sent=True),
        SendAsk(b'[2,"x2","Reset",{"n":2}]', 2, "x2"),
    ]


def test_a_late_answer_is_told_once_with_its_token() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=10)
    session.tick(10)
    assert list(session.received(b'[3,"x1",{"a":1}]', 11)) == [AnsweredLate(1, b'{"a":1}')]
    assert list(session.received(b'[4,"x1","GenericError"]', 11)) == [Noted("late_answer", '"x1"')]


@pytest.mark.parametrize(
    "answer", [b'[3,"other",{}]', b"[3,17,{}]", b'[3,"x2",{}]', b'[4,"y","X"]', b'[3,"xx",{}]']
)
def test_an_answer_to_nothing_is_never_answered(answer: bytes) -> None:  # quirk Q23
    session = Session("x")
    ask(session, 1)
    (noted,) = session.received(answer, 0)
    assert isinstance(noted, Noted)
    assert noted.what == "unknown_answer"
    assert drained(session) == [1]


def test_an_answer_under_a_wrong_id_counts_only_where_that_is_known() -> None:  # quirk Q20
    session = Session("x", is_id_loose=True)
    assert list(session.received(b'[3,"other",{}]', 0)) == [Noted("unknown_answer", '"other"')]
    ask(session, 1, timeout_s=10)
    session.tick(10)
    ask(session, 2)
    assert list(session.received(b'[3,"x1",{}]', 0)) == [AnsweredLate(1, b"{}")]
    assert list(session.received(b'[3,"other",{}]', 0)) == [
        Answered(2, b"{}"),
        Noted("wrong_answer_id", "Reset"),
    ]
    ask(session, 3)
    assert list(session.received(b'[4,"other","GenericError"]', 0)) == [
        AnsweredError(3, "GenericError", ""),
        Noted("wrong_answer_id", "Reset"),
    ]


def test_what_a_peer_is_known_for_may_be_learned_later() -> None:
    session = Session("x")
    ask(session, 1)
    assert list(session.received(b'[3,"other",{}]', 0)) == [Noted("unknown_answer", '"other"')]
    session.heed(is_half_duplex=True, is_id_loose=True)
    assert Answered(1, b"{}") in session.received(b'[3,"other",{}]', 0)
    session.received(b'[2,"t","Heartbeat",{}]', 0)
    assert not ask(session, 2)


def test_an_error_ends_the_ask() -> None:
    session = Session("x")
    ask(session, 1)
    ask(session, 2)
    effects = session.received(b'[4,"x1","NotSupported","no",{}]', 0)
    assert effects[0] == AnsweredError(1, "NotSupported", "no")
    assert sent(effects) == [[2, "x2", "Reset", {"n": 2}]]


def test_an_unreadable_answer_ends_the_ask_and_keeps_the_connection() -> None:  # quirk Q18
    session = Session("x")
    ask(session, 1)
    ask(session, 2)
    effects = session.received(b'[3,"x1",{"a" "b"}]', 0)
    assert effects[0] == Noted("unreadable_frame", "not a JSON array")
    assert effects[1] == AnsweredError(1, "FormationViolation", "not a JSON array")
    assert sent(effects) == [[2, "x2", "Reset", {"n": 2}]]
    assert list(session.received(b'[3,"y",{"a" "b"}]', 0)) == [Noted("unreadable_frame", "not a JSON array")]


def test_a_repaired_answer_is_taken_and_noted() -> None:
    session = Session("x")
    ask(session, 1)
    assert list(session.received(b'[3,"x1",{"a":}]', 0)) == [
        Answered(1, b'{"a":null}'),
        Noted("repaired_json", "Reset"),
    ]


def test_message_ids_hold_36_characters_at_most() -> None:
    session = Session("p" * 26)
    ((_, message_id, _, _),) = sent(ask(session, 1))
    assert len(message_id) <= 36
    for prefix in ("p" * 27, 'a"b', "a/b"):
        with pytest.raises(AssertionError):
            Session(prefix)


# --- in ---


def test_a_call_is_handed_up_and_answered_under_its_own_id() -> None:
    session = Session("x")
    first = heard(session.received(call("a"), 0))
    assert list(session.answer(first, b'{"b":1}', 0)) == [Send(b'[3,"a",{"b":1}]')]


def test_their_calls_keep_their_order_and_one_is_handed_up_at_a_time() -> None:  # quirk Q21
    session = Session("x")
    first = heard(session.received(call("a"), 0))
    assert session.received(call("b"), 0) == ()
    assert session.received(call("c"), 0) == ()
    second = heard(session.answer(first, b"{}", 0))
    third = heard(session.refuse(second, "InternalError", "busy", 0))
    assert [one.id_raw for one in (first, second, third)] == [b'"a"', b'"b"', b'"c"']
    assert sent(session.answer(third, b"{}", 0)) == [[3, "c", {}]]


def test_a_call_beyond_the_bound_closes_the_connection() -> None:
    session = Session("x")
    for number in range(INWARD_QUEUE_MAX + 1):
        assert not session.is_inward_full
        session.received(call(str(number)), 0)
    assert session.is_inward_full
    assert list(session.received(call("0"), 0)) == [Noted("repeated_call", "Heartbeat")]
    assert not session.is_closed
    (close,) = session.received(call("one more"), 0)
    assert isinstance(close, Close)
    assert close.code == 1008
    assert session.is_closed


def test_a_repeated_call_is_not_handed_up_twice() -> None:  # quirk Q19
    session = Session("x")
    first = heard(session.received(call("a"), 0))
    assert list(session.received(call("a"), 0)) == [Noted("repeated_call", "Heartbeat")]
    assert session.received(call("a", "StatusNotification"), 0) == ()
    assert list(session.received(call("a", "StatusNotification"), 0)) == [
        Noted("repeated_call", "StatusNotification")
    ]
    second = heard(session.answer(first, b"{}", 0))
    assert second.action == "StatusNotification"
    session.answer(second, b"{}", 0)
    assert heard(session.received(call("a"), 0)) == first


def test_a_repaired_call_is_handed_up_and_noted() -> None:
    session = Session("x")
    effects = session.received(b'[2,"a","A",{"b":}]', 0)
    assert effects[0] == Noted("repaired_json", "A")
    assert heard(effects).payload == b'{"b":null}'
    assert list(session.received(b'[2,"b","B",{"b":}]', 0)) == [Noted("repaired_json", "B")]


def test_a_malformed_call_is_refused_at_once() -> None:
    session = Session("x")
    heard(session.received(call("a"), 0))
    assert sent(session.received(b'[2,"b","A",{"c" 1}]', 0)) == [
        [4, "b", "FormationViolation", "not a JSON array", {}]
    ]


@pytest.mark.parametrize("text", [b"hello", b'[6,"a",{}]', b"[2]", b'[2,{},"A",{}]'])
def test_what_has_no_id_is_noted_and_not_answered(text: bytes) -> None:
    effects = Session("x").received(text, 0)
    assert [type(effect) for effect in effects] == [Noted]


def test_an_empty_frame_is_noted() -> None:  # quirk Q15
    assert list(Session("x").received("", 0)) == [Noted("empty_frame")]


def test_a_frame_beyond_the_limit_closes_the_connection() -> None:
    (close,) = Session("x").received(b" " * (FRAME_BYTES_MAX + 1), 0)
    assert isinstance(close, Close)
    assert close.code == 1009


def test_an_answer_to_no_call_is_noted() -> None:
    session = Session("x")
    first = heard(session.received(call("a"), 0))
    session.answer(first, b"{}", 0)
    assert list(session.answer(first, b"{}", 0)) == [Noted("answer_to_no_call", "Heartbeat")]


# --- both ---


def test_the_lanes_never_block_each_other() -> None:  # 1.6-J §4.1.1
    session = Session("x")
    ask(session, 1)
    theirs = heard(session.received(call("a"), 0))
    assert list(session.received(b'[3,"x1",{}]', 0)) == [Answered(1, b"{}")]
    assert sent(ask(session, 2)) == [[2, "x2", "Reset", {"n": 2}]]
    assert sent(session.answer(theirs, b"{}", 0)) == [[3, "a", {}]]


def test_a_half_duplex_peer_is_asked_only_between_its_own_calls() -> None:
    session = Session("x", is_half_duplex=True)
    theirs = heard(session.received(call("a"), 0))
    assert ask(session, 1) == ()
    session.received(call("b"), 0)
    theirs = heard(session.answer(theirs, b"{}", 0))
    assert sent(session.answer(theirs, b"{}", 0)) == [[3, "b", {}], [2, "x1", "Reset", {"n": 1}]]


def test_everything_is_dropped_when_the_connection_closes() -> None:
    session = Session("x")
    theirs = heard(session.received(call("a"), 0))
    ask(session, 1)
    ask(session, 2)
    assert list(session.closed(1)) == [Dropped(1, UNANSWERED), Dropped(2, UNSENT)]
    assert session.closed(1) == ()
    assert session.wake_at is None
    assert session.received(call("b"), 1) == ()
    assert session.answer(theirs, b"{}", 1) == ()
    assert session.tick(100) == ()
    assert list(ask(session, 3)) == [Dropped(3, UNSENT)]


def test_nothing_is_sent_after_the_word_to_close() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=10)
    ask(session, 2, timeout_s=60)
    session.received(b" " * (FRAME_BYTES_MAX + 1), 0)
    assert list(session.tick(10)) == [Expired(1, was_sent=True)]
    assert list(session.closed(11)) == [Dropped(2, UNSENT)]


@given(
    st.lists(st.tuples(st.sampled_from(PRIORITIES), st.sampled_from("abc")), max_size=ASK_QUEUE_ORIGIN_MAX)
)
def test_each_ask_ends_once_in_order_of_class(asks: list[tuple[Priority, str]]) -> None:
    session = Session("x")
    ask(session, -1)
    for token, (priority, origin) in enumerate(asks):
        ask(session, token, priority=priority, origin=origin)
    order = drained(session)
    assert sorted(order) == list(range(-1, len(asks)))  # type: ignore[type-var]
    ranks = [PRIORITIES.index(asks[token][0]) for token in order[1:]]  # type: ignore[call-overload]
    assert ranks == sorted(ranks)


class TwoLanes(RuleBasedStateMachine):
    """A session under any mixture of inputs, watched from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session("x")
        self.now = 0.0
        self.asked: set[int] = set()
        self.ended: set[int] = set()
        self.waiting: dict[int, tuple[int, str]] = {}
        self.deadlines: dict[int, float] = {}
        self.open: tuple[str, int] | None = None
        self.was_free = False
        self.theirs: list[str] = []
        self.up: Call | None = None
        self.answered: list[str] = []
        self.is_closed = False

    def take(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Send(data):
                    self.take_sent(json.loads(data))
                case Heard(theirs):
                    assert self.up is None, "at most one of theirs is handed up"
                    self.up = theirs
                case Answered(token, _) | AnsweredError(token, _, _):
                    assert self.open is not None
                    assert self.open[1] == token
                    self.open = None
                    self.end(token)
                case Expired(token, was_sent):
                    assert self.deadlines[token] <= self.now  # type: ignore[index]
                    if was_sent:
                        self.open = None
                    self.end(token)
                case Dropped(token, why):
                    assert self.is_closed
                    assert why == (UNANSWERED if self.open and self.open[1] == token else UNSENT)
                    self.end(token)
                case Close(code, _):
                    assert code == 1008
                    assert len(self.theirs) - len(self.answered) > INWARD_QUEUE_MAX + 1
                    self.is_closed = True
                    self.take(self.session.closed(self.now))

    def take_sent(self, frame: list[Any]) -> None:
        assert not self.is_closed
        if frame[0] == 2:
            assert self.open is None, "at most one of our calls is open"
            token = frame[3]["n"]
            if self.waiting:
                assert self.waiting[token][0] == min(rank for rank, _ in self.waiting.values())
            self.open = (frame[1], token)
            self.waiting.pop(token, None)
            self.deadlines[token] = self.now + 30
        else:
            self.answered.append(frame[1])

    def end(self, token: object) -> None:
        assert isinstance(token, int)
        assert token not in self.ended, "each ask ends once"
        self.ended.add(token)
        self.waiting.pop(token, None)
        self.deadlines.pop(token, None)

    @rule(priority=st.sampled_from(PRIORITIES), origin=st.sampled_from("ab"))
    def we_ask(self, priority: Priority, origin: str) -> None:
        token = len(self.asked)
        of_origin = sum(origin == other for _, other in self.waiting.values())
        self.deadlines[token] = self.now + 30
        has_room = len(self.waiting) < ASK_QUEUE_MAX and of_origin < ASK_QUEUE_ORIGIN_MAX
        try:
            effects = ask(self.session, token, priority=priority, origin=origin, now=self.now)
        except TooMany:
            assert not has_room
            del self.deadlines[token]
            return
        assert has_room or self.is_closed
        self.asked.add(token)
        if not effects:
            self.waiting[token] = (PRIORITIES.index(priority), origin)
        self.take(effects)

    @rule(is_error=st.booleans())
    @precondition(lambda self: self.open is not None)
    def they_answer(self, is_error: bool) -> None:
        assert self.open is not None
        message_id = self.open[0]
        self.take(
            self.session.received(
                json.dumps([4, message_id, "X"] if is_error else [3, message_id, {}]), self.now
            )
        )

    @rule(number=st.integers(0, 9))
    def they_answer_something_else(self, number: int) -> None:
        if self.open is None or self.open[0] != f"x{number}":
            effects = self.session.received(f'[3,"x{number}",{{}}]', self.now)
            assert all(isinstance(effect, Noted | AnsweredLate) for effect in effects)

    @rule()
    def they_call(self) -> None:
        if not self.is_closed:
            self.theirs.append(f"t{len(self.theirs)}")
            self.take(self.session.received(call(self.theirs[-1]), self.now))

    @rule(is_refusal=st.booleans())
    @precondition(lambda self: self.up is not None)
    def we_answer(self, is_refusal: bool) -> None:
        assert self.up is not None
        up, self.up = self.up, None
        if is_refusal:
            self.take(self.session.refuse(up, "InternalError", "", self.now))
        else:
            self.take(self.session.answer(up, b"{}", self.now))

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.session.tick(self.now))
        assert self.session.wake_at is None or self.session.wake_at > self.now, (
            "a deadline never passes unseen"
        )

    @rule()
    @precondition(lambda self: self.now > 60)
    def the_socket_closes(self) -> None:
        self.is_closed = True
        self.take(self.session.closed(self.now))

    @invariant()
    def each_of_their_calls_is_answered_once_in_order(self) -> None:
        assert self.answered == self.theirs[: len(self.answered)]

    @invariant()
    def each_ask_is_open_or_waits_or_has_ended(self) -> None:
        known = set(self.waiting) | self.ended | ({self.open[1]} if self.open else set())
        assert self.asked == known

    @invariant()
    def nothing_is_left_after_the_close(self) -> None:
        if self.is_closed:
            assert self.asked == self.ended

    @invariant()
    def queues_are_bounded(self) -> None:
        assert len(self.waiting) <= ASK_QUEUE_MAX
        if not self.is_closed:
            assert len(self.theirs) - len(self.answered) <= INWARD_QUEUE_MAX + 1

    @invariant()
    def the_earliest_deadline_is_known(self) -> None:
        assert self.session.wake_at == min(self.deadlines.values(), default=None)


TestTwoLanes = TwoLanes.TestCase
TestTwoLanes.settings = settings(max_examples=30, stateful_step_count=50, deadline=None)


def test_a_late_error_is_told_with_its_token() -> None:
    session = Session("x")
    ask(session, 1, timeout_s=10)
    session.tick(10)
    (late,) = session.received(b'[4,"x1","InternalError","oops",{}]', 11)
    assert late == AnsweredLate(1, code="InternalError", description="oops")


def test_only_the_last_expired_asks_are_remembered() -> None:
    session = Session("x")
    for number in range(LATE_MAX + 1):
        session.ask(
            number, "Reset", b"{}", priority=Priority.PORTAL, origin="a", timeout_s=1, now=number * 10
        )
        session.tick(number * 10 + 1)
    assert list(session.received(b'[3,"x1",{}]', 1_000)) == [Noted("late_answer", '"x1"')]
    assert list(session.received(b'[3,"x2",{}]', 1_000)) == [AnsweredLate(1, b"{}")]


# --- ids of the caller's own ---


def ask_as(session: Session, token: object, message_id: str, now: float = 0) -> Effects:
    return session.ask(
        token,
        "Reset",
        b"{}",
        priority=Priority.PORTAL,
        origin="a",
        timeout_s=30,
        now=now,
        message_id=message_id,
    )


def test_an_ask_goes_out_under_the_id_that_it_was_given() -> None:
    session = Session("x")
    assert list(ask_as(session, 1, "mine:7")) == [SendAsk(b'[2,"mine:7","Reset",{}]', 1, "mine:7")]
    assert list(session.received(b'[3,"x1",{}]', 0)) == [Noted("unknown_answer", '"x1"')]
    assert list(session.received(b'[3,"mine:7",{}]', 0)) == [Answered(1, b"{}")]
    assert sent(ask(session, 2)) == [[2, "x1", "Reset", {"n": 2}]], "ids of its own are counted apart"


def test_an_ask_keeps_its_id_while_it_waits() -> None:
    session = Session("x")
    ask(session, 1)
    assert ask_as(session, 2, "mine") == ()
    assert list(session.received(b'[3,"x1",{}]', 0)) == [
        Answered(1, b"{}"),
        SendAsk(b'[2,"mine","Reset",{}]', 2, "mine"),
    ]


def test_a_late_answer_counts_for_what_was_asked_again_under_the_same_id() -> None:
    session = Session("x")
    ask_as(session, 1, "mine")
    assert list(session.tick(30)) == [Expired(1, was_sent=True)]
    ask_as(session, 2, "mine", now=30)
    assert list(session.received(b'[3,"mine",{"a":1}]', 31)) == [Answered(2, b'{"a":1}')]
    assert list(session.received(b'[4,"mine","InternalError"]', 32)) == [
        AnsweredLate(1, code="InternalError")
    ]
    assert list(session.received(b'[3,"mine",{}]', 33)) == [Noted("unknown_answer", '"mine"')]


def test_an_id_that_is_given_holds_36_characters_at_most() -> None:
    ask_as(Session("x"), 1, "m" * 36)
    with pytest.raises(AssertionError):
        ask_as(Session("x"), 1, "m" * 37)


@pytest.mark.parametrize("is_id_loose", [False, True])
def test_an_id_that_was_given_is_told_from_a_strange_one(*, is_id_loose: bool) -> None:  # quirk Q20
    session = Session("x", is_id_loose=is_id_loose)
    ask_as(session, 1, "mine")
    effects = session.received(b'[3,"other",{}]', 0)
    assert (Answered(1, b"{}") in effects) is is_id_loose

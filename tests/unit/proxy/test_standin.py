"""The stand-in against a small operator, by the book and under any interleaving of what may happen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voltyard.kernel.limits import CALL_DEADLINE_S, FRAME_BYTES_MAX, HEARTBEAT_S
from voltyard.ocpp.frames import MESSAGE_ID_LENGTH_MAX
from voltyard.proxy import standin
from voltyard.proxy.readings import choice
from voltyard.proxy.sayings import Edit, Saying
from voltyard.proxy.standin import (
    BOOT,
    CONNECTORS_MAX,
    METER,
    OF_TRANSACTIONS,
    OWN_MAX,
    PAUSE_MAX_S,
    RETRY_DELAYS_S,
    SILENCE_PAUSE_S,
    START,
    STATUS,
    STOP,
    TIES_MAX,
    UNSTORED_MAX,
    Authorised,
    Became,
    Close,
    Effect,
    Exchanged,
    Manner,
    Moved,
    Owed,
    Report,
    Requested,
    Send,
    StandIn,
    State,
    Tie,
    Told,
    Want,
    WantOwed,
)
from voltyard.speech import Role

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BILLING = Manner(Role.BILLING)
OURS = 1_000
"""Our numbers of transactions begin here, far from those of the operator."""
BOOTED = b'{"chargePointVendor":"V","chargePointModel":"M"}'
OPEN = ("retrying", "held", "parked")


def time_s(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


# --- a store, as operators/serving.py and operators/deliveries_store.py keep it ---


@dataclass
class Row:
    number: int
    saying: Saying
    status: str
    tries: int
    next_at: float | None
    message_id: str
    note: str
    answer: bytes
    payload: bytes | None
    edit: Edit | None


class Store:
    """The log of a charger, and what is stored of one link."""

    def __init__(self, *, attached: int = 0, read_max: int = 1_000) -> None:
        self.log: list[Saying] = []
        self.end = attached
        self.attached = attached
        self.cursor = attached
        self.ties: dict[int, Tie] = {}
        self.rows: list[Row] = []
        self.learned: list[standin.Learned] = []
        self.read_max = read_max

    def said(
        self, action: str, payload: Any = None, transaction: int | None = None, at_s: float = 0.0
    ) -> Saying:
        self.end += 1
        raw = payload if isinstance(payload, bytes) else json.dumps(payload or {}).encode()
        saying = Saying(self.end, action, raw, time_s(at_s), transaction)
        self.log.append(saying)
        return saying

    def started(self, number: int, connector: int = 1, **fields: Any) -> Saying:
        payload = {"connectorId": connector, "idTag": "TAG", "meterStart": 0} | fields
        return self.said(START, payload, number)

    def metered(self, number: int | None, wh: int, connector: int = 1, at_s: float = 0.0) -> Saying:
        payload: dict[str, Any] = {"connectorId": connector, "meterValue": [{"sampledValue": wh}]}
        if number is not None:
            payload["transactionId"] = number
        return self.said(METER, payload, number, at_s)

    def stopped(self, number: int, **fields: Any) -> Saying:
        return self.said(STOP, {"transactionId": number, "meterStop": 9} | fields, number)

    def status(self, word: str, connector: int = 1) -> Saying:
        return self.said(STATUS, {"connectorId": connector, "status": word})

    def feed(self, after: int) -> tuple[list[Saying], dict[int, Tie]]:
        found = [saying for saying in self.log if saying.number > after][: self.read_max]
        return found, self.known(found)

    def known(self, sayings: Iterable[Saying]) -> dict[int, Tie]:
        numbers = {saying.transaction_number for saying in sayings}
        return {number: tie for number, tie in self.ties.items() if number in numbers}

    def owed(self, now: float) -> tuple[list[Owed], dict[int, Tie]]:
        rows = sorted((row for row in self.rows if row.status in OPEN), key=lambda row: row.saying.number)
        owed = [
            Owed(
                row.number,
                row.saying,
                row.status == "parked",
                row.tries,
                0.0 if row.next_at is None else row.next_at - now,
            )
            for row in rows
        ]
        return owed, self.known(row.saying for row in rows)

    def blocked(self) -> list[int]:
        return [
            row.saying.transaction_number
            for row in self.rows
            if row.status in OPEN
            and row.saying.transaction_number is not None
            and row.saying.action in {START, STOP}
        ]

    def latest(self) -> list[Saying]:
        return [each for each in self.log if each.action == METER and each.number <= self.cursor][-20:]

    def record(self, report: Report, now: float) -> None:
        assert report.saying is not None
        next_at = None if report.retry_in_s is None else now + report.retry_in_s
        if report.delivery is None:
            self.rows.append(Row(len(self.rows) + 1, report.saying, "", 0, None, "", "", b"", None, None))
        else:
            assert self.rows[report.delivery - 1].status in OPEN
            assert self.rows[report.delivery - 1].saying == report.saying
        row = self.rows[(report.delivery or len(self.rows)) - 1]
        row.status, row.tries, row.next_at = report.status, report.tries, next_at
        row.message_id, row.note, row.answer = report.message_id, report.note, report.answer
        row.payload, row.edit = report.payload, report.edit
        if report.learned is not None:
            self.learned.append(report.learned)
            self.ties[report.learned.number] = Tie(report.learned.theirs, report.learned.state)
        self.move(report.cursor)

    def move(self, cursor: int) -> None:
        self.cursor = max(self.cursor, cursor)

    def skip(self, row: Row) -> None:
        row.status, row.next_at = "skipped", None
        number = row.saying.transaction_number
        if (
            row.saying.action == START
            and number is not None
            and self.ties.get(number, Tie(None, "")).theirs is None
        ):
            self.ties[number] = Tie(None, "unknown")

    def retry(self, row: Row, now: float) -> None:
        row.status, row.tries, row.next_at = "retrying", 0, now

    def statuses_of(self, *numbers: int) -> list[str]:
        """Return what became of sayings, one word for each."""
        found = {row.saying.number: row.status for row in self.rows}
        return [found.get(number, "") for number in numbers]


# --- a connection ---


@dataclass(frozen=True)
class Frame:
    id: str
    action: str
    payload: dict[str, Any]
    data: bytes

    @property
    def raw(self) -> bytes:
        """Return the payload byte for byte."""
        return self.data.partition(b'"%b",' % self.action.encode())[2][:-1]


@dataclass
class Play:
    """One connection of a stand-in: its store answers at once, its operator when told to."""

    store: Store
    manner: Manner = BILLING
    statuses: Sequence[bytes] = ()
    now: float = 0.0
    jitter: float = 0.0
    is_prompt: bool = True
    prefix: str = "own-"
    first_number: int = 7
    calls: list[Frame] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    inputs: deque[Effect] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.stand_in = StandIn(
            self.manner,
            cursor=self.store.cursor,
            attached=self.store.attached,
            message_ids="link",
            prefix=self.prefix,
            jitter=self.jitter,
            blocked=self.store.blocked(),
            latest=self.store.latest(),
        )

    def open(self) -> Play:
        return self.carry(self.stand_in.opened(BOOTED, self.statuses, self.store.end, self.now))

    def online(self) -> Play:
        """Open it, and have everything answered that is told by itself."""
        self.open()
        while self.calls and self.calls[-1].action in {BOOT, STATUS} and self.is_open:
            self.answer()
        return self

    @property
    def is_open(self) -> bool:
        return self.stand_in.wake_at is not None and self.stand_in._session._open is not None

    def carry(self, effects: Iterable[Effect]) -> Play:
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect, Send):
                frame = json.loads(effect.data)
                if frame[0] == 2:
                    self.calls.append(Frame(frame[1], frame[2], frame[3], effect.data))
                else:
                    self.replies.append(frame)
            elif isinstance(effect, Want | WantOwed | Told | Moved):
                self.inputs.append(effect)
        if self.is_prompt:
            self.pump()
        return self

    def pump(self) -> None:
        while self.inputs:
            self.give(self.inputs.popleft())

    def give(self, wanted: Effect) -> None:
        match wanted:
            case Want(after):
                sayings, ties = self.store.feed(after)
                strange = {number: tie for number, tie in ties.items() if number not in self.stand_in.knows}
                is_all = len(sayings) < self.store.read_max
                self.carry(self.stand_in.fed(sayings, strange, self.now, is_all=is_all))
            case WantOwed():
                self.carry(self.stand_in.owe(*self.store.owed(self.now), self.now))
            case Told(report):
                if report.edit is not None:
                    assert report.saying is not None
                    head, tail, put = report.edit
                    said = report.saying.payload
                    told = next(call for call in reversed(self.calls) if call.id == report.message_id)
                    assert json.loads(said[:head] + put + said[len(said) - tail :]) == told.payload
                self.store.record(report, self.now)
                self.carry(self.stand_in.stored(self.now))
            case Moved(cursor):
                self.store.move(cursor)

    def wake(self) -> Play:
        return self.carry(self.stand_in.woken(self.now))

    def wait(self, seconds: float) -> Play:
        self.now += seconds
        return self.carry(self.stand_in.tick(self.now))

    def reply(self, text: str | bytes) -> Play:
        return self.carry(self.stand_in.received(text.encode() if isinstance(text, str) else text, self.now))

    def answer(self, payload: Any = None) -> Play:
        """Answer the call that was told last, in the way of its action where nothing is said."""
        call = self.calls[-1]
        if payload is None:
            payload = {}
            if call.action == BOOT:
                payload = {"status": "Accepted", "interval": 300, "currentTime": NOON.isoformat()}
            elif call.action == START:
                payload = {"transactionId": self.first_number, "idTagInfo": {"status": "Accepted"}}
                self.first_number += 1
        return self.reply(json.dumps([3, call.id, payload]))

    def refuse(self, code: str = "InternalError") -> Play:
        return self.reply(json.dumps([4, self.calls[-1].id, code, "no", {}]))

    def answer_all(self) -> Play:
        """Have the operator answer until it is asked nothing more."""
        while self.is_open:
            self.answer()
        return self

    def again(self, **changes: Any) -> Play:
        """Close this connection and return the next one, from what is stored."""
        self.stand_in.closed(self.now)
        values = {"manner": self.manner, "now": self.now, "first_number": self.first_number} | changes
        return Play(self.store, **values)

    @property
    def actions(self) -> list[str]:
        return [call.action for call in self.calls]

    def of(self, kind: type[Any]) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def last(self) -> Frame:
        return self.calls[-1]


def told_since(play: Play, many: int) -> list[tuple[str, dict[str, Any]]]:
    return [(call.action, call.payload) for call in play.calls[many:]]


# --- the boot (§4.9) ---


def test_it_boots_then_tells_its_states_then_the_log() -> None:
    store = Store()
    store.said("DataTransfer", {"vendorId": "old"})
    state = b'{"connectorId":1,"status":"Available"}'
    play = Play(store, statuses=[state]).open()
    assert play.of(Became) == [Became(State.BOOTING)]
    assert (play.actions, play.last.raw) == ([BOOT], BOOTED)
    play.answer()
    assert play.of(Became)[-1] == Became(State.ONLINE)
    assert (play.last.action, play.last.raw) == (STATUS, state)
    play.answer()
    assert play.actions == [BOOT, STATUS, "DataTransfer"]
    play.answer()
    assert [(each.action, each.status) for each in play.of(Exchanged)] == [(BOOT, "done"), (STATUS, "done")]
    assert store.cursor == 1
    assert play.stand_in.is_drained


def test_without_a_boot_of_its_own_it_begins_with_the_states() -> None:
    manner = Manner(Role.BILLING, is_boot_on_connect=False)
    play = Play(Store(), manner, statuses=[b"{}"]).open()
    assert play.of(Became) == [Became(State.ONLINE)]
    assert play.actions == [STATUS]


def test_a_restart_that_the_operator_missed_is_told_where_no_boot_is_told_on_connecting() -> None:
    store = Store(attached=3)
    store.said(BOOT, {"chargePointModel": "A"})
    store.said(BOOT, {"chargePointModel": "B"})
    manner = Manner(Role.BILLING, is_boot_on_connect=False)
    assert told_since(Play(store, manner).open(), 0) == [(BOOT, {"chargePointModel": "B"})]
    assert Play(store).online().actions == [BOOT]
    store.cursor, store.attached = 0, store.end
    assert Play(store, manner).open().actions == []


@pytest.mark.parametrize(
    ("answer", "state", "reason", "pause_s"),
    [
        ({"status": "Pending", "interval": 17}, State.PENDING, "boot_pending", 17),
        ({"status": "Pending", "interval": 1}, State.PENDING, "boot_pending", standin.PAUSE_MIN_S),
        ({"status": "Pending"}, State.PENDING, "boot_pending", standin.PENDING_PAUSE_S),
        ({"status": "Rejected", "interval": 7}, State.REJECTED, "boot_rejected", standin.REJECTED_PAUSE_S),
        ({"status": "Rejected", "interval": 90}, State.REJECTED, "boot_rejected", 90),
        ({"status": "Rejected", "interval": 9e9}, State.REJECTED, "boot_rejected", PAUSE_MAX_S),
        ({"status": 7, "interval": "soon"}, State.REJECTED, "boot_rejected", standin.REJECTED_PAUSE_S),
        ({}, State.REJECTED, "boot_rejected", standin.REJECTED_PAUSE_S),
    ],
)
def test_until_the_boot_is_accepted_only_boots_are_told(
    answer: dict[str, Any], state: State, reason: str, pause_s: float
) -> None:
    store = Store()
    store.started(OURS)
    play = Play(store, statuses=[b"{}"]).open().answer(answer)
    assert play.of(Became)[-1] == Became(state, reason)
    assert play.stand_in.wake_at == pause_s
    play.wake().wait(pause_s - 1)
    play.carry(play.stand_in.tell("Heartbeat", b"{}", play.now))
    assert play.actions == [BOOT]
    play.reply('[2,"t","Reset",{}]')
    (asked,) = play.of(Requested)
    play.carry(play.stand_in.answer(asked.call, b'{"status":"Rejected"}', play.now))
    assert play.replies == [[3, "t", {"status": "Rejected"}]]
    play.wait(1)
    assert play.actions == [BOOT, BOOT]
    play.answer()
    assert play.actions == [BOOT, BOOT, STATUS]


def test_a_refused_boot_is_told_again_later() -> None:
    play = Play(Store()).open().refuse("NotImplemented")
    assert play.of(Became)[-1] == Became(State.REJECTED, "boot_refused")
    assert play.of(Exchanged)[-1].status == "failed"
    assert json.loads(play.of(Exchanged)[-1].answer)["errorCode"] == "NotImplemented"
    assert play.wait(standin.REJECTED_PAUSE_S).actions == [BOOT, BOOT]


def test_a_boot_without_an_answer_ends_the_connection() -> None:
    play = Play(Store()).open().wait(CALL_DEADLINE_S)
    assert play.of(Close) == [Close(standin.POLICY, "no_answer")]
    assert play.actions == [BOOT]


def test_the_restart_of_a_charger_is_told_and_a_refusal_of_it_is_heeded() -> None:
    store = Store()
    play = Play(store).online()
    store.said(BOOT, {"chargePointModel": "newer"})
    store.started(OURS)
    play.wake()
    assert play.last.payload == {"chargePointModel": "newer"}
    waiting = play.stand_in.authorise("card", "TAG", 8, play.now)
    assert waiting == [Authorised("card", None)], "or it would be told before the boot is accepted"
    play.answer({"status": "Pending", "interval": 20})
    assert (play.actions, store.cursor) == ([BOOT, BOOT], 1)
    assert play.stand_in.state is State.PENDING
    assert play.stand_in.authorise("card", "TAG", 8, play.now) == [Authorised("card", None)]
    play.wait(HEARTBEAT_S * 2)
    assert play.last.payload == {"chargePointModel": "newer"}, "what it is now, not what it was"
    play.answer()
    assert play.actions == [BOOT, BOOT, BOOT, START]
    store.said(BOOT, {})
    play.wake().answer().refuse("SecurityError")
    assert store.statuses_of(1, 3) == ["done", "failed"]
    assert play.stand_in.state is State.REJECTED


def test_the_restart_of_a_charger_that_gets_no_answer_holds_up_nothing_for_ever() -> None:
    store = Store()
    manner = Manner(Role.BILLING, is_boot_on_connect=False)
    play = Play(store, manner).open()
    store.said(BOOT)
    store.started(OURS)
    play.wake()
    for _ in range(3):
        play.wait(CALL_DEADLINE_S)
    assert play.actions == [BOOT] * 3
    assert play.again().open().actions == [START]


def test_a_boot_that_a_pending_operator_asks_for_is_told_once() -> None:
    play = Play(Store()).open().answer({"status": "Pending"})
    play.carry(play.stand_in.tell(BOOT, b'{"a":1}', 1.0))
    assert told_since(play, 1) == [(BOOT, {"a": 1})]
    play.carry(play.stand_in.tell(BOOT, b'{"a":2}', 1.0))
    assert len(play.calls) == 2
    play.answer()
    play.carry(play.stand_in.tell(BOOT, b'{"a":3}', 1.0))
    assert told_since(play, 2) == [(BOOT, {"a": 3})]


# --- heartbeats ---


@pytest.mark.parametrize(
    ("interval", "jitter", "first_s", "next_s"),
    [
        (100, 0.0, 50, 100),
        (100, 1.0, 100, 100),
        (0, 0.5, HEARTBEAT_S * 0.75, HEARTBEAT_S),
        (-5, 0.5, HEARTBEAT_S * 0.75, HEARTBEAT_S),
        (None, 0.5, HEARTBEAT_S * 0.75, HEARTBEAT_S),
        (10**8, 1.0, PAUSE_MAX_S, PAUSE_MAX_S),
    ],
)
def test_heartbeats_are_its_own_and_as_the_operator_wants_them(
    interval: Any, jitter: float, first_s: float, next_s: float
) -> None:
    play = Play(Store(), jitter=jitter).open().answer({"status": "Accepted", "interval": interval})
    assert play.stand_in.wake_at == first_s
    assert play.wait(first_s - 0.5).actions == [BOOT]
    assert play.wait(0.5).actions == [BOOT, "Heartbeat"]
    play.answer()
    assert play.stand_in.wake_at == first_s + next_s
    assert play.wait(next_s).actions == [BOOT, "Heartbeat", "Heartbeat"]
    assert play.refuse().stand_in.wake_at == first_s + 2 * next_s


def test_a_slow_operator_that_wants_many_heartbeats_hears_the_log_all_the_same() -> None:
    store = Store()
    for _ in range(5):
        store.said("DataTransfer")
    play = Play(store).open().answer({"status": "Accepted", "interval": 1})
    for _ in range(20):
        play.wait(2).answer()
    assert store.cursor == 5


# --- the log ---


def test_what_is_told_is_what_the_charger_said_byte_for_byte() -> None:  # §4.14
    store = Store()
    raw = b'{ "vendorId" : "x", "data":"\\u00e9 1.50", "extra":[1.0e1 ] }'
    store.said("DataTransfer", raw)
    play = Play(store).online()
    assert play.last.raw == raw
    play.answer({"status": "Accepted"})
    assert store.rows[0].payload is None
    assert store.rows[0].answer == b'{"status": "Accepted"}'


def test_messages_of_the_log_have_ids_of_their_own() -> None:  # §4.1
    store = Store()
    store.started(OURS)
    play = Play(store).online()
    assert play.last.id == "link:1"
    assert len(StandInIds.longest()) <= MESSAGE_ID_LENGTH_MAX


class StandInIds:
    @staticmethod
    def longest() -> str:
        stand_in = StandIn(BILLING, cursor=0, attached=0, message_ids="l" * 12, prefix="p", jitter=0)
        return stand_in._message_id(Saying(2**63, START, b"{}", NOON, 1), len(RETRY_DELAYS_S))


def test_one_call_is_open_at_a_time_and_the_next_waits_for_the_store() -> None:  # §4.2
    store = Store()
    store.started(OURS)
    store.started(OURS + 1, 2)
    play = Play(store).online()
    play.is_prompt = False
    play.answer()
    assert play.actions == [BOOT, START]
    play.wake()
    assert play.actions == [BOOT, START]
    play.pump()
    assert play.actions == [BOOT, START, START]


def test_heartbeats_cards_and_certificates_of_the_charger_are_not_told() -> None:
    store = Store()
    for action in ("Heartbeat", "Authorize", "SignCertificate"):
        store.said(action)
    play = Play(store).online()
    assert play.actions == [BOOT]
    assert play.of(Moved) == [Moved(3)]
    assert store.cursor == 3


@pytest.mark.parametrize(
    ("action", "role", "consents", "is_told"),
    [
        ("FirmwareStatusNotification", Role.BILLING, (), False),
        ("FirmwareStatusNotification", Role.OBSERVER, ("firmware",), True),
        ("LogStatusNotification", Role.BILLING, ("firmware",), False),
        ("LogStatusNotification", Role.BILLING, ("diagnostics",), True),
        ("DataTransfer", Role.BILLING, (), True),
        ("DataTransfer", Role.DATA_CONTROL, (), False),
        ("DataTransfer", Role.DATA_CONTROL, ("vendor",), True),
        ("SomethingNew", Role.OBSERVER, (), True),
    ],
)
def test_some_of_it_needs_consent(action: str, role: Role, consents: tuple[str, ...], is_told: bool) -> None:
    store = Store()
    store.said(action)
    play = Play(store, Manner(role, consents=frozenset(consents))).online()
    assert (play.actions == [BOOT, action]) is is_told
    assert (store.cursor == 1) is not is_told


def test_what_other_messages_are_refused_is_not_told_again() -> None:
    store = Store()
    store.said("DataTransfer")
    store.status("Faulted")
    Play(store).online().refuse("NotSupported")
    assert store.statuses_of(1) == ["failed"]
    assert store.rows[0].tries == 1
    assert store.cursor == 2


def test_what_was_said_while_it_is_connected_is_told_when_it_is_woken() -> None:
    store = Store()
    play = Play(store, is_prompt=False).online()
    play.pump()
    assert play.stand_in.is_drained
    play.wake()
    assert not play.stand_in.is_drained
    store.said("DataTransfer")
    play.wake()  # while the log is being read
    assert len(play.of(Want)) == 2
    store.read_max = 1
    play.pump()
    play.answer()
    play.pump()
    assert play.stand_in.is_drained
    assert store.cursor == 1


def test_what_is_given_twice_is_told_once() -> None:
    store = Store()
    store.said("DataTransfer")
    play = Play(store).online()
    store.said("SomethingNew")
    play.carry(play.stand_in.fed(*store.feed(0), play.now))
    play.carry(play.stand_in.fed(*store.feed(0), play.now))
    assert play.answer_all().actions == [BOOT, "DataTransfer", "SomethingNew"]


def test_nothing_is_told_after_the_end() -> None:
    store = Store()
    play = Play(store).online()
    play.reply(b" " * (FRAME_BYTES_MAX + 1))
    (close,) = play.of(Close)
    assert close.code == 1009
    store.said("DataTransfer")
    play.wake()
    play.carry(play.stand_in.closed(play.now))
    assert play.stand_in.state is State.CLOSED
    assert play.wait(10_000).actions == [BOOT]
    assert play.stand_in.authorise("card", "TAG", 8, play.now) == [Authorised("card", None)]


def test_odd_frames_and_strange_answers_are_passed_over() -> None:
    play = Play(Store()).open().reply("").reply('[3,"strange",{}]')
    assert play.effects == [Became(State.BOOTING), *play.of(Send)]


# --- states (§4.8, §4.14) ---


def test_a_backlog_of_states_is_told_as_the_newest_of_each_connector() -> None:
    store = Store()
    play = Play(store).open()
    for word in ("Preparing", "Charging", "Finishing"):
        store.status(word)
    store.status("Faulted", connector=2)
    store.said(STATUS, {"status": "Available"})
    play.answer().answer_all()
    assert told_since(play, 1) == [
        (STATUS, {"connectorId": 1, "status": "Finishing"}),
        (STATUS, {"connectorId": 2, "status": "Faulted"}),
        (STATUS, {"status": "Available"}),
    ]
    assert store.cursor == 5


def test_states_of_before_the_connection_are_told_as_they_are_now() -> None:
    store = Store()
    store.status("Preparing")
    store.status("Charging")
    play = Play(store, statuses=[b'{"status":"Charging"}']).online()
    assert told_since(play, 1) == [(STATUS, {"status": "Charging"})]
    assert store.cursor == 2


# --- transactions (§4.3) ---


def test_a_transaction_is_told_by_the_operators_own_number() -> None:
    store = Store()
    store.started(OURS, timestamp="2026-03-01T11:59:00Z")
    store.metered(OURS, 5)
    store.stopped(OURS)
    play = Play(store).online().answer_all()
    assert [call.payload.get("transactionId") for call in play.calls[1:]] == [None, 7, 7]
    assert store.ties == {OURS: Tie(7, "stopped")}
    start, _, stop = (row for row in store.rows)
    assert (start.payload, start.note, start.tries) == (None, "", 1)
    assert (stop.payload, stop.edit, stop.note) == (None, Edit(18, 17, b"7"), "number")
    began, ended = store.learned
    assert began == standin.Learned(
        OURS, 7, "open", "Accepted", "TAG", datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    )
    assert ended == standin.Learned(OURS, 7, "stopped", is_stop=True)


@pytest.mark.parametrize(
    ("told", "number"),
    [(0, 0), (-3, -3), ("12", 12), (" 12 ", 12), ("-4", -4), (12.0, 12), (2**62, 2**62)],
)
def test_any_whole_number_of_the_operator_will_do(told: Any, number: int) -> None:
    store = Store()
    store.started(OURS)
    Play(store).online().answer({"transactionId": told})
    assert store.ties == {OURS: Tie(number, "open")}
    assert store.learned[0].verdict == "", "it said nothing of the card"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"transactionId": None},
        {"transactionId": True},
        {"transactionId": "x"},
        {"transactionId": "9" * 19},
        {"transactionId": "1" * 20},
        {"transactionId": 1.5},
        {"transactionId": 1e60},
        {"transactionId": 2**63},
        {"transactionId": {"a": 1}},
        [],
        None,
        "nonsense",
    ],
)
def test_an_answer_without_a_number_counts_as_a_refusal(payload: Any) -> None:
    store = Store()
    store.started(OURS)
    play = Play(store).online()
    play.reply(json.dumps([3, play.last.id, payload]))
    assert store.statuses_of(1) == ["retrying"]
    assert store.rows[0].note in {"nonsense", ""}
    assert not store.ties


@pytest.mark.parametrize("raw", ["1e400", "[" * 5_000 + "]" * 5_000])
def test_a_number_that_cannot_be_read_is_none(raw: str) -> None:
    store = Store()
    store.started(OURS)
    play = Play(store).online()
    play.reply(f'[3,"{play.last.id}",{{"transactionId":{raw},"idTagInfo":{raw}}}]')
    assert store.statuses_of(1) == ["retrying"]


@pytest.mark.parametrize(
    "info", ["Accepted", 7, None, [], {"status": 7}, {"status": None}, {}, {"status": {"a": 1}}]
)
def test_a_strange_word_about_the_card_is_none(info: Any) -> None:
    store = Store()
    store.started(OURS)
    Play(store).online().answer({"transactionId": 3, "idTagInfo": info})
    assert (store.ties, store.learned[0].verdict) == ({OURS: Tie(3, "open")}, "")


def test_a_transaction_whose_card_was_refused_is_told_to_its_end() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 5)
    store.stopped(OURS)
    play = Play(store).online().answer({"transactionId": 4, "idTagInfo": {"status": "Blocked"}})
    assert store.ties == {OURS: Tie(4, "refused")}
    assert store.learned[0].verdict == "Blocked"
    play.answer_all()
    assert [call.payload["transactionId"] for call in play.calls[2:]] == [4, 4]


def test_what_the_charger_says_again_is_told_once() -> None:
    store = Store()
    for _ in range(2):
        store.started(OURS)
    for _ in range(2):
        store.metered(OURS, 5)
    store.metered(OURS, 6)
    for _ in range(2):
        store.stopped(OURS)
    play = Play(store).online().answer_all()
    assert play.actions == [BOOT, START, METER, METER, STOP]
    store.metered(OURS, 6)
    assert play.again().online().answer_all().actions == [BOOT]
    assert store.cursor == store.end


def test_what_nobody_can_place_is_not_told() -> None:
    store = Store()
    store.started(OURS)
    store.log[0] = replace(store.log[0], transaction_number=None)
    store.said(STOP, {"transactionId": -1})
    play = Play(store).online()
    assert (play.actions, store.cursor, store.rows) == ([BOOT], 2, [])


def test_a_stop_without_a_number_gets_the_operators() -> None:
    store = Store()
    store.started(OURS)
    store.said(STOP, {"meterStop": 9}, OURS)
    play = Play(store).online().answer_all()
    assert play.last.payload == {"transactionId": 7, "meterStop": 9}
    assert store.rows[1].note == "number_added"


def test_readings_get_the_operators_number_or_none() -> None:
    store = Store()
    store.started(OURS)
    store.said(METER, b'{"connectorId":1 }', OURS)
    store.said(METER, b'{"transactionId":55,"connectorId":2}', None)
    store.said(METER, b"{ }", None)
    play = Play(store).online().answer_all()
    assert [call.raw for call in play.calls[2:]] == [
        b'{"transactionId":7,"connectorId":1 }',
        b'{"connectorId":2}',
        b"{ }",
    ]
    assert [row.note for row in store.rows] == ["", "number_added", "number_left_out", ""]


def test_what_began_before_the_operator_came_is_not_told() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 1)
    store.attached = store.end
    store.metered(OURS, 2)
    store.metered(None, 3, connector=2)
    store.stopped(OURS)
    store.started(OURS + 1)
    play = Play(store).online().answer_all()
    assert play.actions == [BOOT, METER, START]
    assert play.calls[1].payload["connectorId"] == 2


def test_of_before_it_came_only_transactions_that_it_shall_know_are_told() -> None:
    store = Store()
    store.said("DataTransfer")
    store.started(OURS)
    store.started(OURS + 1, 2)
    store.metered(OURS, 1)
    store.metered(OURS + 1, 1, 2)
    store.metered(None, 1, 3)
    store.status("Charging")
    store.ties[OURS] = Tie(None, "pending")
    store.attached = store.end
    store.stopped(OURS + 1)
    store.stopped(OURS)
    play = Play(store).online().answer_all()
    assert [call.payload.get("transactionId", call.action) for call in play.calls] == [BOOT, START, 7, 7]
    assert store.cursor == store.end


def test_a_start_whose_acknowledgement_is_lost_is_told_again_under_the_same_id() -> None:
    store = Store()
    store.started(OURS)
    play = Play(store).online()
    again = play.again().online()
    assert (again.last.id, again.last.action) == (play.last.id, START)
    again.answer()
    assert again.again().online().actions == [BOOT]


def test_the_tag_is_told_by_another_name_where_the_link_has_one() -> None:
    store = Store()
    store.started(OURS)
    store.said(STOP, {"transactionId": OURS, "idTag": "TAG"}, OURS)
    store.started(OURS + 1)
    store.stopped(OURS + 1)
    play = Play(store, Manner(Role.DATA_CONTROL, tag_alias="ALIAS")).online().answer_all()
    assert [call.payload.get("idTag") for call in play.calls[1:]] == ["ALIAS", "ALIAS", "ALIAS", None]
    assert [row.note for row in store.rows] == [
        "tag_replaced",
        "number,tag_replaced",
        "tag_replaced",
        "number",
    ]
    assert store.learned[0].id_tag == "TAG"
    play.carry(play.stand_in.authorise("card", "TAG", 8, play.now))
    assert play.last.payload == {"idTag": "ALIAS"}


@pytest.mark.parametrize(
    ("told", "is_repaired"),
    [
        ("2026-03-01T12:04:59Z", False),
        ("2026-03-01T12:05:01Z", True),
        ("2025-02-01T12:00:00+02:00", False),
        ("1970-01-01T00:00:00Z", True),
        ("0001-01-01T00:00:00+23:59", True),
        ("2099-01-01T00:00:00Z", True),
        ("1970-01-01T00:00:00", False),  # without a zone: whose time it is, we cannot say here
        ("nonsense", False),
        (7, False),
    ],
)
def test_a_time_that_cannot_be_is_told_as_when_it_was_heard(
    told: Any, is_repaired: bool
) -> None:  # quirk Q35
    store = Store()
    store.started(OURS, timestamp=told)
    store.stopped(OURS, timestamp=told)
    store.said("SecurityEventNotification", {"timestamp": told})
    store.said("DataTransfer", {"timestamp": told})
    play = Play(store).online().answer_all()
    expected = "2026-03-01T12:00:00Z" if is_repaired else told
    assert [call.payload["timestamp"] for call in play.calls[1:]] == [expected] * 3 + [told]
    notes = (
        ["time_repaired", "number,time_repaired", "time_repaired", ""]
        if is_repaired
        else ["", "number", "", ""]
    )
    assert [row.note for row in store.rows] == notes
    if is_repaired or not isinstance(told, str) or not told.endswith(("Z", "00")) or "T" not in told:
        assert store.learned[0].started_at == NOON


# --- readings no more often than wanted ---


def readings_told(play: Play) -> list[int]:
    return [call.payload["meterValue"][0]["sampledValue"] for call in play.calls if call.action == METER]


def test_readings_are_thinned_to_the_interval_that_an_operator_wants() -> None:
    store = Store()
    store.started(OURS)
    for second in range(0, 130, 10):
        store.metered(OURS, second, at_s=second)
    store.metered(OURS, 1000, connector=2, at_s=0)
    play = Play(store, Manner(Role.OBSERVER, meter_interval_s=60)).online().answer_all()
    assert readings_told(play) == [0, 60, 120, 1000]
    assert store.cursor == store.end


def test_the_interval_counts_between_readings_not_between_their_arrivals() -> None:
    store = Store()
    for minute, word in enumerate(("59:00", "59:30", "59:59")):
        value = {"timestamp": f"2026-03-01T11:{word}Z", "sampledValue": minute}
        store.said(METER, {"connectorId": 1, "meterValue": [value]})
    for number, value in enumerate(
        ({"timestamp": "1970-01-01T00:00:00Z"}, {"timestamp": 7}, {"timestamp": "x"})
    ):
        store.said(METER, {"connectorId": 2 + number, "meterValue": [value | {"sampledValue": 10 + number}]})
    store.said(METER, {"connectorId": 9, "meterValue": []})
    play = Play(store, Manner(Role.OBSERVER, meter_interval_s=40)).online().answer_all()
    told = [call.payload["meterValue"] for call in play.calls[1:]]
    assert [value[0]["sampledValue"] for value in told if value] == [0, 2, 10, 11, 12]
    assert told[-1] == []


def test_the_ends_of_a_transaction_and_what_was_asked_for_are_never_thinned() -> None:
    store = Store()
    for context in ("Transaction.Begin", "Sample.Periodic", "Trigger", "Transaction.End"):
        store.said(METER, {"meterValue": [{"sampledValue": [{"context": context}]}]})
    play = Play(store, Manner(Role.OBSERVER, meter_interval_s=60)).online().answer_all()
    assert len(play.calls) == 5
    store.said(METER, {"meterValue": []})
    assert len(play.wake().answer_all().calls) == 5


def test_the_first_reading_of_another_transaction_is_told() -> None:
    store = Store()
    manner = Manner(Role.OBSERVER, meter_interval_s=60)
    for number in (OURS, OURS + 1):
        store.started(number)
        store.metered(number, number, at_s=number - OURS)
    assert readings_told(Play(store, manner).online().answer_all()) == [OURS, OURS + 1]


# --- readings of what was chosen, at times that can be ---


def value_of(measurand: str, context: str = "Sample.Periodic", **more: str) -> dict[str, str]:
    return {"value": "1", "measurand": measurand, "context": context} | more


def test_an_operator_hears_of_the_measurands_that_it_chose() -> None:
    store = Store()
    store.started(OURS)
    power, volts = value_of("Power.Active.Import"), value_of("Voltage")
    store.said(
        METER, {"transactionId": 1, "meterValue": [{"sampledValue": [power, volts, {"value": "9"}]}]}, OURS
    )
    store.said(METER, {"transactionId": 1, "meterValue": [{"sampledValue": [volts]}]}, OURS)
    store.said(METER, {"transactionId": 1, "meterValue": [{"sampledValue": [power]}]}, OURS)
    store.said(
        STOP,
        {"transactionId": 1, "transactionData": [{"sampledValue": [volts]}, {"sampledValue": [power]}]},
        OURS,
    )
    manner = Manner(
        Role.BILLING,
        readings=choice("Energy.Active.Import.Register,Power.Active.Import", None),
        in_stop=choice("voltage", None),
    )
    play = Play(store, manner).online().answer_all()
    assert play.actions == [BOOT, START, METER, METER, STOP]
    assert play.calls[2].payload["meterValue"] == [{"sampledValue": [power, {"value": "9"}]}]
    assert play.calls[4].payload["transactionData"] == [{"sampledValue": [volts]}]
    assert [row.note for row in store.rows] == [
        "",
        "number,not_chosen_left_out",
        "number",
        "number,not_chosen_left_out",
    ]
    assert store.cursor == store.end


def test_a_stop_is_told_without_readings_where_none_of_them_was_chosen() -> None:
    store = Store()
    store.started(OURS)
    store.stopped(OURS, transactionData=[{"sampledValue": [value_of("Voltage")]}])
    play = Play(store, Manner(Role.BILLING, in_stop=choice("", None))).online().answer_all()
    assert play.last.payload == {"transactionId": 7, "meterStop": 9}
    assert store.rows[-1].note == "number,not_chosen_left_out"


def test_readings_of_a_clock_that_cannot_be_right_are_told_as_of_when_they_were_heard() -> None:  # quirk Q35
    store = Store()
    store.started(OURS)
    times = ("1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z")
    readings = [{"timestamp": each, "sampledValue": [{"value": "1"}]} for each in times]
    store.said(METER, {"transactionId": 1, "meterValue": readings}, OURS)
    store.stopped(OURS, timestamp="1970-01-01T00:02:00Z", transactionData=readings)
    play = Play(store).online().answer_all()
    assert [each["timestamp"] for each in play.calls[2].payload["meterValue"]] == [
        "2026-03-01T11:59:00Z",
        "2026-03-01T12:00:00Z",
    ]
    assert [each["timestamp"] for each in play.calls[3].payload["transactionData"]] == [
        "2026-03-01T11:58:00Z",
        "2026-03-01T11:59:00Z",
    ]
    assert [row.note for row in store.rows] == ["", "number,time_repaired", "number,time_repaired"]


# --- refusals (§4.8) ---


def test_a_refused_start_is_told_again_and_what_follows_waits() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 5)
    store.stopped(OURS)
    play = Play(store).online().refuse()
    assert store.statuses_of(1, 2, 3) == ["retrying", "held", "held"]
    assert (store.cursor, play.actions) == (3, [BOOT, START])
    assert store.rows[1].note == "waits_for_its_transaction"
    assert play.stand_in.wake_at == RETRY_DELAYS_S[0]
    assert not play.stand_in.is_drained
    play.wait(RETRY_DELAYS_S[0] - 1)
    assert play.actions == [BOOT, START]
    play.wait(1).answer_all()
    assert play.actions == [BOOT, START, START, METER, STOP]
    assert play.calls[1].id != play.calls[2].id, "some operators take no id twice"
    assert store.statuses_of(1, 2, 3) == ["done"] * 3
    assert [row.tries for row in store.rows] == [2, 1, 1]
    assert play.stand_in.is_drained


def test_what_is_refused_again_and_again_is_parked() -> None:
    store = Store()
    store.started(OURS)
    store.stopped(OURS)
    play = Play(store).online().refuse()
    for delay_s in RETRY_DELAYS_S:
        assert store.rows[0].status == "retrying"
        play.wait(delay_s - 1)
        while play.last.action == "Heartbeat" and play.is_open:
            play.answer()
        play.wait(1).refuse()
    assert store.statuses_of(1, 2) == ["parked", "held"]
    assert store.rows[0].tries == len(RETRY_DELAYS_S) + 1
    assert play.actions.count(START) == len(RETRY_DELAYS_S) + 1
    many = len(play.calls)
    play.wait(10_000).answer_all()
    assert [call.action for call in play.calls[many:]] == ["Heartbeat"]


def parked() -> Play:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 5)
    store.stopped(OURS)
    play = Play(store).online().refuse()
    store.rows[0].status, store.rows[0].next_at = "parked", None
    return play


def test_a_parked_start_is_told_again_when_somebody_says_so() -> None:
    play = parked()
    assert play.again().online().actions == [BOOT]
    play.store.retry(play.store.rows[0], play.now)
    again = play.again().online().answer_all()
    assert again.actions == [BOOT, START, METER, STOP]
    assert again.calls[2].payload["transactionId"] == 7


def test_without_a_start_that_was_skipped_only_readings_are_told_without_a_number() -> None:
    play = parked()
    play.store.skip(play.store.rows[0])
    again = play.again().online().answer_all()
    assert told_since(again, 1) == [(METER, {"connectorId": 1, "meterValue": [{"sampledValue": 5}]})]
    assert play.store.statuses_of(1, 2, 3) == ["skipped", "done", "withheld"]
    assert play.store.rows[2].note == "start_unknown"
    play.store.started(OURS)
    play.store.metered(OURS, 6)
    play.store.stopped(OURS)
    again.wake().answer_all()
    assert again.actions == [BOOT, METER, METER]
    assert play.store.statuses_of(4, 6) == ["", "withheld"]


def test_what_is_held_is_told_after_a_new_connection_too() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 5)
    play = Play(store).online().refuse()
    assert store.statuses_of(1, 2) == ["retrying", "held"]
    again = play.again()
    again.online().wait(RETRY_DELAYS_S[0])
    again.answer()
    assert again.last.action == METER
    store.metered(OURS, 6)
    # The connection breaks between the start and what is held: the new reading must not come first.
    third = again.again().online().answer_all()
    assert readings_told(third) == [5, 6]
    assert store.statuses_of(1, 2, 3) == ["done"] * 3


def test_what_is_held_is_thinned_and_told_once_as_all_readings_are() -> None:
    store = Store()
    manner = Manner(Role.OBSERVER, meter_interval_s=60)
    store.started(OURS)
    for second in (0, 0, 10, 60):
        store.metered(OURS, second, at_s=second)
    store.started(OURS + 1)
    store.metered(OURS + 1, 99, at_s=61)
    play = Play(store, manner).online().refuse().answer_all()
    assert readings_told(play) == [99]
    play.wait(RETRY_DELAYS_S[0]).answer_all()
    assert readings_told(play) == [99, 0, 60]


def test_a_start_that_was_said_again_while_the_first_waited_is_told_once() -> None:
    store = Store()
    store.started(OURS)
    store.started(OURS)
    play = Play(store).online().refuse().wait(RETRY_DELAYS_S[0]).answer_all()
    assert play.actions == [BOOT, START, START]
    assert store.statuses_of(1, 2) == ["done", "withheld"]
    assert store.rows[1].note == ""


def test_a_refused_stop_is_told_again() -> None:
    store = Store()
    store.started(OURS)
    store.stopped(OURS)
    play = Play(store).online().answer().refuse()
    assert store.ties == {OURS: Tie(7, "open")}
    play.wait(RETRY_DELAYS_S[0]).answer()
    assert play.actions == [BOOT, START, STOP, STOP]
    assert store.ties == {OURS: Tie(7, "stopped")}


def test_what_is_refused_while_the_owed_is_read_is_not_forgotten() -> None:
    store = Store()
    play = Play(store, is_prompt=False).online()
    store.started(OURS)
    store.stopped(OURS)
    play.wake()
    want, owed = play.inputs
    assert (type(want), owed) == (Want, WantOwed())
    before = store.owed(play.now)
    play.give(want)
    assert play.actions == [BOOT], "what was read would not be so any more"
    play.carry(play.stand_in.owe(*before, play.now))
    assert play.actions == [BOOT, START]


def test_what_is_owed_and_what_is_new_take_turns() -> None:
    store = Store()
    store.started(OURS)
    for wh in range(6):
        store.metered(OURS, wh)
    play = Play(store).online().refuse()
    for connector in range(3):
        store.started(OURS + 1 + connector, 2 + connector)
    play.now += RETRY_DELAYS_S[0]
    play.wake().answer_all()
    assert play.actions[2:9] == [START, START, START, METER, START, METER, METER]
    assert readings_told(play) == list(range(6))
    assert store.cursor == store.end


def test_what_is_owed_goes_on_where_nothing_of_the_log_is_told() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 1)
    store.metered(OURS, 2)
    play = Play(store).online().refuse().wait(RETRY_DELAYS_S[0])
    store.said("Authorize")
    play.wake().answer()
    store.said("Authorize")
    play.wake().answer_all()
    assert readings_told(play) == [1, 2]
    assert store.cursor == store.end


# --- silence ---


def test_an_operator_that_is_only_slow_knows_what_it_hears_again() -> None:
    store = Store()
    store.started(OURS)
    play = Play(store).online().wait(CALL_DEADLINE_S)
    assert [call.id for call in play.calls[1:]] == ["link:1", "link:1"]
    play.answer().answer()
    assert store.ties == {OURS: Tie(7, "open")}
    assert (play.actions, store.rows[0].tries) == ([BOOT, START, START], 1)


def test_after_three_silences_the_connection_ends_and_the_saying_waits() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 1)
    store.started(OURS + 1, 2)
    play = Play(store).online()
    for _ in range(3):
        assert not play.of(Close)
        play.wait(CALL_DEADLINE_S)
    assert play.of(Close) == [Close(standin.POLICY, "no_answer")]
    assert play.actions == [BOOT, START, START, START]
    assert (store.rows[0].status, store.rows[0].note, store.rows[0].tries) == ("retrying", "no_answer", 0)
    play.wake().wait(10)
    assert len(play.calls) == 4
    # Whatever ails that one, the others are told.
    again = play.again().online()
    again.now = store.rows[0].next_at or 0.0
    assert again.last.payload["connectorId"] == 2
    again.answer()
    assert (again.last.id, again.last.action) == ("link:1", START)
    again.answer_all()
    assert store.statuses_of(1, 2, 3) == ["done"] * 3


def test_a_stop_is_told_for_ever_and_a_reading_twice_three_times() -> None:
    store = Store()
    store.started(OURS)
    store.metered(OURS, 1)
    store.stopped(OURS)
    play = Play(store).online().answer()
    for expected in ("retrying", "failed"):
        for _ in range(3):
            play.wait(CALL_DEADLINE_S)
        assert store.statuses_of(2) == [expected]
        play = play.again().online()
        play.wait(SILENCE_PAUSE_S)
    assert store.rows[1].tries == 2
    for _ in range(5):
        assert play.last.action == STOP
        for _ in range(3):
            play.wait(CALL_DEADLINE_S)
        assert store.statuses_of(3) == ["retrying"]
        play = play.again().online().wait(SILENCE_PAUSE_S)
    play.answer_all()
    assert store.ties == {OURS: Tie(7, "stopped")}


def test_a_message_of_the_vendor_that_gets_no_answer_is_given_up() -> None:
    store = Store()
    store.said("SecurityEventNotification")
    store.said("DataTransfer")
    play = Play(store).online()
    for _ in range(3):
        play.wait(CALL_DEADLINE_S)
    play = play.again().online()
    assert play.last.action == "DataTransfer"
    play.answer().wait(SILENCE_PAUSE_S)
    assert play.last.action == "SecurityEventNotification"
    for _ in range(3):
        play.wait(CALL_DEADLINE_S)
    assert store.statuses_of(1, 2) == ["failed", "done"]


def test_a_state_that_gets_no_answer_is_told_as_it_is_next_time() -> None:
    play = Play(Store(), statuses=[b"{}"]).open().answer()
    for _ in range(3):
        play.wait(CALL_DEADLINE_S)
    assert play.of(Close)
    assert play.actions == [BOOT, STATUS, STATUS, STATUS]


def test_time_that_a_message_waits_behind_a_card_is_no_silence() -> None:
    store = Store()
    play = Play(store).online()
    play.carry(play.stand_in.authorise("card", "TAG", 1000, 0.0))
    store.said("DataTransfer")
    play.wake()
    for _ in range(5):
        play.wait(CALL_DEADLINE_S)
    assert not play.of(Close)
    play.answer()
    assert play.last.action == "DataTransfer"


# --- cards (§4.4) ---


def test_a_card_is_asked_about_before_anything_that_waits() -> None:
    store = Store()
    for _ in range(2):
        store.said("DataTransfer")
    play = Play(store).online()
    play.carry(play.stand_in.authorise("card", "TAG", 8, 0.0))
    assert play.last.action == "DataTransfer"
    play.answer()
    assert (play.last.action, play.last.payload) == ("Authorize", {"idTag": "TAG"})
    play.answer({"idTagInfo": {"status": "Accepted"}})
    assert play.of(Authorised) == [Authorised("card", b'{"idTagInfo": {"status": "Accepted"}}')]
    assert play.of(Exchanged)[-1].status == "done"
    assert play.last.action == "DataTransfer"


def test_a_card_that_gets_no_word_ends_without_one() -> None:
    play = Play(Store()).online()
    play.carry(play.stand_in.authorise("slow", "TAG", 8, 0.0))
    play.wait(8)
    play.carry(play.stand_in.authorise("refused", "TAG", 8, 8.0)).refuse()
    play.carry(play.stand_in.authorise("broken", "TAG", 8, 8.0))
    play.carry(play.stand_in.closed(9.0))
    assert play.of(Authorised) == [Authorised(token, None) for token in ("slow", "refused", "broken")]
    assert [each.status for each in play.of(Exchanged)] == ["done", "failed", "failed"]


def test_more_cards_than_may_wait_get_no_word() -> None:
    play = Play(Store()).online()
    for number in range(40):
        play.carry(play.stand_in.authorise(number, "TAG", 8, 0.0))
    assert play.of(Authorised)
    assert all(each.answer is None for each in play.of(Authorised))
    store = play.store
    store.said("DataTransfer")
    play.wake().answer_all()
    assert store.cursor == 1
    assert {each.token for each in play.of(Authorised)} == set(range(40))


# --- what the operator asks, and asks for ---


def test_what_the_operator_asks_is_handed_up_one_at_a_time() -> None:
    play = Play(Store()).online().reply('[2,"a","Reset",{}]').reply('[2,"b","Reset",{}]')
    (first,) = play.of(Requested)
    play.carry(play.stand_in.refuse(first.call, "NotSupported", "no", 0.0))
    second = play.of(Requested)[1]
    play.carry(play.stand_in.answer(second.call, b"{}", 0.0))
    assert play.replies == [[4, "a", "NotSupported", "no", {}], [3, "b", {}]]


def test_what_an_operator_asks_for_often_is_told_once_and_the_newest_last() -> None:
    play = Play(Store()).online()
    assert play.stand_in.is_told
    play.carry(play.stand_in.tell(METER, b"{}", 0.0))
    for word in (b'{"status":"A"}', b'{"status":"B"}', b'{"status":"A"}'):
        play.carry(play.stand_in.tell(STATUS, word, 0.0))
    assert not play.stand_in.is_told
    play.answer_all()
    assert [call.payload.get("status") for call in play.calls[2:]] == ["B", "A"]
    for number in range(3 * OWN_MAX):
        play.carry(play.stand_in.tell(METER, b'{"n":%d}' % number, 0.0))
    assert len(play.stand_in._own) == OWN_MAX
    play.answer_all()
    assert play.stand_in.is_told


# --- bounds ---


def test_ties_and_readings_are_remembered_within_bounds() -> None:
    store = Store()
    play = Play(store).online()
    for connector in range(CONNECTORS_MAX + 9):
        store.metered(None, 1, connector)
    play.wake().answer_all()
    play.carry(play.stand_in.fed([], {number: Tie(number, "open") for number in range(TIES_MAX + 9)}, 0.0))
    assert len(play.stand_in._ties) == TIES_MAX
    assert len(play.stand_in._last_reading) == CONNECTORS_MAX


def test_a_tie_is_not_forgotten_while_it_is_needed() -> None:
    store = Store()
    store.started(OURS)
    play = Play(store).online().answer()
    store.ties[OURS] = Tie(None, "pending")  # read before what was learned was stored
    others = {number: Tie(number, "open") for number in range(TIES_MAX - 1)}
    play.carry(play.stand_in.fed([], others, 0.0))
    stop = store.stopped(OURS)
    play.carry(play.stand_in.fed([stop], {OURS: store.ties[OURS]} | {-1: Tie(1, "open")}, 0.0))
    assert play.last.payload["transactionId"] == 7


# --- any interleaving ---


class Interleaved(RuleBasedStateMachine):
    """A charger, a store, an operator and the network, in any order; watched by the operator."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(attached=2, read_max=3)
        self.connection = 0
        self.now = 0.0
        self.running: dict[int, int] = {}
        self.next_number = OURS
        self.poison: set[int] = set()
        self.seen = 0
        # What the operator knows.
        self.given: dict[int, int] = {}
        self.refused_ids: set[str] = set()
        self.acknowledged: set[int] = set()
        self.start_ids: dict[int, str] = {}
        self.heard: dict[int, int] = {}
        self.ids: set[str] = set()
        self.open: tuple[Frame, float] | None = None
        self.unanswered: list[Frame] = []
        self.is_accepted = False
        self.cursors = [self.store.cursor]

    @initialize(
        is_boot=st.booleans(),
        role=st.sampled_from(Role),
        running=st.integers(0, 2),
        is_running_told=st.booleans(),
    )
    def attach(self, *, is_boot: bool, role: Role, running: int, is_running_told: bool) -> None:
        self.manner = Manner(role, is_boot_on_connect=is_boot)
        self.store = Store(read_max=3)
        self.told_of: set[int] = set()
        for _ in range(running):
            self.start(is_poison=False)
        self.store.attached = self.store.end
        if is_running_told:
            self.told_of |= set(self.running)
            self.store.ties = {number: Tie(None, "pending") for number in self.running}
        else:
            self.store.cursor = self.store.end
        self.cursors = [self.store.cursor]
        self.connect()

    def connect(self) -> None:
        self.connection += 1
        self.open = None
        self.is_accepted = not self.manner.is_boot_on_connect
        self.play = Play(
            self.store,
            self.manner,
            now=self.now,
            is_prompt=False,
            prefix=f"own{self.connection}-",
            statuses=[b'{"connectorId":1,"status":"Available"}'],
        )
        self.seen = 0
        self.play.open()
        self.look()

    def look(self) -> None:
        """Have the operator look at what it was sent since."""
        for effect in self.play.effects[self.seen :]:
            if isinstance(effect, Send):
                frame = json.loads(effect.data)
                if frame[0] == 2:
                    self.hear(Frame(frame[1], frame[2], frame[3], effect.data))
            elif isinstance(effect, Told):
                self.cursors.append(effect.report.cursor or self.cursors[-1])
            elif isinstance(effect, Moved):
                self.cursors.append(effect.cursor)
        self.seen = len(self.play.effects)

    def hear(self, call: Frame) -> None:
        assert self.is_accepted or call.action == BOOT, "nothing is told before the boot is accepted"
        if self.open is not None:
            limit_s = 8.0 if self.open[0].action == "Authorize" else CALL_DEADLINE_S
            assert self.now - self.open[1] >= limit_s, "one saying is open at a time"
            self.unanswered.append(self.open[0])
        self.open = (call, self.now)
        waiting = [each.report for each in self.play.inputs if isinstance(each, Told)]
        is_needed = any(each.action in {START, STOP} or each.status != "done" for each in waiting)
        is_free = not is_needed and len(waiting) < UNSTORED_MAX
        assert is_free or call.action in {"Authorize", BOOT}, "what others need is stored first"
        number = call.payload.get("x")
        if number is not None:
            place = call.payload["s"]
            # After a crash some are told again, under their old ids.
            is_repeat = call.id in self.ids
            self.ids.add(call.id)
            is_in_order = place >= self.heard.get(number, 0)
            assert is_in_order or is_repeat, "what is told of a transaction keeps its order"
            self.heard[number] = max(place, self.heard.get(number, 0))
            theirs = call.payload.get("transactionId")
            if theirs is not None:
                assert theirs == self.given.get(number), "no operator sees a number that it did not give"
            assert number in self.told_of, "what began before the operator came is not told"
            if call.action == START:
                assert number not in self.acknowledged, "a start is told once"
                before = self.start_ids.get(number)
                assert before in {None, call.id} or before in self.refused_ids, "the same message again"
                self.start_ids[number] = call.id
            elif call.action == STOP:
                assert theirs is not None
        else:
            assert "transactionId" not in call.payload

    # --- the charger ---

    def say(self, action: str, number: int | None = None, **fields: Any) -> None:
        marks = {} if number is None else {"x": number, "s": self.store.end + 1}
        self.store.said(action, fields | marks, number, at_s=self.now)
        if self.connection:
            self.wake()

    @rule(is_poison=st.sampled_from([False, False, False, True]), connector=st.integers(1, 2))
    def start(self, *, is_poison: bool, connector: int = 1) -> None:
        number, self.next_number = self.next_number, self.next_number + 1
        self.running[number] = connector
        if self.connection:
            self.told_of.add(number)
        if is_poison and self.connection:
            self.poison.add(number)
        self.say(START, number, idTag="TAG", connectorId=connector)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        has_number = data.draw(st.booleans())
        fields = {"transactionId": number} if has_number else {}
        self.say(METER, number, connectorId=self.running[number], **fields)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        del self.running[number]
        self.say(STOP, number, transactionId=data.draw(st.sampled_from([number, -1])))

    @precondition(lambda self: self.store.end > self.store.attached)
    @rule()
    def repeat(self) -> None:
        last = self.store.log[-1]
        self.store.said(last.action, last.payload, last.transaction_number, at_s=self.now)

    @rule(
        action=st.sampled_from(
            [STATUS, BOOT, "DataTransfer", "SecurityEventNotification", "Authorize", METER]
        ),
        connector=st.integers(0, 2),
    )
    def say_something_else(self, action: str, connector: int) -> None:
        fields = {"transactionId": OURS} if action == METER and connector else {}
        self.say(action, connectorId=connector, n=self.store.end, **fields)

    # --- the store ---

    @rule()
    def wake(self) -> None:
        self.play.wake()
        self.look()

    @precondition(lambda self: self.play.inputs)
    @rule(data=st.data())
    def give(self, data: st.DataObject) -> None:
        """Reads overtake each other and the records; the records keep their order."""
        inputs = self.play.inputs
        first = next((each for each in inputs if isinstance(each, Told | Moved)), None)
        ready = [each for each in inputs if isinstance(each, Want | WantOwed) or each is first]
        chosen = data.draw(st.sampled_from(ready))
        inputs.remove(chosen)
        self.give_one(chosen)

    def give_one(self, chosen: Effect) -> None:
        if isinstance(chosen, Told) and chosen.report.learned is not None and chosen.report.action == START:
            self.acknowledged.add(chosen.report.learned.number)
        self.play.give(chosen)
        self.look()

    @rule(times=st.integers(1, 20))
    def go_on(self, times: int) -> None:
        """All is well for a while."""
        for _ in range(times):
            self.give_all()
            if self.open is not None:
                self.answer("well")

    def give_all(self) -> None:
        while self.play.inputs:
            self.give_one(self.play.inputs.popleft())

    # --- the operator ---

    @precondition(lambda self: self.open is not None)
    @rule(
        how=st.sampled_from(["well", "well", "well", "error", "nonsense", "refused", "pending", "rejected"])
    )
    def answer(self, how: str) -> None:
        assert self.open is not None
        call, self.open = self.open[0], None
        self.reply(call, how)

    def reply(self, call: Frame, how: str) -> None:
        number = call.payload.get("x")
        payload: Any = {"status": "Accepted"}
        if call.action == BOOT:
            payload = {"status": {"pending": "Pending", "rejected": "Rejected"}.get(how, "Accepted")}
            if how == "nonsense":
                payload = {"status": ["?"], "interval": {}}
            self.is_accepted = how != "error" and payload["status"] == "Accepted"
        elif call.action == START and number is not None:
            if number in self.poison and how not in {"error", "nonsense"}:
                how = "error"
            if how in {"error", "nonsense"}:
                self.refused_ids.add(call.id)
                payload = {"transactionId": {"a": 1}, "idTagInfo": "?"}
            else:
                word = "Blocked" if how == "refused" else "Accepted"
                theirs = self.given.setdefault(number, len(self.given) + 1)
                payload = {"transactionId": theirs, "idTagInfo": {"status": word}}
        elif how == "nonsense":
            payload = [1]
        text = [4, call.id, "InternalError", "", {}] if how == "error" else [3, call.id, payload]
        self.play.now = self.now
        self.play.reply(json.dumps(text))
        self.look()

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.unanswered))
        if call.action not in {BOOT, START}:
            if self.open is not None and self.open[0].id == call.id:
                self.open = None
            self.play.reply(json.dumps([3, call.id, {}]))
            self.look()

    @rule()
    def ask_for_a_state(self) -> None:
        self.play.carry(self.play.stand_in.tell(STATUS, b'{"connectorId":1}', self.now))
        self.look()

    @rule()
    def ask_about_a_card(self) -> None:
        self.play.carry(self.play.stand_in.authorise(object(), "TAG", 8.0, self.now))
        self.look()

    # --- time and the network ---

    @rule(seconds=st.sampled_from([1.0, 6.0, 31.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.play.wait(seconds)
        self.look()

    @precondition(lambda self: self.open is not None)
    @rule()
    def break_off_before_the_answer(self) -> None:
        self.break_off(kept=0)

    @rule(kept=st.integers(0, 3))
    def break_off(self, kept: int) -> None:
        """The process or the connection dies; of the records under way some are stored."""
        effects = self.play.stand_in.closed(self.now)
        assert all(isinstance(effect, Authorised) for effect in effects)
        records = [each for each in self.play.inputs if isinstance(each, Told | Moved)]
        for each in records[:kept]:
            if isinstance(each, Told):
                if each.report.learned is not None and each.report.action == START:
                    self.acknowledged.add(each.report.learned.number)
                self.store.record(each.report, self.now)
            else:
                assert isinstance(each, Moved)
                self.store.move(each.cursor)
        self.cursors = [self.store.cursor]
        self.connect()

    @precondition(lambda self: any(row.status == "parked" for row in self.store.rows))
    @rule(is_skip=st.booleans())
    def decide(self, *, is_skip: bool) -> None:
        self.decide_about(next(row for row in self.store.rows if row.status == "parked"), is_skip=is_skip)

    def decide_about(self, row: Row, *, is_skip: bool) -> None:
        if is_skip:
            self.store.skip(row)
        else:
            self.store.retry(row, self.now)
            self.refused_ids.add(row.message_id)
        self.break_off(kept=9)

    @invariant()
    def the_cursor_never_moves_back(self) -> None:
        assert self.cursors == sorted(self.cursors)
        assert self.store.cursor <= self.store.end

    @invariant()
    def it_wakes_in_time(self) -> None:
        if self.play.of(Close):
            return
        if self.open is not None and self.play.is_open:
            assert self.play.stand_in.wake_at is not None

    def teardown(self) -> None:
        """From here on the operator is there and answers; all that it may hear it shall have heard."""
        if not self.connection:
            return
        self.break_off(kept=9)
        for row in self.store.rows:
            if row.status == "parked" and row.saying.transaction_number not in self.poison:
                self.decide_about(row, is_skip=False)
        self.wake()
        for _ in range(4_000):
            if self.play.of(Close):
                self.break_off(kept=9)
            self.give_all()
            if self.open is not None:
                self.answer("well")
            elif self.is_over():
                break
            else:
                self.wait(20.0)
        else:
            raise AssertionError("the end of the log is reached")
        assert self.store.cursor == self.store.end
        self.a_poison_message_holds_up_its_own_transaction_only()

    def is_over(self) -> bool:
        return (
            self.play.stand_in.state is State.ONLINE
            and not any(
                row.status == "retrying"
                or (row.status == "held" and row.saying.transaction_number not in self.poison)
                for row in self.store.rows
            )
            and self.play.stand_in.is_drained
        )

    def a_poison_message_holds_up_its_own_transaction_only(self) -> None:
        done = {row.saying.number for row in self.store.rows if row.status in {"done", "failed"}}
        seen: set[tuple[str, bytes]] = set()
        for saying in self.store.log:
            number = saying.transaction_number
            if (saying.action, saying.payload) in seen or saying.action not in OF_TRANSACTIONS:
                continue
            seen.add((saying.action, saying.payload))
            if number is None or number not in self.told_of:
                continue
            if number in self.poison:
                assert number not in self.given
                assert saying.action == METER or saying.number not in done
            else:
                skipped = self.store.ties.get(number, Tie(None, "")).state == "unknown"
                assert saying.number in done or skipped or saying.action == START, (saying, self.store.rows)
        for row in self.store.rows:
            assert row.status != "held" or row.saying.transaction_number in self.poison


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)


def test_no_operator_hears_of_life_more_often_than_every_ten_seconds() -> None:
    for manner in (BILLING, Manner(Role.BILLING, heartbeat_s=1)):
        play = Play(Store(), manner, jitter=1.0).open().answer({"status": "Accepted", "interval": 1})
        assert play.stand_in.wake_at == standin.PAUSE_MIN_S


def test_a_word_of_its_own_keeps_its_id_on_each_connection() -> None:
    for _ in range(2):
        play = Play(Store()).online()
        play.carry(play.stand_in.tell(STOP, b"{}", play.now, "abc:bye-7"))
        assert json.loads(play.of(Send)[-1].data)[1] == "abc:bye-7"
        play.answer({})
        assert play.of(Exchanged)[-1].message_id == "abc:bye-7"


def test_a_verdict_that_cannot_be_stored_is_a_refusal() -> None:
    store = Store()
    store.started(OURS)
    play = Play(store).online()
    play.answer({"transactionId": 1, "idTagInfo": {"status": "Acc\0epted"}})
    assert [(each.state, each.verdict) for each in store.learned] == [("refused", "Invalid")]


def test_what_is_asked_faster_than_it_is_answered_is_to_wait() -> None:
    play = Play(Store()).online()
    assert not play.stand_in.is_inward_full
    for number in range(17):
        ask = json.dumps([2, str(number), "GetConfiguration", {}]).encode()
        play.carry(play.stand_in.received(ask, play.now))
    assert play.stand_in.is_inward_full

"""A simulated back office: what it keeps, how it answers, how it may be told to misbehave."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from ocpp.messages import Call as LibraryCall
from ocpp.messages import CallResult as LibraryResult
from ocpp.messages import _validate_payload

from tests.unit.sim.driving import CAR, START
from voltyard.sim.charger import Send as SaidByCharger
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.envelope import CallError, CallResult
from voltyard.sim.operator import (
    ASK_S,
    EVERY,
    Ask,
    Charger,
    Close,
    Effect,
    Ended,
    Log,
    Manner,
    NoAnswer,
    Operator,
    Send,
    Transaction,
    WakeAt,
)
from voltyard.sim.station import Nameplate

AT = "2026-03-01T12:00:00Z"
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
BEGIN = {"connectorId": 1, "idTag": "TAG", "meterStart": 100, "timestamp": AT}


def end(number: int, **more: Any) -> dict[str, Any]:
    return {"transactionId": number, "meterStop": 900, "timestamp": AT, **more}


def meter(number: int | None, register: str = "500", connector: int = 1, **sample: Any) -> dict[str, Any]:
    sampled = {"value": register, **sample}
    values = [{"timestamp": AT, "sampledValue": [sampled]}]
    of = {} if number is None else {"transactionId": number}
    return {"connectorId": connector, "meterValue": values, **of}


class Office:
    """A back office and the chargers that talk to it; each of its texts must fit the schema."""

    def __init__(self, **manner: Any) -> None:
        self.operator = Operator(Manner(**manner))
        self.now = START
        self.sent: list[tuple[str, list[Any]]] = []
        self.raw: list[str] = []
        self.log: list[str] = []
        self.closed: list[str] = []
        self.ended: list[Ask] = []
        self.wake_at: Any = None
        self.count = 0

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(identity, text):
                    self.raw.append(text)
                    try:
                        self.sent.append((identity, json.loads(text)))
                    except ValueError:
                        self.sent.append((identity, []))
                case Log(text):
                    self.log.append(text)
                case Close(identity):
                    self.closed.append(identity)
                case Ended(ask):
                    self.ended.append(ask)
                case WakeAt(at):
                    self.wake_at = at

    def connect(self, identity: str = "CP1", *, boots: bool = True) -> Office:
        self.do(self.operator.connected(identity, self.now))
        if boots:
            self.say("BootNotification", BOOT, identity)
        return self

    def lose(self, identity: str = "CP1") -> None:
        self.do(self.operator.disconnected(identity, self.now))

    def hear(self, text: str, identity: str = "CP1") -> None:
        self.do(self.operator.received(identity, text, self.now))

    def say(self, action: str, payload: dict[str, Any], identity: str = "CP1") -> Any:
        """Say something; return the answer to it, None if none came at once."""
        self.count += 1
        call_id = f"c{self.count}"
        before = len(self.sent)
        self.hear(json.dumps([2, call_id, action, payload]), identity)
        for who, answer in self.sent[before:]:
            if who == identity and answer and answer[1] == call_id:
                if answer[0] == 4:
                    return answer[2]
                _validate_payload(LibraryResult(call_id, answer[2], action), "1.6")
                return answer[2]
        return None

    def begin(self, identity: str = "CP1", **other: Any) -> int:
        return int(self.say("StartTransaction", BEGIN | other, identity)["transactionId"])

    def ask(self, action: str = "ClearCache", identity: str = "CP1", **payload: Any) -> Ask:
        _validate_payload(LibraryCall("x", action, payload), "1.6")
        ask, effects = self.operator.ask(identity, action, payload, self.now)
        self.do(effects)
        return ask

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.do(self.operator.tick(self.now))

    @property
    def charger(self) -> Charger:
        return self.operator.charger("CP1")

    def transaction(self, number: int) -> Transaction:
        found = self.charger.transaction(number)
        assert found is not None
        return found


# What it keeps


def test_a_boot_is_kept_and_answered_with_the_interval():
    office = Office(interval_s=60).connect(boots=False)
    answer = office.say("BootNotification", BOOT)
    assert answer == {"status": "Accepted", "currentTime": "2026-03-01T12:00:00.000Z", "interval": 60}
    assert (office.charger.boots, office.charger.registration) == ([BOOT], "Accepted")
    assert office.charger.is_connected


def test_a_whole_transaction_is_kept_under_its_own_number():
    office = Office(first_number=71).connect()
    assert office.say("Authorize", {"idTag": "TAG"}) == {"idTagInfo": {"status": "Accepted"}}
    number = office.begin()
    assert number == 71
    office.say("MeterValues", meter(71))
    office.say("MeterValues", meter(71, "600", unit="Wh"))
    assert office.transaction(71).is_running
    last = [{"timestamp": AT, "sampledValue": [{"value": "900"}]}]
    stopped = office.say(
        "StopTransaction", end(71, idTag="TAG", reason="EVDisconnected", transactionData=last)
    )
    assert stopped == {"idTagInfo": {"status": "Accepted"}}
    kept = office.transaction(71)
    assert (kept.connector, kept.id_tag, kept.meter_start, kept.started_at) == (1, "TAG", 100, START)
    assert [one["sampledValue"][0]["value"] for one in kept.meter_values] == ["500", "600"]
    assert (kept.stopped_at, kept.meter_stop, kept.reason, kept.stop_tag) == (
        START, 900, "EVDisconnected", "TAG",
    )  # fmt: skip
    assert kept.stop_values == last
    assert not kept.is_running
    assert "CP1: tells the meter of transaction 71: 600 Wh" in office.log
    assert office.charger.oddities == []


def test_a_stop_without_a_reason_was_local_and_without_a_tag_gets_no_verdict():
    office = Office().connect()
    assert office.say("StopTransaction", end(office.begin())) == {}
    assert (office.transaction(1).reason, office.transaction(1).stop_tag) == ("Local", None)


def test_the_last_status_of_each_connector_is_known():
    office = Office().connect()
    for connector, status in ((1, "Preparing"), (2, "Faulted"), (1, "Charging")):
        office.say("StatusNotification", {"connectorId": connector, "errorCode": "NoError", "status": status})
    assert [office.charger.status(connector) for connector in (1, 2, 3)] == ["Charging", "Faulted", None]


def test_everything_that_came_is_kept_with_its_id():
    office = Office().connect()
    office.say("Heartbeat", {})
    assert [(one.action, one.id) for one in office.charger.received] == [
        ("BootNotification", "c1"), ("Heartbeat", "c2"),
    ]  # fmt: skip
    assert office.charger.heard("BootNotification") == [BOOT]


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("DataTransfer", {"vendorId": "V"}, {"status": "UnknownVendorId"}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}, {}),
        ("FirmwareStatusNotification", {"status": "Idle"}, {}),
        ("LogStatusNotification", {"status": "Idle"}, {}),
        ("SignedFirmwareStatusNotification", {"status": "Idle"}, {}),
        ("SecurityEventNotification", {"type": "T", "timestamp": AT}, {}),
        ("SignCertificate", {"csr": "C"}, {"status": "Rejected"}),
    ],
)
def test_the_other_actions_are_answered(action, payload, answer):
    assert Office().connect().say(action, payload) == answer


# Repeats


def test_a_start_told_again_gets_the_number_and_the_verdict_of_the_first():
    office = Office(accepted_tags=frozenset()).connect()
    first = office.say("StartTransaction", BEGIN)
    office.operator.behave(Manner(first_number=50))
    again = office.say("StartTransaction", BEGIN | {"timestamp": "2026-03-01T13:00:00+01:00"})
    assert first == again == {"transactionId": 1, "idTagInfo": {"status": "Invalid"}}
    assert len(office.charger.transactions) == 1
    assert office.begin(meterStart=101) == 50


def test_what_is_told_again_is_marked_and_changes_nothing():
    office = Office().connect()
    status = {"connectorId": 1, "errorCode": "NoError", "status": "Charging", "timestamp": AT}
    number = office.begin()
    for action, payload in (
        ("StartTransaction", BEGIN), ("StatusNotification", status), ("StatusNotification", status),
        ("MeterValues", meter(number)), ("MeterValues", meter(number)), ("Heartbeat", {}), ("Heartbeat", {}),
        ("StopTransaction", end(number)), ("StopTransaction", end(number)),
    ):  # fmt: skip
        office.say(action, payload)
    assert [one.action for one in office.charger.repeats] == [
        "StartTransaction", "StatusNotification", "MeterValues", "StopTransaction",
    ]  # fmt: skip
    assert len(office.transaction(number).meter_values) == 1
    assert len(office.charger.statuses) == 1
    assert office.charger.oddities == []


def test_what_was_refused_is_taken_in_when_it_is_told_again():
    office = Office(errors={EVERY: "InternalError", "BootNotification": "GenericError"}).connect()
    assert office.say("StartTransaction", BEGIN) == "InternalError"
    assert (office.charger.boots, office.charger.transactions) == ([], [])
    office.operator.behave(Manner())
    office.say("BootNotification", BOOT)
    assert office.begin() == 1
    assert office.charger.received[-1].is_repeat


# What is odd


def test_a_second_stop_with_other_content_is_odd_and_changes_nothing():
    office = Office().connect()
    office.say("StopTransaction", end(office.begin()))
    assert office.say("StopTransaction", end(1, meterStop=901)) == {}
    assert office.charger.oddities == ["another stop of 1, which has ended"]
    assert office.transaction(1).meter_stop == 900


def test_numbers_that_it_never_gave_are_odd_and_taken_all_the_same():
    office = Office().connect()
    assert office.say("StopTransaction", end(99)) == {}
    assert office.say("MeterValues", meter(99)) == {}
    office.begin()
    assert office.say("MeterValues", meter(1, connector=2)) == {}
    assert office.say("MeterValues", meter(None, measurand="Voltage")) == {}
    assert office.charger.oddities == [
        "the stop of 99, which it does not know",
        "the meter of 99, which it does not know",
        "the meter of 1 at connector 2, where it is not",
    ]
    assert office.log[-1] == "CP1: tells the meter at connector 1"


def test_nothing_but_a_boot_may_be_said_before_one_was_accepted():
    office = Office(registration="Rejected").connect(boots=False)
    assert office.say("Heartbeat", {}) == "SecurityError"
    assert office.say("BootNotification", BOOT)["status"] == "Rejected"
    assert office.say("Heartbeat", {}) == "SecurityError"
    assert office.charger.oddities == [
        "Heartbeat: said before a boot was accepted"
    ] * 2  # fmt: skip


def test_a_pending_charger_may_say_what_it_was_triggered_to_say():
    office = Office(registration="Pending").connect()
    office.ask("TriggerMessage", requestedMessage="Heartbeat")
    assert "currentTime" in office.say("Heartbeat", {})
    assert office.say("Authorize", {"idTag": "TAG"}) == "SecurityError"


def test_a_boot_counts_on_later_connections_too():
    office = Office().connect()
    office.lose()
    assert "currentTime" in office.connect(boots=False).say("Heartbeat", {})
    assert office.charger.connections == 2


def test_what_breaks_its_schema_is_refused_and_odd():
    office = Office().connect()
    assert office.say("StartTransaction", {"connectorId": 1}) == "OccurenceConstraintViolation"
    assert office.say("MeterValues", {"connectorId": 1, "meterValue": [{}]}) == "OccurenceConstraintViolation"
    assert office.say("Fly", {}) == "NotImplemented"
    assert office.charger.oddities[0] == "StartTransaction: idTag is missing"


def test_what_is_no_message_is_odd_and_refused_where_it_has_an_id():
    office = Office().connect()
    office.hear("?")
    office.hear('[2,"7",{}]')
    assert office.sent[-1][1][:3] == [4, "7", "FormationViolation"]
    assert len(office.charger.oddities) == 2


# Manners


def test_cards_that_it_does_not_accept_get_its_verdict_and_a_number_all_the_same():
    office = Office(accepted_tags=frozenset({"Good"}), verdict_on_others="Blocked").connect()
    assert office.say("Authorize", {"idTag": "GOOD"}) == {"idTagInfo": {"status": "Accepted"}}
    assert office.say("Authorize", {"idTag": "BAD"}) == {"idTagInfo": {"status": "Blocked"}}
    assert office.begin(idTag="BAD") == 1
    assert office.transaction(1).verdict == "Blocked"


def test_it_answers_nonsense_or_nothing_where_it_is_told_to():
    office = Office(nonsense=frozenset({"Heartbeat"}), silent=frozenset({"StartTransaction"})).connect()
    assert office.say("Heartbeat", {}) is None
    assert office.sent[-1] == ("CP1", [])
    before = len(office.sent)
    assert office.say("StartTransaction", BEGIN) is None
    assert len(office.sent) == before
    assert office.charger.transactions[0].number == 1


def test_slow_answers_come_when_they_are_due_and_in_order():
    office = Office(delay_s=5).connect()
    office.operator.behave(replace(office.operator.manner, delay_s=1))
    office.say("Heartbeat", {})
    assert office.wake_at == office.operator.wake_at == START + timedelta(seconds=5)
    office.wait(4.9)
    assert office.sent == []
    assert office.wake_at == START + timedelta(seconds=5)
    office.wait(0.1)
    assert [answer[1] for _, answer in office.sent] == ["c1", "c2"]
    assert office.operator.wake_at is None


def test_slow_answers_are_lost_with_their_connection():
    office = Office(delay_s=5).connect()
    office.lose()
    office.connect(boots=False).wait(5)
    assert office.sent == []


def test_it_may_close_a_connection_as_soon_as_it_stands():
    assert Office(closes_at_once=True).connect(boots=False).closed == ["CP1"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("manner", "header", "status"),
    [
        ({}, None, None),
        ({"password": "p:w"}, basic("CP1", "p:w"), None),
        ({"password": "pw"}, basic("CP1", "other"), 401),
        ({"password": "pw"}, basic("CP2", "pw"), 401),
        ({"password": "pw"}, "Basic ~", 401),
        ({"password": "pw"}, "Bearer pw", 401),
        ({"password": "pw"}, None, 401),
        ({"password": "pw", "user": "us"}, basic("us", "pw"), None),
        ({"refuses_with": 503}, None, 503),
    ],
)
def test_who_does_not_know_the_password_is_turned_away(manner, header, status):
    assert Office(**manner).operator.refusal("CP1", header) == status


# Asking


def test_an_answer_is_remembered_with_what_was_asked():
    office = Office().connect()
    first, second = office.ask("RemoteStartTransaction", idTag="TAG"), office.ask("ClearCache")
    assert office.sent[-1] == ("CP1", [2, "1", "RemoteStartTransaction", {"idTag": "TAG"}])
    office.hear('[3,"1",{"status":"Accepted"}]')
    assert office.sent[-1] == ("CP1", [2, "2", "ClearCache", {}])
    office.hear('[4,"2","NotSupported","no",{}]')
    assert first.outcome == CallResult("1", {"status": "Accepted"})
    assert second.outcome == CallError("2", "NotSupported", "no")
    assert office.ended == office.charger.asks == [first, second]
    assert office.log[-1] == "CP1: answers ClearCache: NotSupported no"


def test_an_answer_to_nothing_is_odd():
    office = Office().connect()
    office.hear('[3,"1",{}]')
    office.ask()
    office.hear('[3,"2",{}]')
    assert office.charger.oddities == [
        "an answer to nothing that is open: 1", "an answer to nothing that is open: 2",
    ]  # fmt: skip
    assert office.ended == []


def test_an_ask_ends_without_an_answer_in_time_and_the_next_is_sent():
    office = Office().connect()
    first, second = office.ask(), office.ask()
    office.wait(ASK_S)
    assert first.outcome == NoAnswer("there was no answer in time")
    assert office.sent[-1][1][1] == second.id


def test_asks_end_with_the_connection():
    office = Office()
    assert office.ask().outcome == NoAnswer("the charger is not connected")
    office.connect()
    first, second = office.ask(), office.ask()
    office.connect(boots=False)
    assert first.outcome == second.outcome == NoAnswer("the connection was replaced")
    third = office.ask()
    office.lose()
    office.lose()
    assert third.outcome == NoAnswer("the connection was lost")
    office.hear('[3,"4",{}]')
    assert office.charger.oddities == []
    assert not office.charger.is_connected


# A whole charger


def test_our_simulated_charger_charges_and_obeys():
    office = Office(accepted_tags=frozenset({"TAG"}), first_number=500)
    machine = VirtualCharger(Nameplate("CP1", connectors=2), 7, START)

    def run(effects: Any) -> None:
        for effect in effects:
            if isinstance(effect, SaidByCharger):
                before = len(office.raw)
                office.hear(effect.text)
                for text in office.raw[before:]:
                    run(machine.received(text, office.now))

    office.do(office.operator.connected("CP1", office.now))
    run(machine.connected(office.now))
    assert [one["connectorId"] for one in office.charger.statuses] == [0, 1, 2]
    ask, effects = office.operator.ask(
        "CP1", "RemoteStartTransaction", {"idTag": "TAG", "connectorId": 1}, office.now
    )
    office.do(effects)
    run(machine.received(office.raw[-1], office.now))
    assert ask.outcome == CallResult("1", {"status": "Accepted"})
    run(machine.plug(1, CAR, office.now))
    assert office.transaction(500).is_running
    run(machine.unplug(1, office.now))
    assert office.transaction(500).reason == "EVDisconnected"
    assert office.charger.oddities == []


# Invariants

tags = st.sampled_from(["A", "B"])
identities = st.sampled_from(["CP1", "CP2"])
begins = st.builds(
    lambda connector, tag, minute, meter_wh: {
        "connectorId": connector,
        "idTag": tag,
        "timestamp": f"2026-03-01T12:{minute:02d}:00Z",
        "meterStart": meter_wh,
    },
    st.integers(1, 2), tags, st.integers(0, 3), st.integers(0, 1),
)  # fmt: skip


@given(st.lists(begins, max_size=20), st.integers(-3, 3))
def test_a_repeated_start_gets_the_number_of_the_first(told, first):
    office = Office(first_number=first).connect()
    numbers: dict[str, int] = {}
    for payload in told:
        number = office.say("StartTransaction", payload)["transactionId"]
        assert numbers.setdefault(json.dumps(payload, sort_keys=True), number) == number
    assert sorted(numbers.values()) == list(range(first, first + len(numbers)))


@given(st.lists(st.tuples(identities, begins), max_size=20))
def test_no_two_transactions_share_a_number(told):
    office = Office().connect("CP1").connect("CP2")
    for identity, payload in told:
        office.say("StartTransaction", payload, identity)
    numbers = [each.number for one in office.operator.chargers.values() for each in one.transactions]
    assert len(numbers) == len(set(numbers))


@given(st.lists(st.sampled_from(["StartTransaction", "StopTransaction", "MeterValues"]), max_size=12))
def test_a_repeat_changes_nothing(actions):
    office = Office().connect()
    payloads = {"StartTransaction": BEGIN, "StopTransaction": end(1), "MeterValues": meter(1)}
    for action in actions:
        office.say(action, payloads[action])
        before = repr(office.charger.transactions)
        office.say(action, payloads[action])
        assert office.charger.received[-1].is_repeat
        assert repr(office.charger.transactions) == before


@given(st.data())
def test_chargers_do_not_mix(data):
    together, alone = Office(silent=frozenset({"Heartbeat"})), Office(silent=frozenset({"Heartbeat"}))
    for office in (together, alone):
        office.connect("CP1")
    together.connect("CP2")
    alone.count = together.count
    for payload in data.draw(st.lists(begins, max_size=9)):
        together.say("Authorize", {"idTag": payload["idTag"]}, "CP2")
        together.say("StopTransaction", end(1), "CP2")
        alone.count = together.count
        for office in (together, alone):
            office.say("StartTransaction", payload)
    assert repr(together.charger) == repr(alone.charger)


class Talk(RuleBasedStateMachine):
    """Two chargers that call, answer, come and go, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.office = Office(delay_s=2)
        self.said: dict[str, list[str]] = {"CP1": [], "CP2": []}
        self.seen = 0
        self.open: dict[str, set[str]] = {"CP1": set(), "CP2": set()}
        self.answered: dict[str, list[str]] = {"CP1": [], "CP2": []}
        self.count = 0

    @rule(identity=identities)
    def connect(self, identity):
        self.said[identity], self.answered[identity] = [], []
        self.open[identity] = set()
        self.office.connect(identity, boots=False)

    @rule(identity=identities)
    def lose(self, identity):
        self.office.lose(identity)
        self.said[identity], self.answered[identity] = [], []
        self.open[identity] = set()

    @rule(identity=identities, action=st.sampled_from(["BootNotification", "Heartbeat", "Fly"]))
    def call(self, identity, action):
        self.count += 1
        call_id = f"c{self.count}"
        if self.office.operator.charger(identity).is_connected:
            self.said[identity].append(call_id)
        self.office.hear(json.dumps([2, call_id, action, BOOT]), identity)

    @rule(identity=identities)
    def ask(self, identity):
        self.office.ask("ClearCache", identity)

    @rule(identity=identities, is_error=st.booleans())
    def answer(self, identity, is_error):
        for call_id in list(self.open[identity]):
            self.open[identity].discard(call_id)
            text = [4, call_id, "GenericError", "", {}] if is_error else [3, call_id, {}]
            self.office.hear(json.dumps(text), identity)

    @rule(seconds=st.sampled_from([0.5, 2, ASK_S]))
    def wait(self, seconds):
        self.office.wait(seconds)

    @invariant()
    def each_call_is_answered_once_under_its_own_id(self):
        asks = {ask.id: ask for one in self.office.operator.chargers.values() for ask in one.asks}
        for identity, message in self.office.sent[self.seen :]:
            if message[0] == 2:
                self.open[identity].add(message[1])
            else:
                self.answered[identity].append(message[1])
        self.seen = len(self.office.sent)
        for identity, opened in self.open.items():
            self.open[identity] = {one for one in opened if asks[one].outcome is None}
            assert self.answered[identity] == self.said[identity][: len(self.answered[identity])]

    @invariant()
    def at_most_one_ask_is_open_per_charger(self):
        assert all(len(opened) <= 1 for opened in self.open.values())

    @invariant()
    def each_ask_ends_once(self):
        counted = Counter(ask.id for ask in self.office.ended)
        assert set(counted.values()) <= {1}
        for charger in self.office.operator.chargers.values():
            assert all((ask.outcome is not None) == (counted[ask.id] == 1) for ask in charger.asks)
            if not charger.is_connected:
                assert all(ask.outcome is not None for ask in charger.asks)


TestTalk = Talk.TestCase


def test_each_call_is_answered_once_under_its_own_id_and_answers_keep_the_order_of_the_calls():
    office = Office(delay_s=3).connect()
    for delay_s in (2, 0, 5):
        office.operator.behave(Manner(delay_s=delay_s))
        office.say("Heartbeat", {})
    office.wait(3)
    office.wait(2)
    assert [answer[1] for _, answer in office.sent] == ["c1", "c2", "c3", "c4"]

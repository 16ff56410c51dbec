from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.sim.driving import CAR, START, Bench, profile
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger, WakeAt
from voltyard.sim.station import Nameplate

TX_ACTIONS = ("StartTransaction", "StopTransaction", "MeterValues")


# Boot


def test_a_connected_charger_boots_and_tells_every_state():
    bench = Bench(connectors=2).connect()
    assert bench.actions() == ["BootNotification", *["StatusNotification"] * 3]
    assert [one["connectorId"] for one in bench.all("StatusNotification")] == [0, 1, 2]
    boot = bench.all("BootNotification")[0]
    assert (boot["chargePointVendor"], boot["chargePointSerialNumber"]) == ("Voltyard Sim", "CP1")
    assert bench.machine.snapshot()["registration"] == "Accepted"


def test_heartbeats_come_at_the_interval_of_the_boot():
    bench = Bench().connect()
    bench.wait(899, step_s=50)
    assert len(bench.all("Heartbeat")) == 2
    bench.wait(1)
    assert len(bench.all("Heartbeat")) == 3


def test_a_boot_without_interval_keeps_the_chargers_own():
    bench = Bench()
    bench.answers["BootNotification"] = lambda _: {
        "status": "Accepted", "currentTime": "2026-03-01T12:00:00Z", "interval": 0,
    }  # fmt: skip
    bench.connect().wait(300)
    assert len(bench.all("Heartbeat")) == 1


def boot_answers(bench: Bench, *answers: tuple[str, int]) -> None:
    waiting = list(answers)

    def boot(_payload: dict[str, Any]) -> dict[str, Any]:
        status, interval = waiting.pop(0) if waiting else ("Accepted", 300)
        return {"status": status, "currentTime": "2026-03-01T12:00:00Z", "interval": interval}

    bench.answers["BootNotification"] = boot


def test_a_pending_charger_answers_and_says_only_what_is_asked_for():
    bench = Bench()
    boot_answers(bench, ("Pending", 30))
    bench.connect().charge()
    assert bench.ask("GetConfiguration", key=["HeartbeatInterval"])["configurationKey"]
    assert bench.ask("RemoteStartTransaction", idTag="A")["status"] == "Rejected"
    assert bench.ask("TriggerMessage", requestedMessage="StatusNotification", connectorId=1)
    assert bench.ask("TriggerMessage", requestedMessage="MeterValues", connectorId=1)
    assert bench.actions() == ["BootNotification", "StatusNotification", "MeterValues"]
    bench.wait(30)
    assert bench.actions()[3:5] == ["BootNotification", "StatusNotification"]


def test_a_rejected_charger_says_and_answers_nothing_until_the_interval_is_over():
    bench = Bench()
    boot_answers(bench, ("Rejected", 0))
    bench.connect()
    bench.do(bench.machine.received('[2,"1","GetConfiguration",{}]', bench.now))
    assert bench.result is None
    bench.wait(59)
    assert bench.actions() == ["BootNotification"]
    bench.wait(1)
    assert bench.machine.snapshot()["registration"] == "Accepted"


def test_a_boot_that_is_refused_or_nonsense_is_tried_again():
    bench = Bench()
    bench.is_mute = True
    bench.connect()
    bench.refuse()
    bench.wait(60)
    bench.reply({"status": "Accepted"})
    bench.wait(60)
    bench.is_mute = False
    bench.refuse()
    bench.wait(60)
    assert len(bench.all("BootNotification")) == 4
    assert bench.machine.snapshot()["registration"] == "Accepted"


def test_a_second_acceptance_changes_nothing_but_the_interval():
    bench = Bench().connect()
    bench.ask("TriggerMessage", requestedMessage="BootNotification")
    assert bench.actions()[-1] == "BootNotification"
    bench.is_mute = True
    bench.ask("TriggerMessage", requestedMessage="BootNotification")
    bench.refuse()
    bench.wait(120)
    assert len(bench.all("BootNotification")) == 3


# Charging


def test_a_plug_and_a_swipe_make_a_session_with_exact_meter_values():
    bench = Bench().connect().charge()
    bench.wait(3600)
    bench.swipe()
    bench.unplug()
    assert bench.statuses() == ["Available", "Preparing", "Charging", "Finishing", "Available"]
    start, stop = bench.all("StartTransaction")[0], bench.all("StopTransaction")[0]
    assert start == {
        "connectorId": 1,
        "idTag": "TAG",
        "meterStart": 0,
        "timestamp": "2026-03-01T12:00:00.000Z",
    }
    # 16 A on three phases for an hour, less the half second of the ramp.
    assert stop["meterStop"] == int(16 * 3 * 230 * (3600 - 0.5) / 3600)
    assert (stop["transactionId"], stop["reason"], stop["idTag"]) == (101, "Local", "TAG")
    values = bench.all("MeterValues")
    assert len(values) == 60
    assert all(one["transactionId"] == 101 for one in values)
    sampled = {
        (one["measurand"], one.get("phase")): one for one in values[9]["meterValue"][0]["sampledValue"]
    }
    assert sampled["Power.Active.Import", None]["value"] == "11040.0"
    assert sampled["Current.Import", "L3"]["value"] == "16.0"
    assert sampled["Current.Offered", None]["value"] == "32.0"
    assert sampled["Voltage", "L1-N"]["value"] == "230.0"
    assert values[9]["meterValue"][0]["timestamp"] == "2026-03-01T12:10:00.000Z"


def test_a_full_car_suspends_at_the_very_moment():
    bench = Bench().connect().charge(car=Car(battery_wh=10_000, soc=0.95, tells_soc=True))
    bench.wait(7200)
    assert bench.statuses()[-1] == "SuspendedEV"
    told = [one for one in bench.all("StatusNotification") if one["status"] == "SuspendedEV"]
    assert told[0]["timestamp"] < "2026-03-01T12:20"
    assert bench.state()["soc"] == 1


def test_how_often_the_clock_ticks_changes_nothing():
    def told(step_s: float) -> list[Any]:
        bench = Bench().connect()
        bench.ask("SetChargingProfile", connectorId=1, csChargingProfiles=profile(
            kind="Relative", periods=[{"startPeriod": 0, "limit": 10}, {"startPeriod": 333, "limit": 5},
                                      {"startPeriod": 777, "limit": 13}]))  # fmt: skip
        bench.charge(car=Car(battery_wh=20_000, soc=0.9))
        bench.wait(3600, step_s)
        bench.unplug()
        return [(action, payload) for action, payload in bench.said if action != "Heartbeat"]

    assert told(1) == told(7.7) == told(3600)


def test_time_never_goes_back():
    bench = Bench().connect().charge()
    bench.wait(600)
    before = bench.state()["meter_wh"]
    bench.do(bench.machine.tick(START))
    assert bench.state()["meter_wh"] == before


# Answers that fail, come late or never


def test_a_call_that_nobody_answers_times_out_and_a_late_answer_is_told_apart():
    bench = Bench().connect()
    bench.is_mute = True
    bench.ask("TriggerMessage", requestedMessage="Heartbeat")
    late = bench.open_id
    bench.wait(29)
    assert bench.machine._station.outbox.open is not None
    bench.wait(1)
    assert bench.machine._station.outbox.open is None
    bench.do(bench.machine.received(json.dumps([3, late, {}]), bench.now))
    bench.do(bench.machine.received(json.dumps([4, late, "GenericError", "", {}]), bench.now))
    assert bench.log[-2:] == [f"late or foreign answer {late}"] * 2


def test_a_refused_transaction_message_is_repeated_with_growing_pauses_and_given_up():
    bench = Bench().connect()
    bench.set_key("TransactionMessageRetryInterval", "10")
    bench.set_key("MeterValueSampleInterval", "0")
    bench.answers["StartTransaction"] = lambda _: None
    bench.charge()
    bench.refuse()
    bench.wait(9)
    assert len(bench.all("StartTransaction")) == 1
    bench.wait(1)
    assert len(bench.all("StartTransaction")) == 2
    bench.wait(30)  # no answer at all
    bench.wait(20)
    assert len(bench.all("StartTransaction")) == 3
    bench.refuse()
    assert bench.log[-1] == "StartTransaction is given up after 3 attempts"
    bench.unplug()
    assert bench.all("StopTransaction")[0]["transactionId"] == -1


def test_an_answer_that_breaks_its_schema_counts_as_a_failure():
    bench = Bench().connect()
    bench.answers["StartTransaction"] = lambda _: None
    bench.charge()
    bench.reply({"transactionId": "1"})
    assert bench.machine.snapshot()["transaction_messages"] == 1


def test_nonsense_is_answered_where_it_can_be_and_survived_where_not():
    bench = Bench().connect()
    bench.do(bench.machine.received("hello", bench.now))
    assert bench.result is None
    bench.do(bench.machine.received('[2,"9","Reset"]', bench.now))
    assert bench.result[:3] == [4, "9", "FormationViolation"]
    assert bench.error("SelfDestruct", {}) == "NotImplemented"
    assert bench.error("Reset", {}) == "OccurenceConstraintViolation"
    assert bench.error("Reset", {"type": 7}) == "TypeConstraintViolation"


def test_a_message_after_the_end_of_the_connection_is_ignored():
    bench = Bench()
    bench.do(bench.machine.received('[2,"1","GetConfiguration",{}]', bench.now))
    assert bench.result is None


# Offline


def test_a_session_without_network_is_told_afterwards_in_order_with_its_own_times():
    bench = Bench().connect().charge()
    bench.swipe()
    bench.unplug()
    bench.do(bench.machine.cut_network(bench.now))
    assert not bench.machine.may_connect
    assert bench.disconnects == ["network cut"]
    bench.do(bench.machine.cut_network(bench.now))
    seen = len(bench.said)
    bench.charge()
    bench.wait(150)
    bench.swipe()
    bench.unplug()
    assert bench.machine.snapshot()["transaction_messages"] == 4
    bench.do(bench.machine.restore_network(bench.now))
    bench.wait(1000)
    assert bench.machine.may_connect
    assert len(bench.said) == seen
    bench.connect()
    replay = [(action, payload) for action, payload in bench.said[seen:] if action in TX_ACTIONS]
    assert [action for action, _ in replay] == [
        "StartTransaction", "MeterValues", "MeterValues", "StopTransaction",
    ]  # fmt: skip
    assert replay[0][1]["timestamp"] == "2026-03-01T12:00:00.000Z"
    assert replay[3][1]["timestamp"] == "2026-03-01T12:02:30.000Z"
    assert {payload["transactionId"] for _, payload in replay[1:]} == {102}
    assert bench.said[seen][0] == "BootNotification"


def test_a_start_whose_answer_was_lost_is_said_again():
    bench = Bench().connect()
    bench.answers["StartTransaction"] = lambda _: None
    bench.charge()
    bench.lose()
    del bench.answers["StartTransaction"]
    bench.connect()
    first, second = bench.all("StartTransaction")
    assert first == second
    assert bench.state()["transaction"] == 101


def test_who_waits_for_an_answer_when_the_connection_ends_is_decided_about_alone():
    bench = Bench().connect()
    bench.answers["Authorize"] = lambda _: None
    bench.charge("STRANGER")
    bench.lose()
    assert bench.status == "Preparing"
    bench.connect()
    bench.set_key("AllowOfflineTxForUnknownId", "true")
    bench.swipe("STRANGER")
    bench.refuse()
    assert bench.state()["is_charging_session"]


def test_connecting_anew_without_a_goodbye_boots_again():
    bench = Bench().connect().connect()
    assert len(bench.all("BootNotification")) == 2


# Going down


def test_a_power_cut_is_told_after_it_and_loses_authorisations():
    bench = Bench(connectors=2).connect().charge()
    bench.swipe("OTHER", 2)
    bench.wait(60)
    bench.do(bench.machine.power_cut(30, bench.now))
    assert (bench.reboots, bench.disconnects) == ([35.0], ["reboot"])
    assert not bench.machine.may_connect
    assert bench.state()["power_w"] == 0
    bench.swipe("LATE")
    bench.wait(35)
    assert bench.machine.may_connect
    bench.connect()
    assert bench.all("StopTransaction")[0]["reason"] == "PowerLoss"
    assert bench.all("StopTransaction")[0]["timestamp"] == "2026-03-01T12:01:00.000Z"
    assert [bench.state(number)["status"] for number in (1, 2)] == ["Preparing", "Available"]


def test_a_charger_that_is_connected_early_has_power_again():
    bench = Bench().connect()
    bench.do(bench.machine.power_cut(30, bench.now))
    bench.connect()
    assert bench.machine.may_connect
    bench.wait(100)
    assert bench.reboots == [35.0]


def test_a_new_password_ends_the_connection_after_the_answer():
    bench = Bench().connect()
    assert bench.machine.password is None
    assert bench.set_key("AuthorizationKey", "0123456789abcdef") == "Accepted"
    assert bench.disconnects == []
    bench.wait(1)
    assert bench.disconnects == ["new credentials"]
    assert bench.machine.password == "0123456789abcdef"


@pytest.mark.parametrize("kind", ["Soft", "Hard"])
def test_a_reset_ends_the_session_and_reboots_after_its_answer(kind):
    bench = Bench().connect().charge()
    assert bench.ask("Reset", type=kind) == {"status": "Accepted"}
    assert bench.reboots == []
    bench.wait(1)
    assert (bench.disconnects, bench.reboots) == (["reboot"], [5.0])
    bench.wait(5)
    bench.connect()
    assert [one["reason"] for one in bench.all("StopTransaction")] == [f"{kind}Reset"]
    assert bench.status == "Preparing"


def test_a_soft_reset_says_its_stop_first_and_a_hard_one_does_not_wait():
    for kind, waited_s in (("Soft", 10), ("Hard", 1)):
        bench = Bench().connect().charge()
        bench.is_mute = True
        bench.ask("Reset", type=kind)
        bench.wait(waited_s - 0.5)
        assert bench.reboots == []
        bench.wait(0.5)
        assert bench.reboots == [5.0]
        bench.is_mute = False
        bench.wait(5)
        bench.connect()
        assert bench.all("StopTransaction")[-1]["reason"] == f"{kind}Reset"


def test_a_session_that_begins_while_a_reset_is_under_way_ends_with_the_reboot():
    bench = Bench().connect()
    bench.ask("Reset", type="Hard")
    bench.charge()
    bench.wait(6)
    bench.connect()
    assert [one["reason"] for one in bench.all("StopTransaction")] == ["Reboot"]


# The rest of the surface


def test_wishes_to_wake_are_told_again_only_when_they_change_or_time_is_told():
    machine = VirtualCharger(Nameplate("CP1"), 1, START)
    wish = WakeAt(START + timedelta(seconds=30))
    assert wish in machine.connected(START)
    assert wish not in machine.received("", START)
    assert machine.tick(START) == [wish]


def test_the_button_is_heard_when_it_is_enabled():
    bench = Bench().connect()
    bench.do(bench.machine.press_button(bench.now))
    assert bench.log[-1] == "button: disabled"
    bench.set_key("SmartButtonEnabled", "true")
    bench.do(bench.machine.press_button(bench.now))
    assert bench.all("DataTransfer")[0]["messageId"] == "ButtonPressed"


def test_a_fault_ends_what_charges_and_is_told():
    bench = Bench().connect().charge()
    bench.do(bench.machine.fault(1, "GroundFailure", bench.now))
    assert bench.all("StatusNotification")[-1]["errorCode"] == "GroundFailure"
    assert bench.all("StopTransaction")[0]["reason"] == "Other"
    bench.do(bench.machine.clear_fault(1, bench.now))
    assert bench.status == "Finishing"


def test_verdicts_about_stopped_tags_are_learned():
    bench = Bench().connect().charge()
    bench.answers["StopTransaction"] = lambda _: {"idTagInfo": {"status": "Blocked"}}
    bench.swipe()
    bench.charge("B")
    bench.answers["StopTransaction"] = lambda _: {}
    bench.swipe("B")
    bench.lose()
    bench.swipe("TAG")
    assert bench.log[-1] == "card TAG: Blocked"


def test_the_snapshot_tells_what_a_person_wants_to_see():
    bench = Bench().connect().charge()
    bench.wait(60)
    shown = bench.machine.snapshot()
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["network"], shown["online"], shown["queue"]) == (True, True, 0)
    one = shown["connectors"][0]
    assert (one["status"], one["transaction"], one["current_a"]) == ("Charging", 101, [16, 16, 16])
    assert one["offered_a"] == 32
    assert bench.machine.is_charging_session(1)
    assert bench.machine.ping_interval_s == 60
    assert bench.machine.connectors == (1,)


def test_a_naive_time_is_refused():
    with pytest.raises(AssertionError):
        VirtualCharger(Nameplate("CP1"), 1, START.replace(tzinfo=None))


# Invariants, whatever people and networks do

moves = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3, 31, 61, 700, 5000])),
        st.tuples(st.just("plug"), st.integers(1, 2)),
        st.tuples(st.just("unplug"), st.integers(1, 2)),
        st.tuples(st.just("swipe"), st.sampled_from(["A", "B", "C"])),
        st.tuples(
            st.sampled_from(["lose", "connect", "cut", "mend", "power", "reset", "mute", "refuse"]), st.none()
        ),
        st.tuples(st.just("max"), st.integers(0, 40)),
        st.tuples(st.just("default"), st.integers(0, 40)),
        st.tuples(st.just("fault"), st.integers(0, 2)),
    ),
    max_size=40,
)  # fmt: skip


class World(Bench):
    """A bench that checks the invariants after each move."""

    def __init__(self) -> None:
        super().__init__(connectors=2, fuse_a=25)
        self.meters = [0, 0]
        self.set_up()

    def set_up(self) -> None:
        self.connect()
        self.set_key("AllowOfflineTxForUnknownId", "true")
        self.set_key("TransactionMessageAttempts", "1000000")

    @property
    def is_online(self) -> bool:
        return bool(self.machine.snapshot()["online"])

    def move(self, kind: str, value: Any) -> None:
        # No two sessions begin in one instant, else the test could not tell them apart.
        self.wait(1)
        match kind:
            case "wait":
                self.wait(value)
            case "plug":
                self.plug(CAR, value)
            case "unplug":
                self.unplug(value)
            case "swipe":
                self.swipe(value)
            case "lose":
                self.lose()
            case "connect" if not self.is_online and self.machine.may_connect:
                self.connect()
            case "cut":
                self.do(self.machine.cut_network(self.now))
            case "mend":
                self.do(self.machine.restore_network(self.now))
            case "power":
                self.do(self.machine.power_cut(5, self.now))
            case "mute":
                self.is_mute = not self.is_mute
            case "refuse" if self.open_id is not None and self.is_online:
                self.refuse()
            case "fault":
                self.do(self.machine.fault(value, "OtherError", self.now))
                self.do(self.machine.clear_fault(value, self.now))
            case "reset" | "max" | "default" if self.is_online:
                self.command(kind, value)
        self.check()

    def command(self, kind: str, value: Any) -> None:
        if kind == "reset":
            self.ask("Reset", type="Soft")
        else:
            purpose = {"max": "ChargePointMaxProfile", "default": "TxDefaultProfile"}[kind]
            number = {"max": 1, "default": 2}[kind]
            wished = profile(value, purpose=purpose, number=number)
            self.ask("SetChargingProfile", connectorId=0, csChargingProfiles=wished)

    def check(self) -> None:
        states = [self.state(number) for number in (1, 2)]
        offers = [state["offered_a"] for state in states]
        assert sum(offers) <= 25 + 1e-6
        for state in states:
            assert max(state["current_a"]) <= min(state["offered_a"], CAR.limit_a) + 1e-6
        meters = [state["meter_wh"] for state in states]
        assert all(now >= before for now, before in zip(meters, self.meters, strict=True))
        self.meters = meters


@settings(max_examples=40, deadline=None)
@given(moves)
def test_invariants_hold_whatever_happens(given_moves):
    world = World()
    for kind, value in given_moves:
        world.move(kind, value)
    # Mend everything: then all that was charged must have been told, in order and without gaps.
    world.is_mute = False
    world.do(world.machine.restore_network(world.now))
    world.lose()
    world.connect()
    world.wait(3600)
    for number in (1, 2):
        world.unplug(number)
    # A reset that waited may have gone through in between.
    world.wait(60)
    if not world.is_online:
        world.connect()
    world.wait(3600, step_s=600)
    assert world.machine.snapshot()["transaction_messages"] == 0
    starts = {json.dumps(one) for one in world.all("StartTransaction")}
    stops = {json.dumps({**one, "transactionId": 0}) for one in world.all("StopTransaction")}
    numbers = {one["transactionId"] for one in world.all("StopTransaction")}
    assert len(starts) == len(stops) == len(numbers)
    told = [
        (payload.get("timestamp") or payload["meterValue"][0]["timestamp"], action)
        for action, payload in world.said
        if action in TX_ACTIONS
    ]
    # A message may be said again after a cut, right where it was; it never overtakes.
    assert [at for at, _ in told] == sorted(at for at, _ in told)

from __future__ import annotations

import pytest

from tests.unit.sim.driving import CAR, Bench
from voltyard.sim.car import Car
from voltyard.sim.station import Nameplate

REFUSED = {"idTagInfo": {"status": "Invalid"}}


def test_a_card_may_come_before_the_car():
    bench = Bench().connect()
    bench.swipe()
    assert bench.status == "Preparing"
    bench.wait(59)
    bench.plug()
    assert bench.status == "Charging"


def test_a_card_without_a_car_is_forgotten_after_the_connection_time_out():
    bench = Bench().connect()
    bench.set_key("ConnectionTimeOut", "20")
    bench.swipe()
    bench.wait(20)
    assert bench.statuses() == ["Available", "Preparing", "Available"]
    bench.set_key("ConnectionTimeOut", "0")
    bench.swipe()
    bench.wait(5000)
    assert bench.status == "Preparing"


def test_the_same_card_again_takes_it_back():
    bench = Bench().connect()
    bench.swipe()
    bench.swipe()
    assert bench.status == "Available"


def test_a_refused_card_begins_nothing():
    bench = Bench().connect()
    bench.answers["Authorize"] = lambda _: REFUSED
    bench.charge()
    assert bench.status == "Preparing"
    assert bench.all("StartTransaction") == []


def test_unplugging_ends_the_session_or_suspends_it_as_the_key_says():
    bench = Bench().connect().charge()
    bench.unplug()
    assert bench.all("StopTransaction")[0]["reason"] == "EVDisconnected"
    bench.unplug()
    bench.set_key("StopTransactionOnEVSideDisconnect", "false")
    bench.charge()
    bench.unplug()
    assert bench.status == "SuspendedEV"
    bench.plug()
    assert bench.status == "Charging"


def test_a_tag_found_invalid_after_the_start_ends_the_session_or_its_energy():
    bench = Bench().connect()
    bench.answers["StartTransaction"] = lambda _: {"transactionId": 7, **REFUSED}
    bench.charge()
    assert bench.all("StopTransaction")[0]["reason"] == "DeAuthorized"
    bench.set_key("StopTransactionOnInvalidId", "false")
    bench.charge()
    assert bench.status == "SuspendedEVSE"
    before = bench.state()["meter_wh"]
    bench.wait(600)
    assert bench.state()["meter_wh"] == before


def test_a_verdict_that_comes_after_the_end_changes_nothing():
    bench = Bench().connect()
    bench.answers["StartTransaction"] = lambda _: None
    bench.charge()
    bench.unplug()
    bench.reply({"transactionId": 7, **REFUSED})
    assert [one["transactionId"] for one in bench.all("StopTransaction")] == [7]


def test_a_card_of_the_same_group_may_end_a_session_and_no_other():
    groups = {"A": "G", "B": "G", "C": "H"}
    bench = Bench().connect()
    bench.answers["Authorize"] = lambda asked: {
        "idTagInfo": {"status": "Accepted", "parentIdTag": groups[asked["idTag"]]}
    }
    bench.charge("A")
    bench.swipe("C")
    assert bench.status == "Charging"
    bench.swipe("B")
    assert bench.status == "Finishing"
    assert bench.all("StopTransaction")[0]["idTag"] == "B"


def test_a_stranger_cannot_end_a_session_without_a_group():
    bench = Bench().connect().charge("A")
    bench.swipe("B")
    assert bench.log[-1] == "card B: no connector is free"


def test_known_tags_begin_at_once_with_pre_authorisation():
    bench = Bench().connect().charge("A")
    bench.swipe("A")
    bench.set_key("LocalPreAuthorize", "true")
    bench.swipe("A")
    assert len(bench.all("Authorize")) == 1
    assert bench.status == "Charging"


def test_offline_the_cache_decides_unless_the_keys_say_no():
    bench = Bench().connect().charge("A")
    bench.swipe("A")
    bench.lose()
    bench.swipe("B")
    assert not bench.state()["is_charging_session"]
    bench.swipe("A")
    assert bench.state()["is_charging_session"]
    bench.swipe("A")
    bench.connect()
    bench.set_key("LocalAuthorizeOffline", "false")
    bench.lose()
    bench.swipe("A")
    assert not bench.state()["is_charging_session"]


def test_without_a_cache_nothing_is_learned():
    bench = Bench().connect()
    bench.set_key("AuthorizationCacheEnabled", "false")
    bench.charge("A")
    bench.swipe("A")
    bench.set_key("AuthorizationCacheEnabled", "true")
    bench.lose()
    bench.swipe("A")
    assert not bench.state()["is_charging_session"]


def test_free_vending_begins_as_if_its_card_was_scanned():
    bench = Bench().connect()
    bench.set_key("FreeVendEnabled", "true")
    bench.plug()
    assert bench.all("Authorize") == []
    bench.unplug()
    bench.set_key("FreeVendIdTag", "HOUSE")
    bench.plug()
    assert bench.all("StartTransaction")[0]["idTag"] == "HOUSE"


def test_a_card_without_a_connector_goes_where_the_car_goes():
    bench = Bench(connectors=2).connect()
    bench.swipe()
    bench.plug(CAR, 2)
    assert [bench.state(number)["status"] for number in (1, 2)] == ["Available", "Charging"]
    bench.swipe("B", 1)
    bench.unplug(2)
    bench.plug(CAR, 2)
    assert [bench.state(number)["status"] for number in (1, 2)] == ["Preparing", "Preparing"]


def test_a_loose_card_does_not_go_to_a_connector_that_is_kept_or_broken():
    bench = Bench(connectors=2).connect()
    bench.swipe()
    bench.ask("ReserveNow", connectorId=2, expiryDate="2026-03-01T13:00:00Z", idTag="X", reservationId=1)
    bench.plug(CAR, 2)
    assert bench.state(2)["status"] == "Reserved"
    bench.unplug(2)
    bench.do(bench.machine.fault(2, "OtherError", bench.now))
    bench.plug(CAR, 2)
    assert bench.state(1)["status"] == "Preparing"


def test_a_second_car_finds_the_connector_taken():
    bench = Bench().connect()
    bench.plug()
    bench.plug()
    assert bench.log[-1] == "connector 1 already has a car"


def test_a_card_that_is_accepted_too_late_begins_nothing():
    bench = Bench().connect()
    bench.answers["Authorize"] = lambda _: None
    bench.charge()
    bench.do(bench.machine.fault(1, "OtherError", bench.now))
    bench.reply({"idTagInfo": {"status": "Accepted"}})
    assert bench.status == "Faulted"
    assert bench.all("StartTransaction") == []
    bench.swipe("TAG", 1)
    assert bench.log[-1] == "card TAG: the connector is faulted"


def test_a_fault_of_the_charger_is_a_fault_of_each_connector():
    bench = Bench(connectors=2).connect().charge()
    bench.do(bench.machine.fault(0, "HighTemperature", bench.now))
    assert [bench.statuses(number)[-1] for number in (0, 1, 2)] == ["Faulted"] * 3
    bench.do(bench.machine.clear_fault(0, bench.now))
    assert [bench.statuses(number)[-1] for number in (0, 1, 2)] == ["Available", "Finishing", "Available"]


def test_two_connectors_share_the_feed():
    bench = Bench(connectors=2, fuse_a=20).connect()
    bench.plug(CAR, 1)
    bench.swipe("A", 1)
    assert bench.state(1)["offered_a"] == 20
    bench.plug(CAR, 2)
    bench.swipe("B", 2)
    assert [bench.state(number)["offered_a"] for number in (1, 2)] == [10, 10]


def test_the_first_is_served_when_the_feed_is_too_small_for_two():
    bench = Bench(connectors=2, fuse_a=11).connect()
    for number in (1, 2):
        bench.plug(CAR, number)
        bench.swipe(f"T{number}", number)
        bench.wait(1)
    assert [bench.state(number)["status"] for number in (1, 2)] == ["Charging", "SuspendedEVSE"]


def test_transaction_data_is_told_when_the_key_names_it():
    bench = Bench().connect()
    bench.set_key("StopTxnSampledData", "Energy.Active.Import.Register")
    bench.charge()
    bench.wait(600)
    bench.swipe()
    data = bench.all("StopTransaction")[0]["transactionData"]
    assert [one["sampledValue"][0]["context"] for one in data] == ["Transaction.Begin", "Transaction.End"]


def test_clock_aligned_values_are_told_without_a_session_only_while_online():
    bench = Bench().connect()
    bench.set_key("ClockAlignedDataInterval", "900")
    bench.wait(1800)
    assert len(bench.all("MeterValues")) == 2
    assert "transactionId" not in bench.all("MeterValues")[0]
    assert bench.all("MeterValues")[0]["meterValue"][0]["timestamp"] == "2026-03-01T12:15:00.000Z"
    bench.lose()
    bench.wait(1800)
    bench.connect()
    assert len(bench.all("MeterValues")) == 2
    bench.set_key("ClockAlignedDataInterval", "0")
    bench.wait(1800)
    assert len(bench.all("MeterValues")) == 2


def test_no_sample_is_taken_when_nothing_is_to_be_measured():
    bench = Bench().connect()
    bench.set_key("MeterValuesSampledData", "")
    bench.charge()
    bench.wait(300)
    assert bench.all("MeterValues") == []
    bench.set_key("MeterValueSampleInterval", "0")
    bench.wait(300)
    assert not any(name == "sample" for name, _ in bench.machine._station.timers)


def test_a_heartbeat_does_not_queue_behind_another():
    bench = Bench(call_timeout_s=10_000).connect()
    bench.set_key("HeartbeatInterval", "10")
    bench.is_mute = True
    bench.wait(100)
    assert bench.machine.snapshot()["queue"] == 0


def test_a_single_phase_charger_draws_on_one_phase():
    bench = Bench(phases=1).connect().charge(car=Car(phases=3, limit_a=16, ramp_a_per_s=100))
    bench.wait(60)
    assert bench.state()["current_a"] == [16, 0, 0]
    assert bench.state()["power_w"] == 16 * 230


@pytest.mark.parametrize("wrong", [{"connectors": 0}, {"phases": 2}, {"fuse_a": 5}, {"rating_a": 1}])
def test_an_impossible_charger_is_refused(wrong):
    with pytest.raises(AssertionError):
        Nameplate("CP1", **wrong)

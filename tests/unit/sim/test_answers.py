from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.sim.driving import CAR, Bench, profile


@pytest.fixture
def bench() -> Bench:
    return Bench().connect()


LATER = "2026-03-01T13:00:00Z"


def reserve(bench: Bench, tag: str = "KEPT", number: int = 1, reservation: int = 5, **more: object) -> str:
    answer = bench.ask(
        "ReserveNow", connectorId=number, expiryDate=LATER, idTag=tag, reservationId=reservation, **more
    )
    return str(answer["status"])


# Remote start and stop


def test_a_remote_start_begins_when_a_car_is_there_and_a_remote_stop_ends_it(bench):
    bench.plug()
    assert bench.ask("RemoteStartTransaction", idTag="R", connectorId=1) == {"status": "Accepted"}
    assert bench.all("Authorize") == []
    assert bench.ask("RemoteStopTransaction", transactionId=9) == {"status": "Rejected"}
    assert bench.ask("RemoteStopTransaction", transactionId=101) == {"status": "Accepted"}
    stop = bench.all("StopTransaction")[0]
    assert (stop["reason"], "idTag" in stop) == ("Remote", False)


def test_a_remote_start_waits_for_a_car_as_long_as_the_connection_time_out(bench):
    assert bench.ask("RemoteStartTransaction", idTag="R")["status"] == "Accepted"
    assert bench.status == "Preparing"
    bench.wait(60)
    assert bench.status == "Available"
    bench.plug()
    assert bench.all("StartTransaction") == []


def test_a_remote_start_is_authorised_when_the_key_says_so(bench):
    bench.set_key("AuthorizeRemoteTxRequests", "true")
    bench.plug()
    bench.ask("RemoteStartTransaction", idTag="R")
    assert bench.actions()[-3:] == ["Authorize", "StartTransaction", "StatusNotification"]


def test_a_remote_start_that_cannot_be_is_rejected(bench):
    def start(**more):
        return bench.ask("RemoteStartTransaction", idTag="R", **more)["status"]

    assert start(connectorId=7) == "Rejected"
    assert start(chargingProfile=profile(purpose="TxDefaultProfile")) == "Rejected"
    assert start(chargingProfile=profile(purpose="TxProfile", level=99)) == "Rejected"
    reserve(bench)
    assert start() == "Rejected"
    bench.ask("CancelReservation", reservationId=5)
    bench.charge()
    assert start() == "Rejected"


def test_a_remote_start_brings_its_profile(bench):
    bench.plug()
    bench.ask("RemoteStartTransaction", idTag="R", chargingProfile=profile(9, purpose="TxProfile"))
    assert bench.state()["offered_a"] == 9
    bench.swipe("R")
    bench.charge("R")
    assert bench.state()["offered_a"] == 32


# Availability and locks


def test_a_locked_connector_begins_nothing_until_it_is_opened(bench):
    assert bench.ask("ChangeAvailability", connectorId=1, type="Inoperative") == {"status": "Accepted"}
    assert bench.status == "Unavailable"
    bench.swipe()
    assert bench.log[-1] == "card TAG: no connector is free"
    bench.swipe("TAG", 1)
    assert bench.log[-1] == "card TAG: the connector is locked"
    assert bench.ask("RemoteStartTransaction", idTag="R")["status"] == "Rejected"
    bench.ask("ChangeAvailability", connectorId=1, type="Operative")
    assert bench.status == "Available"


def test_locking_while_charging_waits_for_the_end(bench):
    bench.charge()
    assert bench.ask("ChangeAvailability", connectorId=0, type="Inoperative") == {"status": "Scheduled"}
    assert bench.status == "Charging"
    bench.swipe()
    assert bench.status == "Unavailable"
    assert bench.statuses(0)[-1] == "Unavailable"
    assert bench.ask("ChangeAvailability", connectorId=9, type="Operative") == {"status": "Rejected"}


def test_unlocking_ends_the_session(bench):
    bench.charge()
    assert bench.ask("UnlockConnector", connectorId=1) == {"status": "Unlocked"}
    assert bench.all("StopTransaction")[0]["reason"] == "UnlockCommand"
    assert bench.ask("UnlockConnector", connectorId=2) == {"status": "NotSupported"}
    bench.do(bench.machine.fault(1, "ConnectorLockFailure", bench.now))
    assert bench.ask("UnlockConnector", connectorId=1) == {"status": "UnlockFailed"}


def test_a_fixed_cable_cannot_be_unlocked():
    assert Bench(has_cable=True).connect().ask("UnlockConnector", connectorId=1) == {"status": "NotSupported"}


# Configuration


def test_configuration_is_told_and_changed(bench):
    assert len(bench.ask("GetConfiguration")["configurationKey"]) > 40
    answer = bench.ask("GetConfiguration", key=["HeartbeatInterval", "Nonsense"])
    assert answer["configurationKey"][0]["value"] == "300"
    assert answer["unknownKey"] == ["Nonsense"]
    too_many = {"key": ["HeartbeatInterval"] * 51}
    assert bench.error("GetConfiguration", too_many) == "OccurenceConstraintViolation"
    assert bench.set_key("Nonsense", "1") == "NotSupported"
    assert bench.set_key("MaxCurrent", "16") == "RebootRequired"


def test_new_intervals_take_effect_at_once(bench):
    bench.charge()
    bench.set_key("HeartbeatInterval", "10")
    bench.set_key("MeterValueSampleInterval", "5")
    bench.set_key("ClockAlignedDataInterval", "30")
    bench.wait(60, 1)
    assert len(bench.all("Heartbeat")) == 6
    contexts = [one["meterValue"][0]["sampledValue"][0]["context"] for one in bench.all("MeterValues")]
    assert (contexts.count("Sample.Periodic"), contexts.count("Sample.Clock")) == (12, 2)
    bench.set_key("HeartbeatInterval", "0")
    bench.wait(1000)
    assert len(bench.all("Heartbeat")) == 6


def test_the_installers_limit_takes_effect_after_a_reboot(bench):
    bench.set_key("MaxCurrent", "10")
    bench.charge()
    assert bench.state()["offered_a"] == 32
    bench.ask("Reset", type="Hard")
    bench.wait(6)
    bench.connect()
    bench.swipe()
    assert bench.state()["offered_a"] == 10


# Charging profiles


def test_limits_are_composed_of_the_ceiling_and_the_winner(bench):
    bench.charge()

    def put(number, limit, purpose, connector=0, **more):
        wished = profile(limit, purpose=purpose, number=number, **more)
        return bench.ask("SetChargingProfile", connectorId=connector, csChargingProfiles=wished)["status"]

    assert put(1, 20, "TxDefaultProfile") == "Accepted"
    assert bench.state()["offered_a"] == 20
    assert put(2, 25, "TxProfile", 1, transactionId=101) == "Accepted"
    assert bench.state()["offered_a"] == 25
    assert put(3, 13.8, "ChargePointMaxProfile") == "Accepted"
    assert bench.state()["offered_a"] == 13.8
    assert put(4, 4140, "ChargePointMaxProfile", unit="W", level=1) == "Accepted"
    assert bench.state()["offered_a"] == pytest.approx(6)
    assert put(5, 5.9, "TxProfile", 1, level=2) == "Accepted"
    assert bench.status == "SuspendedEVSE"
    assert bench.ask("ClearChargingProfile", id=5) == {"status": "Accepted"}
    assert bench.ask("ClearChargingProfile", id=5) == {"status": "Unknown"}
    assert bench.status == "Charging"
    bench.ask("ClearChargingProfile")
    assert bench.state()["offered_a"] == 32


@pytest.mark.parametrize(
    ("connector", "wished"),
    [
        (9, profile()),
        (1, profile(purpose="ChargePointMaxProfile")),
        (1, profile(purpose="TxProfile")),
        (0, profile(purpose="TxProfile")),
        (1, profile(level=9)),
        (1, profile(periods=[{"startPeriod": at, "limit": 6} for at in range(97)])),
    ],
)
def test_a_profile_that_does_not_fit_is_rejected(bench, connector, wished):
    answer = bench.ask("SetChargingProfile", connectorId=connector, csChargingProfiles=wished)
    assert answer == {"status": "Rejected"}


def test_a_profile_for_another_transaction_is_rejected(bench):
    bench.charge()
    wished = profile(purpose="TxProfile", transactionId=999)
    assert bench.ask("SetChargingProfile", connectorId=1, csChargingProfiles=wished)["status"] == "Rejected"


def test_the_shelf_has_an_end(bench):
    for number in range(33):
        wished = profile(number=number, level=number % 9, purpose="TxDefaultProfile")
        wished["validTo"] = LATER
        place = number % 2
        answer = bench.ask("SetChargingProfile", connectorId=place, csChargingProfiles=wished)
    assert answer["status"] == "Accepted"
    bench.machine._station.profiles.held *= 2
    assert (
        bench.ask("SetChargingProfile", connectorId=0, csChargingProfiles=profile())["status"] == "Rejected"
    )


def test_the_composite_schedule_tells_what_will_be_offered(bench):
    bench.ask(
        "SetChargingProfile",
        connectorId=0,
        csChargingProfiles=profile(
            purpose="ChargePointMaxProfile",
            number=1,
            schedule={"startSchedule": "2026-03-01T12:10:00Z", "duration": 600},
        ),
    )
    bench.charge()
    bench.ask(
        "SetChargingProfile",
        connectorId=1,
        csChargingProfiles=profile(
            purpose="TxProfile",
            number=2,
            kind="Relative",
            periods=[{"startPeriod": 0, "limit": 16}, {"startPeriod": 900, "limit": 7}],
        ),
    )
    answer = bench.ask("GetCompositeSchedule", connectorId=1, duration=3600)
    periods = [
        (one["startPeriod"], one["limit"]) for one in answer["chargingSchedule"]["chargingSchedulePeriod"]
    ]
    assert periods == [(0, 16.0), (600, 10.0), (900, 7.0)]
    answer = bench.ask("GetCompositeSchedule", connectorId=0, duration=900, chargingRateUnit="W")
    periods = [
        (one["startPeriod"], one["limit"]) for one in answer["chargingSchedule"]["chargingSchedulePeriod"]
    ]
    assert periods == [(0, 22080.0), (600, 6900.0)]
    assert bench.ask("GetCompositeSchedule", connectorId=5, duration=60) == {"status": "Rejected"}


def test_the_composite_schedule_keeps_equal_periods_together(bench):
    bench.ask(
        "SetChargingProfile",
        connectorId=1,
        csChargingProfiles=profile(
            periods=[{"startPeriod": 0, "limit": 16}, {"startPeriod": 60, "limit": 16}]
        ),
    )
    answer = bench.ask("GetCompositeSchedule", connectorId=1, duration=600)
    assert len(answer["chargingSchedule"]["chargingSchedulePeriod"]) == 1


# Lists, caches, reservations


def listed(bench: Bench, version: int, kind: str, *entries: tuple[str, str | None]) -> str:
    rows = [
        {"idTag": tag, **({"idTagInfo": {"status": status}} if status else {})} for tag, status in entries
    ]
    answer = bench.ask("SendLocalList", listVersion=version, updateType=kind, localAuthorizationList=rows)
    return str(answer["status"])


def test_the_local_list_is_kept_by_version_and_used_offline(bench):
    assert bench.ask("GetLocalListVersion") == {"listVersion": 0}
    assert listed(bench, 3, "Full", ("A", "Accepted"), ("B", "Blocked")) == "Accepted"
    assert listed(bench, 3, "Differential", ("C", "Accepted")) == "VersionMismatch"
    assert listed(bench, 4, "Differential", ("B", None), ("C", "Accepted")) == "Accepted"
    assert bench.ask("GetLocalListVersion") == {"listVersion": 4}
    assert listed(bench, 5, "Full", *[(f"T{n}", "Accepted") for n in range(101)]) == "Failed"
    bench.lose()
    bench.charge("B")
    assert not bench.state()["is_charging_session"]
    bench.swipe("C")
    assert bench.state()["is_charging_session"]


def test_without_the_list_enabled_there_is_none(bench):
    bench.set_key("LocalAuthListEnabled", "false")
    assert listed(bench, 1, "Full") == "NotSupported"
    assert bench.ask("GetLocalListVersion") == {"listVersion": -1}


def test_a_list_may_be_emptied(bench):
    assert bench.ask("SendLocalList", listVersion=2, updateType="Full") == {"status": "Accepted"}


def test_the_cache_is_cleared_when_there_is_one(bench):
    assert bench.ask("ClearCache") == {"status": "Accepted"}
    bench.set_key("AuthorizationCacheEnabled", "false")
    assert bench.ask("ClearCache") == {"status": "Rejected"}


def test_a_reserved_connector_waits_for_its_card(bench):
    assert reserve(bench) == "Accepted"
    assert bench.status == "Reserved"
    bench.charge("STRANGER")
    assert bench.all("Authorize") == []
    bench.swipe("KEPT")
    assert bench.all("StartTransaction")[0]["reservationId"] == 5
    bench.swipe("KEPT")
    assert bench.status == "Finishing"


def test_a_card_of_the_same_group_may_use_the_reservation(bench):
    groups = {"FRIEND": "G", "STRANGER": "H"}
    bench.answers["Authorize"] = lambda asked: {
        "idTagInfo": {"status": "Accepted", "parentIdTag": groups[asked["idTag"]]}
    }
    reserve(bench, parentIdTag="G")
    bench.charge("STRANGER")
    assert bench.log[-1] == "card STRANGER: too late or not for this connector"
    bench.swipe("FRIEND")
    assert bench.status == "Charging"


def test_a_reservation_ends_by_itself_or_is_cancelled(bench):
    reserve(bench)
    assert bench.ask("CancelReservation", reservationId=6) == {"status": "Rejected"}
    assert bench.ask("CancelReservation", reservationId=5) == {"status": "Accepted"}
    assert bench.status == "Available"
    reserve(bench)
    bench.wait(3600)
    assert bench.status == "Available"


def test_a_reservation_is_refused_as_the_state_says():
    bench = Bench(connectors=2).connect()
    assert reserve(bench, number=0) == "Rejected"
    assert reserve(bench) == "Accepted"
    assert reserve(bench, number=2) == "Accepted"
    assert bench.status == "Available"
    assert reserve(bench, number=2) == "Accepted"
    assert reserve(bench, number=2, reservation=6) == "Occupied"
    bench.do(bench.machine.fault(1, "OtherError", bench.now))
    assert reserve(bench, number=1) == "Faulted"
    bench.do(bench.machine.clear_fault(1, bench.now))
    bench.ask("ChangeAvailability", connectorId=1, type="Inoperative")
    assert reserve(bench, number=1) == "Unavailable"
    bench.now += timedelta(hours=2)
    assert reserve(bench, number=1) == "Rejected"


# Messages on demand


def test_every_message_can_be_triggered():
    bench = Bench(connectors=2).connect()
    bench.plug(CAR, 1)
    bench.swipe("TAG", 1)
    seen = len(bench.said)

    def trigger(message, **more):
        return bench.ask("TriggerMessage", requestedMessage=message, **more)["status"]

    for message in (
        "BootNotification",
        "Heartbeat",
        "MeterValues",
        "StatusNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
    ):
        assert trigger(message) == "Accepted"
    assert bench.actions()[seen:] == [
        "BootNotification",
        "Heartbeat",
        *["MeterValues"] * 2,
        *["StatusNotification"] * 3,
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
    ]
    values = bench.all("MeterValues")
    assert [one.get("transactionId") for one in values] == [101, None]
    assert trigger("StatusNotification", connectorId=2) == "Accepted"
    assert bench.all("StatusNotification")[-1]["connectorId"] == 2
    assert trigger("StatusNotification", connectorId=3) == "Rejected"
    bench.set_key("MeterValuesSampledData", "")
    assert trigger("MeterValues") == "Accepted"
    assert len(bench.all("MeterValues")) == 2
    asked = '[2,"x","TriggerMessage",{"requestedMessage":"SignCertificate"}]'
    bench.do(bench.machine.received(asked, bench.now))
    assert bench.result[2] == {"status": "NotImplemented"}


def test_data_transfer_knows_its_vendor_and_an_echo(bench):
    def ask(**payload):
        return bench.ask("DataTransfer", **payload)

    assert ask(vendorId="Else") == {"status": "UnknownVendorId"}
    assert ask(vendorId="Voltyard Sim", messageId="Sing") == {"status": "UnknownMessageId"}
    assert ask(vendorId="Voltyard Sim", messageId="Echo", data="hi") == {"status": "Accepted", "data": "hi"}
    assert ask(vendorId="Voltyard Sim", messageId="Echo") == {"status": "Accepted", "data": ""}


def test_a_malformed_command_changes_nothing(bench):
    bad = {"connectorId": 1, "expiryDate": "tomorrow", "idTag": "A", "reservationId": 1}
    assert bench.error("ReserveNow", bad) == "TypeConstraintViolation"
    assert bench.status == "Available"

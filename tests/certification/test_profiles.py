"""The test cases of the other profiles, from local lists to smart charging: TC_042 … TC_067."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.certification.conftest import CARD, Station
from tests.certification.point import Payload, hours_ago
from tests.e2e.library_charger import instant

# --- the local list -------------------------------------------------------------------------------


def listed(*tags: str) -> list[Payload]:
    return [{"idTag": tag, "idTagInfo": {"status": "Accepted"}} for tag in tags]


async def test_tc_042_1_get_local_list_version_not_supported(cp: Station):
    asked = await cp.expect("GetLocalListVersion", {"listVersion": -1})
    assert (asked["status"], asked["word"]) == ("rejected", "NotSupported")


async def test_tc_042_2_get_local_list_version_empty(cp: Station):
    asked = await cp.expect("GetLocalListVersion", {"listVersion": 0})
    assert (asked["status"], asked["answer"]) == ("executed", {"listVersion": 0})


async def send_list(cp: Station, word: str, kind: str = "Full", version: int = 1_001) -> Payload:
    return await cp.expect(
        "SendLocalList",
        {"status": word},
        listVersion=version,
        updateType=kind,
        localAuthorizationList=listed(CARD),
    )


async def test_tc_043_1_send_local_list_not_supported(cp: Station):
    asked = await send_list(cp, "NotSupported")
    assert (asked["status"], asked["word"]) == ("rejected", "NotSupported")


async def test_tc_043_3_send_local_list_failed(cp: Station):
    asked = await send_list(cp, "Failed")
    assert (asked["status"], asked["word"]) == ("rejected", "Failed")


async def test_tc_043_4_send_local_list_full(cp: Station):
    asked = await send_list(cp, "Accepted")
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")


async def test_tc_043_5_send_local_list_differential(cp: Station):
    assert (await send_list(cp, "Accepted"))["word"] == "Accepted"
    asked = await cp.expect("GetLocalListVersion", {"listVersion": 1_001})
    assert asked["answer"] == {"listVersion": 1_001}
    asked = await cp.expect(
        "SendLocalList",
        {"status": "Accepted"},
        listVersion=1_002,
        updateType="Differential",
        localAuthorizationList=listed("CARD2"),
    )
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")


# --- firmware and diagnostics ---------------------------------------------------------------------


async def update_firmware(cp: Station, *statuses: str) -> None:
    """Ask for new firmware and tell these statuses; the charger restarts after Installing."""
    asked = await cp.ask(
        "UpdateFirmware",
        location="https://files.example.com/firmware.bin",
        retrieveDate=instant(hours_ago(-1)),
        retries=1,
        retryInterval=1,
    )
    assert asked["status"] == "executed"
    for status in statuses:
        assert await cp.say("FirmwareStatusNotification", status=status) == {}
        if status == "Downloaded":
            await cp.all_are("Unavailable")
        if status == "Installing":
            await cp.leave()
            await cp.connect()
            assert (await cp.boot())["status"] == "Accepted"
            await cp.all_are("Available")
    assert await cp.shown_status() == "Available"


async def test_tc_044_1_firmware_update_download_and_install(cp: Station):
    await update_firmware(cp, "Downloading", "Downloaded", "Installing", "Installed")


async def test_tc_044_2_firmware_update_download_failed(cp: Station):
    await update_firmware(cp, "Downloading", "DownloadFailed")


async def test_tc_044_3_firmware_update_installation_failed(cp: Station):
    await update_firmware(cp, "Downloading", "Downloaded", "Installing", "InstallationFailed")


async def get_diagnostics(cp: Station, last: str) -> None:
    asked = await cp.ask(
        "GetDiagnostics",
        location="ftp://files.example.com/diagnostics",
        startTime=instant(hours_ago(2)),
        stopTime=instant(hours_ago(1)),
        retries=1,
        retryInterval=1,
    )
    assert (asked["status"], asked["answer"]) == ("executed", {"fileName": "diagnostics.txt"})
    for status in ("Uploading", last):
        assert await cp.say("DiagnosticsStatusNotification", status=status) == {}


async def test_tc_045_1_get_diagnostics(cp: Station):
    await get_diagnostics(cp, "Uploaded")


async def test_tc_045_2_get_diagnostics_upload_failed(cp: Station):
    await get_diagnostics(cp, "UploadFailed")


# --- reservation ----------------------------------------------------------------------------------

RESERVED = 7_001


async def reserve(cp: Station, word: str = "Accepted", connector: int = 1, **more: Any) -> Payload:
    asked = await cp.expect(
        "ReserveNow",
        {"status": word},
        connectorId=connector,
        expiryDate=instant(hours_ago(-1)),
        idTag=CARD,
        reservationId=RESERVED,
        **more,
    )
    assert asked["word"] == word
    return asked


async def test_tc_046_reservation_of_a_connector_transaction(cp: Station):
    assert (await reserve(cp))["status"] == "executed"
    await cp.status("Reserved")
    assert await cp.shown_status() == "Reserved"
    number = await cp.charging(CARD, reservationId=RESERVED)
    assert (await cp.transaction())["number"] == number


async def test_tc_047_reservation_of_a_connector_expire(cp: Station):
    await reserve(cp)
    await cp.status("Reserved")
    await cp.status("Available")
    assert await cp.shown_status() == "Available"


async def refuse_reservation(cp: Station, word: str) -> None:
    assert (await reserve(cp, word))["status"] == "rejected"


async def test_tc_048_1_reservation_of_a_connector_faulted(cp: Station):
    await cp.status("Faulted", error="OtherError")
    await refuse_reservation(cp, "Faulted")


async def test_tc_048_2_reservation_of_a_connector_occupied(cp: Station):
    await cp.status("Preparing")
    await refuse_reservation(cp, "Occupied")


async def test_tc_048_3_reservation_of_a_connector_unavailable(cp: Station):
    asked = await cp.ask("ChangeAvailability", connectorId=1, type="Inoperative")
    assert asked["word"] == "Accepted"
    await cp.status("Unavailable")
    await refuse_reservation(cp, "Unavailable")


async def test_tc_048_4_reservation_of_a_connector_rejected(cp: Station):
    await refuse_reservation(cp, "Rejected")


async def test_tc_049_reservation_of_a_charge_point_transaction(cp: Station):
    assert (await reserve(cp, connector=0))["status"] == "executed"
    await cp.status("Reserved", 1)
    await cp.charging(CARD, reservationId=RESERVED)
    assert (await cp.transaction())["status"] == "active"


async def test_tc_051_cancel_reservation(cp: Station):
    await reserve(cp)
    await cp.status("Reserved")
    asked = await cp.ask("CancelReservation", reservationId=RESERVED)
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    await cp.status("Available")
    assert await cp.shown_status() == "Available"


async def test_tc_052_cancel_reservation_rejected(cp: Station):
    await reserve(cp)
    await cp.status("Reserved")
    asked = await cp.expect("CancelReservation", {"status": "Rejected"}, reservationId=RESERVED)
    assert (asked["status"], asked["word"]) == ("rejected", "Rejected")
    assert await cp.shown_status() == "Reserved"


async def test_tc_053_use_a_reserved_connector_with_parent_id_tag(cp: Station):
    await cp.person("POST", f"/locations/{cp.location_id}/cards", name="Bob", id_token="CARD2")
    await reserve(cp, parentIdTag="FAMILY")
    await cp.status("Reserved")
    await cp.charging("CARD2", reservationId=RESERVED)
    assert (await cp.transaction())["id_token"] == "CARD2"


# --- remote trigger -------------------------------------------------------------------------------


async def trigger(cp: Station, what: str, *, connector: int | None = None, word: str = "Accepted") -> Payload:
    place = {} if connector is None else {"connectorId": connector}
    asked = await cp.expect("TriggerMessage", {"status": word}, requestedMessage=what, **place)
    assert asked["word"] == word
    return asked


async def test_tc_054_trigger_message(cp: Station):
    await trigger(cp, "MeterValues", connector=1)
    sample = {"value": "25", "context": "Trigger", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    values = [{"timestamp": instant(), "sampledValue": [sample]}]
    assert await cp.say("MeterValues", connectorId=1, meterValue=values) == {}
    await trigger(cp, "Heartbeat")
    assert "currentTime" in await cp.say("Heartbeat")
    await trigger(cp, "StatusNotification", connector=1)
    await cp.status("Available")
    await trigger(cp, "DiagnosticsStatusNotification")
    assert await cp.say("DiagnosticsStatusNotification", status="Idle") == {}
    await trigger(cp, "FirmwareStatusNotification")
    assert await cp.say("FirmwareStatusNotification", status="Idle") == {}
    await trigger(cp, "BootNotification")
    assert (await cp.boot())["status"] == "Accepted"
    assert (await cp.see())["connectors"][0]["reading"]["energy_wh"] == 25


async def test_tc_055_trigger_message_rejected(cp: Station):
    assert (await trigger(cp, "MeterValues", connector=1, word="Rejected"))["status"] == "rejected"


# --- smart charging -------------------------------------------------------------------------------


def profile(purpose: str, *, number: int = 1, limit: float = 6.0, **more: Any) -> Payload:
    """Return an absolute profile of an hour, from now."""
    starts = hours_ago(0)
    return {
        "chargingProfileId": number,
        "stackLevel": 0,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Absolute",
        "validFrom": instant(starts),
        "validTo": instant(starts + timedelta(hours=2)),
        "chargingSchedule": {
            "duration": 3_600,
            "startSchedule": instant(starts),
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit, "numberPhases": 3}],
        },
        **more,
    }


async def set_profile(cp: Station, connector: int, wanted: Payload) -> None:
    asked = await cp.ask("SetChargingProfile", connectorId=connector, csChargingProfiles=wanted)
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")


async def test_tc_056_central_smart_charging_tx_default_profile(cp: Station):
    await set_profile(cp, 1, profile("TxDefaultProfile"))


async def test_tc_057_central_smart_charging_tx_profile(cp: Station):
    number = await cp.charging(CARD)
    await set_profile(cp, 1, profile("TxProfile", transactionId=number))


async def test_tc_059_remote_start_with_charging_profile(cp: Station):
    asked = await cp.ask(
        "RemoteStartTransaction", idTag=CARD, connectorId=1, chargingProfile=profile("TxProfile")
    )
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    await cp.charging(CARD)
    assert (await cp.transaction())["status"] == "active"


async def test_tc_066_get_composite_schedule(cp: Station):
    schedule = {
        "chargingRateUnit": "A",
        "duration": 300,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}],
    }
    answer = {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": instant(),
        "chargingSchedule": schedule,
    }
    asked = await cp.expect("GetCompositeSchedule", answer, connectorId=1, duration=300, chargingRateUnit="A")
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert asked["answer"]["chargingSchedule"] == schedule


async def test_tc_067_clear_charging_profile(cp: Station):
    number = await cp.charging(CARD)
    await set_profile(cp, 0, profile("ChargePointMaxProfile", number=1, limit=16.0))
    await set_profile(cp, 1, profile("TxDefaultProfile", number=2, limit=10.0))
    await set_profile(cp, 1, profile("TxProfile", number=3, transactionId=number))
    by_number: Payload = {"id": 1}
    by_kind: Payload = {"connectorId": 1, "chargingProfilePurpose": "TxDefaultProfile", "stackLevel": 0}
    for which in (by_number, by_kind, {}):
        asked = await cp.ask("ClearChargingProfile", **which)
        assert (asked["status"], asked["word"]) == ("executed", "Accepted")

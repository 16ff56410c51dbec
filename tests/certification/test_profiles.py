"""The test cases of the other profiles, from local lists to smart charging: TC_042 … TC_067."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from tests.certification.conftest import CARD, Lab, Station
from tests.certification.point import Payload, hours_ago
from tests.e2e.library_charger import instant
from tests.e2e.server import until

SHORTEST_S = 62

# --- the local list -------------------------------------------------------------------------------


async def follow(cp: Station, state: str) -> Payload:
    """Start the charger, and wait until the list in it stands so."""
    await cp.connect()
    assert (await cp.boot())["status"] == "Accepted"
    await cp.all_are("Available")
    return await until_list(cp, state)


async def until_list(cp: Station, state: str, **wanted: Any) -> Payload:
    async def there() -> Payload | None:
        found = await cp.api("GET", "/local-list")
        return found if found.items() >= ({"state": state} | wanted).items() else None

    return await until(there, f"the local list is {state}", within_s=30)


async def test_tc_042_1_get_local_list_version_not_supported(plain: Station):
    plain.answers["GetLocalListVersion"] = {"listVersion": -1}
    plain.answers["SendLocalList"] = {"status": "NotSupported"}
    plain.keys["SupportedFeatureProfiles"] = ("Core", True)
    for key in ("LocalAuthListEnabled", "LocalAuthListMaxLength", "SendLocalListMaxLength"):
        del plain.keys[key]
    found = await follow(plain, "unsupported")
    assert found["card_count"] == 0
    assert plain.told("SendLocalList") == []
    asked = await plain.ask("GetLocalListVersion")
    assert (asked["status"], asked["word"]) == ("rejected", "NotSupported")


async def test_tc_042_2_get_local_list_version_empty(plain: Station):
    await follow(plain, "in_step")
    plain.answers["GetLocalListVersion"] = {"listVersion": 0}
    asked = await plain.ask("GetLocalListVersion")
    assert (asked["status"], asked["answer"]) == ("executed", {"listVersion": 0})


async def test_tc_043_1_send_local_list_not_supported(plain: Station):
    plain.answers["SendLocalList"] = {"status": "NotSupported"}
    found = await follow(plain, "unsupported")
    assert (found["card_count"], found["word"]) == (0, "NotSupported")


async def test_tc_043_3_send_local_list_failed(plain: Station):
    plain.answers["SendLocalList"] = {"status": "Failed"}
    found = await follow(plain, "failed")
    assert (found["card_count"], found["word"]) == (0, "Failed")


async def test_tc_043_4_send_local_list_full(plain: Station):
    found = await follow(plain, "in_step")
    told = plain.told("SendLocalList")[-1]
    assert told["updateType"] == "Full"
    assert told["listVersion"] > 0
    assert told["localAuthorizationList"] == [{"idTag": CARD, "idTagInfo": {"status": "Accepted"}}]
    assert (found["card_count"], found["version"]) == (1, told["listVersion"])


async def test_tc_043_5_send_local_list_differential(plain: Station):
    before = await follow(plain, "in_step")
    await plain.person("POST", f"/locations/{plain.location_id}/cards", name="Bob", id_token="CARD2")
    after = await until_list(plain, "in_step", card_count=2)
    told = plain.told("SendLocalList")[-1]
    assert told["updateType"] == "Differential"
    assert told["localAuthorizationList"] == [{"idTag": "CARD2", "idTagInfo": {"status": "Accepted"}}]
    assert after["version"] == told["listVersion"] > before["version"]


# --- firmware and diagnostics ---------------------------------------------------------------------


async def update_firmware(cp: Station, *statuses: str, stage: str) -> Payload:
    """Order new firmware and tell these statuses; the charger restarts while it installs."""
    file = await cp.upload_firmware("2.0")
    begun = await cp.api("POST", "/firmware", firmware_id=file["id"], retries=1, retry_interval_s=1)
    (told,) = cp.told("UpdateFirmware")
    assert told["location"].startswith("http")
    assert (told["retries"], told["retryInterval"]) == (1, 1)
    for status in statuses:
        assert await cp.say("FirmwareStatusNotification", status=status) == {}
        if status == "Downloaded":
            await cp.all_are("Unavailable")
        if status == "Installing":
            await cp.leave()
            await cp.connect()
            assert (await cp.boot("2.0" if stage == "installed" else "1.0"))["status"] == "Accepted"
            await cp.all_are("Available")
    assert await cp.shown_status() == "Available"
    return await cp.until_stage(begun["id"], stage)


async def test_tc_044_1_firmware_update_download_and_install(cp: Station):
    statuses = ("Downloading", "Downloaded", "Installing", "Installed")
    done = await update_firmware(cp, *statuses, stage="installed")
    assert (done["version_before"], done["version_after"], done["is_proven"]) == ("1.0", "2.0", True)


async def test_tc_044_2_firmware_update_download_failed(cp: Station):
    done = await update_firmware(cp, "Downloading", "DownloadFailed", stage="download_failed")
    assert not done["is_going_on"]


async def test_tc_044_3_firmware_update_installation_failed(cp: Station):
    statuses = ("Downloading", "Downloaded", "Installing", "InstallationFailed")
    done = await update_firmware(cp, *statuses, stage="install_failed")
    assert not done["is_going_on"]


async def get_diagnostics(cp: Station, last: str, stage: str) -> None:
    address = "ftp://files.example.com/diagnostics"
    begun = await cp.api(
        "POST",
        "/transfers",
        address=address,
        from_at=instant(hours_ago(2)),
        until_at=instant(hours_ago(1)),
        retries=1,
        retry_interval_s=1,
    )
    (told,) = cp.told("GetDiagnostics")
    assert (told["location"], told["retries"], told["retryInterval"]) == (address, 1, 1)
    assert told["startTime"] < told["stopTime"]
    for status in ("Uploading", last):
        assert await cp.say("DiagnosticsStatusNotification", status=status) == {}
    done = await cp.until_stage(begun["id"], stage)
    assert [step["word"] for step in done["steps"]][-2:] == ["Uploading", last]


async def test_tc_045_1_get_diagnostics(cp: Station):
    await get_diagnostics(cp, "Uploaded", "sent")


async def test_tc_045_2_get_diagnostics_upload_failed(cp: Station):
    await get_diagnostics(cp, "UploadFailed", "failed")


# --- reservation ----------------------------------------------------------------------------------


async def reserve(
    cp: Station, connector: int = 1, *, status: int = 201, expires_at: datetime | None = None
) -> Payload:
    """Reserve a connector, and see what the charger was told."""
    until_at = instant(expires_at or hours_ago(-1))
    made = await cp.api(
        "POST",
        "/reservations",
        status=status,
        connector_id=connector,
        id_token=CARD,
        expires_at=until_at,
    )
    told = cp.told("ReserveNow")[-1]
    assert (told["connectorId"], told["idTag"], told["expiryDate"]) == (connector, CARD, until_at)
    assert told["reservationId"] > 0
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def kept(lab: Lab) -> Station:
    """Give a charger whose connector is kept for as short as may be, from the beginning of this file on."""
    station = await lab.settle()
    await station.connect()
    await station.boot()
    await station.all_are("Available")
    shortest = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=SHORTEST_S)
    assert (await reserve(station, expires_at=shortest))["state"] == "active"
    await station.status("Reserved")
    assert await station.shown_status() == "Reserved"
    await station.leave()
    return station


async def reservation(cp: Station) -> Payload:
    """Return the only reservation of the charger."""
    (only,) = (await cp.api("GET", "/reservations"))["items"]
    return only


async def test_tc_046_reservation_of_a_connector_transaction(cp: Station):
    made = await reserve(cp)
    assert (made["state"], made["number"]) == ("active", cp.told("ReserveNow")[-1]["reservationId"])
    await cp.status("Reserved")
    assert await cp.shown_status() == "Reserved"
    number = await cp.charging(CARD, reservationId=made["number"])
    used = await reservation(cp)
    assert (used["state"], used["transaction_number"]) == ("used", number)


async def refuse_reservation(cp: Station, word: str) -> None:
    cp.answers["ReserveNow"] = {"status": word}
    await reserve(cp, status=409)
    refused = await reservation(cp)
    assert (refused["state"], refused["word"]) == ("refused", word)


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
    made = await reserve(cp, 0)
    assert (made["state"], made["connector_id"]) == ("active", 0)
    await cp.status("Reserved", 1)
    number = await cp.charging(CARD, reservationId=made["number"])
    used = await reservation(cp)
    assert (used["state"], used["transaction_number"]) == ("used", number)


async def test_tc_051_cancel_reservation(cp: Station):
    made = await reserve(cp)
    await cp.status("Reserved")
    cancelled = await cp.person("DELETE", f"/reservations/{made['id']}")
    assert cancelled["state"] == "cancelled"
    assert cp.told("CancelReservation") == [{"reservationId": made["number"]}]
    await cp.status("Available")
    assert await cp.shown_status() == "Available"


async def test_tc_052_cancel_reservation_rejected(cp: Station):
    made = await reserve(cp)
    await cp.status("Reserved")
    cp.answers["CancelReservation"] = {"status": "Rejected"}
    await cp.person("DELETE", f"/reservations/{made['id']}")
    (command,) = await cp.commands("CancelReservation")
    assert (command["status"], command["word"]) == ("rejected", "Rejected")
    # What the charger says of its connector is shown, whatever we believe of the reservation.
    assert await cp.shown_status() == "Reserved"


async def test_tc_053_use_a_reserved_connector_with_parent_id_tag(cp: Station):
    await cp.person("POST", f"/locations/{cp.location_id}/cards", name="Bob", id_token="CARD2")
    asked = await cp.ask(
        "ReserveNow",
        connectorId=1,
        expiryDate=instant(hours_ago(-1)),
        idTag=CARD,
        parentIdTag="FAMILY",
        reservationId=7_001,
    )
    assert asked["word"] == "Accepted"
    await cp.status("Reserved")
    await cp.charging("CARD2", reservationId=7_001)
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


async def test_tc_047_reservation_of_a_connector_expire(kept: Station):
    # Last in this file: the minute has gone by meanwhile.
    (before,) = (await kept.api("GET", "/reservations"))["items"]
    left_s = (datetime.fromisoformat(before["expires_at"]) - datetime.now(UTC)).total_seconds()

    async def is_over() -> bool:
        return (await reservation(kept))["state"] == "expired"

    await until(is_over, "the reservation has expired", within_s=max(0.0, left_s) + 15)
    await kept.connect()
    await kept.status("Available")
    assert await kept.shown_status() == "Available"
    await kept.leave()
    assert kept.wrong == []

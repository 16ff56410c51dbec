"""The test cases of the Core profile: TC_001 … TC_040, TC_061 and TC_064."""

from __future__ import annotations

import re
from datetime import timedelta

from tests.certification.conftest import CARD, Station
from tests.certification.point import KEYS, hours_ago
from tests.e2e.library_charger import instant
from tests.e2e.server import until

# --- cold boot and regular sessions ---------------------------------------------------------------


async def test_tc_001_cold_boot_charge_point(plain: Station):
    await plain.connect()
    boot = await plain.boot()
    assert boot["status"] == "Accepted"
    assert boot["interval"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", boot["currentTime"])
    await plain.all_are("Available")
    assert "currentTime" in await plain.say("Heartbeat")
    charger = await plain.see()
    assert (charger["connection"], charger["vendor"], charger["model"]) == ("online", "Certified", "C2")
    assert (charger["status"], charger["firmware"]) == ("Available", "1.0")
    assert [each["status"] for each in charger["connectors"]] == ["Available", "Available"]


async def test_tc_003_regular_charging_session_plug_in_first(cp: Station):
    await cp.status("Preparing")
    assert (await cp.authorise(CARD))["status"] == "Accepted"
    begun = await cp.begin(CARD, meter=700)
    assert begun["idTagInfo"]["status"] == "Accepted"
    await cp.status("Charging")
    running = await cp.transaction()
    assert (running["number"], running["status"]) == (begun["transactionId"], "active")
    assert (running["id_token"], running["meter_start_wh"]) == (CARD, 700)
    assert await cp.shown_status() == "Charging"


async def test_tc_004_1_regular_charging_session_identification_first(cp: Station):
    assert (await cp.authorise(CARD))["status"] == "Accepted"
    await cp.status("Preparing")
    begun = await cp.begin(CARD)
    assert begun["idTagInfo"]["status"] == "Accepted"
    await cp.status("Charging")
    assert (await cp.transaction())["connector_id"] == 1


async def test_tc_004_2_identification_first_connection_time_out(cp: Station):
    assert (await cp.authorise(CARD))["status"] == "Accepted"
    await cp.status("Preparing")
    assert await cp.shown_status() == "Preparing"
    await cp.status("Available")
    assert await cp.shown_status() == "Available"
    assert await cp.transactions() == []


async def test_tc_005_1_ev_side_disconnected(cp: Station):
    number = await cp.charging(CARD)
    await cp.status("SuspendedEV")
    ended = await cp.end(number, meter=900, idTag=CARD, reason="EVDisconnected")
    assert ended["idTagInfo"]["status"] == "Accepted"
    await cp.status("Finishing")
    await cp.status("Available")
    over = await cp.transaction()
    assert (over["stop_reason"], over["energy_wh"]) == ("EVDisconnected", 900)


async def test_tc_007_regular_start_charging_session_cached_id(cp: Station):
    await cp.status("Preparing")
    begun = await cp.begin(CARD)
    assert begun["idTagInfo"]["status"] == "Accepted"
    assert begun["transactionId"] > 0
    await cp.status("Charging")
    assert (await cp.transaction())["card_id"] is not None


async def test_tc_061_clear_authorization_data_in_authorization_cache(cp: Station):
    cleared = await cp.ask("ClearCache")
    assert (cleared["status"], cleared["word"]) == ("executed", "Accepted")


# --- remote start and stop, reset, unlock ---------------------------------------------------------


async def test_tc_010_remote_start_cable_plugged_in_first(cp: Station):
    await cp.status("Preparing")
    asked = await cp.api("POST", "/actions/start", id_token=CARD, connector_id=1)
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert cp.told("RemoteStartTransaction") == [{"idTag": CARD, "connectorId": 1}]
    assert (await cp.authorise(CARD))["status"] == "Accepted"
    assert (await cp.begin(CARD))["idTagInfo"]["status"] == "Accepted"
    await cp.status("Charging")
    assert (await cp.transaction())["status"] == "active"


async def test_tc_011_1_remote_start_first(cp: Station):
    asked = await cp.api("POST", "/actions/start", id_token=CARD, connector_id=1)
    assert asked["word"] == "Accepted"
    assert (await cp.authorise(CARD))["status"] == "Accepted"
    await cp.status("Preparing")
    assert (await cp.begin(CARD))["idTagInfo"]["status"] == "Accepted"
    await cp.status("Charging")
    assert (await cp.transaction())["id_token"] == CARD


async def test_tc_011_2_remote_start_time_out(cp: Station):
    asked = await cp.api("POST", "/actions/start", id_token=CARD, connector_id=1)
    assert asked["word"] == "Accepted"
    await cp.status("Preparing")
    await cp.status("Available")
    assert await cp.transactions() == []
    assert await cp.shown_status() == "Available"


async def test_tc_012_remote_stop_charging_session(cp: Station):
    number = await cp.charging(CARD)
    running = await cp.transaction()
    asked = await cp.api("POST", "/actions/stop", transaction_id=running["id"])
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert cp.told("RemoteStopTransaction") == [{"transactionId": number}]
    # Only the charger's own word ends it.
    assert (await cp.transaction())["status"] == "active"
    await cp.end(number, reason="Remote")
    await cp.status("Finishing")
    await cp.status("Available")
    assert (await cp.transaction())["stop_reason"] == "Remote"


async def reset(cp: Station, kind: str, reason: str) -> None:
    """Restart a charger that is charging: its transaction ends, then it boots."""
    number = await cp.charging(CARD)
    asked = await cp.api("POST", "/actions/restart", type=kind.lower())
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert cp.told("Reset") == [{"type": kind}]
    await cp.end(number, reason=reason)
    await cp.leave()

    async def is_offline() -> bool:
        return (await cp.see())["connection"] == "offline"

    await until(is_offline, "the charger is shown as offline")
    await cp.connect()
    assert (await cp.boot())["status"] == "Accepted"
    await cp.all_are("Available")
    assert (await cp.see())["connection"] == "online"
    assert (await cp.transaction())["stop_reason"] == reason


async def test_tc_013_hard_reset(cp: Station):
    await reset(cp, "Hard", "HardReset")


async def test_tc_014_soft_reset(cp: Station):
    await reset(cp, "Soft", "SoftReset")


async def unlock(cp: Station, answer: str) -> dict:
    cp.answers["UnlockConnector"] = {"status": answer}
    asked = await cp.api("POST", "/actions/unlock", connector_id=1)
    assert cp.told("UnlockConnector") == [{"connectorId": 1}]
    return asked


async def test_tc_017_1_unlock_connector_without_session_loose_cable(cp: Station):
    asked = await unlock(cp, "Unlocked")
    assert (asked["status"], asked["word"]) == ("executed", "Unlocked")


async def test_tc_017_2_unlock_connector_without_session_fixed_cable(cp: Station):
    asked = await unlock(cp, "NotSupported")
    assert (asked["status"], asked["word"]) == ("rejected", "NotSupported")


async def test_tc_018_1_unlock_connector_with_charging_session(cp: Station):
    number = await cp.charging(CARD)
    assert (await unlock(cp, "Unlocked"))["word"] == "Unlocked"
    await cp.status("Finishing")
    await cp.end(number, reason="UnlockCommand")
    await cp.status("Available")
    assert (await cp.transaction())["stop_reason"] == "UnlockCommand"


# --- configuration --------------------------------------------------------------------------------


async def test_tc_019_1_retrieve_all_configuration_keys(cp: Station):
    asked = await cp.ask("GetConfiguration")
    assert asked["status"] == "executed"
    told = {each["key"]: each["readonly"] for each in asked["answer"]["configurationKey"]}
    assert told == {key: is_readonly for key, (_, is_readonly) in KEYS.items()}


async def test_tc_019_2_retrieve_specific_configuration_key(cp: Station):
    asked = await cp.ask("GetConfiguration", key=["SupportedFeatureProfiles"])
    (told,) = asked["answer"]["configurationKey"]
    assert (told["key"], told["readonly"]) == ("SupportedFeatureProfiles", True)


async def test_tc_021_change_set_configuration(cp: Station):
    asked = await cp.ask("ChangeConfiguration", key="MeterValueSampleInterval", value="15")
    assert (asked["status"], asked["word"]) == ("executed", "Accepted")
    assert cp.keys["MeterValueSampleInterval"] == ("15", False)


async def test_tc_040_1_configuration_keys_not_supported(cp: Station):
    asked = await cp.ask("ChangeConfiguration", key="NobodyKnowsThis", value="1")
    assert (asked["status"], asked["word"]) == ("rejected", "NotSupported")


async def test_tc_040_2_configuration_keys_invalid_value(cp: Station):
    rejected = {"status": "Rejected"}
    asked = await cp.expect("ChangeConfiguration", rejected, key="MeterValueSampleInterval", value="many")
    assert (asked["status"], asked["word"]) == ("rejected", "Rejected")


# --- what goes wrong ------------------------------------------------------------------------------


async def test_tc_023_1_authorize_invalid(cp: Station):
    await cp.status("Preparing")
    assert (await cp.authorise("STRANGER"))["status"] == "Invalid"


async def test_tc_023_2_authorize_expired(cp: Station):
    await cp.person(
        "POST",
        f"/locations/{cp.location_id}/cards",
        name="Old",
        id_token="OLD",
        expires_at=instant(hours_ago(24)),
    )
    await cp.status("Preparing")
    assert (await cp.authorise("OLD"))["status"] == "Expired"


async def test_tc_023_3_authorize_blocked(cp: Station):
    card = await cp.person("POST", f"/locations/{cp.location_id}/cards", name="Lost", id_token="LOST")
    await cp.person("PATCH", f"/cards/{card['id']}", is_blocked=True)
    await cp.status("Preparing")
    assert (await cp.authorise("LOST"))["status"] == "Blocked"


async def test_tc_024_lock_failure(cp: Station):
    assert (await cp.authorise(CARD))["status"] == "Accepted"
    await cp.status("Preparing")
    await cp.status("Faulted", error="ConnectorLockFailure")
    connector = (await cp.see())["connectors"][0]
    assert (connector["status"], connector["error"]) == ("Faulted", "ConnectorLockFailure")
    assert await cp.transactions() == []


async def test_tc_026_remote_start_rejected(cp: Station):
    cp.answers["RemoteStartTransaction"] = {"status": "Rejected"}
    asked = await cp.api("POST", "/actions/start", id_token=CARD, connector_id=1)
    assert (asked["status"], asked["word"]) == ("rejected", "Rejected")
    assert await cp.transactions() == []


async def test_tc_028_remote_stop_rejected(cp: Station):
    number = await cp.charging(CARD)
    # A number that the charger does not know.
    asked = await cp.expect("RemoteStopTransaction", {"status": "Rejected"}, transactionId=number + 1_000)
    assert (asked["status"], asked["word"]) == ("rejected", "Rejected")
    assert (await cp.transaction())["status"] == "active"


async def test_tc_030_unlock_failure(cp: Station):
    asked = await unlock(cp, "UnlockFailed")
    assert (asked["status"], asked["word"]) == ("rejected", "UnlockFailed")


async def test_tc_031_unlock_unknown_connector(cp: Station):
    asked = await cp.expect("UnlockConnector", {"status": "NotSupported"}, connectorId=7)
    assert (asked["status"], asked["word"]) == ("rejected", "NotSupported")


async def test_tc_032_1_power_failure_boot_stop_transactions(cp: Station):
    number = await cp.charging(CARD)
    await cp.leave()
    await cp.connect()
    assert (await cp.boot())["status"] == "Accepted"
    await cp.status("Available", 0)
    await cp.status("Finishing", 1)
    await cp.status("Available", 2)
    await cp.end(number, meter=450, reason="PowerLoss")
    over = await cp.transaction()
    assert (over["number"], over["stop_reason"], over["energy_wh"]) == (number, "PowerLoss", 450)
    assert not over["is_estimated"]


# --- offline --------------------------------------------------------------------------------------


async def test_tc_037_1_offline_start_valid_id_tag(cp: Station):
    began = hours_ago(4)
    await cp.leave()
    await cp.connect()
    begun = await cp.begin(CARD, at=began)
    assert begun["idTagInfo"]["status"] == "Accepted"
    await cp.status("Charging")
    running = await cp.transaction()
    assert (running["started_at"], running["status"]) == (instant(began), "active")


async def test_tc_037_3_offline_start_invalid_id_tag(cp: Station):
    began = hours_ago(4)
    await cp.leave()
    await cp.connect()
    begun = await cp.begin("STRANGER", at=began)
    assert begun["idTagInfo"]["status"] == "Invalid"
    await cp.status("Charging")
    ended = await cp.end(begun["transactionId"], meter=120, idTag="STRANGER", reason="DeAuthorized")
    assert ended["idTagInfo"]["status"] == "Invalid"
    await cp.status("Finishing")
    over = await cp.transaction()
    assert (over["verdict"], over["stop_reason"]) == ("Invalid", "DeAuthorized")
    # The energy has flowed, whoever pays for it.
    assert (over["energy_wh"], over["started_at"]) == (120, instant(began))


async def test_tc_039_offline_transaction(cp: Station):
    began, ended = hours_ago(4), hours_ago(3)
    await cp.leave()
    await cp.connect()
    begun = await cp.begin(CARD, at=began, meter=1_000)
    await cp.say(
        "MeterValues",
        connectorId=1,
        transactionId=begun["transactionId"],
        meterValue=[
            {"timestamp": instant(began + timedelta(minutes=30)), "sampledValue": [{"value": "4500"}]}
        ],
    )
    await cp.end(begun["transactionId"], at=ended, meter=8_000, idTag=CARD, reason="Local")
    over = await cp.transaction()
    assert (over["started_at"], over["ended_at"]) == (instant(began), instant(ended))
    assert (over["energy_wh"], over["is_estimated"]) == (7_000, False)
    samples = (await cp.person("GET", f"/transactions/{over['id']}/samples"))["items"]
    assert [(each["at"], each["energy_wh"]) for each in samples] == [
        (instant(began + timedelta(minutes=30)), 4_500)
    ]


# --- data transfer --------------------------------------------------------------------------------


async def test_tc_064_data_transfer_to_the_central_system(cp: Station):
    answer = await cp.say("DataTransfer", vendorId="com.example.nobody", messageId="m", data="d")
    assert answer["status"] in {"Rejected", "UnknownMessageId", "UnknownVendorId"}

"""One line of words for each call, and no call that breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.portal.call_words import TELLERS, summary

GAP = "\u00a0"


def line(action: str, payload: Any, answer: Any = None) -> str:
    return " · ".join(piece.plain for piece in summary(action, payload, answer)).replace(GAP, " ")


def sampled(*values: tuple[str, str, str]) -> dict[str, Any]:
    sample = [{"measurand": measurand, "value": value, "unit": unit} for measurand, value, unit in values]
    return {"meterValue": [{"timestamp": "2026-01-01T00:00:00Z", "sampledValue": sample}]}


ACCEPTED = {"status": "Accepted"}
CASES = [
    ("BootNotification", {"chargePointVendor": "Alfen", "chargePointModel": "Eve", "firmwareVersion": "6.5"},
     ACCEPTED, "Alfen Eve · firmware 6.5 · Accepted"),
    ("Heartbeat", {}, {}, "still there"),
    ("StatusNotification", {"connectorId": 1, "status": "Charging", "errorCode": "NoError"}, {},
     "connector 1 · Charging"),
    ("StatusNotification",
     {"connectorId": 0, "status": "Faulted", "errorCode": "GroundFailure", "info": "RCD"}, {},
     "whole charger · Fault · GroundFailure · RCD"),
    ("StatusNotification", {"connectorId": 2, "status": "Occupied", "errorCode": "NoError"}, {},
     "connector 2 · Occupied"),
    ("Authorize", {"idTag": "04A2B8"}, {"idTagInfo": ACCEPTED}, "card 04A2B8 · Accepted"),
    ("StartTransaction", {"connectorId": 1, "idTag": "04A2", "meterStart": 57300},
     {"transactionId": 17, "idTagInfo": ACCEPTED},
     "connector 1 · card 04A2 · meter at 57.3 kWh · Accepted · transaction 17"),
    ("StopTransaction", {"transactionId": 17, "meterStop": 61000, "reason": "EVDisconnected"}, {},
     "transaction 17 · meter at 61.0 kWh · The cable was unplugged at the car"),
    ("MeterValues", {"connectorId": 1, **sampled(("Energy.Active.Import.Register", "57.3", "kWh"),
     ("Power.Active.Import", "11000", "W"), ("Current.Import", "15.9", "A"), ("Current.Import", "16", "A"),
     ("SoC", "45", "Percent"))}, {}, "connector 1 · 57.3 kWh · 11.0 kW · 16.0 A · 45 %"),
    ("DataTransfer", {"vendorId": "Acme", "messageId": "Ping"}, {"status": "UnknownVendorId"},
     "Acme · Ping · UnknownVendorId"),
    ("SecurityEventNotification", {"type": "InvalidCentralSystemCertificate"}, {},
     "InvalidCentralSystemCertificate"),
    ("RemoteStartTransaction", {"connectorId": 1, "idTag": "04A2"}, {"status": "Rejected"},
     "connector 1 · card 04A2 · Rejected"),
    ("RemoteStopTransaction", {"transactionId": 17}, ACCEPTED, "transaction 17 · Accepted"),
    ("Reset", {"type": "Soft"}, ACCEPTED, "Soft · Accepted"),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, ACCEPTED,
     "connector 1 · MeterValues · Accepted"),
    ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "300"}, ACCEPTED,
     "HeartbeatInterval = 300 · Accepted"),
    ("GetConfiguration", {}, {"configurationKey": [{}] * 45, "unknownKey": ["x"]},
     "all keys · 45 told · 1 unknown"),
    ("GetConfiguration", {"key": ["NumberOfConnectors"]}, {"configurationKey": [{}]},
     "NumberOfConnectors · 1 told"),
    ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": {"chargingProfilePurpose": "TxProfile",
     "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"limit": 16}]}}}, ACCEPTED,
     "connector 1 · 16.0 A · TxProfile · Accepted"),
    ("ClearChargingProfile", {}, {"status": "Unknown"}, "all limits · Unknown"),
    ("GetCompositeSchedule", {"connectorId": 0, "duration": 3600}, ACCEPTED,
     "whole charger · the next 60 min · Accepted"),
    ("SendLocalList", {"updateType": "Full", "listVersion": 4, "localAuthorizationList": [{}, {}]}, ACCEPTED,
     "Full · version 4 · 2 cards · Accepted"),
    ("GetLocalListVersion", {}, {"listVersion": 4}, "version 4"),
    ("ReserveNow", {"connectorId": 1, "idTag": "04A2", "expiryDate": "2026-11-21T10:00:00Z"}, ACCEPTED,
     "connector 1 · card 04A2 · until 2026-11-21 10:00 · Accepted"),
    ("CancelReservation", {"reservationId": 3}, ACCEPTED, "reservation 3 · Accepted"),
    ("UpdateFirmware", {"location": "https://a.example/files/fw-7.bin?x=***"}, {}, "fw-7.bin"),
    ("GetDiagnostics", {"location": "ftp://a/"}, {"fileName": "diag.zip"}, "diag.zip"),
    ("GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"},
     {"status": "Accepted", "certificateHashData": [{}]},
     "CentralSystemRootCertificate · one certificate · Accepted"),
    ("SomethingNew", {"connectorId": 1, "what": "this", "more": "that", "last": "x"}, ACCEPTED,
     "connector 1 · this · that · Accepted"),
    ("Reset", {"type": "Hard"}, {"errorCode": "NotImplemented", "errorDescription": "no"},
     "Hard · NotImplemented: no"),
    ("", "[3,\n  broken", None, "[3, broken"),
]  # fmt: skip


@pytest.mark.parametrize(("action", "payload", "answer", "expected"), CASES)
def test_a_call_is_told_in_words(action: str, payload: Any, answer: Any, expected: str):
    assert line(action, payload, answer) == expected


def test_long_texts_are_cut():
    assert len(line("DataTransfer", {"vendorId": "x" * 500})) == 60
    assert line("Authorize", {"idTag": "0" * 100}).endswith("…")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=12,
)
FIELDS = (
    "connectorId", "idTag", "idTagInfo", "status", "errorCode", "meterStart", "meterStop", "meterValue",
    "sampledValue", "value", "unit", "measurand", "transactionId", "key", "csChargingProfiles", "limit",
    "chargingSchedule", "chargingSchedulePeriod", "duration", "expiryDate", "location", "firmware", "type",
    "configurationKey", "localAuthorizationList", "errorDescription", "certificateHashData", "reason",
)  # fmt: skip
OBJECTS = st.dictionaries(
    st.sampled_from(FIELDS), JSON | st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON))
)


@given(st.sampled_from([*TELLERS, "Other", ""]), OBJECTS | JSON, OBJECTS | JSON)
def test_nothing_that_a_charger_sends_breaks_the_line(action: str, payload: Any, answer: Any):
    for piece in summary(action, payload, answer):
        assert "\n" not in piece.plain
        assert len(piece.plain) < 160

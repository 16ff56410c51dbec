"""OCPP 1.6 to speech and back, against an independent set of JSON schemas."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import fits
from voltyard.kernel.errors import Invalid
from voltyard.kernel.units import PerPhase
from voltyard.ocpp.frames import ERROR_CODES, Call
from voltyard.ocpp.v16 import actions, dialect, messages
from voltyard.ocpp.v16.dialect import Malformed
from voltyard.quirks import Quirks
from voltyard.speech import (
    Answer,
    Ask,
    Beat,
    Booted,
    ByHand,
    CancelReservation,
    CertificateHash,
    CertificateKind,
    ClearLimit,
    ConnectorStatus,
    Decided,
    DeleteCertificate,
    DiagnosticsTold,
    Ended,
    FirmwareTold,
    ForgetCards,
    GetKeys,
    InstallCertificate,
    Judged,
    LimitPeriod,
    LimitPurpose,
    ListedCard,
    LogKind,
    LogTold,
    MayCharge,
    Metered,
    Reading,
    Registration,
    ReplaceCards,
    Reply,
    Reserve,
    Restart,
    Said,
    SecurityTold,
    SendDiagnostics,
    SendLog,
    SetAvailability,
    SetKey,
    SetLimit,
    SignedFirmwareTold,
    SigningAsked,
    StartCharging,
    Started,
    StatusTold,
    StopCharging,
    TellCardsVersion,
    TellCertificates,
    TellComposite,
    TellVendor,
    Thanks,
    Ticked,
    Trigger,
    TriggerExtended,
    Unlock,
    UpdateCards,
    UpdateFirmware,
    UpdateSignedFirmware,
    UseCertificate,
    VendorReply,
    VendorTold,
    Verdict,
    Welcomed,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
AT = "2026-03-01T12:00:00Z"
METER = [{"timestamp": AT, "sampledValue": [{"value": "1500"}]}]
READING = Reading(NOON, energy_wh=1500)


def read(action: str, payload: object) -> tuple[Said | Malformed, list[str]]:
    flaws: list[str] = []
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return dialect.read(Call(b'"1"', action, raw), flaws), flaws


# --- what the charger says ---

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
STATUS = {"connectorId": 1, "status": "Charging", "errorCode": "NoError"}
START = {"connectorId": 1, "idTag": "04A1", "meterStart": 10, "timestamp": AT}
STOP = {"transactionId": 57, "meterStop": 20, "timestamp": AT}
SECURITY = {"type": "TamperDetectionActivated", "timestamp": AT}
METERS = {"connectorId": 1, "transactionId": 57, "meterValue": METER}


@pytest.mark.parametrize(
    ("action", "payload", "said"),
    [
        ("BootNotification", BOOT, Booted("V", "M")),
        (
            "BootNotification",
            BOOT
            | {"chargePointSerialNumber": "S", "chargeBoxSerialNumber": "B", "firmwareVersion": "1.2"}
            | {"iccid": "89", "imsi": "20", "meterType": "T", "meterSerialNumber": "N"},
            Booted("V", "M", "S", "B", "1.2", "89", "20", "T", "N"),
        ),
        ("Heartbeat", {}, Beat()),
        ("StatusNotification", STATUS, StatusTold(1, ConnectorStatus.CHARGING)),
        (
            "StatusNotification",
            STATUS
            | {"errorCode": "GroundFailure", "info": "I", "timestamp": AT}
            | {"vendorId": "V", "vendorErrorCode": "0x17"},
            StatusTold(1, ConnectorStatus.CHARGING, "GroundFailure", "I", "V", "0x17", NOON),
        ),
        ("Authorize", {"idTag": "04A1"}, MayCharge("04A1")),
        ("StartTransaction", START, Started(1, "04A1", 10, NOON)),
        ("StartTransaction", START | {"reservationId": 5}, Started(1, "04A1", 10, NOON, 5)),
        ("MeterValues", METERS, Metered(1, 57, (READING,))),
        ("MeterValues", {"connectorId": 0, "meterValue": METER}, Metered(0, None, (READING,))),
        ("StopTransaction", STOP, Ended(57, 20, NOON)),
        (
            "StopTransaction",
            STOP | {"reason": "EVDisconnected", "idTag": "04A1", "transactionData": METER},
            Ended(57, 20, NOON, "EVDisconnected", "04A1", (READING,)),
        ),
        ("StopTransaction", STOP | {"transactionId": -1}, Ended(-1, 20, NOON)),
        ("DataTransfer", {"vendorId": "V"}, VendorTold("V")),
        ("DataTransfer", {"vendorId": "V", "messageId": "M", "data": "D"}, VendorTold("V", "M", "D")),
        ("FirmwareStatusNotification", {"status": "Installed"}, FirmwareTold("Installed")),
        ("DiagnosticsStatusNotification", {"status": "Uploaded"}, DiagnosticsTold("Uploaded")),
        ("SecurityEventNotification", SECURITY, SecurityTold("TamperDetectionActivated", NOON)),
        (
            "SecurityEventNotification",
            SECURITY | {"techInfo": "lid"},
            SecurityTold("TamperDetectionActivated", NOON, "lid"),
        ),
        ("SignCertificate", {"csr": "-----BEGIN"}, SigningAsked("-----BEGIN")),
        ("LogStatusNotification", {"status": "Idle"}, LogTold("Idle")),
        ("LogStatusNotification", {"status": "Uploaded", "requestId": 5}, LogTold("Uploaded", 5)),
        ("SignedFirmwareStatusNotification", {"status": "Idle"}, SignedFirmwareTold("Idle")),
        (
            "SignedFirmwareStatusNotification",
            {"status": "SignatureVerified", "requestId": 5},
            SignedFirmwareTold("SignatureVerified", 5),
        ),
    ],
)
def test_a_message_to_the_letter_is_understood_without_a_flaw(
    action: str, payload: dict[str, Any], said: Said
) -> None:
    fits(action, json.loads(json.dumps(payload)))
    assert read(action, payload) == (said, [])


def without(payload: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in fields}


@pytest.mark.parametrize(
    ("quirk", "action", "payload", "said", "flaws"),
    [
        ("Q16", "Heartbeat", b"{}", Beat(), []),
        (
            "Q24",
            "StatusNotification",
            STATUS | {"connectorId": "1"},
            StatusTold(1, ConnectorStatus.CHARGING),
            ["number_as_text"],
        ),
        ("Q24", "Authorize", {"idTag": 4711}, MayCharge("4711"), ["number_for_text"]),
        (
            "Q24",
            "MeterValues",
            METERS | {"meterValue": [{"timestamp": AT, "sampledValue": [{"value": 1500.0}]}]},
            Metered(1, 57, (READING,)),
            ["number_for_text"],
        ),
        (
            "Q25",
            "MeterValues",
            METERS | {"meterValue": METER[0]},
            Metered(1, 57, (READING,)),
            ["object_for_array"],
        ),
        (
            "Q25",
            "MeterValues",
            METERS | {"meterValue": [{"timestamp": AT, "sampledValue": []}]},
            Metered(1, 57, ()),
            ["no_sampled_value"],
        ),
        (
            "Q26",
            "MeterValues",
            METERS
            | {
                "meterValue": [
                    {
                        "timestamp": AT,
                        "sampledValue": [
                            {"value": "50", "measurand": "Frequency", "unit": "Hz"},
                            {"value": "7", "measurand": "Power.Active.Import", "phase": "L1-N", "unit": "kW"},
                        ],
                    }
                ]
            },
            Metered(1, 57, (Reading(NOON, power_w=7000, frequency_hz=50),)),
            ["alias_word"],
        ),
        (
            "Q26",
            "StatusNotification",
            STATUS | {"status": "suspended_ev"},
            StatusTold(1, ConnectorStatus.SUSPENDED_EV),
            ["alias_word"],
        ),
        (
            "Q26",
            "StatusNotification",
            STATUS | {"status": "Occupied"},
            StatusTold(1, ConnectorStatus.PREPARING),
            ["alias_word"],
        ),
        ("Q26", "StopTransaction", STOP | {"reason": "local"}, Ended(57, 20, NOON, "Local"), ["alias_word"]),
        (
            "Q26",
            "StopTransaction",
            STOP | {"reason": "Vendor"},
            Ended(57, 20, NOON, "Vendor"),
            ["unknown_reason"],
        ),
        (
            "Q28",
            "MeterValues",
            METERS
            | {
                "meterValue": [
                    {
                        "timestamp": AT,
                        "sampledValue": [{"value": "NaN"}, {"value": "16,5", "measurand": "Current.Import"}],
                    }
                ]
            },
            Metered(1, 57, (Reading(NOON, current_a=PerPhase(16.5)),)),
            ["unreadable_value", "decimal_comma"],
        ),
        ("Q30", "Authorize", {"idTag": "04A1", "vendor": {"x": 1}}, MayCharge("04A1"), []),
        (
            "Q31",
            "BootNotification",
            {},
            Booted("", ""),
            ["missing_chargePointVendor", "missing_chargePointModel"],
        ),
        (
            "Q31",
            "StatusNotification",
            without(STATUS, "errorCode"),
            StatusTold(1, ConnectorStatus.CHARGING),
            ["missing_errorCode"],
        ),
        (
            "Q31",
            "StartTransaction",
            without(START, "meterStart", "timestamp"),
            Started(1, "04A1", None),
            ["missing_meterStart", "missing_timestamp"],
        ),
        (
            "Q31",
            "StopTransaction",
            {"transactionId": 57, "meterStop": 20},
            Ended(57, 20),
            ["missing_timestamp"],
        ),
        (
            "Q31",
            "StopTransaction",
            without(STOP, "meterStop") | {"transactionData": METER},
            Ended(57, 1500, NOON, readings=(READING,)),
            ["missing_meterStop"],
        ),
        ("Q31", "StopTransaction", without(STOP, "meterStop"), Ended(57, 0, NOON), ["missing_meterStop"]),
        (
            "Q31",
            "StopTransaction",
            without(STOP, "transactionId"),
            Ended(0, 20, NOON),
            ["missing_transactionId"],
        ),
        ("Q31", "StopTransaction", STOP | {"idTag": ""}, Ended(57, 20, NOON), ["empty_tag"]),
        ("Q31", "MeterValues", {"connectorId": 1}, Metered(1, None, ()), ["missing_meterValue"]),
        (
            "Q31",
            "MeterValues",
            without(METERS, "connectorId"),
            Metered(0, 57, (READING,)),
            ["missing_connectorId"],
        ),
        (
            "Q31",
            "MeterValues",
            METERS | {"connectorId": -1},
            Metered(0, 57, (READING,)),
            ["missing_connectorId"],
        ),
        (
            "Q31",
            "MeterValues",
            METERS | {"meterValue": [{"sampledValue": [{"value": "1500"}]}]},
            Metered(1, 57, (Reading(energy_wh=1500),)),
            ["missing_timestamp"],
        ),
        (
            "Q32",
            "StatusNotification",
            STATUS | {"info": "null", "vendorErrorCode": "0x0000", "vendorId": ""},
            StatusTold(1, ConnectorStatus.CHARGING),
            ["null_text", "null_text"],
        ),
        (
            "Q32",
            "StatusNotification",
            STATUS | {"info": "-", "vendorErrorCode": "0"},
            StatusTold(1, ConnectorStatus.CHARGING),
            ["null_text", "null_text"],
        ),
        (
            "Q34",
            "Authorize",
            {"idTag": "20:69:C0:21:AB:CD:EF:01:02"},
            MayCharge("20:69:C0:21:AB:CD:EF:01:02"),
            ["long_tag", "odd_tag"],
        ),
        ("Q34", "Authorize", {"idTag": " 04a1 "}, MayCharge("04a1"), []),
        ("Q34", "StartTransaction", START | {"idTag": ""}, Started(1, "", 10, NOON), ["empty_tag"]),
        (
            "Q35",
            "StartTransaction",
            START | {"timestamp": "2026-03-01T12:00:00"},
            Started(1, "04A1", 10, NOON),
            ["time_without_offset"],
        ),
        (
            "Q35",
            "StartTransaction",
            START | {"timestamp": "2026-03-01T14:00:00+02"},
            Started(1, "04A1", 10, NOON),
            [],
        ),
        (
            "Q35",
            "StartTransaction",
            START | {"timestamp": "2026-03-01T12:00:00.1234567z"},
            Started(1, "04A1", 10, NOON + timedelta(microseconds=123_457)),
            [],
        ),
        (
            "Q35",
            "StartTransaction",
            START | {"timestamp": "soon"},
            Started(1, "04A1", 10, None),
            ["unreadable_time", "missing_timestamp"],
        ),
        (
            "Q35",
            "StatusNotification",
            STATUS | {"timestamp": "soon"},
            StatusTold(1, ConnectorStatus.CHARGING),
            ["unreadable_time"],
        ),
        ("Q38", "StopTransaction", STOP | {"transactionId": 0}, Ended(0, 20, NOON), []),
        (
            "Q24",
            "LogStatusNotification",
            {"status": "Uploaded", "requestId": "5"},
            LogTold("Uploaded", 5),
            ["number_as_text"],
        ),
        (
            "Q31",
            "SecurityEventNotification",
            {"techInfo": "null"},
            SecurityTold(""),
            ["missing_type", "missing_timestamp", "null_text"],
        ),
        (
            "Q35",
            "SecurityEventNotification",
            SECURITY | {"timestamp": "2026-03-01 12:00"},
            SecurityTold("TamperDetectionActivated", NOON),
            ["time_without_offset"],
        ),
        ("NUL", "Authorize", {"idTag": "04\x00A1"}, MayCharge("04A1"), []),
    ],
)
def test_a_quirk_is_tolerated_and_noted(
    quirk: str, action: str, payload: object, said: Said, flaws: list[str]
) -> None:
    assert read(action, payload) == (said, flaws), quirk


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("StatusNotification", without(STATUS, "connectorId"), "OccurenceConstraintViolation"),
        ("StatusNotification", without(STATUS, "status"), "OccurenceConstraintViolation"),
        ("StatusNotification", STATUS | {"status": "Dreaming"}, "PropertyConstraintViolation"),
        ("StatusNotification", STATUS | {"connectorId": -1}, "PropertyConstraintViolation"),
        ("Authorize", {}, "OccurenceConstraintViolation"),
        ("StartTransaction", without(START, "connectorId"), "OccurenceConstraintViolation"),
        ("StartTransaction", without(START, "idTag"), "OccurenceConstraintViolation"),
        ("StartTransaction", START | {"connectorId": -1}, "PropertyConstraintViolation"),
        ("StopTransaction", {"timestamp": AT}, "OccurenceConstraintViolation"),
        ("MeterValues", {"meterValue": METER}, "OccurenceConstraintViolation"),
        ("DataTransfer", {"data": "D"}, "OccurenceConstraintViolation"),
        ("FirmwareStatusNotification", {}, "OccurenceConstraintViolation"),
        ("DiagnosticsStatusNotification", {}, "OccurenceConstraintViolation"),
        ("MeterReadings", {}, "NotImplemented"),
        ("SignCertificate", {}, "OccurenceConstraintViolation"),
        ("LogStatusNotification", {"requestId": 5}, "OccurenceConstraintViolation"),
        ("SignedFirmwareStatusNotification", {}, "OccurenceConstraintViolation"),
        ("SetChargingProfile", {}, "NotSupported"),
        ("RemoteStartTransaction", {}, "NotSupported"),
        *((action, b"[1]", "FormationViolation") for action in actions.FROM_CHARGER if action != "Heartbeat"),
    ],
)
def test_what_nothing_can_replace_is_refused(action: str, payload: object, code: str) -> None:
    said, _ = read(action, payload)
    assert isinstance(said, Malformed)
    assert said.code == code


NAMES = st.sampled_from(
    [
        "connectorId",
        "transactionId",
        "idTag",
        "meterStart",
        "meterStop",
        "timestamp",
        "meterValue",
        "sampledValue",
        "transactionData",
        "value",
        "measurand",
        "unit",
        "phase",
        "context",
        "location",
        "format",
        "status",
        "errorCode",
        "info",
        "vendorId",
        "vendorErrorCode",
        "reason",
        "data",
        "csr",
        "requestId",
        "type",
    ]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(
        ["1", AT, "0001-01-01T00:00:00+14:00", "kWh", "Charging", "1,5", "Power.Active.Import", "L1"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
ACTIONS = st.sampled_from(sorted(actions.FROM_CHARGER)) | st.text(max_size=5)


@settings(deadline=None)
@given(ACTIONS, json_values.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=20))
def test_read_never_raises(action: str, payload: bytes) -> None:
    said, flaws = read(action, payload)
    assert not isinstance(said, Malformed) or said.code in ERROR_CODES
    assert all(flaw.isascii() and " " not in flaw for flaw in flaws)


@settings(deadline=None)
@given(st.dictionaries(NAMES, json_values, max_size=6), st.integers(-(2**31), 2**31 - 1))
def test_energy_that_a_charger_tells_is_never_refused_for_a_missing_word(
    payload: dict[str, Any], number: int
) -> None:
    assert isinstance(read("StopTransaction", payload | {"transactionId": number})[0], Ended)
    assert isinstance(read("StopTransaction", payload | {"meterStop": number})[0], Ended)
    assert isinstance(read("MeterValues", payload | {"transactionId": number})[0], Metered)
    assert isinstance(
        read("StartTransaction", payload | {"connectorId": abs(number) % 9, "idTag": "A"})[0], Started
    )


# --- what we answer ---

BERLIN = timezone(timedelta(hours=2))
SAID: dict[str, Said] = {
    "BootNotification": Booted("V", "M"),
    "Heartbeat": Beat(),
    "StatusNotification": StatusTold(1, ConnectorStatus.CHARGING),
    "Authorize": MayCharge("A"),
    "StartTransaction": Started(1, "A", 0),
    "MeterValues": Metered(1, 57, ()),
    "StopTransaction": Ended(57, 20),
    "DataTransfer": VendorTold("V"),
    "FirmwareStatusNotification": FirmwareTold("Idle"),
    "DiagnosticsStatusNotification": DiagnosticsTold("Idle"),
    "SecurityEventNotification": SecurityTold("TamperDetectionActivated"),
    "SignCertificate": SigningAsked("-----BEGIN"),
    "LogStatusNotification": LogTold("Idle"),
    "SignedFirmwareStatusNotification": SignedFirmwareTold("Idle"),
}
times = st.datetimes(datetime(2000, 1, 1), timezones=st.sampled_from([UTC, BERLIN]))  # noqa: DTZ001
judged = st.builds(
    Judged,
    st.sampled_from(Verdict),
    st.integers(1, 2**31 - 1),
    st.none() | times,
    st.none() | st.text(max_size=30),
)
REPLIES: dict[str, st.SearchStrategy[Reply]] = {
    "BootNotification": st.builds(Welcomed, st.sampled_from(Registration), times, st.integers(-5, 999)),
    "Heartbeat": st.builds(Ticked, times),
    "Authorize": judged,
    "StartTransaction": judged,
    "SignCertificate": st.builds(Decided, st.booleans()),
    "StopTransaction": judged | st.just(Thanks()) | st.just(Judged()),
    "DataTransfer": st.builds(
        VendorReply, st.sampled_from(["Accepted", "Rejected", "UnknownMessageId"]), st.none() | st.text()
    ),
}


@given(st.data(), st.sampled_from(sorted(SAID)))
def test_what_is_answered_fits_the_schema(data: st.DataObject, action: str) -> None:
    reply = data.draw(REPLIES.get(action, st.just(Thanks())))
    payload = json.loads(dialect.answer(SAID[action], reply))
    fits(action, payload, is_answer=True)


@pytest.mark.parametrize(
    ("said", "reply", "payload"),
    [
        (Beat(), Ticked(NOON), {"currentTime": AT}),
        (Beat(), Ticked(NOON.replace(microsecond=5)), {"currentTime": AT}),
        (Beat(), Ticked(NOON.astimezone(BERLIN)), {"currentTime": AT}),
        (
            Booted("V", "M"),
            Welcomed(Registration.PENDING, NOON, 60),
            {"status": "Pending", "currentTime": AT, "interval": 60},
        ),
        (MayCharge("A"), Judged(Verdict.BLOCKED), {"idTagInfo": {"status": "Blocked"}}),
        (
            Started(1, "A", 0),
            Judged(Verdict.ACCEPTED, 57, NOON, "P"),
            {
                "transactionId": 57,
                "idTagInfo": {"status": "Accepted", "expiryDate": AT, "parentIdTag": "P"},
            },
        ),
        (
            MayCharge("A"),
            Judged(Verdict.ACCEPTED, parent_tag="P" * 21),
            {"idTagInfo": {"status": "Accepted"}},
        ),
        (Ended(1, 2), Judged(), {}),
        (Ended(1, 2), Thanks(), {}),
        (Metered(1, 2, ()), Thanks(), {}),
        (VendorTold("V"), VendorReply("Accepted", "D"), {"status": "Accepted", "data": "D"}),
        (SigningAsked("-----BEGIN"), Decided(is_accepted=False), {"status": "Rejected"}),
        (SigningAsked("-----BEGIN"), Decided(is_accepted=True), {"status": "Accepted"}),
        (SecurityTold(""), Thanks(), {}),
    ],
)
def test_an_answer_is_written_to_the_letter(said: Said, reply: Reply, payload: dict[str, Any]) -> None:  # Q36
    assert json.loads(dialect.answer(said, reply)) == payload


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        (Beat(), Thanks()),
        (Booted("V", "M"), Ticked(NOON)),
        (Beat(), Welcomed(Registration.ACCEPTED, NOON, 60)),
        (MayCharge("A"), Judged()),
        (Started(1, "A", 0), Judged(Verdict.ACCEPTED)),
        (Beat(), Judged(Verdict.ACCEPTED)),
        (Beat(), VendorReply("Accepted")),
        (SigningAsked("-----BEGIN"), Thanks()),
        (LogTold("Idle"), Decided(is_accepted=True)),
    ],
)
def test_an_answer_of_another_kind_is_our_own_mistake(said: Said, reply: Reply) -> None:
    with pytest.raises(AssertionError):
        dialect.answer(said, reply)


def test_every_saying_can_be_answered() -> None:
    assert {type(said) for said in SAID.values()} == set(Said.__args__)
    assert set(SAID) == set(actions.FROM_CHARGER)


def test_a_vendors_status_is_one_of_four() -> None:
    with pytest.raises(Invalid):
        dialect.answer(VendorTold("V"), VendorReply("Perhaps"))


# --- what we ask ---

short = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
connectors = st.integers(1, 9)
URL = "https://example.com/x"
ASKS: st.SearchStrategy[Ask] = st.one_of(
    st.builds(StartCharging, short, st.none() | connectors),
    st.builds(StopCharging, st.integers(-(2**31), 2**31 - 1)),
    st.builds(Restart, st.booleans()),
    st.builds(SetKey, short, short),
    st.builds(GetKeys, st.lists(short, max_size=3).map(tuple)),
    st.builds(SetAvailability, st.integers(0, 9), st.booleans()),
    st.builds(Unlock, connectors),
    st.just(ForgetCards()),
    st.builds(Trigger, st.sampled_from(messages.TriggerWord.__args__), st.none() | connectors),
    st.builds(TellVendor, short, st.none() | short, st.none() | short),
)
# The asks of the other profiles are held to the letter in test files of their own.
OTHERS: tuple[Ask, ...] = (
    SetLimit(1, LimitPurpose.DEFAULT, 9, 0, (LimitPeriod(0, 16.0),)),
    ClearLimit(),
    TellComposite(1, 60),
    ReplaceCards(1, (ListedCard("A", Verdict.ACCEPTED),)),
    UpdateCards(1, (ListedCard("A"),)),
    TellCardsVersion(),
    Reserve(1, 7, "A", NOON),
    CancelReservation(7),
    UpdateFirmware(URL, NOON),
    SendDiagnostics(URL),
    TriggerExtended("Heartbeat"),
    InstallCertificate(CertificateKind.CENTRAL, "-----BEGIN"),
    DeleteCertificate(CertificateHash("SHA256", "n", "k", "01")),
    TellCertificates(CertificateKind.CENTRAL),
    UseCertificate("-----BEGIN"),
    SendLog(LogKind.SECURITY, 5, URL),
    UpdateSignedFirmware(5, URL, NOON, "-----BEGIN", "c2ln"),
)


@given(ASKS)
def test_what_is_written_fits_the_schema(ask: Ask) -> None:
    action, payload = dialect.write(ask)
    fits(action, payload)
    assert dialect.write(ByHand(action, payload.decode())) == (action, payload)


@pytest.mark.parametrize("ask", OTHERS, ids=lambda ask: type(ask).__name__)
def test_every_ask_is_written_by_hand_alike(ask: Ask) -> None:
    action, payload = dialect.write(ask)
    fits(action, payload)
    assert dialect.write(ByHand(action, payload.decode())) == (action, payload)


@pytest.mark.parametrize(
    ("ask", "action", "payload"),
    [
        (StartCharging("A", 1), "RemoteStartTransaction", {"idTag": "A", "connectorId": 1}),
        (StartCharging("A"), "RemoteStartTransaction", {"idTag": "A"}),
        (StopCharging(57), "RemoteStopTransaction", {"transactionId": 57}),
        (Restart(), "Reset", {"type": "Soft"}),
        (Restart(is_hard=True), "Reset", {"type": "Hard"}),
        (SetKey("K", "V"), "ChangeConfiguration", {"key": "K", "value": "V"}),
        (GetKeys(), "GetConfiguration", {}),
        (GetKeys(("A", "B")), "GetConfiguration", {"key": ["A", "B"]}),
        (
            SetAvailability(0, is_operative=False),
            "ChangeAvailability",
            {"connectorId": 0, "type": "Inoperative"},
        ),
        (
            SetAvailability(1, is_operative=True),
            "ChangeAvailability",
            {"connectorId": 1, "type": "Operative"},
        ),
        (Unlock(1), "UnlockConnector", {"connectorId": 1}),
        (ForgetCards(), "ClearCache", {}),
        (Trigger("MeterValues", 1), "TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}),
        (TellVendor("V", "M", "D"), "DataTransfer", {"vendorId": "V", "messageId": "M", "data": "D"}),
        (ByHand("GetLocalListVersion", " { } "), "GetLocalListVersion", {}),
        (ByHand("Reset", '{"type": "Soft"}'), "Reset", {"type": "Soft"}),
    ],
)
def test_an_ask_is_written_to_the_letter(ask: Ask, action: str, payload: dict[str, Any]) -> None:
    written, raw = dialect.write(ask)
    assert (written, json.loads(raw)) == (action, payload)


@pytest.mark.parametrize(
    ("ask", "pointer", "hint"),
    [
        (StartCharging(""), "/id_tag", "name a card"),
        (StartCharging("A" * 21), "/idTag", "shorten it to at most 20"),
        (StartCharging("A", 0), "/connectorId", "int"),
        (StopCharging(2**31), "/transactionId", "int"),
        (SetKey("K" * 51, "V"), "/key", "shorten it to at most 50"),
        (SetKey("K", "V" * 501), "/value", "shorten it to at most 500"),
        (GetKeys(("K" * 51,)), "/key/0", "shorten it to at most 50"),
        (SetAvailability(-1, is_operative=True), "/connectorId", "int"),
        (Unlock(0), "/connectorId", "int"),
        (Trigger("Everything"), "/requestedMessage", "Everything"),
        (TellVendor("V" * 256), "/vendorId", "shorten it to at most 255"),
        (ByHand("Heartbeat", "{}"), "/action", "no action"),
        (ByHand("Reset", "{"), "/payload", "not JSON"),
        (SetLimit(1, LimitPurpose.DEFAULT, 9, 0, ()), "/periods", "start at 0"),
    ],
)
def test_what_1_6_has_no_room_for_is_refused_with_what_to_do(ask: Ask, pointer: str, hint: str) -> None:
    with pytest.raises(Invalid) as refused:
        dialect.write(ask)
    assert refused.value.errors[0][0] == pointer
    assert hint in refused.value.detail


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(Invalid):
        dialect.write(SetKey("K", "\ud800"))


# --- what the charger answers (the rest is in test_outcomes.py) ---


def test_an_answer_is_understood() -> None:
    assert dialect.read_answer(StopCharging(1), b'{"status":"Accepted"}') == Answer(
        is_accepted=True, status="Accepted", payload='{"status":"Accepted"}'
    )


AMSTERDAM = ZoneInfo("Europe/Amsterdam")
LOCAL = "2026-07-01T14:00:00"
METERED = {"timestamp": LOCAL, "sampledValue": [{"value": "1"}]}


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("StatusNotification", {"connectorId": 1, "status": "Available", "errorCode": "NoError"}),
        ("StartTransaction", {"connectorId": 1, "idTag": "04", "meterStart": 1}),
        ("StopTransaction", {"transactionId": 1, "meterStop": 1, "transactionData": [METERED]}),
        ("MeterValues", {"connectorId": 1, "meterValue": [METERED]}),
        ("SecurityEventNotification", {"type": "FirmwareUpdated"}),
        ("BootNotification", {"chargePointVendor": "v", "chargePointModel": "m"}),
    ],
)
def test_times_without_an_offset_are_those_of_the_charger_s_zone(
    action: str, payload: dict[str, Any]
) -> None:
    call = Call(b'"1"', action, json.dumps(payload | {"timestamp": LOCAL}).encode())
    said = dialect.read(call, [], AMSTERDAM)
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    for told in (getattr(said, "told_at", noon), *(each.told_at for each in getattr(said, "readings", ()))):
        assert told in {noon, None}


@pytest.mark.parametrize("timestamp", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", None])
def test_times_at_the_ends_of_the_calendar_are_read_in_any_zone(timestamp: str | None) -> None:
    payload = {"connectorId": 1, "meterValue": [METERED, METERED | {"timestamp": timestamp}]}
    call = Call(b'"1"', "MeterValues", json.dumps(payload).encode())
    for zone in (AMSTERDAM, timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))):
        assert isinstance(dialect.read(call, [], zone), Metered)


def test_the_time_is_told_in_milliseconds_to_models_that_want_them() -> None:
    now = datetime(2026, 3, 1, 12, 0, 0, 123_999, tzinfo=UTC)
    assert dialect.answer(Beat(), Ticked(now)) == b'{"currentTime":"2026-03-01T12:00:00Z"}'
    told = dialect.answer(Beat(), Ticked(now), Quirks(wants_milliseconds=True))
    assert told == b'{"currentTime":"2026-03-01T12:00:00.123Z"}'


def test_a_start_names_a_connector_for_models_that_need_one() -> None:
    assert b"connectorId" not in dialect.write(StartCharging("04"))[1]
    needy = Quirks(start_needs_connector=True)
    assert json.loads(dialect.write(StartCharging("04"), needy)[1])["connectorId"] == 1
    assert json.loads(dialect.write(StartCharging("04", 2), needy)[1])["connectorId"] == 2


def test_what_is_odd_about_an_envelope_is_noted() -> None:
    flaws: list[str] = []
    dialect.read(Call(b"1", "Heartbeat", b"{}", flaws=("odd_message_id",)), flaws)
    assert flaws == ["odd_message_id"]

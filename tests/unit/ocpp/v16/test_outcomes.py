"""What a charger answered, whichever way it says so."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.ocpp.v16.schemas import NOON, built
from voltyard.ocpp.v16 import actions, dialect, outcomes
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Ask,
    ByHand,
    CancelReservation,
    CardsVersion,
    CertificateHash,
    CertificateKind,
    ClearLimit,
    CompositeLimits,
    DeleteCertificate,
    Details,
    FileNamed,
    ForgetCards,
    GetKeys,
    InstallCertificate,
    InstalledCertificates,
    LimitPeriod,
    LimitPurpose,
    LogKind,
    ReplaceCards,
    Reserve,
    Restart,
    SendDiagnostics,
    SendLog,
    SetAvailability,
    SetKey,
    SetLimit,
    StartCharging,
    StopCharging,
    TellCardsVersion,
    TellCertificates,
    TellComposite,
    TellVendor,
    Trigger,
    TriggerExtended,
    Unlock,
    UpdateCards,
    UpdateFirmware,
    UpdateSignedFirmware,
    UseCertificate,
    is_unable,
)

URL = "https://example.com/x"
HASH = CertificateHash("SHA256", "n", "k", "01")
LIMIT = SetLimit(1, LimitPurpose.DEFAULT, 9, 0, (LimitPeriod(0, 16.0),))
ASKS: tuple[Ask, ...] = (
    StartCharging("A"),
    StopCharging(1),
    Restart(),
    SetKey("K", "V"),
    GetKeys(),
    SetAvailability(1, is_operative=True),
    Unlock(1),
    ForgetCards(),
    Trigger("Heartbeat"),
    TellVendor("V"),
    LIMIT,
    ClearLimit(),
    TellComposite(1, 60),
    ReplaceCards(1),
    UpdateCards(1, ()),
    TellCardsVersion(),
    Reserve(1, 7, "A", NOON),
    CancelReservation(7),
    UpdateFirmware(URL, NOON),
    SendDiagnostics(URL),
    TriggerExtended("Heartbeat"),
    InstallCertificate(CertificateKind.CENTRAL, "-----BEGIN"),
    DeleteCertificate(HASH),
    TellCertificates(CertificateKind.CENTRAL),
    UseCertificate("-----BEGIN"),
    SendLog(LogKind.SECURITY, 5, URL),
    UpdateSignedFirmware(5, URL, NOON, "-----BEGIN", "c2ln"),
    ByHand("Reset", '{"type":"Soft"}'),
)


def test_every_ask_has_an_answer() -> None:
    assert {type(ask) for ask in ASKS} == set(Ask.__args__)
    written = {dialect.write(ask)[0] for ask in ASKS}
    assert written == set(actions.TO_CHARGER)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(ASKS))
def test_each_answer_of_1_6_is_understood_and_by_hand_alike(data: st.DataObject, ask: Ask) -> None:
    action, payload = dialect.write(ask)
    answer = msgspec.json.encode(data.draw(built(actions.TO_CHARGER[action][1])))
    found = outcomes.read(ask, answer)
    assert isinstance(found, Answer)
    assert found == outcomes.read(ByHand(action, payload.decode()), answer)


@pytest.mark.parametrize(
    ("ask", "payload", "outcome"),
    [
        (StopCharging(1), {"status": "Accepted"}, (True, "Accepted")),
        (StopCharging(1), {"status": "Rejected"}, (False, "Rejected")),
        (StopCharging(1), {"status": " accepted ", "vendor": 1}, (True, "Accepted")),
        (SetKey("K", "V"), {"status": "RebootRequired"}, (True, "RebootRequired")),
        (SetKey("K", "V"), {"status": "NotSupported"}, (False, "NotSupported")),
        (SetAvailability(1, is_operative=True), {"status": "Scheduled"}, (True, "Scheduled")),
        (Unlock(1), {"status": "Unlocked"}, (True, "Unlocked")),
        (Unlock(1), {"status": "UnlockFailed"}, (False, "UnlockFailed")),
        (TellVendor("V"), {"status": "UnknownVendorId"}, (False, "UnknownVendorId")),
        (GetKeys(), {}, (True, "")),
        (GetKeys(), {"configurationKey": "anything", "status": "Rejected"}, (True, "")),  # Q33
        (LIMIT, {"status": "Accepted"}, (True, "Accepted")),
        (LIMIT, {"status": "NOT_SUPPORTED"}, (False, "NotSupported")),
        (ClearLimit(), {"status": "Unknown"}, (False, "Unknown")),
        (ReplaceCards(1), {"status": "Failed"}, (False, "Failed")),
        (UpdateCards(1, ()), {"status": "versionmismatch"}, (False, "VersionMismatch")),
        (Reserve(1, 7, "A", NOON), {"status": "Occupied"}, (False, "Occupied")),
        (CancelReservation(7), {"status": "Rejected"}, (False, "Rejected")),
        (UpdateFirmware(URL, NOON), {}, (True, "")),
        (SendDiagnostics(URL), {}, (True, "")),
        (TriggerExtended("Heartbeat"), {"status": "NotImplemented"}, (False, "NotImplemented")),
        (DeleteCertificate(HASH), {"status": "NotFound"}, (False, "NotFound")),
        (SendLog(LogKind.SECURITY, 5, URL), {"status": "AcceptedCanceled"}, (True, "AcceptedCanceled")),
        (TellComposite(1, 60), {"status": "Rejected"}, (False, "Rejected")),
        (TellComposite(1, 60), {"status": "Accepted"}, (True, "Accepted")),
        (ByHand("UpdateFirmware", "{}"), {}, (True, "")),
        (ByHand("ReserveNow", "{}"), {"status": "Occupied"}, (False, "Occupied")),
        (ByHand("GetLog", "{}"), {"status": "AcceptedCanceled"}, (True, "AcceptedCanceled")),
    ],
)
def test_an_answer_is_understood(ask: Ask, payload: dict[str, Any], outcome: tuple[bool, str]) -> None:
    text = json.dumps(payload)
    assert outcomes.read(ask, text.encode()) == Answer(*outcome, text)


SCHEDULE = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}]}


@pytest.mark.parametrize(
    ("ask", "payload", "details"),
    [
        (
            TellComposite(1, 60),
            {"status": "Accepted", "chargingSchedule": SCHEDULE},
            CompositeLimits((LimitPeriod(0, 16.0),)),
        ),
        (TellCardsVersion(), {"listVersion": 4}, CardsVersion(4)),
        (TellCardsVersion(), {"listVersion": 0, "status": "Accepted"}, CardsVersion(0)),
        (SendDiagnostics(URL), {"fileName": "a.zip"}, FileNamed("a.zip")),
        (
            SendLog(LogKind.DIAGNOSTICS, 5, URL),
            {"status": "Accepted", "filename": "a.zip"},
            FileNamed("a.zip"),
        ),
        (
            TellCertificates(CertificateKind.CENTRAL),
            {
                "status": "Accepted",
                "certificateHashData": [
                    {
                        "hashAlgorithm": "SHA256",
                        "issuerNameHash": "n",
                        "issuerKeyHash": "k",
                        "serialNumber": "01",
                    }
                ],
            },
            InstalledCertificates((HASH,)),
        ),
        (TellCertificates(CertificateKind.CENTRAL), {"status": "NotFound"}, InstalledCertificates(())),
        (ByHand("GetLocalListVersion", "{}"), {"listVersion": 4}, CardsVersion(4)),
    ],
)
def test_what_an_answer_tells_besides_is_understood(
    ask: Ask, payload: dict[str, Any], details: Details
) -> None:
    outcome = outcomes.read(ask, json.dumps(payload).encode())
    assert isinstance(outcome, Answer)
    assert (outcome.is_accepted, outcome.details) == (True, details)


@pytest.mark.parametrize(
    "outcome",
    [
        outcomes.read(LIMIT, b'{"status":"NotSupported"}'),
        outcomes.read(LIMIT, b'{"status":"notImplemented"}'),
        outcomes.read(TellCardsVersion(), b'{"listVersion":-1}'),  # OCPP 1.6 §5.10
        outcomes.read(TellCardsVersion(), b'{"status":"NotSupported"}'),
        outcomes.read(UpdateFirmware(URL, NOON), b'{"status":"NotImplemented"}'),
        outcomes.read(GetKeys(), b'{"status":"NotSupported"}'),
        AnswerRefused("NotSupported"),
        AnswerRefused("NotImplemented", "unknown action"),
        None,
    ],
)
def test_what_cannot_be_done_is_said_in_one_way(outcome: Answer | AnswerRefused | None) -> None:  # Q54
    assert is_unable(outcome)
    assert not (isinstance(outcome, Answer) and outcome.is_accepted)


@pytest.mark.parametrize(
    ("ask", "payload", "code"),
    [
        (StopCharging(1), b"[]", "FormationViolation"),
        (StopCharging(1), b"{", "FormationViolation"),
        (StopCharging(1), b"\xff", "FormationViolation"),
        (StopCharging(1), b"[" * 5_000, "FormationViolation"),
        (StopCharging(1), b"{}", "OccurenceConstraintViolation"),
        (StopCharging(1), b'{"status":7}', "OccurenceConstraintViolation"),
        (StopCharging(1), b'{"status":" "}', "OccurenceConstraintViolation"),
        (TellCardsVersion(), b"{}", "OccurenceConstraintViolation"),
        (TellCardsVersion(), b'{"listVersion":"many"}', "OccurenceConstraintViolation"),
        (TellCertificates(CertificateKind.CENTRAL), b"{}", "OccurenceConstraintViolation"),
    ],
)
def test_an_answer_that_says_nothing_counts_as_a_refusal(ask: Ask, payload: bytes, code: str) -> None:  # Q18
    outcome = outcomes.read(ask, payload)
    assert isinstance(outcome, AnswerRefused)
    assert outcome.code == code
    assert not is_unable(outcome)


NAMES = st.sampled_from(
    [
        "status",
        "listVersion",
        "fileName",
        "filename",
        "chargingSchedule",
        "chargingSchedulePeriod",
        "chargingRateUnit",
        "startPeriod",
        "limit",
        "scheduleStart",
        "certificateHashData",
        "serialNumber",
    ]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "1", "A", "Accepted", "NotFound", "NotSupported", "0001-01-01T00:00:00+14:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)
objects = st.dictionaries(NAMES, json_values, max_size=6)


@settings(deadline=None)
@given(st.sampled_from(ASKS), objects.map(lambda it: json.dumps(it).encode()) | st.binary(max_size=20))
def test_read_never_raises(ask: Ask, payload: bytes) -> None:
    assert isinstance(outcomes.read(ask, payload), Answer | AnswerRefused)

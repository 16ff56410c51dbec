"""What a charger answered to an ask, whichever way it says so.

Invariants (property tests of the same names):
read never raises · what cannot be done is said in one way
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

import msgspec

from voltyard.ocpp.v16 import firmware, local_list, security, smart_charging
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Ask,
    ByHand,
    CancelReservation,
    CardsVersion,
    ClearLimit,
    DeleteCertificate,
    Details,
    ForgetCards,
    GetKeys,
    InstallCertificate,
    InstalledCertificates,
    Outcome,
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
)

_ANY: Final = msgspec.json.Decoder()

_ACTIONS: Final[MappingProxyType[type, str]] = MappingProxyType(
    {
        StartCharging: "RemoteStartTransaction",
        StopCharging: "RemoteStopTransaction",
        Restart: "Reset",
        SetKey: "ChangeConfiguration",
        GetKeys: "GetConfiguration",
        SetAvailability: "ChangeAvailability",
        Unlock: "UnlockConnector",
        ForgetCards: "ClearCache",
        Trigger: "TriggerMessage",
        TellVendor: "DataTransfer",
        SetLimit: "SetChargingProfile",
        ClearLimit: "ClearChargingProfile",
        TellComposite: "GetCompositeSchedule",
        ReplaceCards: "SendLocalList",
        UpdateCards: "SendLocalList",
        TellCardsVersion: "GetLocalListVersion",
        Reserve: "ReserveNow",
        CancelReservation: "CancelReservation",
        UpdateFirmware: "UpdateFirmware",
        SendDiagnostics: "GetDiagnostics",
        TriggerExtended: "ExtendedTriggerMessage",
        InstallCertificate: "InstallCertificate",
        DeleteCertificate: "DeleteCertificate",
        TellCertificates: "GetInstalledCertificateIds",
        UseCertificate: "CertificateSigned",
        SendLog: "GetLog",
        UpdateSignedFirmware: "SignedUpdateFirmware",
    }
)
_WITHOUT_STATUS: Final = frozenset(
    {"GetConfiguration", "GetDiagnostics", "GetLocalListVersion", "UpdateFirmware"}
)
_UNABLE: Final = frozenset({"NotImplemented", "NotSupported"})
_ACCEPTING: Final = frozenset({"Accepted", "AcceptedCanceled", "RebootRequired", "Scheduled", "Unlocked"})
_STATUSES: Final = MappingProxyType(
    {
        word.casefold(): word
        for word in (
            *_ACCEPTING,
            *_UNABLE,
            "Failed",
            "Faulted",
            "InvalidCertificate",
            "NotFound",
            "Occupied",
            "Rejected",
            "RevokedCertificate",
            "Unavailable",
            "Unknown",
            "UnknownMessageId",
            "UnknownVendorId",
            "UnlockFailed",
            "VersionMismatch",
        )
    }
)
_CONTENTS: Final[MappingProxyType[str, Callable[[bytes], Details | None]]] = MappingProxyType(
    {
        "GetCompositeSchedule": smart_charging.read_composite,
        "GetDiagnostics": firmware.read_file_name,
        "GetInstalledCertificateIds": security.read_certificates,
        "GetLocalListVersion": local_list.read_version,
        "GetLog": firmware.read_file_name,
    }
)


def read(ask: Ask, payload: bytes) -> Outcome:
    """Understand the payload of a CALLRESULT. Never raises."""
    try:
        value = _ANY.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        return AnswerRefused("FormationViolation", "the answer is not an object")
    text = payload.decode()
    action = ask.action if isinstance(ask, ByHand) else _ACTIONS[type(ask)]
    status = value.get("status")
    status = status.strip() if isinstance(status, str) else ""
    status = _STATUSES.get("".join(filter(str.isalpha, status)).casefold(), status)
    if status in _UNABLE:
        # Also where the action has no status: the same is said in many ways (quirk Q54).
        return Answer(is_accepted=False, status=status, payload=text)
    if action in _WITHOUT_STATUS:
        return _content(action, payload, text)
    if not status:
        return AnswerRefused("OccurenceConstraintViolation", "the answer bears no status")
    if action == "GetInstalledCertificateIds" and status == "NotFound":
        # White paper §5.8: none is installed, which is an answer.
        return Answer(is_accepted=True, status=status, payload=text, details=InstalledCertificates(()))
    if status not in _ACCEPTING:
        return Answer(is_accepted=False, status=status, payload=text)
    read_content = _CONTENTS.get(action)
    details = None if read_content is None else read_content(payload)
    return Answer(is_accepted=True, status=status, payload=text, details=details)


def _content(action: str, payload: bytes, text: str) -> Outcome:
    """Understand an answer that has content and no status."""
    read_content = _CONTENTS.get(action)
    details = None if read_content is None else read_content(payload)
    if action == "GetLocalListVersion":
        if not isinstance(details, CardsVersion):
            return AnswerRefused("OccurenceConstraintViolation", "the answer bears no listVersion")
        if details.version <= local_list.NO_LIST:
            return Answer(is_accepted=False, status="NotSupported", payload=text)
    return Answer(is_accepted=True, status="", payload=text, details=details)

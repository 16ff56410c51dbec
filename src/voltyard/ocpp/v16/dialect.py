"""OCPP 1.6 to speech and back: tolerant towards what comes in, strict in what goes out.

Invariants (property tests of the same names):
read never raises · what is answered fits the schema · what is written fits the schema ·
energy that a charger tells is never refused for a missing word
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec.structs import replace

from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import TAG_LENGTH_MAX
from voltyard.ocpp.frames import EMPTY_PAYLOAD, Call
from voltyard.ocpp.v16 import (
    actions,
    by_hand,
    firmware,
    local_list,
    messages,
    metering,
    outcomes,
    reservation,
    security,
    smart_charging,
    told,
)
from voltyard.ocpp.v16.writing import checked, request, seconds, whole_seconds
from voltyard.quirks import NONE, Quirks
from voltyard.speech import (
    Ask,
    Beat,
    Booted,
    ByHand,
    CancelReservation,
    ClearLimit,
    ConnectorStatus,
    Decided,
    DiagnosticsTold,
    Ended,
    FirmwareTold,
    ForgetCards,
    GetKeys,
    Judged,
    LogTold,
    MayCharge,
    Metered,
    Outcome,
    ReplaceCards,
    Reply,
    Reserve,
    Restart,
    Said,
    SecurityTold,
    SendDiagnostics,
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
    TellComposite,
    TellVendor,
    Thanks,
    Ticked,
    Trigger,
    Unlock,
    UpdateCards,
    UpdateFirmware,
    VendorTold,
    Welcomed,
)

SUBPROTOCOL: Final = "ocpp1.6"


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A call that cannot be understood; ``code`` is the CALLERROR's, ``detail`` may be sent back."""

    code: str
    detail: str


Saying = Callable[[bytes, list[str]], Said | Malformed]

_ODD_TAG: Final = re.compile(r"[\s:]")
_NOT_AN_OBJECT: Final = Malformed("FormationViolation", "the payload is not an object")
_BEAT: Final = Beat()

# What 1.5, 2.0.1 and sloppy firmware write, by letters only (quirk Q26).
_STATUS_WORDS: Final = MappingProxyType(
    {status.value.casefold(): status for status in ConnectorStatus}
    # A plug is in; whether the car charges is not told.
    | {"occupied": ConnectorStatus.PREPARING}
    | {"inoperative": ConnectorStatus.UNAVAILABLE, "fault": ConnectorStatus.FAULTED}
)
_REASONS: Final = MappingProxyType(
    {reason.casefold(): reason for reason in messages.REASONS}
    | {"deauthorised": "DeAuthorized", "evdisconnect": "EVDisconnected", "emergency": "EmergencyStop"}
)


# --- what the charger says ------------------------------------------------------------------------


def read(call: Call, flaws: list[str], zone: tzinfo = UTC) -> Said | Malformed:
    """Understand a charger's call. Never raises.

    Each deviation that was tolerated leaves a word in ``flaws``. ``zone`` is the charger's time zone: times
    without an offset are taken for its own (quirk Q35).
    """
    if call.flaws:
        flaws.extend(call.flaws)
    saying = _SAYINGS.get(call.action)
    if saying is not None:
        said = saying(call.payload, flaws)
        if zone is not UTC and "time_without_offset" in flaws:
            return _in_zone(said, zone)
        return said
    if call.action in actions.TO_CHARGER:
        # 1.6-J §4.2.3: known but not for us, as opposed to not known.
        return Malformed("NotSupported", "this action is not supported here")
    return Malformed("NotImplemented", "this action is not known")


def _in_zone(said: Said | Malformed, zone: tzinfo) -> Said | Malformed:
    """Return a saying whose times bore no offset and were taken for UTC, with those of the charger's zone.

    A firmware that writes one time without an offset writes all of them so.
    """
    changes: dict[str, object] = {}
    if isinstance(said, StatusTold | Started | Ended | SecurityTold):
        changes["told_at"] = _shifted(said.told_at, zone)
    if isinstance(said, Metered | Ended):
        changes["readings"] = tuple(
            replace(reading, told_at=_shifted(reading.told_at, zone)) for reading in said.readings
        )
    return replace(said, **changes) if changes else said


def _shifted(at: datetime | None, zone: tzinfo) -> datetime | None:
    if at is None:
        return None
    try:
        return at.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return at


def _read_heartbeat(payload: bytes, flaws: list[str]) -> Said:
    # OCPP 1.6 §6.29 has no fields, so whatever is sent along means nothing.
    del payload, flaws
    return _BEAT


def _read_boot(payload: bytes, flaws: list[str]) -> Said | Malformed:
    boot = told.read(told.BOOT, payload, flaws)
    if boot is None:
        return _NOT_AN_OBJECT
    return Booted(
        _needed(boot.charge_point_vendor, "chargePointVendor", flaws),
        _needed(boot.charge_point_model, "chargePointModel", flaws),
        _word(boot.charge_point_serial_number, flaws),
        _word(boot.charge_box_serial_number, flaws),
        _word(boot.firmware_version, flaws),
        _word(boot.iccid, flaws),
        _word(boot.imsi, flaws),
        _word(boot.meter_type, flaws),
        _word(boot.meter_serial_number, flaws),
    )


def _read_status(payload: bytes, flaws: list[str]) -> Said | Malformed:
    status = told.read(told.STATUS, payload, flaws)
    if status is None:
        return _NOT_AN_OBJECT
    if status.connector_id is None:
        return _missing("connectorId")
    if status.connector_id < 0:
        return Malformed("PropertyConstraintViolation", "connectorId is negative")
    if status.status is None:
        return _missing("status")
    word = _status(status.status, flaws)
    if word is None:
        return Malformed("PropertyConstraintViolation", "status is not one of the nine")
    vendor_error = _word(status.vendor_error_code, flaws)
    if vendor_error is not None and not vendor_error.lower().removeprefix("0x").strip("0"):
        # Quirk Q32: no error, in hexadecimal.
        vendor_error = None
        flaws.append("null_text")
    return StatusTold(
        status.connector_id,
        word,
        _needed(status.error_code, "errorCode", flaws) or "NoError",
        _word(status.info, flaws),
        _word(status.vendor_id, flaws),
        vendor_error,
        told.in_utc(status.timestamp, flaws),
    )


def _read_authorize(payload: bytes, flaws: list[str]) -> Said | Malformed:
    authorize = told.read(told.AUTHORIZE, payload, flaws)
    if authorize is None:
        return _NOT_AN_OBJECT
    if authorize.id_tag is None:
        return _missing("idTag")
    return MayCharge(_tag(authorize.id_tag, flaws))


def _read_start(payload: bytes, flaws: list[str]) -> Said | Malformed:
    start = told.read(told.START, payload, flaws)
    if start is None:
        return _NOT_AN_OBJECT
    if start.connector_id is None:
        return _missing("connectorId")
    if start.connector_id < 0:
        return Malformed("PropertyConstraintViolation", "connectorId is negative")
    if start.id_tag is None:
        return _missing("idTag")
    if start.meter_start is None:
        flaws.append("missing_meterStart")
    return Started(
        start.connector_id,
        _tag(start.id_tag, flaws),
        start.meter_start,
        _timestamp(start.timestamp, flaws),
        start.reservation_id,
    )


def _read_meters(payload: bytes, flaws: list[str]) -> Said | Malformed:
    meters = told.read_meters(payload, flaws)
    if meters is None:
        return _NOT_AN_OBJECT
    connector = meters.connector_id
    if connector is None or connector < 0:
        if meters.transaction_id is None:
            return _missing("connectorId")
        # The transaction says which connector it is; energy must not be lost.
        flaws.append("missing_connectorId")
        connector = 0
    if meters.meter_value is None:
        flaws.append("missing_meterValue")
        return Metered(connector, meters.transaction_id, ())
    return Metered(connector, meters.transaction_id, metering.readings(meters.meter_value, flaws))


def _read_stop(payload: bytes, flaws: list[str]) -> Said | Malformed:
    stop = told.read(told.STOP, payload, flaws)
    if stop is None:
        return _NOT_AN_OBJECT
    if stop.transaction_id is None and stop.meter_stop is None:
        return _missing("transactionId")
    if stop.transaction_id is None:
        flaws.append("missing_transactionId")
    readings = metering.readings(stop.transaction_data, flaws) if stop.transaction_data else ()
    meter_wh = stop.meter_stop
    if meter_wh is None:
        flaws.append("missing_meterStop")
        energies = [reading.energy_wh for reading in readings if reading.energy_wh is not None]
        meter_wh = round(energies[-1]) if energies else 0
    return Ended(
        stop.transaction_id or 0,
        meter_wh,
        _timestamp(stop.timestamp, flaws),
        _reason(stop.reason, flaws),
        None if stop.id_tag is None else _tag(stop.id_tag, flaws) or None,
        readings,
    )


def _read_transfer(payload: bytes, flaws: list[str]) -> Said | Malformed:
    transfer = told.read(told.TRANSFER, payload, flaws)
    if transfer is None:
        return _NOT_AN_OBJECT
    if transfer.vendor_id is None:
        return _missing("vendorId")
    return VendorTold(transfer.vendor_id, transfer.message_id, transfer.data)


def _read_firmware(payload: bytes, flaws: list[str]) -> Said | Malformed:
    progress = told.read(told.PROGRESS, payload, flaws)
    if progress is None:
        return _NOT_AN_OBJECT
    return _missing("status") if progress.status is None else FirmwareTold(progress.status)


def _read_diagnostics(payload: bytes, flaws: list[str]) -> Said | Malformed:
    progress = told.read(told.PROGRESS, payload, flaws)
    if progress is None:
        return _NOT_AN_OBJECT
    return _missing("status") if progress.status is None else DiagnosticsTold(progress.status)


def _read_security_event(payload: bytes, flaws: list[str]) -> Said | Malformed:
    event = told.read(told.SECURITY_EVENT, payload, flaws)
    if event is None:
        return _NOT_AN_OBJECT
    # Refused, it would be told again (white paper, use case A04); the log of calls keeps what it says.
    return SecurityTold(
        _needed(event.type, "type", flaws), _timestamp(event.timestamp, flaws), _word(event.tech_info, flaws)
    )


def _read_signing(payload: bytes, flaws: list[str]) -> Said | Malformed:
    signing = told.read(told.SIGNING, payload, flaws)
    if signing is None:
        return _NOT_AN_OBJECT
    return _missing("csr") if signing.csr is None else SigningAsked(signing.csr)


def _read_log(payload: bytes, flaws: list[str]) -> Said | Malformed:
    progress = told.read(told.PROGRESS, payload, flaws)
    if progress is None:
        return _NOT_AN_OBJECT
    return _missing("status") if progress.status is None else LogTold(progress.status, progress.request_id)


def _read_signed_firmware(payload: bytes, flaws: list[str]) -> Said | Malformed:
    progress = told.read(told.PROGRESS, payload, flaws)
    if progress is None:
        return _NOT_AN_OBJECT
    if progress.status is None:
        return _missing("status")
    return SignedFirmwareTold(progress.status, progress.request_id)


_SAYINGS: Final[MappingProxyType[str, Saying]] = MappingProxyType(
    {
        "Authorize": _read_authorize,
        "BootNotification": _read_boot,
        "DataTransfer": _read_transfer,
        "DiagnosticsStatusNotification": _read_diagnostics,
        "FirmwareStatusNotification": _read_firmware,
        "Heartbeat": _read_heartbeat,
        "LogStatusNotification": _read_log,
        "MeterValues": _read_meters,
        "SecurityEventNotification": _read_security_event,
        "SignCertificate": _read_signing,
        "SignedFirmwareStatusNotification": _read_signed_firmware,
        "StartTransaction": _read_start,
        "StatusNotification": _read_status,
        "StopTransaction": _read_stop,
    }
)


def _missing(field: str) -> Malformed:
    return Malformed("OccurenceConstraintViolation", f"{field} is missing")


def _needed(text: str | None, field: str, flaws: list[str]) -> str:
    """Return a text that 1.6 demands, empty and noted when it is not told (quirk Q31)."""
    if text is None:
        flaws.append(f"missing_{field}")
        return ""
    return text.strip()


def _word(text: str | None, flaws: list[str]) -> str | None:
    """Return an optional text; the words for nothing are nothing (quirk Q32)."""
    if text is None:
        return None
    stripped = text.strip()
    if stripped.lower() not in told.NULL_WORDS:
        return stripped
    if stripped:
        flaws.append("null_text")
    return None


def _tag(text: str, flaws: list[str]) -> str:
    """Return the id of a card without blanks around it (1.6 §7.28, quirk Q34).

    A longer one than 1.6 allows stays whole: cut, it could pass for another card.
    """
    tag = text.strip()
    if not tag:
        flaws.append("empty_tag")
    if len(tag) > TAG_LENGTH_MAX:
        flaws.append("long_tag")
    if _ODD_TAG.search(tag):
        flaws.append("odd_tag")
    return tag


def _timestamp(at: datetime | None, flaws: list[str]) -> datetime | None:
    """Return a timestamp that 1.6 demands, in UTC."""
    if at is None:
        flaws.append("missing_timestamp")
        return None
    return told.in_utc(at, flaws)


def _status(word: str, flaws: list[str]) -> ConnectorStatus | None:
    try:
        return ConnectorStatus(word)
    except ValueError:
        known = _STATUS_WORDS.get("".join(filter(str.isalpha, word)).casefold())
        flaws.append("unknown_status" if known is None else "alias_word")
        return known


def _reason(word: str | None, flaws: list[str]) -> str | None:
    """Return why a transaction ended, in the spelling of 1.6 §7.36 if it is one of its reasons."""
    told_word = _word(word, flaws)
    if told_word is None or told_word in messages.REASONS:
        return told_word
    known = _REASONS.get("".join(filter(str.isalpha, told_word)).casefold())
    flaws.append("unknown_reason" if known is None else "alias_word")
    return known or told_word


# --- what we answer -------------------------------------------------------------------------------


def answer(said: Said, reply: Reply, quirks: Quirks = NONE) -> bytes:
    """Write the reply to a saying as the payload of its CALLRESULT."""
    # Not a match statement: the first two answer nine of ten messages, and it takes twice as long.
    if isinstance(reply, Thanks):
        assert type(said) in _THANKED, said
        return EMPTY_PAYLOAD
    if isinstance(reply, Ticked):
        assert isinstance(said, Beat), said
        now = reply.now
        # OCPP 1.6 §3.14; whole seconds, since some chargers refuse fractions and offsets (quirk Q36).
        told_at = (now if now.tzinfo is UTC else now.astimezone(UTC)).isoformat(timespec="milliseconds")
        return f'{{"currentTime":"{told_at[: 23 if quirks.wants_milliseconds else 19]}Z"}}'.encode()
    if isinstance(reply, Judged):
        return _judged(said, reply)
    if isinstance(reply, Welcomed):
        assert isinstance(said, Booted), said
        now, interval_s = whole_seconds(reply.now), max(0, reply.interval_s)
        return msgspec.json.encode(messages.BootNotificationAnswer(reply.registration, now, interval_s))
    if isinstance(reply, Decided):
        assert isinstance(said, SigningAsked), said
        return checked(
            security.SignCertificateAnswer, {"status": "Accepted" if reply.is_accepted else "Rejected"}
        )
    assert isinstance(said, VendorTold), said
    return checked(messages.DataTransferAnswer, {"status": reply.status, "data": reply.data})


_THANKED: Final = frozenset(
    {
        StatusTold,
        Metered,
        Ended,
        FirmwareTold,
        DiagnosticsTold,
        SecurityTold,
        LogTold,
        SignedFirmwareTold,
    }
)
"""Sayings that are only stored, and the end of a transaction, whose verdict may be left out."""


def _judged(said: Said, reply: Judged) -> bytes:
    info = None if reply.verdict is None else _id_tag_info(reply)
    if isinstance(said, Ended):
        return msgspec.json.encode(messages.StopTransactionAnswer(info))
    assert info is not None, "a verdict is due"
    if isinstance(said, MayCharge):
        return msgspec.json.encode(messages.AuthorizeAnswer(info))
    assert isinstance(said, Started), said
    assert reply.number is not None, "a number is due"
    return msgspec.json.encode(messages.StartTransactionAnswer(info, reply.number))


def _id_tag_info(reply: Judged) -> messages.IdTagInfo:
    assert reply.verdict is not None
    # A parent that 1.6 §7.28 has no room for is better not told than told wrongly.
    has_room = reply.parent_tag is not None and len(reply.parent_tag) <= TAG_LENGTH_MAX
    return messages.IdTagInfo(
        reply.verdict,
        seconds(reply.expires_at),
        reply.parent_tag if has_room else None,
    )


# --- what we ask of the charger -------------------------------------------------------------------


def write(ask: Ask, quirks: Quirks = NONE) -> tuple[str, bytes]:
    """Write an ask as an action and the payload of its CALL, in the form that this model heeds.

    What a person wrote by hand stays as it is. Raises: Invalid when OCPP 1.6 has no room for a value, or no
    such action.
    """
    match ask:
        case StartCharging(id_tag, connector):
            if not id_tag:
                raise Invalid("name a card to start with", (("/id_tag", "is empty"),))
            if connector is None and quirks.start_needs_connector:
                connector = 1  # quirk Q53: some refuse to choose
            return request(messages.RemoteStartTransaction, {"idTag": id_tag, "connectorId": connector})
        case StopCharging(number):
            return request(messages.RemoteStopTransaction, {"transactionId": number})
        case Restart(is_hard):
            return request(messages.Reset, {"type": "Hard" if is_hard else "Soft"})
        case SetKey(key, value):
            return request(messages.ChangeConfiguration, {"key": key, "value": value})
        case GetKeys(keys):
            return request(messages.GetConfiguration, {"key": list(keys) or None})
        case SetAvailability(connector, is_operative):
            kind = "Operative" if is_operative else "Inoperative"
            return request(messages.ChangeAvailability, {"connectorId": connector, "type": kind})
        case Unlock(connector):
            return request(messages.UnlockConnector, {"connectorId": connector})
        case ForgetCards():
            return "ClearCache", EMPTY_PAYLOAD
        case Trigger(what, connector):
            return request(messages.TriggerMessage, {"requestedMessage": what, "connectorId": connector})
        case TellVendor(vendor, kind, data):
            return request(messages.DataTransfer, {"vendorId": vendor, "messageId": kind, "data": data})
        case SetLimit() | ClearLimit() | TellComposite():
            return smart_charging.write(ask, quirks)
        case ReplaceCards() | UpdateCards() | TellCardsVersion():
            return local_list.write(ask)
        case Reserve() | CancelReservation():
            return reservation.write(ask)
        case UpdateFirmware() | SendDiagnostics():
            return firmware.write(ask)
        case ByHand(action, payload):
            return action, by_hand.write(action, payload)
    return security.write(ask)


# --- what the charger answers ---------------------------------------------------------------------


def read_answer(ask: Ask, payload: bytes) -> Outcome:
    """Understand the payload of a CALLRESULT. Never raises."""
    return outcomes.read(ask, payload)

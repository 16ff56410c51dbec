"""OCPP 1.6 to speech and back: tolerant towards what comes in, strict in what goes out.

Invariants (property tests of the same names):
read never raises · what is answered fits the schema · what is written fits the schema ·
energy that a charger tells is never refused for a missing word
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, assert_never

import msgspec

from voltyard.kernel.errors import Invalid
from voltyard.kernel.limits import FRAME_BYTES_MAX, TAG_LENGTH_MAX
from voltyard.ocpp.frames import EMPTY_PAYLOAD, Call
from voltyard.ocpp.v16 import messages, metering, told
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Ask,
    Beat,
    Booted,
    ByHand,
    ConnectorStatus,
    DiagnosticsTold,
    Ended,
    FirmwareTold,
    ForgetCards,
    GetKeys,
    Judged,
    MayCharge,
    Metered,
    Outcome,
    Reply,
    Restart,
    Said,
    SetAvailability,
    SetKey,
    StartCharging,
    Started,
    StatusTold,
    StopCharging,
    TellVendor,
    Thanks,
    Ticked,
    Trigger,
    Unlock,
    VendorTold,
    Welcomed,
)

SUBPROTOCOL: Final = "ocpp1.6"


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """A call that cannot be understood; ``code`` is the CALLERROR's, ``detail`` may be sent back."""

    code: str
    detail: str


Saying = Callable[[bytes, list[str]], Said | Malformed]

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
_ACCEPTING: Final = frozenset({"Accepted", "AcceptedCanceled", "RebootRequired", "Scheduled", "Unlocked"})
_ANSWER_WORDS: Final = MappingProxyType(
    {
        word.casefold(): word
        for word in (*_ACCEPTING, "Rejected", "NotSupported", "UnlockFailed", "NotImplemented")
    }
)
_WITHOUT_STATUS: Final = frozenset(
    {"GetConfiguration", "GetDiagnostics", "GetLocalListVersion", "UpdateFirmware"}
)


# --- what the charger says ------------------------------------------------------------------------


def read(call: Call, flaws: list[str]) -> Said | Malformed:
    """Understand a charger's call. Never raises.

    Each deviation that was tolerated leaves a word in ``flaws``.
    """
    saying = _SAYINGS.get(call.action)
    if saying is not None:
        return saying(call.payload, flaws)
    if call.action in messages.ACTIONS_FROM_CHARGER or call.action in messages.ACTIONS_TO_CHARGER:
        # 1.6-J §4.2.3: known but not for us, as opposed to not known.
        return Malformed("NotSupported", "this action is not supported here")
    return Malformed("NotImplemented", "this action is not known")


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
        _word(boot.charge_point_serial_number),
        _word(boot.charge_box_serial_number),
        _word(boot.firmware_version),
        _word(boot.iccid),
        _word(boot.imsi),
        _word(boot.meter_type),
        _word(boot.meter_serial_number),
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
    vendor_error = _word(status.vendor_error_code)
    if vendor_error is not None and not vendor_error.lower().removeprefix("0x").strip("0"):
        # Quirk Q32: no error, in hexadecimal.
        vendor_error = None
    return StatusTold(
        status.connector_id,
        word,
        _needed(status.error_code, "errorCode", flaws) or "NoError",
        _word(status.info),
        _word(status.vendor_id),
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
        start.meter_start or 0,
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


_SAYINGS: Final[MappingProxyType[str, Saying]] = MappingProxyType(
    {
        "Authorize": _read_authorize,
        "BootNotification": _read_boot,
        "DataTransfer": _read_transfer,
        "DiagnosticsStatusNotification": _read_diagnostics,
        "FirmwareStatusNotification": _read_firmware,
        "Heartbeat": _read_heartbeat,
        "MeterValues": _read_meters,
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


def _word(text: str | None) -> str | None:
    """Return an optional text; the words for nothing are nothing (quirk Q32)."""
    if text is None:
        return None
    stripped = text.strip()
    return None if stripped.lower() in told.NULL_WORDS else stripped


def _tag(text: str, flaws: list[str]) -> str:
    """Return the id of a card without blanks around it (1.6 §7.28, quirk Q34).

    A longer one than 1.6 allows stays whole: cut, it could pass for another card.
    """
    tag = text.strip()
    if not tag:
        flaws.append("empty_tag")
    if len(tag) > TAG_LENGTH_MAX:
        flaws.append("long_tag")
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
    told_word = _word(word)
    if told_word is None or told_word in messages.REASONS:
        return told_word
    known = _REASONS.get("".join(filter(str.isalpha, told_word)).casefold())
    flaws.append("unknown_reason" if known is None else "alias_word")
    return known or told_word


# --- what we answer -------------------------------------------------------------------------------


def answer(said: Said, reply: Reply) -> bytes:
    """Write the reply to a saying as the payload of its CALLRESULT."""
    # Not a match statement: the first two answer nine of ten messages, and it takes twice as long.
    if isinstance(reply, Thanks):
        assert type(said) in _THANKED, said
        return EMPTY_PAYLOAD
    if isinstance(reply, Ticked):
        assert isinstance(said, Beat), said
        now = reply.now
        # OCPP 1.6 §3.14; whole seconds, since some chargers refuse fractions and offsets (quirk Q36).
        told_at = (now if now.tzinfo is UTC else now.astimezone(UTC)).isoformat()
        return f'{{"currentTime":"{told_at[:19]}Z"}}'.encode()
    if isinstance(reply, Judged):
        return _judged(said, reply)
    if isinstance(reply, Welcomed):
        assert isinstance(said, Booted), said
        now, interval_s = _seconds(reply.now), max(0, reply.interval_s)
        return msgspec.json.encode(messages.BootNotificationAnswer(reply.registration, now, interval_s))
    assert isinstance(said, VendorTold), said
    return _checked(messages.DataTransferAnswer, {"status": reply.status, "data": reply.data})


_THANKED: Final = frozenset({StatusTold, Metered, Ended, FirmwareTold, DiagnosticsTold})
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
        None if reply.expires_at is None else _seconds(reply.expires_at),
        reply.parent_tag if has_room else None,
    )


def _seconds(at: datetime) -> datetime:
    """Return the instant in whole seconds of UTC; some chargers refuse fractions and offsets (quirk Q36)."""
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).replace(microsecond=0)


# --- what we ask of the charger -------------------------------------------------------------------


def write(ask: Ask) -> tuple[str, bytes]:
    """Write an ask as an action and the payload of its CALL.

    Raises: Invalid when OCPP 1.6 has no room for a value, or no such action.
    """
    match ask:
        case StartCharging(id_tag, connector):
            if not id_tag:
                raise Invalid("name a card to start with", (("/id_tag", "is empty"),))
            return _request(messages.RemoteStartTransaction, {"idTag": id_tag, "connectorId": connector})
        case StopCharging(number):
            return _request(messages.RemoteStopTransaction, {"transactionId": number})
        case Restart(is_hard):
            return _request(messages.Reset, {"type": "Hard" if is_hard else "Soft"})
        case SetKey(key, value):
            return _request(messages.ChangeConfiguration, {"key": key, "value": value})
        case GetKeys(keys):
            return _request(messages.GetConfiguration, {"key": list(keys) or None})
        case SetAvailability(connector, is_operative):
            kind = "Operative" if is_operative else "Inoperative"
            return _request(messages.ChangeAvailability, {"connectorId": connector, "type": kind})
        case Unlock(connector):
            return _request(messages.UnlockConnector, {"connectorId": connector})
        case ForgetCards():
            return "ClearCache", EMPTY_PAYLOAD
        case Trigger(what, connector):
            return _request(messages.TriggerMessage, {"requestedMessage": what, "connectorId": connector})
        case TellVendor(vendor, kind, data):
            return _request(messages.DataTransfer, {"vendorId": vendor, "messageId": kind, "data": data})
        case ByHand(action, payload):
            return action, _by_hand(action, payload)
    assert_never(ask)


def read_answer(ask: Ask, payload: bytes) -> Outcome:
    """Understand the payload of a CALLRESULT. Never raises."""
    try:
        value = _ANY.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        return AnswerRefused("FormationViolation", "the answer is not an object")
    text = payload.decode()
    if _ACTIONS.get(type(ask)) in _WITHOUT_STATUS or (
        isinstance(ask, ByHand) and ask.action in _WITHOUT_STATUS
    ):
        return Answer(is_accepted=True, status="", payload=text)
    status = value.get("status")
    if not isinstance(status, str) or not status.strip():
        return AnswerRefused("OccurenceConstraintViolation", "the answer bears no status")
    status = _ANSWER_WORDS.get(status.strip().casefold(), status.strip())
    return Answer(is_accepted=status in _ACCEPTING, status=status, payload=text)


_ANY: Final = msgspec.json.Decoder()
_LENGTH: Final = re.compile(r"length <= (\d+)")
_PLACE: Final = re.compile(r" - at `\$\.?(.*)`$")


def _request(kind: type[messages.Payload], values: dict[str, object]) -> tuple[str, bytes]:
    return kind.__name__, _checked(kind, values)


def _checked(kind: type[messages.Payload], values: dict[str, object]) -> bytes:
    try:
        return msgspec.json.encode(msgspec.convert(values, kind))
    except msgspec.ValidationError as wrong:
        raise _invalid(wrong) from wrong
    except UnicodeEncodeError as wrong:
        raise Invalid("take out the characters that are no text") from wrong


def _invalid(wrong: msgspec.ValidationError) -> Invalid:
    """Say what to do about a value that does not fit."""
    text = str(wrong)
    place = _PLACE.search(text)
    field = place[1] if place else ""
    length = _LENGTH.search(text)
    problem = f"shorten it to at most {length[1]} characters" if length else _PLACE.sub("", text)
    pointer = "/" + field.replace(".", "/").replace("[", "/").replace("]", "") if field else ""
    return Invalid(f"{field}: {problem}" if field else problem, ((pointer, problem),))


def _by_hand(action: str, payload: str) -> bytes:
    """Check what a person wrote: an action that a charger may be asked for, with an object of its shape."""
    if action not in messages.ACTIONS_TO_CHARGER:
        raise Invalid(f"OCPP 1.6 has no action {action!r} towards a charger", (("/action", "is not known"),))
    if len(payload) > FRAME_BYTES_MAX // 4:
        raise Invalid("shorten the payload", (("/payload", "is too long"),))
    try:
        raw = payload.encode()
        value = _ANY.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as wrong:
        raise Invalid("the payload is not JSON", (("/payload", "is not JSON"),)) from wrong
    if not isinstance(value, dict):
        raise Invalid("write the payload as an object", (("/payload", "is not an object"),))
    modelled = messages.TO_CHARGER.get(action)
    if modelled is not None:
        try:
            request = msgspec.convert(value, modelled[0])
        except msgspec.ValidationError as wrong:
            raise _invalid(wrong) from wrong
        _refuse_unknown(value, msgspec.to_builtins(request), "")
    return msgspec.json.format(raw, indent=-1)


def _refuse_unknown(value: object, known: object, pointer: str) -> None:
    """Refuse fields that the message lacks, and nulls, which its schema does not allow."""
    if isinstance(value, dict) and isinstance(known, dict):
        for name, part in value.items():
            place = f"{pointer}/{name}"
            if name not in known:
                problem = "leave it out instead of null" if part is None else "is not a field of this message"
                raise Invalid(f"{place}: {problem}", ((place, problem),))
            _refuse_unknown(part, known[name], place)
    elif isinstance(value, list) and isinstance(known, list):
        for index, part in enumerate(value):
            _refuse_unknown(part, known[index], f"{pointer}/{index}")


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
    }
)

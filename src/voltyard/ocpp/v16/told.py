"""What a charger sends, in shapes that take nearly anything.

Every field is optional and every word a free text; ``dialect`` decides what it cannot do without. A payload
is read strictly by type at first, which is fast and nearly always enough; only when that fails a second
pass coerces field by field. Each deviation that is tolerated leaves a short word in ``flaws``.

Invariants (property tests of the same names):
read never raises · a value that cannot be understood is None, never 0
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from voltyard.ocpp.v16 import messages

NUMBER_MAX: Final = 2**31 - 1
METER_MAX: Final = 2**53

_Number = Annotated[int, Meta(ge=-(2**31), le=NUMBER_MAX)]
_Meter = Annotated[int, Meta(ge=-METER_MAX, le=METER_MAX)]


class Told(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The payload of a message, or a part of it, as a charger told it."""


class Boot(Told, frozen=True):
    """BootNotification."""

    charge_point_vendor: str | None = None
    charge_point_model: str | None = None
    charge_point_serial_number: str | None = None
    charge_box_serial_number: str | None = None
    firmware_version: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    meter_type: str | None = None
    meter_serial_number: str | None = None


class Status(Told, frozen=True):
    """StatusNotification."""

    connector_id: _Number | None = None
    status: str | None = None
    error_code: str | None = None
    info: str | None = None
    timestamp: datetime | None = None
    vendor_id: str | None = None
    vendor_error_code: str | None = None


class Authorize(Told, frozen=True):
    """Authorize."""

    id_tag: str | None = None


class Sample(Told, frozen=True):
    """One sampled value; absent words mean their defaults of OCPP 1.6 §7.43."""

    value: str | None = None
    context: str | None = None
    format: str | None = None
    measurand: str | None = None
    phase: str | None = None
    location: str | None = None
    unit: str | None = None


class MeterValue(Told, frozen=True):
    """The sampled values of one instant."""

    timestamp: datetime | None = None
    sampled_value: list[Sample] | None = None


class Meters(Told, frozen=True):
    """MeterValues."""

    connector_id: _Number | None = None
    transaction_id: _Number | None = None
    meter_value: list[MeterValue] | None = None


class Start(Told, frozen=True):
    """StartTransaction."""

    connector_id: _Number | None = None
    id_tag: str | None = None
    meter_start: _Meter | None = None
    timestamp: datetime | None = None
    reservation_id: _Number | None = None


class Stop(Told, frozen=True):
    """StopTransaction."""

    transaction_id: _Number | None = None
    meter_stop: _Meter | None = None
    timestamp: datetime | None = None
    reason: str | None = None
    id_tag: str | None = None
    transaction_data: list[MeterValue] | None = None


class Transfer(Told, frozen=True):
    """DataTransfer."""

    vendor_id: str | None = None
    message_id: str | None = None
    data: str | None = None


class Progress(Told, frozen=True):
    """How far something is; the white paper's messages bear a number, too."""

    status: str | None = None
    request_id: _Number | None = None


class SecurityEvent(Told, frozen=True):
    """SecurityEventNotification."""

    type: str | None = None
    timestamp: datetime | None = None
    tech_info: str | None = None


class Signing(Told, frozen=True):
    """SignCertificate."""

    csr: str | None = None


class Period(Told, frozen=True):
    """One period of a charging schedule."""

    start_period: _Number | None = None
    limit: float | None = None
    number_phases: _Number | None = None


class Schedule(Told, frozen=True):
    """A charging schedule."""

    charging_rate_unit: str | None = None
    charging_schedule_period: list[Period] | None = None
    duration: _Number | None = None
    start_schedule: datetime | None = None


class Composite(Told, frozen=True):
    """The answer to GetCompositeSchedule."""

    schedule_start: datetime | None = None
    charging_schedule: Schedule | None = None


class ListVersion(Told, frozen=True):
    """The answer to GetLocalListVersion."""

    list_version: _Number | None = None


class File(Told, frozen=True):
    """The answers to GetDiagnostics and GetLog, which spell the same thing differently."""

    file_name: str | None = None
    filename: str | None = None


class Certificate(Told, frozen=True):
    """What one certificate is known by."""

    hash_algorithm: str | None = None
    issuer_name_hash: str | None = None
    issuer_key_hash: str | None = None
    serial_number: str | None = None


class Certificates(Told, frozen=True):
    """The answer to GetInstalledCertificateIds."""

    certificate_hash_data: list[Certificate] | None = None


ToldT = TypeVar("ToldT", bound=Told)
Reader = Callable[[object, list[str]], object]

NULL_WORDS: Final = frozenset({"", "-", "--", "null", "none", "nan", "n/a", "undefined"})
"""What chargers write where they have nothing to say (quirks Q28 and Q32)."""

_NUL: Final = b"\\u0000"
_ANY: Final = msgspec.json.Decoder()
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"\s*(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,30}(?:[.,]\d{0,30})?|[.,]\d{1,30})(?:[eE][+-]?\d{1,3})?", re.ASCII)


def read(decoder: msgspec.json.Decoder[ToldT], payload: bytes, flaws: list[str]) -> ToldT | None:
    """Read a payload, coercing what does not fit; None when it is no JSON object at all."""
    # A NUL inside a text would be refused by PostgreSQL much later; the second pass takes it out.
    if _NUL not in payload:
        try:
            return decoder.decode(payload)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
    try:
        value = _ANY.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(value, dict):
        return None
    return _coerced(decoder.type, value, flaws)


def read_meters(payload: bytes, flaws: list[str]) -> messages.MeterValues | Meters | None:
    """Read MeterValues, nine of ten messages.

    The words of 1.6 are known to the first decoder, so those that speak to the letter cost least.
    """
    try:
        return _METERS_TO_THE_LETTER.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return read(METERS, payload, flaws)


def number(text: str) -> float | None:
    """Return the number that a text means, None when it means none; a decimal comma counts (quirk Q28)."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else None


def time(text: str) -> datetime | None:
    """Return the instant that a text means, naive when it bears no offset, None if unreadable (quirk Q35)."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, offset_h, offset_min = found.groups()
    zone: timezone | None = UTC if zulu else None
    try:
        if sign:
            offset = timedelta(hours=int(offset_h), minutes=int(offset_min or 0))
            zone = timezone(-offset if sign == "-" else offset)
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            # A leap second has no place in a datetime.
            min(int(second or 0), 59),
            int((fraction or "0")[:6].ljust(6, "0")),
            tzinfo=zone,
        )
    except ValueError:
        return None


def in_utc(at: datetime | None, flaws: list[str]) -> datetime | None:
    """Return the instant in UTC; one without an offset is taken for UTC, which 1.6 §3.14 prefers."""
    if at is None or at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        flaws.append("time_without_offset")
        return at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        flaws.append("unreadable_time")
        return None


def _coerced(kind: type[ToldT], raw: dict[str, Any], flaws: list[str]) -> ToldT:
    values: dict[str, Any] = {}
    for attribute, name, reader in _FIELDS[kind]:
        given = raw.get(name)
        if given is not None:
            values[attribute] = reader(given, flaws)
    return kind(**values)


def _text(value: object, flaws: list[str]) -> str | None:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, bool):
        flaws.append("wrong_type")
        return str(value).lower()
    if isinstance(value, int | float):
        flaws.append("number_for_text")
        return repr(value)
    flaws.append("wrong_type")
    return None


def _text_or_json(value: object, flaws: list[str]) -> str | None:
    if isinstance(value, dict | list):
        flaws.append("object_for_text")
        return msgspec.json.encode(value).decode()
    return _text(value, flaws)


def _integer(value: object, flaws: list[str], most: int) -> int | None:
    found: float | None
    if isinstance(value, str):
        if value.strip().lower() in NULL_WORDS:
            flaws.append("empty_value")
            return None
        flaws.append("number_as_text")
        found = number(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    else:
        found = None
    if found is None or not -most - 1 <= found <= most:
        flaws.append("unreadable_number")
        return None
    if found != int(found):
        flaws.append("fraction_dropped")
    return int(found)


def _number(value: object, flaws: list[str]) -> int | None:
    return _integer(value, flaws, NUMBER_MAX)


def _meter(value: object, flaws: list[str]) -> int | None:
    return _integer(value, flaws, METER_MAX)


def _decimal(value: object, flaws: list[str]) -> float | None:
    found: float | None = None
    if isinstance(value, str):
        flaws.append("number_as_text")
        found = number(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    if found is None or not -METER_MAX <= found <= METER_MAX:
        flaws.append("unreadable_number")
        return None
    return float(found)


def _time(value: object, flaws: list[str]) -> datetime | None:
    at = time(value) if isinstance(value, str) else None
    if at is None:
        flaws.append("unreadable_time")
    return at


def _all(kind: type[ToldT], value: object, flaws: list[str]) -> list[ToldT]:
    """Read an array of objects; an object that stands alone counts as an array of one (quirk Q25)."""
    if isinstance(value, dict):
        flaws.append("object_for_array")
        value = [value]
    if not isinstance(value, list):
        flaws.append("wrong_type")
        return []
    objects = [item for item in value if isinstance(item, dict)]
    if len(objects) < len(value):
        flaws.append("wrong_type")
    return [_coerced(kind, item, flaws) for item in objects]


def _samples(value: object, flaws: list[str]) -> list[Sample]:
    return _all(Sample, value, flaws)


def _meter_values(value: object, flaws: list[str]) -> list[MeterValue]:
    return _all(MeterValue, value, flaws)


def _schedule(value: object, flaws: list[str]) -> Schedule | None:
    return next(iter(_all(Schedule, [value], flaws)), None)


def _periods(value: object, flaws: list[str]) -> list[Period]:
    return _all(Period, value, flaws)


def _certificates(value: object, flaws: list[str]) -> list[Certificate]:
    return _all(Certificate, value, flaws)


_SPECIAL: Final = MappingProxyType(
    {
        "connector_id": _number,
        "transaction_id": _number,
        "reservation_id": _number,
        "meter_start": _meter,
        "meter_stop": _meter,
        "timestamp": _time,
        "sampled_value": _samples,
        "meter_value": _meter_values,
        "transaction_data": _meter_values,
        "data": _text_or_json,
        "request_id": _number,
        "start_period": _number,
        "number_phases": _number,
        "duration": _number,
        "list_version": _number,
        "limit": _decimal,
        "schedule_start": _time,
        "start_schedule": _time,
        "charging_schedule": _schedule,
        "charging_schedule_period": _periods,
        "certificate_hash_data": _certificates,
    }
)


def _fields(kind: type[Told]) -> tuple[tuple[str, str, Reader], ...]:
    return tuple(
        (field.name, field.encode_name, _SPECIAL.get(field.name, _text))
        for field in msgspec.structs.fields(kind)
    )


_FIELDS: Final[MappingProxyType[type[Told], tuple[tuple[str, str, Reader], ...]]] = MappingProxyType(
    {kind: _fields(kind) for kind in Told.__subclasses__()}
)

BOOT: Final = msgspec.json.Decoder(Boot)
STATUS: Final = msgspec.json.Decoder(Status)
AUTHORIZE: Final = msgspec.json.Decoder(Authorize)
_METERS_TO_THE_LETTER: Final = msgspec.json.Decoder(messages.MeterValues)
METERS: Final = msgspec.json.Decoder(Meters)
START: Final = msgspec.json.Decoder(Start)
STOP: Final = msgspec.json.Decoder(Stop)
TRANSFER: Final = msgspec.json.Decoder(Transfer)
PROGRESS: Final = msgspec.json.Decoder(Progress)
SECURITY_EVENT: Final = msgspec.json.Decoder(SecurityEvent)
SIGNING: Final = msgspec.json.Decoder(Signing)
COMPOSITE: Final = msgspec.json.Decoder(Composite)
CARDS_VERSION: Final = msgspec.json.Decoder(ListVersion)
FILE: Final = msgspec.json.Decoder(File)
CERTIFICATES: Final = msgspec.json.Decoder(Certificates)

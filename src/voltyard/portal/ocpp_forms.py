"""A form for each command of OCPP 1.6: its fields explained, read from what was typed, and filled from JSON.

The table below is the whole knowledge; the functions turn a form's values into a payload and back. They
judge only what must be judged to write the payload; whether a charger may be sent it is the gateway's matter.

Invariant (property test): what a form wrote, it reads back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


def _(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


class FieldKind(StrEnum):
    """How a field is typed in and what it becomes."""

    TEXT = "text"
    LONG = "long"
    NUMBER = "number"
    DECIMAL = "decimal"
    CHOICE = "choice"
    CONNECTOR = "connector"
    INSTANT = "instant"
    LINES = "lines"
    PERIODS = "periods"
    CARDS = "cards"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a command; ``name`` is its place in the payload, with dots.

    A field within an optional part is required only once something of that part is filled in.
    """

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    is_required: bool = False
    hint: str = ""
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    length: int | None = None
    default: str = ""
    has_zero: bool = False
    part: str = ""


@dataclass(frozen=True, slots=True)
class CommandForm:
    """A command: what it does, its fields, and the question to ask before it is sent, if it is dangerous."""

    action: str
    about: str
    fields: tuple[Field, ...] = ()
    danger: str = ""


INT_MAX: Final = 2**31 - 1
LINE_PARTS: Final = re.compile(r"[\s,;]+")
TRIGGERS: Final = (
    "BootNotification",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "StatusNotification",
)
TRIGGERS_EXTENDED: Final = (
    "BootNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "LogStatusNotification",
    "MeterValues",
    "SignChargePointCertificate",
    "StatusNotification",
)
PURPOSES: Final = ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")
CERTIFICATES: Final = ("CentralSystemRootCertificate", "ManufacturerRootCertificate")
VERDICTS: Final = ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")


def _number(name: str, label: str, hint: str = "", *, least: int = 0, **more: Any) -> Field:
    return Field(name, label, FieldKind.NUMBER, hint=hint, least=least, most=INT_MAX, **more)


def _choice(name: str, label: str, choices: tuple[str, ...], hint: str = "", **more: Any) -> Field:
    return Field(name, label, FieldKind.CHOICE, hint=hint, choices=choices, **more)


def _instant(name: str, label: str, hint: str = "", **more: Any) -> Field:
    return Field(name, label, FieldKind.INSTANT, hint=hint, **more)


def _connector(hint: str = "", *, is_required: bool = True, has_zero: bool = False) -> Field:
    return Field(
        "connectorId", _("Connector"), FieldKind.CONNECTOR, is_required, hint, least=0 if has_zero else 1,
        most=INT_MAX, has_zero=has_zero,
    )  # fmt: skip


_RETRIES: Final = (
    _number("retries", _("Tries"), _("How often the charger tries before it gives up.")),
    _number("retryInterval", _("Seconds between tries"), _("After how many seconds it tries again.")),
)


def _profile(part: str, within: str = "") -> tuple[Field, ...]:
    """Return the fields of a charging profile, OCPP 1.6 §7.8."""
    schedule = f"{part}.chargingSchedule"
    more: dict[str, Any] = {"part": within}
    return (
        _number(f"{part}.chargingProfileId", _("Profile number"), is_required=True, default="1",
                hint=_("The same number again replaces the profile."), **more),
        _number(f"{part}.stackLevel", _("Stack level"), is_required=True, default="0",
                hint=_("Of several profiles for one purpose, the highest level counts."), **more),
        _choice(f"{part}.chargingProfilePurpose", _("Purpose"), PURPOSES, is_required=True,
                default="TxProfile" if within else "TxDefaultProfile",
                hint=_("The whole charger, every charge without a limit of its own, or one charge."), **more),
        _choice(f"{part}.chargingProfileKind", _("Kind"), ("Absolute", "Recurring", "Relative"),
                is_required=True, default="Relative",
                hint=_("Absolute and Recurring need a start; Relative counts from that of the charge."),
                **more),
        _choice(f"{part}.recurrencyKind", _("Repeats"), ("Daily", "Weekly"),
                hint=_("For Recurring only."), **more),
        _number(f"{part}.transactionId", _("Transaction number"),
                hint=_("For one running charge only: its number, as its page shows it."), **more),
        _instant(f"{part}.validFrom", _("Valid from"), **more),
        _instant(f"{part}.validTo", _("Valid to"), **more),
        _choice(f"{schedule}.chargingRateUnit", _("Unit"), ("A", "W"), is_required=True, default="A",
                hint=_("Amperes per phase, or watts in all."), **more),
        Field(f"{schedule}.chargingSchedulePeriod", _("Periods"), FieldKind.PERIODS, is_required=True,
              hint=_("One a line: after how many seconds, the limit, and the phases if they matter. "
                     "The first line begins at 0. Example: 0 16 3"), **more),
        _instant(f"{schedule}.startSchedule", _("Starts"), **more),
        _number(f"{schedule}.duration", _("Lasts, in seconds"),
                hint=_("Empty: the last period goes on."), **more),
        Field(f"{schedule}.minChargingRate", _("Least useful limit"), FieldKind.DECIMAL, least=0,
              most=INT_MAX,
              hint=_("Below it, charging makes no sense for the car."), **more),
    )  # fmt: skip


_LOG_TIMES: Final = (
    _instant("startTime", _("From"), _("Only what happened after this.")),
    _instant("stopTime", _("Until"), _("Only what happened before this.")),
)
_URL_HINT: Final = _("An address that the charger can reach. Firmware and files makes one by itself.")
_CUTS_OFF: Final = _("A wrong value can take the charger offline, so that nobody can fix it from here.")

PROFILES: Final[Mapping[str, tuple[CommandForm, ...]]] = MappingProxyType(
    {
        _("Core"): (
            CommandForm(
                "Reset",
                _("Restarts the charger: Soft ends running charges in good order, Hard cuts them off."),
                (
                    _choice("type", _("Kind"), ("Soft", "Hard"), is_required=True, default="Soft"),
                ),
                _("Running charges end."),
            ),
            CommandForm(
                "RemoteStartTransaction",
                _("Starts a charge with a card, as if it had been held to the reader."),
                (
                    Field("idTag", _("Tag"), is_required=True, length=20,
                          hint=_("What the reader would read of the card.")),
                    _connector(_("Empty: the charger chooses."), is_required=False),
                    *_profile("chargingProfile", "chargingProfile"),
                ),
            ),
            CommandForm(
                "RemoteStopTransaction",
                _("Ends a running charge."),
                (
                    _number("transactionId", _("Transaction number"), is_required=True, least=-(2**31),
                            hint=_("As the page of the transaction shows it.")),
                ),
                _("The car charges no further."),
            ),
            CommandForm(
                "UnlockConnector",
                _("Releases the cable. A running charge at that connector ends first."),
                (_connector(),),
                _("A running charge ends."),
            ),
            CommandForm(
                "ChangeAvailability",
                _("Puts a connector, or the whole charger, out of service or back into it."),
                (
                    _connector(_("0 is the whole charger."), has_zero=True),
                    _choice("type", _("Service"), ("Operative", "Inoperative"), is_required=True,
                            default="Operative", hint=_("Inoperative: nobody can start a charge.")),
                ),
            ),
            CommandForm(
                "ChangeConfiguration",
                _("Sets one parameter. Parameters has its own page, with ranges and explanations."),
                (
                    Field("key", _("Key"), is_required=True, length=50, hint=_("As HeartbeatInterval.")),
                    Field("value", _("Value"), is_required=True, length=500),
                ),
                _CUTS_OFF,
            ),
            CommandForm(
                "GetConfiguration",
                _("Reads parameters, all of them if none is named."),
                (Field("key", _("Keys"), FieldKind.LINES, length=50, hint=_("One a line.")),),
            ),
            CommandForm("ClearCache", _("Has the charger forget the cards that it remembered by itself.")),
            CommandForm(
                "DataTransfer",
                _("A message that only this manufacturer's chargers understand."),
                (
                    Field("vendorId", _("Vendor"), is_required=True, length=255),
                    Field("messageId", _("Message"), length=50),
                    Field("data", _("Data"), FieldKind.LONG),
                ),
            ),
        ),
        _("Remote trigger"): (
            CommandForm(
                "TriggerMessage",
                _("Has the charger send one of its messages now."),
                (
                    _choice("requestedMessage", _("Message"), TRIGGERS, is_required=True,
                            default="StatusNotification"),
                    _connector(_("Empty: all of them, or the charger itself."), is_required=False),
                ),
            ),
        ),
        _("Smart charging"): (
            CommandForm(
                "SetChargingProfile",
                _("Gives the charger a limit. What the load management sets may replace it."),
                (
                    _connector(_("0 is the whole charger, or every connector."), has_zero=True),
                    *_profile("csChargingProfiles"),
                ),
            ),
            CommandForm(
                "ClearChargingProfile",
                _("Takes away the limits to which all of this applies, every one if nothing is filled in."),
                (
                    _number("id", _("Profile number"), least=-(2**31)),
                    _connector(_("Empty: every one."), is_required=False, has_zero=True),
                    _choice("chargingProfilePurpose", _("Purpose"), PURPOSES),
                    _number("stackLevel", _("Stack level")),
                ),
                _("Without its limits a charger may take more than the fuses behind it allow."),
            ),
            CommandForm(
                "GetCompositeSchedule",
                _("Asks which limit holds when, all profiles taken together."),
                (
                    _connector(_("0 is the whole charger."), has_zero=True),
                    _number("duration", _("Seconds ahead"), is_required=True, default="86400"),
                    _choice("chargingRateUnit", _("Unit"), ("A", "W"), _("Empty: as the charger likes.")),
                ),
            ),
        ),
        _("Local list"): (
            CommandForm("GetLocalListVersion", _("Asks for the version of the charger's list of cards.")),
            CommandForm(
                "SendLocalList",
                _("Sends cards for times without us. Voltyard keeps them in step by itself."),
                (
                    _number("listVersion", _("Version"), is_required=True,
                            hint=_("Of the list afterwards; for Differential higher than now.")),
                    _choice("updateType", _("Kind"), ("Full", "Differential"), is_required=True,
                            default="Full", hint=_("Full replaces the list, Differential changes it.")),
                    Field("localAuthorizationList", _("Cards"), FieldKind.CARDS,
                          hint=_("One a line: tag, then Accepted, Blocked, Expired or Invalid, then "
                                 "the expiry and the parent tag or – for none. A tag alone takes it off a "
                                 "Differential list. Example: 04A2B8C1 Accepted 2027-12-31T23:59")),
                ),
                _("The next change of the cards here overwrites it."),
            ),
        ),
        _("Reservation"): (
            CommandForm(
                "ReserveNow",
                _("Keeps a connector for one card. Reservations has its own page."),
                (
                    _connector(_("0: any of them, if the charger can."), has_zero=True),
                    Field("idTag", _("Tag"), is_required=True, length=20),
                    _instant("expiryDate", _("Until"), is_required=True),
                    _number("reservationId", _("Reservation number"), is_required=True, least=-(2**31),
                            hint=_("The same number again changes the reservation.")),
                    Field("parentIdTag", _("Parent tag"), length=20),
                ),
            ),
            CommandForm(
                "CancelReservation",
                _("Gives a reserved connector free."),
                (_number("reservationId", _("Reservation number"), is_required=True, least=-(2**31)),),
            ),
        ),
        _("Firmware"): (
            CommandForm(
                "UpdateFirmware",
                _("Has the charger fetch and install firmware."),
                (
                    Field("location", _("Address"), is_required=True, hint=_URL_HINT),
                    _instant("retrieveDate", _("Not before"), is_required=True),
                    *_RETRIES,
                ),
                _("Wrong firmware can end a charger's life. It restarts when it is done."),
            ),
            CommandForm(
                "GetDiagnostics",
                _("Has the charger upload its diagnostics."),
                (Field("location", _("Address"), is_required=True, hint=_URL_HINT), *_LOG_TIMES, *_RETRIES),
            ),
        ),
        _("Security"): (
            CommandForm(
                "ExtendedTriggerMessage",
                _("As TriggerMessage, with the messages about security."),
                (
                    _choice("requestedMessage", _("Message"), TRIGGERS_EXTENDED, is_required=True),
                    _connector(_("Empty: all of them, or the charger itself."), is_required=False),
                ),
            ),
            CommandForm(
                "GetLog",
                _("Has the charger upload a log."),
                (
                    _choice("logType", _("Log"), ("DiagnosticsLog", "SecurityLog"), is_required=True,
                            default="DiagnosticsLog"),
                    _number("requestId", _("Request number"), is_required=True, default="1", least=-(2**31)),
                    Field("log.remoteLocation", _("Address"), is_required=True, length=512, hint=_URL_HINT),
                    _instant("log.oldestTimestamp", _("From")),
                    _instant("log.latestTimestamp", _("Until")),
                    *_RETRIES,
                ),
            ),
            CommandForm(
                "SignedUpdateFirmware",
                _("Has the charger fetch firmware, compare it with its signature, and install it."),
                (
                    _number("requestId", _("Request number"), is_required=True, default="1", least=-(2**31)),
                    Field("firmware.location", _("Address"), is_required=True, length=512, hint=_URL_HINT),
                    _instant("firmware.retrieveDateTime", _("Not before"), is_required=True),
                    _instant("firmware.installDateTime", _("Install not before")),
                    Field("firmware.signingCertificate", _("Certificate that signed it"), FieldKind.LONG,
                          is_required=True, length=5500, hint=_("PEM, with its first and last line.")),
                    Field("firmware.signature", _("Signature"), FieldKind.LONG, is_required=True, length=800,
                          hint=_("In base64.")),
                    *_RETRIES,
                ),
                _("The charger restarts when it is done."),
            ),
            CommandForm(
                "GetInstalledCertificateIds",
                _("Asks which root certificates the charger trusts."),
                (_choice("certificateType", _("Kind"), CERTIFICATES, is_required=True,
                         default="CentralSystemRootCertificate"),),
            ),
            CommandForm(
                "InstallCertificate",
                _("Has the charger trust a root certificate."),
                (
                    _choice("certificateType", _("Kind"), CERTIFICATES, is_required=True,
                            default="CentralSystemRootCertificate"),
                    Field("certificate", _("Certificate"), FieldKind.LONG, is_required=True, length=5500,
                          hint=_("PEM, with its first and last line.")),
                ),
                _CUTS_OFF,
            ),
            CommandForm(
                "DeleteCertificate",
                _("Has the charger trust a root certificate no longer."),
                (
                    _choice("certificateHashData.hashAlgorithm", _("Algorithm"),
                            ("SHA256", "SHA384", "SHA512"), is_required=True, default="SHA256"),
                    Field("certificateHashData.issuerNameHash", _("Hash of the issuer's name"),
                          is_required=True, length=128, hint=_("As GetInstalledCertificateIds told it.")),
                    Field("certificateHashData.issuerKeyHash", _("Hash of the issuer's key"),
                          is_required=True, length=128),
                    Field("certificateHashData.serialNumber", _("Serial number"), is_required=True,
                          length=40),
                ),
                _CUTS_OFF,
            ),
            CommandForm(
                "CertificateSigned",
                _("Hands the charger its own certificate, signed, with the issuers after it."),
                (Field("certificateChain", _("Certificates"), FieldKind.LONG, is_required=True, length=10_000,
                       hint=_("PEM, one after the other.")),),
                _CUTS_OFF,
            ),
        ),
    }
)  # fmt: skip
FORMS: Final[Mapping[str, CommandForm]] = MappingProxyType(
    {form.action: form for forms in PROFILES.values() for form in forms}
)


class Wrong(Exception):
    """A field cannot be read; the text says what to do."""


# --- from what was typed to a payload -------------------------------------------------------------


def build(
    form: CommandForm, values: Mapping[str, str], zone: tzinfo
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the payload that was typed in, and what is wrong with which field; times are of ``zone``."""
    payload: dict[str, Any] = {}
    errors: dict[str, str] = {}
    typed = {field.name: values.get(field.name, "").strip() for field in form.fields}
    filled = {
        field.part for field in form.fields if field.part and typed[field.name] not in {"", field.default}
    }
    for field in form.fields:
        if field.part and field.part not in filled:
            continue
        text = typed[field.name]
        if not text:
            if field.is_required:
                errors[field.name] = _("fill this in")
            continue
        try:
            _put(payload, field.name, _READ[field.kind](field, text, zone))
        except Wrong as wrong:
            errors[field.name] = str(wrong)
    return payload, errors


def _put(payload: dict[str, Any], name: str, value: Any) -> None:
    *places, last = name.split(".")
    for place in places:
        payload = payload.setdefault(place, {})
    payload[last] = value


def _read_text(field: Field, text: str, _zone: tzinfo) -> str:
    if field.length is not None and len(text) > field.length:
        raise Wrong(_("shorten it to at most %(count)s characters") % {"count": field.length})
    return text


def _read_number(field: Field, text: str, _zone: tzinfo) -> int:
    try:
        number = int(text)
    except ValueError:
        raise Wrong(_("type a whole number")) from None
    _refuse_outside(field, number)
    return number


def _refuse_outside(field: Field, number: float) -> None:
    if field.least is not None and not number >= field.least:
        raise Wrong(_("type %(number)s or more") % {"number": field.least})
    if field.most is not None and not number <= field.most:
        raise Wrong(_("type %(number)s or less") % {"number": field.most})


def _to_decimal(text: str) -> int | float:
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Wrong(_("type a number"))
    # A charger may take no 16.0 where it takes 16 (quirk Q51).
    return int(number) if number.is_integer() else number


def _read_decimal(field: Field, text: str, _zone: tzinfo) -> int | float:
    number = _to_decimal(text)
    _refuse_outside(field, number)
    return number


def _read_choice(field: Field, text: str, _zone: tzinfo) -> str:
    if text not in field.choices:
        raise Wrong(_("choose one of the list"))
    return text


def _to_instant(text: str, zone: tzinfo) -> str:
    try:
        at = datetime.fromisoformat(text)
        whole = (at if at.tzinfo is not None else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Wrong(_("type a date and a time, such as 2027-01-31T18:00")) from None
    return whole.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def _read_instant(_field: Field, text: str, zone: tzinfo) -> str:
    return _to_instant(text, zone)


def _read_lines(field: Field, text: str, zone: tzinfo) -> list[str]:
    return [_read_text(field, line, zone) for line in _lines(text)]


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


def _read_periods(_field: Field, text: str, _zone: tzinfo) -> list[dict[str, Any]]:
    return [_period(re.split(r"[\s;]+", line)) for line in _lines(text)]


def _period(parts: Sequence[str]) -> dict[str, Any]:
    problem = Wrong(_("write each line as: seconds, limit, phases if they matter; such as 0 16 3"))
    if len(parts) not in {2, 3}:
        raise problem
    try:
        period: dict[str, Any] = {"startPeriod": int(parts[0]), "limit": _to_decimal(parts[1])}
        if len(parts) > 2:
            period["numberPhases"] = int(parts[2])
    except (ValueError, Wrong):
        raise problem from None
    return period


def _read_cards(_field: Field, text: str, zone: tzinfo) -> list[dict[str, Any]]:
    return [_card(LINE_PARTS.split(line), zone) for line in _lines(text)]


def _card(parts: Sequence[str], zone: tzinfo) -> dict[str, Any]:
    tag, verdict, expiry, parent, *more = (*parts, "", "", "") if len(parts) < 5 else parts
    if any(more):
        raise Wrong(_("write each line as: tag, status, expiry, parent tag"))
    if not verdict:
        return {"idTag": tag}
    found = next((each for each in VERDICTS if each.casefold() == verdict.casefold()), None)
    if found is None:
        raise Wrong(_("the status of a card is Accepted, Blocked, Expired, Invalid or ConcurrentTx"))
    info: dict[str, Any] = {"status": found}
    if expiry not in _NOTHING:
        info["expiryDate"] = _to_instant(expiry, zone)
    if parent not in _NOTHING:
        info["parentIdTag"] = parent
    return {"idTag": tag, "idTagInfo": info}


_NOTHING: Final = frozenset(("", "-", "–"))
_READ: Final[Mapping[FieldKind, Callable[[Field, str, tzinfo], Any]]] = MappingProxyType(
    {
        FieldKind.TEXT: _read_text,
        FieldKind.LONG: _read_text,
        FieldKind.NUMBER: _read_number,
        FieldKind.DECIMAL: _read_decimal,
        FieldKind.CHOICE: _read_choice,
        FieldKind.CONNECTOR: _read_number,
        FieldKind.INSTANT: _read_instant,
        FieldKind.LINES: _read_lines,
        FieldKind.PERIODS: _read_periods,
        FieldKind.CARDS: _read_cards,
    }
)


# --- from a payload to what stands in the form ----------------------------------------------------


def defaults(form: CommandForm) -> dict[str, str]:
    """Return what stands in an untouched form."""
    return {field.name: field.default for field in form.fields}


def fill(form: CommandForm, payload: Mapping[str, Any], zone: tzinfo) -> tuple[dict[str, str], list[str]]:
    """Return what stands in the form for a payload, and the fields for which the form has no place."""
    left = _leaves(payload)
    values: dict[str, str] = {}
    for field in form.fields:
        if field.name in left:
            values[field.name] = _write(field, left.pop(field.name), zone)
        else:
            values[field.name] = field.default if field.part else ""
    return values, sorted(left)


def _leaves(payload: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in payload.items():
        if isinstance(value, dict) and value:
            found |= _leaves(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _write(field: Field, value: Any, zone: tzinfo) -> str:
    if field.kind is FieldKind.INSTANT:
        return _local(value, zone)
    if isinstance(value, list) and field.kind is FieldKind.PERIODS:
        return "\n".join(_period_line(each) for each in value)
    if isinstance(value, list) and field.kind is FieldKind.CARDS:
        return "\n".join(_card_line(each, zone) for each in value)
    if isinstance(value, list):
        return "\n".join(str(each) for each in value)
    return str(value)


def _local(value: Any, zone: tzinfo) -> str:
    try:
        at = datetime.fromisoformat(str(value))
        return (at.astimezone(zone) if at.tzinfo is not None else at).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError):
        return str(value)


def _period_line(period: Any) -> str:
    if not isinstance(period, dict):
        return str(period)
    parts = (period.get(name) for name in ("startPeriod", "limit", "numberPhases"))
    return " ".join(str(part) for part in parts if part is not None)


def _card_line(card: Any, zone: tzinfo) -> str:
    info = card.get("idTagInfo") if isinstance(card, dict) else None
    if not isinstance(card, dict) or not isinstance(info, dict):
        return str(card.get("idTag", "")) if isinstance(card, dict) else str(card)
    expiry = _local(info["expiryDate"], zone) if "expiryDate" in info else "–"
    parts = [
        str(card.get("idTag", "")),
        str(info.get("status", "")),
        expiry,
        str(info.get("parentIdTag", "–")),
    ]
    while parts[-1] == "–":
        parts.pop()
    return " ".join(parts)

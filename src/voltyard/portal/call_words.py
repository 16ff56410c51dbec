"""One line of words for a call: what a payload and its answer say, as far as a person cares.

Pure: values in, pieces of a sentence out. A charger may send anything, so nothing here trusts a type, and
what cannot be read is left out rather than guessed. Each piece is a message id with its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from voltyard.portal import formats, words

TEXT_LENGTH = 60
TAG_LENGTH = 24


def _(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


class Piece(NamedTuple):
    """A piece of a line: a text to translate, and what stands in it."""

    text: str
    values: Mapping[str, str] = MappingProxyType({})

    @property
    def plain(self) -> str:
        """Return the piece in English."""
        return self.text % self.values if self.values else self.text.replace("%%", "%")


Said = Mapping[str, Any]
Line = Iterator[Piece]
NOTHING: Final[Said] = MappingProxyType({})


def summary(action: str, payload: Any, answer: Any) -> tuple[Piece, ...]:
    """Return what a call says, the answer last; of what is no object only its beginning."""
    if not isinstance(payload, dict):
        return (_raw(payload),) if payload not in (None, "") else ()
    told = answer if isinstance(answer, dict) else NOTHING
    tell = TELLERS.get(action, _unknown)
    pieces = tuple(tell(payload, told))
    return pieces + tuple(_error(told)) if "errorCode" in told else pieces


# --- reading what may be anything -----------------------------------------------------------------


def _text(said: Said, name: str, most: int = TEXT_LENGTH) -> str:
    value = said.get(name)
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(said: Said, name: str) -> float | None:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e12 else None


def _inner(said: Said, name: str) -> Said:
    value = said.get(name)
    return value if isinstance(value, dict) else NOTHING


def _items(said: Said, name: str) -> list[Any]:
    value = said.get(name)
    return value if isinstance(value, list) else []


def _raw(value: Any) -> Piece:
    text = " ".join(str(value).split())
    return _word(text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…")


# --- pieces ---------------------------------------------------------------------------------------


def _word(text: str) -> Piece:
    return Piece("%(word)s", {"word": text})


def _words(said: Said, *names: str) -> Line:
    for name in names:
        if text := _text(said, name):
            yield _word(text)


def _place(said: Said, name: str = "connectorId") -> Line:
    number = _number(said, name)
    if number == 0:
        yield Piece(_("whole charger"))
    elif number is not None:
        yield Piece(_("connector %(number)s"), {"number": f"{number:g}"})


def _card(said: Said, name: str = "idTag") -> Line:
    if tag := _text(said, name, TAG_LENGTH):
        yield Piece(_("card %(tag)s"), {"tag": tag})


def _transaction(said: Said) -> Line:
    if number := _text(said, "transactionId"):
        yield Piece(_("transaction %(number)s"), {"number": number})


def _energy(said: Said, name: str, text: str = "%(energy)s") -> Line:
    energy_wh = _number(said, name)
    if energy_wh is not None:
        yield Piece(text, {"energy": formats.energy(energy_wh)})


def _status(answer: Said) -> Line:
    yield from _words(answer, "status")


def _verdict(answer: Said) -> Line:
    yield from _words(_inner(answer, "idTagInfo"), "status")


def _error(answer: Said) -> Line:
    code, detail = _text(answer, "errorCode"), _text(answer, "errorDescription")
    yield _word(f"{code}: {detail}" if detail else code)


def _instant(said: Said, name: str, text: str) -> Line:
    try:
        at = datetime.fromisoformat(_text(said, name))
    except ValueError:
        return
    yield Piece(text, {"at": at.strftime("%Y-%m-%d %H:%M")})


def _file(address: str) -> str:
    return address.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]


def _counted(count: int, one: str, many: str) -> Piece:
    return Piece(one) if count == 1 else Piece(many, {"count": str(count)})


# --- what chargers say ----------------------------------------------------------------------------


def _boot(said: Said, answer: Said) -> Line:
    made = " ".join(filter(None, (_text(said, "chargePointVendor"), _text(said, "chargePointModel"))))
    if made:
        yield _word(made)
    if firmware := _text(said, "firmwareVersion"):
        yield Piece(_("firmware %(version)s"), {"version": firmware})
    yield from _status(answer)


def _heartbeat(_said: Said, _answer: Said) -> Line:
    yield Piece(_("still there"))


def _connector(said: Said, _answer: Said) -> Line:
    yield from _place(said)
    status = _text(said, "status")
    if status:
        look = words.status(status)
        yield _word(status) if look is words.UNKNOWN else Piece(look.word)
    error = _text(said, "errorCode")
    if error not in {"", "NoError"}:
        yield _word(error)
    yield from _words(said, "info", "vendorErrorCode")


def _authorise(said: Said, answer: Said) -> Line:
    yield from _card(said)
    yield from _verdict(answer)


def _start(said: Said, answer: Said) -> Line:
    yield from _place(said)
    yield from _card(said)
    yield from _energy(said, "meterStart", _("meter at %(energy)s"))
    yield from _verdict(answer)
    yield from _transaction(answer)


def _stop(said: Said, answer: Said) -> Line:
    yield from _transaction(said)
    yield from _energy(said, "meterStop", _("meter at %(energy)s"))
    if reason := _text(said, "reason"):
        yield Piece(words.reason(reason)) if reason in words.REASON else _word(reason)
    yield from _verdict(answer)


MEASURANDS: Final = (
    ("Energy.Active.Import.Register", formats.energy),
    ("Power.Active.Import", formats.power),
    ("Current.Import", formats.current),
    ("SoC", formats.percent),
)
KILO: Final = MappingProxyType({"kWh": 1000.0, "kW": 1000.0})


def _meter(said: Said, _answer: Said) -> Line:
    yield from _place(said)
    values = [each for each in _items(said, "meterValue") if isinstance(each, dict)]
    last = values[-1] if values else NOTHING
    samples = [each for each in _items(last, "sampledValue") if isinstance(each, dict)]
    for measurand, show in MEASURANDS:
        found = [
            value * KILO.get(_text(each, "unit"), 1.0)
            for each in samples
            if (_text(each, "measurand") or MEASURANDS[0][0]) == measurand
            and (value := _number(each, "value")) is not None
        ]
        if found:
            yield _word(show(max(found)))
    if len(values) > 1:
        yield Piece(_("%(count)s readings"), {"count": str(len(values))})


def _vendor(said: Said, answer: Said) -> Line:
    yield from _words(said, "vendorId", "messageId", "data")
    yield from _status(answer)


def _progress(said: Said, _answer: Said) -> Line:
    yield from _words(said, "status")


def _security(said: Said, _answer: Said) -> Line:
    yield from _words(said, "type", "techInfo")


def _status_only(_said: Said, answer: Said) -> Line:
    yield from _status(answer)


# --- what we ask ----------------------------------------------------------------------------------


def _remote_start(said: Said, answer: Said) -> Line:
    yield from _place(said)
    yield from _card(said)
    yield from _status(answer)


def _remote_stop(said: Said, answer: Said) -> Line:
    yield from _transaction(said)
    yield from _status(answer)


def _typed(said: Said, answer: Said) -> Line:
    yield from _place(said)
    yield from _words(said, "type", "requestedMessage")
    yield from _status(answer)


def _set_key(said: Said, answer: Said) -> Line:
    if key := _text(said, "key"):
        yield Piece("%(key)s = %(value)s", {"key": key, "value": _text(said, "value")})
    yield from _status(answer)


def _get_keys(said: Said, answer: Said) -> Line:
    asked = _items(said, "key")
    if not asked:
        yield Piece(_("all keys"))
    elif len(asked) == 1 and isinstance(asked[0], str):
        yield _raw(asked[0])
    else:
        yield Piece(_("%(count)s keys"), {"count": str(len(asked))})
    if found := _items(answer, "configurationKey"):
        yield Piece(_("%(count)s told"), {"count": str(len(found))})
    if unknown := _items(answer, "unknownKey"):
        yield Piece(_("%(count)s unknown"), {"count": str(len(unknown))})


def _limit(said: Said, answer: Said) -> Line:
    yield from _place(said)
    profile = _inner(said, "csChargingProfiles") or _inner(said, "chargingProfile")
    schedule = _inner(profile, "chargingSchedule")
    periods = [each for each in _items(schedule, "chargingSchedulePeriod") if isinstance(each, dict)]
    limit = _number(periods[0], "limit") if periods else None
    if limit is not None:
        is_power = _text(schedule, "chargingRateUnit") == "W"
        yield _word(formats.power(limit) if is_power else formats.current(limit))
    if len(periods) > 1:
        yield Piece(_("%(count)s periods"), {"count": str(len(periods))})
    yield from _words(profile, "chargingProfilePurpose")
    yield from _status(answer)


def _no_limit(said: Said, answer: Said) -> Line:
    yield from _place(said)
    yield from _words(said, "chargingProfilePurpose")
    if not said:
        yield Piece(_("all limits"))
    yield from _status(answer)


def _composite(said: Said, answer: Said) -> Line:
    yield from _place(said)
    duration_s = _number(said, "duration")
    if duration_s is not None:
        yield Piece(_("the next %(minutes)s min"), {"minutes": f"{duration_s / 60:g}"})
    yield from _status(answer)


def _cards(said: Said, answer: Said) -> Line:
    yield from _words(said, "updateType")
    yield from _version(said)
    yield _counted(len(_items(said, "localAuthorizationList")), _("one card"), _("%(count)s cards"))
    yield from _status(answer)


def _version(said: Said) -> Line:
    if version := _text(said, "listVersion"):
        yield Piece(_("version %(version)s"), {"version": version})


def _cards_version(_said: Said, answer: Said) -> Line:
    yield from _version(answer)


def _reserve(said: Said, answer: Said) -> Line:
    yield from _place(said)
    yield from _card(said)
    yield from _instant(said, "expiryDate", _("until %(at)s"))
    yield from _status(answer)


def _unreserve(said: Said, answer: Said) -> Line:
    if number := _text(said, "reservationId"):
        yield Piece(_("reservation %(number)s"), {"number": number})
    yield from _status(answer)


def _firmware(said: Said, answer: Said) -> Line:
    address = _text(said, "location", 500) or _text(_inner(said, "firmware"), "location", 500)
    if address:
        yield _raw(_file(address))
    yield from _status(answer)


def _files(said: Said, answer: Said) -> Line:
    yield from _words(said, "logType")
    if name := _text(answer, "fileName") or _text(answer, "filename"):
        yield _word(name)
    yield from _status(answer)


def _certificate(said: Said, answer: Said) -> Line:
    yield from _words(said, "certificateType")
    if found := _items(answer, "certificateHashData"):
        yield _counted(len(found), _("one certificate"), _("%(count)s certificates"))
    yield from _status(answer)


def _unknown(said: Said, answer: Said) -> Line:
    """Tell the first plain values of what nobody here has words for."""
    yield from _place(said)
    plain = [name for name, value in said.items() if isinstance(value, str) and name != "connectorId"]
    yield from _words(said, *plain[:2])
    yield from _status(answer)


TELLERS: Final[Mapping[str, Callable[[Said, Said], Line]]] = MappingProxyType(
    {
        "BootNotification": _boot,
        "Heartbeat": _heartbeat,
        "StatusNotification": _connector,
        "Authorize": _authorise,
        "StartTransaction": _start,
        "StopTransaction": _stop,
        "MeterValues": _meter,
        "DataTransfer": _vendor,
        "FirmwareStatusNotification": _progress,
        "SignedFirmwareStatusNotification": _progress,
        "DiagnosticsStatusNotification": _progress,
        "LogStatusNotification": _progress,
        "SecurityEventNotification": _security,
        "SignCertificate": _status_only,
        "CertificateSigned": _status_only,
        "ClearCache": _status_only,
        "RemoteStartTransaction": _remote_start,
        "RemoteStopTransaction": _remote_stop,
        "Reset": _typed,
        "ChangeAvailability": _typed,
        "UnlockConnector": _typed,
        "TriggerMessage": _typed,
        "ExtendedTriggerMessage": _typed,
        "ChangeConfiguration": _set_key,
        "GetConfiguration": _get_keys,
        "SetChargingProfile": _limit,
        "ClearChargingProfile": _no_limit,
        "GetCompositeSchedule": _composite,
        "SendLocalList": _cards,
        "GetLocalListVersion": _cards_version,
        "ReserveNow": _reserve,
        "CancelReservation": _unreserve,
        "UpdateFirmware": _firmware,
        "SignedUpdateFirmware": _firmware,
        "GetDiagnostics": _files,
        "GetLog": _files,
        "InstallCertificate": _certificate,
        "DeleteCertificate": _certificate,
        "GetInstalledCertificateIds": _certificate,
    }
)

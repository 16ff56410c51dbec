"""Configuration keys as an operator sees and sets them: a configuration of its own, laid over the charger's.

Each key is of a class, and the class decides. What concerns the connection to the operator is kept on its
link and never reaches the charger; how often and what is measured is thinned out for the link, if that is
enough; what decides who may charge is for the one who bills; what decides how the charger reaches us or what
its cable bears is for the owner, and not even shown. Names are told apart without case (OCPP 1.6 §5.8).

Invariants (property tests of the same names):
what is protected is neither shown nor set · a password is never shown · an observer sets nothing ·
what is shown fits the schema · what reaches the charger may be written there ·
a slower rate never reaches the charger
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from types import MappingProxyType
from typing import Final

from voltyard.kernel.limits import HEARTBEAT_S, PING_S
from voltyard.ocpp.v16 import asked
from voltyard.speech import Role

MASK: Final = "***"
RATE_MIN_S: Final = 10
"""No operator makes a charger measure more often than this."""
PASSWORD_BYTES_MIN: Final = 16
PASSWORD_BYTES_MAX: Final = 40
"""OCPP 1.6 security white paper, §2.2."""
_NAME_LENGTH_MAX: Final = 50
_VALUE_LENGTH_MAX: Final = 500
"""OCPP 1.6 §7.15 and §7.17; chargers tell longer values (quirk Q33), which no answer has room for."""
_INTEGER_MAX: Final = 2**31 - 1
_DAY_S: Final = 86_400


class KeyClass(StrEnum):
    """What decides about a key: see the docstring of the module."""

    LINK = "link"
    RATE = "rate"
    MEASURANDS = "measurands"
    AUTHORITY = "authority"
    OWNER = "owner"
    PASS = "pass"
    READ_ONLY = "read_only"


@dataclass(frozen=True, slots=True)
class Key:
    """A configuration key with its value, None where the charger tells none."""

    name: str
    value: str | None
    is_readonly: bool


@dataclass(frozen=True, slots=True)
class Keep:
    """The value is kept on the link and laid over the charger's; the charger does not hear of it."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class SetOnCharger:
    """The charger is asked to take the value; where it does, the link keeps it as well if ``is_kept``."""

    key: str
    value: str
    is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Password:
    """From the next connection on, the link logs in to the operator with this."""

    value: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is set; ``status`` is that of ChangeConfiguration.conf, ``why`` a word of ``REASONS``."""

    status: str
    why: str


Change = Keep | SetOnCharger | Password | Refused

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "observer_only_watches": "An Observer only watches this charger.",
        "read_only": "This parameter can only be read.",
        "protected": "Only the owner of the charger may set this parameter.",
        "authority_only": "Only the Billing operator may set who is let in.",
        "not_a_number": "The value is not a whole number.",
        "out_of_range": "The value is smaller or larger than this parameter takes.",
        "too_often": "A charger is not made to measure more often than every ten seconds.",
        "not_measured": "The charger does not measure all of that.",
        "unfit_password": "A password has 16 to 40 bytes.",
        "only_upwards": "A security profile can only be raised.",
        "ask_owner": "The owner of the charger raises the security profile of a link.",
    }
)
"""Why a parameter was not set, as one sentence for people for each word."""


def _folded(*names: str) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


_PASSWORD: Final = "AuthorizationKey"
_SECURITY_PROFILE: Final = "SecurityProfile"
_PROFILES: Final = "SupportedFeatureProfiles"
_ALWAYS: Final = MappingProxyType(
    {"HeartbeatInterval": str(HEARTBEAT_S), "WebSocketPingInterval": str(round(PING_S))}
)
"""What a link has in any case, with what it has before anybody sets it."""

_STANDARD: Final = MappingProxyType(
    {
        KeyClass.LINK: (
            *_ALWAYS,
            _PASSWORD,
            _SECURITY_PROFILE,
            "CpoName",
            "TransactionMessageAttempts",
            "TransactionMessageRetryInterval",
        ),
        KeyClass.RATE: ("MeterValueSampleInterval", "ClockAlignedDataInterval"),
        KeyClass.MEASURANDS: (
            "MeterValuesSampledData",
            "MeterValuesAlignedData",
            "StopTxnSampledData",
            "StopTxnAlignedData",
        ),
        KeyClass.AUTHORITY: (
            "AllowOfflineTxForUnknownId",
            "AuthorizationCacheEnabled",
            "AuthorizeRemoteTxRequests",
            "ConnectionTimeOut",
            "LocalAuthListEnabled",
            "LocalAuthorizeOffline",
            "LocalPreAuthorize",
            "MaxEnergyOnInvalidId",
            "StopTransactionOnEVSideDisconnect",
            "StopTransactionOnInvalidId",
            "UnlockConnectorOnEVSideDisconnect",
        ),
        KeyClass.OWNER: ("AdditionalRootCertificateCheck", "ConnectorPhaseRotation"),
        KeyClass.PASS: ("BlinkRepeat", "LightIntensity", "MinimumStatusDuration", "ResetRetries"),
        KeyClass.READ_ONLY: (
            "CertificateSignedMaxChainSize",
            "CertificateStoreMaxLength",
            "ChargeProfileMaxStackLevel",
            "ChargingScheduleAllowedChargingRateUnit",
            "ChargingScheduleMaxPeriods",
            "ConnectorPhaseRotationMaxLength",
            "ConnectorSwitch3to1PhaseSupported",
            "GetConfigurationMaxKeys",
            "LocalAuthListMaxLength",
            "MaxChargingProfilesInstalled",
            "MeterValuesAlignedDataMaxLength",
            "MeterValuesSampledDataMaxLength",
            "NumberOfConnectors",
            "ReserveConnectorZeroSupported",
            "SendLocalListMaxLength",
            "StopTxnAlignedDataMaxLength",
            "StopTxnSampledDataMaxLength",
            _PROFILES,
            "SupportedFeatureProfilesMaxLength",
            "SupportedFileTransferProtocols",
        ),
    }
)
_CLASSES: Final = MappingProxyType(
    {name.casefold(): kind for kind, names in _STANDARD.items() for name in names}
)
_SPELLINGS: Final = MappingProxyType({name.casefold(): name for name in chain(*_STANDARD.values())})

# A key of a manufacturer with one of these words in its name decides how the charger reaches us, how it is
# protected, who gets current for nothing, or how much current the wiring bears. Names are written together,
# so that a short word must begin with a capital or stand alone.
_PROTECTED: Final = re.compile(
    r"(?i:url|uri|endpoint|backend|backoffice|central|server|address|domain|network|ethernet|wi-?fi|wlan|ssid|"
    r"gsm|modem|cellular|proxy|gateway|identity|chargeboxid|chargepointid|websocket|firewall|vpn|mqtt|"
    r"password|passphrase|passwd|secret|key|credential|token|login|username|certificate|security|"
    r"free-?_?(?:vend|mode|charg)|auto-?_?(?:start|charg)|plug-?_?(?:and|n|&)?-?_?(?:charge|play)|authori[sz]|"
    r"authenti|whitelist|factory|"
    r"(?<!back)ground|earth|phase|current|(?<!l)amp(?:s|ere)|fuse|breaker|residual|overvoltage|undervoltage|maxpower|"
    r"powerlimit|loadbalanc)|"
    r"(?<![A-Za-z])(?i:ip|dns|apn|sim|tls|ssl|host|port|ntp|dhcp|lan|pin|puk|lock|reset|rcd|rcm|pen)(?![a-z])|"
    r"(?<=[a-z])(?:Ip|IP|Dns|DNS|Apn|APN|Sim|SIM|Tls|TLS|Ssl|SSL|Host|Port|Ntp|NTP|Dhcp|DHCP|Lan|LAN|Pin|PIN|"
    r"Puk|PUK|Lock|Reset|Rcd|RCD|Rcm|RCM)(?![a-z])"
)

# Of what a manufacturer has added, only what harms nobody is an operator's to set: nobody can list all names
# by which a charger lets everybody charge, or nobody.
_COMFORT: Final = re.compile(
    r"(?i:light|(?<![a-z])leds?(?![a-z])|bright|dimm|display|screen|language|locale|volume|sound|beep|buzzer|"
    r"colou?r|theme|welcome|greeting)|(?<=[a-z])(?:Led|LED)(?![a-z])"
)
_RANGES: Final = MappingProxyType(
    {
        name.casefold(): bounds
        for name, bounds in (
            # A stand-in that never slept would beat without end.
            ("HeartbeatInterval", (1, _INTEGER_MAX)),
            ("WebSocketPingInterval", (0, _INTEGER_MAX)),
            (_SECURITY_PROFILE, (0, 3)),
            ("TransactionMessageAttempts", (0, _INTEGER_MAX)),
            ("TransactionMessageRetryInterval", (0, _INTEGER_MAX)),
            ("MeterValueSampleInterval", (0, _INTEGER_MAX)),
            ("ClockAlignedDataInterval", (0, _DAY_S)),
            ("ConnectionTimeOut", (0, _INTEGER_MAX)),
            ("MaxEnergyOnInvalidId", (0, _INTEGER_MAX)),
            ("BlinkRepeat", (0, _INTEGER_MAX)),
            ("LightIntensity", (0, 100)),
            ("MinimumStatusDuration", (0, _INTEGER_MAX)),
            ("ResetRetries", (0, _INTEGER_MAX)),
        )
    }
)
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){16,}")

_DENIED: Final[Mapping[Role, frozenset[str]]] = MappingProxyType(
    {
        Role.BILLING: frozenset(),
        Role.DATA_CONTROL: _folded("Reservation", "LocalAuthListManagement", "FirmwareManagement"),
        Role.OBSERVER: _folded(
            "Reservation", "LocalAuthListManagement", "FirmwareManagement", "SmartCharging"
        ),
    }
)
"""The parts of OCPP 1.6 that a role may not use: a well-behaved back office never tries what is not there."""


def classify(key: str) -> KeyClass:
    """Return what decides about a key; a manufacturer's is known by its name only."""
    name = key.strip()
    found = _CLASSES.get(name.casefold())
    if found is not None:
        return found
    is_harmless = _COMFORT.search(name) is not None and _PROTECTED.search(name) is None
    return KeyClass.PASS if is_harmless else KeyClass.OWNER


# --- what is shown --------------------------------------------------------------------------------


def shown(
    reported: Sequence[Key],
    overlay: Mapping[str, str],
    *,
    role: Role,
    stack_level_max: int = 8,
    profiles_max: int = 20,
    periods_max: int = 24,
    rate_units: str = "Current,Power",
) -> tuple[Key, ...]:
    """Return the keys as this operator sees them: the charger's with the link's own laid over them.

    ``overlay`` is what the link keeps, by the names of keys. The last four are what our own keeping of limits
    can do, which stands in for the charger's wherever the charger can be limited at all.
    """
    kept = {_fold(name): value for name, value in overlay.items()}
    engine = {
        "ChargeProfileMaxStackLevel": str(stack_level_max),
        "ChargingScheduleAllowedChargingRateUnit": rate_units,
        "ChargingScheduleMaxPeriods": str(periods_max),
        "MaxChargingProfilesInstalled": str(profiles_max),
    }
    keys = {_fold(key.name): key for key in reversed(reported)}
    # Of a key that is told twice the first counts, and each stands where the charger told it.
    keys = {_fold(key.name): keys[_fold(key.name)] for key in reported}
    for name, value in (*overlay.items(), *_ALWAYS.items()):
        if _fold(name) not in keys:
            keys[_fold(name)] = Key(_SPELLINGS.get(_fold(name), name.strip()), value, is_readonly=False)
    profiles = keys.get(_fold(_PROFILES))
    if profiles is not None:
        usable = _usable(profiles.value or "", role)
        kept[_fold(_PROFILES)] = ",".join(usable)
        if "smartcharging" in _folded(*usable):
            for name, value in engine.items():
                keys.setdefault(_fold(name), Key(name, value, is_readonly=True))
    kept |= {_fold(name): value for name, value in engine.items()}
    return tuple(_seen(key, kept.get(name, key.value), role) for name, key in keys.items())


def _seen(key: Key, value: str | None, role: Role) -> Key:
    kind = classify(key.name)
    if kind is KeyClass.OWNER:
        # What a manufacturer has added may be seen, unless its name says that it is nobody else's business.
        is_hidden = _fold(key.name) in _CLASSES or _PROTECTED.search(key.name) is not None
        return Key(key.name, MASK if is_hidden else value, is_readonly=True)
    is_readonly = (
        role is Role.OBSERVER
        or kind is KeyClass.READ_ONLY
        or (kind is KeyClass.AUTHORITY and role is not Role.BILLING)
        # What stays on the link can be set, whatever the charger says of its own.
        or (key.is_readonly and kind is not KeyClass.LINK)
    )
    return Key(key.name, None if _fold(key.name) == _fold(_PASSWORD) else value, is_readonly)


def _usable(profiles: str, role: Role) -> tuple[str, ...]:
    return tuple(name for name in _items(profiles) if name.casefold() not in _DENIED[role])


def get_answer(shown: Sequence[Key], wanted: Sequence[str]) -> bytes:
    """Write GetConfiguration.conf: the wanted keys, all if none is named, and which of them are not there.

    Names that OCPP has no room for are left out, values that it has none for are cut.
    """
    by_name = {_fold(key.name): key for key in shown if len(key.name) <= _NAME_LENGTH_MAX}
    found = [by_name[name] for name in dict.fromkeys(map(_fold, wanted)) if name in by_name]
    unknown = [
        name for name in dict.fromkeys(wanted) if _fold(name) not in by_name and len(name) <= _NAME_LENGTH_MAX
    ]
    return asked.answer(
        "GetConfiguration",
        configuration_key=[_written(key) for key in (found if wanted else by_name.values())],
        unknown_key=unknown or None,
    )


def _written(key: Key) -> dict[str, object]:
    told: dict[str, object] = {"key": key.name, "readonly": key.is_readonly}
    return told if key.value is None else told | {"value": key.value[:_VALUE_LENGTH_MAX]}


# --- what is set ----------------------------------------------------------------------------------


def change(
    role: Role, key: str, value: str, *, reported: Sequence[Key], overlay: Mapping[str, str]
) -> Change:
    """Decide what becomes of ChangeConfiguration.

    ``reported`` is what the charger told last, ``overlay`` what the link keeps already. What neither of them
    knows is the charger's to judge.
    """
    if role is Role.OBSERVER:
        return Refused("Rejected", "observer_only_watches")
    name = _fold(key)
    kind = classify(key)
    if kind is KeyClass.OWNER:
        return Refused("Rejected", "protected")
    if kind is KeyClass.READ_ONLY:
        return Refused("Rejected", "read_only")
    if kind is KeyClass.AUTHORITY and role is not Role.BILLING:
        return Refused("Rejected", "authority_only")
    if name in _RANGES:
        number = _number(value)
        if number is None:
            return Refused("Rejected", "not_a_number")
        least, most = _RANGES[name]
        if not least <= number <= most:
            return Refused("Rejected", "out_of_range")
        value = str(number)
    told = next((each for each in reported if _fold(each.name) == name), None)
    spelling = told.name if told is not None else _SPELLINGS.get(name, key.strip())
    match kind:
        case KeyClass.LINK:
            return _on_link(spelling, value, told, overlay)
        case KeyClass.RATE:
            return _rate(spelling, int(value), told)
        case KeyClass.MEASURANDS:
            return _measurands(spelling, value, told)
        case _:
            return _on_charger(SetOnCharger(spelling, value), told)


def _on_link(name: str, value: str, told: Key | None, overlay: Mapping[str, str]) -> Change:
    if _fold(name) == _fold(_PASSWORD):
        return _password(value)
    if _fold(name) == _fold(_SECURITY_PROFILE):
        own = next((each for kept, each in overlay.items() if _fold(kept) == _fold(name)), None)
        present = _number(own or (told.value if told is not None else None) or "") or 0
        # A higher one needs a connection that was tried before, which an operator cannot see to.
        return Refused("Rejected", "ask_owner" if int(value) > present else "only_upwards")
    return Keep(name, value)


def _password(value: str) -> Change:
    """Read a password; the white paper writes it in hexadecimal, its later editions as text."""
    is_hex = _HEX.fullmatch(value) is not None
    password = bytes.fromhex(value) if is_hex else value.encode()
    if PASSWORD_BYTES_MIN <= len(password) <= PASSWORD_BYTES_MAX:
        return Password(password)
    return Refused("Rejected", "unfit_password")


def _rate(name: str, wanted_s: int, told: Key | None) -> Change:
    """Thin out for the link what comes more often than it wants; ask the charger for more only if it must."""
    present_s = _number(told.value or "") if told is not None else None
    # A charger at 0 measures nothing that could be thinned out.
    if wanted_s == 0 or (present_s and wanted_s >= present_s):
        return Keep(name, str(wanted_s))
    if wanted_s < RATE_MIN_S:
        return Refused("Rejected", "too_often")
    return _on_charger(SetOnCharger(name, str(wanted_s), is_kept=True), told)


def _measurands(name: str, value: str, told: Key | None) -> Change:
    if told is None:
        return Refused("NotSupported", "not_measured")
    present = {item.casefold(): item for item in _items(told.value or "")}
    wanted = [item.casefold() for item in _items(value)]
    if not present.keys() >= set(wanted):
        return Refused("Rejected", "not_measured")
    return Keep(name, ",".join(present[item] for item in wanted))


def _on_charger(change: SetOnCharger, told: Key | None) -> Change:
    if told is not None and told.is_readonly:
        return Refused("Rejected", "read_only")
    return change


def _fold(name: str) -> str:
    return name.strip().casefold()


def _items(value: str) -> tuple[str, ...]:
    """Return the members of a comma-separated list, without blanks and repetitions, in their order."""
    return tuple(dict.fromkeys(part for each in value.split(",") if (part := each.strip())))


def _number(value: str) -> int | None:
    plain = value.strip()
    return int(plain) if _NUMBER.fullmatch(plain) else None

"""The configuration keys that OCPP 1.6 and its security whitepaper name, and how their values compare.

Data of OCPP 1.6 §9 and of the security whitepaper (edition 3, §2 to §5): type, range, unit and access of
each key, what it is for in words of our own, and whether a wrong value can take a charger off the line.
Every other key is a manufacturer's: known by what the charger tells of it, and by its name.

Invariants: keys are told apart without case; a value is the same as itself in any spelling that means the
same; cutting ends with the longest list that the charger took, and the last one it took is that list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

KEY_LENGTH_MAX = 50
"""CiString50Type, OCPP 1.6 §7.15: a longer name cannot be asked for."""
VALUE_LENGTH_MAX = 500
"""CiString500Type, OCPP 1.6 §7.17: a longer value cannot be sent; chargers tell longer ones (quirk Q33)."""
INTEGER_MAX = 2**31 - 1
DAY_S = 86_400
CUT_TRIES_MAX = 12
"""How often a list is offered to a charger: each time it may write its memory, or restart (ABB)."""


class Form(StrEnum):
    """What kind of value a key holds, OCPP 1.6 §9."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LIST = "list"
    TEXT = "text"


class Access(StrEnum):
    """What may be done with a key, OCPP 1.6 §9."""

    READ = "R"
    READ_WRITE = "RW"
    WRITE = "W"


class Elsewhere(StrEnum):
    """Where a key is set that Voltyard sets itself."""

    SECURITY = "security"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the specification; ``about`` is one sentence for people, ``choices`` what a list may hold."""

    name: str
    profile: str
    form: Form
    access: Access
    about: str
    unit: str = ""
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()
    is_required: bool = False
    is_risky: bool = False
    elsewhere: Elsewhere | None = None


MEASURANDS: Final = (
    "Energy.Active.Import.Register",
    "Current.Import",
    "Current.Offered",
    "Voltage",
    "Power.Active.Import",
    "SoC",
    "Power.Offered",
    "Temperature",
    "Frequency",
    "Current.Export",
    "Energy.Active.Export.Register",
    "Energy.Active.Export.Interval",
    "Energy.Active.Import.Interval",
    "Energy.Reactive.Export.Interval",
    "Energy.Reactive.Export.Register",
    "Energy.Reactive.Import.Interval",
    "Energy.Reactive.Import.Register",
    "Power.Active.Export",
    "Power.Factor",
    "Power.Reactive.Export",
    "Power.Reactive.Import",
    "RPM",
)
"""What can be metered, OCPP 1.6 §7.31."""

ROTATIONS: Final = ("RST", "RTS", "SRT", "STR", "TRS", "TSR")
"""Which phase of the building each phase of a charger hangs on, OCPP 1.6 §9.1.7."""

_PROFILES: Final = (
    "Core",
    "FirmwareManagement",
    "LocalAuthListManagement",
    "Reservation",
    "SmartCharging",
    "RemoteTrigger",
)
_PHASES: Final = ("L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1")


def _flag(
    name: str, about: str, profile: str, access: Access = Access.READ_WRITE, *, is_required: bool = False
) -> Key:
    return Key(name, profile, Form.BOOLEAN, access, about, is_required=is_required)


def _count(
    name: str,
    about: str,
    profile: str,
    unit: str = "",
    *,
    access: Access = Access.READ_WRITE,
    least: int = 0,
    most: int = INTEGER_MAX,
    is_required: bool = False,
    is_risky: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Key:
    return Key(
        name, profile, Form.INTEGER, access, about, unit, least, most, (), is_required, is_risky, elsewhere
    )


def _list(
    name: str,
    about: str,
    profile: str,
    *,
    access: Access = Access.READ_WRITE,
    choices: tuple[str, ...] = (),
    is_required: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Key:
    return Key(
        name,
        profile,
        Form.LIST,
        access,
        about,
        choices=choices,
        is_required=is_required,
        elsewhere=elsewhere,
    )


_CORE: Final = (
    _flag(
        "AllowOfflineTxForUnknownId",
        "Whether the charger lets unknown cards charge while it has no connection.",
        "Core",
    ),
    _flag(
        "AuthorizationCacheEnabled",
        "Whether the charger remembers cards that were accepted, to start faster or without a connection.",
        "Core",
    ),
    _flag(
        "AuthorizeRemoteTxRequests",
        "Whether the charger asks about the card of a remote start before it starts.",
        "Core",
        is_required=True,
    ),
    _count("BlinkRepeat", "How often the lights of the charger blink when they signal.", "Core", "times"),
    _count(
        "ClockAlignedDataInterval",
        "How far apart the readings are that are taken at the full hour, quarter and so on; 0 for none.",
        "Core",
        "s",
        most=DAY_S,
        is_required=True,
    ),
    _count(
        "ConnectionTimeOut",
        "How long the charger waits for the plug after a card or a remote start.",
        "Core",
        "s",
        is_required=True,
    ),
    _list(
        "ConnectorPhaseRotation",
        "Which phase of the building each phase of a connector hangs on.",
        "Core",
        is_required=True,
        elsewhere=Elsewhere.CONFIGURATION,
    ),
    _count(
        "ConnectorPhaseRotationMaxLength",
        "How many entries ConnectorPhaseRotation may have.",
        "Core",
        access=Access.READ,
    ),
    _count(
        "GetConfigurationMaxKeys",
        "How many parameters the charger tells at once.",
        "Core",
        access=Access.READ,
        is_required=True,
    ),
    _count(
        "HeartbeatInterval",
        "How long the charger stays silent before it says that it is alive.",
        "Core",
        "s",
        is_required=True,
    ),
    _count("LightIntensity", "How bright the lights of the charger are.", "Core", "%", most=100),
    _flag(
        "LocalAuthorizeOffline",
        "Whether cards that the charger knows may charge while it has no connection.",
        "Core",
        is_required=True,
    ),
    _flag(
        "LocalPreAuthorize",
        "Whether cards that the charger knows may charge at once, without waiting for an answer.",
        "Core",
        is_required=True,
    ),
    _count(
        "MaxEnergyOnInvalidId",
        "How much energy a car may still take after its card was refused.",
        "Core",
        "Wh",
    ),
    _list(
        "MeterValuesAlignedData",
        "What is measured in the readings that are taken by the clock.",
        "Core",
        choices=MEASURANDS,
        is_required=True,
    ),
    _count(
        "MeterValuesAlignedDataMaxLength",
        "How many measurands MeterValuesAlignedData may have.",
        "Core",
        access=Access.READ,
    ),
    _list(
        "MeterValuesSampledData",
        "What is measured in the readings during a charge.",
        "Core",
        choices=MEASURANDS,
        is_required=True,
    ),
    _count(
        "MeterValuesSampledDataMaxLength",
        "How many measurands MeterValuesSampledData may have.",
        "Core",
        access=Access.READ,
    ),
    _count(
        "MeterValueSampleInterval",
        "How far apart the readings during a charge are; 0 for none.",
        "Core",
        "s",
        is_required=True,
    ),
    _count(
        "MinimumStatusDuration",
        "How long a status must last before the charger tells it.",
        "Core",
        "s",
    ),
    _count(
        "NumberOfConnectors",
        "How many connectors the charger has.",
        "Core",
        access=Access.READ,
        is_required=True,
    ),
    _count(
        "ResetRetries",
        "How often the charger tries again when a restart did not succeed.",
        "Core",
        "times",
        is_required=True,
    ),
    _flag(
        "StopTransactionOnEVSideDisconnect",
        "Whether a charge ends when the cable is unplugged at the car.",
        "Core",
        is_required=True,
    ),
    _flag(
        "StopTransactionOnInvalidId",
        "Whether a charge ends when its card turns out to be refused.",
        "Core",
        is_required=True,
    ),
    _list(
        "StopTxnAlignedData",
        "What is measured by the clock and told at the end of a charge.",
        "Core",
        choices=MEASURANDS,
        is_required=True,
    ),
    _count(
        "StopTxnAlignedDataMaxLength",
        "How many measurands StopTxnAlignedData may have.",
        "Core",
        access=Access.READ,
    ),
    _list(
        "StopTxnSampledData",
        "What is measured during a charge and told once more at its end.",
        "Core",
        choices=MEASURANDS,
        is_required=True,
    ),
    _count(
        "StopTxnSampledDataMaxLength",
        "How many measurands StopTxnSampledData may have.",
        "Core",
        access=Access.READ,
    ),
    _list(
        "SupportedFeatureProfiles",
        "Which parts of OCPP 1.6 the charger can do.",
        "Core",
        access=Access.READ,
        choices=_PROFILES,
        is_required=True,
    ),
    _count(
        "SupportedFeatureProfilesMaxLength",
        "How many entries SupportedFeatureProfiles may have.",
        "Core",
        access=Access.READ,
    ),
    _count(
        "TransactionMessageAttempts",
        "How often the charger sends a message about a charge when it gets no good answer.",
        "Core",
        "times",
        is_required=True,
    ),
    _count(
        "TransactionMessageRetryInterval",
        "How long the charger waits before it sends a message about a charge again.",
        "Core",
        "s",
        is_required=True,
    ),
    _flag(
        "UnlockConnectorOnEVSideDisconnect",
        "Whether the charger lets go of the cable when it is unplugged at the car.",
        "Core",
        is_required=True,
    ),
    _count(
        "WebSocketPingInterval",
        "How often the charger tests its connection; 0 for never.",
        "Core",
        "s",
        is_risky=True,
    ),
)
_LOCAL_LISTS: Final = (
    _flag(
        "LocalAuthListEnabled",
        "Whether the charger uses the list of cards that Voltyard keeps in it.",
        "LocalAuthListManagement",
        is_required=True,
    ),
    _count(
        "LocalAuthListMaxLength",
        "How many cards the list in the charger can hold.",
        "LocalAuthListManagement",
        access=Access.READ,
        is_required=True,
    ),
    _count(
        "SendLocalListMaxLength",
        "How many cards can be sent to the charger in one message.",
        "LocalAuthListManagement",
        access=Access.READ,
        is_required=True,
    ),
)
_RESERVATION: Final = (
    _flag(
        "ReserveConnectorZeroSupported",
        "Whether any connector can be reserved, without saying which one.",
        "Reservation",
        Access.READ,
    ),
)
_SMART_CHARGING: Final = (
    _count(
        "ChargeProfileMaxStackLevel",
        "The highest rank that a limit can have.",
        "SmartCharging",
        access=Access.READ,
        is_required=True,
    ),
    _list(
        "ChargingScheduleAllowedChargingRateUnit",
        "Whether limits are understood as a current, as a power, or as both.",
        "SmartCharging",
        access=Access.READ,
        choices=("Current", "Power", "A", "W"),  # quirk Q33: some tell the units instead of the words
        is_required=True,
    ),
    _count(
        "ChargingScheduleMaxPeriods",
        "How many steps one limit can have.",
        "SmartCharging",
        access=Access.READ,
        is_required=True,
    ),
    _flag(
        "ConnectorSwitch3to1PhaseSupported",
        "Whether the charger can go from three phases to one during a charge.",
        "SmartCharging",
        Access.READ,
    ),
    _count(
        "MaxChargingProfilesInstalled",
        "How many limits the charger can keep at once.",
        "SmartCharging",
        access=Access.READ,
        is_required=True,
    ),
)
_FIRMWARE: Final = (
    _list(
        "SupportedFileTransferProtocols",
        "How the charger can fetch firmware and send files.",
        "FirmwareManagement",
        access=Access.READ,
        choices=("FTP", "FTPS", "HTTP", "HTTPS", "SFTP"),
    ),
)
_SECURITY: Final = (
    _flag(
        "AdditionalRootCertificateCheck",
        "Whether a new root certificate must be signed by the one before it.",
        "Security",
        Access.READ,
    ),
    Key(
        "AuthorizationKey",
        "Security",
        Form.TEXT,
        Access.WRITE,
        "The password with which the charger logs in.",
        least=16,
        most=40,
        is_risky=True,
        elsewhere=Elsewhere.SECURITY,
    ),
    _count(
        "CertificateSignedMaxChainSize",
        "How large a certificate and its issuers may be together.",
        "Security",
        "bytes",
        access=Access.READ,
        most=10_000,
    ),
    _count(
        "CertificateStoreMaxLength",
        "How many root certificates the charger can keep.",
        "Security",
        access=Access.READ,
    ),
    Key(
        "CpoName",
        "Security",
        Form.TEXT,
        Access.READ_WRITE,
        "The name of the company that runs the charger, as it stands in the charger's certificate.",
    ),
    _count(
        "SecurityProfile",
        "How the charger proves who it is and whether its connection is encrypted; it can only be raised.",
        "Security",
        most=3,
        is_risky=True,
        elsewhere=Elsewhere.SECURITY,
    ),
)

KEYS: Final = MappingProxyType(
    {
        key.name.casefold(): key
        for key in (*_CORE, *_LOCAL_LISTS, *_RESERVATION, *_SMART_CHARGING, *_FIRMWARE, *_SECURITY)
    }
)
"""Every key of the specification by its name without case."""

REQUIRED: Final = tuple(key.name for key in KEYS.values() if key.is_required and key.profile == "Core")
"""The keys that every charger must have: a list without one of them was cut (quirk Q49)."""

MEASURAND_LISTS: Final = tuple(key.name for key in KEYS.values() if key.choices is MEASURANDS)

# A key with one of these words in its name decides how a charger reaches us, or how it is protected. Names
# are written together, so a short word must begin with a capital or stand alone.
_RISKY: Final = re.compile(
    r"(?i:url|uri|endpoint|backend|backoffice|server|address|domain|network|ethernet|wi-?fi|wlan|ssid|gsm|"
    r"modem|cellular|password|passphrase|proxy|gateway|certificate|identity|chargeboxid|chargepointid|"
    r"websocket|firewall|vpn|factory)|"
    r"(?<![A-Za-z])(?i:ip|dns|apn|sim|tls|host|port|ntp|dhcp|lan)(?![a-z])|"
    r"(?<=[a-z])(?:Ip|IP|Dns|DNS|Apn|APN|Sim|SIM|Tls|TLS|Host|Port|Ntp|NTP|Dhcp|DHCP|Lan|LAN)(?![a-z])"
)
_TRUE: Final = frozenset(("true", "1", "on", "yes"))
_FALSE: Final = frozenset(("false", "0", "off", "no"))
_COUNT: Final = re.compile(r"[+-]?[0-9]{1,12}(?:\.0+)?")


def find(name: str) -> Key | None:
    """Return a key of the specification; its name is told apart without case (OCPP 1.6 §5.8)."""
    return KEYS.get(name.strip().casefold())


def fold(name: str) -> str:
    """Return a name in the form in which names of keys are compared."""
    return name.strip().casefold()


def is_risky(name: str) -> bool:
    """Say whether a wrong value of this key can take a charger off the line."""
    key = find(name)
    return key.is_risky if key is not None else bool(_RISKY.search(name))


def range_of(name: str) -> str:
    """Return which values a key takes, in words; empty where the specification says nothing of it."""
    key = find(name)
    if key is None:
        return ""
    if key.form is Form.BOOLEAN:
        return "true or false"
    if key.form is Form.INTEGER:
        return _range_of_count(key)
    if key.form is Form.LIST and key.choices:
        return "a list of " + ", ".join(key.choices) if len(key.choices) < 7 else "a list of measurands"
    if key.least is not None:
        return f"{key.least} to {key.most} characters"
    return "a list" if key.form is Form.LIST else f"at most {VALUE_LENGTH_MAX} characters"


def _range_of_count(key: Key) -> str:
    unit = f" {key.unit}" if key.unit else ""
    if key.most != INTEGER_MAX:
        return f"{key.least} to {key.most}{unit}"
    if key.unit == "s":
        return f"a whole number of seconds, {key.least} or more"
    return f"{key.least} or more{unit}"


def items(value: str) -> tuple[str, ...]:
    """Return the members of a comma-separated list, without blanks and repetitions, in their order."""
    return tuple(dict.fromkeys(part for each in value.split(",") if (part := each.strip())))


def tidy(name: str, value: str) -> str:
    """Return a value as it is sent: in the spelling of the specification where that names the key."""
    key = find(name)
    if key is None or key.form is Form.TEXT:
        return value
    if key.form is Form.LIST:
        return ",".join(items(value))
    plain = value.strip()
    return plain.lower() if key.form is Form.BOOLEAN else plain


def misfit(name: str, value: str) -> str:
    """Return what is wrong with a value for a key, in words; empty if nothing is.

    About a manufacturer's key nothing is known, so nothing is wrong with it.
    """
    key = find(name)
    if key is None or _fits(key, tidy(name, value)):
        return ""
    if key.form is Form.LIST:
        strange = [item for item in items(value) if not _is_choice(key, item)]
        return f"{', '.join(strange[:3])}: not one of " + (
            "the measurands of OCPP 1.6" if key.choices is MEASURANDS else ", ".join(key.choices)
        )
    return f"must be {range_of(name)}"


def _fits(key: Key, value: str) -> bool:
    if key.form is Form.BOOLEAN:
        return value in {"true", "false"}
    if key.form is Form.INTEGER:
        least, most = key.least or 0, key.most or INTEGER_MAX
        return bool(re.fullmatch(r"[0-9]{1,10}", value)) and least <= int(value) <= most
    if key.form is Form.LIST:
        return all(_is_choice(key, item) for item in items(value))
    return (key.least or 0) <= len(value) <= (key.most or VALUE_LENGTH_MAX)


def _is_choice(key: Key, item: str) -> bool:
    """Say whether a list may hold this; a measurand may name its phase (OCPP 1.6 §9.1.17)."""
    if not key.choices or item in key.choices:
        return True
    measurand, _, phase = item.rpartition(".")
    return key.choices is MEASURANDS and measurand in MEASURANDS and phase in _PHASES


def is_sendable(name: str, value: str) -> bool:
    """Say whether the protocol can carry this at all, whatever the charger makes of it."""
    return (
        0 < len(name) <= KEY_LENGTH_MAX
        and name.isprintable()
        and len(value) <= VALUE_LENGTH_MAX
        and "\0" not in value
    )


def is_same(name: str, one: str | None, other: str | None) -> bool:
    """Say whether two values of a key mean the same; a value that is missing is an empty one (quirk Q33)."""
    first, second = (one or "").strip(), (other or "").strip()
    if first == second:
        return True
    key = find(name)
    form = key.form if key is not None else None
    if form is Form.LIST:
        return {item.casefold() for item in items(first)} == {item.casefold() for item in items(second)}
    if form is Form.INTEGER or (form is None and _COUNT.fullmatch(first) and _COUNT.fullmatch(second)):
        return _number(first) is not None and _number(first) == _number(second)
    if form in {Form.BOOLEAN, None}:
        return _truth(first, form) is not None and _truth(first, form) == _truth(second, form)
    return False


def _number(value: str) -> int | None:
    return int(value.partition(".")[0]) if _COUNT.fullmatch(value) else None


def _truth(value: str, form: Form | None) -> bool | None:
    """Read a boolean; a manufacturer's 1 or 0 need not be one."""
    word = value.casefold()
    if form is None and word not in {"true", "false"}:
        return None
    return True if word in _TRUE else False if word in _FALSE else None


@dataclass
class Cutting:
    """Finds the longest list that a charger takes, by offering it lists and hearing what it says.

    The whole list first; then, on top of what it took already, one half of what is left after the other.
    What the charger took last is therefore always ``taken``, and nothing has to be undone. A charger is
    offered at most ``CUT_TRIES_MAX`` lists; those at the front of the list matter most.
    """

    wanted: tuple[str, ...]
    taken: tuple[str, ...] = ()
    tries: int = 0
    _groups: list[tuple[str, ...]] = field(default_factory=list)
    _refused: set[tuple[str, ...]] = field(default_factory=set)

    @classmethod
    def of(cls, wanted: Sequence[str], longest: int | None = None) -> Cutting:
        """Begin with a list, of which the charger says that it takes no more than ``longest`` members."""
        whole = tuple(dict.fromkeys(wanted))
        if longest is not None and longest > 0:
            whole = whole[:longest]
        return cls(whole, _groups=[whole])

    def offer(self) -> tuple[str, ...] | None:
        """Return the list to offer next, None when there is nothing left to try."""
        while self._groups and self.tries < CUT_TRIES_MAX:
            offer = (*self.taken, *self._groups[-1])
            if offer not in self._refused:
                return offer
            self._halve()
        return None

    def hear(self, *, is_taken: bool) -> None:
        """Learn what the charger said to the last offer."""
        self.tries += 1
        if is_taken:
            self.taken = (*self.taken, *self._groups.pop())
        else:
            self._refused.add((*self.taken, *self._groups[-1]))
            self._halve()

    def _halve(self) -> None:
        group = self._groups.pop()
        if len(group) > 1:
            middle = (len(group) + 1) // 2
            self._groups += (group[middle:], group[:middle])

    @property
    def is_whole(self) -> bool:
        """Say whether the charger took all that was wanted."""
        return self.taken == self.wanted

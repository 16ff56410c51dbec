"""Configuration keys of OCPP 1.6 §9 as a charger keeps them: known, read-only, checked, or for later.

Values are texts, as on the wire. A key marked ``after_reboot`` answers RebootRequired and takes
effect with ``apply_pending``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MEASURANDS = (
    "Current.Import",
    "Current.Offered",
    "Energy.Active.Import.Register",
    "Power.Active.Import",
    "SoC",
    "Voltage",
)
SAMPLED = "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Current.Offered,Voltage,SoC"

ROTATIONS = frozenset(("NotApplicable", "Unknown", "RST", "RTS", "SRT", "STR", "TRS", "TSR"))

HIDDEN_KEYS = frozenset({"AuthorizationKey"})
"""Never told, only set (OCPP 1.6 security whitepaper, profile 1)."""


def _is_flag(value: str) -> bool:
    return value.lower() in {"true", "false"}


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdigit()


def _is_measurands(value: str) -> bool:
    names = [name.strip() for name in value.split(",")] if value.strip() else []
    return len(names) <= len(MEASURANDS) and all(name in MEASURANDS for name in names)  # …MaxLength


def _is_rotation(value: str) -> bool:
    """Say whether a value is of the form 0.RST,1.RTS (§9.1.7)."""
    parts = [part.strip().partition(".") for part in value.split(",")]
    return all(number.isdigit() and rotation in ROTATIONS for number, _, rotation in parts)


def _is_text(value: str) -> bool:
    return len(value) <= 500  # CiString500Type


def _is_key(value: str) -> bool:
    return 16 <= len(value) <= 40


def _is_tag(value: str) -> bool:
    return len(value) <= 20  # CiString20Type


@dataclass(frozen=True)
class Key:
    """A known key: its first value and how it may be changed; ``check`` None means read-only."""

    value: str
    check: Callable[[str], bool] | None = None
    after_reboot: bool = False


def factory_keys(connectors: int, max_a: float) -> dict[str, Key]:
    """Return the keys of a new charger."""
    return {
        # Core profile, §9.1
        "AllowOfflineTxForUnknownId": Key("false", _is_flag),
        "AuthorizationCacheEnabled": Key("true", _is_flag),
        "AuthorizeRemoteTxRequests": Key("false", _is_flag),
        "ClockAlignedDataInterval": Key("0", _is_count),
        "ConnectionTimeOut": Key("60", _is_count),
        "ConnectorPhaseRotation": Key("0.RST", _is_rotation, after_reboot=True),
        "GetConfigurationMaxKeys": Key("50"),
        "HeartbeatInterval": Key("300", _is_count),
        "LightIntensity": Key("100", lambda value: _is_count(value) and int(value) <= 100),
        "LocalAuthorizeOffline": Key("true", _is_flag),
        "LocalPreAuthorize": Key("false", _is_flag),
        "MeterValuesAlignedData": Key("Energy.Active.Import.Register", _is_measurands),
        "MeterValuesAlignedDataMaxLength": Key(str(len(MEASURANDS))),
        "MeterValuesSampledData": Key(SAMPLED, _is_measurands),
        "MeterValuesSampledDataMaxLength": Key(str(len(MEASURANDS))),
        "MeterValueSampleInterval": Key("60", _is_count),
        "NumberOfConnectors": Key(str(connectors)),
        "ResetRetries": Key("1", _is_count),
        "StopTransactionOnEVSideDisconnect": Key("true", _is_flag),
        "StopTransactionOnInvalidId": Key("true", _is_flag),
        "StopTxnAlignedData": Key("", _is_measurands),
        "StopTxnAlignedDataMaxLength": Key(str(len(MEASURANDS))),
        "StopTxnSampledData": Key("", _is_measurands),
        "StopTxnSampledDataMaxLength": Key(str(len(MEASURANDS))),
        "SupportedFeatureProfiles": Key(
            "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger"
        ),
        "TransactionMessageAttempts": Key("3", _is_count),
        "TransactionMessageRetryInterval": Key("60", _is_count),
        "UnlockConnectorOnEVSideDisconnect": Key("true"),
        "WebSocketPingInterval": Key("60", _is_count),
        # Local lists, reservation and smart charging, §9.2 to §9.4
        "LocalAuthListEnabled": Key("true", _is_flag),
        "LocalAuthListMaxLength": Key("1000"),
        "SendLocalListMaxLength": Key("100"),
        "ReserveConnectorZeroSupported": Key("false"),
        "ChargeProfileMaxStackLevel": Key("8"),
        "ChargingScheduleAllowedChargingRateUnit": Key("Current,Power"),
        "ChargingScheduleMaxPeriods": Key("96"),
        "ConnectorSwitch3to1PhaseSupported": Key("false"),
        "MaxChargingProfilesInstalled": Key("32"),
        # Security whitepaper
        "AuthorizationKey": Key("", _is_key),
        "AdditionalRootCertificateCheck": Key("false"),
        "CertificateSignedMaxChainSize": Key("10000"),
        "CertificateStoreMaxLength": Key("10"),
        "CpoName": Key("", _is_text),
        # Raised only, see Station.raise_profile.
        "SecurityProfile": Key("1", lambda value: value in {"1", "2", "3"}),
        # Common vendor keys: free vending, the touch button, the installer's current limit
        "FreeVendEnabled": Key("false", _is_flag),
        "FreeVendIdTag": Key("", _is_tag),
        "SmartButtonEnabled": Key("false", _is_flag),
        "MaxCurrent": Key(
            str(int(max_a)),
            lambda value: _is_count(value) and 6 <= int(value) <= max_a,
            after_reboot=True,
        ),
    }


class Configuration:
    """The keys of one charger with their present values."""

    def __init__(self, keys: dict[str, Key]) -> None:
        self._keys = keys
        self._spelling = {name.lower(): name for name in keys}
        self._values = {name: key.value for name, key in keys.items()}
        self._pending: dict[str, str] = {}

    def change(self, name: str, value: str) -> str:
        """Set a key and return the ConfigurationStatus (§7.21). Names are told apart without case."""
        known = self._spelling.get(name.lower())
        if known is None:
            return "NotSupported"
        key = self._keys[known]
        if key.check is None or not key.check(value):
            return "Rejected"
        if key.after_reboot:
            self._pending[known] = value
            return "RebootRequired"
        self._values[known] = value
        return "Accepted"

    def apply_pending(self) -> None:
        """Let the values that waited for a reboot take effect."""
        self._values.update(self._pending)
        self._pending.clear()

    def set_count(self, name: str, value: int) -> None:
        """Set a number that the charger learned by itself, such as the heartbeat's interval."""
        self._values[name] = str(value)

    def read(self, names: list[str]) -> tuple[list[dict[str, object]], list[str]]:
        """Return the known keys as OCPP tells them, and the names that are unknown (§5.8)."""
        known: list[dict[str, object]] = []
        unknown: list[str] = []
        for name in names or list(self._keys):
            spelled = self._spelling.get(name.lower())
            if spelled is None:
                unknown.append(name)
                continue
            entry: dict[str, object] = {"key": spelled, "readonly": self._keys[spelled].check is None}
            if spelled not in HIDDEN_KEYS:
                entry["value"] = self._values[spelled]
            known.append(entry)
        return known, unknown

    def text(self, name: str) -> str:
        """Return the value of a known key."""
        return self._values[name]

    def flag(self, name: str) -> bool:
        """Return the value of a known yes-or-no key."""
        return self._values[name].lower() == "true"

    def count(self, name: str) -> int:
        """Return the value of a known numeric key."""
        return int(self._values[name])

    def names(self, name: str) -> list[str]:
        """Return the value of a known comma-separated key."""
        return [part.strip() for part in self._values[name].split(",") if part.strip()]

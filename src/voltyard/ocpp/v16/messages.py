"""The messages of OCPP 1.6's Core profile and of remote triggers, as strict structs, and what all share.

A request bears the name of its action, its answer the same name with ``Answer``. The bounds are those of
OCPP 1.6 §6 and §7. Whoever wants tolerance (``dialect.read``) adds it on top; whoever writes uses these as
they are. Unset optional fields are left out on the wire. The other profiles have modules of their own;
``actions`` lists them all.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from voltyard.speech import ConnectorStatus, Registration, Verdict

CiString20 = Annotated[str, Meta(max_length=20)]
CiString25 = Annotated[str, Meta(max_length=25)]
CiString50 = Annotated[str, Meta(max_length=50)]
CiString255 = Annotated[str, Meta(max_length=255)]
CiString500 = Annotated[str, Meta(max_length=500)]
IdTag = Annotated[str, Meta(min_length=1, max_length=20)]
# OCPP 1.6 says anyURI; without a scheme no charger would know how to get there.
_URL: Final = r"\A[A-Za-z][A-Za-z0-9+.\-]*:[^\s\x00-\x1f]+\Z"
Url = Annotated[str, Meta(pattern=_URL)]
Url512 = Annotated[str, Meta(pattern=_URL, max_length=512)]

# Wider than 32 bits would break every database column behind it; meters count further.
ConnectorId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
OwnConnectorId = Annotated[int, Meta(gt=0, le=2**31 - 1)]
Number = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Seconds = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# OCPP 1.6 §3.14: who sends a time says where it counts.
Instant = Annotated[datetime, Meta(tz=True)]
MeterWh = Annotated[int, Meta(ge=-(2**53), le=2**53)]

Context = Literal[
    "Interruption.Begin",
    "Interruption.End",
    "Other",
    "Sample.Clock",
    "Sample.Periodic",
    "Transaction.Begin",
    "Transaction.End",
    "Trigger",
]
Measurand = Literal[
    "Current.Export",
    "Current.Import",
    "Current.Offered",
    "Energy.Active.Export.Register",
    "Energy.Active.Import.Register",
    "Energy.Reactive.Export.Register",
    "Energy.Reactive.Import.Register",
    "Energy.Active.Export.Interval",
    "Energy.Active.Import.Interval",
    "Energy.Reactive.Export.Interval",
    "Energy.Reactive.Import.Interval",
    "Frequency",
    "Power.Active.Export",
    "Power.Active.Import",
    "Power.Factor",
    "Power.Offered",
    "Power.Reactive.Export",
    "Power.Reactive.Import",
    "RPM",
    "SoC",
    "Temperature",
    "Voltage",
]
Phase = Literal["L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1"]
Location = Literal["Body", "Cable", "EV", "Inlet", "Outlet"]
ValueFormat = Literal["Raw", "SignedData"]
# "Celcius" stands in the first JSON schema of 1.6, the errata mend it; chargers send both.
Unit = Literal[
    "A",
    "Celcius",
    "Celsius",
    "Fahrenheit",
    "K",
    "Percent",
    "V",
    "VA",
    "W",
    "Wh",
    "kVA",
    "kW",
    "kWh",
    "kvar",
    "kvarh",
    "var",
    "varh",
]
Reason = Literal[
    "DeAuthorized",
    "EVDisconnected",
    "EmergencyStop",
    "HardReset",
    "Local",
    "Other",
    "PowerLoss",
    "Reboot",
    "Remote",
    "SoftReset",
    "UnlockCommand",
]
ErrorCode = Literal[
    "ConnectorLockFailure",
    "EVCommunicationError",
    "GroundFailure",
    "HighTemperature",
    "InternalError",
    "LocalListConflict",
    "NoError",
    "OtherError",
    "OverCurrentFailure",
    "OverVoltage",
    "PowerMeterFailure",
    "PowerSwitchFailure",
    "ReaderFailure",
    "ResetFailure",
    "UnderVoltage",
    "WeakSignal",
]
TriggerWord = Literal[
    "BootNotification",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "StatusNotification",
]


class Payload(
    msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, forbid_unknown_fields=False
):
    """The payload of a message or a part of it."""


# --- shared parts ---------------------------------------------------------------------------------


class IdTagInfo(Payload, frozen=True):
    """The verdict on a card, OCPP 1.6 §7.27."""

    status: Verdict
    expiry_date: datetime | None = None
    parent_id_tag: CiString20 | None = None


class SampledValue(Payload, frozen=True):
    """One value of a meter, OCPP 1.6 §7.43."""

    value: str
    context: Context | None = None
    format: ValueFormat | None = None
    measurand: Measurand | None = None
    phase: Phase | None = None
    location: Location | None = None
    unit: Unit | None = None


class MeterValue(Payload, frozen=True):
    """The values of one instant, OCPP 1.6 §7.33."""

    timestamp: datetime
    sampled_value: list[SampledValue]


# --- what the charger sends -----------------------------------------------------------------------


class BootNotification(Payload, frozen=True):
    """OCPP 1.6 §6.3."""

    charge_point_vendor: CiString20
    charge_point_model: CiString20
    charge_point_serial_number: CiString25 | None = None
    charge_box_serial_number: CiString25 | None = None
    firmware_version: CiString50 | None = None
    iccid: CiString20 | None = None
    imsi: CiString20 | None = None
    meter_type: CiString25 | None = None
    meter_serial_number: CiString25 | None = None


class BootNotificationAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.4."""

    status: Registration
    current_time: datetime
    interval: Annotated[int, Meta(ge=0)]


class Heartbeat(Payload, frozen=True):
    """OCPP 1.6 §6.29."""


class HeartbeatAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.30."""

    current_time: datetime


class StatusNotification(Payload, frozen=True):
    """OCPP 1.6 §6.47."""

    connector_id: ConnectorId
    status: ConnectorStatus
    error_code: ErrorCode
    info: CiString50 | None = None
    timestamp: datetime | None = None
    vendor_id: CiString255 | None = None
    vendor_error_code: CiString50 | None = None


class StatusNotificationAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.48."""


class Authorize(Payload, frozen=True):
    """OCPP 1.6 §6.1."""

    id_tag: CiString20


class AuthorizeAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.2."""

    id_tag_info: IdTagInfo


class StartTransaction(Payload, frozen=True):
    """OCPP 1.6 §6.45."""

    connector_id: OwnConnectorId
    id_tag: CiString20
    meter_start: MeterWh
    timestamp: datetime
    reservation_id: Number | None = None


class StartTransactionAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.46."""

    id_tag_info: IdTagInfo
    transaction_id: Number


class MeterValues(Payload, frozen=True):
    """OCPP 1.6 §6.31."""

    connector_id: ConnectorId
    meter_value: list[MeterValue]
    transaction_id: Number | None = None


class MeterValuesAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.32."""


class StopTransaction(Payload, frozen=True):
    """OCPP 1.6 §6.49."""

    transaction_id: Number
    meter_stop: MeterWh
    timestamp: datetime
    reason: Reason | None = None
    id_tag: CiString20 | None = None
    transaction_data: list[MeterValue] | None = None


class StopTransactionAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.50."""

    id_tag_info: IdTagInfo | None = None


class FirmwareStatusNotification(Payload, frozen=True):
    """OCPP 1.6 §6.19."""

    status: Literal[
        "DownloadFailed",
        "Downloaded",
        "Downloading",
        "Idle",
        "InstallationFailed",
        "Installed",
        "Installing",
    ]


class FirmwareStatusNotificationAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.20."""


class DiagnosticsStatusNotification(Payload, frozen=True):
    """OCPP 1.6 §6.17."""

    status: Literal["Idle", "UploadFailed", "Uploaded", "Uploading"]


class DiagnosticsStatusNotificationAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.18."""


# --- both ways ------------------------------------------------------------------------------------


class DataTransfer(Payload, frozen=True):
    """OCPP 1.6 §6.15."""

    vendor_id: CiString255
    message_id: CiString50 | None = None
    data: str | None = None


class DataTransferAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.16."""

    status: Literal["Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"]
    data: str | None = None


# --- what we send ---------------------------------------------------------------------------------

Limit = Annotated[int, Meta(ge=0, le=2**31 - 1)] | Annotated[float, Meta(ge=0, le=2**31 - 1)]
Purpose = Literal["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]
RateUnit = Literal["A", "W"]


class ChargingSchedulePeriod(Payload, frozen=True):
    """OCPP 1.6 §7.14."""

    start_period: Seconds
    limit: Limit
    number_phases: Annotated[int, Meta(ge=1, le=3)] | None = None

    def __post_init__(self) -> None:
        _refuse_hundredths(self.limit)


class ChargingSchedule(Payload, frozen=True):
    """OCPP 1.6 §7.13."""

    charging_rate_unit: RateUnit
    charging_schedule_period: Annotated[list[ChargingSchedulePeriod], Meta(min_length=1)]
    duration: Seconds | None = None
    start_schedule: Instant | None = None
    min_charging_rate: Limit | None = None

    def __post_init__(self) -> None:
        _refuse_hundredths(self.min_charging_rate or 0)


def _refuse_hundredths(limit: float) -> None:
    if round(limit, 1) != limit:
        raise ValueError("give it one decimal at most")


class ChargingProfile(Payload, frozen=True):
    """OCPP 1.6 §7.8; inside RemoteStartTransaction it has the purpose TxProfile."""

    charging_profile_id: Number
    stack_level: Count
    charging_profile_purpose: Purpose
    charging_profile_kind: Literal["Absolute", "Recurring", "Relative"]
    charging_schedule: ChargingSchedule
    transaction_id: Number | None = None
    recurrency_kind: Literal["Daily", "Weekly"] | None = None
    valid_from: Instant | None = None
    valid_to: Instant | None = None


class RemoteStartTransaction(Payload, frozen=True):
    """OCPP 1.6 §6.33."""

    id_tag: CiString20
    connector_id: OwnConnectorId | None = None
    charging_profile: ChargingProfile | None = None


class RemoteStopTransaction(Payload, frozen=True):
    """OCPP 1.6 §6.35."""

    transaction_id: Number


class PlainAnswer(Payload, frozen=True):
    """The answer to several asks: yes or no."""

    status: Literal["Accepted", "Rejected"]


class RemoteStartTransactionAnswer(PlainAnswer, frozen=True):
    """OCPP 1.6 §6.34."""


class RemoteStopTransactionAnswer(PlainAnswer, frozen=True):
    """OCPP 1.6 §6.36."""


class Reset(Payload, frozen=True):
    """OCPP 1.6 §6.39."""

    type: Literal["Hard", "Soft"]


class ResetAnswer(PlainAnswer, frozen=True):
    """OCPP 1.6 §6.40."""


class ChangeConfiguration(Payload, frozen=True):
    """OCPP 1.6 §6.9."""

    key: CiString50
    value: CiString500


class ChangeConfigurationAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.10."""

    status: Literal["Accepted", "NotSupported", "RebootRequired", "Rejected"]


class GetConfiguration(Payload, frozen=True):
    """OCPP 1.6 §6.23."""

    key: list[CiString50] | None = None


class KeyValue(Payload, frozen=True):
    """One configuration key of a charger, OCPP 1.6 §7.29."""

    key: CiString50
    readonly: bool
    value: CiString500 | None = None


class GetConfigurationAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.24."""

    configuration_key: list[KeyValue] | None = None
    unknown_key: list[CiString50] | None = None


class ChangeAvailability(Payload, frozen=True):
    """OCPP 1.6 §6.7."""

    connector_id: ConnectorId
    type: Literal["Inoperative", "Operative"]


class ChangeAvailabilityAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.8."""

    status: Literal["Accepted", "Rejected", "Scheduled"]


class UnlockConnector(Payload, frozen=True):
    """OCPP 1.6 §6.53."""

    connector_id: OwnConnectorId


class UnlockConnectorAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.54."""

    status: Literal["NotSupported", "UnlockFailed", "Unlocked"]


class ClearCache(Payload, frozen=True):
    """OCPP 1.6 §6.11."""


class ClearCacheAnswer(PlainAnswer, frozen=True):
    """OCPP 1.6 §6.12."""


class TriggerMessage(Payload, frozen=True):
    """OCPP 1.6 §6.51."""

    requested_message: TriggerWord
    connector_id: OwnConnectorId | None = None


class TriggerMessageAnswer(Payload, frozen=True):
    """OCPP 1.6 §6.52."""

    status: Literal["Accepted", "NotImplemented", "Rejected"]


REASONS: Final = frozenset(get_args(Reason))

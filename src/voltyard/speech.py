"""The neutral vocabulary: what a charger says, what we ask of it, what it answers.

No OCPP version shows here. A dialect turns frames into these sentences and back; everything above
the gateway knows only these. Units are amperes, watts, watt-hours, volts; instants are aware UTC.

Invariants: a saying holds no guess (what the charger did not tell is ``None``); ``told_at`` is the
charger's own word for the time and may be wrong, whoever hears it notes the time of hearing too.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from voltyard.kernel.units import PerPhase
from voltyard.kernel.wire import Message

# --- words that several sentences share -----------------------------------------------------------


class ConnectorStatus(StrEnum):
    """The nine states of a connector, OCPP 1.6 §7.7."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EVSE = "SuspendedEVSE"
    SUSPENDED_EV = "SuspendedEV"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class Verdict(StrEnum):
    """What is decided about a card, OCPP 1.6 §7.3."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT = "ConcurrentTx"


class Registration(StrEnum):
    """Whether a charger may work with us, OCPP 1.6 §7.34."""

    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


class Reading(Message, frozen=True):
    """What a meter showed at one instant.

    ``context`` is the charger's word (``Sample.Periodic``, ``Transaction.Begin`` …).
    ``energy_wh`` is the import register. ``others`` holds what has no column of its own, as
    ``(measurand with phase and location, value, unit)`` in the charger's spelling.
    """

    told_at: datetime | None = None
    context: str = "Sample.Periodic"
    energy_wh: float | None = None
    power_w: float | None = None
    current_a: PerPhase = PerPhase()
    voltage_v: PerPhase = PerPhase()
    offered_a: float | None = None
    soc_percent: float | None = None
    frequency_hz: float | None = None
    temperature_c: float | None = None
    others: tuple[tuple[str, str, str], ...] = ()


# --- what a charger says --------------------------------------------------------------------------


class Booted(Message, frozen=True):
    """The charger has started and introduces itself (BootNotification)."""

    vendor: str
    model: str
    serial: str | None = None
    box_serial: str | None = None
    firmware: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    meter_type: str | None = None
    meter_serial: str | None = None


class Beat(Message, frozen=True):
    """The charger is alive (Heartbeat)."""


class StatusTold(Message, frozen=True):
    """A connector, or with number 0 the charger itself, has this status (StatusNotification)."""

    connector: int
    status: ConnectorStatus
    error: str = "NoError"
    info: str | None = None
    vendor: str | None = None
    vendor_error: str | None = None
    told_at: datetime | None = None


class MayCharge(Message, frozen=True):
    """The question whether a card may charge (Authorize)."""

    id_tag: str


class Started(Message, frozen=True):
    """A transaction has begun (StartTransaction)."""

    connector: int
    id_tag: str
    meter_wh: int
    told_at: datetime | None = None
    reservation: int | None = None


class Metered(Message, frozen=True):
    """Meter readings of one connector (MeterValues); ``number`` is the transaction's, if told."""

    connector: int
    number: int | None
    readings: tuple[Reading, ...]


class Ended(Message, frozen=True):
    """A transaction has ended (StopTransaction). ``number`` may be 0, -1 or stale."""

    number: int
    meter_wh: int
    told_at: datetime | None = None
    reason: str | None = None
    id_tag: str | None = None
    readings: tuple[Reading, ...] = ()


class VendorTold(Message, frozen=True):
    """A vendor's own message (DataTransfer)."""

    vendor: str
    kind: str | None = None
    data: str | None = None


class FirmwareTold(Message, frozen=True):
    """How far a firmware update is (FirmwareStatusNotification)."""

    status: str


class DiagnosticsTold(Message, frozen=True):
    """How far an upload of diagnostics is (DiagnosticsStatusNotification)."""

    status: str


Said = (
    Booted
    | Beat
    | StatusTold
    | MayCharge
    | Started
    | Metered
    | Ended
    | VendorTold
    | FirmwareTold
    | DiagnosticsTold
)


# --- what we reply to a saying --------------------------------------------------------------------


class Welcomed(Message, frozen=True):
    """The reply to Booted: whether the charger may work with us, and when to come again."""

    registration: Registration
    now: datetime
    interval_s: int


class Ticked(Message, frozen=True):
    """The reply to Beat: the time."""

    now: datetime


class Judged(Message, frozen=True):
    """The reply to MayCharge, Started and Ended: the verdict on the card.

    ``number`` is set for Started only; ``verdict`` is None where no card was named.
    """

    verdict: Verdict | None = None
    number: int | None = None
    expires_at: datetime | None = None
    parent_tag: str | None = None


class Thanks(Message, frozen=True):
    """The reply to sayings that need no decision; they are stored."""


class VendorReply(Message, frozen=True):
    """The reply to VendorTold."""

    status: str
    data: str | None = None


Reply = Welcomed | Ticked | Judged | Thanks | VendorReply


# --- what we ask of a charger ---------------------------------------------------------------------


class Priority(StrEnum):
    """Classes of the outward lane, the most urgent first."""

    SAFETY = "safety"
    STOP = "stop"
    BILLING = "billing"
    PORTAL = "portal"
    DATA_CONTROL = "data_control"
    BACKGROUND = "background"


class StartCharging(Message, frozen=True):
    """Start a transaction with this card (RemoteStartTransaction)."""

    id_tag: str
    connector: int | None = None


class StopCharging(Message, frozen=True):
    """End the transaction with this number (RemoteStopTransaction)."""

    number: int


class Restart(Message, frozen=True):
    """Restart the charger (Reset)."""

    is_hard: bool = False


class SetKey(Message, frozen=True):
    """Set one configuration key (ChangeConfiguration)."""

    key: str
    value: str


class GetKeys(Message, frozen=True):
    """Read configuration keys, all of them when none is named (GetConfiguration)."""

    keys: tuple[str, ...] = ()


class SetAvailability(Message, frozen=True):
    """Make a connector (0: the whole charger) operative or not (ChangeAvailability)."""

    connector: int
    is_operative: bool


class Unlock(Message, frozen=True):
    """Release the cable of a connector (UnlockConnector)."""

    connector: int


class ForgetCards(Message, frozen=True):
    """Empty the charger's cache of authorisations (ClearCache)."""


class Trigger(Message, frozen=True):
    """Send this message of yours now (TriggerMessage)."""

    what: str
    connector: int | None = None


class TellVendor(Message, frozen=True):
    """A vendor's own message towards the charger (DataTransfer)."""

    vendor: str
    kind: str | None = None
    data: str | None = None


class ByHand(Message, frozen=True):
    """Any action of the charger's own protocol, written by a person; ``payload`` is a JSON object."""

    action: str
    payload: str


Ask = (
    StartCharging
    | StopCharging
    | Restart
    | SetKey
    | GetKeys
    | SetAvailability
    | Unlock
    | ForgetCards
    | Trigger
    | TellVendor
    | ByHand
)


# --- what a charger answers -----------------------------------------------------------------------


class Answer(Message, frozen=True):
    """What the charger answered to an ask.

    ``status`` is the charger's own status word ("Accepted", "Rejected", "RebootRequired" …), empty
    where the action has none. ``payload`` is the answer as JSON text, byte for byte.
    """

    is_accepted: bool
    status: str
    payload: str


class AnswerRefused(Message, frozen=True):
    """The charger answered with an error of the protocol (CALLERROR), or with something unreadable."""

    code: str
    detail: str = ""


Outcome = Answer | AnswerRefused


# --- between the gateway and the desk -------------------------------------------------------------


class Hello(Message, frozen=True):
    """A charger knocks: who it says it is and what it proves it with.

    ``password`` is base64 of the bytes that it sent, None when it sent none.
    """

    identity: str
    session_id: str
    gateway: str
    version: str
    address: str
    password: str | None = None


class Entry(StrEnum):
    """What became of a Hello."""

    WELCOME = "welcome"
    UNKNOWN = "unknown"
    WRONG_PASSWORD = "wrong_password"
    FULL = "full"


class Welcome(Message, frozen=True):
    """The reply to a Hello."""

    entry: Entry
    charger_id: str = ""


class Heard(Message, frozen=True):
    """One saying of a charger, with its raw payload as it came."""

    charger_id: str
    session_id: str
    message_id: str
    action: str
    raw: str
    said: Said


class Replied(Message, frozen=True):
    """The reply to Heard; it exists only once the saying is committed."""

    reply: Reply


class Gone(Message, frozen=True):
    """A socket has closed."""

    charger_id: str
    session_id: str
    reason: str


class GatewayStarted(Message, frozen=True):
    """A gateway has started and holds no sockets yet; ``gateway`` is its lasting name."""

    gateway: str


class Thanked(Message, frozen=True):
    """The reply to Gone and GatewayStarted."""


class Superseded(Message, frozen=True):
    """A newer session of this charger exists: whoever holds an older one lets it go."""

    charger_id: str
    session_id: str


class Asked(Message, frozen=True):
    """An ask on its way to the exchange that holds the charger."""

    ask: Ask
    priority: Priority
    origin: str
    timeout_s: float


class Told(Message, frozen=True):
    """The outcome of an ask."""

    outcome: Outcome
    action: str
    request: str

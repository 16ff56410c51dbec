"""The neutral vocabulary: what a charger says, what we ask of it, what it answers.

No OCPP version shows here. A dialect turns frames into these sentences and back; everything above
the gateway knows only these. Units are amperes, watts, watt-hours, volts; instants are aware UTC.

Invariants: a saying holds no guess (what the charger did not tell is ``None``); ``told_at`` is the
charger's own word for the time and may be wrong, whoever hears it notes the time of hearing too.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

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


class Role(StrEnum):
    """What an operator may do through a link: decide and bill, watch and set, or only watch."""

    BILLING = "billing"
    DATA_CONTROL = "data_control"
    OBSERVER = "observer"


class Fallback(StrEnum):
    """Which cards may charge while a Billing operator is silent: none, those of the location, all."""

    REFUSE = "refuse"
    LOCATION_CARDS = "location_cards"
    ALL = "all"


class LimitPurpose(StrEnum):
    """What a limit holds for: a whole charger, each transaction without one of its own, one transaction."""

    CHARGER = "charger"
    DEFAULT = "default"
    TRANSACTION = "transaction"


class LimitUnit(StrEnum):
    """What a charger counts limits in."""

    AMPERES = "A"
    WATTS = "W"


class Repeat(StrEnum):
    """How often a limit begins anew."""

    DAILY = "daily"
    WEEKLY = "weekly"


class LimitPeriod(Message, frozen=True):
    """A limit from ``start_s`` after the beginning until the next period; one of the two limits is set.

    ``phases`` is how many phases the car may use, None where that is not said.
    """

    start_s: int
    limit_a: float | None = None
    limit_w: float | None = None
    phases: int | None = None


class ListedCard(Message, frozen=True):
    """A card in the list that a charger keeps; without a verdict it is taken off that list."""

    id_tag: str
    verdict: Verdict | None = None
    expires_at: datetime | None = None
    parent_tag: str | None = None


class LogKind(StrEnum):
    """Which of its logs a charger sends."""

    DIAGNOSTICS = "diagnostics"
    SECURITY = "security"


class CertificateKind(StrEnum):
    """What a charger trusts a root certificate for: us, or its manufacturer's firmware."""

    CENTRAL = "central"
    MANUFACTURER = "manufacturer"


class CertificateHash(Message, frozen=True):
    """What a certificate in a charger is known by; the hashes are in hexadecimal."""

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial: str


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
    """A transaction has begun (StartTransaction); ``meter_wh`` is None where the charger left it out."""

    connector: int
    id_tag: str
    meter_wh: int | None
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


class SecurityTold(Message, frozen=True):
    """Something happened that concerns security (SecurityEventNotification)."""

    kind: str
    told_at: datetime | None = None
    info: str | None = None


class SigningAsked(Message, frozen=True):
    """The charger wants a certificate of its own and asks to have this request signed (SignCertificate)."""

    request_pem: str


class LogTold(Message, frozen=True):
    """How far an upload of a log is (LogStatusNotification); ``request_number`` as SendLog gave it."""

    status: str
    request_number: int | None = None


class SignedFirmwareTold(Message, frozen=True):
    """How far an update with signed firmware is (SignedFirmwareStatusNotification)."""

    status: str
    request_number: int | None = None


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
    | SecurityTold
    | SigningAsked
    | LogTold
    | SignedFirmwareTold
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

    ``number`` is the transaction that a Started or an Ended was about, None where there is none;
    ``verdict`` is None where no card was named.
    """

    verdict: Verdict | None = None
    number: int | None = None
    expires_at: datetime | None = None
    parent_tag: str | None = None


class Thanks(Message, frozen=True):
    """The reply to sayings that need no decision; they are stored.

    ``number`` is the transaction that readings belong to, if they belong to any.
    """

    number: int | None = None


class VendorReply(Message, frozen=True):
    """The reply to VendorTold."""

    status: str
    data: str | None = None


class Decided(Message, frozen=True):
    """The reply to SigningAsked: whether it will be done."""

    is_accepted: bool


Reply = Welcomed | Ticked | Judged | Thanks | VendorReply | Decided


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


class SetLimit(Message, frozen=True):
    """Hold to these limits (SetChargingProfile).

    ``connector`` is 0 for the whole charger or, as a default, for each of its connectors. The periods
    count from ``starts_at``, or from the start of the charge where that is None. Of several limits for one
    purpose the one with the highest ``stack_level`` counts. ``number`` is the transaction's.
    """

    connector: int
    purpose: LimitPurpose
    profile_number: int
    stack_level: int
    periods: tuple[LimitPeriod, ...]
    number: int | None = None
    starts_at: datetime | None = None
    duration_s: int | None = None
    repeats: Repeat | None = None
    valid_from_at: datetime | None = None
    valid_until_at: datetime | None = None


class ClearLimit(Message, frozen=True):
    """Forget the limits to which all of this applies, all if nothing is named (ClearChargingProfile)."""

    profile_number: int | None = None
    connector: int | None = None
    purpose: LimitPurpose | None = None
    stack_level: int | None = None


class TellComposite(Message, frozen=True):
    """Tell which limits a connector holds to from now on, all taken together (GetCompositeSchedule)."""

    connector: int
    duration_s: int
    unit: LimitUnit | None = None


class ReplaceCards(Message, frozen=True):
    """Keep these cards, and no others, for times without us (SendLocalList)."""

    version: int
    cards: tuple[ListedCard, ...] = ()


class UpdateCards(Message, frozen=True):
    """Change these cards in the list, which has this version afterwards (SendLocalList)."""

    version: int
    cards: tuple[ListedCard, ...]


class TellCardsVersion(Message, frozen=True):
    """Tell the version of your list of cards (GetLocalListVersion)."""


class Reserve(Message, frozen=True):
    """Keep a connector (0: any) for this card (ReserveNow); the same reservation again replaces itself."""

    connector: int
    reservation: int
    id_tag: str
    expires_at: datetime
    parent_tag: str | None = None


class CancelReservation(Message, frozen=True):
    """Give a reserved connector free (CancelReservation)."""

    reservation: int


class UpdateFirmware(Message, frozen=True):
    """Fetch new firmware from there, not before this instant, and install it (UpdateFirmware)."""

    location_url: str
    retrieve_at: datetime
    retries: int | None = None
    retry_interval_s: int | None = None


class SendDiagnostics(Message, frozen=True):
    """Upload diagnostics of this time to there (GetDiagnostics)."""

    location_url: str
    from_at: datetime | None = None
    until_at: datetime | None = None
    retries: int | None = None
    retry_interval_s: int | None = None


class TriggerExtended(Message, frozen=True):
    """Send this message of yours now, one about security perhaps (ExtendedTriggerMessage)."""

    what: str
    connector: int | None = None


class InstallCertificate(Message, frozen=True):
    """Trust this root certificate (InstallCertificate)."""

    kind: CertificateKind
    certificate_pem: str


class DeleteCertificate(Message, frozen=True):
    """Trust this root certificate no longer (DeleteCertificate)."""

    certificate: CertificateHash


class TellCertificates(Message, frozen=True):
    """Tell which root certificates of a kind you trust (GetInstalledCertificateIds)."""

    kind: CertificateKind


class UseCertificate(Message, frozen=True):
    """Use this certificate, signed as you asked, its issuers after it (CertificateSigned)."""

    chain_pem: str


class SendLog(Message, frozen=True):
    """Upload a log of this time to there (GetLog)."""

    kind: LogKind
    request_number: int
    location_url: str
    from_at: datetime | None = None
    until_at: datetime | None = None
    retries: int | None = None
    retry_interval_s: int | None = None


class UpdateSignedFirmware(Message, frozen=True):
    """Fetch new firmware, compare it with its signature, then install it (SignedUpdateFirmware)."""

    request_number: int
    location_url: str
    retrieve_at: datetime
    certificate_pem: str
    signature: str
    install_at: datetime | None = None
    retries: int | None = None
    retry_interval_s: int | None = None


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
    | SetLimit
    | ClearLimit
    | TellComposite
    | ReplaceCards
    | UpdateCards
    | TellCardsVersion
    | Reserve
    | CancelReservation
    | UpdateFirmware
    | SendDiagnostics
    | TriggerExtended
    | InstallCertificate
    | DeleteCertificate
    | TellCertificates
    | UseCertificate
    | SendLog
    | UpdateSignedFirmware
    | ByHand
)


# --- what a charger answers -----------------------------------------------------------------------


class CompositeLimits(Message, frozen=True):
    """The answer to TellComposite: the limits in force from ``starts_at`` on."""

    periods: tuple[LimitPeriod, ...]
    starts_at: datetime | None = None
    duration_s: int | None = None


class CardsVersion(Message, frozen=True):
    """The answer to TellCardsVersion; 0 for an empty list."""

    version: int


class InstalledCertificates(Message, frozen=True):
    """The answer to TellCertificates."""

    certificates: tuple[CertificateHash, ...]


class FileNamed(Message, frozen=True):
    """The answer to SendDiagnostics and SendLog: how the upload will be called."""

    name: str


Details = CompositeLimits | CardsVersion | InstalledCertificates | FileNamed


class Answer(Message, frozen=True):
    """What the charger answered to an ask.

    ``status`` is the charger's own status word ("Accepted", "Rejected", "RebootRequired" …), empty
    where the action has none. ``payload`` is the answer as JSON text, byte for byte; ``details`` is what
    the answer tells besides, None where it tells nothing that can be understood.
    """

    is_accepted: bool
    status: str
    payload: str
    details: Details | None = None


class AnswerRefused(Message, frozen=True):
    """The charger answered with an error of the protocol (CALLERROR), or with something unreadable."""

    code: str
    detail: str = ""


Outcome = Answer | AnswerRefused

_UNABLE: Final = frozenset({"notsupported", "notimplemented"})


def is_unable(outcome: Outcome | None) -> bool:
    """Say whether the charger does not know what it was asked for; None stands for no answer in time.

    Chargers say it by a status, by an error or by silence (quirk Q54). A silent one may have obeyed all the
    same: whoever gives current away counts with both.
    """
    if outcome is None:
        return True
    return (outcome.status if isinstance(outcome, Answer) else outcome.code).casefold() in _UNABLE


# --- between the gateway and the desk -------------------------------------------------------------


class Hello(Message, frozen=True):
    """A charger knocks: who it says it is and what it proves it with.

    ``password`` is base64 of the bytes that it sent, None when it sent none. ``certificate`` is base64 of the
    DER form of the client certificate that it holds the key of; nobody has looked yet who issued it.
    ``flaws`` are the kinds of deviations that were tolerated in how it knocked; ``via`` names the
    installations of Voltyard that it comes through.
    """

    identity: str
    session_id: str
    gateway: str
    version: str
    address: str
    password: str | None = None
    is_tls: bool = False
    certificate: str | None = None
    flaws: tuple[str, ...] = ()
    via: tuple[str, ...] = ()


class Entry(StrEnum):
    """What became of a Hello."""

    WELCOME = "welcome"
    UNKNOWN = "unknown"
    WRONG_PASSWORD = "wrong_password"
    NOT_TLS = "not_tls"
    NO_CERTIFICATE = "no_certificate"
    WRONG_CERTIFICATE = "wrong_certificate"
    FULL = "full"


class Welcome(Message, frozen=True):
    """The reply to a Hello: what a charger is by its last boot, and the time zone of where it stands."""

    entry: Entry
    charger_id: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    timezone: str = "UTC"


class Heard(Message, frozen=True):
    """One saying of a charger, with its raw payload as it came."""

    charger_id: str
    session_id: str
    message_id: str
    action: str
    raw: str
    said: Said


class Replied(Message, frozen=True):
    """The reply to Heard; it exists only once the saying is committed, in the log under this number."""

    reply: Reply
    number: int = 0


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
    command_id: str = ""


class Told(Message, frozen=True):
    """The outcome of an ask."""

    outcome: Outcome
    action: str
    request: str


# --- what the gateway saw, for the flight recorder -------------------------------------------------


class CallStatus(StrEnum):
    """What became of a call on the wire."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class CallTraced(Message, frozen=True):
    """A call that no saying carried to the log: one of ours, or one of the charger's that was not understood.

    ``payload`` and ``answer`` are the raw JSON, shortened where they are very long; an empty ``action``
    stands for a frame that is no call. ``command_id`` names the command that a call of ours belongs to.
    """

    charger_id: str
    session_id: str
    message_id: str
    is_outward: bool
    origin: str
    command_id: str
    action: str
    payload: str
    at: datetime
    status: CallStatus
    answer: str | None = None
    latency_ms: float | None = None


class AnswerTraced(Message, frozen=True):
    """How the call with this number in the log was answered."""

    number: int
    status: CallStatus
    answer: str
    latency_ms: float


class LateAnswer(Message, frozen=True):
    """What a charger answered to a command after its time limit."""

    command_id: str
    status: str
    is_accepted: bool
    answer: str


class FlawTold(Message, frozen=True):
    """A deviation from OCPP that was tolerated, ``count`` times since it was last told.

    ``sample`` is one frame or payload in which it was seen, shortened.
    """

    charger_id: str
    kind: str
    count: int
    action: str
    sample: str


class Traced(Message, frozen=True):
    """What a gateway saw since it last told."""

    calls: tuple[CallTraced, ...] = ()
    answers: tuple[AnswerTraced, ...] = ()
    late: tuple[LateAnswer, ...] = ()
    flaws: tuple[FlawTold, ...] = ()


class TracedNumbers(Message, frozen=True):
    """The reply to Traced: the numbers of its calls in the log, in their order."""

    numbers: tuple[int, ...] = ()

"""The charger that an operator believes to talk to: one stand-in for each connection of a link.

It boots as the charger did, tells its present states, then what the charger said from the link's cursor on,
and goes on live. The operator's answers never reach the charger; transaction numbers are the operator's own
on this side. What the operator asks is handed up, one call at a time. No I/O; time is an argument: ``now``
counts seconds, ``at`` is an instant.

What was refused, and what waits for it, is *owed*: the cursor has passed it, the store keeps it. It is told
turn by turn with what follows in the log. While it is being read nothing is told, so that what was read is
still so when it comes.

Invariants (property tests of the same names):
nothing is told before the boot is accepted · one saying is open at a time · the cursor never moves back ·
the end of the log is reached · what is told of a transaction keeps its order ·
no operator sees a number that it did not give · a start is told once ·
a poison message holds up its own transaction only
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

import msgspec

from voltyard.kernel.errors import TooMany
from voltyard.kernel.limits import CALL_DEADLINE_S, HEARTBEAT_S
from voltyard.ocpp import session
from voltyard.ocpp.frames import EMPTY_PAYLOAD, Call
from voltyard.proxy import sayings
from voltyard.proxy.readings import NO_CHOICE, Choice, chosen
from voltyard.proxy.rewriting import decoded, integer, replaced, text, value, without
from voltyard.proxy.sayings import READINGS_OF, Edit, Saying
from voltyard.speech import Priority, Role

START: Final = "StartTransaction"
STOP: Final = sayings.STOP
METER: Final = sayings.METER
STATUS: Final = "StatusNotification"
BOOT: Final = sayings.BOOT
HEARTBEAT: Final = "Heartbeat"
OF_TRANSACTIONS: Final = frozenset((START, STOP, METER))
TIMED: Final = frozenset((STATUS, "SecurityEventNotification"))
"""What tells its time beside what is told of transactions."""
NEVER_TOLD: Final = frozenset((HEARTBEAT, "Authorize", "SignCertificate"))
"""Heartbeats are the stand-in's own, cards are asked about live, certificates are between charger and
platform."""
CONSENT_OF: Final[Mapping[str, str]] = {
    "FirmwareStatusNotification": "firmware",
    "SignedFirmwareStatusNotification": "firmware",
    "DiagnosticsStatusNotification": "diagnostics",
    "LogStatusNotification": "diagnostics",
}
UNSTORED_MAX: Final = 8
"""Sayings that may be told before the ones ahead of them are stored: so many may be told twice after a
crash."""
RETRY_DELAYS_S: Final = (5.0, 15.0, 60.0, 300.0)
"""How long after each refusal a start or stop is told again; after the last one it is parked."""
SILENCES_MAX: Final = 3
"""How often a message is told without an answer before the connection is taken for dead."""
SILENCE_PAUSE_S: Final = 60.0
"""How long a saying that got no answer waits after that: perhaps it is only this one that gets none."""
SILENT_TRIES_MAX: Final = 1
"""… and how often; of starts and stops an operator has to hear, so that those are told for ever."""
REJECTED_PAUSE_S: Final = 60.0
PENDING_PAUSE_S: Final = 30.0
PAUSE_MAX_S: Final = 86_400.0
PAUSE_MIN_S: Final = 10.0
"""No operator is told more often than this that the charger lives, or boots, however often it wants it."""
TIES_MAX: Final = 20_000
"""Many more than the transactions of all that is read at once and owed, so that none of those is forgotten
before."""
CONNECTORS_MAX: Final = 64
"""Connectors whose last reading is remembered: how many there are is the charger's word."""
OWN_MAX: Final = 100
"""Messages of its own that an operator may ask for before it has answered the first."""
THINNED: Final = 0.9
"""Readings that come a little early for the interval that an operator wants still count."""
POLICY: Final = 1000


class State(StrEnum):
    """How a stand-in stands with its operator."""

    BOOTING = "booting"
    PENDING = "pending"
    REJECTED = "rejected"
    ONLINE = "online"
    CLOSED = "closed"


class Tie(NamedTuple):
    """What an operator knows of a transaction: its own number, and whether it is pending, open, refused,
    stopped, or unknown to it.
    """

    theirs: int | None
    state: str


class Owed(NamedTuple):
    """A saying that was refused or held back before, and the number of its delivery."""

    delivery: int
    saying: Saying
    is_parked: bool
    tries: int
    due_in_s: float


@dataclass(frozen=True, slots=True)
class Manner:
    """What a link is like; may be changed while it is connected."""

    role: Role
    is_boot_on_connect: bool = True
    tag_alias: str = ""
    consents: frozenset[str] = frozenset()
    heartbeat_s: float = 0.0
    """How often the operator wants a sign of life; 0 means as often as its answer to the boot says."""
    meter_interval_s: float = 0.0
    """Readings are told no more often than this; 0 means all of them."""
    readings: Choice = NO_CHOICE
    """What of readings the operator wants to hear."""
    in_stop: Choice = NO_CHOICE
    """… and of those that a stop tells."""


class Learned(NamedTuple):
    """What a delivery taught about a transaction."""

    number: int
    theirs: int | None
    state: str
    verdict: str = ""
    id_tag: str = ""
    started_at: datetime | None = None
    is_stop: bool = False


class Report(NamedTuple):
    """What became of one saying, to be stored in the order in which it is told.

    ``payload`` is None where it was told byte for byte, and where an ``edit`` says what was other.
    ``status``: done, failed, retrying, parked, held, withheld.
    """

    cursor: int
    saying: Saying | None
    delivery: int | None
    action: str
    message_id: str
    payload: bytes | None
    note: str
    status: str
    answer: bytes
    latency_s: float | None
    tries: int
    retry_in_s: float | None
    learned: Learned | None
    edit: Edit | None = None


class Send(msgspec.Struct, frozen=True):
    """Write this text to the operator."""

    data: bytes


class Close(msgspec.Struct, frozen=True):
    """Close the connection; connect again after a while."""

    code: int
    reason: str


class Became(msgspec.Struct, frozen=True):
    """The stand-in is in another state."""

    state: State
    reason: str = ""


class Want(msgspec.Struct, frozen=True):
    """Give what the charger said after this number, then call ``fed``."""

    after: int


class WantOwed(msgspec.Struct, frozen=True):
    """Give what is owed beyond the cursor, then call ``owe``."""


class Told(msgspec.Struct, frozen=True):
    """Store this, then call ``stored``."""

    report: Report


class Moved(msgspec.Struct, frozen=True):
    """The cursor has passed sayings that are not told; store it when convenient."""

    cursor: int


class Requested(msgspec.Struct, frozen=True):
    """The operator asks for this; give it to ``answer`` or ``refuse`` once."""

    call: Call


class Authorised(msgspec.Struct, frozen=True):
    """The operator's word about a card, None where it gave none."""

    token: object
    answer: bytes | None


class Exchanged(msgspec.Struct, frozen=True):
    """A call of the stand-in's own was answered, or not: for the record."""

    action: str
    message_id: str
    payload: bytes
    status: str
    answer: bytes
    latency_s: float


Effect = Send | Close | Became | Want | WantOwed | Told | Moved | Requested | Authorised | Exchanged


@dataclass(slots=True)
class _Open:
    """What is open towards the operator: a saying, or a message of the stand-in's own."""

    action: str
    payload: bytes
    saying: Saying | None = None
    delivery: int | None = None
    is_changed: bool = False
    edit: Edit | None = None
    note: str = ""
    message_id: str = ""
    tries: int = 0
    silences: int = 0
    sent_at: float = 0.0
    token: object = None
    learned: Learned | None = field(default=None)


class _Own(NamedTuple):
    """A message of the stand-in's own that waits; without an id it gets one of this connection."""

    action: str
    payload: bytes
    message_id: str = ""


K = TypeVar("K")
V = TypeVar("V")


class StandIn:
    """One connection of a link, seen from the charger's end of it."""

    def __init__(
        self,
        manner: Manner,
        *,
        cursor: int,
        attached: int,
        message_ids: str,
        prefix: str,
        jitter: float,
        blocked: Sequence[int] = (),
        latest: Sequence[Saying] = (),
    ) -> None:
        """Stand in for a charger from a cursor on.

        ``message_ids`` begins the ids of sayings, ``prefix`` those of our own; ``jitter`` is in 0..1;
        ``latest`` are readings that were told last, by which one that the charger repeats is recognised.
        """
        self.manner = manner
        self.state = State.CLOSED
        self.cursor = cursor
        self._attached = attached
        self._message_ids = message_ids
        self._jitter = jitter
        self._session = session.Session(prefix)
        self._boot = EMPTY_PAYLOAD
        self._known_number = 0
        self._has_booted = False
        self._own: deque[_Own] = deque()
        self._queue: deque[Saying] = deque()
        self._taken = cursor
        self._newest: dict[bytes, int] = {}
        self._ties: OrderedDict[int, Tie] = OrderedDict()
        self._blocked = set(blocked)
        self._owed: dict[int, deque[Owed]] = {}
        self._owed_at: float | None = None
        self._is_owed_wanted = False
        self._is_queue_next = False
        self._current: _Open | None = None
        self._unstored = 0
        self._is_gated = False
        self._is_asked = False
        self._is_stale = True
        self._interval_s = float(HEARTBEAT_S)
        self._beat_at: float | None = None
        self._boot_at: float | None = None
        self._metered: OrderedDict[int, tuple[int | None, datetime]] = OrderedDict()
        self._last_reading: OrderedDict[int, bytes] = OrderedDict()
        for saying in latest:
            self._is_said_again(saying)

    # --- the connection ---

    def opened(self, boot: bytes, statuses: Sequence[bytes], known_number: int, now: float) -> list[Effect]:
        """The connection is there; ``known_number`` is where the log stood when boot and states were read."""
        self._boot = boot
        self._known_number = known_number
        self._own.extend(_Own(STATUS, status) for status in statuses)
        self._owed_at = now
        self._has_booted = self.manner.is_boot_on_connect
        if not self._has_booted:
            return [*self._online(now), *self._go(now)]
        self.state = State.BOOTING
        return [Became(State.BOOTING), *self._ask_own(BOOT, boot, now)]

    def closed(self, now: float) -> list[Effect]:
        """The connection is gone; what was open is told again on the next one."""
        self.state = State.CLOSED
        return self._carried(self._session.closed(now), now)

    def received(self, data: bytes, now: float) -> list[Effect]:
        """Take in one message of the operator."""
        effects = self._carried(self._session.received(data, now), now)
        return effects + self._go(now)

    def tick(self, now: float) -> list[Effect]:
        """Let time pass."""
        effects = self._carried(self._session.tick(now), now)
        if self._boot_at is not None and self._boot_at <= now:
            effects += self._boot_again(now)
        if self.state is State.ONLINE and self._beat_at is not None and self._beat_at <= now:
            # The next one is due so long after the answer: whoever wants them often hears the rest, too.
            self._beat_at = None
            self._put(HEARTBEAT, EMPTY_PAYLOAD)
        return effects + self._go(now)

    # --- the log ---

    def woken(self, now: float) -> list[Effect]:
        """There may be more in the log."""
        self._is_stale = True
        # Whatever is under way ends with a look at what is next.
        return [] if self._is_asked or self._current is not None else self._go(now)

    def fed(
        self, sayings: Sequence[Saying], ties: Mapping[int, Tie], now: float, *, is_all: bool = False
    ) -> list[Effect]:
        """Take in what was wanted; nothing means that there is no more for now.

        ``is_all`` says the same of what there is: it was all when it was read.
        """
        self._is_asked = False
        for saying in sayings:  # what was not read since it is known must not be forgotten for what was
            number = saying.transaction_number
            if number is not None and number in self._ties:
                self._ties.move_to_end(number)
        for number, tie in ties.items():
            # What was learned here is newer than what was read.
            self._tie(number, self._ties.get(number, tie))
        if not self._queue:
            self._newest.clear()
        for saying in sayings:
            if saying.number > self._taken:
                self._taken = saying.number
                self._queue.append(saying)
                if saying.action in {BOOT, STATUS}:
                    self._newest[saying.place] = saying.number
        if sayings and not is_all:
            self._is_stale = True
        return self._go(now)

    def owe(self, owed: Sequence[Owed], ties: Mapping[int, Tie], now: float) -> list[Effect]:
        """Take in what is owed beyond the cursor: all of it, in order."""
        self._owed = {}
        self._is_owed_wanted = False
        for number, tie in ties.items():
            self._tie(number, tie)
        for each in owed:
            of = each.saying.transaction_number
            self._owed.setdefault(-each.delivery if of is None else of, deque()).append(each)
        self._blocked = {number for number in self._owed if number > 0}
        waits = [row[0].due_in_s for row in self._owed.values() if not row[0].is_parked]
        self._owed_at = now + max(0.0, min(waits)) if waits else None
        return self._go(now)

    def stored(self, now: float) -> list[Effect]:
        """The oldest of what was told and not stored yet is stored."""
        self._unstored = max(0, self._unstored - 1)
        self._is_gated = self._is_gated and self._unstored > 0
        return self._go(now)

    # --- what the operator asks, and cards ---

    def answer(self, call: Call, payload: bytes, now: float) -> list[Effect]:
        """Answer what the operator asked."""
        return self._carried(self._session.answer(call, payload, now), now)

    def refuse(self, call: Call, code: str, description: str, now: float) -> list[Effect]:
        """Answer what the operator asked with an error."""
        return self._carried(self._session.refuse(call, code, description, now), now)

    def authorise(self, token: object, id_tag: str, timeout_s: float, now: float) -> list[Effect]:
        """Ask the operator about a card, before anything else that waits."""
        is_booting = self._current is not None and self._current.action == BOOT
        if self.state is not State.ONLINE or is_booting:
            return [Authorised(token, None)]
        payload = msgspec.json.encode({"idTag": self.manner.tag_alias or id_tag})
        asked = _Open("Authorize", payload, sent_at=now, token=token)
        try:
            return self._ask(asked, Priority.SAFETY, "authorise", timeout_s, now)
        except TooMany:
            return [Authorised(token, None)]

    def tell(self, action: str, payload: bytes, now: float, message_id: str = "") -> list[Effect]:
        """Tell something of the stand-in's own, such as a state that the operator asked for.

        ``message_id`` is for what an operator may hear again on another connection.
        """
        if action == BOOT and self.state is State.PENDING:
            # OCPP 1.6 §4.2: so long it is the one message that may be sent, if it was asked for.
            self._boot = payload
            return [] if self._boot_at is None else self._boot_again(now)
        if len(self._own) < OWN_MAX:
            self._put(action, payload, message_id)
        return self._go(now)

    @property
    def _pace_s(self) -> float:
        return max(self.manner.heartbeat_s or self._interval_s, PAUSE_MIN_S)

    @property
    def is_inward_full(self) -> bool:
        """Say whether nothing more should be heard now: one more ask of the operator would end it all."""
        return self._session.is_inward_full

    @property
    def is_full(self) -> bool:
        """Say whether nothing more is told until some of it is stored."""
        return self._unstored >= UNSTORED_MAX

    @property
    def is_drained(self) -> bool:
        """Say whether the operator was told all there is."""
        is_reading = self._is_stale or self._is_asked or self._is_owed_wanted
        is_telling = bool(self._own or self._queue or self._current or self._unstored)
        return not (is_reading or is_telling or self._owed_at is not None)

    @property
    def knows(self) -> Container[int]:
        """Return the transactions of which the store need not be asked, by our numbers."""
        return self._ties.keys()

    @property
    def is_told(self) -> bool:
        """Say whether nothing of the stand-in's own waits."""
        return not (self._own or self._current)

    @property
    def wake_at(self) -> float | None:
        """Return when ``tick`` is due at the latest."""
        times = [self._session.wake_at, self._boot_at]
        if self.state is State.ONLINE:
            times += [self._beat_at, None if self._is_busy else self._owed_at]
        return min((time for time in times if time is not None), default=None)

    # --- inside ---

    def _tie(self, number: int, tie: Tie) -> None:
        _keep(self._ties, number, tie, TIES_MAX)

    def _put(self, action: str, payload: bytes, message_id: str = "") -> None:
        """Have something of our own told, once, in the place of the last time it was asked for."""
        own = _Own(action, payload, message_id)
        if own in self._own:
            self._own.remove(own)
        self._own.append(own)

    def _boot_again(self, now: float) -> list[Effect]:
        self._boot_at = None
        return self._ask_own(BOOT, self._boot, now)

    def _online(self, now: float) -> list[Effect]:
        self.state = State.ONLINE
        self._boot_at = None
        self._beat_at = now + self._pace_s * (0.5 + self._jitter / 2)
        return [Became(State.ONLINE)]

    def _ask_own(self, action: str, payload: bytes, now: float) -> list[Effect]:
        return self._ask(_Open(action, payload, sent_at=now), Priority.PORTAL, "own", CALL_DEADLINE_S, now)

    def _ask(
        self, asked: _Open, priority: Priority, origin: str, timeout_s: float, now: float
    ) -> list[Effect]:
        effects = self._session.ask(
            asked,
            asked.action,
            asked.payload,
            priority=priority,
            origin=origin,
            timeout_s=timeout_s,
            now=now,
            message_id=asked.message_id,
        )
        return self._carried(effects, now)

    def _carried(self, effects: session.Effects, now: float) -> list[Effect]:
        found: list[Effect] = []
        for effect in effects:
            match effect:
                case session.SendAsk(data, token, message_id):
                    assert isinstance(token, _Open)
                    token.message_id, token.sent_at = message_id, now
                    found.append(Send(data))
                case session.Send(data):
                    found.append(Send(data))
                case session.Heard(call):
                    found.append(Requested(call))
                case session.Answered(token, payload):
                    assert isinstance(token, _Open)
                    found += self._answered(token, payload, now)
                case session.AnsweredError(token, code, description):
                    assert isinstance(token, _Open)
                    found += self._errored(token, code, description, now)
                case session.Expired(token, was_sent):
                    assert isinstance(token, _Open)
                    found += self._expired(token, now, was_sent=was_sent)
                case session.Dropped(token, _):
                    assert isinstance(token, _Open)
                    if token.action == "Authorize":
                        found.append(Authorised(token.token, None))
                case session.Close(code, reason):
                    self.state = State.CLOSED
                    found.append(Close(code, reason))
        return found

    # --- what to do next ---

    @property
    def _is_busy(self) -> bool:
        """Say whether something is open, or has to be stored or read before anything else is told."""
        return self._current is not None or self.is_full or self._is_gated or self._is_owed_wanted

    def _go(self, now: float) -> list[Effect]:
        """Tell the next thing, if something may be told."""
        if self.state is not State.ONLINE or self._is_busy:
            return []
        if self._own:
            own = self._own.popleft()
            return self._tell_next(_Open(own.action, own.payload, message_id=own.message_id), now)
        is_due = self._owed_at is not None and self._owed_at <= now
        # They take turns: neither much that is owed nor much that is new may hold up the other.
        if is_due and not (self._queue and self._is_queue_next):
            if self._unstored:  # what is owed is read from what is stored
                return self._want()
            self._is_queue_next = True
            return [*self._want(), *self._due(now)]
        self._is_queue_next = False
        before = self.cursor
        while self._queue:
            saying = self._queue.popleft()
            told = self._plan(saying)
            if told is not None:
                return [*self._passed(before), *self._tell_next(told, now)]
            self.cursor = saying.number
        return [*self._passed(before), *self._want()]

    def _want(self) -> list[Effect]:
        """Ask for what follows in the log, if nothing of it is left and there may be more."""
        if self._queue or not self._is_stale or self._is_asked:
            return []
        self._is_stale, self._is_asked = False, True
        return [Want(self.cursor)]

    def _passed(self, before: int) -> list[Effect]:
        return [Moved(self.cursor)] if self.cursor != before else []

    def _due(self, now: float) -> list[Effect]:
        """Tell what is owed and due; ask for it where nothing is, since there may be more by now."""
        for key, row in self._owed.items():
            if not row[0].is_parked and row[0].due_in_s <= 0:
                owed = row.popleft()
                if not row:
                    del self._owed[key]
                told = self._written(owed.saying, owed.tries)
                if isinstance(told, str):
                    return self._tell_next(self._untold(owed.saying, "withheld", told, owed), now)
                told.delivery, told.tries = owed.delivery, owed.tries
                return self._tell_next(told, now)
        self._owed_at = None
        self._is_owed_wanted = True
        return [WantOwed()]

    def _tell_next(self, told: _Open | Report, now: float) -> list[Effect]:
        if isinstance(told, Report):
            self.cursor = max(self.cursor, told.cursor)
            self._unstored += 1
            self._is_gated = True
            return [Told(told)]
        if told.action == BOOT:
            self._boot = told.payload
        self._current = told
        return self._ask(told, Priority.PORTAL, "own", CALL_DEADLINE_S, now)

    def _message_id(self, saying: Saying, tries: int = 0) -> str:
        # What was refused is another message when it is told again: some take no id twice.
        return f"{self._message_ids}:{saying.number}" + (f"-{tries}" if tries else "")

    # --- what a saying becomes ---

    def _plan(self, saying: Saying) -> _Open | Report | None:
        """Return what to tell of a saying: a message, a report that it is held back, or nothing."""
        is_reading = saying.action == METER
        if is_reading and self._is_said_again(saying):
            return None  # our answer was lost
        if saying.action in OF_TRANSACTIONS and saying.transaction_number in self._blocked:
            if is_reading and self._is_thinned(saying):
                return None
            return self._untold(saying, "held", "waits_for_its_transaction")
        told = self._written(saying)
        if isinstance(told, str):
            return self._untold(saying, "withheld", told) if told else None
        return None if is_reading and self._is_thinned(saying) else told

    def _untold(self, saying: Saying, status: str, why: str, owed: Owed | None = None) -> Report:
        return Report(
            saying.number if owed is None else 0,
            saying,
            None if owed is None else owed.delivery,
            saying.action,
            self._message_id(saying),
            None,
            why,
            status,
            b"",
            None,
            0 if owed is None else owed.tries,
            None,
            None,
        )

    def _written(self, saying: Saying, tries: int = 0) -> _Open | str:
        """Return the message for a saying; or why it is not told, in one word, empty where nobody cares."""
        told = self._worded(saying)
        if isinstance(told, _Open):
            told.message_id = self._message_id(saying, tries)
        return told

    def _worded(self, saying: Saying) -> _Open | str:
        action = saying.action
        if action in NEVER_TOLD or (action in CONSENT_OF and CONSENT_OF[action] not in self.manner.consents):
            return ""
        if action in {BOOT, STATUS}:
            is_told = action == STATUS or self._has_booted
            if is_told and saying.number <= self._known_number:
                return ""  # it was told as it is now when the connection was made
            if self._newest.get(saying.place, 0) > saying.number:
                return ""  # it is not so any more
        is_vendors = action == "DataTransfer"
        if is_vendors and self.manner.role is not Role.BILLING and "vendor" not in self.manner.consents:
            return ""
        if action == START:
            return self._start(saying)
        if action == STOP:
            return self._stop(saying)
        if action == METER:
            return self._reading(saying)
        if saying.number <= self._attached:
            return ""
        notes: list[str] = []
        changes = self._timed(saying, notes) if action in TIMED else {}
        return self._message(saying, replaced(saying.payload, changes), notes)

    def _message(self, saying: Saying, payload: bytes, notes: list[str]) -> _Open:
        return _Open(
            saying.action,
            payload,
            saying,
            is_changed=payload != saying.payload,
            note=",".join(notes),
        )

    def _timed(self, saying: Saying, notes: list[str]) -> dict[str, bytes]:
        """Return the charger's own time, or when it was heard where its clock cannot be right (quirk Q35)."""
        told_at = saying.told_at
        if told_at is None or saying.is_likely(told_at):
            return {}
        if "time_repaired" not in notes:
            notes.append("time_repaired")
        return {"timestamp": msgspec.json.encode(saying.at)}

    def _aliased(self, saying: Saying, notes: list[str]) -> dict[str, bytes]:
        if not self.manner.tag_alias or value(saying.payload, "idTag") is None:
            return {}
        notes.append("tag_replaced")
        return {"idTag": msgspec.json.encode(self.manner.tag_alias)}

    def _start(self, saying: Saying) -> _Open | str:
        number = saying.transaction_number
        if number is None:
            return ""
        tie = self._ties.get(number)
        if tie is not None and tie.state != "pending":
            return ""  # the charger says it again, the operator has heard it
        if tie is None and saying.number <= self._attached:
            return ""
        notes: list[str] = []
        changes = self._aliased(saying, notes) | self._timed(saying, notes)
        told = self._message(saying, replaced(saying.payload, changes), notes)
        told_at = saying.told_at
        told.learned = Learned(
            number,
            None,
            "pending",
            id_tag=text(value(saying.payload, "idTag")),
            started_at=told_at if told_at is not None and saying.is_likely(told_at) else saying.at,
        )
        return told

    def _stop(self, saying: Saying) -> _Open | str:
        number = saying.transaction_number
        tie = None if number is None else self._ties.get(number)
        if number is None or tie is None or tie.state == "stopped":
            return ""
        if tie.theirs is None:
            return "start_unknown"
        payload, note, edit = saying.numbered(tie.theirs)
        notes = [note]
        numbered = payload
        measured = self._measured(saying, payload, self.manner.in_stop, notes)
        payload = without(payload, (READINGS_OF[STOP],)) if measured is None else measured
        changes = self._aliased(saying, notes) | self._timed(saying, notes)
        told = self._message(saying, replaced(payload, changes), notes)
        told.edit = edit if told.payload == numbered else None
        told.learned = Learned(number, tie.theirs, "stopped", is_stop=True)
        return told

    def _reading(self, saying: Saying) -> _Open | str:
        number = saying.transaction_number
        tie = None if number is None else self._ties.get(number)
        if number is not None and tie is None:
            return ""  # it began before the operator was there
        if number is None and saying.number <= self._attached:
            return ""
        edit = None
        if tie is not None and tie.theirs is not None:
            payload, note, edit = saying.numbered(tie.theirs)
            notes = [note]
        else:
            payload = without(saying.payload, ("transactionId",))
            notes = ["number_left_out"] if payload != saying.payload else []
        measured = self._measured(saying, payload, self.manner.readings, notes)
        if measured is None:
            return ""
        told = self._message(saying, measured, notes)
        told.edit = edit if measured is payload else None
        return told

    def _measured(self, saying: Saying, payload: bytes, choice: Choice, notes: list[str]) -> bytes | None:
        """Return a message with the readings that its operator chose; None where none of them is left."""
        timed = saying.with_likely_times(payload)
        if timed is not payload:
            notes.append("time_repaired")
        if not choice.is_made:
            return timed
        kept = chosen(timed, READINGS_OF[saying.action], choice)
        if kept != timed:
            notes.append("not_chosen_left_out")
        return kept

    def _is_said_again(self, saying: Saying) -> bool:
        """Say whether a reading is the same as the one before it."""
        connector, digest = saying.connector, saying.digest
        is_same = self._last_reading.get(connector) == digest
        _keep(self._last_reading, connector, digest, CONNECTORS_MAX)
        return is_same

    def _is_thinned(self, saying: Saying) -> bool:
        """Say whether an operator does not want readings as often as this."""
        interval_s = self.manner.meter_interval_s
        if interval_s <= 0 or b"Transaction." in saying.payload or b"Trigger" in saying.payload:
            return False
        connector, number, at = saying.connector, saying.transaction_number, saying.measured_at
        last = self._metered.get(connector)
        is_early = last is not None and abs(at - last[1]) < timedelta(seconds=interval_s * THINNED)
        if is_early and last is not None and last[0] == number:
            return True
        _keep(self._metered, connector, (number, at), CONNECTORS_MAX)
        return False

    # --- what the operator answers ---

    def _answered(self, token: _Open, payload: bytes, now: float) -> list[Effect]:
        if token.action == "Authorize":
            return [self._exchanged(token, "done", payload, now), Authorised(token.token, payload)]
        if token.action == BOOT:
            return [*self._settle(token, "done", payload, now), *self._booted(payload, now)]
        if token.saying is None:
            return self._settle(token, "done", payload, now)
        if token.action == START:
            assert token.learned is not None
            theirs = integer(value(payload, "transactionId"))
            if theirs is None:
                return self._again(token, payload, "nonsense", now)
            verdict = _verdict(value(payload, "idTagInfo"))
            state = "open" if verdict in {"", "Accepted"} else "refused"
            token.learned = token.learned._replace(theirs=theirs, state=state, verdict=verdict)
        return self._settle(token, "done", payload, now)

    def _errored(self, token: _Open, code: str, description: str, now: float) -> list[Effect]:
        answer = msgspec.json.encode({"errorCode": code, "errorDescription": description[:200]})
        if token.action == "Authorize":
            return [self._exchanged(token, "failed", answer, now), Authorised(token.token, None)]
        if token.action == BOOT:
            # It knows no boots, or not this one: it is asked again later, as after Rejected.
            self._boot_at = now + REJECTED_PAUSE_S
            self.state = State.REJECTED
            return [*self._settle(token, "failed", answer, now), Became(State.REJECTED, "boot_refused")]
        if token.saying is None or token.action not in {START, STOP}:
            return self._settle(token, "failed", answer, now)
        return self._again(token, answer, "", now)

    def _again(self, token: _Open, answer: bytes, note: str, now: float) -> list[Effect]:
        """Have what was refused told again later, or park it; its transaction waits, the others do not."""
        token.tries += 1
        is_parked = token.tries > len(RETRY_DELAYS_S)
        delay_s = None if is_parked else RETRY_DELAYS_S[token.tries - 1]
        return self._owe_again(token, "parked" if is_parked else "retrying", answer, note, delay_s, now)

    def _unanswered(self, token: _Open, now: float) -> list[Effect]:
        """Let the rest go on without a saying that gets no answer, since it may be the only one."""
        if token.action not in {START, STOP}:
            if token.tries >= SILENT_TRIES_MAX:
                return self._owe_again(token, "failed", b"", "no_answer", None, now)
            token.tries += 1
        return self._owe_again(token, "retrying", b"", "no_answer", SILENCE_PAUSE_S, now)

    def _owe_again(
        self, token: _Open, status: str, answer: bytes, note: str, delay_s: float | None, now: float
    ) -> list[Effect]:
        assert token.saying is not None
        number = token.saying.transaction_number
        if number is not None:
            self._blocked.add(number)
            self._owed.pop(number, None)
        due_at = now + (delay_s or 0.0)
        self._owed_at = due_at if self._owed_at is None else min(self._owed_at, due_at)
        token.note = ",".join(filter(None, (token.note, note)))
        token.learned = None
        return self._settle(token, status, answer, now, retry_in_s=delay_s)

    def _expired(self, token: _Open, now: float, *, was_sent: bool) -> list[Effect]:
        if token.action == "Authorize":
            return [self._exchanged(token, "failed", b"", now), Authorised(token.token, None)]
        token.silences += 1 if was_sent else 0
        is_own_boot = token.action == BOOT and token.saying is None
        if token.silences < SILENCES_MAX and not is_own_boot:
            # The same message under the same id: an operator that was only slow knows it again.
            return self._ask(token, Priority.PORTAL, "own", CALL_DEADLINE_S, now)
        self.state = State.CLOSED
        untold = [] if token.saying is None else self._unanswered(token, now)
        return [*untold, Close(POLICY, "no_answer")]

    def _exchanged(self, token: _Open, status: str, answer: bytes, now: float) -> Exchanged:
        return Exchanged(token.action, token.message_id, token.payload, status, answer, now - token.sent_at)

    def _settle(
        self, token: _Open, status: str, answer: bytes, now: float, retry_in_s: float | None = None
    ) -> list[Effect]:
        if token is self._current:
            self._current = None
        saying = token.saying
        if saying is None:
            if token.action == HEARTBEAT:
                self._beat_at = now + self._pace_s
            return [self._exchanged(token, status, answer, now)]
        learned = token.learned
        if status == "done" and learned is not None:
            self._tie(learned.number, Tie(learned.theirs, learned.state))
        else:
            learned = None
        if token.delivery is None:
            self.cursor = max(self.cursor, saying.number)
        self._unstored += 1
        # A number that was learned, and what was refused, is stored before anything follows.
        self._is_gated = self._is_gated or status != "done" or token.action in {START, STOP}
        return [
            Told(
                Report(
                    self.cursor if token.delivery is None else 0,
                    saying,
                    token.delivery,
                    token.action,
                    token.message_id,
                    token.payload if token.is_changed and token.edit is None else None,
                    token.note,
                    status,
                    answer,
                    now - token.sent_at,
                    token.tries + (status in {"done", "failed"}),
                    retry_in_s,
                    learned,
                    token.edit,
                )
            )
        ]

    def _booted(self, payload: bytes, now: float) -> list[Effect]:
        """Heed what the operator made of a boot (OCPP 1.6 §4.2)."""
        status = text(value(payload, "status"))
        told_s = integer(value(payload, "interval"))
        interval_s = min(float(told_s), PAUSE_MAX_S) if told_s is not None and told_s > 0 else 0.0
        if status == "Accepted":
            self._interval_s = interval_s or float(HEARTBEAT_S)
            return self._online(now)
        if status == "Pending":
            self.state = State.PENDING
            self._boot_at = now + max(interval_s or PENDING_PAUSE_S, PAUSE_MIN_S)
            return [Became(State.PENDING, "boot_pending")]
        self.state = State.REJECTED
        self._boot_at = now + max(interval_s, REJECTED_PAUSE_S)
        return [Became(State.REJECTED, "boot_rejected")]


def _keep(kept: OrderedDict[K, V], key: K, what: V, most: int) -> None:
    """Keep one more, and forget the one that was kept longest ago where there are too many."""
    kept[key] = what
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)


def _verdict(raw: bytes | None) -> str:
    """Return what an operator says of a card, empty where that is nothing; not every text can be stored."""
    told = decoded(raw)
    status = told.get("status") if isinstance(told, dict) else None
    if not isinstance(status, str):
        return ""
    return status[:16] if status.isprintable() else "Invalid"

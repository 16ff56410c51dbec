"""What a charger still has to say, and the one call that it may have open (1.6-J §4.1.1).

Invariants:
- at most one call is open;
- transaction messages keep their order and are lost neither by a cut connection nor by a reboot;
- an ordinary message lives no longer than its connection;
- message ids are never used twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from voltyard.sim.envelope import Payload
from voltyard.sim.profiles import Profile

UNKNOWN_NUMBER = -1
"""The transaction number of messages whose StartTransaction was never answered (errata 3.18)."""


@dataclass(eq=False)
class Transaction:
    """One charging transaction; ``number`` is what the central system calls it, once it did."""

    connector: int
    id_tag: str
    parent: str | None
    began_at: datetime
    meter_start_wh: int
    number: int | None = None
    is_suspended: bool = False
    """No energy because the tag turned out invalid (StopTransactionOnInvalidId false)."""
    first_values: list[Payload] = field(default_factory=list)


@dataclass(frozen=True)
class Swipe:
    """A tag that asks for something: to begin at a connector, or (``stops``) to end what runs there."""

    id_tag: str
    connector: int
    is_pinned: bool
    stops: bool = False
    profile: Profile | None = None
    """The TxProfile that came with a RemoteStartTransaction (OCPP 1.6 §5.11)."""


@dataclass(eq=False)
class Saying:
    """One call of the charger that waits, or is open."""

    action: str
    payload: Payload
    transaction: Transaction | None = None
    swipe: Swipe | None = None
    is_triggered: bool = False
    """Asked for by TriggerMessage, hence allowed while the boot is Pending (§4.2)."""
    attempts: int = 0
    order: int = 0

    def wire_payload(self) -> Payload:
        """Return the payload with the transaction's number as far as it is known now."""
        if self.transaction is None or self.action == "StartTransaction":
            return self.payload
        number = self.transaction.number
        return {**self.payload, "transactionId": UNKNOWN_NUMBER if number is None else number}


@dataclass(frozen=True)
class Open:
    """The call that waits for its answer."""

    id: str
    saying: Saying
    expires_at: datetime


class Outbox:
    """Two queues in one order: what dies with the connection, and what must arrive."""

    def __init__(self, id_prefix: str) -> None:
        self._id_prefix = id_prefix
        self._ids = 0
        self._orders = 0
        self._ordinary: deque[Saying] = deque()
        self._lasting: deque[Saying] = deque()
        self.open: Open | None = None
        self.resumes_at: datetime | None = None
        """Before this no transaction message is repeated (TransactionMessageRetryInterval)."""

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._lasting)

    @property
    def lasting(self) -> tuple[Saying, ...]:
        """The transaction messages that the central system has not acknowledged, in order."""
        held = self.open.saying if self.open else None
        return (*([held] if held and held.transaction else []), *self._lasting)

    def add(self, saying: Saying) -> None:
        """Put a message at the end of the queue to which it belongs."""
        self._orders += 1
        saying.order = self._orders
        (self._lasting if saying.transaction else self._ordinary).append(saying)

    def has_waiting(self, action: str) -> bool:
        """Tell whether an ordinary message of this kind already waits or is open."""
        is_open = self.open is not None and self.open.saying.action == action
        return is_open or any(saying.action == action for saying in self._ordinary)

    def next(self, now: datetime, may_say: str, timeout: timedelta) -> Open | None:
        """Open the next call, if one may be said; ``may_say`` is all, boot, triggered or nothing."""
        if self.open is not None:
            return None
        queue = self._eligible(now, may_say)
        if queue is None:
            return None
        saying, source = queue
        source.remove(saying)
        self._ids += 1
        self.open = Open(f"{self._id_prefix}-{self._ids}", saying, now + timeout)
        return self.open

    def _eligible(self, now: datetime, may_say: str) -> tuple[Saying, deque[Saying]] | None:
        if may_say != "all":
            for saying in self._ordinary:
                if may_say != "nothing" and (
                    saying.action == "BootNotification" or (may_say == "triggered" and saying.is_triggered)
                ):
                    return saying, self._ordinary
            return None
        heads = [(queue[0], queue) for queue in (self._ordinary, self._lasting) if queue]
        if self._lasting and self.resumes_at is not None and now < self.resumes_at:
            heads = [(saying, queue) for saying, queue in heads if queue is not self._lasting]
        return min(heads, key=lambda head: head[0].order, default=None)

    def close(self, call_id: str) -> Saying | None:
        """Take the open call when this answer belongs to it; None for a late or foreign answer."""
        if self.open is None or self.open.id != call_id:
            return None
        saying = self.open.saying
        self.open = None
        if saying.transaction:
            self.resumes_at = None
        return saying

    def put_back(self, saying: Saying, resumes_at: datetime) -> None:
        """Put a transaction message that was not understood first in its queue, for a later attempt."""
        self._lasting.appendleft(saying)
        self.resumes_at = resumes_at

    def cut(self) -> list[Saying]:
        """Forget the connection; return the ordinary messages that are lost with it."""
        lost = list(self._ordinary)
        self._ordinary.clear()
        if self.open is not None:
            saying = self.open.saying
            self.open = None
            if saying.transaction:
                # Whether it arrived is unknown, so it is said again: the peer must notice a repeat.
                self._lasting.appendleft(saying)
            else:
                lost.insert(0, saying)
        self.resumes_at = None
        return lost

    def begin_replay(self, first: Iterable[Saying]) -> None:
        """Let these ordinary messages go before the transaction messages that waited (§4.2)."""
        for saying in first:
            self.add(saying)
        for saying in self._lasting:
            self._orders += 1
            saying.order = self._orders

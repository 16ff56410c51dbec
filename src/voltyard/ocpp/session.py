"""One OCPP-J connection as a value machine, the same on either side of the socket.

Two lanes that never block each other (1.6-J §4.1.1: one open CALL per direction, CALLs may cross).
*Out*: what we ask; one open, the rest wait by class of priority, fair between origins inside a class.
*In*: what the peer asks; one handed up at a time, the rest kept in order. Time is an argument, every
input returns the effects that the owner of the socket carries out, in order.

Invariants (property tests of the same names):
at most one of our calls is open · each ask ends once · at most one of theirs is handed up ·
each of their calls is answered once or closed · their calls keep their order ·
a more urgent ask goes first · origins of a class take turns · queues are bounded ·
a deadline never passes unseen
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from voltyard.kernel.errors import TooMany
from voltyard.kernel.limits import ASK_QUEUE_MAX, ASK_QUEUE_ORIGIN_MAX, INWARD_QUEUE_MAX
from voltyard.ocpp import frames
from voltyard.speech import Priority

POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009

UNANSWERED: Final = "unanswered"
"""Why an ask was dropped: it was sent, so the peer may have obeyed."""
UNSENT: Final = "unsent"
"""Why an ask was dropped: the peer never saw it."""

LATE_MAX: Final = 8
"""Expired asks whose late answer is still recognised."""

_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]{0,26}")
_RANKS: Final = tuple(Priority)


class Send(msgspec.Struct, frozen=True, gc=False):
    """Write this text to the socket."""

    data: bytes


class SendAsk(Send, frozen=True, gc=True):
    """Write this text to the socket: it is our ask with this token, under this message id."""

    token: object
    message_id: str


class Heard(msgspec.Struct, frozen=True, gc=False):
    """The peer asks this; give it to ``answer`` or ``refuse`` once."""

    call: frames.Call


class Answered(msgspec.Struct, frozen=True):
    """An ask of ours was answered."""

    token: object
    payload: bytes


class AnsweredError(msgspec.Struct, frozen=True):
    """An ask of ours was refused, or its answer was unreadable."""

    token: object
    code: str
    description: str


class Expired(msgspec.Struct, frozen=True):
    """An ask of ours got no answer in time; ``was_sent`` says whether the peer may have obeyed."""

    token: object
    was_sent: bool


class Dropped(msgspec.Struct, frozen=True):
    """An ask of ours ended with the connection; ``why`` is UNANSWERED or UNSENT."""

    token: object
    why: str


class AnsweredLate(msgspec.Struct, frozen=True):
    """An ask that had expired was answered after all; an error has a ``code`` and no payload."""

    token: object
    payload: bytes = b""
    code: str = ""
    description: str = ""


class Noted(msgspec.Struct, frozen=True, gc=False):
    """The peer did something odd; nothing needs to be done."""

    what: str
    detail: str = ""


class Close(msgspec.Struct, frozen=True, gc=False):
    """Close the socket with this code, then tell ``closed``."""

    code: int
    reason: str


Effect = Send | Heard | Answered | AnsweredError | AnsweredLate | Expired | Dropped | Noted | Close
Effects = Sequence[Effect]

NOTHING: Final[tuple[Effect, ...]] = ()


class _Ask(msgspec.Struct):
    """An ask of ours; ``deadline`` counts from asking while it waits, from sending once it is open."""

    token: object
    action: str
    payload: bytes
    origin: str
    timeout_s: float
    deadline: float
    id_raw: bytes = b""
    message_id: str = ""


class _Waiting:
    """The asks that wait: a bounded queue with classes, fair between the origins of a class."""

    __slots__ = ("_by_origin", "_classes", "_count")

    def __init__(self) -> None:
        self._classes: tuple[OrderedDict[str, deque[_Ask]], ...] = tuple(OrderedDict() for _ in _RANKS)
        self._by_origin: dict[str, int] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def __iter__(self) -> Iterator[_Ask]:
        for origins in self._classes:
            for asks in origins.values():
                yield from asks

    def put(self, ask: _Ask, priority: Priority) -> None:
        """Add an ask at the end of its origin's row.

        Raises: TooMany when the queue, or the origin's part of it, is full.
        """
        of_origin = self._by_origin.get(ask.origin, 0)
        if self._count >= ASK_QUEUE_MAX or of_origin >= ASK_QUEUE_ORIGIN_MAX:
            raise TooMany("too many commands wait for this charger", waiting=self._count)
        self._classes[_RANKS.index(priority)].setdefault(ask.origin, deque()).append(ask)
        self._by_origin[ask.origin] = of_origin + 1
        self._count += 1

    def take(self) -> _Ask | None:
        """Remove and return the next ask; its origin goes to the back of its class."""
        for origins in self._classes:
            if origins:
                origin, asks = next(iter(origins.items()))
                ask = asks.popleft()
                origins.move_to_end(origin)
                if not asks:
                    del origins[origin]
                self._uncount(origin)
                return ask
        return None

    def take_expired(self, now: float) -> list[_Ask]:
        """Remove and return the asks whose own time has passed."""
        expired: list[_Ask] = []
        for origins in self._classes:
            for origin, asks in tuple(origins.items()):
                late = [ask for ask in asks if ask.deadline <= now]
                for ask in late:
                    asks.remove(ask)
                    self._uncount(origin)
                if not asks:
                    del origins[origin]
                expired += late
        return expired

    def _uncount(self, origin: str) -> None:
        self._count -= 1
        left = self._by_origin[origin] - 1
        if left:
            self._by_origin[origin] = left
        else:
            del self._by_origin[origin]


class Session:
    """One OCPP-J connection, central-system side or charge-point side.

    ``message_id_prefix`` must differ between the connections of a charger, so that an answer to an
    earlier connection's call is not taken for one to ours. ``is_half_duplex``: a call of ours waits while
    one of theirs is being answered. ``is_id_loose``: an answer under a wrong id counts for our only open
    call (quirk Q20).
    """

    __slots__ = (
        "_asked",
        "_half_duplex",
        "_id_loose",
        "_inward",
        "_late",
        "_open",
        "_over",
        "_prefix",
        "_theirs",
        "_waiting",
    )

    def __init__(
        self, message_id_prefix: str, *, is_half_duplex: bool = False, is_id_loose: bool = False
    ) -> None:
        # 1.6-J §4.1.4: 36 characters at most, so ten are left for the counter.
        assert _PREFIX.fullmatch(message_id_prefix), message_id_prefix
        self._prefix = message_id_prefix
        self._half_duplex = is_half_duplex
        self._id_loose = is_id_loose
        self._asked = 0
        self._open: _Ask | None = None
        self._late: deque[_Ask] = deque(maxlen=LATE_MAX)
        self._waiting = _Waiting()
        self._theirs: frames.Call | None = None
        self._inward: deque[frames.Call] = deque()
        self._over = False

    @property
    def is_inward_full(self) -> bool:
        """Whether the reader should pause: one more call of theirs would close the connection."""
        return len(self._inward) >= INWARD_QUEUE_MAX

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended, or has been told to."""
        return self._over

    @property
    def wake_at(self) -> float | None:
        """When ``tick`` is due at the latest, None when nothing has a deadline."""
        earliest = self._open.deadline if self._open is not None else None
        if self._waiting:
            waiting = min(ask.deadline for ask in self._waiting)
            return waiting if earliest is None else min(earliest, waiting)
        return earliest

    def heed(self, *, is_half_duplex: bool, is_id_loose: bool) -> None:
        """Take the peer from now on for one like this; who it is may be known only after its first words."""
        self._half_duplex = is_half_duplex
        self._id_loose = is_id_loose

    def received(self, text: bytes | str, now: float) -> Effects:
        """Take in one websocket message."""
        if self._over:
            return NOTHING
        frame = frames.decode(text)
        if isinstance(frame, frames.Call):
            return self._received_call(frame)
        if isinstance(frame, frames.CallResult):
            return self._received_result(frame, now)
        if isinstance(frame, frames.CallError):
            return self._received_error(frame, now)
        if isinstance(frame, frames.Empty):
            return [Noted("empty_frame")]
        return self._received_broken(frame, now)

    def ask(
        self,
        token: object,
        action: str,
        payload: bytes,
        *,
        priority: Priority,
        origin: str,
        timeout_s: float,
        now: float,
        message_id: str = "",
    ) -> Effects:
        """Ask the peer, at once or when the lane is free; exactly one effect will carry the token back.

        ``message_id`` is one of the caller's own, by which a peer knows again what is said a second time;
        it must not look like one of this connection. Raises: TooMany when too many asks wait already, in
        all or of this origin.
        """
        assert timeout_s > 0, timeout_s
        assert len(message_id) <= frames.MESSAGE_ID_LENGTH_MAX, message_id
        if self._over:
            return [Dropped(token, UNSENT)]
        ask = _Ask(token, action, payload, origin, timeout_s, now + timeout_s, message_id=message_id)
        if self._may_send() and not self._waiting:
            return [self._sent(ask, now)]
        self._waiting.put(ask, priority)
        return NOTHING

    def answer(self, call: frames.Call, payload: bytes, now: float) -> Effects:
        """Answer the call that was handed up."""
        return self._answered(call, frames.encode_result(call.id_raw, payload), now)

    def refuse(self, call: frames.Call, code: str, description: str, now: float) -> Effects:
        """Answer the call that was handed up with an error."""
        return self._answered(call, frames.encode_error(call.id_raw, code, description), now)

    def tick(self, now: float) -> Effects:
        """Give up what is overdue, and send what may be sent after that."""
        effects: list[Effect] = []
        if self._waiting:
            effects += [Expired(ask.token, was_sent=False) for ask in self._waiting.take_expired(now)]
        if self._open is not None and self._open.deadline <= now:
            effects.append(Expired(self._open.token, was_sent=True))
            self._late.append(self._open)
            self._open = None
        self._send_next(effects, now)
        return effects or NOTHING

    def closed(self, now: float) -> Effects:
        """Take in that the socket is closed; every ask that is left is dropped."""
        del now
        self._over = True
        effects: list[Effect] = []
        if self._open is not None:
            effects.append(Dropped(self._open.token, UNANSWERED))
            self._open = None
        while (ask := self._waiting.take()) is not None:
            effects.append(Dropped(ask.token, UNSENT))
        self._theirs = None
        self._inward.clear()
        return effects or NOTHING

    # --- their calls ---

    def _received_call(self, call: frames.Call) -> Effects:
        if self._theirs is None:
            self._theirs = call
            if call.is_repaired:
                return [Noted("repaired_json", call.action), Heard(call)]
            return [Heard(call)]
        # Some chargers repeat a call whose answer is late. The same id with other content is another
        # call: counters start again after a restart (quirk Q19).
        if call == self._theirs or call in self._inward:
            return [Noted("repeated_call", call.action)]
        if self.is_inward_full:
            return self._close(POLICY_VIOLATION, "too many calls at once")
        self._inward.append(call)
        return [Noted("repaired_json", call.action)] if call.is_repaired else NOTHING

    def _answered(self, call: frames.Call, text: bytes, now: float) -> Effects:
        if self._over:
            return NOTHING
        if call is not self._theirs and call != self._theirs:
            return [Noted("answer_to_no_call", call.action)]
        effects: list[Effect] = [Send(text)]
        if self._inward:
            self._theirs = self._inward.popleft()
            effects.append(Heard(self._theirs))
        else:
            self._theirs = None
            if self._waiting:
                self._send_next(effects, now)
        return effects

    # --- their answers ---

    def _received_result(self, result: frames.CallResult, now: float) -> Effects:
        ask = self._finished(result.id_raw)
        if ask is None:
            late = self._finished_late(result.id_raw)
            if late is not None:
                return [AnsweredLate(late.token, result.payload)]
            return [self._unexpected(result.id_raw)]
        effects: list[Effect] = [Answered(ask.token, result.payload)]
        if result.id_raw != ask.id_raw:
            effects.append(Noted("wrong_answer_id", ask.action))
        if result.is_repaired:
            effects.append(Noted("repaired_json", ask.action))
        self._send_next(effects, now)
        return effects

    def _received_error(self, error: frames.CallError, now: float) -> Effects:
        ask = self._finished(error.id_raw)
        if ask is None:
            late = self._finished_late(error.id_raw)
            if late is not None:
                return [AnsweredLate(late.token, code=error.code, description=error.description)]
            return [self._unexpected(error.id_raw)]
        effects: list[Effect] = [AnsweredError(ask.token, error.code, error.description)]
        if error.id_raw != ask.id_raw:
            effects.append(Noted("wrong_answer_id", ask.action))
        self._send_next(effects, now)
        return effects

    def _received_broken(self, broken: frames.Broken, now: float) -> Effects:
        if broken is frames.TOO_LONG:
            return self._close(MESSAGE_TOO_BIG, broken.detail)
        effects: list[Effect] = [Noted("unreadable_frame", broken.detail)]
        if broken.id_raw is not None:
            if broken.kind == frames.CALL:
                effects.append(Send(frames.encode_error(broken.id_raw, broken.code, broken.detail)))
            elif (ask := self._finished(broken.id_raw)) is not None:
                # Quirk Q18: the peer did answer, so waiting longer would bring nothing.
                effects.append(AnsweredError(ask.token, broken.code, broken.detail))
                self._send_next(effects, now)
        return effects

    def _finished(self, id_raw: bytes) -> _Ask | None:
        """Take the open ask out of the lane when this id answers it."""
        ask = self._open
        if ask is None or (id_raw != ask.id_raw and (not self._id_loose or self._is_ours(id_raw))):
            return None
        self._open = None
        return ask

    def _finished_late(self, id_raw: bytes) -> _Ask | None:
        """Forget and return the expired ask that this id answers, if it is remembered."""
        for ask in self._late:
            if ask.id_raw == id_raw:
                self._late.remove(ask)
                return ask
        return None

    def _unexpected(self, id_raw: bytes) -> Noted:
        # An answer is never answered, not even with an error (quirk Q23).
        what = "late_answer" if self._is_ours(id_raw) else "unknown_answer"
        return Noted(what, id_raw[: frames.MESSAGE_ID_LENGTH_MAX + 2].decode("utf-8", "replace"))

    def _is_ours(self, id_raw: bytes) -> bool:
        """Say whether this connection has used the id."""
        head = f'"{self._prefix}'.encode()
        number = id_raw[len(head) : -1]
        return id_raw.startswith(head) and number.isdigit() and int(number) <= self._asked

    # --- our calls ---

    def _may_send(self) -> bool:
        if self._over or self._open is not None:
            return False
        return self._theirs is None or not self._half_duplex

    def _sent(self, ask: _Ask, now: float) -> SendAsk:
        message_id = ask.message_id
        if not message_id:
            self._asked += 1
            message_id = f"{self._prefix}{self._asked}"
        ask.id_raw = b'"%b"' % message_id.encode()
        ask.deadline = now + ask.timeout_s
        self._open = ask
        return SendAsk(frames.encode_call(message_id, ask.action, ask.payload), ask.token, message_id)

    def _send_next(self, effects: list[Effect], now: float) -> None:
        """Send the next ask that waits, if the lane is free; those whose time has passed are given up."""
        while self._waiting and self._may_send():
            ask = self._waiting.take()
            assert ask is not None
            if ask.deadline <= now:
                effects.append(Expired(ask.token, was_sent=False))
            else:
                effects.append(self._sent(ask, now))

    def _close(self, code: int, reason: str) -> Effects:
        self._over = True
        return [Close(code, reason)]

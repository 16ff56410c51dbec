"""One charger's exchange: the actor that owns its socket and its session.

What the socket brings goes into the pure session; the effects that come out are carried out here,
without waiting. One task a charger takes its calls to the desk, one at a time, and gives each the
answer that was committed. When the desk cannot commit, nothing is answered and the socket closes:
the charger keeps what it has to say and says it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, tzinfo
from typing import Protocol

from voltyard.gateway.recorder import Recorded, Recorder, shortened
from voltyard.kernel.bus import Bus, Serving
from voltyard.kernel.clock import Clock
from voltyard.kernel.errors import ChargerOffline, Invalid, TimedOut, Unavailable, Unserved, VoltyardError
from voltyard.kernel.limits import ANSWER_BUDGET_S, FRAME_BYTES_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.wire import encode
from voltyard.ocpp import session
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import dialect
from voltyard.quirks import NONE, Quirks, find
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Asked,
    Booted,
    CallStatus,
    CallTraced,
    Gone,
    Heard,
    LateAnswer,
    Outcome,
    Replied,
    Thanked,
    Told,
)

INTERNAL_ERROR = 1011
SUPERSEDED = 1000
RETRY_PAUSE_S = 1.0
GOOD_BYE_BUDGET_S = 60.0
"""How long a good-bye is tried: while it is not heard, a charger that has gone is shown as online."""
BACKLOG_MAX = 4_096
"""Calls that one read of the socket may bring beyond the session's own queue."""
ANSWERS = (b"[3", b"[4")
UNCALLED = frozenset(("unreadable_frame", "unknown_answer", "late_answer", "repeated_call"))
"""Oddities that are frames of their own and not part of a call in the log."""


class Socket(Protocol):
    """What an exchange needs of a socket."""

    def send(self, data: bytes) -> None:
        """Write one text message."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Say good-bye and close."""
        ...

    def abort(self) -> None:
        """Drop the connection without a word."""
        ...

    def pause(self) -> None:
        """Take nothing more from the peer for now."""
        ...

    def resume(self) -> None:
        """Take from the peer again."""
        ...


class _Asking:
    """An ask on its way: who waits for it, and its place in the record once it is sent."""

    __slots__ = ("action", "asked", "done", "payload", "recorded", "sent_at")

    def __init__(
        self, asked: Asked, action: str, payload: bytes, done: asyncio.Future[bytes | AnswerRefused]
    ) -> None:
        self.asked = asked
        self.action = action
        self.payload = payload
        self.done = done
        self.recorded: Recorded | None = None
        self.sent_at = 0.0


class Exchange:
    """The exchange of one charger over one socket."""

    def __init__(
        self,
        charger_id: str,
        session_id: str,
        *,
        bus: Bus,
        clock: Clock,
        recorder: Recorder,
        quirks: Quirks = NONE,
        zone: tzinfo = UTC,
    ) -> None:
        self.charger_id = charger_id
        self.session_id = session_id
        self.heard_at = clock.monotonic()
        self.is_pinged = False
        self._bus = bus
        self._clock = clock
        self._recorder = recorder
        self._zone = zone
        self._session = session.Session(f"{session_id[-12:]}-")
        self._heed(quirks)
        self._socket: Socket | None = None
        self._calls: deque[tuple[Call, float]] = deque()
        self._backlog: deque[bytes] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._is_over = False
        self._is_paused = False
        self._is_blocked = False
        self._reason = ""
        self._log = logger("exchange").bind(charger_id=charger_id, session_id=session_id)

    # --- the socket's side: plain calls, never waiting ---

    def opened(self, socket: Socket) -> None:
        """The socket is there."""
        self._socket = socket

    def received(self, data: bytes) -> None:
        """The socket brought one whole message."""
        self.heard_at = self._clock.monotonic()
        self.is_pinged = False
        if (self._backlog or self._session.is_inward_full) and not data.lstrip().startswith(ANSWERS):
            if len(self._backlog) >= BACKLOG_MAX:
                self._close(session.POLICY_VIOLATION, "too many calls at once")
                return
            self._backlog.append(data)
            self._adjust()
            return
        self._take(data)

    def alive(self) -> None:
        """The peer gave a sign of life, such as a pong."""
        self.heard_at = self._clock.monotonic()
        self.is_pinged = False

    def blocked(self, *, is_blocked: bool) -> None:
        """The socket's own buffer is full, or has room again."""
        self._is_blocked = is_blocked
        self._adjust()

    def tick(self, now: float) -> None:
        """Let deadlines pass; called about every second."""
        wake_at = self._session.wake_at
        if wake_at is not None and wake_at <= now:
            self._carry_out(self._session.tick(now))

    def lost(self, reason: str = "") -> None:
        """The socket is gone."""
        if self._is_over:
            return
        self._is_over = True
        self._reason = self._reason or reason
        self._carry_out(self._session.closed(self._clock.monotonic()))
        self._stir()

    def supersede(self) -> None:
        """A newer socket of this charger is there: leave."""
        self._close(SUPERSEDED, "a newer connection of this charger is open")

    def leave(self, code: int, reason: str) -> None:
        """Close for a reason of the gateway's own, such as a stop."""
        self._close(code, reason)

    @property
    def is_over(self) -> bool:
        """Say whether the socket is gone."""
        return self._is_over

    def _heed(self, quirks: Quirks) -> None:
        """Take the charger for what its model is known for."""
        self.quirks = quirks
        self._session.heed(is_half_duplex=quirks.is_half_duplex, is_id_loose=quirks.is_id_loose)

    # --- carrying out effects ---

    def _take(self, data: bytes) -> None:
        effects = self._session.received(data, self._clock.monotonic())
        for effect in effects:
            if isinstance(effect, session.Noted):
                self._note(effect, data)
        self._carry_out(effects)

    def _carry_out(self, effects: session.Effects) -> None:
        for effect in effects:
            match effect:
                case session.SendAsk(data, token, message_id):
                    if self._socket is not None and not self._is_over:
                        self._socket.send(data)
                    self._sent(token, message_id)
                case session.Send(data):
                    if self._socket is not None and not self._is_over:
                        self._socket.send(data)
                case session.Heard(call):
                    self._calls.append((call, self._clock.monotonic()))
                    self._stir()
                case session.Answered(token, payload):
                    self._ended(token, CallStatus.DONE, payload)
                    _settle(token, payload)
                case session.AnsweredError(token, code, description):
                    self._ended(token, CallStatus.FAILED, _error(code, description))
                    _settle(token, AnswerRefused(code, description))
                case session.AnsweredLate():
                    self._answered_late(effect)
                case session.Expired(token, _):
                    self._ended(token, CallStatus.FAILED, b"")
                    _settle(token, TimedOut("the charger did not answer in time"))
                case session.Dropped(token, _):
                    self._ended(token, CallStatus.FAILED, b"")
                    _settle(token, ChargerOffline("the charger's connection closed before it answered"))
                case session.Noted(what, detail):
                    self._log.info("odd", what=what, detail=detail)
                case session.Close(code, reason):
                    self._close(code, reason)

    # --- the record ---

    def _sent(self, token: object, message_id: str) -> None:
        assert isinstance(token, _Asking)
        token.sent_at = self._clock.monotonic()
        token.recorded = self._recorder.call(
            self._traced(
                message_id,
                token.action,
                token.payload,
                CallStatus.PENDING,
                is_outward=True,
                origin=token.asked.origin,
                command_id=token.asked.command_id,
            )
        )

    def _traced(
        self,
        message_id: str,
        action: str,
        payload: bytes,
        status: CallStatus,
        *,
        is_outward: bool = False,
        origin: str = "",
        command_id: str = "",
        answer: bytes | None = None,
        latency_s: float = 0.0,
    ) -> CallTraced:
        return CallTraced(
            self.charger_id,
            self.session_id,
            message_id,
            is_outward,
            origin,
            command_id,
            shortened(action),
            shortened(payload),
            self._clock.now(),
            status,
            None if answer is None else shortened(answer),
            None if answer is None else latency_s * 1000,
        )

    def _ended(self, token: object, status: CallStatus, answer: bytes) -> None:
        assert isinstance(token, _Asking)
        if token.recorded is not None:  # else it was never sent
            self._recorder.end(token.recorded, status, answer, self._clock.monotonic() - token.sent_at)

    def _answered_late(self, late: session.AnsweredLate) -> None:
        """Record an answer for which nobody waits any more; its command keeps it apart."""
        asking = late.token
        assert isinstance(asking, _Asking)
        self._recorder.flaw(self.charger_id, "late_answer", asking.action, late.payload)
        if late.code:
            self._ended(asking, CallStatus.FAILED, _error(late.code, late.description))
            outcome: Outcome = AnswerRefused(late.code, late.description)
        else:
            self._ended(asking, CallStatus.DONE, late.payload)
            outcome = dialect.read_answer(asking.asked.ask, late.payload)
        if not asking.asked.command_id:
            return
        if isinstance(outcome, Answer):
            said = LateAnswer(
                asking.asked.command_id, outcome.status, outcome.is_accepted, shortened(outcome.payload)
            )
        else:
            said = LateAnswer(
                asking.asked.command_id, outcome.code, is_accepted=False,
                answer=_error(outcome.code, outcome.detail).decode(),
            )  # fmt: skip
        self._recorder.late(said)

    def _note(self, noted: session.Noted, data: bytes) -> None:
        """Count what the charger did oddly; a frame that is nobody's call is recorded as it came."""
        self._recorder.flaw(self.charger_id, noted.what, noted.detail, data)
        if noted.what in UNCALLED:
            self._recorder.call(
                self._traced("", "", data, CallStatus.FAILED, answer=noted.what.encode(), latency_s=0.0)
            )

    def _close(self, code: int, reason: str) -> None:
        self._reason = self._reason or reason
        if self._socket is not None and not self._is_over:
            if self.quirks.is_dropped_abruptly:
                self._socket.abort()  # after a good-bye it would not come back (quirk Q11)
            else:
                self._socket.close(code, reason)
        self.lost(reason)

    def _stir(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _adjust(self) -> None:
        """Pause the reader while its calls cannot be taken, or its answers cannot be sent."""
        if self._socket is None or self._is_over:
            return
        should = self._is_blocked or bool(self._backlog)
        if should and not self._is_paused:
            self._is_paused = True
            self._socket.pause()
        elif self._is_paused and not should:
            self._is_paused = False
            self._socket.resume()

    def _feed(self) -> None:
        """Take on what had to wait because the session was full."""
        while self._backlog and not self._session.is_inward_full and not self._is_over:
            self._take(self._backlog.popleft())
        self._adjust()

    # --- the desk's side: one task ---

    async def run(self) -> None:
        """Take the charger's calls to the desk until the socket is gone, then tell the desk."""
        serving: Serving | None = None
        is_stopping = False
        try:
            serving = await self._bus.serve(f"charger.{self.charger_id}.ask", Asked, self._asked)
            while not self._is_over:
                if not self._calls:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
                    continue
                await self._answer(*self._calls.popleft())
                if self._backlog:
                    self._feed()
        except asyncio.CancelledError:
            is_stopping = True
            raise
        except Exception:
            self._log.exception("exchange failed")
            self._close(INTERNAL_ERROR, "internal error")
        finally:
            if serving is not None:
                await self._stop(serving)
            if not is_stopping:  # a gateway that stops tells the desk once for all
                await self._tell_gone()

    async def _answer(self, call: Call, heard_at: float) -> None:
        flaws: list[str] = []
        said = dialect.read(call, flaws, self._zone)
        for flaw in flaws:
            self._recorder.flaw(self.charger_id, flaw, call.action, call.payload)
        message_id = call.id_raw.decode("utf-8", "replace").strip('"')
        if isinstance(said, dialect.Malformed):
            self._log.info("refused", action=call.action, code=said.code, detail=said.detail)
            self._recorder.flaw(self.charger_id, f"malformed_{said.code}", call.action, call.payload)
            self._refuse(call, message_id, said.code, said.detail, heard_at)
            return
        heard = Heard(
            self.charger_id,
            self.session_id,
            message_id,
            call.action,
            call.payload.decode("utf-8", "replace"),
            said,
        )
        try:
            replied = await self._ask_desk(heard)
        except Unavailable as wrong:
            # No commit, no answer: the charger keeps what it said and says it again.
            self._log.warning("not answered", action=call.action, why=str(wrong))
            self._record_refused(call, message_id, b"", heard_at)
            self._close(INTERNAL_ERROR, "try again later")
        except VoltyardError as wrong:
            self._log.warning("refused by the desk", action=call.action, code=wrong.code())
            self._refuse(call, message_id, "InternalError", "", heard_at)
        except Exception:
            self._log.exception("saying failed", action=call.action)
            self._refuse(call, message_id, "InternalError", "", heard_at)
        else:
            if isinstance(said, Booted):
                self._heed(find(said.vendor, said.model, said.firmware))
            payload = dialect.answer(said, replied.reply, self.quirks)
            now = self._clock.monotonic()
            self._recorder.answered(replied.number, CallStatus.DONE, payload, now - heard_at)
            self._carry_out(self._session.answer(call, payload, now))

    def _refuse(self, call: Call, message_id: str, code: str, detail: str, heard_at: float) -> None:
        self._record_refused(call, message_id, _error(code, detail), heard_at)
        self._carry_out(self._session.refuse(call, code, detail, self._clock.monotonic()))

    def _record_refused(self, call: Call, message_id: str, answer: bytes, heard_at: float) -> None:
        """Record a call that did not get into the log, since nothing of it was stored."""
        self._recorder.call(
            self._traced(
                message_id,
                call.action,
                call.payload,
                CallStatus.FAILED,
                answer=answer,
                latency_s=self._clock.monotonic() - heard_at,
            )
        )

    async def _ask_desk(self, heard: Heard) -> Replied:
        """Ask the desk, again and again while nobody serves it, within the answer budget."""
        give_up = self._clock.monotonic() + ANSWER_BUDGET_S
        while True:
            try:
                left_s = max(give_up - self._clock.monotonic(), 0.001)
                return await self._bus.request("central.heard", heard, Replied, timeout_s=left_s)
            except Unserved:
                if self._clock.monotonic() + RETRY_PAUSE_S >= give_up or self._is_over:
                    raise
                await self._clock.sleep(RETRY_PAUSE_S)

    async def _stop(self, serving: Serving) -> None:
        """Serve no more asks; a bus that is gone does so by itself and must not end the gateway."""
        try:
            await serving.stop()
        except Exception as wrong:
            self._log.warning("asks not ended", why=repr(wrong))

    async def _tell_gone(self) -> None:
        gone = Gone(self.charger_id, self.session_id, self._reason)
        give_up = self._clock.monotonic() + GOOD_BYE_BUDGET_S
        pause_s = RETRY_PAUSE_S
        while True:
            try:
                await self._bus.request("central.gone", gone, Thanked, timeout_s=ANSWER_BUDGET_S)
            except Exception as wrong:
                if not isinstance(wrong, Unavailable) or self._clock.monotonic() + pause_s >= give_up:
                    self._log.warning("good-bye lost", why=repr(wrong))
                    return
            else:
                return
            await self._clock.sleep(pause_s)
            pause_s *= 2

    async def _asked(self, asked: Asked) -> Told:
        """Ask the charger and wait for its answer.

        Raises: Invalid; TooMany; TimedOut; ChargerOffline.
        """
        action, payload = dialect.write(asked.ask, self.quirks)
        if len(payload) > FRAME_BYTES_MAX:
            raise Invalid("the request is too long for a charger")
        done: asyncio.Future[bytes | AnswerRefused] = asyncio.get_running_loop().create_future()
        self._carry_out(
            self._session.ask(
                _Asking(asked, action, payload, done),
                action,
                payload,
                priority=asked.priority,
                origin=asked.origin,
                timeout_s=asked.timeout_s,
                now=self._clock.monotonic(),
            )
        )
        answered = await done
        outcome: Outcome = (
            answered if isinstance(answered, AnswerRefused) else dialect.read_answer(asked.ask, answered)
        )
        return Told(outcome, action, payload.decode())


def _settle(token: object, value: VoltyardError | AnswerRefused | bytes) -> None:
    """Give whoever waits for an ask its end; the one who asked may have given up."""
    assert isinstance(token, _Asking)
    if token.done.done():
        return
    if isinstance(value, Exception):
        token.done.set_exception(value)
    else:
        token.done.set_result(value)


def _error(code: str, description: str) -> bytes:
    """Return an error of the protocol as the log shows it."""
    return encode({"errorCode": code, "errorDescription": description})

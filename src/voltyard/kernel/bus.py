"""The bus hurries, the database remembers: four verbs, nothing lives only here.

``publish`` is heard at most once, in order per publisher and subject. ``request`` has exactly one
answerer, and is refused at once when nobody serves. ``listen`` gives every listener a copy; a slow
one loses its oldest and counts it. Subjects are dotted words; ``*`` stands for one word, a last
``>`` for one or more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from voltyard.kernel.deadlines import Deadlines
from voltyard.kernel.errors import Fact, Invalid, PeerFault, TimedOut, Unserved, VoltyardError, every_error
from voltyard.kernel.limits import BUS_BYTES_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.wire import Message, decode, encode

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)
Handler = Callable[[M], Awaitable[Message]]


class MessageTooLarge(Invalid):
    """A message is longer than the bus carries."""

    title = "The message is too large"


class Failure(Message, frozen=True):
    """A VoltyardError on its way back to who asked.

    ``codes`` names its class and those above it, the nearest first: who does not know a room's own
    error takes it for its kind.
    """

    codes: tuple[str, ...]
    detail: str
    facts: dict[str, Fact]
    errors: tuple[tuple[str, str], ...] = ()
    ocpp_code: str = ""


def failure_of(wrong: VoltyardError) -> Failure:
    """Return an error in the form in which it travels."""
    return Failure(
        codes=tuple(kind.code() for kind in type(wrong).__mro__ if issubclass(kind, VoltyardError)),
        detail=wrong.detail,
        facts=dict(wrong.facts),
        errors=wrong.errors if isinstance(wrong, Invalid) else (),
        ocpp_code=wrong.ocpp_code if isinstance(wrong, PeerFault) else "",
    )


def error_of(failure: Failure) -> VoltyardError:
    """Return the error that has travelled, or the nearest kind of it that is known here."""
    known = every_error()
    kind = next((known[code] for code in failure.codes if code in known), VoltyardError)
    if issubclass(kind, Invalid):
        return kind(failure.detail, failure.errors, **failure.facts)
    if issubclass(kind, PeerFault):
        return kind(failure.detail, failure.ocpp_code, **failure.facts)
    return kind(failure.detail, **failure.facts)


def packed(message: Message) -> bytes:
    """Write a message for the bus. Raises: MessageTooLarge."""
    data = encode(message)
    if len(data) > BUS_BYTES_MAX:
        raise MessageTooLarge(
            f"{type(message).__name__} has {len(data)} bytes, and {BUS_BYTES_MAX} are carried"
        )
    return data


class Serving(Protocol):
    """A subject that is being served."""

    async def stop(self) -> None:
        """Serve it no longer."""
        ...


class Listening(Protocol):
    """A stream of events; ``lost`` counts those that came faster than they were taken."""

    lost: int

    async def next(self) -> tuple[str, bytes | Message]:
        """Wait for the next event: its subject, and the event or its JSON."""
        ...

    async def stop(self) -> None:
        """Listen no longer."""
        ...


class Bus(Protocol):
    """What carries messages between parts, in one process or between many."""

    async def publish(self, subject: str, event: Message) -> None:
        """Tell an event to whoever listens; one that cannot be told is lost, and that is logged."""
        ...

    async def request(self, subject: str, ask: Message, reply: type[R], *, timeout_s: float) -> R:
        """Ask the one who serves a subject.

        Raises: Unserved at once when nobody does; TimedOut; MessageTooLarge; any VoltyardError raised there,
        and a plain one for whatever else went wrong there.
        """
        ...

    async def serve(self, subject: str, ask: type[M], handler: Handler[M]) -> Serving:
        """Answer requests on a subject; of several servers one gets each request."""
        ...

    async def listen(self, pattern: str, *, queue_max: int) -> Listening:
        """Hear events whose subject fits a pattern."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


def read_event(event: bytes | Message, kind: type[M]) -> M | None:
    """Return a heard event as this kind, or None when it is another one."""
    if isinstance(event, Message):
        return event if isinstance(event, kind) else None
    tag = decode(event, _Tagged).type
    return decode(event, kind) if tag == kind.__name__ else None


class _Tagged(Message, frozen=True, tag=False, rename={"type": "type"}):
    """Just the tag of a message."""

    type: str = ""


class _LocalServing:
    def __init__(self, bus: LocalBus, subject: str, kind: type[Any], handler: Handler[Any]) -> None:
        self._bus, self._subject = bus, subject
        self.kind, self.handler = kind, handler

    async def stop(self) -> None:
        self._bus.drop_server(self._subject, self)


class _LocalListening:
    def __init__(self, bus: LocalBus, pattern: tuple[str, ...], queue_max: int) -> None:
        self.lost = 0
        self._bus, self._pattern, self._queue_max = bus, pattern, queue_max
        self._queue: deque[tuple[str, Message]] = deque()
        self._ready = asyncio.Event()

    @property
    def pattern(self) -> tuple[str, ...]:
        return self._pattern

    def put(self, subject: str, event: Message) -> None:
        if len(self._queue) >= self._queue_max:
            self._queue.popleft()
            self.lost += 1
        self._queue.append((subject, event))
        self._ready.set()

    async def next(self) -> tuple[str, bytes | Message]:
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    async def stop(self) -> None:
        self._bus.drop_listener(self)


class LocalBus:
    """The bus inside one process: a dictionary look-up and a direct call.

    ``is_strict`` sends every message through its JSON form, as a bus between processes would; tests
    run like that so that nothing works only here.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self._deadlines = Deadlines()
        self._servers: dict[str, list[_LocalServing]] = {}
        self._listeners: dict[str, list[_LocalListening]] = {}
        self._log = logger("bus")

    async def publish(self, subject: str, event: Message) -> None:
        """Tell an event to whoever listens."""
        if not self._listeners:
            return
        head = subject.partition(".")[0]
        near = self._listeners.get(head, ())
        anywhere = self._listeners.get("*", ())
        if not near and not anywhere:
            return
        if self._is_strict:
            try:
                event = decode(packed(event), type(event))
            except MessageTooLarge as wrong:
                self._log.warning("event lost", subject=subject, why=wrong.detail)
                return
        words = tuple(subject.split("."))
        for listener in (*near, *anywhere):
            if fits(listener.pattern, words):
                listener.put(subject, event)

    async def request(self, subject: str, ask: Message, reply: type[R], *, timeout_s: float) -> R:
        """Ask the one who serves a subject; see ``Bus.request``."""
        servers = self._servers.get(subject)
        if not servers:
            raise Unserved(f"nobody serves {subject}", subject=subject)
        # The newest: an exchange that was superseded may not have left yet.
        serving = servers[-1]
        if self._is_strict:
            ask = decode(packed(ask), serving.kind)
        limit = self._deadlines.within(timeout_s)
        try:
            with limit:
                answer = await serving.handler(ask)
        except VoltyardError as wrong:
            if self._is_strict:
                raise error_of(decode(packed(failure_of(wrong)), Failure)) from wrong
            raise
        except Exception as wrong:
            if limit.has_passed and isinstance(wrong, TimeoutError):
                raise TimedOut(f"no answer on {subject} within {timeout_s:g} s", subject=subject) from wrong
            self._log.exception("a request failed", subject=subject)
            raise VoltyardError from wrong
        if self._is_strict:
            return decode(packed(answer), reply)
        assert isinstance(answer, reply), f"{subject} answered {type(answer).__name__}"
        return answer

    async def serve(self, subject: str, ask: type[M], handler: Handler[M]) -> Serving:
        """Answer requests on a subject."""
        serving = _LocalServing(self, subject, ask, handler)
        self._servers.setdefault(subject, []).append(serving)
        return serving

    async def listen(self, pattern: str, *, queue_max: int) -> Listening:
        """Hear events whose subject fits a pattern."""
        words = tuple(pattern.split("."))
        listening = _LocalListening(self, words, queue_max)
        self._listeners.setdefault("*" if words[0] in {"*", ">"} else words[0], []).append(listening)
        return listening

    def drop_server(self, subject: str, serving: _LocalServing) -> None:
        """Forget one server of a subject; one that is gone already is no error."""
        servers = self._servers.get(subject, [])
        if serving in servers:
            servers.remove(serving)
        if not servers:
            self._servers.pop(subject, None)

    def drop_listener(self, listening: _LocalListening) -> None:
        """Forget one listener."""
        for head, listeners in list(self._listeners.items()):
            if listening in listeners:
                listeners.remove(listening)
            if not listeners:
                del self._listeners[head]

    async def close(self) -> None:
        """Let go of everything."""
        self._servers.clear()
        self._listeners.clear()


def fits(pattern: tuple[str, ...], words: tuple[str, ...]) -> bool:
    """Say whether a subject, as words, fits a pattern, as words."""
    if pattern[-1] == ">":
        return len(words) >= len(pattern) and all(
            p in {"*", w} for p, w in zip(pattern[:-1], words, strict=False)
        )
    return len(pattern) == len(words) and all(p in {"*", w} for p, w in zip(pattern, words, strict=True))

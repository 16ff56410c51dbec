"""The bus between processes: core NATS, the same four verbs and promises as ``LocalBus``."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, NoRespondersError, NoServersError
from nats.errors import TimeoutError as NatsTimeoutError

from voltyard.kernel.bus import Handler, Listening, Serving
from voltyard.kernel.errors import (
    Fact,
    Invalid,
    PeerFault,
    TimedOut,
    Unavailable,
    Unserved,
    VoltyardError,
    every_error,
)
from voltyard.kernel.log import logger
from voltyard.kernel.wire import Message, decode, encode

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)
GROUP = "voltyard"
PENDING_BYTES_MAX = 64 * 1024 * 1024
FAILED = b"!"


class BusGone(Unavailable):
    """NATS cannot be reached."""

    title = "The parts of Voltyard cannot reach each other just now"


class _Failure(Message, frozen=True):
    """A VoltyardError on its way back to who asked."""

    code: str
    detail: str
    facts: dict[str, Fact]
    errors: tuple[tuple[str, str], ...] = ()
    ocpp_code: str = ""


def _failure(wrong: VoltyardError) -> bytes:
    return FAILED + encode(
        _Failure(
            code=wrong.code(),
            detail=wrong.detail,
            facts=dict(wrong.facts),
            errors=wrong.errors if isinstance(wrong, Invalid) else (),
            ocpp_code=wrong.ocpp_code if isinstance(wrong, PeerFault) else "",
        )
    )


def _error(data: bytes) -> VoltyardError:
    failure = decode(data, _Failure)
    kind = every_error().get(failure.code, VoltyardError)
    if issubclass(kind, Invalid):
        return kind(failure.detail, failure.errors, **failure.facts)
    if issubclass(kind, PeerFault):
        return kind(failure.detail, failure.ocpp_code, **failure.facts)
    return kind(failure.detail, **failure.facts)


class _NatsServing:
    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def stop(self) -> None:
        await self._subscription.unsubscribe()


class _NatsListening:
    def __init__(self, queue_max: int) -> None:
        self.lost = 0
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queue_max = queue_max
        self._ready = asyncio.Event()
        self.subscription: Subscription | None = None

    async def put(self, message: Msg) -> None:
        if len(self._queue) >= self._queue_max:
            self._queue.popleft()
            self.lost += 1
        self._queue.append((message.subject, message.data))
        self._ready.set()

    async def next(self) -> tuple[str, bytes | Message]:
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    async def stop(self) -> None:
        if self.subscription is not None:
            await self.subscription.unsubscribe()


class NatsBus:
    """The bus over one NATS connection; make it with ``connect``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._log = logger("bus")
        self._running: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(cls, url: str) -> NatsBus:
        """Reach NATS, and reach it again by itself whenever it is lost.

        Raises: BusGone when it cannot be reached at the start.
        """
        try:
            client = await nats.connect(
                url, max_reconnect_attempts=-1, reconnect_time_wait=1, connect_timeout=5
            )
        except (OSError, NoServersError, NatsTimeoutError) as wrong:
            raise BusGone("NATS cannot be reached: check VOLTYARD_NATS_URL and that it runs") from wrong
        return cls(client)

    async def publish(self, subject: str, event: Message) -> None:
        """Tell an event to whoever listens; one that cannot be told is lost, as an event may be."""
        try:
            await self._client.publish(subject, encode(event))
        except (ConnectionClosedError, OSError) as wrong:
            self._log.warning("event lost", subject=subject, why=str(wrong))

    async def request(self, subject: str, ask: Message, reply: type[R], *, timeout_s: float) -> R:
        """Ask the one who serves a subject; see ``Bus.request``."""
        try:
            answer = await self._client.request(subject, encode(ask), timeout=timeout_s)
        except NoRespondersError as wrong:
            raise Unserved(f"nobody serves {subject}", subject=subject) from wrong
        except NatsTimeoutError as wrong:
            raise TimedOut(f"no answer on {subject} within {timeout_s:g} s", subject=subject) from wrong
        except (ConnectionClosedError, OSError) as wrong:
            raise BusGone from wrong
        if answer.data.startswith(FAILED):
            raise _error(answer.data[1:])
        return decode(answer.data, reply)

    async def serve(self, subject: str, ask: type[M], handler: Handler[M]) -> Serving:
        """Answer requests on a subject; each in a task of its own, so that a slow one holds nobody up."""

        async def answer(message: Msg) -> None:
            try:
                data = encode(await handler(decode(message.data, ask)))
            except VoltyardError as wrong:
                data = _failure(wrong)
            except Exception:
                self._log.exception("a request failed", subject=subject)
                data = _failure(VoltyardError())
            await message.respond(data)

        async def heard(message: Msg) -> None:
            task = asyncio.get_running_loop().create_task(answer(message))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        subscription = await self._client.subscribe(subject, queue=GROUP, cb=heard)
        await self._client.flush()
        return _NatsServing(subscription)

    async def listen(self, pattern: str, *, queue_max: int) -> Listening:
        """Hear events whose subject fits a pattern."""
        listening = _NatsListening(queue_max)
        listening.subscription = await self._client.subscribe(
            pattern, cb=listening.put, pending_bytes_limit=PENDING_BYTES_MAX
        )
        await self._client.flush()
        return listening

    async def close(self) -> None:
        """Let go of everything."""
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if not self._client.is_closed:
            await self._client.close()

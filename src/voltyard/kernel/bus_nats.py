"""The bus between processes: core NATS, the same four verbs and promises as ``LocalBus``."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from voltyard.kernel.bus import (
    Failure,
    Handler,
    Listening,
    MessageTooLarge,
    Serving,
    error_of,
    failure_of,
    packed,
)
from voltyard.kernel.errors import TimedOut, Unavailable, Unserved, VoltyardError
from voltyard.kernel.log import logger
from voltyard.kernel.wire import Message, decode

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)
GROUP = "voltyard"
PENDING_BYTES_MAX = 64 * 1024 * 1024
CONNECT_S = 10.0
FLUSH_S = 10
STOP_S = 2.0
FAILED = b"!"


class BusGone(Unavailable):
    """NATS cannot be reached."""

    title = "The parts of Voltyard cannot reach each other just now"


async def _note(wrong: Exception) -> None:
    logger("bus").warning("trouble with NATS", why=repr(wrong))


async def _end(subscription: Subscription) -> None:
    """Hear nothing more; a subscription or a connection that has ended already is no error."""
    with suppress(NatsError):
        await subscription.unsubscribe()


class _NatsServing:
    def __init__(self, client: Client, subscription: Subscription, served: set[Subscription]) -> None:
        self._client, self._subscription, self._served = client, subscription, served
        served.add(subscription)

    async def stop(self) -> None:
        self._served.discard(self._subscription)
        # What the server has handed over already is answered still; nobody shall wait for it in vain.
        if self._client.is_connected:
            with suppress(NatsError, TimeoutError, OSError):
                async with asyncio.timeout(STOP_S):
                    await self._subscription.drain()  # type: ignore[no-untyped-call] # theirs has no types
                return
        await _end(self._subscription)


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
            await _end(self.subscription)


class NatsBus:
    """The bus over one NATS connection; make it with ``connect``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._log = logger("bus")
        self._running: set[asyncio.Task[None]] = set()
        self._served: set[Subscription] = set()

    @classmethod
    async def connect(cls, url: str) -> NatsBus:
        """Reach NATS, and reach it again by itself whenever it is lost.

        Raises: BusGone when it cannot be reached at the start.
        """
        try:
            # By itself the client would try for ever, and tell nobody.
            async with asyncio.timeout(CONNECT_S):
                client = await nats.connect(
                    url, max_reconnect_attempts=-1, reconnect_time_wait=1, connect_timeout=5, error_cb=_note
                )
        except (OSError, NatsError, TimeoutError) as wrong:
            raise BusGone("NATS cannot be reached: check VOLTYARD_NATS_URL and that it runs") from wrong
        return cls(client)

    async def _settle(self) -> None:
        """Wait until the server has heard what was sent so far.

        Twice, because the client writes its ping ahead of what still waits to be written: when the first
        one is answered, that has been written too.
        """
        await self._client.flush(timeout=FLUSH_S)
        await self._client.flush(timeout=FLUSH_S)

    async def publish(self, subject: str, event: Message) -> None:
        """Tell an event to whoever listens; one that cannot be told is lost, as an event may be."""
        try:
            await self._client.publish(subject, packed(event))
        except (NatsError, OSError, MessageTooLarge) as wrong:
            self._log.warning("event lost", subject=subject, why=str(wrong))

    async def request(self, subject: str, ask: Message, reply: type[R], *, timeout_s: float) -> R:
        """Ask the one who serves a subject; see ``Bus.request``."""
        try:
            answer = await self._client.request(subject, packed(ask), timeout=timeout_s)
        except NoRespondersError as wrong:
            raise Unserved(f"nobody serves {subject}", subject=subject) from wrong
        except NatsTimeoutError as wrong:
            raise TimedOut(f"no answer on {subject} within {timeout_s:g} s", subject=subject) from wrong
        except (NatsError, OSError) as wrong:
            raise BusGone from wrong
        if answer.data.startswith(FAILED):
            raise error_of(decode(answer.data[1:], Failure))
        return decode(answer.data, reply)

    async def serve(self, subject: str, ask: type[M], handler: Handler[M]) -> Serving:
        """Answer requests on a subject; each in a task of its own, so that a slow one holds nobody up."""

        async def answer(message: Msg) -> None:
            try:
                data = packed(await handler(decode(message.data, ask)))
            except VoltyardError as wrong:
                data = FAILED + packed(failure_of(wrong))
            except Exception:
                self._log.exception("a request failed", subject=subject)
                data = FAILED + packed(failure_of(VoltyardError()))
            try:
                await message.respond(data)
            except (NatsError, OSError) as wrong:
                self._log.warning("answer lost", subject=subject, why=str(wrong))

        async def heard(message: Msg) -> None:
            task = asyncio.get_running_loop().create_task(answer(message))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        subscription = await self._client.subscribe(subject, queue=GROUP, cb=heard)
        await self._settle()
        return _NatsServing(self._client, subscription, self._served)

    async def listen(self, pattern: str, *, queue_max: int) -> Listening:
        """Hear events whose subject fits a pattern."""
        listening = _NatsListening(queue_max)
        listening.subscription = await self._client.subscribe(
            pattern, cb=listening.put, pending_bytes_limit=PENDING_BYTES_MAX
        )
        await self._settle()
        return listening

    async def close(self) -> None:
        """Let go of everything; who asks from now on is refused at once, and need not wait for an answer."""
        for subscription in tuple(self._served):
            await _end(subscription)
        with suppress(NatsError, OSError, TimeoutError):
            await self._settle()
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if not self._client.is_closed:
            await self._client.close()

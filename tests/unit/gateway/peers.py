"""What stands around an exchange in tests: a socket that remembers, and a desk that answers when told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from voltyard.gateway.exchange import Exchange
from voltyard.gateway.recorder import Recorder
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import VoltyardError
from voltyard.quirks import NONE, Quirks
from voltyard.speech import (
    Ask,
    Asked,
    Gone,
    Heard,
    Priority,
    Replied,
    Reply,
    StopCharging,
    Thanked,
    Ticked,
    Told,
    Traced,
    TracedNumbers,
)

CHARGER = "chg_01JD00000000000000000000AA"
SESSION = "soc_01JD00000000000000000000BB"


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop run until a condition is true."""
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


async def settle() -> None:
    """Let the loop do all that it can do without time passing."""
    for _ in range(50):
        await asyncio.sleep(0)


class Wire:
    """A socket that remembers what was done to it."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []
        self.closed: tuple[int, str] | None = None
        self.is_paused = False
        self.pauses = 0

    def send(self, data: bytes) -> None:
        assert self.closed is None, "nothing is sent after the end"
        self.sent.append(json.loads(data))

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def abort(self) -> None:
        self.closed = (1006, "")

    def pause(self) -> None:
        assert not self.is_paused
        self.is_paused = True
        self.pauses += 1

    def resume(self) -> None:
        assert self.is_paused
        self.is_paused = False


class FakeDesk:
    """A desk that keeps what it heard, and replies at once or when it is told to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.heard: list[Heard] = []
        self.gone: list[Gone] = []
        self.is_waiting = False
        self.open: asyncio.Future[Reply] | None = None
        self.fault: Exception | None = None
        self.gone_faults: list[Exception] = []
        self.reply: Reply = Ticked(clock.now())
        self.traced: list[Traced] = []
        self.numbers = 0

    async def serve(self, bus: LocalBus) -> None:
        self.serving = [
            await bus.serve("central.heard", Heard, self.on_heard),
            await bus.serve("central.gone", Gone, self.on_gone),
            await bus.serve("central.traced", Traced, self.on_traced),
        ]

    async def stop(self) -> None:
        for one in self.serving:
            await one.stop()

    async def on_heard(self, heard: Heard) -> Replied:
        self.heard.append(heard)
        if self.fault is not None:
            raise self.fault
        if not self.is_waiting:
            return Replied(self.reply, len(self.heard))
        assert self.open is None, "one call of a charger is at the desk at a time"
        self.open = asyncio.get_running_loop().create_future()
        try:
            return Replied(await self.open, len(self.heard))
        finally:
            self.open = None

    async def on_traced(self, traced: Traced) -> TracedNumbers:
        if self.fault is not None:
            raise self.fault
        self.traced.append(traced)
        first = self.numbers + 1
        self.numbers += len(traced.calls)
        return TracedNumbers(tuple(range(first, self.numbers + 1)))

    async def on_gone(self, gone: Gone) -> Thanked:
        self.gone.append(gone)
        if self.gone_faults:
            raise self.gone_faults.pop(0)
        return Thanked()

    async def answer(self) -> None:
        """Reply to the saying that is at the desk."""
        await until(lambda: self.open is not None)
        assert self.open is not None
        self.open.set_result(self.reply)


class Conversation:
    """An exchange with a wire, a bus, a clock and a desk; leave it with `end`."""

    def __init__(
        self, bus: LocalBus, clock: FakeClock, session_id: str = SESSION, quirks: Quirks = NONE
    ) -> None:
        self.bus, self.clock = bus, clock
        self.wire = Wire()
        self.desk = FakeDesk(clock)
        self.recorder = Recorder(bus=bus, clock=clock)
        self.exchange = Exchange(
            CHARGER, session_id, bus=bus, clock=clock, recorder=self.recorder, quirks=quirks
        )
        self.task: asyncio.Task[None] | None = None

    async def begin(self, *, has_desk: bool = True) -> Conversation:
        if has_desk:
            await self.desk.serve(self.bus)
        self.exchange.opened(self.wire)
        self.task = asyncio.create_task(self.exchange.run())
        await settle()
        return self

    async def end(self) -> None:
        if self.task is not None and not self.task.done():
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task

    def call(self, message_id: object, action: str = "Heartbeat", payload: object = None) -> None:
        """Let the charger call."""
        self.exchange.received(json.dumps([2, message_id, action, payload or {}]).encode())

    def ask(
        self, ask: Ask | None = None, *, timeout_s: float = 30.0, origin: str = "portal"
    ) -> asyncio.Task[Told | VoltyardError]:
        """Ask the charger over the bus."""
        asked = Asked(ask or StopCharging(7), Priority.PORTAL, origin, timeout_s)

        async def told() -> Told | VoltyardError:
            try:
                return await self.bus.request(f"charger.{CHARGER}.ask", asked, Told, timeout_s=60)
            except VoltyardError as wrong:
                return wrong

        return asyncio.create_task(told())

    @property
    def calls(self) -> list[list[Any]]:
        """What the charger was asked."""
        return [frame for frame in self.wire.sent if frame[0] == 2]

    @property
    def answers(self) -> list[Any]:
        """The ids of the charger's calls that were answered, in order."""
        return [frame[1] for frame in self.wire.sent if frame[0] in {3, 4}]

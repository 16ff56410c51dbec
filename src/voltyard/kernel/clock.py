"""Clocks: the only place that asks what time it is.

Pure code gets the time as an argument; doors and loops ask a ``Clock``.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the time and lets it pass."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Wait on the running event loop."""
        await asyncio.sleep(delay_s)


class FakeClock:
    """A clock for tests: it stands still until someone advances it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)) -> None:
        assert start.tzinfo is not None
        # Whole microseconds, as instants have: ten times 0.1 s must wake who sleeps for 1 s.
        self._start = self._now = start
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        """Return the instant at which the clock stands."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds that were advanced so far."""
        return (self._now - self._start).total_seconds()

    async def sleep(self, delay_s: float) -> None:
        """Wait until ``advance`` has moved the clock this far."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        waiting = asyncio.get_running_loop().create_future()
        self._count += 1
        delay = max(timedelta(seconds=delay_s), timedelta.resolution)
        heapq.heappush(self._sleepers, (self._now + delay, self._count, waiting))
        await waiting

    def advance(self, delay_s: float) -> None:
        """Move the clock on and wake whoever slept until then, in order."""
        self._now += timedelta(seconds=delay_s)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, waiting = heapq.heappop(self._sleepers)
            if not waiting.done():
                waiting.set_result(None)

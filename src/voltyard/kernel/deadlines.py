"""Time limits for many waits at once: one timer looks after all of them, each costs a set entry.

``asyncio.timeout`` starts and cancels a timer of the loop for each wait, which cost a twelfth of the
server's time for a message. Here a limit may end late by ``STEP_S``; nobody who waits for seconds minds.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

STEP_S = 0.1


class Deadlines:
    """The time limits of one loop."""

    def __init__(self) -> None:
        self._limits: set[Limit] = set()
        self._is_ticking = False

    def within(self, seconds: float) -> Limit:
        """Return a limit to enter with ``with``: TimeoutError is raised there once it has passed."""
        return Limit(self, seconds)

    def add(self, limit: Limit) -> None:
        """Look after a limit."""
        self._limits.add(limit)
        if not self._is_ticking:
            self._is_ticking = True
            limit.loop.call_later(STEP_S, self._tick, limit.loop)

    def discard(self, limit: Limit) -> None:
        """Look after it no longer."""
        self._limits.discard(limit)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for limit in [each for each in self._limits if each.at <= now]:
            self._limits.discard(limit)
            limit.pass_by()
        self._is_ticking = bool(self._limits)
        if self._is_ticking:
            loop.call_later(STEP_S, self._tick, loop)


class Limit:
    """One time limit around one wait of the present task."""

    __slots__ = ("_before", "_deadlines", "_seconds", "_task", "at", "has_passed", "loop")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self.has_passed = False

    def __enter__(self) -> Self:
        """Begin to count."""
        task = asyncio.current_task()
        assert task is not None, "a limit needs a task that can be cancelled"
        self._task = task
        self._before = task.cancelling()
        self.loop = task.get_loop()
        self.at = self.loop.time() + self._seconds
        self._deadlines.add(self)
        return self

    def pass_by(self) -> None:
        """End the wait."""
        self.has_passed = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say that it was the limit, if it was; a cancellation from elsewhere goes on as one."""
        self._deadlines.discard(self)
        if self.has_passed and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from wrong

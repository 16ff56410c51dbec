"""How often a thing may be done: a burst at first and then so many a second, or once in a while.

Must stay ignorant of what is done, and of clocks: ``now`` counts seconds.
"""

from __future__ import annotations


class Bucket:
    """Lets a burst of things happen at once, and after that so many a second."""

    def __init__(self, per_s: float, burst: int, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take one, and return how long it has to wait."""
        self._left = min(float(self._burst), self._left + (now - self._at) * self._per_s) - 1.0
        self._at = now
        return max(0.0, -self._left / self._per_s)


class Rarely:
    """Remembers when things were done that may not be done often."""

    def __init__(self) -> None:
        self._done_at: dict[str, float] = {}

    def is_too_soon(self, what: str, every_s: float, now: float) -> bool:
        """Say whether a thing was done less than this ago."""
        done_at = self._done_at.get(what)
        return done_at is not None and now - done_at < every_s

    def did(self, what: str, now: float) -> None:
        """Remember that a thing was done."""
        self._done_at[what] = now

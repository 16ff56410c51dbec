"""Token buckets: how often somebody may do a thing, a burst at once and after that so many a second.

Must stay ignorant of what is done, and of clocks: ``now_s`` counts seconds. Memory is bounded: the buckets
that were not used for the longest time are forgotten, which only ever lets somebody do more.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

KEYS_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Left:
    """What is left in a bucket after something was taken, or was refused."""

    is_allowed: bool
    remaining: int
    full_after_s: int
    retry_after_s: int


class Buckets:
    """A bucket for each key, that holds ``burst`` and fills by ``per_s``."""

    def __init__(self, per_s: float, burst: int, *, keys_max: int = KEYS_MAX) -> None:
        self._per_s = per_s
        self._burst = burst
        self._keys_max = keys_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @classmethod
    def per_minute(cls, count: int, *, keys_max: int = KEYS_MAX) -> Buckets:
        """Return buckets that hold a minute's worth."""
        return cls(count / 60, count, keys_max=keys_max)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now_s: float) -> Left:
        """Take one from a bucket, if it holds one; a refusal costs nothing."""
        held, at_s = self._buckets.get(key, (float(self._burst), now_s))
        held = min(self._burst, held + (now_s - at_s) * self._per_s)
        is_allowed = held >= 1
        held -= 1 if is_allowed else 0
        self._buckets[key] = (held, now_s)
        self._buckets.move_to_end(key)
        while len(self._buckets) > self._keys_max:
            self._buckets.popitem(last=False)
        return Left(
            is_allowed,
            int(held),
            math.ceil((self._burst - held) / self._per_s),
            0 if is_allowed else max(1, math.ceil((1 - held) / self._per_s)),
        )

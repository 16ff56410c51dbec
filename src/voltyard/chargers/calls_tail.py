"""The tail of a charger's log: what came since the last look, and the answers that came later.

Each look reads the marks of the latest calls again, and compares them with those of the look before. That
is how nothing is missed: on PostgreSQL a call may become visible after one with a higher number, as several
Works commit side by side, and an answer comes to a call that was told long ago.

Invariants:
- a call that fits what is wanted is told once as new, and once more each time its answer changes;
- a call that was told is told on when its answer comes, even if it no longer fits;
- what is remembered is bounded: by time, by number, and by how much one look tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from voltyard.chargers.calls import ALL, PENDING_MAX, Call, Mark, Wanted, list_calls, list_marks
from voltyard.kernel.db import Work

KEPT_MARKS = 200
"""So many of the latest marks are looked at again in each look …"""
KEPT_FOR = PENDING_MAX + timedelta(seconds=30)
"""… and all that were first seen within this time: until a call without an answer counts as failed."""
MARKS_MAX = 5_000
TOLD_MAX = 200
"""So many calls are told at most by one look; the next one goes on."""
RESUME_MAX = 1_000
"""Who missed more than this reads the log anew instead."""
OVERLAP = timedelta(seconds=15)
"""Who comes back is told this much again: what was not yet visible when the last one was told."""
_NOTHING: Final[Mapping[int, Seen]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Seen:
    """A mark as it was seen last, and whether its call was told."""

    mark: Mark
    is_told: bool
    first_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Tail:
    """How far somebody has come who listens; calls up to ``floor`` are not looked at any more."""

    floor: int = 0
    seen: Mapping[int, Seen] = field(default_factory=lambda: _NOTHING)

    @property
    def newest(self) -> int:
        """Return the highest number that was seen."""
        return max(self.seen, default=self.floor)


@dataclass(frozen=True, slots=True)
class Told:
    """A call as it is told: for the first time, or because its answer came."""

    call: Call
    is_new: bool


@dataclass(frozen=True, slots=True)
class News:
    """What one look found; ``is_lost`` says that more happened than can be told."""

    tail: Tail
    told: tuple[Told, ...] = ()
    is_lost: bool = False


def go_on(work: Work, charger_id: str, wanted: Wanted, tail: Tail | None, number: int | None = None) -> News:
    """Return the news behind a tail; without one, begin, or resume behind a number that was told once.

    Raises: NotFound; Forbidden.
    """
    if tail is not None:
        return look(work, charger_id, wanted, tail)
    if number is not None:
        return resume(work, charger_id, wanted, number)
    return begin(work, charger_id)


def begin(work: Work, charger_id: str) -> News:
    """Begin with what comes from now on. Raises: NotFound; Forbidden."""
    marks = list_marks(work, charger_id, after=None, limit=KEPT_MARKS)
    floor = marks[-1].number - 1 if len(marks) == KEPT_MARKS else 0
    return News(Tail(floor, _read_only({mark.number: Seen(mark, False, work.now) for mark in marks})))


def resume(work: Work, charger_id: str, wanted: Wanted, number: int) -> News:
    """Go on behind a number; what was near it is told again, since it may not have been whole then.

    Raises: NotFound; Forbidden.
    """
    marks = list_marks(work, charger_id, after=None, limit=RESUME_MAX)
    if len(marks) == RESUME_MAX and marks[-1].number > number:
        return News(begin(work, charger_id).tail, is_lost=True)
    last = next((mark for mark in marks if mark.number <= number), None)
    since_at = (last.at if last is not None else work.now) - OVERLAP
    again = [mark.number for mark in marks if mark.number > number or mark.changed_at >= since_at]
    told = _fitting(work, charger_id, wanted, again)
    seen = {mark.number: Seen(mark, mark.number in told, work.now) for mark in marks}
    floor = marks[-1].number - 1 if len(marks) == RESUME_MAX else 0
    return News(_forget(Tail(floor, seen), work.now), tuple(Told(call, True) for call in told.values()))


def look(work: Work, charger_id: str, wanted: Wanted, tail: Tail) -> News:
    """Return what came since the last look. Raises: NotFound; Forbidden."""
    marks = list_marks(work, charger_id, after=tail.floor, limit=MARKS_MAX)
    if len(marks) == MARKS_MAX:
        return News(begin(work, charger_id).tail, is_lost=True)
    changed = [mark for mark in reversed(marks) if _is_news(tail.seen.get(mark.number), mark)][:TOLD_MAX]
    told_before = {mark.number for mark in changed if _was_told(tail.seen.get(mark.number))}
    found = _fitting(work, charger_id, wanted, [m.number for m in changed if m.number not in told_before])
    found |= _fitting(work, charger_id, ALL, sorted(told_before))
    seen = dict(tail.seen)
    for mark in changed:
        before = tail.seen.get(mark.number)
        first_seen_at = before.first_seen_at if before is not None else work.now
        seen[mark.number] = Seen(mark, mark.number in found, first_seen_at)
    told = tuple(Told(found[number], number not in tail.seen) for number in sorted(found))
    return News(_forget(Tail(tail.floor, seen), work.now), told)


def _is_news(before: Seen | None, mark: Mark) -> bool:
    return before is None or before.mark != mark


def _was_told(before: Seen | None) -> bool:
    return before is not None and before.is_told


def _fitting(work: Work, charger_id: str, wanted: Wanted, numbers: Sequence[int]) -> dict[int, Call]:
    """Return those of these calls that fit, by number, the oldest first."""
    if not numbers:
        return {}
    found = list_calls(work, charger_id, wanted, numbers=numbers, limit=len(numbers))
    return {call.number: call for call in reversed(found)}


def _forget(tail: Tail, now: datetime) -> Tail:
    """Forget what cannot change any more: the oldest marks, as far as neither time nor number keeps them."""
    numbers = sorted(tail.seen)
    floor = tail.floor
    for number in numbers[: max(0, len(numbers) - KEPT_MARKS)]:
        if now - tail.seen[number].first_seen_at < KEPT_FOR:
            break
        floor = number
    return Tail(floor, _read_only(_above(tail.seen, numbers, floor)))


def _above(seen: Mapping[int, Seen], numbers: Iterable[int], floor: int) -> dict[int, Seen]:
    return {number: seen[number] for number in numbers if number > floor}


def _read_only(seen: dict[int, Seen]) -> Mapping[int, Seen]:
    return MappingProxyType(seen)

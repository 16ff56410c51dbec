"""What an operator's charging profiles say at a time, and the one limit that is made of all of them.

Each operator has profiles of its own, kept as a perfect charger would keep them (OCPP 1.6 §3.13), and never
sees those of others. The charger gets the minimum of all that say something: nobody can raise what
another one lowered. Nothing here knows links, chargers or the wire; a name is all that a source is known by.

Invariants (property tests of the same names):
one profile is held per purpose, stack level and connector · clearing everything leaves nothing ·
between changes a limit is constant · watts never become more amperes ·
the composed limit is never above any part · periods are never above their segments
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from types import MappingProxyType
from typing import Final

from voltyard.kernel.errors import Invalid
from voltyard.kernel.units import NOMINAL_V, amps, round_down_a
from voltyard.speech import ClearLimit, LimitPeriod, LimitPurpose, Repeat, SetLimit

STACK_LEVEL_MAX: Final = 8
"""ChargeProfileMaxStackLevel, as an operator is told: the highest level, the lowest being 0."""
PROFILES_MAX: Final = 20
"""MaxChargingProfilesInstalled, as an operator is told."""
PERIODS_MAX: Final = 24
"""ChargingScheduleMaxPeriods, as an operator is told."""
CHANGES_MAX: Final = 500
"""Instants within one window that are looked at; a composition ends where they do."""
LIMIT_MAX: Final = 2**31 - 1
"""The highest limit that is taken, in amperes or watts."""
SECONDS_MAX: Final = 2**31 - 1
"""The longest time within a schedule that is taken."""

_SECOND: Final = timedelta(seconds=1)
_EVERY: Final[Mapping[Repeat, timedelta]] = MappingProxyType(
    {Repeat.DAILY: timedelta(days=1), Repeat.WEEKLY: timedelta(weeks=1)}
)


class Unacceptable(Invalid):
    """A charger that heeds OCPP to the letter would reject this charging profile."""

    title = "The charging profile is not acceptable"


@dataclass(frozen=True, slots=True)
class Held:
    """A profile as it was accepted; one for a single transaction always bears its number."""

    limit: SetLimit
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Charging:
    """A transaction that is running on a connector, by our number."""

    number: int
    connector: int
    started_at: datetime


# --- what a link holds ----------------------------------------------------------------------------


def put(
    held: Sequence[Held], limit: SetLimit, now: datetime, *, running: Sequence[Charging], connectors: int
) -> tuple[Held, ...]:
    """Return what is held once this profile is; it takes the place of one of the same rank or profile number.

    What can never say anything again is dropped. Raises: Unacceptable.
    """
    _check_place(limit, connectors)
    _check_schedule(limit)
    if limit.purpose is LimitPurpose.TRANSACTION:
        # The number is kept even if it was not named: the profile ends with this transaction, not the next.
        limit = limit.__replace__(number=_number(limit, running))
    kept = [
        old
        for old in held
        if old.limit.profile_number != limit.profile_number
        and _place(old.limit) != _place(limit)
        and (old.limit.valid_until_at is None or old.limit.valid_until_at > now)
    ]
    if len(kept) >= PROFILES_MAX:
        raise _unacceptable("/profile_number", f"no more than {PROFILES_MAX} profiles are held: clear one")
    return (*kept, Held(limit, now))


def clear(held: Sequence[Held], ask: ClearLimit) -> tuple[Held, ...]:
    """Return what is left; a profile goes if all that is named applies to it, so all if nothing is named."""
    return tuple(one for one in held if not _is_meant(one.limit, ask))


def without_transaction(held: Sequence[Held], running: Sequence[Charging]) -> tuple[Held, ...]:
    """Return what is left once the profiles of transactions that have ended are gone."""
    alive = {(one.connector, one.number) for one in running}
    return tuple(
        one
        for one in held
        if one.limit.purpose is not LimitPurpose.TRANSACTION
        or (one.limit.connector, one.limit.number) in alive
    )


def _place(limit: SetLimit) -> tuple[LimitPurpose, int, int]:
    """Return what only one profile can have (OCPP 1.6 §3.13.2)."""
    return limit.purpose, limit.stack_level, limit.connector


def _is_meant(limit: SetLimit, ask: ClearLimit) -> bool:
    criteria = (
        (ask.profile_number, limit.profile_number),
        (ask.connector, limit.connector),
        (ask.purpose, limit.purpose),
        (ask.stack_level, limit.stack_level),
    )
    return all(asked in {None, has} for asked, has in criteria)


def _check_place(limit: SetLimit, connectors: int) -> None:
    if not 0 <= limit.connector <= connectors:
        raise _unacceptable("/connector", f"there is no connector {limit.connector}")
    if limit.purpose is LimitPurpose.CHARGER and limit.connector != 0:
        raise _unacceptable("/connector", "a limit of the whole charger belongs to connector 0")
    if limit.purpose is LimitPurpose.TRANSACTION and limit.connector == 0:
        raise _unacceptable("/connector", "name the connector of the transaction")
    if limit.purpose is not LimitPurpose.TRANSACTION and limit.number is not None:
        raise _unacceptable("/number", "leave it out: this limit is for no single transaction")
    if not 0 <= limit.stack_level <= STACK_LEVEL_MAX:
        raise _unacceptable("/stack_level", f"a stack level lies between 0 and {STACK_LEVEL_MAX}")


def _check_schedule(limit: SetLimit) -> None:
    if limit.repeats is not None and limit.starts_at is None:
        raise _unacceptable("/starts_at", "say from when a limit that repeats itself counts")
    if limit.duration_s is not None and not 0 < limit.duration_s <= SECONDS_MAX:
        raise _unacceptable("/duration_s", f"a duration lies between 1 and {SECONDS_MAX} seconds")
    if limit.valid_from_at and limit.valid_until_at and limit.valid_from_at > limit.valid_until_at:
        raise _unacceptable("/valid_until_at", "let the validity end after it begins")
    if not 0 < len(limit.periods) <= PERIODS_MAX:
        raise _unacceptable("/periods", f"a schedule has between 1 and {PERIODS_MAX} periods")
    starts = [period.start_s for period in limit.periods]
    if starts[0] != 0:
        raise _unacceptable("/periods", "let the first period start at 0")
    if any(later <= earlier for earlier, later in pairwise(starts)):
        raise _unacceptable("/periods", "let each period start later than the one before")
    if starts[-1] > SECONDS_MAX:
        raise _unacceptable("/periods", f"let every period start within {SECONDS_MAX} seconds")
    if {(one.limit_a is None, one.limit_w is None) for one in limit.periods} not in (
        {(True, False)},
        {(False, True)},
    ):
        raise _unacceptable("/periods", "limit every period in amperes, or every one in watts")
    for place, period in enumerate(limit.periods):
        _check_period(period, f"/periods/{place}")


def _check_period(period: LimitPeriod, pointer: str) -> None:
    # Written so that a NaN is out of range as well.
    if not all(0 <= limit <= LIMIT_MAX for limit in (period.limit_a, period.limit_w) if limit is not None):
        raise _unacceptable(pointer, f"a limit lies between 0 and {LIMIT_MAX}")
    if period.phases not in {None, 1, 2, 3}:
        raise _unacceptable(pointer, "there are 1, 2 or 3 phases")


def _number(limit: SetLimit, running: Sequence[Charging]) -> int:
    """Return the number of the transaction that is running where the limit is for. Raises: Unacceptable."""
    numbers = [one.number for one in running if one.connector == limit.connector]
    if not numbers:
        raise _unacceptable("/connector", f"no transaction is running on connector {limit.connector}")
    if limit.number not in {None, numbers[0]}:
        raise _unacceptable("/number", f"another transaction is running on connector {limit.connector}")
    return numbers[0]


def _unacceptable(pointer: str, problem: str) -> Unacceptable:
    return Unacceptable(f"{pointer[1:]}: {problem}", ((pointer, problem),))


# --- what one operator's profiles say -------------------------------------------------------------


def limit_at(
    held: Sequence[Held],
    connector: int,
    at: datetime,
    *,
    running: Charging | None,
    phases: int,
    voltage_v: float = NOMINAL_V,
) -> float | None:
    """Return the limit of a connector at an instant, in amperes per phase; None if nothing is said of it.

    Connector 0 is the charger itself: only limits of the whole charger concern it. ``running`` is the
    transaction on the connector, ``phases`` what counts where a limit in watts does not tell them.
    """
    said = (
        _said(limits, at, running, phases, voltage_v)
        for limits in (_ceilings(held), _own(held, connector, running))
    )
    return min((limit_a for limit_a in said if limit_a is not None), default=None)


def changes(
    held: Sequence[Held], connector: int, from_at: datetime, until_at: datetime, *, running: Charging | None
) -> tuple[datetime, ...]:
    """Return when ``limit_at`` may change within a window: the first CHANGES_MAX instants, in order."""
    found: set[datetime] = set()
    for limit in (*_ceilings(held), *_own(held, connector, running)):
        found.update(edge for edge in _validity(limit) if from_at < edge < until_at)
        found.update(islice(_edges(limit, from_at, until_at, running), CHANGES_MAX))
    return tuple(sorted(found)[:CHANGES_MAX])


def _ceilings(held: Sequence[Held]) -> list[SetLimit]:
    """Return the limits of the whole charger; the first that says something counts."""
    limits = (one.limit for one in held if one.limit.purpose is LimitPurpose.CHARGER)
    return sorted(limits, key=lambda limit: -limit.stack_level)


def _own(held: Sequence[Held], connector: int, running: Charging | None) -> list[SetLimit]:
    """Return the limits of a connector itself; the first that says something counts."""
    if connector == 0:
        return []
    ranked = [(_rank(one.limit, connector, running), one.limit) for one in held]
    heard = [(rank, limit) for rank, limit in ranked if rank is not None]
    return [limit for _, limit in sorted(heard, key=lambda one: (one[0], -one[1].stack_level))]


def _rank(limit: SetLimit, connector: int, running: Charging | None) -> int | None:
    """Say which limits come first (OCPP 1.6 §3.13.1); None for one that does not concern the connector."""
    if limit.purpose is LimitPurpose.TRANSACTION:
        is_its = running is not None and (limit.connector, limit.number) == (connector, running.number)
        return 0 if is_its else None
    if limit.purpose is LimitPurpose.DEFAULT:
        return {connector: 1, 0: 2}.get(limit.connector)
    return None


def _said(
    limits: Iterable[SetLimit], at: datetime, running: Charging | None, phases: int, voltage_v: float
) -> float | None:
    for limit in limits:
        period = _period(limit, at, running)
        if period is None:
            continue
        if period.limit_w is None:
            return period.limit_a
        return round_down_a(amps(period.limit_w, max(period.phases or phases, phases), voltage_v))
    return None


def _period(limit: SetLimit, at: datetime, running: Charging | None) -> LimitPeriod | None:
    """Return the period that an instant lies in; None when the limit says nothing then."""
    if limit.valid_from_at is not None and at < limit.valid_from_at:
        return None
    if limit.valid_until_at is not None and at >= limit.valid_until_at:
        return None
    passed = at - _began_at(limit, at, running)
    # The first period starts at 0: before the beginning there is none.
    place = bisect_right(limit.periods, passed, key=lambda period: timedelta(seconds=period.start_s))
    if place == 0 or (limit.duration_s is not None and passed >= timedelta(seconds=limit.duration_s)):
        return None
    return limit.periods[place - 1]


def _began_at(limit: SetLimit, at: datetime, running: Charging | None) -> datetime:
    """Return the beginning that the periods count from at this instant."""
    if limit.starts_at is None:
        # A charger's clock may be ahead: a transaction that seems to begin later has begun all the same.
        return at if running is None else min(at, running.started_at)
    if limit.repeats is None or at < limit.starts_at:
        return limit.starts_at
    every = _EVERY[limit.repeats]
    return limit.starts_at + (at - limit.starts_at) // every * every


def _validity(limit: SetLimit) -> Iterator[datetime]:
    return (edge for edge in (limit.valid_from_at, limit.valid_until_at) if edge is not None)


def _edges(
    limit: SetLimit, from_at: datetime, until_at: datetime, running: Charging | None
) -> Iterator[datetime]:
    """Yield, in order, when periods begin and schedules end within a window.

    Only instants of the window are ever made: far ones may lie beyond the end of the calendar.
    """
    starts_at = limit.starts_at
    if starts_at is None:
        if running is None:
            return
        starts_at = running.started_at
    window = until_at - from_at
    offsets = {timedelta(seconds=period.start_s) for period in limit.periods}
    if limit.duration_s is not None:
        offsets.add(timedelta(seconds=limit.duration_s))
    for beginning in _beginnings(starts_at - from_at, window, limit.repeats):
        for offset in sorted(offsets):
            if limit.repeats is not None and offset >= _EVERY[limit.repeats]:
                break
            if timedelta(0) < beginning + offset < window:
                yield from_at + (beginning + offset)


def _beginnings(first: timedelta, window: timedelta, repeats: Repeat | None) -> Iterator[timedelta]:
    """Yield when a schedule begins, counted from the window on, and the last beginning before it."""
    if repeats is None:
        yield first
        return
    every = _EVERY[repeats]
    beginning = first + max(0, -first // every) * every
    while beginning < window:
        yield beginning
        beginning += every


# --- one limit of many ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Somebody who limits a connector: a link, the owner, a fuse.

    ``changes`` gives the instants between two others at which ``limit_at`` may change; it may leave out
    those after the first CHANGES_MAX.
    """

    name: str
    limit_at: Callable[[datetime], float | None]
    changes: Callable[[datetime, datetime], Iterable[datetime]]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of time with one limit, in amperes per phase, and the names of those who hold it there.

    Where nobody says anything, ``limit_a`` is None and ``by`` empty.
    """

    from_at: datetime
    until_at: datetime
    limit_a: float | None
    by: tuple[str, ...]


def constant(name: str, limit_a: float | None) -> Source:
    """Return a source that always says the same; with None, nothing."""
    return Source(name, lambda _at: limit_a, lambda _from_at, _until_at: ())


def of_profiles(
    name: str,
    held: Sequence[Held],
    connector: int,
    *,
    running: Charging | None,
    phases: int,
    voltage_v: float = NOMINAL_V,
) -> Source:
    """Return the source that one operator's profiles are for a connector."""
    return Source(
        name,
        lambda at: limit_at(held, connector, at, running=running, phases=phases, voltage_v=voltage_v),
        lambda from_at, until_at: changes(held, connector, from_at, until_at, running=running),
    )


def said_at(sources: Sequence[Source], at: datetime) -> tuple[tuple[str, float], ...]:
    """Return who says which limit at an instant, the lowest first: what each one adds can be shown."""
    said = [(source.name, source.limit_at(at)) for source in sources]
    return tuple(sorted(((n, a) for n, a in said if a is not None), key=lambda one: one[1]))


def compose(sources: Sequence[Source], from_at: datetime, until_at: datetime) -> tuple[Segment, ...]:
    """Return the minimum of all that say something, in segments without gaps; neighbours differ.

    With very many changes it ends before ``until_at``, where it is no longer known what everybody says.
    """
    assert from_at < until_at
    edges = sorted({edge for source in sources for edge in source.changes(from_at, until_at)})
    within = [edge for edge in edges if from_at < edge < until_at]
    # A source that left some out has told CHANGES_MAX of them: those come after all that is looked at.
    known = [from_at, *within[:CHANGES_MAX]]
    if len(within) < CHANGES_MAX:
        known.append(until_at)
    segments: list[Segment] = []
    for start_at, end_at in pairwise(known):
        said = said_at(sources, start_at)
        limit_a = said[0][1] if said else None
        by = tuple(name for name, told_a in said if told_a == limit_a)
        if segments and (segments[-1].limit_a, segments[-1].by) == (limit_a, by):
            segments[-1] = replace(segments[-1], until_at=end_at)
        else:
            segments.append(Segment(start_at, end_at, limit_a, by))
    return tuple(segments)


def periods(
    segments: Sequence[Segment], from_at: datetime, *, most_a: float = 32.0, count_max: int | None = None
) -> tuple[LimitPeriod, ...]:
    """Return segments as the periods of a schedule that begins at ``from_at``, in amperes.

    ``most_a`` is what the connector can give; it stands where nobody says anything, and nothing is above it.
    A second in which the limit changes gets the lower one. What is more than ``count_max`` periods becomes
    the lowest of the rest. The last period goes on: a schedule should end with its last segment.
    """
    assert segments
    assert segments[0].from_at <= from_at < segments[-1].until_at
    lowest_a: dict[int, float] = {}
    for segment in segments:
        if segment.until_at <= from_at:
            continue
        start, end = max(segment.from_at - from_at, timedelta(0)), segment.until_at - from_at
        limit_a = most_a if segment.limit_a is None else min(segment.limit_a, most_a)
        # The seconds that it begins in, that it first has to itself, and that it ends in.
        for second in {start // _SECOND, -(-start // _SECOND), end // _SECOND}:
            if second * _SECOND < end:
                lowest_a[second] = min(limit_a, lowest_a.get(second, limit_a))
    steps: list[tuple[int, float]] = []
    for step in sorted(lowest_a.items()):
        if not steps or steps[-1][1] != step[1]:
            steps.append(step)
    if count_max is not None and len(steps) > count_max:
        rest = steps[count_max - 1 :]
        steps[count_max - 1 :] = [(rest[0][0], min(limit_a for _, limit_a in rest))]
    return tuple(LimitPeriod(start_s, limit_a) for start_s, limit_a in steps)

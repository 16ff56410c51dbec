"""One limit of many: what operators want of a charger's current, and what the charger is given.

Each operator sets its limits as a perfect charger would hold them. The charger gets the minimum of all that
may limit it, as a schedule that it follows even when we are silent; beyond the time that was looked ahead
stands the lowest of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voltyard.chargers import commands, setup
from voltyard.chargers.commands import CommandStatus
from voltyard.kernel import jobs
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work, pack
from voltyard.kernel.wire import Message, decode
from voltyard.operators import profiles, store
from voltyard.operators.events import Compose
from voltyard.operators.profiles import Charging, Held, Segment, Source
from voltyard.operators.words import words
from voltyard.speech import (
    Ask,
    ClearLimit,
    CompositeLimits,
    LimitPeriod,
    LimitPurpose,
    Priority,
    Role,
    SetLimit,
)

ACTOR: Final = system("limits")
AHEAD: Final = timedelta(hours=24)
FRESH: Final = timedelta(hours=12)
"""A schedule with changes is sent anew when less than this is left of it."""
LOOK_S: Final = 6 * 3600.0
PROFILE_BASE: Final = 910_000
"""Profile numbers of ours; three for each connector."""
STACK_LEVEL: Final = 1
MOST_A: Final = 32.0
PHASES: Final = 3
PERIODS_DEFAULT: Final = 6
"""Periods of a schedule for a charger that does not tell how many it takes."""
PERIODS_MAX: Final = 24
STEP_A: Final = 0.1


class _Kept(Message, frozen=True):
    """One limit of an operator as it is stored."""

    limit: SetLimit
    set_at: datetime


class _Sent(Message, frozen=True):
    """What a charger was given for a connector."""

    edges: tuple[tuple[datetime, float], ...]
    """From when on which limit; the first one from when it was sent."""
    number: int | None
    until_at: datetime


@dataclass(frozen=True, slots=True)
class LimitNow:
    """Which limit operators hold a connector at, and whether its charger took it."""

    connector: int
    limit_a: float | None
    by: tuple[str, ...]
    """Ids of the links that hold it there."""
    word: str
    sent_at: datetime


def _held(work: Work, link_id: str) -> tuple[Held, ...]:
    body = store.find_profiles(work, link_id)
    if body is None:
        return ()
    return tuple(Held(kept.limit, kept.set_at) for kept in decode(body, tuple[_Kept, ...]))


def _keep(work: Work, link_id: str, held: Sequence[Held]) -> None:
    store.upsert_profiles(work, link_id, pack(tuple(_Kept(each.limit, each.set_at) for each in held)))


def _running(work: Work, charger_id: str) -> list[Charging]:
    return [Charging(row.number, row.connector, row.started_at) for row in store.running_of(work, charger_id)]


def _connectors(work: Work, charger_id: str) -> list[int]:
    return [row.number for row in store.connectors_of(work, charger_id) if row.number > 0] or [1]


def put(work: Work, link_id: str, charger_id: str, limit: SetLimit) -> None:
    """Keep a limit that an operator sets. Raises: Unacceptable."""
    running = _running(work, charger_id)
    held = profiles.without_transaction(_held(work, link_id), running)
    connectors = max(_connectors(work, charger_id))
    _keep(work, link_id, profiles.put(held, limit, work.now, running=running, connectors=connectors))
    jobs.enqueue(work, Compose(charger_id), key=f"compose:{charger_id}")


def clear(work: Work, link_id: str, charger_id: str, ask: ClearLimit) -> bool:
    """Forget limits of an operator; False where there are none like that."""
    before = _held(work, link_id)
    held = profiles.clear(before, ask)
    if len(held) == len(before):
        return False
    _keep(work, link_id, held)
    jobs.enqueue(work, Compose(charger_id), key=f"compose:{charger_id}")
    return True


def own_view(work: Work, link_id: str, charger_id: str, connector: int, duration_s: int) -> CompositeLimits:
    """Return what an operator believes to limit a connector: its own limits, and what the charger can
    give.
    """
    answers = setup.find(work, charger_id)
    running = {each.connector: each for each in _running(work, charger_id)}
    source = profiles.of_profiles(
        link_id,
        _held(work, link_id),
        connector,
        running=running.get(connector),
        phases=answers.answers.phases if answers is not None else PHASES,
    )
    segments = profiles.compose([source], work.now, work.now + timedelta(seconds=max(1, duration_s)))
    most_a = answers.answers.max_current_a if answers is not None else MOST_A
    told = profiles.periods(segments, work.now, most_a=most_a, count_max=PERIODS_MAX)
    return CompositeLimits(told, work.now, duration_s)


def limits_now(work: Work, charger_id: str) -> list[LimitNow]:
    """Return which limits operators hold a charger's connectors at; for who may see the charger's links."""
    return [
        LimitNow(row.connector, row.limit_a, words(row.by), row.word, row.sent_at)
        for row in store.composed_of(work, charger_id)
    ]


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be sent for one connector: limits, or nothing any more."""

    connector: int
    asks: tuple[Ask, ...]
    limit_a: float | None
    by: tuple[str, ...]
    sent: _Sent | None
    is_fall: bool


async def compose(ctx: Context, message: Compose) -> None:
    """Bring the limits of all operators, taken together, to a charger; falls go before rises."""
    turns, look_s = await ctx.db.read(ACTOR, _turns, message.charger_id)
    for turn in sorted(turns, key=lambda each: not each.is_fall):
        word = ""
        for ask in turn.asks:
            priority = Priority.SAFETY if turn.is_fall else Priority.DATA_CONTROL
            done = await commands.ask(ctx, ACTOR, message.charger_id, ask, priority=priority)
            if done.status in {CommandStatus.OFFLINE, CommandStatus.EXPIRED}:
                # What it does not know yet it is told when it is back.
                await ctx.db.work(ACTOR, _again, message.charger_id)
                return
            word = word or done.word
        await ctx.db.work(ACTOR, _note, message.charger_id, turn, word)
    if look_s is not None:
        await ctx.db.work(ACTOR, _look_later, message.charger_id, look_s)


def _again(work: Work, charger_id: str) -> None:
    jobs.enqueue(work, Compose(charger_id), delay_s=60.0, key=f"compose-later:{charger_id}")


def _look_later(work: Work, charger_id: str, delay_s: float) -> None:
    jobs.enqueue(work, Compose(charger_id), delay_s=delay_s, key=f"compose-later:{charger_id}")


def _note(work: Work, charger_id: str, turn: _Turn, word: str) -> None:
    if turn.sent is None:
        store.delete_composed(work, charger_id, turn.connector)
        return
    store.upsert_composed(
        work,
        charger_id=charger_id,
        connector=turn.connector,
        limit_a=turn.limit_a,
        by=",".join(turn.by)[:400],
        sent=pack(turn.sent),
        word=word[:64],
    )


def _turns(work: Work, charger_id: str) -> tuple[list[_Turn], float | None]:
    """Return what has to be sent to a charger, and in how many seconds to look again, if at all."""
    limiting = [
        row for row in store.links_of(work, charger_id) if row.is_limiting and row.role != Role.OBSERVER.value
    ]
    running = _running(work, charger_id)
    held = {row.id: profiles.without_transaction(_held(work, row.id), running) for row in limiting}
    answers = setup.find(work, charger_id)
    phases = answers.answers.phases if answers is not None else PHASES
    most_a = answers.answers.max_current_a if answers is not None else MOST_A
    before = {row.connector: row for row in store.composed_of(work, charger_id)}
    told = store.find_reported(work, charger_id, "chargingschedulemaxperiods")
    count_max = min(int(told), PERIODS_MAX) if told is not None and told.isdecimal() else PERIODS_DEFAULT
    turns: list[_Turn] = []
    for connector in (0, *_connectors(work, charger_id)):
        charging = next((each for each in running if each.connector == connector), None)
        sources = [
            profiles.of_profiles(link_id, each, connector, running=charging, phases=phases)
            for link_id, each in held.items()
        ]
        turn = _turn(work.now, connector, charging, sources, before.get(connector), most_a, max(count_max, 1))
        if turn is not None:
            turns.append(turn)
    is_held = any(held.values())
    return turns, LOOK_S if is_held else None


def _turn(
    now: datetime,
    connector: int,
    charging: Charging | None,
    sources: Sequence[Source],
    before: Any,
    most_a: float,
    count_max: int,
) -> _Turn | None:
    segments = profiles.compose(sources, now, now + AHEAD) if sources else ()
    if not any(segment.limit_a is not None for segment in segments):
        if before is None:
            return None
        forgotten: tuple[Ask, ...] = tuple(
            ClearLimit(number) for number in (_profile_number(connector), _profile_number(connector) + 1)
        )
        return _Turn(connector, forgotten, None, (), None, is_fall=False)
    edges = tuple(
        (segment.from_at, most_a if segment.limit_a is None else min(segment.limit_a, most_a))
        for segment in segments
    )
    number = charging.number if charging is not None else None
    fresh = _Sent(edges, number, segments[-1].until_at)
    old = None if before is None else decode(before.sent, _Sent)
    if old is not None and _is_same(old, fresh, now):
        return None
    periods = _with_safe_end(
        profiles.periods(segments, now, most_a=most_a, count_max=count_max), segments, now
    )
    asks = _asks(connector, charging, periods, now)
    limit_a = edges[0][1]
    is_fall = old is None or limit_a < _limit_of(old, now) - STEP_A
    return _Turn(connector, asks, limit_a, segments[0].by, fresh, is_fall)


def _with_safe_end(
    periods: tuple[LimitPeriod, ...], segments: Sequence[Segment], now: datetime
) -> tuple[LimitPeriod, ...]:
    """Let the lowest limit stand behind the time that was looked ahead, for when we are silent by then."""
    lowest_a = min(period.limit_a or 0.0 for period in periods)
    end_s = int((segments[-1].until_at - now).total_seconds())
    if periods[-1].limit_a == lowest_a or end_s <= periods[-1].start_s:
        return periods
    return (*periods, LimitPeriod(end_s, lowest_a))


def _asks(
    connector: int, charging: Charging | None, periods: tuple[LimitPeriod, ...], now: datetime
) -> tuple[Ask, ...]:
    number = _profile_number(connector)
    if connector == 0:
        return (SetLimit(0, LimitPurpose.CHARGER, number, STACK_LEVEL, periods, starts_at=now),)
    default = SetLimit(connector, LimitPurpose.DEFAULT, number, STACK_LEVEL, periods, starts_at=now)
    if charging is None:
        return (default,)
    running = SetLimit(
        connector,
        LimitPurpose.TRANSACTION,
        number + 1,
        STACK_LEVEL,
        periods,
        number=charging.number,
        starts_at=now,
    )
    return (running, default)


def _profile_number(connector: int) -> int:
    return PROFILE_BASE + 2 * connector


def _limit_of(sent: _Sent, at: datetime) -> float:
    found = [limit_a for from_at, limit_a in sent.edges if from_at <= at]
    return found[-1] if found else sent.edges[0][1]


def _is_same(old: _Sent, fresh: _Sent, now: datetime) -> bool:
    """Say whether a charger knows already all that counts for the next hours."""
    if old.number != fresh.number:
        return False
    horizon = min(fresh.until_at, now + FRESH)
    instants = {now, *(at for at, _ in (*old.edges, *fresh.edges) if now < at < horizon)}
    if any(abs(_limit_of(old, at) - _limit_of(fresh, at)) >= STEP_A for at in instants):
        return False
    return len(old.edges) == 1 or old.until_at >= horizon

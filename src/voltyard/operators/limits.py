"""One limit of many: what operators want of a charger's current, and what the charger is given.

Each operator sets its limits as a perfect charger would hold them. The charger gets the minimum of all that
may limit it, as a schedule that it follows even when we are silent; beyond the time that was looked ahead
stands the lowest of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from voltyard.chargers import commands, setup
from voltyard.chargers.commands import BUS_SLACK_S, Command, CommandStatus
from voltyard.chargers.service import Place
from voltyard.kernel import jobs, leases
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work, pack
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import LEASE_S
from voltyard.kernel.wire import Message, decode
from voltyard.operators import profiles, store
from voltyard.operators.events import Compose
from voltyard.operators.profiles import Charging, Held, Segment
from voltyard.operators.words import words
from voltyard.speech import (
    Ask,
    Booted,
    ClearLimit,
    CompositeLimits,
    Ended,
    LimitPeriod,
    LimitPurpose,
    Priority,
    Role,
    Said,
    SetLimit,
    Started,
)

ACTOR: Final = system("limits")
AHEAD: Final = timedelta(hours=24)
FRESH: Final = timedelta(hours=12)
"""A schedule with changes is sent anew when less than this is left of it."""
LOOK_S: Final = 6 * 3600.0
AGAIN_S: Final = 60.0
SOON_S: Final = 5.0
BUSY_S: Final = 2.0
"""How soon to look again while another job talks to the same charger."""
PACE_S: Final = 2.0
"""How long a connector is left alone after it was given a limit …"""
FALL_PACE_S: Final = 1.0
"""… and if the next one is lower."""
SETTLE_S: Final[Mapping[type, float]] = MappingProxyType({Started: 2.0, Booted: 5.0})
"""How long a charger is left to hear our answer to what it said: it does not know its transaction before."""
TOO_MANY: Final = "TooManyWaiting"
YOUNG: Final = timedelta(seconds=20)
"""A transaction that is younger may be one that its charger does not know by number yet."""
ASK_S: Final = 25.0
"""How long a charger may take for an answer, so that the lease holds meanwhile."""
PROFILE_BASE: Final = 910_000
"""Profile numbers of ours; three for each connector."""
STACK_LEVEL: Final = 1
MOST_A: Final = 32.0
PHASES: Final = 3
PERIODS_DEFAULT: Final = 6
"""Periods of a schedule for a charger that does not tell how many it takes."""
PERIODS_MAX: Final = 24
STEP_A: Final = 0.1

assert ASK_S + BUS_SLACK_S < LEASE_S


class _Kept(Message, frozen=True):
    """One limit of an operator as it is stored."""

    limit: SetLimit
    set_at: datetime


class _Plan(Message, frozen=True):
    """A schedule; without any edge, one of which nobody knows whether the charger has it."""

    edges: tuple[tuple[datetime, float], ...] = ()
    """From when on which limit; the first one from when it was sent."""
    until_at: datetime | None = None


class _Sent(Message, frozen=True):
    """What a charger has for a connector: for any charge, and for the one by this number."""

    default: _Plan | None = None
    running: _Plan | None = None
    number: int | None = None


_UNSURE: Final = _Plan()


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
    _changed(work, charger_id)


def clear(work: Work, link_id: str, charger_id: str, ask: ClearLimit) -> bool:
    """Forget limits of an operator; False where there are none like that."""
    before = _held(work, link_id)
    held = profiles.clear(before, ask)
    if len(held) == len(before):
        return False
    _keep(work, link_id, held)
    _changed(work, charger_id)
    return True


def _changed(work: Work, charger_id: str) -> None:
    """Have a charger told soon, however often an operator changes its mind."""
    sent_at = max((row.sent_at for row in store.composed_of(work, charger_id)), default=None)
    _enqueue(work, charger_id, _wait_s(sent_at, FALL_PACE_S, work.now))


def heard(work: Work, items: Sequence[tuple[Place, Said]]) -> None:
    """Have the limits of chargers composed anew whose transactions or memory are not what they were."""
    told = {place.charger_id: said for place, said in items if isinstance(said, Started | Ended | Booted)}
    limited = store.limited_of(work, told)
    # A restart may have lost them, whatever was sent before.
    store.forget_sent(work, [each for each in limited if isinstance(told[each], Booted)])
    if limited:
        jobs.enqueue_many(
            work,
            [(Compose(each), SETTLE_S.get(type(told[each]), 0.0), f"compose:{each}") for each in limited],
        )


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


# --- what a charger is told -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Step:
    """One ask of a turn, and what the charger has once it obeyed: for this transaction, else for any."""

    ask: Ask
    plan: _Plan | None
    number: int | None


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be sent for one connector, and what is to be noted of it."""

    connector: int
    steps: tuple[_Step, ...]
    """Empty where there is only something to note."""
    limit_a: float | None
    by: str
    known: _Sent
    """What the charger has before."""
    seen: str | None
    """What stood in the row when this was made out."""
    word: str
    is_limited: bool
    is_fall: bool
    is_young: bool
    """It is for a transaction that its charger may not know yet."""
    wait_s: float


@dataclass(slots=True)
class _Talk:
    """One job's talk with a charger: who holds the lease, and what the charger refused meanwhile."""

    charger_id: str
    holder: str
    refused: dict[tuple[int, int | None], _Plan | None] = field(default_factory=dict)
    """By connector and transaction; a refusal is not provoked twice in one talk."""

    @property
    def lease(self) -> str:
        """Return the name of the lease that only one talk with a charger has."""
        return f"compose.{self.charger_id}"


@dataclass(frozen=True, slots=True)
class _Scene:
    """What counts for all connectors of a charger."""

    now: datetime
    held: Mapping[str, Sequence[Held]]
    """By the links that may limit."""
    phases: int
    most_a: float
    count_max: int


async def compose(ctx: Context, message: Compose) -> None:
    """Bring the limits of all operators, taken together, to a charger; falls go before rises.

    One job at a time: a second one could bring an older limit after a newer one.
    """
    talk = _Talk(message.charger_id, new_id("job"))
    try:
        while (turn := await ctx.db.work(ACTOR, _next, talk)) is not None:
            answers = await _send(ctx, talk, turn)
            if not await ctx.db.work(ACTOR, _note, talk, turn, answers):
                return
    finally:
        await ctx.db.work(ACTOR, leases.release, talk.lease, talk.holder)


async def _send(ctx: Context, talk: _Talk, turn: _Turn) -> list[Command]:
    """Take a turn; it ends early when the charger does not listen."""
    priority = Priority.SAFETY if turn.is_fall else Priority.DATA_CONTROL
    answers: list[Command] = []
    for step in turn.steps:
        if answers and not await ctx.db.work(ACTOR, leases.take, talk.lease, talk.holder):
            break
        done = await commands.ask(ctx, ACTOR, talk.charger_id, step.ask, priority=priority, timeout_s=ASK_S)
        answers.append(done)
        if _is_unheard(done):
            break
    return answers


def _is_unheard(done: Command) -> bool:
    return done.status in {CommandStatus.OFFLINE, CommandStatus.EXPIRED} or done.word == TOO_MANY


def _next(work: Work, talk: _Talk) -> _Turn | None:
    """Return what is to be done next; if nothing is for now, see to it that somebody looks again."""
    if not leases.take(work, talk.lease, talk.holder):
        _enqueue(work, talk.charger_id, BUSY_S)
        return None
    turns, is_held = _turns(work, talk)
    if due := [turn for turn in turns if turn.wait_s <= 0]:
        return min(due, key=lambda turn: not turn.is_fall)
    if turns:
        _enqueue(work, talk.charger_id, min(turn.wait_s for turn in turns))
    if is_held or talk.refused:
        _enqueue(work, talk.charger_id, LOOK_S, "compose-look")
    return None


def _enqueue(work: Work, charger_id: str, delay_s: float, key: str = "compose") -> None:
    jobs.enqueue(work, Compose(charger_id), delay_s=delay_s, key=f"{key}:{charger_id}")


def _wait_s(sent_at: datetime | None, pace_s: float, now: datetime) -> float:
    """Return how long to wait; a clock that was set back makes it no longer."""
    return 0.0 if sent_at is None else min(pace_s, max(0.0, pace_s - (now - sent_at).total_seconds()))


def _note(work: Work, talk: _Talk, turn: _Turn, answers: Sequence[Command]) -> bool:
    """Note what a charger has now; False when it does not listen, and is told the rest later."""
    sent = turn.known
    for step, done in zip(turn.steps, answers, strict=False):
        sent = _after(sent, step, done)
        if done.status is CommandStatus.REJECTED and not _is_unheard(done) and not _is_void(step, done):
            talk.refused[turn.connector, step.number] = step.plan
            if step.number is not None and turn.is_young:
                _enqueue(work, talk.charger_id, SOON_S, "compose-soon")
    row = _composed(work, talk.charger_id, turn.connector)
    # Else it has restarted meanwhile, and what it has is uncertain again.
    if (None if row is None else row.sent) == turn.seen:
        _keep_composed(work, talk.charger_id, turn, sent, answers)
    if len(answers) < len(turn.steps) or any(_is_unheard(done) for done in answers):
        # What it does not know yet it is told when it is back, or has time.
        is_busy = bool(answers) and answers[-1].word == TOO_MANY
        if is_busy:
            _enqueue(work, talk.charger_id, SOON_S, "compose-soon")
        else:
            _enqueue(work, talk.charger_id, AGAIN_S, "compose-again")
        return False
    return True


def _composed(work: Work, charger_id: str, connector: int) -> Any:
    rows = store.composed_of(work, charger_id)
    return next((row for row in rows if row.connector == connector), None)


def _keep_composed(work: Work, charger_id: str, turn: _Turn, sent: _Sent, answers: Sequence[Command]) -> None:
    if not turn.is_limited and sent.default is None and sent.running is None:
        store.delete_composed(work, charger_id, turn.connector)
        return
    said = [done.word for done in answers]
    wrong = [done.word for done in answers if done.status is not CommandStatus.EXECUTED]
    store.upsert_composed(
        work,
        charger_id=charger_id,
        connector=turn.connector,
        limit_a=turn.limit_a,
        by=turn.by,
        sent=pack(sent),
        word=(*wrong, *said, turn.word)[0][:64],
    )


def _is_void(step: _Step, done: Command) -> bool:
    """Say whether a charger had nothing to forget (OCPP 1.6 §7.19)."""
    return isinstance(step.ask, ClearLimit) and done.word == "Unknown"


def _after(sent: _Sent, step: _Step, done: Command) -> _Sent:
    """Return what a charger has after its answer; one that refuses keeps what it had."""
    if done.status is CommandStatus.EXECUTED or _is_void(step, done):
        plan = step.plan
    elif done.status is CommandStatus.REJECTED:
        return sent
    else:  # no answer: it may have heard us all the same
        plan = _UNSURE
    if step.number is None:
        return sent.__replace__(default=plan)
    return sent.__replace__(running=plan, number=step.number)


def _turns(work: Work, talk: _Talk) -> tuple[list[_Turn], bool]:
    """Return what has to be sent to a charger or noted of it, and whether anybody limits it."""
    charger_id = talk.charger_id
    limiting = [
        row for row in store.links_of(work, charger_id) if row.is_limiting and row.role != Role.OBSERVER.value
    ]
    running = _running(work, charger_id)
    answers = setup.find(work, charger_id)
    told = store.find_reported(work, charger_id, "chargingschedulemaxperiods")
    count_max = min(int(told), PERIODS_MAX) if told is not None and told.isdecimal() else PERIODS_DEFAULT
    scene = _Scene(
        work.now,
        {row.id: profiles.without_transaction(_held(work, row.id), running) for row in limiting},
        answers.answers.phases if answers is not None else PHASES,
        answers.answers.max_current_a if answers is not None else MOST_A,
        max(count_max, 1),
    )
    before = {row.connector: row for row in store.composed_of(work, charger_id)}
    charging = {each.connector: each for each in reversed(running)}
    found = [
        _turn(scene, connector, charging.get(connector), before.get(connector), talk)
        for connector in (0, *_connectors(work, charger_id))
    ]
    return [turn for turn in found if turn is not None], any(scene.held.values())


def _turn(scene: _Scene, connector: int, charging: Charging | None, before: Any, talk: _Talk) -> _Turn | None:
    """Return what is to be done for a connector, if anything is."""
    idle = _segments(scene, connector, None)
    charged = () if charging is None else _segments(scene, connector, charging)
    is_limited = any(segment.limit_a is not None for segment in (*idle, *charged))
    if before is None and not is_limited:
        return None
    number = None if charging is None else charging.number
    known = _known(before, number)
    default = _plan(scene, idle) if any(segment.limit_a is not None for segment in idle) else None
    own = _plan(scene, charged) if charging is not None and is_limited else None
    steps: list[_Step] = []
    for of, was, wanted, segments in (
        (number, known.running, own, charged),
        (None, known.default, default, idle),
    ):
        key = connector, of
        is_refused = key in talk.refused and _is_same(talk.refused[key], wanted, scene.now)
        if not is_refused and not _is_same(was, wanted, scene.now):
            steps.append(_Step(_ask(scene, connector, of, wanted, segments), wanted, of))
    limit_a, by = (None, "") if before is None else (before.limit_a, before.by)
    is_fall = False
    if is_limited:
        counts = idle if charging is None else charged
        limit_a = None if counts[0].limit_a is None else min(counts[0].limit_a, scene.most_a)
        by = ",".join(counts[0].by)[:400]
        is_fall = bool(steps) and _or_most(scene, limit_a) < _had_a(scene, known) - STEP_A
    is_over = not is_limited and known.default is None and known.running is None
    is_noted = before is not None and (limit_a, by, pack(known)) == (before.limit_a, before.by, before.sent)
    if not steps and is_noted and not is_over:
        return None
    return _Turn(
        connector,
        tuple(steps),
        limit_a,
        by,
        known,
        None if before is None else before.sent,
        "" if before is None else before.word,
        is_limited=is_limited,
        is_fall=is_fall,
        is_young=charging is not None and scene.now - charging.started_at < YOUNG,
        wait_s=0.0
        if before is None or not steps
        else _wait_s(before.sent_at, FALL_PACE_S if is_fall else PACE_S, scene.now),
    )


def _segments(scene: _Scene, connector: int, charging: Charging | None) -> tuple[Segment, ...]:
    """Return what all together say of a connector, for one transaction or for none."""
    sources = [
        profiles.of_profiles(link_id, held, connector, running=charging, phases=scene.phases)
        for link_id, held in scene.held.items()
    ]
    return profiles.compose(sources, scene.now, scene.now + AHEAD) if sources else ()


def _known(before: Any, number: int | None) -> _Sent:
    """Return what a charger has that counts: a limit for one transaction has gone with it."""
    if before is None:
        return _Sent()
    if not before.sent:
        return _Sent(_UNSURE, None if number is None else _UNSURE, number)
    sent = decode(before.sent, _Sent)
    return sent if number is not None and sent.number == number else _Sent(sent.default)


def _plan(scene: _Scene, segments: Sequence[Segment]) -> _Plan:
    edges = tuple(
        (segment.from_at, min(_or_most(scene, segment.limit_a), scene.most_a)) for segment in segments
    )
    return _Plan(edges, segments[-1].until_at)


def _or_most(scene: _Scene, limit_a: float | None) -> float:
    return scene.most_a if limit_a is None else limit_a


def _had_a(scene: _Scene, known: _Sent) -> float:
    """Return what a connector could draw so far; all of it where that is uncertain."""
    counted = known.default if known.running is None else known.running
    return scene.most_a if counted is None or not counted.edges else _limit_of(counted, scene.now)


def _ask(
    scene: _Scene, connector: int, number: int | None, plan: _Plan | None, segments: Sequence[Segment]
) -> Ask:
    profile = PROFILE_BASE + 2 * connector + (number is not None)
    if plan is None:
        return ClearLimit(profile)
    purpose = LimitPurpose.DEFAULT if number is None else LimitPurpose.TRANSACTION
    return SetLimit(
        connector,
        LimitPurpose.CHARGER if connector == 0 else purpose,
        profile,
        STACK_LEVEL,
        _periods(scene, segments),
        number=number,
        starts_at=scene.now,
    )


def _periods(scene: _Scene, segments: Sequence[Segment]) -> tuple[LimitPeriod, ...]:
    """Return a schedule with the lowest limit behind the time that was looked ahead.

    That stands there for when we are silent by then, and counts among the periods that a charger takes.
    """

    def at_most(count_max: int) -> tuple[LimitPeriod, ...]:
        return profiles.periods(segments, scene.now, most_a=scene.most_a, count_max=count_max)

    found = at_most(scene.count_max)
    lowest_a = min(period.limit_a or 0.0 for period in found)
    if found[-1].limit_a == lowest_a:
        return found
    if len(found) == scene.count_max:
        found = at_most(scene.count_max - 1)
    if found[-1].limit_a == lowest_a:
        return found
    end_s = int((segments[-1].until_at - scene.now).total_seconds())
    if end_s <= found[-1].start_s:
        return (*found[:-1], LimitPeriod(found[-1].start_s, lowest_a))
    return (*found, LimitPeriod(end_s, lowest_a))


def _limit_of(plan: _Plan, at: datetime) -> float:
    found = [limit_a for from_at, limit_a in plan.edges if from_at <= at]
    return found[-1] if found else plan.edges[0][1]


def _is_same(old: _Plan | None, fresh: _Plan | None, now: datetime) -> bool:
    """Say whether a charger that has the old one knows all that counts for the next hours."""
    if old is None or fresh is None:
        return old is fresh
    if not old.edges or old.until_at is None or fresh.until_at is None:
        return False
    horizon = min(fresh.until_at, now + FRESH)
    instants = {now, *(at for at, _ in (*old.edges, *fresh.edges) if now < at < horizon)}
    if any(abs(_limit_of(old, at) - _limit_of(fresh, at)) >= STEP_A for at in instants):
        return False
    return len(old.edges) == 1 or old.until_at >= horizon

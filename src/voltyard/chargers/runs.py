"""Runs: one action for many chargers, carried out by jobs, with a result for each charger.

A run acts with the rights that its person has when a charger is asked, not with those of when it was begun.
Before a charger is asked, the id of the command that will ask it is written down. So when a job dies in
between, the next one knows: no such command was given, the charger can still be asked; a command was given,
its end is the result; and where it has no end, the result is not known, and nothing is asked twice.
A run belongs to whoever began it, and is deleted after some months.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from voltyard.accounts import service as accounts
from voltyard.chargers import commands, outcomes, service
from voltyard.chargers import runs_store as store
from voltyard.chargers.commands import Command, CommandStatus
from voltyard.chargers.events import RunChanged, subject
from voltyard.chargers.masks import masked
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Forbidden, Invalid, NotFound, TooMany, Unavailable, VoltyardError
from voltyard.kernel.ids import check, is_id, new_id
from voltyard.kernel.limits import (
    CALL_DEADLINE_S,
    RUN_AT_ONCE,
    RUN_CHARGERS_MAX,
    RUN_CHUNK,
    RUN_DAYS,
    RUNS_OPEN_MAX,
)
from voltyard.kernel.wire import Message, decode
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions
from voltyard.speech import ByHand, Priority

PAYLOAD_LENGTH_MAX: Final = 64 * 1024
ACTION_LENGTH: Final = 64
ID_LENGTH: Final = 64
PRUNE_STEP: Final = 50
SYSTEM: Final = system("runs")
assert RUN_CHUNK / RUN_AT_ONCE * (CALL_DEADLINE_S + commands.BUS_SLACK_S) < jobs.CLAIM_S
FORBIDDEN: Final = "You may not command this charger, or there is no such charger."
UNKNOWN: Final = (
    "Voltyard was interrupted while it asked this charger, so what became of it is not known. "
    "It was not asked again."
)


class ItemStatus(StrEnum):
    """What became of a charger of a run."""

    PENDING = "pending"
    SENT = "sent"
    OFFLINE = "offline"
    ERROR = "error"
    SKIPPED_FORBIDDEN = "skipped_forbidden"


class RunStatus(StrEnum):
    """Where a run is: it goes on until every charger has its result, unless somebody cancels it."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class TooManyRuns(TooMany):
    """A person has as many runs going on as one may have: wait for one of them, or cancel it."""

    title = "Too many runs at the same time"


class CarryOnRun(Message, frozen=True):
    """A run has chargers left to ask."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many chargers of a run have which result."""

    total: int
    pending: int
    sent: int
    offline: int
    error: int
    skipped: int

    @property
    def done(self) -> int:
        """How many have a result."""
        return self.total - self.pending


@dataclass(frozen=True, slots=True)
class Run:
    """One action for many chargers; ``payload`` is its JSON, with secrets masked."""

    id: str
    action: str
    payload: str
    actor_kind: str
    actor_id: str
    door: str
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class Item:
    """A charger of a run; ``label`` is its id for who may not see it (any more)."""

    charger_id: str
    label: str
    status: ItemStatus
    message: str
    executed_at: datetime | None
    command_id: str | None


def _runs(work: Work, rows: Sequence[Any]) -> list[Run]:
    counted: dict[str, dict[str, int]] = {row.id: {} for row in rows}
    for row in store.count_items(work, counted) if rows else ():
        counted[row.run_id][row.status] = row.many
    return [_run(row, counted[row.id]) for row in rows]


def _run(row: Any, counted: dict[str, int]) -> Run:
    status = RunStatus.RUNNING if row.finished_at is None else RunStatus.COMPLETED
    return Run(
        row.id,
        row.action,
        masked(row.payload),
        row.actor_kind,
        row.actor_id,
        row.door,
        RunStatus.CANCELLED if row.cancelled_at is not None else status,
        row.created_at,
        row.finished_at,
        Counts(
            sum(counted.values()),
            counted.get(ItemStatus.PENDING, 0),
            counted.get(ItemStatus.SENT, 0),
            counted.get(ItemStatus.OFFLINE, 0),
            counted.get(ItemStatus.ERROR, 0),
            counted.get(ItemStatus.SKIPPED_FORBIDDEN, 0),
        ),
    )


# --- for people -----------------------------------------------------------------------------------


def begin(work: Work, action: str, payload: str, charger_ids: Sequence[str]) -> Run:
    """Begin a run; chargers that the actor may not command, or that do not exist, are skipped.

    Whether a charger can take the payload shows when it is asked. Raises: Invalid; TooManyRuns.
    """
    chosen = list(dict.fromkeys(each.strip()[:ID_LENGTH] for each in charger_ids))
    _check(action, payload, chosen)
    if not work.actor.is_system and store.count_open(work, work.actor.subject_id) >= RUNS_OPEN_MAX:
        raise TooManyRuns(f"at most {RUNS_OPEN_MAX} runs go on at the same time: wait for one, or cancel one")
    run_id = new_id("run")
    places = {
        place.charger_id: place.location_id
        for place in service.places(work, [each for each in chosen if is_id("chg", each)])
    }
    held = {place: permissions(work, place) for place in set(places.values())}
    is_allowed = {each: each in places and Permission.CONTROL in held[places[each]] for each in chosen}
    store.insert_run(
        work,
        [
            {
                "run_id": run_id,
                "place": place,
                "charger_id": each,
                "status": (ItemStatus.PENDING if is_allowed[each] else ItemStatus.SKIPPED_FORBIDDEN).value,
                "command_id": None,
                "message": "" if is_allowed[each] else FORBIDDEN,
                "executed_at": None if is_allowed[each] else work.now,
            }
            for place, each in enumerate(chosen)
        ],
        id=run_id,
        actor_kind=work.actor.kind.value,
        actor_id=work.actor.subject_id,
        door=work.actor.door,
        action=action[:ACTION_LENGTH],
        payload=payload,
    )
    if any(is_allowed.values()):
        jobs.enqueue(work, CarryOnRun(run_id), key=f"run:{run_id}")
    else:
        _end(work, run_id, payload)
    return get(work, run_id)


def _check(action: str, payload: str, chosen: Sequence[str]) -> None:
    wrong: list[tuple[str, str]] = []
    if not (action.isascii() and action.isalpha() and len(action) <= ACTION_LENGTH):
        wrong.append(("/command", "the name of an action of OCPP, such as Reset"))
    if not 0 < len(chosen) <= RUN_CHARGERS_MAX:
        wrong.append(("/charger_ids", f"1 to {RUN_CHARGERS_MAX} chargers"))
    try:
        is_object = isinstance(decode(payload, object), dict)
    except Invalid:
        is_object = False
    if not is_object or len(payload) > PAYLOAD_LENGTH_MAX:
        wrong.append(("/data", "a JSON object that is not too long"))
    if wrong:
        raise Invalid("the run was not begun: " + "; ".join(why for _, why in wrong), tuple(wrong))


def get(work: Work, run_id: str) -> Run:
    """Return a run of the actor's own. Raises: NotFound."""
    row = store.find_run(work, check("run", run_id))
    if row is None or not _is_own(work, row):
        raise NotFound("there is no such run, or somebody else began it", id=run_id)
    return _runs(work, [row])[0]


def _is_own(work: Work, row: Any) -> bool:
    actor = work.actor
    return actor.is_system or (actor.kind in {Kind.USER, Kind.TOKEN} and row.actor_id == actor.subject_id)


def list_runs(work: Work, *, after: str | None = None, limit: int = 25) -> list[Run]:
    """Return a page of the actor's runs, newest first."""
    if work.actor.kind not in {Kind.USER, Kind.TOKEN}:
        return []
    return _runs(work, store.list_runs(work, work.actor.subject_id, after=after, limit=limit))


def list_items(work: Work, run_id: str) -> list[Item]:
    """Return the chargers of a run of the actor's own, in the order in which they were named.

    Raises: NotFound.
    """
    get(work, run_id)
    rows = store.list_items(work, run_id)
    kept = commands.get_some(work, [row.command_id for row in rows if row.status == ItemStatus.SENT])
    return [
        Item(
            row.charger_id,
            row.name or row.identity or row.charger_id,
            ItemStatus(row.status),
            # What came of it may have been heard since it was sent.
            outcomes.explain(kept[row.command_id]).message if row.command_id in kept else row.message,
            row.executed_at,
            row.command_id,
        )
        for row in rows
    ]


def cancel(work: Work, run_id: str) -> Run:
    """Ask no more chargers; those that are being asked just now still get their result. Raises: NotFound."""
    get(work, run_id)
    row = store.lock_run(work, run_id)
    assert row is not None, "a run that was read is gone"
    if row.finished_at is None:
        _end(work, run_id, row.payload, cancelled_at=work.now)
        for item in store.find_items(work, run_id, ItemStatus.PENDING, 1):
            _tell(work, run_id, item.charger_id)
    return get(work, run_id)


def _end(work: Work, run_id: str, payload: str, **values: Any) -> None:
    # What was sent is known by now: its secrets are not kept any longer.
    store.set_run(work, run_id, finished_at=work.now, payload=masked(payload), **values)


def _tell(work: Work, run_id: str, charger_id: str) -> None:
    place = service.places(work, [charger_id])[0].location_id
    work.emit(subject(place, charger_id), RunChanged(run_id, charger_id, place))


def forget_old(work: Work) -> int:
    """Delete some of the runs that nobody needs any more; return how many."""
    return store.delete_old(work, work.now - timedelta(days=RUN_DAYS), PRUNE_STEP)


# --- the job --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Turn:
    """What one job does of a run: whom it asks what, with whose rights."""

    actor: Actor
    ask: ByHand
    items: tuple[tuple[int, str], ...]


async def carry_on(ctx: Context, message: CarryOnRun) -> None:
    """Ask the next chargers of a run, then leave the rest to the next job."""
    turn = await ctx.db.work(SYSTEM, _next, message.run_id)
    if turn is None:
        return
    free = asyncio.Semaphore(RUN_AT_ONCE)

    async def one(place: int, charger_id: str) -> None:
        async with free:
            await _ask(ctx, turn, message.run_id, place, charger_id)

    async with asyncio.TaskGroup() as group:
        for place, charger_id in turn.items:
            group.create_task(one(place, charger_id))
    await ctx.db.work(SYSTEM, _go_on, message.run_id)


def _next(work: Work, run_id: str) -> _Turn | None:
    """Settle what an earlier job left, and return what to do now; None when nothing is left."""
    row = store.lock_run(work, run_id)
    if row is None or row.finished_at is not None:
        return None
    found = store.find_items(work, run_id, ItemStatus.PENDING, RUN_CHUNK)
    ends = store.find_ends(work, (item.command_id for item in found if item.command_id))
    chosen: list[tuple[int, str]] = []
    for item in found:
        end = ends.get(item.command_id)
        if end is None:
            # Never begun, or the job died before the command was given.
            chosen.append((item.place, item.charger_id))
        else:
            status, message = _known(work, end)
            _settle(work, run_id, item.place, item.charger_id, status, message)
    actor = actor_of(work, row)
    if actor is None:
        for place, charger_id in chosen:
            _settle(work, run_id, place, charger_id, ItemStatus.SKIPPED_FORBIDDEN, FORBIDDEN)
        chosen = []
    if not chosen:
        _go_on(work, run_id)
        return None
    return _Turn(actor or SYSTEM, ByHand(row.action, row.payload), tuple(chosen))


def _known(work: Work, end: Any) -> tuple[ItemStatus, str]:
    """Return the result of a command that an earlier job gave."""
    if CommandStatus(end.status).is_final and end.word != commands.INTERRUPTED:
        try:
            return _result(commands.get(work, end.id))
        except NotFound:
            pass  # the charger has come to somebody else since
    return ItemStatus.ERROR, UNKNOWN


def actor_of(work: Work, row: Any) -> Actor | None:
    """Return who began what this row tells of, with the rights of now; None for somebody who is gone."""
    if row.actor_kind == Kind.SYSTEM:
        return system(row.actor_id)
    try:
        person = accounts.user(work, row.actor_id)
    except NotFound:
        return None
    teams = tuple(team.id for team in person.teams)
    return Actor(Kind(row.actor_kind), person.id, teams, row.door, is_admin=person.is_admin)


async def _ask(ctx: Context, turn: _Turn, run_id: str, place: int, charger_id: str) -> None:
    command_id = new_id("cmd")
    if not await ctx.db.work(SYSTEM, _begin, run_id, place, command_id):
        return
    try:
        done = await commands.ask(
            ctx, turn.actor, charger_id, turn.ask, priority=Priority.BACKGROUND, command_id=command_id
        )
        status, said = _result(done)
    except (NotFound, Forbidden):
        status, said = ItemStatus.SKIPPED_FORBIDDEN, FORBIDDEN
    except Unavailable:
        raise  # ours, not the charger's: the next job looks what became of it
    except VoltyardError as wrong:
        status, said = ItemStatus.ERROR, _sentence(wrong.detail)
    await ctx.db.work(SYSTEM, _settle, run_id, place, charger_id, status, said)


def _begin(work: Work, run_id: str, place: int, command_id: str) -> bool:
    """Write down which command will ask a charger; not if the run was cancelled meanwhile."""
    row = store.find_run(work, run_id)
    if row is None or row.finished_at is not None:
        return False
    store.set_begun(work, run_id, place, command_id)
    return True


def _result(done: Command) -> tuple[ItemStatus, str]:
    said = outcomes.explain(done).message
    if done.status is CommandStatus.EXECUTED:
        return ItemStatus.SENT, said
    if done.status is CommandStatus.OFFLINE:
        return ItemStatus.OFFLINE, said
    return ItemStatus.ERROR, said


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _settle(work: Work, run_id: str, place: int, charger_id: str, status: ItemStatus, message: str) -> None:
    if store.set_item(work, run_id, place, status=status.value, message=message):
        _tell(work, run_id, charger_id)


def _go_on(work: Work, run_id: str) -> None:
    """End a run that has nobody left to ask, else leave the rest to a new job."""
    row = store.lock_run(work, run_id)
    if row is None or row.finished_at is not None:
        return
    left = store.find_items(work, run_id, ItemStatus.PENDING, 1)
    if left:
        jobs.enqueue(work, CarryOnRun(run_id), key=f"run:{run_id}")
        return
    _end(work, run_id, row.payload)
    last = store.find_last(work, run_id)
    if last is not None:
        _tell(work, run_id, last.charger_id)

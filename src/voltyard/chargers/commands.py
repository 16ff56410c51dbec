"""Commands: what somebody asked of a charger, through which door, and what became of it.

prepared → sent → executed, rejected or expired; ``offline`` when nobody holds the charger's socket.
The row is committed before the charger is asked, and closed after it answered. Secrets are masked in it.

Invariant: a final status never changes; an answer that comes later is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from voltyard import quirks
from voltyard.chargers import commands_store as store
from voltyard.chargers import credentials, effects, findings, service
from voltyard.chargers.credentials import Answered
from voltyard.chargers.effects import Effect
from voltyard.chargers.events import CommandChanged, MessagePromised, subject
from voltyard.chargers.masks import masked
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import (
    ChargerOffline,
    Conflict,
    Invalid,
    NotFound,
    TimedOut,
    TooMany,
    Unavailable,
    Unserved,
    VoltyardError,
)
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import (
    CALL_DEADLINE_S,
    COMMAND_TIMEOUT_MAX_S,
    COMPOSITE_DAYS_MAX,
    CONNECT_SLACK_S,
    MESSAGE_EFFECT_S,
    OWN_COMMAND_DAYS,
)
from voltyard.kernel.log import logger
from voltyard.kernel.wire import encode
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Ask,
    Asked,
    ByHand,
    CompositeLimits,
    Details,
    FlawTold,
    LimitUnit,
    Outcome,
    Priority,
    TellComposite,
    Told,
    Trigger,
    is_unable,
)

BUS_SLACK_S = 2.0
KIND_LENGTH = 64
WORD_LENGTH = 64
FORGET_STEP = 500
INTERRUPTED = "Interrupted"
"""The word of a command whose asker died."""
DAY_S = 24 * 3600
# What a charger tells of each of its connectors, not of itself alone.
_OF_CONNECTORS = frozenset(("StatusNotification", "MeterValues"))


class CommandStatus(StrEnum):
    """Where a command is in its life."""

    PREPARED = "prepared"
    SENT = "sent"
    EXECUTED = "executed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    OFFLINE = "offline"

    @property
    def is_final(self) -> bool:
        """Say whether a command with it has come to its end."""
        return self not in {CommandStatus.PREPARED, CommandStatus.SENT}


class NoComposite(Conflict):
    """The charger did not tell which limits it holds to."""

    title = "The charger did not tell its limits"


@dataclass(frozen=True, slots=True)
class Command:
    """A command; ``word`` is the charger's own status word or our reason, ``answer`` its JSON.

    ``late_…`` is what the charger answered after the end. ``ahead`` counts the commands that were given
    earlier and are not over: while this one is only prepared, it may wait for them.
    """

    id: str
    charger_id: str
    kind: str
    request: str
    status: CommandStatus
    word: str
    answer: str | None
    actor_kind: str
    actor_id: str
    door: str
    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    details: Details | None = None
    """What the answer told besides, for whoever asked; it is not kept."""
    connector: int | None = None
    effect: Effect = Effect.NONE
    effect_at: datetime | None = None
    late_word: str = ""
    is_late_accepted: bool | None = None
    late_answer: str | None = None
    late_at: datetime | None = None
    ahead: int = 0
    connect_s: float | None = None
    """How long the charger waits for the cable, of a start whose charge has not begun."""

    @property
    def latency_s(self) -> float | None:
        """How long the charger took to answer, None where it did not or where one may not know."""
        end = self.late_at or (self.finished_at if self.answer is not None else None)
        if end is None or self.sent_at is None:
            return None
        return max(0.0, (end - self.sent_at).total_seconds())

    @property
    def is_unable(self) -> bool:
        """Say whether the charger does not know what it was asked for, however it says so (quirk Q54)."""
        if not self.status.is_final or self.status is CommandStatus.OFFLINE:
            return False
        outcome: Outcome | None = AnswerRefused(self.word)
        if self.status is CommandStatus.EXPIRED:
            outcome = None if self.late_at is None else AnswerRefused(self.late_word)
        return is_unable(outcome)


def _effect(row: Any, now: datetime) -> Effect:
    """Return whether what a command was meant for has come; nobody has to note that it was missed."""
    if row.effect_at is not None:
        return Effect.HAPPENED
    if row.awaits is None:
        return Effect.NONE
    return Effect.WAITING if now <= row.effect_until else Effect.MISSED


def _connect_s(row: Any) -> float | None:
    end = row.late_at or row.finished_at
    if row.awaits is None or end is None or not row.awaits.startswith(f"{effects.START}:"):
        return None
    waited: timedelta = row.effect_until - end
    return max(0.0, waited.total_seconds() - CONNECT_SLACK_S)


def _command(work: Work, row: Any) -> Command:
    is_waiting = row.status == CommandStatus.PREPARED
    return Command(
        row.id,
        row.charger_id,
        row.kind,
        row.request,
        CommandStatus(row.status),
        row.word,
        row.answer,
        row.actor_kind,
        row.actor_id,
        row.door,
        row.created_at,
        row.sent_at,
        row.finished_at,
        connector=row.connector,
        effect=_effect(row, work.now),
        effect_at=row.effect_at,
        late_word=row.late_word or "",
        is_late_accepted=row.is_late_accepted,
        late_answer=row.late_answer,
        late_at=row.late_at,
        ahead=store.count_ahead(work, row.charger_id, row.id) if is_waiting else 0,
        connect_s=_connect_s(row),
    )


def _shown(work: Work, rows: Iterable[Any], location_id: str | None) -> list[Command]:
    """Return commands as the actor may see them: what was said is for those who see sensitive data."""
    shown = [_command(work, row) for row in rows]
    if Permission.VIEW_SENSITIVE in permissions(work, location_id):
        return shown
    return [replace(command, request="", answer=None, late_answer=None) for command in shown]


def get(work: Work, command_id: str) -> Command:
    """Return a command of a charger that the actor may see. Raises: NotFound.

    Request and answer are empty for those who may not see sensitive data.
    """
    row = store.find_command(work, check("cmd", command_id))
    if row is None:
        raise NotFound("there is no such command", id=command_id)
    charger = service.get(work, row.charger_id)
    if row.claimed_at is not None and row.created_at < row.claimed_at:
        # It was asked at another location, before the charger came to this one.
        raise NotFound("there is no such command", id=command_id)
    return _shown(work, [row], charger.location_id)[0]


def get_some(work: Work, command_ids: Sequence[str]) -> dict[str, Command]:
    """Return those of these commands that the actor may see, without request and answer, by their ids."""
    found = (_command(work, row) for row in store.list_some(work, command_ids))
    return {each.id: replace(each, request="", answer=None, late_answer=None) for each in found}


def list_commands(
    work: Work,
    charger_id: str,
    *,
    is_by_people: bool | None = None,
    after: str | None = None,
    limit: int = 25,
) -> list[Command]:
    """Return a page of a charger's commands, newest first. Raises: NotFound.

    ``is_by_people`` gives only those of people, their programs and operators, or only Voltyard's own.
    Requests and answers are empty for those who may not see sensitive data.
    """
    charger = service.get(work, charger_id)
    rows = store.list_commands(work, charger_id, is_by_people=is_by_people, after=after, limit=limit)
    return _shown(work, rows, charger.location_id)


async def ask(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    ask: Ask,
    *,
    priority: Priority = Priority.PORTAL,
    timeout_s: float = CALL_DEADLINE_S,
    command_id: str = "",
) -> Command:
    """Ask a charger for something and wait for its answer.

    The command says what became of it: a rejection, a silence and an absent charger are outcomes,
    not exceptions. A new password or security profile is kept in step on our side, by whatever door it is
    set. ``command_id`` is a fresh id, for who wrote it down before.
    Raises: NotFound; Forbidden; Invalid for a request that cannot be sent.
    """
    command_id = command_id or new_id("cmd")
    if credentials.key_of(ask) is None:
        return await _ask(ctx, actor, command_id, charger_id, ask, priority=priority, timeout_s=timeout_s)
    key = ctx.settings.secret_key()
    await ctx.db.work(actor, _about_to_set, charger_id, ask, key)
    answered = Answered.NOTHING
    try:
        done = await _ask(ctx, actor, command_id, charger_id, ask, priority=priority, timeout_s=timeout_s)
        answered = _answered(done)
    except Invalid:  # what cannot be sent has changed nothing
        answered = Answered.REFUSED
        raise
    finally:
        await ctx.db.work(actor, credentials.was_set, charger_id, ask, answered, key)
    return done


def _about_to_set(work: Work, charger_id: str, ask: Ask, key: bytes) -> None:
    service.get(work, charger_id, Permission.EDIT_CHARGERS)
    credentials.about_to_set(work, charger_id, ask, key)


def _answered(done: Command) -> Answered:
    if done.word.lower() == credentials.REBOOT_REQUIRED:
        return Answered.LATER
    if done.status is CommandStatus.EXECUTED:
        return Answered.OBEYED
    return Answered.REFUSED if done.status is CommandStatus.REJECTED else Answered.NOTHING


async def _ask(
    ctx: Context,
    actor: Actor,
    command_id: str,
    charger_id: str,
    ask: Ask,
    *,
    priority: Priority,
    timeout_s: float,
) -> Command:
    """Ask a charger for something and wait for its answer.

    The command says what became of it: a rejection, a silence and an absent charger are outcomes,
    not exceptions. Raises: NotFound; Forbidden; Invalid for a request that cannot be sent.
    """
    if not 0 < timeout_s <= COMMAND_TIMEOUT_MAX_S:
        raise Invalid(
            "the time limit is out of range",
            (("/timeout_s", f"more than 0 and at most {COMMAND_TIMEOUT_MAX_S:g} seconds"),),
        )
    await ctx.db.work(actor, _prepare, command_id, charger_id, ask, timeout_s)
    request = Asked(ask, priority, f"{actor.kind}:{actor.subject_id}", timeout_s, command_id)
    sent_at = ctx.clock.now()
    try:
        told = await ctx.bus.request(
            f"charger.{charger_id}.ask", request, Told, timeout_s=timeout_s + BUS_SLACK_S
        )
    except Unserved:
        return await _finish(ctx, actor, command_id, CommandStatus.OFFLINE, "ChargerOffline")
    except TimedOut:
        # When it was sent, if it was, has been noted by the one who sent it.
        return await _finish(ctx, actor, command_id, CommandStatus.EXPIRED, "NoAnswer")
    except TooMany:
        return await _finish(ctx, actor, command_id, CommandStatus.REJECTED, "TooManyWaiting")
    except Unavailable as wrong:
        return await _finish(ctx, actor, command_id, CommandStatus.OFFLINE, type(wrong).__name__)
    except Invalid:
        await _finish(ctx, actor, command_id, CommandStatus.REJECTED, "NotSendable")
        raise
    outcome = told.outcome
    if isinstance(outcome, Answer):
        status = CommandStatus.EXECUTED if outcome.is_accepted else CommandStatus.REJECTED
        done = await _finish(
            ctx, actor, command_id, status, outcome.status, outcome.payload, sent_at=sent_at, told=told
        )
        return replace(done, details=outcome.details)
    answer = encode({"errorCode": outcome.code, "errorDescription": outcome.detail}).decode()
    return await _finish(
        ctx, actor, command_id, CommandStatus.REJECTED, outcome.code, answer, sent_at=sent_at, told=told
    )


async def trigger(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    what: str,
    connector: int | None = None,
    *,
    priority: Priority = Priority.PORTAL,
    timeout_s: float = CALL_DEADLINE_S,
) -> Command:
    """Have a charger send a message of its own; it comes by itself, later, or never (quirk Q48).

    Where no connector is named and the charger refuses, it is asked for each of its connectors (quirk Q55).
    Returns: the command that was accepted, else the last one. Raises: NotFound; Forbidden; Invalid.
    """
    of_all = Trigger(what, connector or None)
    first = await ask(ctx, actor, charger_id, of_all, priority=priority, timeout_s=timeout_s)
    if connector or what not in _OF_CONNECTORS or first.status is not CommandStatus.REJECTED:
        return first
    charger = await ctx.db.read(actor, service.get, charger_id)
    asked = [first]
    for number in (each.number for each in charger.connectors if each.number > 0):
        of_one = Trigger(what, number)
        asked.append(await ask(ctx, actor, charger_id, of_one, priority=priority, timeout_s=timeout_s))
        if asked[-1].status in {CommandStatus.OFFLINE, CommandStatus.EXPIRED}:
            break
    accepted = next((one for one in asked if one.status is CommandStatus.EXECUTED), None)
    if accepted is not None:
        odd = FlawTold(charger_id, "no_connector_zero", 1, "", first.answer or "")
        await ctx.db.work(actor, findings.told, [odd])
    return accepted or asked[-1]


async def composite(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    connector: int,
    duration_s: int,
    unit: LimitUnit | None = None,
) -> CompositeLimits:
    """Ask a charger which limits a connector (0: the charger) holds to from now on.

    Raises: NotFound; Forbidden; Invalid; NoComposite; ChargerOffline; TimedOut.
    """
    wrong: list[tuple[str, str]] = []
    if connector < 0:
        wrong.append(("/connector", "0 for the whole charger, or the number of a connector"))
    if not 0 < duration_s <= COMPOSITE_DAYS_MAX * DAY_S:
        wrong.append(("/duration_s", f"more than 0 and at most {COMPOSITE_DAYS_MAX * DAY_S} seconds"))
    if wrong:
        raise Invalid("that cannot be asked: " + "; ".join(why for _, why in wrong), tuple(wrong))
    done = await ask(ctx, actor, charger_id, TellComposite(connector, duration_s, unit))
    if done.status is CommandStatus.OFFLINE:
        raise ChargerOffline("the charger is offline: check its power and network", command=done.id)
    if done.status is CommandStatus.EXPIRED:
        raise TimedOut("the charger gave no answer in time", command=done.id)
    if done.status is not CommandStatus.EXECUTED or not isinstance(done.details, CompositeLimits):
        why = "it does not know this question" if done.is_unable else f"it said {done.word or 'nothing'}"
        raise NoComposite(f"the charger did not tell its limits: {why}", command=done.id)
    return done.details


async def greet(ctx: Context, actor: Actor, charger: service.Charger) -> None:
    """Have a charger that was just claimed introduce itself again, so that it need not wait longer.

    Done after the door has answered: what goes wrong is logged, and nobody is kept waiting for it.
    """
    if not charger.is_online:
        return
    if quirks.find(charger.vendor, charger.model, charger.firmware).is_boot_trigger_harmful:
        return  # quirk Q45: it would restart; it comes again by itself within a minute
    log = logger("chargers")
    try:
        await ask(ctx, actor, charger.id, Trigger("BootNotification"), priority=Priority.BACKGROUND)
    except VoltyardError as wrong:
        log.info("a claimed charger was not greeted", charger=charger.id, code=wrong.code())
    except Exception:  # the charger boots again by itself
        log.exception("a claimed charger was not greeted", charger=charger.id)


def _prepare(work: Work, command_id: str, charger_id: str, ask: Ask, timeout_s: float) -> None:
    place = service.get(work, charger_id, Permission.CONTROL).location_id
    deadline_at = work.now + timedelta(seconds=timeout_s + BUS_SLACK_S)
    awaits = effects.awaited(ask)
    store.insert_command(
        work,
        id=command_id,
        charger_id=charger_id,
        kind=(ask.action if isinstance(ask, ByHand) else type(ask).__name__)[:KIND_LENGTH],
        request=masked(ask.payload if isinstance(ask, ByHand) else encode(ask).decode()),
        status=CommandStatus.PREPARED.value,
        word="",
        actor_kind=work.actor.kind.value,
        actor_id=work.actor.subject_id,
        door=work.actor.door,
        deadline_at=deadline_at,
        connector=effects.connector_of(ask),
        # From the beginning: what it brings about may be heard before its answer is noted.
        awaits=awaits,
        effect_until=None if awaits is None else deadline_at + timedelta(seconds=effects.lasts_s(awaits)),
    )
    _tell(work, place, charger_id, command_id, CommandStatus.PREPARED)


def _tell(work: Work, place: str | None, charger_id: str, command_id: str, status: str) -> None:
    work.emit(subject(place, charger_id), CommandChanged(command_id, charger_id, place, str(status)))


async def _finish(
    ctx: Context,
    actor: Actor,
    command_id: str,
    status: CommandStatus,
    word: str,
    answer: str | None = None,
    *,
    sent_at: datetime | None = None,
    told: Told | None = None,
) -> Command:
    return await ctx.db.work(actor, _close, command_id, status, word, answer, sent_at, told)


def _close(
    work: Work,
    command_id: str,
    status: CommandStatus,
    word: str,
    answer: str | None,
    sent_at: datetime | None,
    told: Told | None,
) -> Command:
    values: dict[str, Any] = {
        "status": status.value,
        "word": _storable(word),
        "answer": masked(answer) if answer is not None else None,
        "finished_at": work.now,
    }
    if told is not None:
        values |= {"kind": told.action[:KIND_LENGTH], "request": masked(told.request)}
    row = store.find_command(work, command_id)
    assert row is not None, "a command that was prepared is gone"
    if row.awaits is not None:
        # One that gave no answer may have obeyed all the same.
        may_come = status in {CommandStatus.EXECUTED, CommandStatus.EXPIRED}
        values |= (
            {"effect_until": _effect_until(work, row.charger_id, row.awaits)}
            if may_come
            else {"awaits": None}
        )
    store.close_command(work, command_id, sent_at=sent_at, **values)
    if status is CommandStatus.EXECUTED and effects.is_message(row.awaits):
        delay_s = MESSAGE_EFFECT_S + 1
        jobs.enqueue(work, MessagePromised(command_id), delay_s=delay_s, key=f"promised:{command_id}")
    row = store.find_command(work, command_id)
    assert row is not None, "a command that was closed is gone"
    _tell(work, service.places(work, [row.charger_id])[0].location_id, row.charger_id, command_id, row.status)
    return _command(work, row)


def _storable(word: str) -> str:
    """Return a charger's word as every database can hold it: PostgreSQL takes no NUL."""
    return word.replace("\0", "")[:WORD_LENGTH]


def _effect_until(work: Work, charger_id: str, awaits: str | None) -> datetime | None:
    if awaits is None:
        return None
    connect_s = effects.connects_s(store.find_reported(work, charger_id, effects.CONNECT_KEY))
    return work.now + timedelta(seconds=effects.lasts_s(awaits, connect_s))


# --- what the gateway saw -------------------------------------------------------------------------


def sent(work: Work, items: Sequence[tuple[str, datetime]]) -> None:
    """Note that commands went out on the socket at these instants; one that has ended keeps its status."""
    at = {command_id: sent_at for command_id, sent_at in items if command_id}
    store.set_sent(work, [{"key": command_id, "at": sent_at} for command_id, sent_at in at.items()])
    for row in store.find_places(work, at):
        if row.status == CommandStatus.SENT:
            _tell(work, row.location_id, row.charger_id, row.id, CommandStatus.SENT)


def answered_late(work: Work, items: Sequence[tuple[str, str, bool, str]]) -> None:
    """Keep what chargers answered after the time limit, beside an end that stays what it is.

    Each item is a command's id, the charger's word or error code, whether that accepts, and the JSON of the
    answer. Only the first late answer of a command is kept.
    """
    late = {item[0]: item for item in items if item[0]}
    rows = store.find_late(work, late)
    values: list[dict[str, Any]] = []
    for row in rows:
        _, word, is_accepted, answer = late[row.id]
        awaits = row.awaits if is_accepted else None
        values.append(
            {
                "key": row.id,
                "new_late_word": _storable(word),
                "new_is_late_accepted": is_accepted,
                "new_late_answer": masked(answer),
                "new_late_at": work.now,
                "new_awaits": awaits,
                "new_effect_until": _effect_until(work, row.charger_id, awaits),
            }
        )
    store.set_answered_late(work, values)
    for row in rows:
        _tell(work, row.location_id, row.charger_id, row.id, row.status)


def expire_left_over(work: Work) -> int:
    """End commands whose asker died before the answer came; return how many."""
    return store.expire_commands(work, work.now - timedelta(seconds=CALL_DEADLINE_S), INTERRUPTED)


def forget_own(work: Work) -> int:
    """Forget some of what Voltyard asked by itself long ago; return how many, 0 when none are left.

    What people asked is kept: it tells who did what.
    """
    return store.delete_own(work, work.now - timedelta(days=OWN_COMMAND_DAYS), FORGET_STEP)

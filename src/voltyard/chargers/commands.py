"""Commands: what somebody asked of a charger, through which door, and what became of it.

prepared → sent → executed, rejected or expired; ``offline`` when nobody holds the charger's socket.
The row is committed before the charger is asked, and closed after it answered. Secrets are masked in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from voltyard.chargers import credentials, service, store
from voltyard.chargers.credentials import Answered
from voltyard.chargers.events import CommandChanged, subject
from voltyard.chargers.masks import masked
from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import (
    Invalid,
    NotFound,
    TimedOut,
    TooMany,
    Unavailable,
    Unserved,
    VoltyardError,
)
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import CALL_DEADLINE_S, COMMAND_TIMEOUT_MAX_S
from voltyard.kernel.log import logger
from voltyard.kernel.wire import encode
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions
from voltyard.speech import Answer, Ask, Asked, ByHand, Details, Priority, Told, Trigger

BUS_SLACK_S = 2.0
KIND_LENGTH = 64


class CommandStatus(StrEnum):
    """Where a command is in its life."""

    PREPARED = "prepared"
    SENT = "sent"
    EXECUTED = "executed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Command:
    """A command; ``word`` is the charger's own status word or our reason, ``answer`` its JSON."""

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


def _command(row: Any) -> Command:
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
    )


def _shown(work: Work, rows: Iterable[Any], location_id: str | None) -> list[Command]:
    """Return commands as the actor may see them: what was said is for those who see sensitive data."""
    shown = [_command(row) for row in rows]
    if Permission.VIEW_SENSITIVE in permissions(work, location_id):
        return shown
    return [replace(command, request="", answer=None) for command in shown]


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


def list_commands(work: Work, charger_id: str, *, after: str | None = None, limit: int = 25) -> list[Command]:
    """Return a page of a charger's commands, newest first. Raises: NotFound.

    Requests and answers are empty for those who may not see sensitive data.
    """
    charger = service.get(work, charger_id)
    rows = store.list_commands(work, charger_id, after=after, limit=limit)
    return _shown(work, rows, charger.location_id)


async def ask(
    ctx: Context,
    actor: Actor,
    charger_id: str,
    ask: Ask,
    *,
    priority: Priority = Priority.PORTAL,
    timeout_s: float = CALL_DEADLINE_S,
) -> Command:
    """Ask a charger for something and wait for its answer.

    The command says what became of it: a rejection, a silence and an absent charger are outcomes,
    not exceptions. A new password or security profile is kept in step on our side, by whatever door it is
    set. Raises: NotFound; Forbidden; Invalid for a request that cannot be sent.
    """
    if credentials.key_of(ask) is None:
        return await _ask(ctx, actor, charger_id, ask, priority=priority, timeout_s=timeout_s)
    key = ctx.settings.secret_key()
    await ctx.db.work(actor, _about_to_set, charger_id, ask, key)
    answered = Answered.NOTHING
    try:
        done = await _ask(ctx, actor, charger_id, ask, priority=priority, timeout_s=timeout_s)
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
    command_id = await ctx.db.work(actor, _prepare, charger_id, ask, timeout_s)
    request = Asked(ask, priority, f"{actor.kind}:{actor.subject_id}", timeout_s)
    sent_at = ctx.clock.now()
    try:
        told = await ctx.bus.request(
            f"charger.{charger_id}.ask", request, Told, timeout_s=timeout_s + BUS_SLACK_S
        )
    except Unserved:
        return await _finish(ctx, actor, command_id, CommandStatus.OFFLINE, "ChargerOffline")
    except TimedOut:
        return await _finish(ctx, actor, command_id, CommandStatus.EXPIRED, "NoAnswer", sent_at=sent_at)
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


async def greet(ctx: Context, actor: Actor, charger: service.Charger) -> None:
    """Have a charger that was just claimed introduce itself again, so that it need not wait longer.

    Done after the door has answered: what goes wrong is logged, and nobody is kept waiting for it.
    """
    if not charger.is_online:
        return
    log = logger("chargers")
    try:
        await ask(ctx, actor, charger.id, Trigger("BootNotification"), priority=Priority.BACKGROUND)
    except VoltyardError as wrong:
        log.info("a claimed charger was not greeted", charger=charger.id, code=wrong.code())
    except Exception:  # the charger boots again by itself
        log.exception("a claimed charger was not greeted", charger=charger.id)


def _prepare(work: Work, charger_id: str, ask: Ask, timeout_s: float) -> str:
    service.get(work, charger_id, Permission.CONTROL)
    command_id = new_id("cmd")
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
        deadline_at=work.now + timedelta(seconds=timeout_s + BUS_SLACK_S),
    )
    return command_id


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
        "word": word[:64],
        "answer": masked(answer) if answer is not None else None,
        "sent_at": sent_at,
        "finished_at": work.now,
    }
    if told is not None:
        values |= {"kind": told.action[:KIND_LENGTH], "request": masked(told.request)}
    store.set_command(work, command_id, **values)
    row = store.find_command(work, command_id)
    assert row is not None, "a command that was prepared is gone"
    place = store.find_places(work, [row.charger_id]).get(row.charger_id)
    work.emit(
        subject(place, row.charger_id),
        CommandChanged(command_id, row.charger_id, place, row.status),
    )
    return _command(row)


def expire_left_over(work: Work) -> int:
    """End commands whose asker died before the answer came; return how many."""
    return store.expire_commands(work, work.now - timedelta(seconds=CALL_DEADLINE_S))

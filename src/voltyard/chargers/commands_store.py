"""All SQL of commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, commands, parameters
from voltyard.kernel.bulk import among
from voltyard.kernel.db import Work
from voltyard.locations.service import visible

Row = sa.Row[Any]

_sent = (
    sa.update(commands)
    .where(commands.c.id == sa.bindparam("key"))
    .values(
        # The gateway tells in bites: a quick answer may have ended the command before.
        status=sa.case((commands.c.finished_at.is_(None), "sent"), else_=commands.c.status),
        sent_at=sa.bindparam("at", type_=commands.c.sent_at.type),
    )
)
_answered_late = (
    sa.update(commands)
    .where(
        commands.c.id == sa.bindparam("key"),
        commands.c.late_at.is_(None),
    )
    .values(
        {
            name: sa.bindparam(f"new_{name}", type_=commands.c[name].type)
            for name in (
                *("late_word", "is_late_accepted", "late_answer", "late_at"),
                *("awaits", "effect_until"),
            )
        }
    )
)


def insert_command(work: Work, **values: Any) -> None:
    """Add a command."""
    work.insert(commands, created_at=work.now, **values)


def find_command(work: Work, command_id: str) -> Row | None:
    """Return a command, and since when its charger is where it is; whoever asks."""
    return work.row(
        sa.select(commands, chargers.c.claimed_at)
        .join(chargers, chargers.c.id == commands.c.charger_id)
        .where(commands.c.id == command_id)
    )


def close_command(work: Work, command_id: str, *, sent_at: datetime | None, **values: Any) -> None:
    """End a command that has not come to its end; when it was sent is only noted if nobody knew better."""
    work.run(
        sa.update(commands)
        .where(commands.c.id == command_id, commands.c.finished_at.is_(None))
        .values(
            **values,
            sent_at=sa.func.coalesce(commands.c.sent_at, sa.literal(sent_at, commands.c.sent_at.type)),
        )
    )


def find_places(work: Work, command_ids: Iterable[str]) -> list[Row]:
    """Return these commands with the location of their charger."""
    return list(
        work.rows(
            sa.select(commands.c.id, commands.c.charger_id, commands.c.status, chargers.c.location_id)
            .join(chargers, chargers.c.id == commands.c.charger_id)
            .where(commands.c.id.in_(sorted(set(command_ids))))
        )
    )


def find_late(work: Work, command_ids: Iterable[str]) -> list[Row]:
    """Return those of these commands that ended without an answer, or are about to."""
    return list(
        work.rows(
            sa.select(
                commands.c.id,
                commands.c.charger_id,
                commands.c.status,
                commands.c.awaits,
                chargers.c.location_id,
            )
            .join(chargers, chargers.c.id == commands.c.charger_id)
            .where(
                commands.c.id.in_(sorted(set(command_ids))),
                commands.c.late_at.is_(None),
                # Also one that its asker has not closed yet: it is about to.
                commands.c.status.in_(("prepared", "sent", "expired")),
            )
        )
    )


def set_sent(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note when commands went out; each row has ``key`` and ``at``. Those that have ended stay so."""
    work.run_many(_sent, sorted(rows, key=lambda row: row["key"]))


def set_answered_late(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep answers that came after the end; each row has ``key``, and its columns behind ``new_``."""
    work.run_many(_answered_late, rows)


_waiting = (
    sa.select(commands.c.id, commands.c.charger_id, commands.c.awaits)
    .where(
        # The index of commands that wait for something is this condition.
        commands.c.awaits.is_not(None),
        among(commands.c.charger_id, "charger_ids"),
        commands.c.effect_until >= sa.bindparam("now"),
    )
    .order_by(commands.c.id)
)


def find_waiting(work: Work, charger_ids: Iterable[str]) -> list[Row]:
    """Return the commands of these chargers whose effect has not been heard yet, but still may be."""
    return work.find(_waiting, charger_ids=list(charger_ids), now=work.now)


def set_happened(work: Work, command_ids: Sequence[str]) -> None:
    """Note that what these commands waited for has happened."""
    work.run(
        sa.update(commands)
        .where(commands.c.id.in_(command_ids), commands.c.awaits.is_not(None))
        .values(awaits=None, effect_at=work.now)
    )


def count_ahead(work: Work, charger_id: str, command_id: str) -> int:
    """Count the commands of a charger that were given earlier and have not come to their end."""
    return int(
        work.value(
            sa.select(sa.func.count()).where(
                commands.c.charger_id == charger_id,
                commands.c.id < command_id,
                commands.c.finished_at.is_(None),
                commands.c.deadline_at >= work.now,
            )
        )
    )


def find_reported(work: Work, charger_id: str, key: str) -> str | None:
    """Return what a charger told of one of its parameters, by the key in lower case."""
    told: str | None = work.value(
        sa.select(parameters.c.reported).where(parameters.c.charger_id == charger_id, parameters.c.key == key)
    )
    return told


def expire_commands(work: Work, before: datetime, word: str) -> int:
    """End commands whose asker died before the answer came."""
    return work.run(
        sa.update(commands)
        .where(commands.c.finished_at.is_(None), commands.c.deadline_at < before)
        .values(status="expired", word=word, finished_at=work.now)
    )


def delete_own(work: Work, before: datetime, most: int) -> int:
    """Delete some of the commands that Voltyard itself gave before an instant."""
    old = (
        sa.select(commands.c.id)
        .where(
            # In the very words of the index: SQLite uses it for nothing else.
            sa.text("actor_kind = 'system'"),
            commands.c.created_at < before,
            commands.c.finished_at.is_not(None),
        )
        .order_by(commands.c.created_at)
        .limit(most)
    )
    return work.run(sa.delete(commands).where(commands.c.id.in_(old)))


def list_some(work: Work, command_ids: Iterable[str]) -> list[Row]:
    """Return those of these commands that were given to chargers where the actor may see them."""
    return list(
        work.rows(
            sa.select(commands)
            .join(chargers, chargers.c.id == commands.c.charger_id)
            .where(
                commands.c.id.in_(sorted(set(command_ids))),
                chargers.c.location_id.in_(visible(work, work.actor)),
                commands.c.created_at >= chargers.c.claimed_at,
            )
        )
    )


def list_commands(
    work: Work, charger_id: str, *, is_by_people: bool | None, after: str | None, limit: int
) -> list[Row]:
    """Return a page of a charger's commands, newest first; scoped by location as every list is."""
    query = (
        sa.select(commands)
        .join(chargers, chargers.c.id == commands.c.charger_id)
        .where(
            commands.c.charger_id == charger_id,
            chargers.c.location_id.in_(visible(work, work.actor)),
            # What was asked of it at another location, before it came here, is somebody else's.
            commands.c.created_at >= chargers.c.claimed_at,
        )
        .order_by(commands.c.id.desc())
        .limit(limit)
    )
    if is_by_people is not None:
        # Written out: the index of the commands of people is this condition.
        whose = "commands.actor_kind <> 'system'" if is_by_people else "commands.actor_kind = 'system'"
        query = query.where(sa.text(whose))
    if after:
        query = query.where(commands.c.id < after)
    return list(work.rows(query))

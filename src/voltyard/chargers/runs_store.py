"""All SQL of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, commands, run_items, runs
from voltyard.kernel.db import Work
from voltyard.locations.service import visible

Row = sa.Row[Any]


def insert_run(work: Work, items: Sequence[Mapping[str, Any]], **values: Any) -> None:
    """Add a run with its chargers."""
    work.insert(runs, created_at=work.now, **values)
    work.insert_many(run_items, items)


def find_run(work: Work, run_id: str) -> Row | None:
    """Return a run, whoever asks."""
    return work.row(sa.select(runs).where(runs.c.id == run_id))


def lock_run(work: Work, run_id: str) -> Row | None:
    """Return a run; until the end of the Work nobody else may change it."""
    return work.row(sa.select(runs).where(runs.c.id == run_id).with_for_update())


def set_run(work: Work, run_id: str, **values: Any) -> None:
    """Change a run."""
    work.run(sa.update(runs).where(runs.c.id == run_id).values(**values))


def count_open(work: Work, actor_id: str) -> int:
    """Count the runs of a person that go on."""
    return int(
        work.value(
            sa.select(sa.func.count()).where(runs.c.actor_id == actor_id, runs.c.finished_at.is_(None))
        )
    )


# house: lists-are-scoped - a person's own runs, wherever their chargers stand; chargers are scoped below
def list_runs(work: Work, actor_id: str, *, after: str | None, limit: int) -> list[Row]:
    """Return a page of a person's runs, newest first."""
    query = sa.select(runs).where(runs.c.actor_id == actor_id).order_by(runs.c.id.desc()).limit(limit)
    if after:
        query = query.where(runs.c.id < after)
    return list(work.rows(query))


def count_items(work: Work, run_ids: Iterable[str]) -> list[Row]:
    """Count the chargers of these runs by their status."""
    return list(
        work.rows(
            sa.select(run_items.c.run_id, run_items.c.status, sa.func.count().label("many"))
            .where(run_items.c.run_id.in_(sorted(set(run_ids))))
            .group_by(run_items.c.run_id, run_items.c.status)
        )
    )


def list_items(work: Work, run_id: str) -> list[Row]:
    """Return the chargers of a run in their order; names only of those that the actor may see."""
    seen = (
        sa.select(chargers.c.id, chargers.c.name, chargers.c.identity)
        .where(chargers.c.location_id.in_(visible(work, work.actor)))
        .subquery()
    )
    return list(
        work.rows(
            sa.select(run_items, seen.c.name, seen.c.identity)
            .outerjoin(seen, seen.c.id == run_items.c.charger_id)
            .where(run_items.c.run_id == run_id)
            .order_by(run_items.c.place)
        )
    )


def find_items(work: Work, run_id: str, status: str, most: int) -> list[Row]:
    """Return some of the chargers of a run with a status, those that were begun before first."""
    return list(
        work.rows(
            sa.select(run_items)
            .where(run_items.c.run_id == run_id, run_items.c.status == status)
            .order_by(run_items.c.command_id.is_(None), run_items.c.place)
            .limit(most)
        )
    )


def find_last(work: Work, run_id: str) -> Row | None:
    """Return the charger of a run that got its result last."""
    return work.row(
        sa.select(run_items)
        .where(run_items.c.run_id == run_id, run_items.c.status != "skipped_forbidden")
        .order_by(run_items.c.executed_at.desc())
        .limit(1)
    )


def find_ends(work: Work, command_ids: Iterable[str]) -> dict[str, Row]:
    """Return those of these commands that were ever given, by their ids."""
    rows = work.rows(sa.select(commands).where(commands.c.id.in_(sorted(set(command_ids)))))
    return {row.id: row for row in rows}


def set_begun(work: Work, run_id: str, place: int, command_id: str | None) -> None:
    """Note which command is about to ask a charger, none if it never was."""
    work.run(
        sa.update(run_items)
        .where(run_items.c.run_id == run_id, run_items.c.place == place)
        .values(command_id=command_id)
    )


def set_item(work: Work, run_id: str, place: int, *, status: str, message: str) -> bool:
    """Note what became of a charger that had no end yet; say whether it had none."""
    return (
        work.run(
            sa.update(run_items)
            .where(run_items.c.run_id == run_id, run_items.c.place == place, run_items.c.status == "pending")
            .values(status=status, message=message, executed_at=work.now)
        )
        == 1
    )


def delete_old(work: Work, before: datetime, most: int) -> int:
    """Delete some of the runs that began before an instant."""
    old = [row.id for row in work.rows(sa.select(runs.c.id).where(runs.c.created_at < before).limit(most))]
    if old:
        work.run(sa.delete(run_items).where(run_items.c.run_id.in_(old)))
        work.run(sa.delete(runs).where(runs.c.id.in_(old)))
    return len(old)

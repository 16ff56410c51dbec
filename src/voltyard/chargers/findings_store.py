"""All SQL of the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, findings
from voltyard.kernel.db import Work
from voltyard.locations.access import Permission
from voltyard.locations.service import visible

Row = sa.Row[Any]

KEY: Final = ("charger_id", "held_since_at", "vendor", "model", "firmware", "kind", "action")

_count = (
    sa.update(findings)
    .where(*(findings.c[name] == sa.bindparam(f"key_{name}", type_=findings.c[name].type) for name in KEY))
    .values(
        {
            "times": findings.c.times + sa.bindparam("more", type_=sa.Integer()),
            "last_at": sa.bindparam("at", type_=findings.c.last_at.type),
            "sample": sa.bindparam("newest", type_=findings.c.sample.type),
        }
    )
)
# What was found before a charger came to where it is concerns an earlier owner.
_own = sa.and_(
    findings.c.charger_id == chargers.c.id,
    findings.c.held_since_at == sa.func.coalesce(chargers.c.claimed_at, chargers.c.created_at),
)
_kept = (
    sa.select(sa.func.count())
    .select_from(findings)
    .where(findings.c.charger_id == chargers.c.id)
    .correlate(chargers)
    .scalar_subquery()
)


def find_makes(work: Work, charger_ids: Iterable[str]) -> dict[str, Row]:
    """Return of each of these chargers who made it, what runs on it, and since when it is where it is.

    ``kept`` is how many rows of findings there are of it.
    """
    query = sa.select(
        chargers.c.id,
        chargers.c.location_id,
        chargers.c.vendor,
        chargers.c.model,
        chargers.c.firmware,
        sa.func.coalesce(chargers.c.claimed_at, chargers.c.created_at).label("held_since_at"),
        _kept.label("kept"),
    ).where(chargers.c.id.in_(sorted(set(charger_ids))))
    return {row.id: row for row in work.rows(query)}


def add_findings(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Count findings, each row one kind of one charger; those that are new begin now."""
    ordered = sorted(rows, key=lambda row: tuple(str(row[name]) for name in KEY))
    new = [
        {name: row[name] for name in KEY}
        | {"times": 0, "sample": "", "first_at": row["at"], "last_at": row["at"]}
        for row in ordered
    ]
    work.insert_new(findings, new, key=KEY)
    work.run_many(
        _count,
        [
            {f"key_{name}": row[name] for name in KEY}
            | {"more": row["times"], "at": row["at"], "newest": row["sample"]}
            for row in ordered
        ],
    )


def list_of_charger(work: Work, charger_id: str) -> list[Row]:
    """Return the findings of a charger, the newest first; scoped by location as every list is."""
    query = (
        sa.select(findings)
        .join(chargers, _own)
        .where(
            findings.c.charger_id == charger_id,
            chargers.c.location_id.in_(visible(work, work.actor)),
        )
        .order_by(findings.c.last_at.desc(), findings.c.kind, findings.c.action, findings.c.firmware)
    )
    return list(work.rows(query))


def list_by_model(work: Work, limit: int) -> list[Row]:
    """Return the findings at the actor's locations, added up by model and firmware."""
    make = (findings.c.vendor, findings.c.model, findings.c.firmware)
    found_on = sa.func.count(findings.c.charger_id.distinct())
    query = (
        sa.select(
            *make,
            findings.c.kind,
            found_on.label("chargers"),
            sa.func.sum(findings.c.times).label("times"),
            sa.func.min(findings.c.first_at).label("first_at"),
            sa.func.max(findings.c.last_at).label("last_at"),
        )
        .join(chargers, _own)
        .where(chargers.c.location_id.in_(visible(work, work.actor, Permission.VIEW)))
        .group_by(*make, findings.c.kind)
        .order_by(*make, found_on.desc(), findings.c.kind)
        .limit(limit)
    )
    return list(work.rows(query))


def delete_old(work: Work, before: datetime, most: int) -> int:
    """Forget some of the findings that were not made again since an instant."""
    old = (
        sa.select(*(findings.c[name] for name in KEY))
        .where(findings.c.last_at < before)
        .order_by(findings.c.last_at)
        .limit(most)
    )
    return work.run(sa.delete(findings).where(sa.tuple_(*(findings.c[name] for name in KEY)).in_(old)))

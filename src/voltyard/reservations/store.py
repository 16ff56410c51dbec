"""All SQL of the reservations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, connectors
from voltyard.kernel.bulk import among
from voltyard.kernel.db import Work
from voltyard.locations.service import visible
from voltyard.reservations.tables import reservations

Row = sa.Row[Any]


def lock_charger(work: Work, charger_id: str) -> None:
    """Let nobody else reserve at this charger until the end of the Work."""
    work.row(sa.select(chargers.c.id).where(chargers.c.id == charger_id).with_for_update())


def insert_reservation(work: Work, **values: Any) -> None:
    """Add a reservation; the database numbers it."""
    work.insert(reservations, made_at=work.now, **values)


def find_reservation(work: Work, reservation_id: str) -> Row | None:
    """Return a reservation, whoever asks."""
    return work.row(sa.select(reservations).where(reservations.c.id == reservation_id))


_open = (
    sa.select(reservations)
    .where(among(reservations.c.charger_id, "charger_ids"), reservations.c.ended_at.is_(None))
    .order_by(reservations.c.number)
)


def find_open(work: Work, charger_ids: Iterable[str]) -> list[Row]:
    """Return the reservations of these chargers that have not been closed, oldest first."""
    return work.find(_open, charger_ids=list(charger_ids))


def connectors_of(work: Work, charger_ids: Iterable[str]) -> list[Row]:
    """Return the connectors of these chargers with their status, without number 0."""
    return list(
        work.rows(
            sa.select(connectors.c.charger_id, connectors.c.number, connectors.c.status)
            .where(connectors.c.charger_id.in_(sorted(set(charger_ids))), connectors.c.number > 0)
            .order_by(connectors.c.charger_id, connectors.c.number)
        )
    )


def set_open(work: Work, reservation_id: str, **values: Any) -> bool:
    """Change a reservation that has not been closed; say whether there was one."""
    query = sa.update(reservations).where(
        reservations.c.id == reservation_id, reservations.c.ended_at.is_(None)
    )
    return work.run(query.values(**values)) == 1


def close_many(work: Work, numbers: Sequence[int], *, state: str, word: str, ended_at: datetime) -> None:
    """Close reservations, all for one reason."""
    work.run(
        sa.update(reservations)
        .where(reservations.c.number.in_(numbers), reservations.c.ended_at.is_(None))
        .values(state=state, word=word, ended_at=ended_at)
    )


def list_reservations(
    work: Work, charger_id: str, *, is_open: bool | None, after: int | None, limit: int
) -> list[Row]:
    """Return a page of a charger's reservations at the location where it stands, newest first."""
    query = (
        sa.select(reservations)
        .join(chargers, chargers.c.id == reservations.c.charger_id)
        .where(
            reservations.c.charger_id == charger_id,
            reservations.c.location_id.in_(visible(work, work.actor)),
            # Those of an earlier owner are somebody else's, also when it was the same location.
            reservations.c.location_id == chargers.c.location_id,
            reservations.c.made_at >= chargers.c.claimed_at,
        )
        .order_by(reservations.c.number.desc())
        .limit(limit)
    )
    if is_open is not None:
        now_open = sa.and_(reservations.c.ended_at.is_(None), reservations.c.expires_at > work.now)
        query = query.where(now_open if is_open else ~now_open)
    if after is not None:
        query = query.where(reservations.c.number < after)
    return list(work.rows(query))


def find_after(work: Work, reservation_id: str) -> int | None:
    """Return the number of a reservation, by which pages go on."""
    found: int | None = work.value(
        sa.select(reservations.c.number).where(reservations.c.id == reservation_id)
    )
    return found

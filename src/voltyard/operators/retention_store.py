"""All SQL by which is found what of the log nobody waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from voltyard.chargers.tables import calls, chargers
from voltyard.kernel.db import Work
from voltyard.operators.deliveries_store import IS_OPEN
from voltyard.operators.tables import deliveries, links

LASTING: Final = ("StartTransaction", "StopTransaction")

# How far the slowest operator of each charger has come.
_slowest = (
    sa.select(links.c.charger_id, sa.func.min(links.c.cursor).label("cursor"))
    .join(chargers, chargers.c.id == links.c.charger_id)
    .where(links.c.is_over.is_(False), links.c.location_id == chargers.c.location_id)
    .group_by(links.c.charger_id)
    .subquery()
)
_kept_back = sa.select(deliveries.c.call_number).where(IS_OPEN, deliveries.c.call_number.is_not(None))
_log = calls.outerjoin(_slowest, _slowest.c.charger_id == calls.c.charger_id)
_is_owed: sa.ColumnElement[Any] = sa.or_(
    sa.and_(
        calls.c.is_outward.is_(False),
        _slowest.c.cursor.is_not(None),
        calls.c.number > _slowest.c.cursor,
        calls.c.action.not_in(("Heartbeat", "Authorize", "")),
    ),
    calls.c.number.in_(_kept_back),
)


def first_free(work: Work, most: int, *, before_at: datetime) -> list[int]:
    """Return the first calls of the log, of before an instant, that no operator waits for."""
    query = sa.select(calls.c.number).select_from(_log).where(sa.not_(_is_owed), calls.c.at < before_at)
    return [row.number for row in work.rows(query.order_by(calls.c.number).limit(most))]


def first_owed_readings(work: Work, most: int, *, before_at: datetime) -> list[int]:
    """Return the first calls of the log, of before an instant, that tell of no start or stop."""
    query = sa.select(calls.c.number).where(calls.c.action.not_in(LASTING), calls.c.at < before_at)
    return [row.number for row in work.rows(query.order_by(calls.c.number).limit(most))]


def count_before(work: Work, number: int | None) -> int:
    """Count the calls before a number in the log, all of them for None."""
    query = sa.select(sa.func.count()).select_from(calls)
    return int(work.value(query if number is None else query.where(calls.c.number < number)) or 0)

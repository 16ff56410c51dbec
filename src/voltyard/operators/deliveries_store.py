"""All SQL of what operators were sent and asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import calls
from voltyard.kernel.blocks import block_of, extent, look
from voltyard.kernel.db import Work
from voltyard.operators.tables import deliveries

Row = sa.Row[Any]

OPEN = ("retrying", "held", "parked")
# Written out, not bound: a database sees only then that its index of what is open will do.
IS_OPEN: sa.ColumnElement[bool] = sa.literal_column(
    "deliveries.status IN ('retrying', 'held', 'parked')", sa.Boolean
)
IS_HEAD: sa.ColumnElement[bool] = sa.and_(IS_OPEN, deliveries.c.status != "held")
IS_HELD: sa.ColumnElement[bool] = sa.and_(IS_OPEN, deliveries.c.status == "held")
HEADS_MAX = 1_000
HELD_MAX = 2_000
_shown = sa.select(deliveries, calls.c.payload.label("said"), calls.c.at.label("said_at")).outerjoin(
    calls, calls.c.number == deliveries.c.call_number
)


def insert_deliveries(work: Work, rows: Sequence[dict[str, Any]]) -> None:
    """Add deliveries; all rows with the same columns."""
    for number, row in zip(work.numbers(deliveries, len(rows)), rows, strict=True):
        row["number"] = number
        row["block"] = block_of(work, number)
    work.insert_many(deliveries, rows)


def set_delivery(work: Work, link_id: str, number: int, **values: Any) -> int:
    """Change a delivery of a link; return how many there were."""
    return work.run(
        sa.update(deliveries)
        .where(deliveries.c.number == number, deliveries.c.link_id == link_id)
        .values(**values)
    )


def find_delivery(work: Work, link_id: str, number: int) -> Row | None:
    """Return a delivery with what the charger said."""
    return work.row(_shown.where(deliveries.c.link_id == link_id, deliveries.c.number == number))


def deliveries_of(
    work: Work,
    link_id: str,
    *,
    statuses: Collection[str] = (),
    actions: Collection[str] = (),
    hidden: Collection[str] = (),
    is_inward: bool | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int,
) -> list[Row]:
    """Return deliveries of a link: the newest first before a number, or the next after one."""
    query = _shown.where(deliveries.c.link_id == link_id)
    if statuses:
        query = query.where(deliveries.c.status.in_(statuses))
    if actions:
        query = query.where(deliveries.c.action.in_(actions))
    if hidden:
        query = query.where(deliveries.c.action.not_in(hidden))
    if is_inward is not None:
        query = query.where(deliveries.c.is_inward.is_(is_inward))
    if before is not None:
        query = query.where(deliveries.c.number < before)
    if after is not None:
        query = query.where(deliveries.c.number > after)
    is_newest_first = after is None
    return look(
        work, deliveries, query, before=before, after=after, is_newest_first=is_newest_first, limit=limit
    )


def deliveries_of_call(work: Work, call_number: int) -> list[Row]:
    """Return what became of one saying at every operator."""
    return list(
        work.rows(_shown.where(deliveries.c.call_number == call_number).order_by(deliveries.c.number))
    )


def open_deliveries(work: Work, link_id: str) -> list[Row]:
    """Return what a link still owes its operator beyond its cursor, in the order in which it was said.

    Of what is held back there may be more than is returned; what holds it back never hides behind it.
    """
    query = _shown.where(deliveries.c.link_id == link_id).order_by(deliveries.c.call_number)
    heads = work.rows(query.where(IS_HEAD).limit(HEADS_MAX))
    held = work.rows(query.where(IS_HELD).limit(HELD_MAX))
    return sorted((*heads, *held), key=lambda row: (row.call_number, row.number))


def count_open(work: Work, link_ids: Collection[str]) -> dict[str, int]:
    """Count what links still owe beyond their cursors."""
    rows = work.rows(
        sa.select(deliveries.c.link_id, sa.func.count().label("many"))
        .where(deliveries.c.link_id.in_(link_ids), IS_OPEN)
        .group_by(deliveries.c.link_id)
    )
    return {row.link_id: row.many for row in rows}


def delete_old(work: Work, before: datetime, most: int) -> int:
    """Forget some of what was delivered before an instant.

    What is still owed stays as long as the charger's saying does: without it, it can never be told.
    """
    rows = work.rows(
        sa.select(deliveries.c.number, deliveries.c.at, deliveries.c.status, calls.c.number.label("said"))
        .outerjoin(calls, calls.c.number == deliveries.c.call_number)
        .where(sa.or_(sa.not_(IS_OPEN), calls.c.number.is_(None)))
        .order_by(deliveries.c.number)
        .limit(most)
    )
    numbers = [row.number for row in rows if row.at < before or (row.status in OPEN and row.said is None)]
    if numbers:
        work.run(sa.delete(deliveries).where(deliveries.c.number.in_(numbers)))
    return len(numbers)


def size(work: Work) -> int:
    """Return about how many bytes the deliveries take that are over, without reading them all."""
    length = sa.func.coalesce(sa.func.length(deliveries.c.payload), 0) + sa.func.length(deliveries.c.answer)
    found = extent(work, deliveries, sa.select(length.label("length")), among=sa.not_(IS_OPEN))
    return 0 if found is None else int((found.last - found.first + 1) * found.row_bytes)

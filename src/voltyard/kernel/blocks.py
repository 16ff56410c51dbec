"""Long logs of many subjects: an index by block of numbers, subject and number, and how it is read.

An index by subject alone has each row written to a page of its own; in this one the rows of a batch share a
few pages, however many subjects they are of. Whoever reads one subject looks into a few blocks at first, then
into more and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from voltyard.kernel.db import Work

BLOCKS: Final = MappingProxyType({True: 1 << 9, False: 1 << 16})
"""How many numbers share a block, on SQLite and on PostgreSQL, whose logs are longer.

Small, and one batch writes few pages of the index; large, and a rare subject is found in few looks.
"""
SAMPLE_ROWS: Final = 500
ROW_BYTES: Final = 250
"""What a row takes beside its texts: its other columns, and its places in the indexes."""
LOOK_BLOCKS: Final = 4
LOOK_BLOCKS_MAX: Final = 1_024
"""Blocks that are looked into at a time: few at first, for who wants the newest, then more and more."""


def block_of(work: Work, number: int) -> int:
    """Return the block that a number belongs to."""
    return number // BLOCKS[work.is_sqlite]


def look(
    work: Work,
    table: sa.Table,
    query: sa.Select[Any],
    *,
    before: int | None = None,
    after: int | None = None,
    is_newest_first: bool = True,
    limit: int,
) -> list[sa.Row[Any]]:
    """Return the first rows of a question about one subject of a table with ``number`` and ``block``.

    The question itself says what lies before or after a number; these only narrow where it is looked.
    """
    number, block = table.c.number, table.c.block
    ends = work.row(
        sa.select(
            sa.select(sa.func.min(block)).scalar_subquery().label("first"),
            sa.select(sa.func.max(block)).scalar_subquery().label("last"),
        )
    )
    if ends is None or ends.first is None:
        return []
    first = ends.first if after is None else max(ends.first, block_of(work, after))
    last = ends.last if before is None else min(ends.last, block_of(work, before))
    query = query.order_by(number.desc() if is_newest_first else number)
    found: list[sa.Row[Any]] = []
    count = LOOK_BLOCKS
    while first <= last and len(found) < limit:
        if is_newest_first:
            low, high = max(first, last - count + 1), last
            last = low - 1
        else:
            low, high = first, min(last, first + count - 1)
            first = high + 1
        found += work.rows(query.where(block.in_(range(low, high + 1))).limit(limit - len(found)))
        count = min(count * 4, LOOK_BLOCKS_MAX)
    return found


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a log begins and ends, and what one of its latest rows takes on the average."""

    first: int
    last: int
    row_bytes: float


def extent(
    work: Work, table: sa.Table, newest: sa.Select[Any], *, among: sa.ColumnElement[bool] | None = None
) -> Extent | None:
    """Return how far a log with ``number`` extends, without reading it all; None for an empty one.

    ``newest`` selects the length of the texts of its latest rows; the beginning is looked for ``among`` some.
    """
    number = table.c.number
    first = sa.select(sa.func.min(number))
    if among is not None:
        first = first.where(among)
    # Each by itself: asked for both at once, SQLite reads the whole table.
    ends = work.row(
        sa.select(
            first.scalar_subquery().label("first"),
            sa.select(sa.func.max(number)).scalar_subquery().label("last"),
        )
    )
    if ends is None or ends.first is None:
        return None
    latest = newest.order_by(number.desc()).limit(SAMPLE_ROWS).subquery()
    mean = work.value(sa.select(sa.func.avg(latest.c[0]))) or 0
    return Extent(ends.first, ends.last, float(mean) + ROW_BYTES)

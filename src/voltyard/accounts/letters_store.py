"""All SQL of the inbox."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from voltyard.accounts.tables import letters as table
from voltyard.kernel.db import Work

Row = sa.Row[Any]


def insert_letter(work: Work, **values: Any) -> None:
    """Keep a letter."""
    work.insert(table, at=work.now, **values)


def letters(work: Work, limit: int) -> list[Row]:
    """Return the latest letters."""
    return list(work.rows(sa.select(table).order_by(table.c.id.desc()).limit(limit)))


def find_letter(work: Work, letter_id: str) -> Row | None:
    """Return a letter."""
    return work.row(sa.select(table).where(table.c.id == letter_id))


def delete_beyond(work: Work, most: int) -> None:
    """Forget the oldest letters where there are too many."""
    kept = sa.select(table.c.id).order_by(table.c.id.desc()).limit(most)
    work.run(sa.delete(table).where(table.c.id.not_in(kept)))

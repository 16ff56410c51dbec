"""All SQL of the log of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import answers, calls, chargers
from voltyard.kernel.blocks import block_of, extent, look
from voltyard.kernel.bulk import among
from voltyard.kernel.db import Work
from voltyard.locations.service import visible

Row = sa.Row[Any]


def insert_calls(work: Work, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Add to the log of calls; return the numbers of the rows in their order, which they are given."""
    numbers = work.numbers(calls, len(rows))
    for number, row in zip(numbers, rows, strict=True):
        row["number"] = number
        row["block"] = block_of(work, number)
    work.insert_many(calls, rows)
    return numbers


def upsert_answers(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note how calls ended; a late answer replaces the silence before it."""
    work.upsert(answers, rows, key=("number",))


def list_calls(
    work: Work,
    charger_id: str,
    *,
    actions: Sequence[str] = (),
    hidden: Sequence[str] = (),
    status: str | None = None,
    is_outward: bool | None = None,
    q: str = "",
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    command_id: str = "",
    pending_since_at: datetime,
    numbers: Sequence[int] | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int,
) -> list[Row]:
    """Return calls of a charger with their answers: the newest before a number, or the next after one.

    Only what was said since the charger came to where it is. A call without an answer counts as failed
    once it is older than ``pending_since_at``.
    """
    query = (
        sa.select(
            calls,
            answers.c.status,
            answers.c.answer,
            answers.c.latency_ms,
        )
        .select_from(_ANSWERED)
        .where(*_of_charger(charger_id, visible(work, work.actor)))
    )
    if numbers is not None:
        query = query.where(calls.c.number.in_(numbers))
    if command_id:
        query = query.where(calls.c.command_id == command_id)
    if actions:
        query = query.where(calls.c.action.in_(actions))
    if hidden:
        query = query.where(calls.c.action.not_in(hidden))
    if is_outward is not None:
        query = query.where(calls.c.is_outward.is_(is_outward))
    if from_at is not None:
        query = query.where(calls.c.at >= from_at)
    if until_at is not None:
        query = query.where(calls.c.at < until_at)
    if q:
        text = q.lower()
        query = query.where(
            sa.or_(
                sa.func.lower(calls.c.payload).contains(text, autoescape=True),
                sa.func.lower(answers.c.answer).contains(text, autoescape=True),
                sa.func.lower(calls.c.message_id).contains(text, autoescape=True),
            )
        )
    if status == "done":
        query = query.where(answers.c.status == "done")
    elif status == "pending":
        query = query.where(answers.c.status.is_(None), calls.c.at >= pending_since_at)
    elif status == "failed":
        query = query.where(
            sa.or_(
                answers.c.status == "failed",
                sa.and_(answers.c.status.is_(None), calls.c.at < pending_since_at),
            )
        )
    if after is not None:
        query = query.where(calls.c.number > after)
    if before is not None:
        query = query.where(calls.c.number < before)
    if numbers is not None or command_id:  # they have quicker ways of their own
        number = calls.c.number
        return list(work.rows(query.order_by(number.desc() if after is None else number).limit(limit)))
    return look(work, calls, query, before=before, after=after, is_newest_first=after is None, limit=limit)


_SAID = (
    calls.c.number,
    calls.c.charger_id,
    calls.c.action,
    calls.c.payload,
    calls.c.at,
    calls.c.transaction_number,
)
_said = (
    calls.c.is_outward.is_(sa.false()),
    calls.c.origin == "",
    calls.c.action != "Heartbeat",
)
_near = (
    sa.select(*_SAID)
    .where(calls.c.number > sa.bindparam("after_number"), among(calls.c.charger_id, "charger_ids"), *_said)
    .order_by(calls.c.number)
    .limit(sa.bindparam("most"))
)
NEAR = 2_000
"""Whoever is no further behind the end of the log finds what it lacks by reading that end."""


def last_number(work: Work) -> int:
    """Return the highest number of the log, 0 while it is empty."""
    return int(work.value(sa.select(sa.func.max(calls.c.number))) or 0)


def last_number_of(work: Work, charger_id: str) -> int:
    """Return the highest number of a charger in the log, 0 before any."""
    query = sa.select(calls.c.number).where(calls.c.charger_id == charger_id)
    return max((int(row.number) for row in look(work, calls, query, limit=1)), default=0)


def said_after(work: Work, after: Mapping[str, int], *, limit: int) -> tuple[list[Row], bool]:
    """Return the sayings of chargers after a number of each, oldest first; and whether there may be more.

    Most follow the log closely: they are served together by one look at its end. That look begins where the
    last of them stands, so it may be full of what the others have, while what they lack lies behind it.
    """
    if not after:
        return [], False
    end = last_number(work)
    close = {charger_id: number for charger_id, number in after.items() if number >= end - NEAR}
    found: list[Row] = []
    is_full = False
    if close:
        rows = work.find(_near, after_number=min(close.values()), charger_ids=list(close), most=limit)
        found = [row for row in rows if row.number > close[row.charger_id]]
        is_full = len(rows) >= limit
        if is_full and not found:  # others took all the room
            passed = {charger_id: max(number, rows[-1].number) for charger_id, number in close.items()}
            return said_after(work, {**after, **passed}, limit=limit)
    for charger_id, number in after.items():
        if charger_id not in close and len(found) < limit:
            query = sa.select(*_SAID).where(calls.c.charger_id == charger_id, calls.c.number > number, *_said)
            found += look(work, calls, query, after=number, is_newest_first=False, limit=limit - len(found))
    return found, is_full or len(found) >= limit


def find_transaction_of(work: Work, charger_id: str, number: int) -> int | None:
    """Return the transaction that a call of a charger is about."""
    found: int | None = work.value(
        sa.select(calls.c.transaction_number).where(
            calls.c.number == number, calls.c.charger_id == charger_id
        )
    )
    return found


def said_last(work: Work, charger_id: str, action: str, *, until: int, limit: int) -> list[Row]:
    """Return the last sayings of one action up to a number, newest first; not from far back."""
    query = sa.select(*_SAID).where(
        calls.c.charger_id == charger_id,
        calls.c.action == action,
        calls.c.number <= until,
        calls.c.number > until - NEAR * 10,
        *_said,
    )
    return look(
        work, calls, query, before=until + 1, after=until - NEAR * 10, is_newest_first=True, limit=limit
    )


def times_after(work: Work, charger_id: str, number: int, *, limit: int) -> list[datetime]:
    """Return when the first sayings of a charger after a number were heard."""
    query = sa.select(calls.c.at).where(calls.c.charger_id == charger_id, calls.c.number > number, *_said)
    return [row.at for row in look(work, calls, query, after=number, is_newest_first=False, limit=limit)]


def find_started(work: Work, charger_id: str, transaction_numbers: Sequence[int]) -> dict[int, int]:
    """Return the first call of each of these transactions of a charger."""
    query = sa.select(calls.c.number, calls.c.transaction_number).where(
        calls.c.charger_id == charger_id,
        calls.c.action == "StartTransaction",
        calls.c.transaction_number.in_(transaction_numbers),
    )
    rows = (
        look(work, calls, query, is_newest_first=True, limit=10 * len(transaction_numbers))
        if transaction_numbers
        else []
    )
    return {row.transaction_number: row.number for row in rows}


def list_actions(work: Work, charger_id: str, among: int) -> list[str]:
    """Return the actions that occur among a charger's latest calls."""
    latest = (
        sa.select(calls.c.action)
        .select_from(calls.join(chargers, chargers.c.id == calls.c.charger_id))
        .where(*_of_charger(charger_id, visible(work, work.actor)))
    )
    return sorted({row.action for row in look(work, calls, latest, limit=among)} - {""})


def list_marks(work: Work, charger_id: str, *, after: int | None, limit: int) -> list[Row]:
    """Return number, time, and state of the answer of a charger's calls above a number, the newest first."""
    query = (
        sa.select(calls.c.number, calls.c.at, answers.c.status, answers.c.latency_ms)
        .select_from(_ANSWERED)
        .where(*_of_charger(charger_id, visible(work, work.actor)))
    )
    if after is not None:
        query = query.where(calls.c.number > after)
    return look(work, calls, query, after=after, limit=limit)


_ANSWERED = calls.join(chargers, chargers.c.id == calls.c.charger_id).outerjoin(
    answers, answers.c.number == calls.c.number
)


def _of_charger(charger_id: str, seen: sa.Select[Any]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what keeps a query to what was said since the charger came to where it is."""
    return (
        calls.c.charger_id == charger_id,
        chargers.c.location_id.in_(seen),
        calls.c.at >= chargers.c.claimed_at,
    )


def delete_old_calls(work: Work, before: datetime, most: int) -> int:
    """Delete some of the calls before an instant, in a bite that holds nobody up.

    Numbers rise with time, so the oldest are the first: an index of instants would cost every message.
    """
    first = sa.select(calls.c.number, calls.c.at).order_by(calls.c.number).limit(most).subquery()
    return _delete(work, sa.select(first.c.number).where(first.c.at < before))


def _delete(work: Work, chosen: sa.Select[Any]) -> int:
    numbers = [row.number for row in work.rows(chosen)]
    delete_calls(work, numbers)
    return len(numbers)


def delete_calls(work: Work, numbers: Sequence[int]) -> None:
    """Delete these calls with their answers."""
    if not numbers:
        return
    # Numbers that were logged together lie together; a range is quick on both databases.
    for table in (answers, calls):
        work.run(sa.delete(table).where(table.c.number.in_(numbers)))


def size(work: Work, *, first: int | None, beside: int) -> int:
    """Return about how many bytes the texts of the log take, without reading it all.

    ``first`` is where it begins without gaps, None for its first row; ``beside`` are rows before that.
    """
    length = sa.func.length(calls.c.payload) + sa.func.coalesce(sa.func.length(answers.c.answer), 0)
    joined = calls.outerjoin(answers, answers.c.number == calls.c.number)
    found = extent(work, calls, sa.select(length.label("length")).select_from(joined))
    if found is None:
        return 0
    begin = found.first if first is None and not beside else (first or found.last + 1)
    return int((found.last - begin + 1 + beside) * found.row_bytes)

"""All SQL by which one message is followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import answers, calls
from voltyard.kernel.db import Work
from voltyard.operators.tables import deliveries, links
from voltyard.transactions.tables import transactions

Row = sa.Row[Any]

_calls = sa.select(calls, answers.c.status, answers.c.answer, answers.c.latency_ms).outerjoin(
    answers, answers.c.number == calls.c.number
)
_deliveries = (
    sa.select(deliveries, links.c.name, calls.c.payload.label("said"))
    .outerjoin(links, links.c.id == deliveries.c.link_id)
    .outerjoin(calls, calls.c.number == deliveries.c.call_number)
)


def _of_transaction(what: str) -> sa.ScalarSelect[Any]:
    return sa.select(transactions.c.number).where(transactions.c.id == what).scalar_subquery()


def find_calls(work: Work, what: str, *, limit: int) -> list[Row]:
    """Return the calls of the log that a number or an id is about."""
    if what.isdecimal():
        wanted = calls.c.number == int(what)
    elif what.startswith("cmd_"):
        wanted = calls.c.command_id == what
    elif what.startswith("txn_"):
        wanted = calls.c.transaction_number == _of_transaction(what)
    elif what.startswith("link_"):
        return []
    else:
        wanted = calls.c.message_id == what
    return list(work.rows(_calls.where(wanted).order_by(calls.c.number).limit(limit)))


def find_deliveries(work: Work, what: str, call_numbers: Sequence[int], *, limit: int) -> list[Row]:
    """Return what operators were told of these calls, or what they asked under this id."""
    wanted = [deliveries.c.message_id == what, deliveries.c.link_id == what]
    if call_numbers:
        wanted.append(deliveries.c.call_number.in_(call_numbers))
    query = _deliveries.where(sa.or_(*wanted)).order_by(deliveries.c.number.desc()).limit(limit)
    return list(work.rows(query))

"""One message on its whole way: what the charger said, what it was answered, and what each operator got of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.operators import trace_store as store
from voltyard.operators.told import told

STEPS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way: when, between whom, what, and what came of it."""

    at: datetime
    leg: str
    """``charger`` or the name of an operator."""
    is_outward: bool
    """From us to the other end of that leg."""
    action: str
    message_id: str
    number: int | None
    """Its place in the log of calls."""
    transaction_number: int | None
    payload: str
    note: str
    status: str
    answer: str
    latency_ms: float | None


def walk(work: Work, what: str) -> list[Step]:
    """Return the way of a message, in order of time; for whoever runs the installation.

    ``what`` is a number of the log, the id of a command, a transaction or a link, or a message id.
    Raises: NotFound.
    """
    assert work.actor.is_system
    calls = store.find_calls(work, what, limit=STEPS_MAX)
    told = store.find_deliveries(work, what, [row.number for row in calls], limit=STEPS_MAX)
    steps = [_of_call(row) for row in calls] + [_of_delivery(row) for row in told]
    if not steps:
        raise NotFound("nothing in the log bears this number or id", id=what)
    return sorted(steps, key=lambda step: step.at)


def _of_call(row: Any) -> Step:
    return Step(
        row.at,
        "charger",
        bool(row.is_outward),
        row.action,
        row.message_id,
        row.number,
        row.transaction_number,
        row.payload,
        row.origin,
        row.status or "pending",
        row.answer or "",
        row.latency_ms,
    )


def _of_delivery(row: Any) -> Step:
    return Step(
        row.at,
        row.name or row.link_id,
        not row.is_inward,
        row.action,
        row.message_id,
        row.call_number,
        row.transaction_number,
        "(as the charger said it)" if row.payload is None else told(row.payload, row.said) or "(forgotten)",
        row.note,
        row.status,
        row.answer,
        row.latency_ms,
    )

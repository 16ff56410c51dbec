"""What an operator was sent and what it asked, as people see it; and what they can do about what it
refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from voltyard.chargers import calls
from voltyard.chargers import service as chargers
from voltyard.chargers.masks import masked
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, NotFound
from voltyard.kernel.ids import check
from voltyard.locations.access import Permission
from voltyard.operators import deliveries_store, store
from voltyard.operators.service import get, require, tell
from voltyard.operators.told import told

INSIGNIFICANT: Final = ("Heartbeat", "MeterValues")


class DeliveryStatus(StrEnum):
    """What became of one message between an operator and us."""

    DONE = "done"
    FAILED = "failed"
    """Answered with an error, or not at all; it is not told again."""
    RETRYING = "retrying"
    PARKED = "parked"
    """Refused so often that somebody has to look at it."""
    HELD = "held"
    """It waits for an earlier message of its transaction."""
    WITHHELD = "withheld"
    """It is not told, since the operator could not understand it."""
    SKIPPED = "skipped"
    REFUSED = "refused"
    """The operator asked for what it may not have."""


class NotParked(Conflict):
    """Only what an operator refused can be told again or skipped."""

    title = "This message does not wait for a decision"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message between an operator and us.

    ``payload`` is what went over the operator's socket, ``said`` what the charger had said, where the two
    differ; ``said_at`` is when the charger said it. ``note`` says in words with commas what was changed and
    why.
    """

    number: int
    link_id: str
    call_number: int | None
    transaction_number: int | None
    is_inward: bool
    message_id: str
    action: str
    payload: str
    said: str | None
    note: tuple[str, ...]
    at: datetime
    said_at: datetime | None
    status: DeliveryStatus
    answer: str
    latency_ms: float | None
    tries: int
    next_at: datetime | None


def _delivery(row: Any) -> Delivery:
    return Delivery(
        number=row.number,
        link_id=row.link_id,
        call_number=row.call_number,
        transaction_number=row.transaction_number,
        is_inward=row.is_inward,
        message_id=row.message_id,
        action=row.action,
        payload=masked(told(row.payload, row.said) or ""),
        said=row.said if row.payload is not None else None,
        note=tuple(word for word in row.note.split(",") if word),
        at=row.at,
        said_at=row.said_at,
        status=DeliveryStatus(row.status),
        answer=masked(row.answer),
        latency_ms=row.latency_ms,
        tries=row.tries,
        next_at=row.next_at,
    )


def list_deliveries(
    work: Work,
    link_id: str,
    *,
    statuses: Collection[DeliveryStatus] = (),
    actions: Collection[str] = (),
    is_significant: bool = False,
    is_inward: bool | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int = 25,
) -> list[Delivery]:
    """Return messages of a link: the newest before a number, or the next after one.

    Raises: NotFound; Forbidden.
    """
    get(work, link_id)
    rows = deliveries_store.deliveries_of(
        work,
        link_id,
        statuses=[status.value for status in statuses],
        actions=actions,
        hidden=INSIGNIFICANT if is_significant and not actions else (),
        is_inward=is_inward,
        before=before,
        after=after,
        limit=limit,
    )
    return [_delivery(row) for row in rows]


def of_call(work: Work, charger_id: str, call_number: int) -> list[Delivery]:
    """Return what became of one saying of a charger at every operator. Raises: NotFound; Forbidden."""
    calls.get(work, charger_id, call_number)
    return [
        _delivery(row)
        for row in deliveries_store.deliveries_of_call(work, call_number)
        if row.charger_id == charger_id
    ]


def retry(work: Work, link_id: str, number: int) -> Delivery:
    """Have a message that an operator refused told again now. Raises: NotFound; Forbidden; NotParked."""
    row = _waiting(work, link_id, number)
    deliveries_store.set_delivery(
        work, link_id, number, status=DeliveryStatus.RETRYING.value, next_at=work.now, tries=0
    )
    tell(work, link_id, row.charger_id, chargers.places(work, [row.charger_id])[0].location_id)
    return _find(work, link_id, number)


def skip(work: Work, link_id: str, number: int) -> Delivery:
    """Give up a message that an operator refuses; what follows in its transaction is told.

    Without its start, an operator hears of readings only. Raises: NotFound; Forbidden; NotParked.
    """
    row = _waiting(work, link_id, number)
    deliveries_store.set_delivery(work, link_id, number, status=DeliveryStatus.SKIPPED.value, next_at=None)
    if row.action == "StartTransaction" and row.transaction_number is not None:
        known = store.find_numbers(work, [link_id], [row.transaction_number])
        if not known or known[0].theirs is None:
            store.upsert_numbers(
                work, [{"link_id": link_id, "number": row.transaction_number, "state": "unknown"}]
            )
    tell(work, link_id, row.charger_id, chargers.places(work, [row.charger_id])[0].location_id)
    return _find(work, link_id, number)


def _waiting(work: Work, link_id: str, number: int) -> Any:
    require(work, check("link", link_id), Permission.EDIT_CHARGERS)
    row = deliveries_store.find_delivery(work, link_id, number)
    if row is None:
        raise NotFound("there is no such message, or it was forgotten with the log", number=number)
    if row.status not in {DeliveryStatus.PARKED, DeliveryStatus.RETRYING}:
        raise NotParked(number=number)
    return row


def _find(work: Work, link_id: str, number: int) -> Delivery:
    return _delivery(deliveries_store.find_delivery(work, link_id, number))

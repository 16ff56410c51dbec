"""What the operators' room stores and what a stand-in speaks of, each as the other one takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from voltyard.chargers.calls import Said
from voltyard.operators import serving
from voltyard.operators.serving import Known, Record, Serving
from voltyard.operators.told import edit
from voltyard.proxy.sayings import Saying
from voltyard.proxy.standin import Learned, Owed, Report, Tie
from voltyard.speech import Role


def saying(said: Said) -> Saying:
    """Return a row of the log as a stand-in tells it."""
    return Saying(said.number, said.action, said.payload.encode(), said.at, said.transaction_number)


def ties(known: Mapping[int, Known]) -> dict[int, Tie]:
    """Return what an operator knows of transactions, by our numbers."""
    return {number: Tie(each.theirs, each.state) for number, each in known.items()}


def owed(rows: Sequence[serving.Owed], at: datetime) -> list[Owed]:
    """Return what is owed, each with how long it still waits from this instant."""
    return [
        Owed(
            each.number,
            saying(each.said),
            each.status == "parked",
            each.tries,
            (each.next_at - at).total_seconds() if each.next_at is not None else 0.0,
        )
        for each in rows
    ]


def record(link: Serving, report: Report, at: datetime, *, is_awaited: bool) -> Record:
    """Return what became of a saying as it is stored.

    ``is_awaited`` says that somebody can still tell the charger what a Billing operator decides; without
    that a refusal is a late one.
    """
    told, learned = report.saying, report.learned
    assert told is not None
    return Record(
        link.id,
        link.charger_id,
        cursor=report.cursor,
        delivery=report.delivery,
        call_number=told.number,
        transaction_number=told.transaction_number,
        message_id=report.message_id,
        action=report.action,
        payload=_payload(report),
        note=report.note,
        status=report.status,
        answer=report.answer.decode("utf-8", "replace"),
        latency_ms=None if report.latency_s is None else report.latency_s * 1000,
        tries=report.tries,
        next_at=None if report.retry_in_s is None else at + timedelta(seconds=report.retry_in_s),
        learned=None if learned is None else _learned(link, learned, at, is_awaited=is_awaited),
    )


def _payload(report: Report) -> str | None:
    if report.edit is not None:
        return edit(*report.edit)
    return None if report.payload is None else report.payload.decode("utf-8", "replace")


def _learned(link: Serving, learned: Learned, at: datetime, *, is_awaited: bool) -> serving.Learned:
    is_refused = bool(learned.verdict) and learned.verdict != "Accepted"
    return serving.Learned(
        learned.number,
        learned.state,
        learned.theirs,
        learned.verdict,
        learned.id_tag,
        learned.started_at,
        at if learned.is_stop else None,
        is_late_refusal=is_refused and not is_awaited and link.role is Role.BILLING,
    )

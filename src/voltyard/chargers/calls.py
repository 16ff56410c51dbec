"""The log of a charger's calls: raw payloads in the order in which they were committed.

It is the flight recorder, and what operators are fed from. A charger's saying is in it before it is
answered; answers, our own calls and frames that nobody understood follow within a second (``trace``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voltyard.chargers import calls_store as store
from voltyard.chargers import commands, findings, service
from voltyard.chargers.masks import masked
from voltyard.kernel.db import Work
from voltyard.kernel.limits import CALL_DEADLINE_S, COMMAND_TIMEOUT_MAX_S
from voltyard.locations.access import Permission
from voltyard.speech import AnswerTraced, CallStatus, CallTraced, Heard, Traced

PRUNE_STEP = 5_000
MESSAGE_ID_LENGTH = 64
ACTION_LENGTH = 64
ORIGIN_LENGTH = 64
INSIGNIFICANT: Final = ("Heartbeat", "MeterValues", "SetChargingProfile")
"""What *hide insignificant* hides: what chargers and power management say all day."""
# Slack for what is on its way: a call that is older than this and has no answer will have none.
PENDING_MAX = timedelta(seconds=max(CALL_DEADLINE_S, COMMAND_TIMEOUT_MAX_S) + 10)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the log; ``answer`` is None while there is none, ``payload`` the raw JSON.

    A frame that is no call has no action; what was odd about it stands as its answer.
    """

    number: int
    charger_id: str
    session_id: str
    message_id: str
    is_outward: bool
    origin: str
    command_id: str | None
    action: str
    payload: str
    at: datetime
    status: CallStatus
    answer: str | None
    answered_at: datetime | None
    latency_ms: float | None


def log(work: Work, heard: Sequence[Heard]) -> list[int]:
    """Keep the raw payload of these sayings; return their numbers in the log."""
    return store.insert_calls(
        work,
        [
            {
                "charger_id": item.charger_id,
                "session_id": item.session_id,
                "message_id": item.message_id[:MESSAGE_ID_LENGTH],
                "action": item.action[:ACTION_LENGTH],
                "payload": item.raw,
                "at": work.now,
                "is_outward": False,
                "origin": "",
                "command_id": None,
            }
            for item in heard
        ],
    )


def trace(work: Work, traced: Traced) -> list[int]:
    """Keep what a gateway saw; return the numbers of its calls in the log.

    Secrets are masked: what is asked of chargers holds passwords.
    """
    numbers = store.insert_calls(work, [_traced(call) for call in traced.calls])
    ended = [_ended(number, call) for number, call in zip(numbers, traced.calls, strict=True)]
    store.upsert_answers(
        work, [row for row in ended if row is not None] + [_answered(answer) for answer in traced.answers]
    )
    if sent := [(call.command_id, call.at) for call in traced.calls if call.command_id]:
        commands.sent(work, sent)
    if late := [
        (each.command_id, each.status, each.is_accepted, masked(each.answer)) for each in traced.late
    ]:
        commands.answered_late(work, late)
    if traced.flaws:
        findings.told(work, traced.flaws)
    return numbers


def _traced(call: CallTraced) -> dict[str, Any]:
    return {
        "charger_id": call.charger_id,
        "session_id": call.session_id,
        "message_id": call.message_id[:MESSAGE_ID_LENGTH],
        "action": call.action[:ACTION_LENGTH],
        "payload": masked(call.payload) if call.is_outward else call.payload,
        "at": call.at,
        "is_outward": call.is_outward,
        "origin": call.origin[:ORIGIN_LENGTH],
        "command_id": call.command_id or None,
    }


def _ended(number: int, call: CallTraced) -> dict[str, Any] | None:
    if call.status is CallStatus.PENDING:
        return None
    answer = call.answer or ""
    return {
        "number": number,
        "status": call.status.value,
        "answer": masked(answer),
        "latency_ms": call.latency_ms or 0.0,
        "at": call.at + timedelta(milliseconds=call.latency_ms or 0.0),
    }


def _answered(answer: AnswerTraced) -> dict[str, Any]:
    return {
        "number": answer.number,
        "status": answer.status.value,
        "answer": masked(answer.answer),
        "latency_ms": answer.latency_ms,
        "at": answer.at,
    }


def _call(row: Any, pending_since_at: datetime) -> Call:
    if row.status is not None:
        status = CallStatus(row.status)
    else:
        status = CallStatus.PENDING if row.at >= pending_since_at else CallStatus.FAILED
    return Call(
        row.number,
        row.charger_id,
        row.session_id,
        row.message_id,
        row.is_outward,
        row.origin,
        row.command_id,
        row.action,
        row.payload,
        row.at,
        status,
        row.answer or None,
        row.answered_at,
        row.latency_ms,
    )


def list_calls(
    work: Work,
    charger_id: str,
    *,
    actions: Sequence[str] = (),
    status: CallStatus | None = None,
    is_outward: bool | None = None,
    is_significant: bool = False,
    q: str = "",
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int = 25,
) -> list[Call]:
    """Return calls of a charger: the newest first, before a number; or oldest first, the next after one.

    ``is_significant`` leaves out what is said all day; ``q`` is looked for in payloads, answers and
    message ids. Raises: NotFound; Forbidden for those who may not see sensitive data.
    """
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    pending_since_at = work.now - PENDING_MAX
    rows = store.list_calls(
        work,
        charger_id,
        actions=actions,
        hidden=INSIGNIFICANT if is_significant else (),
        status=status.value if status is not None else None,
        is_outward=is_outward,
        q=q.strip(),
        from_at=from_at,
        until_at=until_at,
        pending_since_at=pending_since_at,
        before=before,
        after=after,
        limit=limit,
    )
    return [_call(row, pending_since_at) for row in rows]


def prune(work: Work, *, days: int, bytes_max: int) -> int:
    """Forget some of the calls that are too old or too many; return how many, 0 when none are left."""
    old = store.delete_old_calls(work, work.now - timedelta(days=days), PRUNE_STEP)
    if old:
        return old
    if store.size(work) <= bytes_max:
        return 0
    return store.delete_first_calls(work, PRUNE_STEP)

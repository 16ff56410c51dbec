"""The log of a charger's calls: raw payloads in the order in which they were committed.

It is the flight recorder, and what operators are fed from. A charger's saying is in it before it is
answered; answers, our own calls and frames that nobody understood follow within a second (``trace``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from voltyard.chargers import calls_store as store
from voltyard.chargers import commands, findings, service
from voltyard.chargers.masks import masked
from voltyard.kernel.db import Work
from voltyard.kernel.errors import NotFound
from voltyard.kernel.limits import CALL_DEADLINE_S, COMMAND_TIMEOUT_MAX_S
from voltyard.locations.access import Permission
from voltyard.speech import AnswerTraced, CallStatus, CallTraced, Heard, Traced

PRUNE_STEP = 5_000
MESSAGE_ID_LENGTH = 64
ACTION_LENGTH = 64
ORIGIN_LENGTH = 64
ACTIONS_OF_LATEST = 5_000
"""Among so many of the latest calls one looks for the actions to choose from."""
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
    latency_ms: float | None


UNHEARD: Final = "unheard"
"""The origin of a charger's call that was refused before anybody heard it."""


def log(work: Work, heard: Sequence[Heard], transaction_numbers: Sequence[int | None] = ()) -> list[int]:
    """Keep the raw payload of these sayings, each with its transaction; return their numbers in the log."""
    transaction_numbers = transaction_numbers or (None,) * len(heard)
    return store.insert_calls(
        work,
        [
            {
                "number": 0,
                "charger_id": item.charger_id,
                "session_id": item.session_id,
                "message_id": item.message_id[:MESSAGE_ID_LENGTH],
                "action": item.action[:ACTION_LENGTH],
                "payload": item.raw,
                "at": work.now,
                "transaction_number": transaction_number,
                # The other columns have their defaults: this is the hot path.
            }
            for item, transaction_number in zip(heard, transaction_numbers, strict=True)
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
        "number": 0,
        "charger_id": call.charger_id,
        "session_id": call.session_id,
        "message_id": call.message_id[:MESSAGE_ID_LENGTH],
        "action": call.action[:ACTION_LENGTH],
        # A frame that is no call may be an answer that nobody waited for, and tell a password.
        "payload": masked(call.payload) if call.is_outward or not call.action else call.payload,
        "at": call.at,
        "is_outward": call.is_outward,
        "origin": call.origin[:ORIGIN_LENGTH] if call.is_outward else UNHEARD,
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
    }


def _answered(answer: AnswerTraced) -> dict[str, Any]:
    return {
        "number": answer.number,
        "status": answer.status.value,
        "answer": masked(answer.answer),
        "latency_ms": answer.latency_ms,
    }


def _status(row: Any, pending_since_at: datetime) -> CallStatus:
    if row.status is not None:
        return CallStatus(row.status)
    return CallStatus.PENDING if row.at >= pending_since_at else CallStatus.FAILED


def _call(row: Any, pending_since_at: datetime) -> Call:
    return Call(
        row.number,
        row.charger_id,
        row.session_id,
        row.message_id,
        row.is_outward,
        row.origin if row.is_outward else "",
        row.command_id,
        row.action,
        row.payload,
        row.at,
        _status(row, pending_since_at),
        row.answer or None,
        row.latency_ms,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls of a log somebody looks for; without any choice, all of them.

    ``is_significant`` leaves out what is said all day, unless ``actions`` names it; ``q`` is looked for in
    payloads, answers and message ids; ``command_id`` leaves only what was asked for one command.
    """

    actions: tuple[str, ...] = ()
    status: CallStatus | None = None
    is_outward: bool | None = None
    is_significant: bool = False
    q: str = ""
    from_at: datetime | None = None
    until_at: datetime | None = None
    command_id: str = ""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return the actions that are left out."""
        return INSIGNIFICANT if self.is_significant and not self.actions else ()


ALL: Final = Wanted()


def list_calls(
    work: Work,
    charger_id: str,
    wanted: Wanted = ALL,
    *,
    numbers: Sequence[int] | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int = 25,
) -> list[Call]:
    """Return calls of a charger: the newest first, before a number; or oldest first, the next after one.

    ``numbers`` narrows it to these. Raises: NotFound; Forbidden for those who may not see sensitive data.
    """
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    pending_since_at = work.now - PENDING_MAX
    rows = store.list_calls(
        work,
        charger_id,
        actions=wanted.actions,
        hidden=wanted.hidden,
        status=wanted.status.value if wanted.status is not None else None,
        is_outward=wanted.is_outward,
        q=wanted.q.strip(),
        from_at=wanted.from_at,
        until_at=wanted.until_at,
        command_id=wanted.command_id,
        pending_since_at=pending_since_at,
        numbers=numbers,
        before=before,
        after=after,
        limit=limit,
    )
    return [_call(row, pending_since_at) for row in rows]


@dataclass(frozen=True, slots=True)
class Said:
    """One saying of a charger as it stands in the log; ``transaction_number`` is ours."""

    number: int
    charger_id: str
    action: str
    payload: str
    at: datetime
    transaction_number: int | None


def said_after(work: Work, after: Mapping[str, int], *, limit: int) -> tuple[list[Said], bool]:
    """Return what chargers said after a number in the log, each after its own, in order; for the system.

    At most so many rows of all of them together; the second value says that there may be more: ask again,
    also for chargers of which nothing was found. Heartbeats are left out, and calls that were refused. The
    rows of one charger are committed in the order of their numbers, so none can come late before one that
    was read.
    """
    assert work.actor.is_system
    rows, is_more = store.said_after(work, after, limit=limit)
    return [_said(row) for row in rows], is_more


def _said(row: Any) -> Said:
    return Said(row.number, row.charger_id, row.action, row.payload, row.at, row.transaction_number)


def transaction_of(work: Work, charger_id: str, number: int) -> int | None:
    """Return the transaction that a call in the log is about, None for none; for rooms above."""
    return store.find_transaction_of(work, charger_id, number)


def said_last(work: Work, charger_id: str, action: str, *, until: int, limit: int) -> list[Said]:
    """Return the last sayings of one action up to a number in the log, oldest first; for rooms above."""
    return [
        _said(row) for row in reversed(store.said_last(work, charger_id, action, until=until, limit=limit))
    ]


COUNTED_MAX: Final = 1_000


def count_said_after(work: Work, charger_id: str, number: int) -> tuple[int, datetime | None]:
    """Return how many sayings of a charger stand after a number, and the time of the first; for rooms above.

    More than ``COUNTED_MAX`` are not counted.
    """
    times = store.times_after(work, charger_id, number, limit=COUNTED_MAX)
    return len(times), times[0] if times else None


def last_number_of(work: Work, charger_id: str) -> int:
    """Return the highest number of a charger in the log, 0 before any; for rooms above.

    Nothing of this charger can come late before it, whatever other chargers say meanwhile.
    """
    return store.last_number_of(work, charger_id)


def started_numbers(work: Work, charger_id: str, transaction_numbers: Sequence[int]) -> dict[int, int]:
    """Return where in the log transactions of a charger began, by their numbers; for rooms above."""
    return store.find_started(work, charger_id, transaction_numbers)


def get(work: Work, charger_id: str, number: int) -> Call:
    """Return one call of a charger. Raises: NotFound; Forbidden."""
    found = list_calls(work, charger_id, numbers=(number,), limit=1)
    if not found:
        raise NotFound("this call is no longer in the log, or never was", number=number)
    return found[0]


def list_actions(work: Work, charger_id: str) -> list[str]:
    """Return the actions among a charger's latest calls, in order of the alphabet. Raises: as list_calls."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    return store.list_actions(work, charger_id, ACTIONS_OF_LATEST)


@dataclass(frozen=True, slots=True)
class Mark:
    """That a call stands in the log under this number, and how far it has come."""

    number: int
    at: datetime
    status: CallStatus
    latency_ms: float | None

    @property
    def changed_at(self) -> datetime:
        """Return when the call was answered, else when it was made."""
        return self.at + timedelta(milliseconds=self.latency_ms or 0.0)


def list_marks(work: Work, charger_id: str, *, after: int | None, limit: int) -> list[Mark]:
    """Return the marks of a charger's calls above a number, the newest first. Raises: as list_calls."""
    service.get(work, charger_id, Permission.VIEW_SENSITIVE)
    pending_since_at = work.now - PENDING_MAX
    return [
        Mark(row.number, row.at, _status(row, pending_since_at), row.latency_ms)
        for row in store.list_marks(work, charger_id, after=after, limit=limit)
    ]


def forget_old(work: Work, *, days: int) -> int:
    """Forget some of the calls that are too old; return how many, 0 when none are left."""
    return store.delete_old_calls(work, work.now - timedelta(days=days), PRUNE_STEP)


def forget(work: Work, numbers: Sequence[int]) -> int:
    """Forget these calls; return how many. For rooms above, who know which ones are still needed."""
    store.delete_calls(work, numbers)
    return len(numbers)


def size(work: Work, *, first: int | None = None, beside: int = 0) -> int:
    """Return about how many bytes the log takes from a number on, with so many calls beside that."""
    return store.size(work, first=first, beside=beside)

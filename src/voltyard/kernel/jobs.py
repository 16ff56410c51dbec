"""Durable jobs: something must happen, stored with the state it belongs to, done at least once.

``enqueue`` inside a Work; ``claim`` by whoever works; ``done`` or ``failed`` afterwards. A claim runs
out, so a worker that dies loses nothing. After too many tries a job is parked for people to see.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from voltyard.kernel.bulk import among
from voltyard.kernel.db import UtcTime, Work, metadata
from voltyard.kernel.errors import Unavailable
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import JOB_TRIES_MAX
from voltyard.kernel.wire import Message, encode

CLAIM_S = 300.0
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)
WAKE = "wake.jobs"
KEY_TRIES_MAX = 10
LOST = "the last worker did not come back"

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("key", sa.String(128), unique=True),
    sa.Column("run_at", UtcTime, nullable=False, index=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("claimed_until", UtcTime),
    sa.Column("claimed_by", sa.String(64)),
    sa.Column("parked_at", UtcTime),
    sa.Column("error", sa.Text),
)


class Job(Message, frozen=True):
    """One job as its worker sees it; ``body`` is the JSON of its message."""

    id: str
    kind: str
    body: str
    tries: int


class Wake(Message, frozen=True):
    """Look in the database now."""


def enqueue(work: Work, job: Message, *, delay_s: float = 0.0, key: str | None = None) -> str:
    """Store a job with this transaction; a waiting job with the same ``key`` makes it a no-op.

    A job that somebody has claimed waits no longer: what is enqueued from then on is a job of its own.
    Returns: the id of the job that waits, be it this one or the earlier one.
    """
    row = _row(job, delay_s, key, work)
    job_id: str = row["id"]
    if key is None:
        work.insert(jobs, **row)
    else:
        job_id = _insert_or_join(work, row)
    work.emit(WAKE, Wake())
    return job_id


def enqueue_many(work: Work, asked: Sequence[tuple[Message, float, str]]) -> None:
    """Store many jobs, each with its delay in seconds and its key, by few statements; see ``enqueue``.

    For what thousands of chargers cause at once. No key may stand twice.
    """
    # In one order for all: else two Works that want the same jobs wait for one another in vain.
    rows = {key: _row(job, delay_s, key, work) for job, delay_s, key in sorted(asked, key=_key)}
    assert len(rows) == len(asked), "a key stands twice"
    for _ in range(KEY_TRIES_MAX):
        if not rows:
            break
        work.insert_new(jobs, list(rows.values()), key=("key",))
        for waiting in work.find(_WAITING, keys=list(rows)):
            del rows[waiting.key]
    if rows:
        raise Unavailable(f"jobs of the key {next(iter(rows))!r} are claimed faster than they can be stored")
    work.emit(WAKE, Wake())


_WAITING = sa.select(jobs.c.key).where(among(jobs.c.key, "keys")).order_by(jobs.c.key).with_for_update()


def _key(asked: tuple[Message, float, str]) -> str:
    return asked[2]


def _row(job: Message, delay_s: float, key: str | None, work: Work) -> dict[str, Any]:
    return {
        "id": new_id("job"),
        "kind": type(job).__name__,
        "body": encode(job).decode(),
        "key": key,
        "run_at": work.now + timedelta(seconds=delay_s),
        "tries": 0,
    }


def _insert_or_join(work: Work, row: Mapping[str, Any]) -> str:
    """Insert a job, or lock the one that waits under its key; return the id of either.

    Locked, because nobody may claim that job before this Work is committed: it would read the state as it
    was before, and be done without the news.
    """
    waiting = sa.select(jobs.c.id).where(jobs.c.key == row["key"]).with_for_update()
    for _ in range(KEY_TRIES_MAX):
        work.insert_new(jobs, [row], key=("key",))
        found: str | None = work.value(waiting)
        if found is not None:
            return found
        # Claimed between the two statements: then ours is a job of its own.
    raise Unavailable(f"jobs of the key {row['key']!r} are claimed faster than they can be stored")


def claim(
    work: Work,
    worker: str,
    *,
    most: int = 10,
    only: Collection[str] | None = None,
    without: Collection[str] = (),
) -> list[Job]:
    """Take jobs that are due, ``only`` of some kinds if any are named; till it runs out they are ours."""
    _park_lost(work)
    kinds = [] if only is None else [jobs.c.kind.in_(sorted(only))]
    # A common table expression: as a plain sub-select, PostgreSQL may run it again for each row it joins,
    # and take more than ``most``.
    due = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.run_at <= work.now,
            jobs.c.parked_at.is_(None),
            sa.or_(jobs.c.claimed_until.is_(None), jobs.c.claimed_until < work.now),
            jobs.c.kind.not_in(sorted(without)),
            *kinds,
        )
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = work.rows(
        sa.update(jobs)
        .where(jobs.c.id.in_(sa.select(due.c.id)))
        .values(
            tries=jobs.c.tries + 1,
            # From now on the job may have read its state: what is enqueued later is news to it.
            key=None,
            claimed_by=worker,
            claimed_until=work.now + timedelta(seconds=CLAIM_S),
        )
        .returning(jobs.c.id, jobs.c.kind, jobs.c.body, jobs.c.tries, jobs.c.run_at)
    )
    ordered = sorted(taken, key=lambda row: (row.run_at, row.id))
    return [Job(row.id, row.kind, row.body, row.tries) for row in ordered]


def _park_lost(work: Work) -> None:
    """Park jobs whose last try never ended, lest one that kills its workers be tried for ever."""
    work.run(
        sa.update(jobs)
        .where(
            jobs.c.run_at <= work.now,
            jobs.c.parked_at.is_(None),
            jobs.c.tries >= JOB_TRIES_MAX,
            jobs.c.claimed_until < work.now,
        )
        # ``claimed_by`` stays: a worker that was only slow may still say that it is done.
        .values(parked_at=work.now, error=sa.func.coalesce(jobs.c.error, LOST))
    )


def done(work: Work, job_id: str, worker: str) -> bool:
    """Forget a job that was done; False when the claim was lost meanwhile."""
    return work.run(sa.delete(jobs).where(jobs.c.id == job_id, jobs.c.claimed_by == worker)) == 1


def failed(work: Work, job: Job, worker: str, error: str, *, is_final: bool = False) -> None:
    """Note a failure: try again after a growing pause, or park the job for people to see."""
    is_parked = is_final or job.tries >= JOB_TRIES_MAX
    pause_s = PAUSES_S[min(job.tries, len(PAUSES_S)) - 1]
    work.run(
        sa.update(jobs)
        .where(jobs.c.id == job.id, jobs.c.claimed_by == worker)
        .values(
            error=error,
            claimed_by=None,
            claimed_until=None,
            parked_at=work.now if is_parked else None,
            run_at=work.now + timedelta(seconds=pause_s),
        )
    )

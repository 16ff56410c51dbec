"""Durable jobs: something must happen, stored with the state it belongs to, done at least once.

``enqueue`` inside a Work; ``claim`` by whoever works; ``done`` or ``failed`` afterwards. A claim runs
out, so a worker that dies loses nothing. After too many tries a job is parked for people to see.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, Work, metadata
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import JOB_TRIES_MAX
from voltyard.kernel.wire import Message, encode

CLAIM_S = 300.0
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0)
WAKE = "wake.jobs"

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
    """
    job_id = new_id("job")
    row = {
        "id": job_id,
        "kind": type(job).__name__,
        "body": encode(job).decode(),
        "key": key,
        "run_at": work.now + timedelta(seconds=delay_s),
        "tries": 0,
    }
    work.insert_new(jobs, [row], key=("key",) if key else ())
    work.emit(WAKE, Wake())
    return job_id


def claim(work: Work, worker: str, *, most: int = 10) -> list[Job]:
    """Take jobs that are due; nobody else gets them until the claim runs out."""
    due = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.run_at <= work.now,
            jobs.c.parked_at.is_(None),
            sa.or_(jobs.c.claimed_until.is_(None), jobs.c.claimed_until < work.now),
        )
        .order_by(jobs.c.run_at, jobs.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    taken = work.rows(
        sa.update(jobs)
        .where(jobs.c.id.in_(due))
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

"""Leases: a row that says which process does a thing until when."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from voltyard.kernel.db import UtcTime, Work, metadata
from voltyard.kernel.limits import LEASE_S

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("until_at", UtcTime, nullable=False),
)


def take(work: Work, name: str, holder: str) -> bool:
    """Take or renew a lease; False while another holder's has not run out."""
    until = work.now + timedelta(seconds=LEASE_S)
    work.insert_new(leases, [{"name": name, "holder": holder, "until_at": until}], key=("name",))
    changed = work.run(
        sa.update(leases)
        .where(leases.c.name == name, sa.or_(leases.c.holder == holder, leases.c.until_at < work.now))
        .values(holder=holder, until_at=until)
    )
    return changed == 1


def count(work: Work, prefix: str) -> int:
    """Count the leases that hold now and whose names begin like this."""
    found = work.value(
        sa.select(sa.func.count())
        .select_from(leases)
        .where(leases.c.name.startswith(prefix, autoescape=True), leases.c.until_at >= work.now)
    )
    return int(found)


def release(work: Work, name: str, holder: str) -> None:
    """Give a lease back early; another holder's is left alone."""
    work.run(sa.delete(leases).where(leases.c.name == name, leases.c.holder == holder))

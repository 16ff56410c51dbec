"""All SQL of the proofs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.accounts.tables import proofs
from voltyard.kernel.db import Work

Row = sa.Row[Any]


def insert_proof(work: Work, **values: Any) -> None:
    """Add a proof."""
    work.insert(proofs, created_at=work.now, **values)


def find_proof(work: Work, proof_id: str, *, is_locked: bool) -> Row | None:
    """Return a proof, for this Work alone until it ends if ``is_locked``."""
    query = sa.select(proofs).where(proofs.c.id == proof_id)
    return work.row(query.with_for_update() if is_locked else query)


def count_since(work: Work, kind: str, email: str, since: datetime) -> int:
    """Count the proofs of a kind that were made for an address and never used."""
    query = sa.select(sa.func.count()).select_from(proofs)
    wanted = query.where(
        proofs.c.kind == kind,
        proofs.c.email == email,
        proofs.c.created_at > since,
        proofs.c.used_at.is_(None),
    )
    return int(work.value(wanted) or 0)


def use_all(work: Work, email: str, user_id: str | None) -> None:
    """Let no link that was sent to an address or a person before work any more."""
    is_theirs = proofs.c.email == email
    if user_id is not None:
        is_theirs = sa.or_(is_theirs, proofs.c.user_id == user_id)
    work.run(sa.update(proofs).where(is_theirs, proofs.c.used_at.is_(None)).values(used_at=work.now))


def delete_old(work: Work, before: datetime) -> int:
    """Forget proofs whose time was over before an instant."""
    return work.run(sa.delete(proofs).where(proofs.c.until_at < before))

"""All SQL of second factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from voltyard.accounts.tables import factors, recovery_codes
from voltyard.kernel.db import Work

Row = sa.Row[Any]


def find_factor(work: Work, user_id: str, *, is_locked: bool = False) -> Row | None:
    """Return a person's second factor, for this Work alone until it ends if ``is_locked``."""
    query = sa.select(factors).where(factors.c.user_id == user_id)
    return work.row(query.with_for_update() if is_locked else query)


def insert_factor(work: Work, user_id: str, secret_sealed: str) -> None:
    """Add a second factor that is not confirmed yet."""
    work.insert(
        factors, user_id=user_id, secret_sealed=secret_sealed, last_step=0, wrong_tries=0, created_at=work.now
    )


def set_factor(work: Work, user_id: str, **values: Any) -> None:
    """Change a second factor."""
    work.run(sa.update(factors).where(factors.c.user_id == user_id).values(**values))


def delete_factor(work: Work, user_id: str) -> int:
    """Remove a second factor with its recovery codes."""
    work.run(sa.delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    return work.run(sa.delete(factors).where(factors.c.user_id == user_id))


def replace_codes(work: Work, user_id: str, hashes: Sequence[str]) -> None:
    """Give a person these recovery codes in place of all others."""
    work.run(sa.delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    for code_hash in hashes:
        work.insert(recovery_codes, user_id=user_id, code_hash=code_hash)


def count_codes(work: Work, user_id: str) -> int:
    """Count the recovery codes that are left."""
    query = sa.select(sa.func.count()).select_from(recovery_codes)
    return int(work.value(query.where(recovery_codes.c.user_id == user_id)) or 0)


def use_code(work: Work, user_id: str, code_hash: str) -> int:
    """Use a recovery code up; return whether there was one."""
    return work.run(
        sa.delete(recovery_codes).where(
            recovery_codes.c.user_id == user_id, recovery_codes.c.code_hash == code_hash
        )
    )

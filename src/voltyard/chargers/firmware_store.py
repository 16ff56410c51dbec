"""All SQL of uploaded firmware."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import firmware_files
from voltyard.kernel.db import Work

Row = sa.Row[Any]


def insert_firmware(work: Work, **values: Any) -> None:
    """Add firmware."""
    work.insert(firmware_files, created_at=work.now, **values)


def find_firmware(work: Work, firmware_id: str) -> Row | None:
    """Return firmware, whoever asks."""
    return work.row(sa.select(firmware_files).where(firmware_files.c.id == firmware_id))


def find_same(work: Work, team_id: str, sha256: str, version: str) -> Row | None:
    """Return the firmware of a team with these bytes and this version."""
    return work.row(
        sa.select(firmware_files).where(
            firmware_files.c.team_id == team_id,
            firmware_files.c.sha256 == sha256,
            firmware_files.c.version == version,
        )
    )


# house: lists-are-scoped - firmware belongs to teams, not to locations; only the actor's own are listed
def list_firmware(work: Work, *, after: str | None, limit: int) -> list[Row]:
    """Return a page of the firmware of the actor's teams, newest first."""
    query = (
        sa.select(firmware_files)
        .where(firmware_files.c.team_id.in_(work.actor.team_ids))
        .order_by(firmware_files.c.id.desc())
        .limit(limit)
    )
    if after:
        query = query.where(firmware_files.c.id < after)
    return list(work.rows(query))


def count_of_team(work: Work, team_id: str) -> int:
    """Count the firmware of a team."""
    query = sa.select(sa.func.count()).select_from(firmware_files)
    return int(work.value(query.where(firmware_files.c.team_id == team_id)))


def delete_firmware(work: Work, firmware_id: str) -> None:
    """Delete firmware."""
    work.run(sa.delete(firmware_files).where(firmware_files.c.id == firmware_id))

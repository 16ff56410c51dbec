"""All SQL of transfers: the jobs, their steps, and what chargers sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, firmware_files, received_files, transfer_steps, transfers
from voltyard.kernel.db import Work
from voltyard.locations.access import Permission
from voltyard.locations.service import visible

Row = sa.Row[Any]

_moved = (
    sa.update(transfers)
    .where(transfers.c.id == sa.bindparam("key"))
    .values(
        stage=sa.bindparam("to_stage"),
        word=sa.bindparam("to_word"),
        steps=sa.bindparam("to_steps"),
        changed_at=sa.bindparam("at", type_=transfers.c.changed_at.type),
    )
)
_told_version = (
    sa.update(transfers)
    .where(transfers.c.id == sa.bindparam("key"))
    .values(
        stage=sa.bindparam("to_stage"),
        steps=sa.bindparam("to_steps"),
        version_after=sa.bindparam("version"),
        changed_at=sa.bindparam("at", type_=transfers.c.changed_at.type),
        heard_until_at=sa.bindparam("until", type_=transfers.c.heard_until_at.type),
    )
)


def insert_transfer(work: Work, **values: Any) -> None:
    """Add a transfer with the next number of its charger. Raises: AlreadyThere when two come at once."""
    last = work.value(
        sa.select(sa.func.max(transfers.c.number)).where(transfers.c.charger_id == values["charger_id"])
    )
    work.insert(transfers, number=(last or 0) + 1, created_at=work.now, changed_at=work.now, **values)


def find_transfer(work: Work, transfer_id: str) -> Row | None:
    """Return a transfer, and since when its charger is where it is; whoever asks."""
    return work.row(
        sa.select(transfers, chargers.c.claimed_at)
        .join(chargers, chargers.c.id == transfers.c.charger_id)
        .where(transfers.c.id == transfer_id)
    )


def find_by_token(work: Work, token_hash: str) -> Row | None:
    """Return the transfer of an address, with the place of its charger and its firmware."""
    return work.row(
        sa.select(
            transfers,
            chargers.c.location_id,
            firmware_files.c.stored,
            firmware_files.c.name.label("firmware_name"),
        )
        .join(chargers, chargers.c.id == transfers.c.charger_id)
        .outerjoin(firmware_files, firmware_files.c.id == transfers.c.firmware_id)
        .where(transfers.c.token_hash == token_hash)
    )


def list_transfers(work: Work, charger_id: str, *, after: str | None, limit: int) -> list[Row]:
    """Return a page of a charger's transfers, newest first; scoped by location as every list is."""
    query = (
        sa.select(transfers)
        .join(chargers, chargers.c.id == transfers.c.charger_id)
        .where(
            transfers.c.charger_id == charger_id,
            chargers.c.location_id.in_(visible(work, work.actor)),
            # What went on at another location, before it came here, is somebody else's.
            transfers.c.created_at >= chargers.c.claimed_at,
        )
        .order_by(transfers.c.id.desc())
        .limit(limit)
    )
    if after:
        query = query.where(transfers.c.id < after)
    return list(work.rows(query))


def find_heard(work: Work, charger_ids: Iterable[str], kinds: Sequence[str]) -> list[Row]:
    """Return the transfers that news of these chargers may concern, newest first."""
    return list(
        work.rows(
            sa.select(transfers)
            .where(
                transfers.c.charger_id.in_(sorted(set(charger_ids))),
                transfers.c.heard_until_at > work.now,
                transfers.c.kind.in_(kinds),
            )
            .order_by(transfers.c.id.desc())
        )
    )


def find_of_charger(work: Work, charger_id: str, kinds: Sequence[str], since: datetime) -> list[Row]:
    """Return the transfers of a charger that are still heard of and were begun since an instant."""
    return list(
        work.rows(
            sa.select(transfers)
            .where(
                transfers.c.charger_id == charger_id,
                transfers.c.heard_until_at > work.now,
                transfers.c.kind.in_(kinds),
                transfers.c.created_at >= since,
            )
            .order_by(transfers.c.id.desc())
        )
    )


def find_using(work: Work, firmware_id: str, stages: Sequence[str]) -> Row | None:
    """Return a transfer that still needs this firmware."""
    return work.row(
        sa.select(transfers)
        .where(
            transfers.c.firmware_id == firmware_id,
            transfers.c.stage.in_(stages),
            transfers.c.ends_at > work.now,
        )
        .limit(1)
    )


def claimed_at(work: Work, charger_id: str) -> datetime | None:
    """Return since when a charger is where it is."""
    found: datetime | None = work.value(sa.select(chargers.c.claimed_at).where(chargers.c.id == charger_id))
    return found


def set_transfer(work: Work, transfer_id: str, **values: Any) -> None:
    """Change a transfer."""
    work.run(sa.update(transfers).where(transfers.c.id == transfer_id).values(**values))


def set_moved(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store how far transfers are."""
    work.run_many(_moved, rows)


def set_versions(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store which firmware chargers told after an update."""
    work.run_many(_told_version, rows)


def insert_steps(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add steps to the history of transfers."""
    work.insert_many(transfer_steps, rows)


def find_steps(work: Work, transfer_ids: Iterable[str]) -> list[Row]:
    """Return the steps of these transfers in order."""
    return list(
        work.rows(
            sa.select(transfer_steps)
            .where(transfer_steps.c.transfer_id.in_(sorted(set(transfer_ids))))
            .order_by(transfer_steps.c.number)
        )
    )


def insert_file(work: Work, **values: Any) -> None:
    """Add a file that a charger sent."""
    work.insert(received_files, received_at=work.now, **values)


def find_files(work: Work, transfer_ids: Iterable[str]) -> list[Row]:
    """Return what came of these transfers, oldest first."""
    return list(
        work.rows(
            sa.select(received_files)
            .where(received_files.c.transfer_id.in_(sorted(set(transfer_ids))))
            .order_by(received_files.c.id)
        )
    )


def delete_file(work: Work, file_id: str) -> None:
    """Delete a received file."""
    work.run(sa.delete(received_files).where(received_files.c.id == file_id))


def total_bytes(work: Work) -> int:
    """Return how much all stored files hold together."""
    return sum(
        int(work.value(sa.select(sa.func.coalesce(sa.func.sum(table.c.size_bytes), 0))))
        for table in (received_files, firmware_files)
    )


def delete_transfer(work: Work, transfer_id: str) -> None:
    """Delete a transfer with its steps and what came of it."""
    work.run(sa.delete(transfers).where(transfers.c.id == transfer_id))


def find_old_files(work: Work, before: datetime, most: int) -> list[Row]:
    """Return some of the files that came before an instant."""
    query = sa.select(received_files.c.id, received_files.c.stored)
    return list(work.rows(query.where(received_files.c.received_at < before).limit(most)))


def delete_old_transfers(work: Work, before: datetime, most: int) -> int:
    """Delete some of the transfers that were begun before an instant."""
    old = sa.select(transfers.c.id).where(transfers.c.created_at < before).limit(most)
    return work.run(sa.delete(transfers).where(transfers.c.id.in_(old)))


def may_somewhere(work: Work, permission: Permission) -> bool:
    """Say whether the actor may do this at any location."""
    return work.row(visible(work, work.actor, permission).limit(1)) is not None

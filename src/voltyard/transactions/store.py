"""All SQL of the transactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers
from voltyard.kernel.actor import Actor
from voltyard.kernel.db import Work
from voltyard.locations.access import Permission
from voltyard.locations.service import visible
from voltyard.locations.tables import locations
from voltyard.transactions.tables import orphan_stops, samples, transactions

Row = sa.Row[Any]

_with_names = (
    sa.select(
        transactions,
        chargers.c.identity.label("charger_identity"),
        chargers.c.name.label("charger_name"),
        locations.c.name.label("location_name"),
    )
    .join(chargers, chargers.c.id == transactions.c.charger_id)
    .outerjoin(locations, locations.c.id == transactions.c.location_id)
)
_metered = (
    sa.update(transactions)
    .where(transactions.c.number == sa.bindparam("key"))
    .values(
        meter_last_wh=sa.func.coalesce(
            sa.bindparam("energy_wh", type_=sa.BigInteger), transactions.c.meter_last_wh
        ),
        power_w=sa.bindparam("power_w", type_=sa.Float),
        soc_percent=sa.func.coalesce(sa.bindparam("soc_percent", type_=sa.Float), transactions.c.soc_percent),
        metered_at=sa.bindparam("at", type_=transactions.c.metered_at.type),
    )
)
_begun = (
    sa.update(transactions)
    .where(transactions.c.number == sa.bindparam("key"), transactions.c.meter_start_wh.is_(None))
    .values(
        meter_start_wh=sa.bindparam("start_wh", type_=sa.BigInteger),
        meter_last_wh=sa.bindparam("start_wh", type_=sa.BigInteger),
    )
)
_ended = (
    sa.update(transactions)
    .where(transactions.c.number == sa.bindparam("key"))
    .values(
        {
            name: sa.bindparam(name, type_=transactions.c[name].type)
            for name in (
                "ended_at",
                "end_told_at",
                "end_heard_at",
                "meter_stop_wh",
                "meter_last_wh",
                "power_w",
                "stop_reason",
                "is_estimated",
            )
        }
        | {
            "meter_start_wh": sa.func.coalesce(
                transactions.c.meter_start_wh, sa.bindparam("start_wh", type_=sa.BigInteger)
            )
        }
    )
)


def insert_started(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add transactions; one with the same start key stays as it is."""
    work.insert_new(transactions, rows, key=("start_key",))


def find_by_start_keys(work: Work, keys: Iterable[str]) -> dict[str, Row]:
    """Return transactions by their start key."""
    rows = work.rows(sa.select(transactions).where(transactions.c.start_key.in_(sorted(set(keys)))))
    return {row.start_key: row for row in rows}


def find_open(work: Work, charger_ids: Iterable[str]) -> list[Row]:
    """Return the open transactions of these chargers, oldest first."""
    return list(
        work.rows(
            sa.select(transactions)
            .where(transactions.c.charger_id.in_(sorted(set(charger_ids))), transactions.c.ended_at.is_(None))
            .order_by(transactions.c.number)
        )
    )


def find_by_numbers(work: Work, numbers: Iterable[int]) -> dict[int, Row]:
    """Return transactions by number."""
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    rows = work.rows(sa.select(transactions).where(transactions.c.number.in_(wanted)))
    return {row.number: row for row in rows}


def set_begun(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Give transactions without a start register one; each row has ``key`` for the number."""
    work.run_many(_begun, rows)


def set_metered(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store the newest reading of open transactions; each row has ``key`` for the number."""
    work.run_many(_metered, rows)


def set_ended(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """End transactions; each row has ``key`` for the number."""
    work.run_many(_ended, rows)


def insert_samples(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add readings; one of the same connector and instant stays as it is."""
    work.insert_new(samples, rows, key=("charger_id", "connector", "at"))


def insert_orphans(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep stops that name no transaction; a repeated one stays as it is."""
    work.insert_new(orphan_stops, rows, key=("stop_key",))


def find_orphan_keys(work: Work, keys: Iterable[str]) -> set[str]:
    """Say which of these stops were kept before."""
    rows = work.rows(sa.select(orphan_stops.c.stop_key).where(orphan_stops.c.stop_key.in_(sorted(set(keys)))))
    return {row.stop_key for row in rows}


def find_transaction(work: Work, transaction_id: str) -> Row | None:
    """Return a transaction with the names of its charger and location, whoever asks."""
    return work.row(_with_names.where(transactions.c.id == transaction_id))


def list_transactions(
    work: Work,
    actor: Actor,
    *,
    location_id: str | None,
    charger_id: str | None,
    card_id: str | None,
    is_active: bool | None,
    started_from: datetime | None,
    started_to: datetime | None,
    after: int | None,
    limit: int,
) -> list[Row]:
    """Return a page of the transactions that the actor may see, newest first."""
    query = (
        _with_names.where(transactions.c.location_id.in_(visible(work, actor, Permission.VIEW_SENSITIVE)))
        .order_by(transactions.c.number.desc())
        .limit(limit)
    )
    if location_id:
        query = query.where(transactions.c.location_id == location_id)
    if charger_id:
        query = query.where(transactions.c.charger_id == charger_id)
    if card_id:
        query = query.where(transactions.c.card_id == card_id)
    if is_active is not None:
        query = query.where(
            transactions.c.ended_at.is_(None) if is_active else transactions.c.ended_at.is_not(None)
        )
    if started_from:
        query = query.where(transactions.c.started_at >= started_from)
    if started_to:
        query = query.where(transactions.c.started_at < started_to)
    if after is not None:
        query = query.where(transactions.c.number < after)
    return list(work.rows(query))


def list_orphans(
    work: Work, actor: Actor, *, charger_id: str | None, after: str | None, limit: int
) -> list[Row]:
    """Return a page of the stops without a transaction at the actor's locations, newest first."""
    query = (
        sa.select(orphan_stops)
        .join(chargers, chargers.c.id == orphan_stops.c.charger_id)
        .where(
            orphan_stops.c.resolved_number.is_(None),
            chargers.c.location_id.in_(visible(work, actor, Permission.VIEW_SENSITIVE)),
            # What was heard before the charger came to this location is somebody else's.
            orphan_stops.c.heard_at >= chargers.c.claimed_at,
        )
        .order_by(orphan_stops.c.id.desc())
        .limit(limit)
    )
    if charger_id:
        query = query.where(orphan_stops.c.charger_id == charger_id)
    if after:
        query = query.where(orphan_stops.c.id < after)
    return list(work.rows(query))


def samples_of(work: Work, number: int, *, after: datetime | None, limit: int) -> list[Row]:
    """Return the readings of one transaction in the order of time."""
    query = sa.select(samples).where(samples.c.number == number).order_by(samples.c.at).limit(limit)
    if after is not None:
        query = query.where(samples.c.at > after)
    return list(work.rows(query))


def latest_sample(work: Work, charger_id: str, connector: int, *, number: int | None) -> Row | None:
    """Return the newest reading of a connector since its charger was claimed."""
    query = (
        sa.select(samples)
        .join(chargers, chargers.c.id == samples.c.charger_id)
        .where(
            samples.c.charger_id == charger_id,
            samples.c.connector == connector,
            # What was heard before the charger came to this location is somebody else's.
            samples.c.heard_at >= chargers.c.claimed_at,
        )
        .order_by(samples.c.at.desc())
        .limit(1)
    )
    if number is not None:
        query = query.where(samples.c.number == number)
    return work.row(query)

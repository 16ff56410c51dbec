"""All SQL of the transactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.chargers.tables import chargers
from voltyard.kernel.actor import Actor
from voltyard.kernel.bulk import among
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
# No register was told at the start, or one of 0 that cannot be right, and none was read since.
_ZERO: sa.ColumnElement[int] = sa.literal_column("0", sa.BigInteger)
_is_zero = sa.and_(transactions.c.meter_start_wh == _ZERO, transactions.c.meter_last_wh == _ZERO)
_is_unread = sa.or_(transactions.c.meter_start_wh.is_(None), _is_zero)
_begun = (
    sa.update(transactions)
    .where(transactions.c.number == sa.bindparam("key"), _is_unread)
    .values(
        is_start_estimated=sa.true(),
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
            "meter_start_wh": sa.case(
                (_is_unread, sa.bindparam("start_wh", type_=sa.BigInteger)),
                else_=transactions.c.meter_start_wh,
            ),
            "is_start_estimated": sa.or_(
                transactions.c.is_start_estimated,
                sa.and_(
                    _is_zero, sa.func.coalesce(sa.bindparam("start_wh", type_=sa.BigInteger), _ZERO) > _ZERO
                ),
            ),
        }
    )
)


def insert_started(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add transactions; one with the same start key stays as it is."""
    work.insert_new(transactions, rows, key=("start_key",))


_by_start_key = sa.select(transactions).where(among(transactions.c.start_key, "keys"))
_by_number = sa.select(transactions).where(among(transactions.c.number, "numbers"))
_open = (
    sa.select(transactions)
    .where(among(transactions.c.charger_id, "charger_ids"), transactions.c.ended_at.is_(None))
    .order_by(transactions.c.number)
)
_synthetic = (
    sa.select(transactions)
    .where(
        among(transactions.c.charger_id, "charger_ids"),
        transactions.c.is_synthetic,
        transactions.c.started_at >= sa.bindparam("since_at"),
    )
    .order_by(transactions.c.number)
)


def find_by_start_keys(work: Work, keys: Iterable[str]) -> dict[str, Row]:
    """Return transactions by their start key."""
    rows = work.find(_by_start_key, keys=list(keys))
    return {row.start_key: row for row in rows}


def find_open(work: Work, charger_ids: Iterable[str]) -> list[Row]:
    """Return the open transactions of these chargers, oldest first."""
    return work.find(_open, charger_ids=list(charger_ids))


def find_heard_since(work: Work, charger_id: str, since_at: datetime) -> list[Row]:
    """Return the transactions of a charger of whose start we heard, or which we made, since an instant."""
    return list(
        work.rows(
            sa.select(transactions).where(
                transactions.c.charger_id == charger_id, transactions.c.start_heard_at >= since_at
            )
        )
    )


def find_synthetic(work: Work, charger_ids: Iterable[str], since_at: datetime) -> list[Row]:
    """Return the transactions that we made ourselves since an instant, oldest first."""
    return work.find(_synthetic, charger_ids=list(charger_ids), since_at=since_at)


def set_told(work: Work, number: int, **values: Any) -> None:
    """Put in what was told of the start of a transaction that we made ourselves."""
    work.run(sa.update(transactions).where(transactions.c.number == number).values(**values))


def set_verdict(work: Work, number: int, verdict: str) -> None:
    """Put in what was decided about the card of a transaction."""
    work.run(sa.update(transactions).where(transactions.c.number == number).values(verdict=verdict))


def registers_since(work: Work, charger_id: str, connector: int, since_at: datetime) -> list[float]:
    """Return the first and the last register that a connector told outside transactions since an instant."""
    query = sa.select(samples.c.energy_wh).where(
        samples.c.charger_id == charger_id,
        samples.c.connector == connector,
        samples.c.at >= since_at,
        samples.c.number.is_(None),
        samples.c.energy_wh >= 0,
    )
    ends = (query.order_by(samples.c.at).limit(1), query.order_by(samples.c.at.desc()).limit(1))
    return [found for end in ends if (found := work.value(end)) is not None]


def adopt_samples(work: Work, charger_id: str, connector: int, since_at: datetime, number: int) -> None:
    """Give the readings of a connector that belong to no transaction, from an instant on, to one."""
    work.run(
        sa.update(samples)
        .where(
            samples.c.charger_id == charger_id,
            samples.c.connector == connector,
            samples.c.at >= since_at,
            samples.c.number.is_(None),
        )
        .values(number=number)
    )


def find_by_numbers(work: Work, numbers: Iterable[int]) -> dict[int, Row]:
    """Return transactions by number."""
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    rows = work.find(_by_number, numbers=wanted)
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


def register_until(work: Work, number: int, until: datetime, most_wh: int) -> int | None:
    """Return the highest register, up to a most, that was read in a transaction until an instant."""
    found = work.value(
        sa.select(sa.func.max(samples.c.energy_wh)).where(
            samples.c.number == number, samples.c.at <= until, samples.c.energy_wh <= most_wh
        )
    )
    return None if found is None else round(found)


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

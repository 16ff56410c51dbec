"""All SQL of the chargers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, commands, connectors, pin_tries, presences
from voltyard.kernel.bulk import among
from voltyard.kernel.db import Work
from voltyard.locations.service import visible
from voltyard.locations.tables import locations

Row = sa.Row[Any]

# Rows of many chargers are written in the order of their ids: else two Works that write those of the same
# chargers, which came in another order, wait for one another until PostgreSQL ends one of them.
_by_id: Final = itemgetter("charger_id")
_by_key: Final = itemgetter("key")

# Tables of a room above this one, by name only: a charger with a history is never deleted.
_histories = tuple(sa.table(name, sa.column("charger_id")) for name in ("transactions", "orphan_stops"))

_seen = (
    sa.update(presences)
    .where(presences.c.charger_id == sa.bindparam("key"))
    .values(seen_at=sa.bindparam("at"))
)
_booted = (
    sa.update(chargers)
    .where(chargers.c.id == sa.bindparam("key"))
    .values(
        {
            name: sa.bindparam(name, type_=chargers.c[name].type)
            for name in (
                "vendor",
                "model",
                "serial",
                "firmware",
                "iccid",
                "imsi",
                "meter_type",
                "meter_serial",
                "booted_at",
            )
        }
    )
)
_with_presence = sa.select(
    chargers,
    presences.c.session_id,
    presences.c.version,
    presences.c.address,
    presences.c.connected_at,
    presences.c.disconnected_at,
    presences.c.seen_at,
).outerjoin(presences, presences.c.charger_id == chargers.c.id)


def find_charger(work: Work, charger_id: str) -> Row | None:
    """Return a charger with its presence, whoever asks."""
    return work.row(_with_presence.where(chargers.c.id == charger_id))


def find_by_keys(work: Work, keys: Iterable[str]) -> dict[str, Row]:
    """Return chargers by their identity in lower case, with the time zone of where they stand."""
    query = (
        sa.select(chargers, locations.c.timezone)
        .outerjoin(locations, locations.c.id == chargers.c.location_id)
        .where(chargers.c.identity_key.in_(sorted(set(keys))))
    )
    rows = work.rows(query)
    return {row.identity_key: row for row in rows}


def lock_by_key(work: Work, key: str) -> Row | None:
    """Return a charger by its identity in lower case; until the end of the Work nobody else may change it."""
    return work.row(sa.select(chargers).where(chargers.c.identity_key == key).with_for_update())


_places = sa.select(chargers.c.id, chargers.c.location_id).where(among(chargers.c.id, "charger_ids"))


def find_places(work: Work, charger_ids: Iterable[str]) -> dict[str, str | None]:
    """Return the location of each of these chargers."""
    rows = work.find(_places, charger_ids=list(charger_ids))
    return {row.id: row.location_id for row in rows}


def list_chargers(
    work: Work,
    *,
    q: str,
    location_id: str | None,
    is_online: bool | None,
    is_seen: bool | None,
    status: str | None,
    after: str | None,
    limit: int,
) -> list[Row]:
    """Return a page of the chargers at the actor's locations, newest first."""
    query = (
        _with_presence.where(chargers.c.location_id.in_(visible(work, work.actor)))
        .order_by(chargers.c.id.desc())
        .limit(limit)
    )
    if q:
        part = q.lower()
        query = query.where(
            sa.or_(
                chargers.c.identity_key.contains(part, autoescape=True),
                sa.func.lower(chargers.c.name).contains(part, autoescape=True),
                sa.func.lower(chargers.c.vendor).contains(part, autoescape=True),
                sa.func.lower(chargers.c.model).contains(part, autoescape=True),
            )
        )
    if location_id:
        query = query.where(chargers.c.location_id == location_id)
    if is_online is not None:
        query = query.where(
            presences.c.session_id.is_not(None) if is_online else presences.c.session_id.is_(None)
        )
    if is_seen is not None:
        query = query.where(presences.c.seen_at.is_not(None) if is_seen else presences.c.seen_at.is_(None))
    if status:
        query = query.where(
            chargers.c.id.in_(sa.select(connectors.c.charger_id).where(connectors.c.status == status))
        )
    if after:
        query = query.where(chargers.c.id < after)
    return list(work.rows(query))


# house: lists-are-scoped - chargers without a location; the service lets only administrators ask
def list_waiting(work: Work, limit: int) -> list[Row]:
    """Return chargers that wait to be claimed; for administrators, so not scoped by ``visible``."""
    return list(
        work.rows(
            _with_presence.where(chargers.c.location_id.is_(None), presences.c.session_id.is_not(None))
            .order_by(chargers.c.id.desc())
            .limit(limit)
        )
    )


def count_held(work: Work) -> int:
    """Count the chargers that are held without being registered."""
    return int(
        work.value(sa.select(sa.func.count()).where(chargers.c.is_held, chargers.c.location_id.is_(None)))
    )


def delete_left(work: Work, before: datetime, most: int) -> int:
    """Delete some of the held chargers that left before an instant, with all that was kept of them.

    Those with transactions, or with stops of transactions that nobody knows, stay.
    """
    query = (
        sa.select(chargers.c.id)
        .join(presences, presences.c.charger_id == chargers.c.id)
        .where(
            chargers.c.is_held,
            chargers.c.location_id.is_(None),
            presences.c.session_id.is_(None),
            presences.c.disconnected_at < before,
            *(~sa.exists().where(history.c.charger_id == chargers.c.id) for history in _histories),
        )
        .order_by(chargers.c.id)
        .limit(most)
        .with_for_update()
    )
    left = [row.id for row in work.rows(query)]
    if left:
        for table in (commands, connectors, presences):
            work.run(sa.delete(table).where(table.c.charger_id.in_(left)))
        work.run(sa.delete(chargers).where(chargers.c.id.in_(left)))
    return len(left)


def lock_pin_tries(work: Work, about: Sequence[str]) -> list[Row]:
    """Return the counts of wrong PINs; until the end of the Work nobody else may change them."""
    rows = [{"about": each, "since_at": work.now, "tries": 0} for each in sorted(about)]
    work.insert_new(pin_tries, rows, key=("about",))
    query = sa.select(pin_tries).where(pin_tries.c.about.in_(about)).order_by(pin_tries.c.about)
    return list(work.rows(query.with_for_update()))


def set_pin_tries(work: Work, about: str, since_at: datetime, count: int) -> None:
    """Store a count of wrong PINs."""
    work.run(sa.update(pin_tries).where(pin_tries.c.about == about).values(since_at=since_at, tries=count))


def delete_old_pin_tries(work: Work, before: datetime) -> int:
    """Forget the wrong PINs whose hour is over."""
    return work.run(sa.delete(pin_tries).where(pin_tries.c.since_at < before))


def insert_chargers(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add chargers; an identity that exists already is left as it is."""
    work.insert_new(chargers, rows, key=("identity_key",))


def set_charger(work: Work, charger_id: str, **values: Any) -> None:
    """Change a charger."""
    work.run(sa.update(chargers).where(chargers.c.id == charger_id).values(**values))


def set_booted(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store what booting chargers say of themselves; each row has ``key`` for the charger's id."""
    work.run_many(_booted, sorted(rows, key=_by_key))


def upsert_presences(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note sockets that have just opened."""
    work.upsert(presences, sorted(rows, key=_by_id), key=("charger_id",))


def end_presence(work: Work, charger_id: str, session_id: str) -> bool:
    """Note that a socket has closed, only if it is still the charger's own."""
    return (
        work.run(
            sa.update(presences)
            .where(presences.c.charger_id == charger_id, presences.c.session_id == session_id)
            .values(session_id=None, disconnected_at=work.now)
        )
        == 1
    )


def clear_presence(work: Work, charger_id: str) -> bool:
    """Note that whatever socket a charger has is its own no longer; say whether it had one."""
    return (
        work.run(
            sa.update(presences)
            .where(presences.c.charger_id == charger_id, presences.c.session_id.is_not(None))
            .values(session_id=None, disconnected_at=work.now)
        )
        == 1
    )


def end_presences_of(work: Work, gateway: str) -> list[str]:
    """Note that a gateway holds no socket any more; return whose they were."""
    rows = work.rows(
        sa.update(presences)
        .where(presences.c.gateway == gateway, presences.c.session_id.is_not(None))
        .values(session_id=None, disconnected_at=work.now)
        .returning(presences.c.charger_id)
    )
    return [row.charger_id for row in rows]


def set_seen(work: Work, charger_ids: Iterable[str]) -> None:
    """Note that these chargers were heard just now."""
    work.run_many(_seen, [{"key": charger_id, "at": work.now} for charger_id in sorted(charger_ids)])


def upsert_connectors(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store the status of connectors."""
    work.upsert(connectors, sorted(rows, key=_by_id), key=("charger_id", "number"))


def find_connectors(work: Work, charger_ids: Iterable[str]) -> list[Row]:
    """Return the connectors of these chargers in order."""
    return list(
        work.rows(
            sa.select(connectors)
            .where(connectors.c.charger_id.in_(sorted(set(charger_ids))))
            .order_by(connectors.c.charger_id, connectors.c.number)
        )
    )

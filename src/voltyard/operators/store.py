"""All SQL of the links: what they are, whom they serve, how far they have come."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from voltyard.chargers.tables import chargers, commands, connectors, parameters, presences
from voltyard.kernel.actor import Kind
from voltyard.kernel.bulk import among
from voltyard.kernel.db import Work
from voltyard.locations.access import Permission
from voltyard.locations.service import visible
from voltyard.operators.tables import (
    composed_limits,
    link_history,
    link_keys,
    link_numbers,
    link_profiles,
    link_reservations,
    link_verdicts,
    links,
)
from voltyard.transactions.tables import transactions

Row = sa.Row[Any]

NO_SECRETS: Final[Mapping[str, None]] = MappingProxyType(
    {"password_sealed": None, "password_next_sealed": None, "key_sealed": None}
)
"""What of a link is forgotten when it is over."""

_alive = sa.and_(links.c.ended_at.is_(None), links.c.location_id == chargers.c.location_id)
_with_charger = sa.select(
    links,
    chargers.c.identity.label("charger_identity"),
    chargers.c.name.label("charger_name"),
    chargers.c.location_id.label("charger_location_id"),
).join(chargers, chargers.c.id == links.c.charger_id)
_billing = (
    sa.select(
        links.c.id,
        links.c.charger_id,
        links.c.location_id,
        links.c.fallback,
        links.c.consents,
        links.c.name,
    )
    .join(chargers, chargers.c.id == links.c.charger_id)
    .where(among(links.c.charger_id, "charger_ids"), links.c.role == "billing", _alive)
)
_away = (
    sa.select(chargers.c.id)
    .outerjoin(presences, presences.c.charger_id == chargers.c.id)
    .where(
        among(chargers.c.id, "charger_ids"),
        presences.c.session_id.is_(None),
        sa.or_(
            presences.c.disconnected_at.is_(None),
            presences.c.disconnected_at < sa.bindparam("before", type_=presences.c.disconnected_at.type),
        ),
    )
)
_new_cursor = sa.bindparam("new_cursor", type_=sa.BigInteger)
_progress = (
    sa.update(links)
    .where(links.c.id == sa.bindparam("key"))
    .values(
        cursor=sa.case((links.c.cursor < _new_cursor, _new_cursor), else_=links.c.cursor),
        delivered_at=sa.func.coalesce(
            sa.bindparam("at", type_=links.c.delivered_at.type), links.c.delivered_at
        ),
    )
)


def insert_link(work: Work, **values: Any) -> None:
    """Add a link."""
    work.insert(links, created_at=work.now, **values)


def set_link(work: Work, link_id: str, **values: Any) -> None:
    """Change columns of a link."""
    work.run(sa.update(links).where(links.c.id == link_id).values(**values))


def find_link(work: Work, link_id: str) -> Row | None:
    """Return a link and where its charger stands now, whoever asks."""
    return work.row(_with_charger.where(links.c.id == link_id))


def list_links(work: Work, *, charger_id: str | None, after: str | None, limit: int) -> list[Row]:
    """Return links that count and that the actor may see, oldest first."""
    query = (
        _with_charger.where(
            _alive, links.c.location_id.in_(visible(work, work.actor, Permission.VIEW_SENSITIVE))
        )
        .order_by(links.c.id)
        .limit(limit)
    )
    if charger_id:
        query = query.where(links.c.charger_id == charger_id)
    if after:
        query = query.where(links.c.id > after)
    return list(work.rows(query))


def links_of(work: Work, charger_id: str) -> list[Row]:
    """Return the links of a charger that count, oldest first, whoever asks."""
    return list(work.rows(_with_charger.where(links.c.charger_id == charger_id, _alive).order_by(links.c.id)))


def count_links(work: Work, *, charger_id: str = "", location_id: str = "") -> int:
    """Count the links of a charger or of a location that have not ended."""
    query = sa.select(sa.func.count()).select_from(links).where(links.c.ended_at.is_(None))
    if charger_id:
        query = query.where(links.c.charger_id == charger_id)
    if location_id:
        query = query.where(links.c.location_id == location_id)
    return int(work.value(query))


def end_strays(work: Work, charger_id: str) -> list[str]:
    """End the links of a charger that were made elsewhere; return their ids."""
    moved = (
        sa.select(links.c.id)
        .join(chargers, chargers.c.id == links.c.charger_id)
        .where(
            links.c.charger_id == charger_id,
            links.c.ended_at.is_(None),
            links.c.location_id.is_distinct_from(chargers.c.location_id),
        )
    )
    found = [row.id for row in work.rows(moved)]
    if found:
        work.run(
            sa.update(links)
            .where(links.c.id.in_(found))
            .values(ended_at=work.now, is_over=True, state="ended", state_at=work.now, **NO_SECRETS)
        )
    return found


def billing_links(work: Work, charger_ids: Collection[str]) -> dict[str, Row]:
    """Return the Billing link of each of these chargers that has one."""
    return {row.charger_id: row for row in work.find(_billing, charger_ids=list(charger_ids))}


def served_links(work: Work, *, after: str = "", limit: int) -> list[Row]:
    """Return links that a line has to serve: those that count, and those with a last word to say."""
    return list(
        work.rows(
            sa.select(links)
            .join(chargers, chargers.c.id == links.c.charger_id)
            .where(
                links.c.is_over.is_(sa.false()),
                links.c.location_id == chargers.c.location_id,
                links.c.id > after,
            )
            .order_by(links.c.id)
            .limit(limit)
        )
    )


def away_of(work: Work, charger_ids: Collection[str], before: datetime) -> list[str]:
    """Return which of these chargers went away before an instant, or were never here."""
    return [row.id for row in work.find(_away, charger_ids=sorted(charger_ids), before=before)]


def find_charger(work: Work, charger_id: str) -> Row | None:
    """Return what an operator is told of a charger, and whether it is here."""
    return work.row(
        sa.select(
            chargers,
            presences.c.session_id,
            presences.c.disconnected_at,
            presences.c.via,
        )
        .outerjoin(presences, presences.c.charger_id == chargers.c.id)
        .where(chargers.c.id == charger_id)
    )


def connectors_of(work: Work, charger_id: str) -> list[Row]:
    """Return the states of a charger's connectors, the charger's own as number 0."""
    return list(
        work.rows(
            sa.select(connectors).where(connectors.c.charger_id == charger_id).order_by(connectors.c.number)
        )
    )


def running_of(work: Work, charger_id: str) -> list[Row]:
    """Return the transactions of a charger that run."""
    return list(
        work.rows(
            sa.select(transactions)
            .where(transactions.c.charger_id == charger_id, transactions.c.ended_at.is_(None))
            .order_by(transactions.c.number)
        )
    )


def find_reported(work: Work, charger_id: str, key: str) -> str | None:
    """Return what a charger told last of a configuration key, which is given in lower case."""
    found: str | None = work.value(
        sa.select(parameters.c.reported).where(parameters.c.charger_id == charger_id, parameters.c.key == key)
    )
    return found


def reported_of(work: Work, charger_id: str) -> list[Row]:
    """Return the configuration keys that a charger told since it came to where it is."""
    return list(
        work.rows(
            sa.select(parameters.c.name, parameters.c.reported, parameters.c.is_readonly)
            .join(chargers, chargers.c.id == parameters.c.charger_id)
            .where(
                parameters.c.charger_id == charger_id,
                parameters.c.reported_at >= chargers.c.claimed_at,
                parameters.c.is_unknown.is_(sa.false()),
            )
            .order_by(parameters.c.key)
        )
    )


_energies = sa.select(
    transactions.c.number, (transactions.c.meter_last_wh - transactions.c.meter_start_wh).label("energy_wh")
).where(among(transactions.c.number, "numbers"))


def energies_of(work: Work, numbers: Collection[int]) -> dict[int, int | None]:
    """Return how much energy transactions of ours have counted, None before any register."""
    rows = work.find(_energies, numbers=sorted(numbers)) if numbers else []
    return {row.number: row.energy_wh for row in rows}


def registers_of(work: Work, numbers: Collection[int]) -> dict[int, int]:
    """Return the last register of transactions of ours, where one was read."""
    rows = work.rows(
        sa.select(transactions.c.number, transactions.c.meter_last_wh).where(
            transactions.c.number.in_(numbers), transactions.c.meter_last_wh.is_not(None)
        )
    )
    return {row.number: row.meter_last_wh for row in rows}


_asked = sa.select(commands.c.request, commands.c.awaits, commands.c.effect_at).where(
    commands.c.charger_id == sa.bindparam("charger_id"),
    commands.c.actor_kind == sa.literal_column(f"'{Kind.LINK.value}'"),
    commands.c.actor_id == sa.bindparam("link_id"),
    among(commands.c.kind, "kinds"),
    commands.c.created_at >= sa.bindparam("since_at", type_=commands.c.created_at.type),
)


def asked_since(
    work: Work, charger_id: str, link_id: str, kinds: Collection[str], since_at: datetime
) -> list[Row]:
    """Return what became of the commands of these kinds that a link gave a charger since an instant.

    ``awaits`` is None once the effect has come, or was refused; then ``effect_at`` tells the two apart.
    """
    return work.find(_asked, charger_id=charger_id, link_id=link_id, kinds=list(kinds), since_at=since_at)


def set_progress(work: Work, cursors: Mapping[str, int], told: Collection[str]) -> None:
    """Move cursors on, none back; and note which links have just delivered something."""
    work.run_many(
        _progress,
        [
            {
                "key": link_id,
                "new_cursor": cursors.get(link_id, 0),
                "at": work.now if link_id in told else None,
            }
            for link_id in sorted({*cursors, *told})
        ],
    )


# --- transaction numbers --------------------------------------------------------------------------

_numbers = sa.select(link_numbers).where(
    among(link_numbers.c.link_id, "link_ids"), among(link_numbers.c.number, "numbers")
)


def find_numbers(work: Work, link_ids: Collection[str], numbers: Collection[int]) -> list[Row]:
    """Return what links know of transactions of ours, in one look."""
    if not numbers or not link_ids:
        return []
    return work.find(_numbers, link_ids=list(link_ids), numbers=sorted(numbers))


def find_theirs(work: Work, link_id: str, theirs: int) -> Row | None:
    """Return the newest transaction that an operator knows by this number."""
    return work.row(
        sa.select(link_numbers)
        .where(link_numbers.c.link_id == link_id, link_numbers.c.theirs == theirs)
        .order_by(link_numbers.c.number.desc())
        .limit(1)
    )


def newest_numbers(work: Work, link_id: str, *, limit: int) -> list[Row]:
    """Return the newest transactions that an operator was told of."""
    return list(
        work.rows(
            sa.select(link_numbers)
            .where(link_numbers.c.link_id == link_id)
            .order_by(link_numbers.c.number.desc())
            .limit(limit)
        )
    )


def open_numbers(work: Work, link_id: str) -> list[Row]:
    """Return the transactions that an operator believes to run."""
    return list(
        work.rows(
            sa.select(link_numbers).where(
                link_numbers.c.link_id == link_id, link_numbers.c.state.in_(("open", "refused"))
            )
        )
    )


def upsert_numbers(work: Work, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep what links know of transactions; all rows with the same columns."""
    work.upsert(link_numbers, rows, key=("link_id", "number"))


# --- keys, profiles, verdicts, history ------------------------------------------------------------


def keys_of(work: Work, link_id: str) -> list[Row]:
    """Return the configuration keys that are a link's own."""
    return list(work.rows(sa.select(link_keys).where(link_keys.c.link_id == link_id)))


def upsert_key(work: Work, link_id: str, name: str, value: str) -> None:
    """Keep a configuration key of a link's own."""
    row = {"link_id": link_id, "key": name.casefold(), "name": name, "value": value}
    work.upsert(link_keys, [row], key=("link_id", "key"))


def find_profiles(work: Work, link_id: str) -> str | None:
    """Return the limits that an operator has set, packed."""
    found: str | None = work.value(sa.select(link_profiles.c.body).where(link_profiles.c.link_id == link_id))
    return found


def upsert_profiles(work: Work, link_id: str, body: str) -> None:
    """Keep the limits that an operator has set."""
    row = {"link_id": link_id, "body": body, "changed_at": work.now}
    work.upsert(link_profiles, [row], key=("link_id",))


_verdict = sa.select(link_verdicts).where(
    link_verdicts.c.link_id == sa.bindparam("link_id"), link_verdicts.c.tag_key == sa.bindparam("tag_key")
)


def find_verdict(work: Work, link_id: str, tag_key: str) -> Row | None:
    """Return when an operator last accepted a card, if it did and has not refused it since."""
    rows = work.find(_verdict, link_id=link_id, tag_key=tag_key)
    return rows[0] if rows else None


def upsert_verdict(work: Work, link_id: str, tag_key: str, **values: Any) -> None:
    """Keep that an operator accepted a card."""
    row = {"link_id": link_id, "tag_key": tag_key, "at": work.now, **values}
    work.upsert(link_verdicts, [row], key=("link_id", "tag_key"))


def delete_verdict(work: Work, link_id: str, tag_key: str) -> None:
    """Forget that an operator accepted a card."""
    work.run(
        sa.delete(link_verdicts).where(link_verdicts.c.link_id == link_id, link_verdicts.c.tag_key == tag_key)
    )


def find_reservation(work: Work, link_id: str, theirs: int) -> str | None:
    """Return the reservation that an operator knows by this number."""
    found: str | None = work.value(
        sa.select(link_reservations.c.reservation_id).where(
            link_reservations.c.link_id == link_id, link_reservations.c.theirs == theirs
        )
    )
    return found


def upsert_reservation(work: Work, link_id: str, theirs: int, reservation_id: str) -> None:
    """Keep which reservation an operator knows by this number."""
    row = {"link_id": link_id, "theirs": theirs, "reservation_id": reservation_id}
    work.upsert(link_reservations, [row], key=("link_id", "theirs"))


def composed_of(work: Work, charger_id: str) -> list[Row]:
    """Return what a charger was last given of the limits of all together."""
    return list(
        work.rows(
            sa.select(composed_limits)
            .where(composed_limits.c.charger_id == charger_id)
            .order_by(composed_limits.c.connector)
        )
    )


def upsert_composed(work: Work, **values: Any) -> None:
    """Keep what a charger was given for a connector."""
    work.upsert(composed_limits, [{**values, "sent_at": work.now}], key=("charger_id", "connector"))


def delete_composed(work: Work, charger_id: str, connector: int) -> None:
    """Forget what a charger was given for a connector."""
    work.run(
        sa.delete(composed_limits).where(
            composed_limits.c.charger_id == charger_id, composed_limits.c.connector == connector
        )
    )


_limited = (
    sa.select(chargers.c.id)
    .where(
        among(chargers.c.id, "charger_ids"),
        sa.or_(
            sa.exists().where(composed_limits.c.charger_id == chargers.c.id),
            sa.exists().where(
                links.c.charger_id == chargers.c.id,
                links.c.ended_at.is_(None),
                link_profiles.c.link_id == links.c.id,
            ),
        ),
    )
    .order_by(chargers.c.id)
)


def limited_of(work: Work, charger_ids: Collection[str]) -> list[str]:
    """Return which of these chargers operators limit, or have limited; in order."""
    if not charger_ids:
        return []
    return [row.id for row in work.find(_limited, charger_ids=sorted(charger_ids))]


_forget_sent = (
    sa.update(composed_limits).where(composed_limits.c.charger_id == sa.bindparam("key")).values(sent="")
)


def forget_sent(work: Work, charger_ids: Collection[str]) -> None:
    """Note that nobody knows what limits these chargers have now."""
    work.run_many(_forget_sent, [{"key": charger_id} for charger_id in sorted(charger_ids)])


def insert_history(work: Work, **values: Any) -> None:
    """Add what somebody did to a link."""
    work.insert(link_history, at=work.now, **values)


def history_of(work: Work, link_id: str, *, limit: int) -> list[Row]:
    """Return what was done to a link, newest first."""
    return list(
        work.rows(
            sa.select(link_history)
            .where(link_history.c.link_id == link_id)
            .order_by(link_history.c.id.desc())
            .limit(limit)
        )
    )


_AVAILABILITY = ("SetAvailability", "ChangeAvailability")


def owners_out_of_use(work: Work, charger_id: str) -> frozenset[int]:
    """Return the connectors that people put out of use and did not bring back, 0 for the whole charger."""
    rows = work.rows(
        sa.select(commands.c.connector, commands.c.request)
        .where(
            commands.c.charger_id == charger_id,
            commands.c.kind.in_(_AVAILABILITY),
            commands.c.actor_kind.in_((Kind.USER.value, Kind.TOKEN.value)),
            commands.c.status == "executed",
        )
        .order_by(commands.c.id)
    )
    out: set[int] = set()
    for row in rows:
        if '"Inoperative"' in row.request:
            out.add(row.connector or 0)
        else:
            out.discard(row.connector or 0)
            if not row.connector:
                out.clear()
    return frozenset(out)


def names_of(work: Work, link_ids: Collection[str]) -> dict[str, str]:
    """Return the names of links, of ended ones too."""
    if not link_ids:
        return {}
    rows = work.rows(sa.select(links.c.id, links.c.name).where(links.c.id.in_(sorted(link_ids))))
    return {row.id: row.name for row in rows}

"""All SQL of the local lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.cards.tables import cards
from voltyard.chargers.tables import chargers
from voltyard.kernel.db import Work
from voltyard.local_lists.tables import local_list_cards, local_lists

Row = sa.Row[Any]


def find_lists(work: Work, charger_ids: Iterable[str]) -> dict[str, Row]:
    """Return how the lists of these chargers stand; those without a row are left out."""
    rows = work.rows(sa.select(local_lists).where(local_lists.c.charger_id.in_(sorted(set(charger_ids)))))
    return {row.charger_id: row for row in rows}


def insert_unknown(work: Work, charger_ids: Sequence[str]) -> None:
    """Begin to keep account of the lists of these chargers; those that are known already stay as they are."""
    rows = [
        {
            "charger_id": charger_id,
            "state": "unknown",
            "word": "",
            "newest_version": 0,
            "card_count": 0,
            "left_out_count": 0,
        }
        for charger_id in charger_ids
    ]
    work.insert_new(local_lists, rows, key=("charger_id",))


def set_list(work: Work, charger_id: str, **values: Any) -> None:
    """Change how the list of a charger stands."""
    work.run(sa.update(local_lists).where(local_lists.c.charger_id == charger_id).values(**values))


def set_waiting(work: Work, charger_ids: Sequence[str], *, only: Sequence[str]) -> None:
    """Note that the lists of these chargers are behind, of those that stand as ``only`` names."""
    work.run(
        sa.update(local_lists)
        .where(local_lists.c.charger_id.in_(charger_ids), local_lists.c.state.in_(only))
        .values(state="waiting", asked_at=work.now)
    )


def set_forget(work: Work, charger_ids: Sequence[str]) -> None:
    """Note that these chargers have to empty their caches."""
    work.run(
        sa.update(local_lists).where(local_lists.c.charger_id.in_(charger_ids)).values(forget_at=work.now)
    )


def clear_forget(work: Work, charger_id: str, since_at: datetime) -> None:
    """Note that a charger has emptied its cache, unless there is a newer reason to do so."""
    work.run(
        sa.update(local_lists)
        .where(local_lists.c.charger_id == charger_id, local_lists.c.forget_at == since_at)
        .values(forget_at=None)
    )


def take_turn(work: Work, charger_id: str, until_at: datetime) -> bool:
    """Let nobody else speak with a charger about its list until an instant; False while somebody does."""
    changed = work.run(
        sa.update(local_lists)
        .where(
            local_lists.c.charger_id == charger_id,
            sa.or_(local_lists.c.busy_until.is_(None), local_lists.c.busy_until <= work.now),
        )
        .values(busy_until=until_at)
    )
    return changed == 1


def held(work: Work, charger_id: str) -> list[Row]:
    """Return the cards that a charger holds, as far as we know."""
    return list(
        work.rows(
            sa.select(local_list_cards)
            .where(local_list_cards.c.charger_id == charger_id)
            .order_by(local_list_cards.c.tag_key)
        )
    )


def change_held(
    work: Work, charger_id: str, *, gone: Sequence[str], news: Sequence[Mapping[str, Any]], is_whole: bool
) -> None:
    """Note what a charger's list holds after a step."""
    query = sa.delete(local_list_cards).where(local_list_cards.c.charger_id == charger_id)
    if is_whole:
        work.run(query)
    elif gone:
        work.run(query.where(local_list_cards.c.tag_key.in_(gone)))
    rows = [{"charger_id": charger_id, **row} for row in news]
    work.upsert(local_list_cards, rows, key=("charger_id", "tag_key"))


def cards_of(work: Work, location_id: str, most: int) -> list[Row]:
    """Return the cards of a location for its chargers: those that may charge first, last used first."""
    return list(
        work.rows(
            sa.select(cards.c.id_tag, cards.c.is_blocked, cards.c.expires_at)
            .where(cards.c.location_id == location_id)
            .order_by(
                cards.c.is_blocked,
                sa.and_(cards.c.expires_at.is_not(None), cards.c.expires_at <= work.now),
                sa.func.coalesce(cards.c.used_at, cards.c.created_at).desc(),
                cards.c.id.desc(),
            )
            .limit(most)
        )
    )


def count_cards(work: Work, location_id: str) -> int:
    """Count the cards of a location."""
    query = sa.select(sa.func.count()).select_from(cards).where(cards.c.location_id == location_id)
    return int(work.value(query))


def chargers_at(work: Work, location_id: str, *, after: str, limit: int) -> list[str]:
    """Return a page of the chargers of a location, archived or not; for the system."""
    rows = work.rows(
        sa.select(chargers.c.id)
        .where(chargers.c.location_id == location_id, chargers.c.id > after)
        .order_by(chargers.c.id)
        .limit(limit)
    )
    return [row.id for row in rows]

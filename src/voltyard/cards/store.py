"""All SQL of the cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.cards.tables import cards
from voltyard.kernel.bulk import among
from voltyard.kernel.db import Work
from voltyard.locations.service import visible

Row = sa.Row[Any]

_used = (
    sa.update(cards)
    .where(
        cards.c.id == sa.bindparam("key"),
        sa.or_(cards.c.used_at.is_(None), cards.c.used_at < sa.bindparam("used", type_=cards.c.used_at.type)),
    )
    .values(used_at=sa.bindparam("used", type_=cards.c.used_at.type))
)


def find_card(work: Work, card_id: str) -> Row | None:
    """Return a card, whoever asks."""
    return work.row(sa.select(cards).where(cards.c.id == card_id))


def find_by_key(work: Work, location_id: str, tag_key: str) -> Row | None:
    """Return the card with this tag at a location."""
    return work.row(sa.select(cards).where(cards.c.location_id == location_id, cards.c.tag_key == tag_key))


_many = sa.select(cards).where(among(cards.c.location_id, "location_ids"), among(cards.c.tag_key, "tag_keys"))


def find_many(work: Work, location_ids: Iterable[str], tag_keys: Iterable[str]) -> list[Row]:
    """Return the cards of these locations with one of these tags."""
    return work.find(_many, location_ids=list(set(location_ids)), tag_keys=list(set(tag_keys)))


def list_cards(
    work: Work, *, location_id: str | None, after: str | None, limit: int, q: str, tag: str
) -> list[Row]:
    """Return a page of the cards of the actor's locations, newest first."""
    query = (
        sa.select(cards)
        .where(cards.c.location_id.in_(visible(work, work.actor)))
        .order_by(cards.c.id.desc())
        .limit(limit)
    )
    if location_id:
        query = query.where(cards.c.location_id == location_id)
    if q:
        named = sa.func.lower(cards.c.name).contains(q.lower(), autoescape=True)
        # Of "-" or ":" nothing is left to compare with a tag; nothing would be in every one.
        query = query.where(sa.or_(named, cards.c.tag_key.contains(tag, autoescape=True)) if tag else named)
    if after:
        query = query.where(cards.c.id < after)
    return list(work.rows(query))


def insert_card(work: Work, **values: Any) -> None:
    """Add a card."""
    work.insert(cards, created_at=work.now, **values)


def set_card(work: Work, card_id: str, **values: Any) -> None:
    """Change a card."""
    work.run(sa.update(cards).where(cards.c.id == card_id).values(**values))


def touch_many(work: Work, used: Mapping[str, datetime]) -> None:
    """Note when cards were used; what was earlier than the last time changes nothing."""
    # In one order, so that two of these never wait for each other.
    work.run_many(_used, [{"key": card_id, "used": used[card_id]} for card_id in sorted(used)])


def delete_card(work: Work, card_id: str) -> None:
    """Remove a card."""
    work.run(sa.delete(cards).where(cards.c.id == card_id))

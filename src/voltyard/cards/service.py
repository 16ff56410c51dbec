"""What one can do with cards: add, rename, block, remove, and judge the one at the reader."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from voltyard.cards import store
from voltyard.cards.events import CardsChanged, CardsWithdrawn
from voltyard.kernel import jobs
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Invalid, NotFound
from voltyard.kernel.ids import check, new_id
from voltyard.kernel.limits import TAG_LENGTH_MAX
from voltyard.locations.access import Permission
from voltyard.locations.service import permissions, require, require_open
from voltyard.speech import Verdict

_NOISE = re.compile(r"[\s:\-]")
FOLLOW_DELAY_S = 2.0
"""Cards are often changed one after the other; what keeps copies of them waits this long for more."""


class CardExists(Conflict):
    """A card with this tag is there already."""

    title = "This card is there already"


@dataclass(frozen=True, slots=True)
class Card:
    """A card of a location."""

    id: str
    location_id: str
    name: str
    id_tag: str
    is_blocked: bool
    expires_at: datetime | None
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was decided about a tag, and which card it is, if any."""

    verdict: Verdict
    card_id: str | None = None
    expires_at: datetime | None = None


def tag_key(id_tag: str) -> str:
    """Return a tag in the form in which tags are compared (quirk Q34)."""
    return _NOISE.sub("", id_tag).upper()


def _card(row: Any) -> Card:
    return Card(
        row.id,
        row.location_id,
        row.name,
        row.id_tag,
        row.is_blocked,
        row.expires_at,
        row.created_at,
        row.used_at,
    )


def get(work: Work, card_id: str) -> Card:
    """Return a card. Raises: NotFound."""
    row = store.find_card(work, check("card", card_id))
    if row is None or Permission.VIEW not in permissions(work, row.location_id):
        raise NotFound("there is no such card", id=card_id)
    return _card(row)


def find(work: Work, location_id: str, id_tag: str) -> Card | None:
    """Return the card of a location that bears this tag, in any spelling, if there is one.

    Raises: NotFound; Forbidden.
    """
    require(work, location_id, Permission.VIEW)
    row = store.find_by_key(work, location_id, tag_key(id_tag))
    return _card(row) if row is not None else None


def list_cards(
    work: Work, *, location_id: str | None = None, after: str | None = None, limit: int = 25, q: str = ""
) -> list[Card]:
    """Return a page of the cards that the actor may see, newest first."""
    if location_id is not None:
        require(work, location_id, Permission.VIEW)
    rows = store.list_cards(
        work, location_id=location_id, after=after, limit=limit, q=q.strip(), tag=tag_key(q)
    )
    return [_card(row) for row in rows]


def _check(name: str, id_tag: str) -> None:
    wrong: list[tuple[str, str]] = []
    if not name.strip() or len(name) > 255 or not name.isprintable():
        wrong.append(("/name", "a name of 1 to 255 characters"))
    if not tag_key(id_tag):
        wrong.append(("/id_tag", "the number that the reader sees, such as 04A1B2C3"))
    elif len(id_tag) > TAG_LENGTH_MAX or not (id_tag.isascii() and id_tag.isprintable()):
        wrong.append(("/id_tag", f"at most {TAG_LENGTH_MAX} letters, digits and signs of ASCII"))
    if wrong:
        raise Invalid("the card was not saved: " + "; ".join(why for _, why in wrong), tuple(wrong))


def add(work: Work, location_id: str, *, name: str, id_tag: str, expires_at: datetime | None = None) -> Card:
    """Add a card to a location. Raises: NotFound; Forbidden; Conflict (archived); Invalid; CardExists."""
    require(work, check("loc", location_id), Permission.EDIT_CARDS)
    require_open(work, location_id)
    id_tag = id_tag.strip()
    _check(name, id_tag)
    if expires_at is not None and expires_at.tzinfo is None:
        raise Invalid("expires_at needs a time zone", (("/expires_at", "such as 2027-01-01T00:00:00Z"),))
    key = tag_key(id_tag)
    old = store.find_by_key(work, location_id, key)
    if old is not None:
        raise CardExists(f"this location has that card already, named {old.name}", id=old.id)
    card_id = new_id("card")
    store.insert_card(
        work,
        id=card_id,
        location_id=location_id,
        name=name.strip(),
        id_tag=id_tag,
        tag_key=key,
        is_blocked=False,
        expires_at=expires_at,
    )
    _tell(work, location_id)
    if expires_at is not None and expires_at > work.now:
        # Not every charger looks at the date beside a card in its list.
        jobs.enqueue(
            work,
            CardsChanged(location_id),
            delay_s=(expires_at - work.now).total_seconds() + FOLLOW_DELAY_S,
            key=f"cards-expire:{card_id}",
        )
    return get(work, card_id)


def _tell(work: Work, location_id: str, *, is_withdrawn: bool = False) -> None:
    """Have those who keep copies of a location's cards follow; durable, lest a lost word let a card in."""
    if is_withdrawn:
        jobs.enqueue(
            work,
            CardsWithdrawn(location_id),
            delay_s=FOLLOW_DELAY_S,
            key=f"cards-withdrawn:{location_id}",
        )
    else:
        jobs.enqueue(
            work, CardsChanged(location_id), delay_s=FOLLOW_DELAY_S, key=f"cards-changed:{location_id}"
        )


def change(work: Work, card_id: str, *, name: str | None = None, is_blocked: bool | None = None) -> Card:
    """Rename, block or unblock a card. Raises: NotFound; Forbidden; Invalid."""
    card = get(work, card_id)
    require(work, card.location_id, Permission.EDIT_CARDS)
    changes: dict[str, Any] = {}
    if name is not None:
        _check(name, card.id_tag)
        changes["name"] = name.strip()
    if is_blocked is not None:
        changes["is_blocked"] = is_blocked
    if changes:
        store.set_card(work, card_id, **changes)
    if is_blocked is not None and is_blocked != card.is_blocked:
        _tell(work, card.location_id, is_withdrawn=is_blocked)
    return get(work, card_id)


def remove(work: Work, card_id: str) -> None:
    """Remove a card; its transactions keep the tag. Raises: NotFound; Forbidden."""
    card = get(work, card_id)
    require(work, card.location_id, Permission.EDIT_CARDS)
    store.delete_card(work, card_id)
    _tell(work, card.location_id, is_withdrawn=True)


def judge(
    work: Work, asked: Sequence[tuple[str | None, str]], at: Sequence[datetime] | None = None
) -> list[Judgement]:
    """Decide about tags at readers, each with the location of its charger, in one look-up.

    ``at`` says when each was read, where that was not now (quirk Q44: chargers tell weeks of history): the
    card was used then. It is judged by what holds now, for a clock that is behind must not let an expired
    card in. A charger without a location accepts no card.
    """
    keys = [(location_id, tag_key(id_tag)) for location_id, id_tag in asked]
    located = [(location_id, key) for location_id, key in keys if location_id is not None]
    known: dict[tuple[str | None, str], Any] = {}
    if located:
        rows = store.find_many(work, [place for place, _ in located], [key for _, key in located])
        known = {(row.location_id, row.tag_key): row for row in rows}
    read_at = [work.now] * len(keys) if at is None else at
    judgements = [_judge(known.get(key), work.now) for key in keys]
    used: dict[str, datetime] = {}
    for found, when in zip(judgements, read_at, strict=True):
        if found.card_id is not None:
            used[found.card_id] = max(when, used.get(found.card_id, when))
    store.touch_many(work, used)
    return judgements


def _judge(row: Any, now: datetime) -> Judgement:
    if row is None:
        return Judgement(Verdict.INVALID)
    if row.is_blocked:
        return Judgement(Verdict.BLOCKED, row.id)
    if row.expires_at is not None and row.expires_at <= now:
        return Judgement(Verdict.EXPIRED, row.id, row.expires_at)
    return Judgement(Verdict.ACCEPTED, row.id, row.expires_at)

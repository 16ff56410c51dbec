"""Which cards a charger's list should hold, and the fewest changes that bring it there; all pure.

A list is a mapping from a card's key to the card; the key is the tag as chargers compare it, without case
(CiString20Type, OCPP 1.6 §7.1). Entries with a verdict are put in, entries without one taken out.

Invariants (property tests of the same names):
the changes applied to the old list give the new one · no step is larger than the charger takes ·
steps one after the other never hold more cards than both lists need · versions only rise
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from voltyard.speech import ListedCard, Verdict

VERSION_MAX = 2**31 - 1
"""OCPP 1.6 §5.15: listVersion is an integer; 32 bits are what every charger can hold."""

Listed = Mapping[str, ListedCard]


@dataclass(frozen=True, slots=True)
class Step:
    """One message to a charger: its list has this version afterwards."""

    version: int
    cards: tuple[ListedCard, ...]
    is_whole: bool


def key(id_tag: str) -> str:
    """Return a tag in the form in which chargers compare tags in their list."""
    return id_tag.upper()


def listed(id_tag: str, *, is_blocked: bool, expires_at: datetime | None, now: datetime) -> ListedCard:
    """Return a card as a charger keeps it: spelled as it was entered (quirk Q34), with its verdict now."""
    if is_blocked:
        return ListedCard(id_tag, Verdict.BLOCKED)
    # Some chargers do not look at expiryDate: a card that is over is said to be.
    is_over = expires_at is not None and expires_at <= now
    return ListedCard(id_tag, Verdict.EXPIRED if is_over else Verdict.ACCEPTED, expires_at)


def together(cards: Iterable[ListedCard]) -> dict[str, ListedCard]:
    """Return a list of these cards; of two with one key the first one counts."""
    found: dict[str, ListedCard] = {}
    for card in cards:
        found.setdefault(key(card.id_tag), card)
    return found


def difference(held: Listed, wanted: Listed) -> tuple[ListedCard, ...]:
    """Return the changes that make the wanted list of the held one; what goes comes first, to make room."""
    gone = [ListedCard(card.id_tag) for name, card in held.items() if name not in wanted]
    news = [card for name, card in wanted.items() if held.get(name) != card]
    return (*gone, *news)


def applied(held: Listed, step: Step) -> dict[str, ListedCard]:
    """Return what a charger holds after a step (OCPP 1.6 §5.15)."""
    found = {} if step.is_whole else dict(held)
    for card in step.cards:
        if card.verdict is None:
            found.pop(key(card.id_tag), None)
        else:
            found[key(card.id_tag)] = card
    return found


def steps(held: Listed | None, wanted: Listed, *, newest: int, step_max: int) -> list[Step]:
    """Return the messages that bring a charger's list in step; none when it is already.

    ``held`` is None where nobody knows what the charger holds: then its list is made anew, the first
    message from the ground and the others on top of it. Versions begin above ``newest``.
    """
    is_whole = held is None
    changes: Sequence[ListedCard] = tuple(wanted.values()) if held is None else difference(held, wanted)
    pieces = [tuple(changes[at : at + step_max]) for at in range(0, len(changes), step_max)]
    if is_whole and not pieces:
        pieces = [()]
    return [
        Step(newest + place, piece, is_whole=is_whole and place == 1) for place, piece in enumerate(pieces, 1)
    ]


def newest(ours: int, told: int | None) -> int:
    """Return the version above which the next ones begin.

    A charger may hold a higher one from the system that it belonged to before; one that leaves no room
    is of no use, and a whole list may bear any version.
    """
    highest = max(ours, told or 0)
    return highest if highest < VERSION_MAX - 100_000 else ours

"""Who may charge where, as long as connectors are kept for cards; all pure.

Connector 0 stands for any one connector of the charger (OCPP 1.6 §5.13). Tags are told apart by their keys.

Invariants (property tests of the same names):
no two reservations hold one connector at one time · while a reservation holds, nobody else starts there ·
whoever reserved may start
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """A connector that is kept for a card, from one instant until another."""

    number: int
    connector: int
    tag_key: str
    made_at: datetime
    expires_at: datetime

    def is_holding(self, at: datetime) -> bool:
        """Say whether it holds at an instant; times alone decide."""
        return self.made_at <= at < self.expires_at


def in_the_way(
    kept: Sequence[Kept], connector: int, tag_key: str, at: datetime, *, free: Collection[int]
) -> Kept | None:
    """Return the reservation of another card that keeps this card from a connector, None when none does.

    ``free`` are the connectors where somebody could begin now. A card without a reservation may use a
    connector as long as enough others are free for those who reserved just any.
    """
    holding = [each for each in kept if each.is_holding(at)]
    by_name = {each.connector: each for each in holding if each.connector > 0}
    here = by_name.get(connector)
    if here is not None:
        return None if here.tag_key == tag_key else here
    waiting = [each for each in holding if each.connector == 0]
    if any(each.tag_key == tag_key for each in waiting):
        return None
    left = [number for number in free if number != connector and number not in by_name]
    return waiting[0] if len(waiting) > len(left) else None


def fulfilled(
    kept: Sequence[Kept], connector: int, tag_key: str, at: datetime, *, number: int | None
) -> Kept | None:
    """Return the reservation that a start makes use of: the one it names, else the card's own there."""
    own = [each for each in kept if each.tag_key == tag_key]
    for each in own:
        if number is not None and each.number == number:
            return each
    fitting = [each for each in own if each.is_holding(at) and each.connector in {0, connector}]
    return max(fitting, key=lambda each: each.connector, default=None)


def overlapping(kept: Sequence[Kept], connector: int, at: datetime, *, connectors: int) -> Kept | None:
    """Return a reservation that leaves no room for one more at a connector, None when there is room."""
    holding = [each for each in kept if each.is_holding(at)]
    for each in holding:
        if each.connector == connector and connector > 0:
            return each
    return holding[0] if len(holding) >= max(1, connectors) else None

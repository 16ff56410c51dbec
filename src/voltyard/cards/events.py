"""What happens to cards, as duties for those who keep copies of them."""

from __future__ import annotations

from voltyard.kernel.wire import Message


class CardsChanged(Message, frozen=True):
    """The cards of a location are others than before: the lists in its chargers must follow."""

    location_id: str


class CardsWithdrawn(Message, frozen=True):
    """A card that could charge at a location can no longer: its chargers must forget what they remember."""

    location_id: str

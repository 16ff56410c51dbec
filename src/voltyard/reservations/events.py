"""What happens to reservations."""

from __future__ import annotations

from voltyard.kernel.wire import Message


class ReservationChanged(Message, frozen=True):
    """A reservation was made or has ended; ``state`` says how it stands, for live views."""

    reservation_id: str
    charger_id: str
    location_id: str
    state: str


class ReservationOver(Message, frozen=True):
    """A duty: the time of this reservation is over, see that the charger gives the connector free."""

    reservation_id: str


class ReservationWithdrawn(Message, frozen=True):
    """A duty: this reservation counts no more, but the charger may not have heard of it."""

    reservation_id: str

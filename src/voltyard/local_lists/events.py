"""What happens to a charger's list of cards."""

from __future__ import annotations

from voltyard.kernel.wire import Message


class LocalListChanged(Message, frozen=True):
    """How the list of a charger stands has changed, for live views."""

    charger_id: str
    location_id: str | None
    state: str


class SyncList(Message, frozen=True):
    """A duty: bring the list of this charger in step with the cards of its location."""

    charger_id: str

"""What happens to transactions, for live views."""

from __future__ import annotations

from datetime import datetime

from voltyard.kernel.wire import Message


class TransactionChanged(Message, frozen=True):
    """A transaction started, was metered, or ended; ``what`` says which.

    What came out of a charger's memory long afterwards is ``recorded``: history, and no news (quirk Q44).
    """

    transaction_id: str
    charger_id: str
    location_id: str | None
    what: str


class AwaitStart(Message, frozen=True):
    """A duty: see whether the start that a charger accepted was told."""

    charger_id: str
    location_id: str | None
    connector: int | None
    id_tag: str
    asked_at: datetime

"""What happens to transactions, for live views."""

from __future__ import annotations

from voltyard.kernel.wire import Message


class TransactionChanged(Message, frozen=True):
    """A transaction started, was metered, or ended; ``what`` says which."""

    transaction_id: str
    charger_id: str
    location_id: str | None
    what: str

"""What happens to chargers, for live views."""

from __future__ import annotations

from voltyard.kernel.wire import Message


class ChargerChanged(Message, frozen=True):
    """Presence, status or registration of a charger changed; ``what`` says which."""

    charger_id: str
    location_id: str | None
    what: str


class CommandChanged(Message, frozen=True):
    """A command came to its end."""

    command_id: str
    charger_id: str
    location_id: str | None
    status: str


def subject(location_id: str | None, charger_id: str) -> str:
    """Return the subject on which events of a charger are told."""
    return f"live.{location_id or 'none'}.{charger_id}"

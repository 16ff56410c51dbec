"""What happens to chargers, for live views."""

from __future__ import annotations

from voltyard.kernel.wire import Message


class ChargerChanged(Message, frozen=True):
    """Presence, status or registration of a charger changed; ``what`` says which."""

    charger_id: str
    location_id: str | None
    what: str


class CommandChanged(Message, frozen=True):
    """A command went on in its life, or its effect or a late answer was heard."""

    command_id: str
    charger_id: str
    location_id: str | None
    status: str


class TransferChanged(Message, frozen=True):
    """A transfer of firmware or files went on."""

    transfer_id: str
    charger_id: str
    location_id: str | None
    stage: str


class ChargerMoved(Message, frozen=True):
    """A duty: the charger came to a location, or left one, and holds what the one before had given it."""

    charger_id: str


class ParametersChanged(Message, frozen=True):
    """A charger's parameters were read, or somebody wants others."""

    charger_id: str
    location_id: str | None


class RunChanged(Message, frozen=True):
    """A run over many chargers has come to its end at one of them."""

    run_id: str
    charger_id: str
    location_id: str | None


class MessagePromised(Message, frozen=True):
    """A duty: a charger accepted to send a message; by the end of its time, see whether it did."""

    command_id: str


def subject(location_id: str | None, charger_id: str) -> str:
    """Return the subject on which events of a charger are told."""
    return f"live.{location_id or 'none'}.{charger_id}"

"""What the operators' room tells, and what the desk and the lines say to each other."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from voltyard.kernel.wire import Message
from voltyard.speech import VendorReply, Verdict

WAKE: Final = "wake.lines"
"""Chargers said something, or links were changed."""


class Woken(Message, frozen=True):
    """There may be something for the lines of these chargers in the database."""

    charger_ids: tuple[str, ...]
    is_changed: bool = False
    """Links of theirs were made, changed or ended, not only fed."""


class LinkChanged(Message, frozen=True):
    """A link was made, changed, ended, or its connection is in another state."""

    link_id: str
    charger_id: str
    location_id: str | None


class Authorise(Message, frozen=True):
    """Ask the operator of a line whether this card may charge."""

    id_tag: str


class Deliver(Message, frozen=True):
    """Deliver up to this call of the log, and tell what the operator answered to it."""

    call_number: int


class Verdicted(Message, frozen=True):
    """What an operator answered about a card, or to a vendor's message; nothing where it did not decide."""

    verdict: Verdict | None = None
    expires_at: datetime | None = None
    parent_tag: str | None = None
    vendor: VendorReply | None = None


class TrialAsked(Message, frozen=True):
    """Try to reach an operator as this link would.

    Secrets travel sealed for the link or charger ``sealed_for``: they open with the installation's secret.
    ``by`` is who asks: nobody may try again and again.
    """

    charger_id: str
    url: str
    identity: str
    is_identity_appended: bool
    username: str
    sealed_for: str
    password_sealed: str
    certificate_pem: str
    key_sealed: str
    authority_pem: str
    by: str = ""


class Attempted(Message, frozen=True):
    """One step of a test and how it went, in words."""

    step: str
    is_ok: bool
    why: str


class Tried(Message, frozen=True):
    """How far a test came."""

    attempts: tuple[Attempted, ...]


class EndRefused(Message, frozen=True):
    """A duty: a Billing operator refused the card of a transaction too late to tell its charger; end it."""

    link_id: str
    charger_id: str
    number: int


class Compose(Message, frozen=True):
    """A duty: bring the limits of all operators, taken together, to a charger."""

    charger_id: str


class FreeConnectors(Message, frozen=True):
    """A duty: an operator has gone that wanted these connectors of a charger out of use."""

    charger_id: str
    connectors: tuple[int, ...]


class Attune(Message, frozen=True):
    """A duty: another party decides about cards now; the charger's memory of cards must follow."""

    charger_id: str

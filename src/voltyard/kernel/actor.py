"""Who acts: every Work has an Actor, and every rule of access asks it.

An Actor is plain data made at a door; rooms decide what it may do.
"""

from __future__ import annotations

from enum import StrEnum

from voltyard.kernel.wire import Message


class Kind(StrEnum):
    """The kinds of those who act."""

    ANYONE = "anyone"
    USER = "user"
    TOKEN = "token"
    CHARGER = "charger"
    LINK = "link"
    SYSTEM = "system"


class Actor(Message, frozen=True):
    """Who acts, for which teams, and through which door.

    ``team_ids`` are the teams that the person belongs to; ``subject_id`` the user, charger or link.
    """

    kind: Kind
    subject_id: str = ""
    team_ids: tuple[str, ...] = ()
    door: str = ""
    is_admin: bool = False
    token_id: str = ""
    """The token, or the session of a browser, by which somebody is known."""
    location_id: str = ""
    """Where a link acts; nothing for all others."""

    @property
    def is_system(self) -> bool:
        """Say whether Voltyard itself acts, unbound by any location."""
        return self.kind is Kind.SYSTEM


ANYONE = Actor(kind=Kind.ANYONE)


def system(part: str) -> Actor:
    """Return the Actor of a part of Voltyard itself, such as ``central``."""
    return Actor(kind=Kind.SYSTEM, subject_id=part, door=part)


def link(link_id: str, location_id: str) -> Actor:
    """Return the Actor of an operator that acts through its link, at one location."""
    return Actor(kind=Kind.LINK, subject_id=link_id, door="line", location_id=location_id)


def charger(charger_id: str) -> Actor:
    """Return the Actor of a charger that speaks for itself."""
    return Actor(kind=Kind.CHARGER, subject_id=charger_id, door="ocpp")

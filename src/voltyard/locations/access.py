"""Who may do what at a location, until when: rules as functions of values.

Invariants: a higher level may all that a lower one may; an access whose time is over allows
nothing; the owner's access never ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Level(StrEnum):
    """How much a team may do at a location."""

    BASIC = "basic"
    SENSITIVE = "sensitive"
    FULL = "full"


class Permission(StrEnum):
    """One thing that may be allowed."""

    VIEW = "view"
    CONTROL = "control"
    VIEW_SENSITIVE = "view_sensitive"
    EDIT_CARDS = "edit_cards"
    EDIT_CHARGERS = "edit_chargers"
    EDIT_LOCATION = "edit_location"
    INVITE = "invite"
    OWN = "own"


_BASIC = frozenset({Permission.VIEW})
_SENSITIVE = _BASIC | {Permission.VIEW_SENSITIVE, Permission.CONTROL}
_FULL = _SENSITIVE | {
    Permission.EDIT_CARDS,
    Permission.EDIT_CHARGERS,
    Permission.EDIT_LOCATION,
    Permission.INVITE,
}
_HELD: Final = MappingProxyType({Level.BASIC: _BASIC, Level.SENSITIVE: _SENSITIVE, Level.FULL: _FULL})
OF_LINKS: Final = frozenset({Permission.VIEW, Permission.CONTROL})
"""What an operator's link may where it stands: what it may have a charger do, its role has decided before."""


@dataclass(frozen=True, slots=True)
class Access:
    """One team's access to a location."""

    level: Level
    is_owner: bool
    until_at: datetime | None


def levels_with(permission: Permission) -> frozenset[Level]:
    """Return the levels that hold a permission."""
    return frozenset(level for level, held in _HELD.items() if permission in held)


def is_alive(access: Access, now: datetime) -> bool:
    """Say whether an access still counts."""
    return access.is_owner or access.until_at is None or now < access.until_at


def permissions(access: Access, now: datetime) -> frozenset[Permission]:
    """Return all that an access allows now."""
    if not is_alive(access, now):
        return frozenset()
    if access.is_owner:
        return _FULL | {Permission.OWN}
    return _HELD[access.level]


def allowed(accesses: list[Access], now: datetime) -> frozenset[Permission]:
    """Return all that several accesses, of one person's teams, allow together."""
    return frozenset().union(*(permissions(access, now) for access in accesses))

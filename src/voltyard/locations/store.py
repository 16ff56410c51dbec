"""All SQL of the locations."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from voltyard.kernel.actor import Actor, Kind
from voltyard.kernel.db import Work
from voltyard.locations.access import OF_LINKS, Permission, levels_with
from voltyard.locations.tables import locations, memberships

Row = sa.Row[Any]


def visible(work: Work, actor: Actor, permission: Permission = Permission.VIEW) -> sa.Select[tuple[str]]:
    """Return a select of the ids of all locations at which an actor has a permission, now.

    Archived ones are left out, except of what is sensitive: that is their history, and it stays.
    """
    is_open = sa.true() if permission is Permission.VIEW_SENSITIVE else locations.c.archived_at.is_(None)
    if actor.is_system:
        return sa.select(locations.c.id).where(is_open)
    if actor.kind is Kind.LINK:
        is_here = sa.true() if permission in OF_LINKS else sa.false()
        return sa.select(locations.c.id).where(is_open, locations.c.id == actor.location_id, is_here)
    levels = sorted(level.value for level in levels_with(permission))
    return (
        sa.select(memberships.c.location_id)
        .join(locations, locations.c.id == memberships.c.location_id)
        .where(
            is_open,
            memberships.c.team_id.in_(actor.team_ids),
            sa.or_(memberships.c.is_owner, memberships.c.level.in_(levels)),
            sa.or_(
                memberships.c.is_owner,
                memberships.c.until_at.is_(None),
                memberships.c.until_at > work.now,
            ),
        )
        .distinct()
    )


def find_location(work: Work, location_id: str) -> Row | None:
    """Return a location, whoever asks."""
    return work.row(sa.select(locations).where(locations.c.id == location_id))


def accesses(work: Work, location_id: str, team_ids: tuple[str, ...]) -> list[Row]:
    """Return the memberships of these teams at a location."""
    return list(
        work.rows(
            sa.select(memberships.c.level, memberships.c.is_owner, memberships.c.until_at).where(
                memberships.c.location_id == location_id, memberships.c.team_id.in_(team_ids)
            )
        )
    )


def list_locations(work: Work, *, q: str, team_id: str | None, after: str | None, limit: int) -> list[Row]:
    """Return a page of the locations that the actor may know of, newest first."""
    query = (
        sa.select(locations)
        .where(locations.c.id.in_(visible(work, work.actor)))
        .order_by(locations.c.id.desc())
        .limit(limit)
    )
    if q:
        part = q.lower()
        query = query.where(
            sa.or_(
                sa.func.lower(locations.c.name).contains(part, autoescape=True),
                sa.func.lower(locations.c.city).contains(part, autoescape=True),
                sa.func.lower(locations.c.street).contains(part, autoescape=True),
            )
        )
    if team_id:
        query = query.where(
            locations.c.id.in_(sa.select(memberships.c.location_id).where(memberships.c.team_id == team_id))
        )
    if after:
        query = query.where(locations.c.id < after)
    return list(work.rows(query))


def insert_location(work: Work, **values: Any) -> None:
    """Add a location."""
    work.insert(locations, created_at=work.now, **values)


def set_location(work: Work, location_id: str, **values: Any) -> None:
    """Change a location."""
    work.run(sa.update(locations).where(locations.c.id == location_id).values(**values))


def insert_membership(work: Work, **values: Any) -> None:
    """Give a team access to a location."""
    work.insert(memberships, since_at=work.now, **values)

"""What one can do with locations: create, look at, change, archive, and ask what is allowed."""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from voltyard.kernel.actor import Actor, Kind
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from voltyard.kernel.ids import check, is_id, new_id
from voltyard.locations import store
from voltyard.locations.access import OF_LINKS, Access, Level, Permission, allowed

WHO_CAN_FIX = "ask an owner of the location, or a member with full access"


@dataclass(frozen=True, slots=True)
class Location:
    """A location."""

    id: str
    name: str
    street: str
    postcode: str
    city: str
    country: str
    timezone: str
    created_at: datetime
    archived_at: datetime | None = None

    @property
    def address(self) -> str:
        """Return the address in one line."""
        town = " ".join(part for part in (self.postcode, self.city) if part)
        return ", ".join(part for part in (self.street, town, self.country) if part)


def _location(row: Any) -> Location:
    return Location(*row)


def visible(work: Work, actor: Actor, permission: Permission = Permission.VIEW) -> sa.Select[tuple[str]]:
    """Return the select of location ids by which every list of every room is scoped.

    Archived locations are left out, except of what is sensitive: that is their history, and it stays.
    """
    return store.visible(work, actor, permission)


def permissions(work: Work, location_id: str | None) -> frozenset[Permission]:
    """Return what the actor may do at a location; the empty set means that it is not to be known of."""
    if work.actor.is_system:
        return frozenset(Permission)
    if location_id is None or work.actor.kind is Kind.CHARGER:
        return frozenset()
    if work.actor.kind is Kind.LINK:
        return OF_LINKS if work.actor.location_id == location_id else frozenset()
    rows = store.accesses(work, location_id, work.actor.team_ids)
    return allowed([Access(Level(row.level), row.is_owner, row.until_at) for row in rows], work.now)


def require(work: Work, location_id: str | None, permission: Permission) -> None:
    """Let the actor pass or refuse.

    Raises: NotFound when the actor may not even know of the location; Forbidden when it may, but
    not do this.
    """
    held = permissions(work, location_id)
    if Permission.VIEW not in held:
        raise NotFound("there is no such location, or you have no access to it")
    if permission not in held:
        raise Forbidden(f"your access does not allow this: {WHO_CAN_FIX}", permission=permission.value)


def require_open(work: Work, location_id: str) -> None:
    """Refuse what is only done at a location in use. Raises: Conflict when it is archived."""
    row = store.find_location(work, location_id)
    if row is not None and row.archived_at is not None:
        raise Conflict("this location is archived: choose one that is in use", id=location_id)


def get(work: Work, location_id: str) -> Location:
    """Return a location. Raises: NotFound."""
    require(work, check("loc", location_id), Permission.VIEW)
    row = store.find_location(work, location_id)
    if row is None:  # only the system, which is bound by no membership, can come here
        raise NotFound("there is no such location", id=location_id)
    return _location(row)


def list_locations(
    work: Work, *, q: str = "", team_id: str | None = None, after: str | None = None, limit: int = 25
) -> list[Location]:
    """Return a page of the actor's locations, newest first; ``after`` is the last id of the page before."""
    rows = store.list_locations(work, q=q.strip(), team_id=team_id, after=after, limit=limit)
    return [_location(row) for row in rows]


def _tidy(*, name: str, street: str, postcode: str, city: str, country: str, timezone: str) -> dict[str, str]:
    wrong: list[tuple[str, str]] = []
    if not name.strip():
        wrong.append(("/name", "a location needs a name"))
    if country and (len(country) != 2 or not (country.isascii() and country.isalpha())):
        wrong.append(("/country", "two letters, such as NL or DK"))
    if timezone not in zoneinfo.available_timezones():
        wrong.append(("/timezone", "a name such as Europe/Amsterdam"))
    for field, value, most in (
        ("name", name, 120),
        ("street", street, 200),
        ("postcode", postcode, 20),
        ("city", city, 120),
    ):
        if len(value) > most or not value.isprintable():
            wrong.append((f"/{field}", f"at most {most} characters, in one line"))
    if wrong:
        raise Invalid("the location was not saved: " + "; ".join(why for _, why in wrong), tuple(wrong))
    return {
        "name": name.strip(),
        "street": street.strip(),
        "postcode": postcode.strip(),
        "city": city.strip(),
        "country": country.strip().upper(),
        "timezone": timezone,
    }


def create(
    work: Work,
    *,
    name: str,
    street: str = "",
    postcode: str = "",
    city: str = "",
    country: str = "",
    timezone: str = "Europe/Amsterdam",
    team_id: str | None = None,
) -> Location:
    """Create a location owned by a team of the actor, the personal one unless another is named.

    Raises: Invalid; Forbidden for a team that the actor does not belong to.
    """
    tidy = _tidy(name=name, street=street, postcode=postcode, city=city, country=country, timezone=timezone)
    if not work.actor.team_ids:
        raise Forbidden("only a member of a team can create a location")
    owner = team_id or work.actor.team_ids[0]
    if not is_id("team", owner) or owner not in work.actor.team_ids:
        raise Forbidden("you are not in that team: ask one of its members to create the location")
    location_id = new_id("loc")
    store.insert_location(work, id=location_id, **tidy)
    _add_member(work, location_id, owner, Level.FULL, is_owner=True, until_at=None)
    return get(work, location_id)


def _add_member(
    work: Work, location_id: str, team_id: str, level: Level, *, is_owner: bool, until_at: datetime | None
) -> None:
    store.insert_membership(
        work,
        id=new_id("mem"),
        location_id=location_id,
        team_id=team_id,
        level=level.value,
        is_owner=is_owner,
        until_at=until_at,
    )


def change(
    work: Work,
    location_id: str,
    *,
    name: str | None = None,
    street: str | None = None,
    postcode: str | None = None,
    city: str | None = None,
    country: str | None = None,
    timezone: str | None = None,
) -> Location:
    """Change what was named of a location. Raises: NotFound; Forbidden; Invalid."""
    old = get(work, location_id)
    require(work, location_id, Permission.EDIT_LOCATION)
    tidy = _tidy(
        name=old.name if name is None else name,
        street=old.street if street is None else street,
        postcode=old.postcode if postcode is None else postcode,
        city=old.city if city is None else city,
        country=old.country if country is None else country,
        timezone=old.timezone if timezone is None else timezone,
    )
    store.set_location(work, location_id, **tidy)
    return get(work, location_id)


def grant(
    work: Work,
    location_id: str,
    team_id: str,
    level: Level,
    *,
    is_owner: bool = False,
    until_at: datetime | None = None,
) -> None:
    """Give a team access to a location. For the system, and for those who may invite.

    Raises: NotFound; Forbidden; AlreadyThere when the team has access already.
    """
    require(work, check("loc", location_id), Permission.OWN if is_owner else Permission.INVITE)
    _add_member(work, location_id, check("team", team_id), level, is_owner=is_owner, until_at=until_at)


def archive(work: Work, location_id: str) -> None:
    """Take a location out of all lists; its history stays, and so do its chargers. Only an owner may."""
    require(work, check("loc", location_id), Permission.OWN)
    store.set_location(work, location_id, archived_at=work.now)

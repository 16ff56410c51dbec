"""Rows for tests, made through the services, so that a test says only what matters to it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from voltyard.accounts import service as accounts
from voltyard.accounts.service import User
from voltyard.cards import service as cards
from voltyard.cards.service import Card, Judgement
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Charger, Delivered, Place
from voltyard.kernel.actor import Actor, Kind
from voltyard.kernel.actor import system as system_actor
from voltyard.kernel.context import Context
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.locations.service import Location
from voltyard.speech import Started, Verdict
from voltyard.transactions import service as transactions

SYSTEM = system_actor("test")
PIN = "4711"


def unique(prefix: str) -> str:
    """Return a name that no other call returns."""
    return f"{prefix}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Person:
    """A user, and the Actor that a door would make of them."""

    user: User
    actor: Actor

    @property
    def team_id(self) -> str:
        """Return the personal team."""
        return self.user.teams[0].id


async def make_user(
    ctx: Context,
    *,
    email: str | None = None,
    password: str | None = None,
    is_admin: bool = False,
    **over: Any,
) -> Person:
    """Make a person with a personal team; without a password, since hashing one takes long."""
    email = email or f"{unique('person')}@example.com"
    user = await accounts.register(ctx, email, password=password, is_admin=is_admin, **over)
    team_ids = tuple(team.id for team in user.teams)
    return Person(user, Actor(Kind.USER, user.id, team_ids, "portal", is_admin=is_admin))


async def make_location(
    ctx: Context, owner: Person | None = None, *, name: str = "Home", **over: Any
) -> Location:
    """Make a location, with an owner of its own when none is given."""
    owner = owner or await make_user(ctx)
    return await ctx.db.work(owner.actor, locations.create, name=name, **over)


async def make_member(
    ctx: Context,
    location_id: str,
    level: Level = Level.BASIC,
    *,
    is_owner: bool = False,
    until_at: datetime | None = None,
    **over: Any,
) -> Person:
    """Make a person whose team has this access to a location."""
    person = await make_user(ctx, **over)
    await ctx.db.work(
        SYSTEM, locations.grant, location_id, person.team_id, level, is_owner=is_owner, until_at=until_at
    )
    return person


async def make_charger(
    ctx: Context, location_id: str | None = None, *, identity: str | None = None, pin: str = PIN, **over: Any
) -> Charger:
    """Make a charger, in the inventory or at a location; ``over`` are fields of ``Delivered``."""
    identity = identity or unique("CP")
    delivered = Delivered(identity, pin, **over)
    await ctx.db.work(SYSTEM, chargers.register, [delivered], ctx.settings.secret_key())
    if location_id is not None:
        return await chargers.claim(ctx, SYSTEM, location_id, identity=identity, pin=pin)
    return await charger_by_identity(ctx, identity)


async def charger_by_identity(ctx: Context, identity: str) -> Charger:
    """Return a charger of the inventory or of a location."""

    def find(work: Any) -> Charger:
        row = chargers.store.find_by_keys(work, [chargers.identity_key(identity)])
        return chargers.get(work, row[chargers.identity_key(identity)].id)

    return await ctx.db.read(SYSTEM, find)


async def make_card(
    ctx: Context, location_id: str, *, id_tag: str | None = None, name: str = "Card", **over: Any
) -> Card:
    """Make a card of a location."""
    id_tag = id_tag or secrets.token_hex(7).upper()
    return await ctx.db.work(
        SYSTEM, lambda work: cards.add(work, location_id, name=name, id_tag=id_tag, **over)
    )


def place_of(charger: Charger) -> Place:
    """Return what central knows of a charger that speaks."""
    return Place(charger.id, charger.location_id)


async def make_transaction(
    ctx: Context,
    charger: Charger,
    *,
    connector: int = 1,
    id_tag: str = "04A1B2C3",
    meter_wh: int = 1_000,
    told_at: datetime | None = None,
    verdict: Verdict = Verdict.ACCEPTED,
) -> int:
    """Make a running transaction and return its number."""
    said = Started(connector, id_tag, meter_wh, told_at or ctx.clock.now())
    numbers = await ctx.db.work(SYSTEM, transactions.start, [(place_of(charger), said)], [Judgement(verdict)])
    return numbers[0]

"""Locations: who sees which, who may change them, and lists that show nothing foreign."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import service as chargers
from voltyard.kernel.actor import ANYONE, charger
from voltyard.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from voltyard.kernel.ids import new_id
from voltyard.locations import service as locations
from voltyard.locations.access import Level, Permission

NOWHERE = "loc_" + "0" * 26


async def test_a_new_location_belongs_to_the_personal_team(ctx):
    person = await make_user(ctx)
    made = await ctx.db.work(
        person.actor,
        lambda work: locations.create(
            work, name=" Home ", street="Kade 1", postcode="1011 AB", city="Amsterdam", country="nl"
        ),
    )
    assert (made.name, made.country, made.timezone) == ("Home", "NL", "Europe/Amsterdam")
    assert made.address == "Kade 1, 1011 AB Amsterdam, NL"
    assert await ctx.db.read(person.actor, locations.permissions, made.id) == frozenset(Permission)
    assert await ctx.db.read(person.actor, locations.list_locations) == [made]
    assert await ctx.db.read(person.actor, locations.get, made.id) == made


async def test_only_ones_own_teams_can_own_a_new_location(ctx):
    person, other = await make_user(ctx), await make_user(ctx)
    for team_id in (other.team_id, "nonsense"):
        with pytest.raises(Forbidden):
            await ctx.db.work(person.actor, locations.create, name="Home", team_id=team_id)
    for actor in (ANYONE, SYSTEM):
        with pytest.raises(Forbidden):
            await ctx.db.work(actor, locations.create, name="Home")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", "x" * 121),
        ("street", "x" * 201),
        ("postcode", "x" * 21),
        ("city", "x" * 121),
        ("country", "NLD"),
        ("country", "ßa"),
        ("country", "1!"),
        ("timezone", "Mars/Olympus"),
    ],
)
async def test_a_value_that_does_not_fit_is_named(sqlite_ctx, field, value):
    person = await make_user(sqlite_ctx)
    with pytest.raises(Invalid) as caught:
        await sqlite_ctx.db.work(
            person.actor, lambda work: locations.create(work, **{"name": "Home", field: value})
        )
    assert [pointer for pointer, _ in caught.value.errors] == [f"/{field}"]
    assert await sqlite_ctx.db.read(person.actor, locations.list_locations) == []


async def test_what_is_named_is_changed_and_the_rest_stays(ctx):
    owner = await make_user(ctx)
    made = await make_location(ctx, owner, city="Delft")
    changed = await ctx.db.work(
        owner.actor, locations.change, made.id, name="Depot", timezone="Europe/Copenhagen"
    )
    assert (changed.name, changed.city, changed.timezone) == ("Depot", "Delft", "Europe/Copenhagen")
    assert await ctx.db.read(owner.actor, locations.get, made.id) == changed


@pytest.mark.parametrize(
    ("level", "permission", "is_allowed"),
    [
        (Level.BASIC, Permission.VIEW, True),
        (Level.BASIC, Permission.CONTROL, False),
        (Level.SENSITIVE, Permission.CONTROL, True),
        (Level.SENSITIVE, Permission.EDIT_LOCATION, False),
        (Level.FULL, Permission.EDIT_LOCATION, True),
        (Level.FULL, Permission.OWN, False),
    ],
)
async def test_a_member_may_what_the_level_allows(ctx, level, permission, is_allowed):
    location = await make_location(ctx)
    member = await make_member(ctx, location.id, level)
    if is_allowed:
        await ctx.db.read(member.actor, locations.require, location.id, permission)
    else:
        with pytest.raises(Forbidden) as caught:
            await ctx.db.read(member.actor, locations.require, location.id, permission)
        assert caught.value.facts["permission"] == permission.value


async def test_a_foreign_team_cannot_even_know_of_a_location(ctx):
    location, stranger = await make_location(ctx), await make_user(ctx)
    for act in (locations.get, locations.change, locations.archive):
        with pytest.raises(NotFound):
            await ctx.db.work(stranger.actor, act, location.id)
    for actor in (ANYONE, charger(new_id("chg"))):
        with pytest.raises(NotFound):
            await ctx.db.read(actor, locations.get, location.id)
    assert await ctx.db.read(stranger.actor, locations.list_locations) == []


@pytest.mark.parametrize("wrong", [NOWHERE, "chg_" + "0" * 26, "", "loc_1"])
async def test_a_location_that_is_not_there_is_not_found_by_anybody(ctx, wrong):
    person = await make_user(ctx)
    for actor in (person.actor, SYSTEM):
        with pytest.raises(NotFound):
            await ctx.db.read(actor, locations.get, wrong)


async def test_an_expired_access_is_as_good_as_none(ctx, clock):
    location = await make_location(ctx)
    guest = await make_member(ctx, location.id, Level.FULL, until_at=clock.now() + timedelta(days=14))
    assert await ctx.db.read(guest.actor, locations.get, location.id) == location
    clock.advance(14 * 86_400 - 1)
    assert len(await ctx.db.read(guest.actor, locations.list_locations)) == 1
    clock.advance(1)
    with pytest.raises(NotFound):
        await ctx.db.read(guest.actor, locations.get, location.id)
    assert await ctx.db.read(guest.actor, locations.list_locations) == []


async def test_an_owner_is_not_bound_by_a_time(ctx, clock):
    location = await make_location(ctx)
    owner = await make_member(ctx, location.id, Level.BASIC, is_owner=True, until_at=clock.now())
    assert await ctx.db.read(owner.actor, locations.permissions, location.id) == frozenset(Permission)
    assert len(await ctx.db.read(owner.actor, locations.list_locations)) == 1


async def test_two_accesses_of_one_person_show_a_location_once(ctx):
    location = await make_location(ctx)
    one = await make_member(ctx, location.id, Level.BASIC)
    two = await make_member(ctx, location.id, Level.SENSITIVE)
    both = type(one.actor)(one.actor.kind, one.actor.subject_id, (one.team_id, two.team_id))
    assert await ctx.db.read(both, locations.list_locations) == [location]
    assert Permission.CONTROL in await ctx.db.read(both, locations.permissions, location.id)


async def test_lists_are_scoped_by_the_permission_that_they_need(ctx):
    location = await make_location(ctx)
    looker = await make_member(ctx, location.id, Level.BASIC)
    manager = await make_member(ctx, location.id, Level.SENSITIVE)

    def ids(work, permission):
        return [row[0] for row in work.rows(locations.visible(work, work.actor, permission))]

    assert await ctx.db.read(looker.actor, ids, Permission.VIEW) == [location.id]
    assert await ctx.db.read(looker.actor, ids, Permission.VIEW_SENSITIVE) == []
    assert await ctx.db.read(manager.actor, ids, Permission.VIEW_SENSITIVE) == [location.id]
    assert location.id in await ctx.db.read(SYSTEM, ids, Permission.OWN)


async def test_an_owner_is_made_by_an_owner_only(ctx):
    location, newcomer = await make_location(ctx), await make_user(ctx)
    full = await make_member(ctx, location.id, Level.FULL)
    await ctx.db.work(full.actor, locations.grant, location.id, newcomer.team_id, Level.BASIC)
    another = await make_user(ctx)
    with pytest.raises(Forbidden):
        await ctx.db.work(
            full.actor, locations.grant, location.id, another.team_id, Level.FULL, is_owner=True
        )
    with pytest.raises(Forbidden):
        await ctx.db.work(newcomer.actor, locations.grant, location.id, another.team_id, Level.BASIC)


async def test_a_team_has_one_access_to_a_location(ctx):
    location = await make_location(ctx)
    member = await make_member(ctx, location.id)
    with pytest.raises(Conflict):
        await ctx.db.work(SYSTEM, locations.grant, location.id, member.team_id, Level.FULL)


async def test_pages_follow_one_another_newest_first(ctx):
    owner = await make_user(ctx)
    made = [(await make_location(ctx, owner, name=f"Place {index}")).id for index in range(5)]
    newest_first = sorted(made, reverse=True)
    first = await ctx.db.read(owner.actor, locations.list_locations, limit=2)
    second = await ctx.db.read(owner.actor, locations.list_locations, after=first[-1].id, limit=2)
    third = await ctx.db.read(owner.actor, locations.list_locations, after=second[-1].id, limit=2)
    assert [each.id for each in first + second + third] == newest_first


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("ØSTER", ["Østergård"]),
        ("østergård", ["Østergård"]),
        ("delft", ["Depot 100%"]),
        ("kade", ["Depot 100%"]),
        ("100%", ["Depot 100%"]),
        ("1_0", []),
        (" ", ["Depot 100%", "Østergård"]),
    ],
)
async def test_places_are_found_by_a_part_of_name_city_or_street(ctx, q, found):
    owner = await make_user(ctx)
    await make_location(ctx, owner, name="Østergård")
    await make_location(ctx, owner, name="Depot 100%", city="Delft", street="Kade 1")
    listed = await ctx.db.read(owner.actor, locations.list_locations, q=q)
    assert sorted(each.name for each in listed) == found


async def test_a_list_can_be_narrowed_to_a_team(ctx):
    location = await make_location(ctx)
    member = await make_member(ctx, location.id)
    own = await make_location(ctx, member)
    listed = await ctx.db.read(member.actor, locations.list_locations)
    assert {each.id for each in listed} == {location.id, own.id}
    stranger = await make_user(ctx)
    assert await ctx.db.read(member.actor, locations.list_locations, team_id=stranger.team_id) == []


async def test_an_archived_location_leaves_the_list_and_keeps_its_history(ctx, clock):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    charging = await make_charger(ctx, location.id)
    full = await make_member(ctx, location.id, Level.FULL)
    with pytest.raises(Forbidden):
        await ctx.db.work(full.actor, locations.archive, location.id)
    await ctx.db.work(owner.actor, locations.archive, location.id)
    assert await ctx.db.read(owner.actor, locations.list_locations) == []
    assert (await ctx.db.read(owner.actor, locations.get, location.id)).archived_at == clock.now()
    assert (await ctx.db.read(owner.actor, chargers.get, charging.id)).location_id == location.id

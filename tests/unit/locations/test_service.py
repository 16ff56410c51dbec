"""Locations: who sees which, who may change them, and lists that show nothing foreign."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import SYSTEM, make_charger, make_location, make_member, make_user
from voltyard.chargers import service as chargers
from voltyard.kernel.actor import ANYONE, charger, link
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
        ("name", "Ho\x00me"),
        ("street", "one\ntwo"),
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


# --- both sides of each rule ----------------------------------------------------------------------


async def test_a_location_goes_to_the_team_that_is_named(ctx):
    one, other = await make_user(ctx), await make_user(ctx)
    both = type(one.actor)(one.actor.kind, one.user.id, (one.team_id, other.team_id))
    made = await ctx.db.work(both, locations.create, name="Depot", team_id=other.team_id)
    assert await ctx.db.read(other.actor, locations.permissions, made.id) == frozenset(Permission)
    with pytest.raises(NotFound):
        await ctx.db.read(one.actor, locations.get, made.id)


async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_changed(ctx):
    owner = await make_user(ctx)
    made = await make_location(ctx, owner)
    with pytest.raises(Invalid) as caught:
        await ctx.db.work(
            owner.actor, locations.change, made.id, name="", country="N", city="x" * 121, timezone="here"
        )
    assert {pointer for pointer, _ in caught.value.errors} == {"/name", "/country", "/city", "/timezone"}
    assert await ctx.db.read(owner.actor, locations.get, made.id) == made


async def test_the_longest_values_fit_both_databases(ctx):
    made = await make_location(ctx, name="Ø" * 120, street="Æ" * 200, postcode="1" * 20, city="Å" * 120)
    assert await ctx.db.read(SYSTEM, locations.get, made.id) == made


async def test_an_address_shows_only_what_is_known(ctx):
    assert (await make_location(ctx)).address == ""
    assert (await make_location(ctx, city="Odense")).address == "Odense"


async def test_everything_but_the_name_can_be_emptied(ctx):
    owner = await make_user(ctx)
    made = await make_location(ctx, owner, street="Kade 1", postcode="1", city="Delft", country="NL")
    changed = await ctx.db.work(
        owner.actor, locations.change, made.id, street="", postcode="", city="", country=""
    )
    assert (changed.name, changed.address) == ("Home", "")


@pytest.mark.parametrize(
    ("level", "is_owner", "may_change", "may_archive"),
    [
        (Level.BASIC, False, False, False),
        (Level.SENSITIVE, False, False, False),
        (Level.FULL, False, True, False),
        (Level.BASIC, True, True, True),
    ],
)
async def test_a_refusal_says_who_can_help(ctx, level, is_owner, may_change, may_archive):
    home, friend = await make_location(ctx), await make_user(ctx)
    person = await make_member(ctx, home.id, level, is_owner=is_owner)
    for may, permission, act in (
        (may_change, Permission.EDIT_LOCATION, lambda work: locations.change(work, home.id, name="House")),
        (
            may_change,
            Permission.INVITE,
            lambda work: locations.grant(work, home.id, friend.team_id, Level.BASIC),
        ),
        (may_archive, Permission.OWN, lambda work: locations.archive(work, home.id)),
    ):
        if may:
            await ctx.db.work(person.actor, act)
            continue
        with pytest.raises(Forbidden) as caught:
            await ctx.db.work(person.actor, act)
        assert locations.WHO_CAN_FIX in caught.value.detail
        assert caught.value.facts == {"permission": permission.value}


async def test_a_foreign_location_and_none_are_refused_alike(ctx):
    home, stranger = await make_location(ctx), await make_user(ctx, is_admin=True)
    told = set()
    for location_id in (home.id, NOWHERE):
        for act in (
            locations.get,
            locations.archive,
            lambda work, at: locations.change(work, at, name="Mine"),
            lambda work, at: locations.grant(work, at, stranger.team_id, Level.FULL),
        ):
            with pytest.raises(NotFound) as caught:
                await ctx.db.work(stranger.actor, act, location_id)
            told.add((caught.value.detail, tuple(caught.value.facts)))
    assert len(told) == 1


async def test_no_location_allows_nothing_except_to_the_system(ctx):
    person = await make_user(ctx)
    assert await ctx.db.read(person.actor, locations.permissions, None) == frozenset()
    assert await ctx.db.read(SYSTEM, locations.permissions, None) == frozenset(Permission)
    with pytest.raises(NotFound):
        await ctx.db.read(person.actor, locations.require, None, Permission.VIEW)


async def test_the_select_of_visible_locations_and_the_rules_agree(ctx, clock):
    """For every permission the select holds exactly the locations at which ``permissions`` holds it."""
    person = await make_user(ctx)
    ids = [(await make_location(ctx, person)).id]
    await make_location(ctx)
    for level in Level:
        for until_at in (None, clock.now() + timedelta(hours=1), clock.now()):
            home = await make_location(ctx)
            await ctx.db.work(SYSTEM, locations.grant, home.id, person.team_id, level, until_at=until_at)
            ids.append(home.id)

    def selected(work, permission):
        return {row[0] for row in work.rows(locations.visible(work, work.actor, permission))}

    def held(work, permission):
        return {each for each in ids if permission in locations.permissions(work, each)}

    for permission in set(Permission) - {Permission.OWN}:
        expected = await ctx.db.read(person.actor, held, permission)
        assert await ctx.db.read(person.actor, selected, permission) == expected


async def test_an_operator_sees_and_controls_where_it_is_linked_and_nothing_else(ctx):
    here, elsewhere = [await make_location(ctx, await make_user(ctx)) for _ in range(2)]
    actor = link(new_id("link"), here.id)
    for permission in Permission:
        may = permission in {Permission.VIEW, Permission.CONTROL}
        found = await ctx.db.read(
            actor,
            lambda work, permission=permission: work.rows(locations.visible(work, work.actor, permission)),
        )
        assert [row.id for row in found] == ([here.id] if may else [])
        assert (permission in await ctx.db.read(actor, locations.permissions, here.id)) is may
    assert await ctx.db.read(actor, locations.permissions, elsewhere.id) == frozenset()


async def test_signs_of_the_search_language_mean_themselves(ctx):
    owner = await make_user(ctx)
    await make_location(ctx, owner, name="Depot 100%")
    await make_location(ctx, owner, name="Kade_1")
    for q, names in {"%": ["Depot 100%"], "_": ["Kade_1"], "\\": [], "/": []}.items():
        listed = await ctx.db.read(owner.actor, locations.list_locations, q=q)
        assert [each.name for each in listed] == names, q

"""Who may do what, as functions of values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.locations.access import Access, Level, Permission, allowed, is_alive, levels_with, permissions

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORDER = [Level.BASIC, Level.SENSITIVE, Level.FULL]

untils = st.none() | st.timedeltas(timedelta(days=-900), timedelta(days=900)).map(lambda delta: NOW + delta)
accesses = st.builds(Access, st.sampled_from(Level), st.booleans(), untils)


@given(until_at=untils, is_owner=st.booleans())
def test_a_higher_level_may_all_that_a_lower_one_may(until_at, is_owner):
    held = [permissions(Access(level, is_owner, until_at), NOW) for level in ORDER]
    assert held[0] <= held[1] <= held[2]


@given(level=st.sampled_from(Level), late=st.timedeltas(timedelta(0), timedelta(days=900)))
def test_an_access_whose_time_is_over_allows_nothing(level, late):
    access = Access(level, is_owner=False, until_at=NOW - late)
    assert not is_alive(access, NOW)
    assert permissions(access, NOW) == frozenset()


@given(level=st.sampled_from(Level), until_at=untils)
def test_the_owners_access_never_ends(level, until_at):
    assert permissions(Access(level, is_owner=True, until_at=until_at), NOW) == frozenset(Permission)


@given(st.lists(accesses, max_size=4))
def test_several_accesses_allow_together_what_any_of_them_allows(several):
    together = allowed(several, NOW)
    assert all(
        (each in together) == any(each in permissions(one, NOW) for one in several) for each in Permission
    )


@given(access=accesses)
def test_whoever_may_anything_may_view(access):
    held = permissions(access, NOW)
    assert not held or Permission.VIEW in held


@given(permission=st.sampled_from(Permission), level=st.sampled_from(Level))
def test_the_levels_that_a_query_asks_for_are_those_that_the_rule_allows(permission, level):
    access = Access(level, is_owner=False, until_at=None)
    assert (level in levels_with(permission)) == (permission in permissions(access, NOW))


@pytest.mark.parametrize(
    ("level", "may", "may_not"),
    [
        (
            Level.BASIC,
            {Permission.VIEW},
            {Permission.CONTROL, Permission.VIEW_SENSITIVE, Permission.EDIT_CARDS},
        ),
        (Level.SENSITIVE, {Permission.CONTROL, Permission.VIEW_SENSITIVE}, {Permission.EDIT_CHARGERS}),
        (Level.FULL, {Permission.EDIT_CARDS, Permission.INVITE, Permission.EDIT_LOCATION}, {Permission.OWN}),
    ],
)
def test_each_level_has_its_permissions(level, may, may_not):
    held = permissions(Access(level, is_owner=False, until_at=NOW + timedelta(seconds=1)), NOW)
    assert may <= held
    assert not may_not & held


@pytest.mark.parametrize(
    ("level", "may"),
    [
        (Level.BASIC, {Permission.VIEW}),
        (Level.SENSITIVE, {Permission.VIEW, Permission.VIEW_SENSITIVE, Permission.CONTROL}),
        (Level.FULL, set(Permission) - {Permission.OWN}),
    ],
)
def test_each_level_allows_exactly_so_much(level, may):
    assert permissions(Access(level, is_owner=False, until_at=None), NOW) == may


@given(access=accesses)
def test_only_an_owner_owns(access):
    assert (Permission.OWN in permissions(access, NOW)) is access.is_owner


@given(access=accesses, permission=st.sampled_from(sorted(set(Permission) - {Permission.OWN})))
def test_a_filter_by_levels_means_what_the_rule_means(access, permission):
    """``store.visible`` filters by owner, level and time; it must select what ``permissions`` allows."""
    selected = is_alive(access, NOW) and (access.is_owner or access.level in levels_with(permission))
    assert selected == (permission in permissions(access, NOW))


def test_the_last_instant_is_no_part_of_an_access():
    access = Access(Level.SENSITIVE, is_owner=False, until_at=NOW)
    assert permissions(access, NOW - timedelta(microseconds=1))
    assert not permissions(access, NOW)


def test_nobody_owns_by_level_and_no_access_allows_nothing():
    assert levels_with(Permission.OWN) == frozenset()
    assert allowed([], NOW) == frozenset()

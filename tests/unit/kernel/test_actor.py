"""Who acts, as plain data that crosses the bus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.actor import ANYONE, Actor, Kind, charger, system
from voltyard.kernel.wire import decode, encode

actors = st.builds(
    Actor,
    kind=st.sampled_from(Kind),
    subject_id=st.text(max_size=40),
    team_ids=st.lists(st.text(max_size=40), max_size=4).map(tuple),
    door=st.text(max_size=10),
    is_admin=st.booleans(),
    token_id=st.text(max_size=40),
)


def test_anyone_belongs_to_no_team_and_may_nothing_special():
    assert Actor(kind=Kind.ANYONE) == ANYONE
    assert (ANYONE.subject_id, ANYONE.team_ids, ANYONE.is_admin, ANYONE.is_system) == ("", (), False, False)


def test_a_part_of_voltyard_acts_as_the_system_and_is_no_admin():
    actor = system("central")
    assert (actor.kind, actor.subject_id, actor.door) == (Kind.SYSTEM, "central", "central")
    assert actor.is_system
    assert not actor.is_admin


def test_a_charger_speaks_for_itself_through_ocpp():
    assert charger("chg_1") == Actor(kind=Kind.CHARGER, subject_id="chg_1", door="ocpp")


@pytest.mark.parametrize("kind", Kind)
def test_only_the_system_is_the_system_whatever_else_an_actor_may(kind: Kind):
    assert Actor(kind=kind, is_admin=True, door="system").is_system == (kind is Kind.SYSTEM)


def test_an_actor_cannot_be_changed_into_another():
    with pytest.raises(AttributeError):
        ANYONE.is_admin = True


@given(actors)
def test_an_actor_travels_unchanged(actor: Actor):
    assert decode(encode(actor), Actor) == actor


@given(actors)
def test_actors_that_are_alike_are_one_key(actor: Actor):
    assert len({actor, decode(encode(actor), Actor)}) == 1

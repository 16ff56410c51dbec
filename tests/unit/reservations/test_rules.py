"""Who may charge where while connectors are kept: nobody gets what is another's, everybody gets his own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from voltyard.reservations import rules
from voltyard.reservations.rules import Kept

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CARDS = ("A", "B", "C")


def kept(number: int, connector: int, card: str, *, minutes: int = 30, made: int = 0) -> Kept:
    return Kept(
        number, connector, card, NOW + timedelta(minutes=made), NOW + timedelta(minutes=made + minutes)
    )


wishes = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(CARDS), st.integers(1, 90), st.integers(0, 120)), max_size=12
)


@given(wishes, st.integers(1, 3), st.integers(0, 200))
def test_no_two_reservations_hold_one_connector_at_one_time(asked, connectors, minute):
    made: list[Kept] = []
    for number, (connector, card, minutes, at) in enumerate(sorted(asked, key=lambda wish: wish[3]), 1):
        now = NOW + timedelta(minutes=at)
        if connector <= connectors and (
            rules.overlapping(made, connector, now, connectors=connectors) is None
        ):
            made.append(kept(number, connector, card, minutes=minutes, made=at))
    holding = [each for each in made if each.is_holding(NOW + timedelta(minutes=minute))]
    named = [each.connector for each in holding if each.connector]
    assert len(named) == len(set(named))
    assert len(holding) <= connectors


@given(
    st.integers(0, 3),
    st.sampled_from(CARDS),
    st.sampled_from(CARDS),
    st.integers(1, 3),
    st.sets(st.integers(1, 3)),
)
def test_while_a_reservation_holds_nobody_else_starts_there(connector, owner, other, at, free):
    one = kept(1, connector, owner)
    found = rules.in_the_way([one], at, other, NOW, free=free)
    if owner == other:
        assert found is None
    elif connector == at:
        assert found == one
    elif connector == 0:
        assert (found is None) is bool(free - {at}), "one that is free is left for whoever reserved any"
    else:
        assert found is None
    assert rules.in_the_way([one], at, other, one.expires_at, free=free) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(CARDS)), max_size=3), st.sampled_from(CARDS))
def test_whoever_reserved_may_start(others, card):
    made = [kept(1, 1, card)]
    for number, (connector, other) in enumerate(others, 2):
        if rules.overlapping(made, connector, NOW, connectors=3) is None:
            made.append(kept(number, connector, other))
    assert rules.in_the_way(made, 1, card, NOW, free=()) is None
    assert rules.fulfilled(made, 1, card, NOW, number=None) == made[0]


def test_a_start_uses_the_reservation_that_it_names_also_when_it_is_told_late():
    one = kept(1, 1, "A", minutes=5)
    late = NOW + timedelta(hours=1)
    assert rules.fulfilled([one], 2, "A", late, number=1) == one
    assert rules.fulfilled([one], 1, "A", late, number=None) is None
    assert rules.fulfilled([one], 1, "B", NOW, number=1) is None, "the number alone is no card"


def test_the_reservation_of_the_very_connector_is_used_before_that_of_any():
    anywhere, here = kept(1, 0, "A"), kept(2, 2, "A")
    assert rules.fulfilled([anywhere, here], 2, "A", NOW, number=None) == here
    assert rules.fulfilled([anywhere, here], 1, "A", NOW, number=None) == anywhere


def test_a_start_from_before_a_reservation_is_not_in_its_way():
    one = kept(1, 1, "A", made=10)
    assert rules.in_the_way([one], 1, "B", NOW, free=()) is None

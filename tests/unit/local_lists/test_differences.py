"""Lists of cards: the fewest changes, in steps that the charger takes, always ending where they should."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.local_lists import differences
from voltyard.local_lists.differences import VERSION_MAX, applied, difference, key, steps, together
from voltyard.speech import ListedCard, Verdict

NOW = datetime(2026, 5, 1, tzinfo=UTC)

tags = st.text("ABCabc123:", min_size=1, max_size=4)
cards = st.builds(
    ListedCard,
    tags,
    st.sampled_from([Verdict.ACCEPTED, Verdict.BLOCKED, Verdict.EXPIRED]),
    st.none() | st.just(NOW),
)
lists = st.lists(cards, max_size=12).map(together)


@given(lists, lists)
def test_the_changes_applied_to_the_old_list_give_the_new_one(held, wanted):
    changes = difference(held, wanted)
    assert applied(held, differences.Step(1, changes, is_whole=False)) == wanted
    assert (changes == ()) is (held == wanted)


@given(st.none() | lists, lists, st.integers(0, 1_000), st.integers(1, 5))
def test_no_step_is_larger_than_the_charger_takes(held, wanted, newest, step_max):
    made = steps(held, wanted, newest=newest, step_max=step_max)
    assert all(len(step.cards) <= step_max for step in made)
    found = {} if held is None else held
    for step in made:
        found = applied(found, step)
    assert found == wanted
    assert [step.is_whole for step in made] == [held is None and place == 0 for place in range(len(made))]


@given(lists, lists, st.integers(1, 5))
def test_steps_one_after_the_other_never_hold_more_cards_than_both_lists_need(held, wanted, step_max):
    found = held
    for step in steps(held, wanted, newest=0, step_max=step_max):
        found = applied(found, step)
        assert len(found) <= max(len(held), len(wanted))


@given(st.none() | lists, lists, st.integers(0, 1_000), st.integers(1, 5))
def test_versions_only_rise(held, wanted, newest, step_max):
    versions = [step.version for step in steps(held, wanted, newest=newest, step_max=step_max)]
    assert versions == list(range(newest + 1, newest + 1 + len(versions)))


def test_a_list_made_anew_is_sent_even_if_it_is_empty():
    assert steps(None, {}, newest=4, step_max=5) == [differences.Step(5, (), is_whole=True)]


@given(tags)
def test_chargers_tell_tags_apart_without_case(tag):
    assert key(tag.lower()) == key(tag.upper())


def test_of_two_spellings_of_one_tag_the_first_counts():
    first, second = ListedCard("ab", Verdict.ACCEPTED), ListedCard("AB", Verdict.BLOCKED)
    assert together([first, second]) == {"AB": first}


@pytest.mark.parametrize(
    ("is_blocked", "expires_at", "verdict"),
    [
        (False, None, Verdict.ACCEPTED),
        (False, NOW + timedelta(hours=1), Verdict.ACCEPTED),
        (False, NOW, Verdict.EXPIRED),
        (True, None, Verdict.BLOCKED),
    ],
)
def test_a_card_is_listed_as_it_was_entered_with_its_verdict(is_blocked, expires_at, verdict):
    found = differences.listed("04:a1", is_blocked=is_blocked, expires_at=expires_at, now=NOW)
    assert (found.id_tag, found.verdict) == ("04:a1", verdict)
    assert found.expires_at == (None if is_blocked else expires_at)


@pytest.mark.parametrize(
    ("ours", "told", "newest"), [(3, None, 3), (3, 2, 3), (3, 9, 9), (3, VERSION_MAX, 3)]
)
def test_versions_begin_above_what_either_side_knows(ours, told, newest):
    assert differences.newest(ours, told) == newest

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sim.driving import profile
from voltyard.sim.envelope import BadPayload, Fields
from voltyard.sim.profiles import Limit, ProfileShelf, read_profile, rounded_down, share_out

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def read(**parts):
    return read_profile(Fields(profile(**parts)), NOW)


def amps(one, after_s=0.0, began_s=0.0):
    limit = one.limit(NOW + timedelta(seconds=after_s), NOW + timedelta(seconds=began_s), 230, 3)
    return None if limit is None else limit.current_a


STEPS = [{"startPeriod": 0, "limit": 10}, {"startPeriod": 60, "limit": 8}]


def test_periods_follow_each_other():
    one = read(periods=STEPS)
    assert [amps(one, at) for at in (0, 59, 60, 9999)] == [10, 10, 8, 8]


def test_an_absolute_schedule_begins_at_its_own_time_and_ends_with_its_duration():
    one = read(schedule={"startSchedule": "2026-03-01T12:01:00Z", "duration": 120})
    assert [amps(one, at) for at in (59, 60, 179, 180)] == [None, 10, 10, None]


def test_a_relative_schedule_begins_with_the_transaction():
    one = read(kind="Relative", periods=STEPS)
    assert [amps(one, at, began_s=100) for at in (99, 100, 160)] == [None, 10, 8]


def test_a_daily_schedule_begins_again_each_day():
    one = read(
        kind="Recurring", recurrencyKind="Daily", periods=STEPS,
        schedule={"startSchedule": "2026-02-27T12:00:00Z", "duration": 3600},
    )  # fmt: skip
    day_s = 86400
    assert [amps(one, at) for at in (0, 60, 3600, day_s, day_s + 60)] == [10, 8, None, 10, 8]
    assert NOW + timedelta(days=1) in list(one.boundaries(NOW, None))


def test_a_weekly_schedule_begins_again_each_week_and_not_before_its_start():
    one = read(
        kind="Recurring", recurrencyKind="Weekly", periods=STEPS,
        schedule={"startSchedule": "2026-03-01T13:00:00Z"},
    )  # fmt: skip
    assert [amps(one, at) for at in (0, 3600, 3660, 3600 + 7 * 86400)] == [None, 10, 8, 10]


def test_a_profile_is_silent_outside_its_validity():
    one = read(validFrom="2026-03-01T12:01:00Z", validTo="2026-03-01T12:02:00Z")
    assert [amps(one, at) for at in (59, 60, 119, 120)] == [None, 10, 10, None]


def test_a_limit_that_begins_later_says_nothing_before():
    one = read_profile(Fields(profile(schedule={"startSchedule": "2026-03-01T13:00:00Z"})), NOW)
    assert one.limit(NOW, None, 230, 3) is None


def test_watts_are_divided_over_the_phases_in_use():
    assert amps(read(limit=6900, unit="W")) == pytest.approx(10)
    one = read(unit="W", periods=[{"startPeriod": 0, "limit": 2300, "numberPhases": 1}])
    assert one.limit(NOW, NOW, 230, 3) == Limit(10.0, 1)


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "Recurring"},
        {"kind": "Recurring", "recurrencyKind": "Daily"},
        {"kind": "Sometimes"},
        {"unit": "kW"},
        {"limit": -1},
        {"periods": [{"startPeriod": 5, "limit": 1}]},
        {"periods": [{"startPeriod": 0, "limit": 1}, {"startPeriod": 0, "limit": 2}]},
        {"periods": [{"startPeriod": 0, "limit": "10"}]},
        {"purpose": "Tx"},
    ],
)
def test_a_bad_profile_is_refused(parts):
    with pytest.raises(BadPayload):
        read(**parts)


def test_a_schedule_without_periods_is_refused():
    bad = profile()
    bad["chargingSchedule"]["chargingSchedulePeriod"] = []
    with pytest.raises(BadPayload):
        read_profile(Fields(bad), NOW)


def test_the_highest_stack_level_wins_while_it_says_something():
    shelf = ProfileShelf()
    shelf.install(1, read(limit=16, number=1, level=0))
    shelf.install(1, read(limit=8, number=2, level=3, schedule={"duration": 60}))
    limits = [shelf.session_limit(1, NOW + timedelta(seconds=at), NOW, 230, 3) for at in (0, 60)]
    assert [one and one.current_a for one in limits] == [8, 16]


def test_a_tx_profile_goes_before_the_default_and_the_connectors_own_before_the_common():
    shelf = ProfileShelf()
    shelf.install(0, read(limit=20, number=1))
    assert shelf.session_limit(1, NOW, NOW, 230, 3) == Limit(20, 3)
    shelf.install(1, read(limit=18, number=2))
    assert shelf.session_limit(1, NOW, NOW, 230, 3) == Limit(18, 3)
    shelf.install(1, read(limit=30, number=3, purpose="TxProfile"))
    assert shelf.session_limit(1, NOW, NOW, 230, 3) == Limit(30, 3)
    assert shelf.session_limit(2, NOW, NOW, 230, 3) == Limit(20, 3)
    assert shelf.ceiling(NOW, 230, 3) is None


def test_a_profile_replaces_one_of_the_same_id_or_place():
    shelf = ProfileShelf()
    shelf.install(1, read(limit=20, number=1))
    shelf.install(1, read(limit=18, number=2))
    shelf.install(0, read(limit=17, number=2))
    assert [(place, one.id) for place, one in shelf.held] == [(0, 2)]


def test_profiles_are_cleared_by_what_is_given():
    shelf = ProfileShelf()
    for number, place, level in ((1, 0, 0), (2, 1, 0), (3, 1, 1)):
        shelf.install(place, read(number=number, level=level))
    assert shelf.clear(profile_id=9) == 0
    assert shelf.clear(connector=1, stack_level=1) == 1
    assert shelf.clear(purpose="TxProfile") == 0
    assert shelf.clear() == 2


def test_the_next_boundary_is_found_for_running_and_idle_connectors():
    shelf = ProfileShelf()
    assert shelf.next_boundary(NOW, {}) is None
    shelf.install(1, read(kind="Relative", periods=STEPS, number=1))
    shelf.install(0, read(periods=STEPS, number=2, level=1, validTo="2026-03-01T12:05:00Z"))
    began = NOW - timedelta(seconds=30)
    assert shelf.next_boundary(NOW, {1: began}) == NOW + timedelta(seconds=30)
    assert shelf.next_boundary(NOW + timedelta(seconds=60), {}) == NOW + timedelta(minutes=5)


@given(
    st.dictionaries(st.integers(0, 400), st.floats(0, 80), min_size=1, max_size=5),
    st.integers(0, 300),
    st.integers(0, 500),
)
def test_between_boundaries_the_limit_does_not_change(steps, began_s, look_s):
    periods = [{"startPeriod": s if i else 0, "limit": a} for i, (s, a) in enumerate(sorted(steps.items()))]
    shelf = ProfileShelf()
    shelf.install(1, read(kind="Relative", periods=periods, schedule={"duration": 350}))
    began = NOW + timedelta(seconds=began_s)
    at = NOW + timedelta(seconds=look_s)
    edge = shelf.next_boundary(at, {1: began}) or at + timedelta(days=1)
    before = shelf.session_limit(1, at, began, 230, 3)
    assert shelf.session_limit(1, edge - timedelta(microseconds=1), began, 230, 3) == before


@given(st.lists(st.floats(0, 40), max_size=6), st.floats(0, 200))
def test_shares_are_within_the_feed_and_the_wishes(wishes, total_a):
    shares = share_out(wishes, total_a, 6)
    assert sum(shares) <= total_a + 1e-9
    assert all(share <= wish for share, wish in zip(shares, wishes, strict=True))
    assert all(share == 0 or share >= 6 - 1e-9 for share in shares)


def test_who_came_first_is_served_when_not_all_can_be():
    assert share_out([16, 16, 16], 13, 6) == [6.5, 6.5, 0]
    assert share_out([8, 32], 32, 6) == [8, 24]


def test_limits_are_rounded_down_to_a_tenth():
    assert [rounded_down(value) for value in (6.29, 6.3, 0.05)] == [6.2, 6.3, 0.0]

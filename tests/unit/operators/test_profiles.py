"""What an operator's profiles say, and what all of them make together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.errors import Invalid
from voltyard.operators.profiles import (
    CHANGES_MAX,
    LIMIT_MAX,
    PERIODS_MAX,
    PROFILES_MAX,
    SECONDS_MAX,
    STACK_LEVEL_MAX,
    Charging,
    Held,
    Segment,
    Source,
    Unacceptable,
    changes,
    clear,
    compose,
    constant,
    limit_at,
    of_profiles,
    periods,
    put,
    said_at,
    without_transaction,
)
from voltyard.speech import ClearLimit, LimitPeriod, LimitPurpose, Repeat, SetLimit

CHARGER, DEFAULT, TRANSACTION = LimitPurpose
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY_S = 86_400
FIRST, SECOND = Charging(7, 1, NOON), Charging(8, 2, NOON)
STEPS = (LimitPeriod(0, 10.0), LimitPeriod(60, 8.0))


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def limit(**parts: Any) -> SetLimit:
    plain: dict[str, Any] = {
        "connector": 1,
        "purpose": DEFAULT,
        "profile_number": 1,
        "stack_level": 0,
        "periods": (LimitPeriod(0, 16.0),),
    }
    return SetLimit(**plain | parts)


def hold(*limits: SetLimit, running=(FIRST, SECOND)) -> tuple[Held, ...]:
    held: tuple[Held, ...] = ()
    for number, one in enumerate(limits, start=100):
        held = put(held, one.__replace__(profile_number=number), NOON, running=running, connectors=2)
    return held


def amperes(held, *seconds: float, connector=1, running=FIRST, phases=3) -> list[float | None]:
    return [limit_at(held, connector, after(at), running=running, phases=phases) for at in seconds]


def between(from_at: datetime, until_at: datetime, share: float) -> datetime:
    return min(from_at + (until_at - from_at) * share, until_at - timedelta(microseconds=1))


# --- what is taken ---


@st.composite
def limits(draw: st.DrawFn) -> SetLimit:
    """Draw a limit that is acceptable while FIRST and SECOND are running."""
    purpose = draw(st.sampled_from(LimitPurpose))
    places = {CHARGER: st.just(0), DEFAULT: st.integers(0, 2), TRANSACTION: st.integers(1, 2)}
    is_in_amperes = draw(st.booleans())
    starts = sorted(draw(st.sets(st.integers(1, 200) | st.integers(1, SECONDS_MAX), max_size=3)))
    values = st.sampled_from([0.0, 6.0, 16.0, 32.0]) | st.floats(0, LIMIT_MAX)
    steps = []
    for start_s in (0, *starts):
        value, phases = draw(values), draw(st.sampled_from([None, 1, 2, 3]))
        steps.append(LimitPeriod(start_s, *((value, None) if is_in_amperes else (None, value)), phases))
    times = st.integers(-2 * DAY_S, 2 * DAY_S) | st.integers(-300, 300)
    starts_at = draw(st.none() | times.map(after))
    validity = sorted(draw(st.lists(times, min_size=2, max_size=2)))
    return limit(
        connector=draw(places[purpose]),
        purpose=purpose,
        profile_number=draw(st.integers(0, 5)),
        stack_level=draw(st.integers(0, 3)),
        periods=tuple(steps),
        starts_at=starts_at,
        duration_s=draw(st.none() | st.integers(1, 300) | st.integers(1, SECONDS_MAX)),
        repeats=None if starts_at is None else draw(st.none() | st.sampled_from(Repeat)),
        valid_from_at=after(validity[0]) if draw(st.booleans()) else None,
        valid_until_at=after(validity[1]) if draw(st.booleans()) else None,
    )


def take(drawn: list[SetLimit]) -> tuple[Held, ...]:
    held: tuple[Held, ...] = ()
    for one in drawn:
        held = put(held, one, NOON, running=(FIRST, SECOND), connectors=2)
    return held


shelves = st.lists(limits(), max_size=6).map(take)


@given(shelves)
def test_one_profile_is_held_per_purpose_stack_level_and_connector(held):
    places = [(one.limit.purpose, one.limit.stack_level, one.limit.connector) for one in held]
    numbers = [one.limit.profile_number for one in held]
    assert len(set(places)) == len(places)
    assert len(set(numbers)) == len(numbers)


@given(shelves)
def test_clearing_everything_leaves_nothing(held):
    assert clear(held, ClearLimit()) == ()


def test_a_profile_replaces_one_of_its_place_whatever_its_number():
    held = put(hold(limit()), limit(profile_number=5), after(9), running=(), connectors=2)
    assert held == (Held(limit(profile_number=5), after(9)),)


def test_a_profile_replaces_one_of_its_number_wherever_it_was():
    held = put((), limit(), NOON, running=(), connectors=2)
    held = put(held, limit(connector=2, stack_level=3), NOON, running=(), connectors=2)
    assert [one.limit.connector for one in held] == [2]


def test_profiles_of_other_purposes_levels_and_connectors_stay():
    held = hold(
        limit(),
        limit(stack_level=1),
        limit(connector=0),
        limit(connector=0, purpose=CHARGER),
        limit(purpose=TRANSACTION),
    )
    assert len(held) == 5


def test_a_profile_for_a_transaction_is_bound_to_the_one_that_runs():
    for number in (None, 8):
        (one,) = put(
            (),
            limit(connector=2, purpose=TRANSACTION, number=number),
            NOON,
            running=(FIRST, SECOND),
            connectors=2,
        )
        assert one.limit.number == 8


def test_what_is_over_for_good_makes_room():
    held = put((), limit(valid_until_at=after(60)), NOON, running=(), connectors=2)
    assert len(put(held, limit(profile_number=2, connector=2), after(59), running=(), connectors=2)) == 2
    assert len(put(held, limit(profile_number=2, connector=2), after(60), running=(), connectors=2)) == 1


def test_no_more_profiles_are_held_than_told_but_one_may_be_replaced():
    held: tuple[Held, ...] = ()
    for place in range(PROFILES_MAX):
        one = limit(profile_number=place, stack_level=place % 5, connector=place // 5)
        held = put(held, one, NOON, running=(), connectors=9)
    with pytest.raises(Unacceptable, match="no more than"):
        put(held, limit(profile_number=99, connector=9), NOON, running=(), connectors=9)
    assert (
        len(put(held, limit(profile_number=0, connector=9), NOON, running=(), connectors=9)) == PROFILES_MAX
    )


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"connector": 3}, "no connector 3"),
        ({"connector": -1}, "no connector -1"),
        ({"purpose": CHARGER}, "connector 0"),
        ({"purpose": TRANSACTION, "connector": 0}, "name the connector"),
        ({"purpose": TRANSACTION, "connector": 2}, "no transaction is running on connector 2"),
        ({"purpose": TRANSACTION, "number": 8}, "another transaction"),
        ({"number": 7}, "no single transaction"),
        ({"stack_level": STACK_LEVEL_MAX + 1}, "stack level"),
        ({"stack_level": -1}, "stack level"),
        ({"repeats": Repeat.DAILY}, "say from when"),
        ({"duration_s": 0}, "duration"),
        ({"duration_s": SECONDS_MAX + 1}, "duration"),
        ({"valid_from_at": after(1), "valid_until_at": NOON}, "validity"),
        ({"periods": ()}, "periods"),
        ({"periods": tuple(LimitPeriod(at, 6.0) for at in range(PERIODS_MAX + 1))}, "periods"),
        ({"periods": (LimitPeriod(1, 6.0),)}, "start at 0"),
        ({"periods": (LimitPeriod(0, 6.0), LimitPeriod(0, 7.0))}, "later than the one before"),
        ({"periods": (LimitPeriod(0, 6.0), LimitPeriod(SECONDS_MAX + 1, 7.0))}, "every period start within"),
        ({"periods": (LimitPeriod(0),)}, "amperes, or every one in watts"),
        ({"periods": (LimitPeriod(0, 6.0, 6.0),)}, "amperes, or every one in watts"),
        ({"periods": (LimitPeriod(0, 6.0), LimitPeriod(1, None, 6.0))}, "amperes, or every one in watts"),
        ({"periods": (LimitPeriod(0, -0.1),)}, "a limit lies between"),
        ({"periods": (LimitPeriod(0, nan),)}, "a limit lies between"),
        ({"periods": (LimitPeriod(0, None, inf),)}, "a limit lies between"),
        ({"periods": (LimitPeriod(0, 6.0, None, 4),)}, "phases"),
    ],
)
def test_what_a_perfect_charger_would_reject_is_refused_with_a_reason(parts, problem):
    with pytest.raises(Unacceptable, match=problem) as refused:
        put((), limit(**parts), NOON, running=(FIRST,), connectors=2)
    assert isinstance(refused.value, Invalid)
    assert refused.value.errors[0][0].startswith("/")


# --- what goes ---


@pytest.mark.parametrize(
    ("ask", "left"),
    [
        (ClearLimit(), []),
        (ClearLimit(profile_number=101), [100, 102, 103]),
        (ClearLimit(profile_number=9), [100, 101, 102, 103]),
        (ClearLimit(connector=0), [102, 103]),
        (ClearLimit(connector=1, stack_level=1), [100, 101, 102]),
        (ClearLimit(purpose=CHARGER), [101, 102, 103]),
        (ClearLimit(profile_number=100, connector=1), [100, 101, 102, 103]),
    ],
)
def test_a_profile_goes_if_all_that_is_named_applies_to_it(ask, left):
    held = hold(
        limit(purpose=CHARGER, connector=0), limit(connector=0), limit(), limit(stack_level=1)
    )  # fmt: skip
    assert [one.limit.profile_number for one in clear(held, ask)] == left


def test_profiles_of_transactions_go_with_them():
    held = hold(limit(), limit(purpose=TRANSACTION), limit(purpose=TRANSACTION, connector=2))
    assert without_transaction(held, (FIRST, SECOND)) == held
    assert [one.limit.connector for one in without_transaction(held, (SECOND,))] == [1, 2]
    assert without_transaction(held, (Charging(9, 1, NOON),)) == held[:1]


# --- what is said ---


def test_without_profiles_nothing_is_said():
    assert amperes((), 0) == [None]


def test_periods_follow_each_other_until_the_schedule_ends():
    held = hold(limit(periods=STEPS, starts_at=after(10), duration_s=100))
    assert amperes(held, 9, 10, 69, 70, 109, 110) == [None, 10, 10, 8, 8, None]


def test_a_relative_schedule_counts_from_the_start_of_the_transaction():
    held = hold(limit(periods=STEPS, duration_s=90))
    assert amperes(held, 0, 60, 90) == [10, 8, None]


def test_a_transaction_that_seems_to_begin_later_has_begun():
    assert amperes(hold(limit(periods=STEPS)), -30) == [10]


def test_a_relative_schedule_counts_from_now_while_no_transaction_runs():
    held = hold(limit(periods=STEPS, duration_s=90))
    assert amperes(held, 0, 60, 9_000, running=None) == [10, 10, 10]
    assert changes(held, 1, NOON, after(DAY_S), running=None) == ()


def test_a_recurring_schedule_begins_anew_but_not_before_its_start():
    start = after(-3 * DAY_S)
    daily = hold(limit(periods=STEPS, starts_at=start, duration_s=90, repeats=Repeat.DAILY))
    assert amperes(daily, -3 * DAY_S - 1, 0, 60, 90, DAY_S, DAY_S + 60) == [None, 10, 8, None, 10, 8]
    weekly = hold(limit(periods=STEPS, starts_at=start, repeats=Repeat.WEEKLY))
    assert amperes(weekly, 0, 4 * DAY_S, 4 * DAY_S + 60) == [8, 10, 8]


def test_a_profile_is_silent_outside_its_validity():
    held = hold(limit(valid_from_at=after(10), valid_until_at=after(20)))
    assert amperes(held, 9, 10, 19, 20) == [None, 16, 16, None]


def test_the_highest_stack_level_counts_while_it_says_something():
    low, high = (LimitPeriod(0, 6.0),), (LimitPeriod(0, 20.0),)
    held = hold(limit(periods=low), limit(periods=high, stack_level=2, duration_s=60), limit(stack_level=1))
    assert amperes(held, 0, 59, 60) == [20, 20, 16]


def test_a_transactions_own_limit_overrules_the_default_while_it_says_something():
    held = hold(
        limit(stack_level=5),
        limit(purpose=TRANSACTION, periods=(LimitPeriod(0, 20.0),), duration_s=60),
    )
    assert amperes(held, 0, 60) == [20, 16]
    assert amperes(held, 0, running=None) == [16]
    assert amperes(held, 0, running=Charging(9, 1, NOON)) == [16]


def test_a_default_of_the_connector_overrules_that_of_all():
    held = hold(limit(connector=0, stack_level=5), limit(periods=(LimitPeriod(0, 20.0),)))
    assert amperes(held, 0) == [20]
    assert amperes(held, 0, connector=2, running=None) == [16]


def test_the_charger_as_a_whole_bounds_each_connector_and_never_raises_it():
    top = limit(connector=0, purpose=CHARGER, periods=(LimitPeriod(0, 12.0),))
    assert amperes(hold(top, limit()), 0) == [12]
    assert amperes(hold(top, limit(periods=(LimitPeriod(0, 6.0),))), 0) == [6]
    assert amperes(hold(top), 0) == [12]


def test_only_limits_of_the_whole_charger_concern_connector_0():
    held = hold(limit(connector=0))
    assert amperes(held, 0, connector=0, running=None) == [None]
    held = hold(limit(connector=0), limit(connector=0, purpose=CHARGER, periods=(LimitPeriod(0, 40.0),)))
    assert amperes(held, 0, connector=0, running=None) == [40]


def test_watts_are_divided_by_all_phases_that_may_flow_whatever_fewer_the_period_names():
    assert amperes(hold(limit(periods=(LimitPeriod(0, None, 4_140.0),))), 0) == [6]
    assert amperes(hold(limit(periods=(LimitPeriod(0, None, 4_140.0),))), 0, phases=1) == [18]
    assert amperes(hold(limit(periods=(LimitPeriod(0, None, 4_140.0, 2),))), 0) == [6]
    assert amperes(hold(limit(periods=(LimitPeriod(0, None, 4_000.0),))), 0) == [5.7]
    low = hold(limit(periods=(LimitPeriod(0, None, 4_140.0),)))
    assert limit_at(low, 1, NOON, running=None, phases=3, voltage_v=115.0) == 12


@given(
    st.floats(0, LIMIT_MAX), st.sampled_from([None, 1, 2, 3]), st.integers(1, 3), st.sampled_from([120, 230])
)
def test_watts_never_become_more_amperes(power_w, told, phases, voltage_v):
    held = hold(limit(periods=(LimitPeriod(0, None, power_w, told),)))
    said = limit_at(held, 1, NOON, running=None, phases=phases, voltage_v=voltage_v)
    flowing = max(told or phases, phases)
    assert said * voltage_v * flowing <= power_w + 1e-3
    assert (said + 0.1) * voltage_v * flowing > power_w - 1e-3


# --- when it changes ---

starts = st.integers(-2 * DAY_S, 2 * DAY_S) | st.integers(-300, 300)
transactions = st.none() | starts.map(lambda at: Charging(7, 1, after(at)))


@given(shelves, starts, st.integers(1, 9 * DAY_S), transactions, st.integers(0, 2), st.data())
def test_between_changes_a_limit_is_constant(held, from_s, length_s, running, connector, data):
    from_at, until_at = after(from_s), after(from_s + length_s)
    found = changes(held, connector, from_at, until_at, running=running)
    assert list(found) == sorted(set(found))
    assert all(from_at < at < until_at for at in found)
    edges = [from_at, *found, until_at]
    place = data.draw(st.integers(0, len(edges) - 2))
    begins_at, ends_at = edges[place : place + 2]
    share = data.draw(st.floats(0, 1))
    looks = (begins_at, between(begins_at, ends_at, share), ends_at - timedelta(microseconds=1))
    said = [limit_at(held, connector, at, running=running, phases=3) for at in looks]
    assert said == [said[0]] * 3


def test_the_changes_are_those_of_periods_durations_and_validity():
    held = hold(limit(periods=STEPS, duration_s=90, valid_from_at=after(5), valid_until_at=after(200)))
    assert changes(held, 1, NOON, after(300), running=FIRST) == tuple(map(after, (5, 60, 90, 200)))
    assert changes(held, 1, after(5), after(90), running=FIRST) == (after(60),)
    assert changes(held, 2, NOON, after(300), running=SECOND) == ()


def test_a_recurring_schedule_changes_in_each_turn_of_the_window():
    steps = (LimitPeriod(0, 10.0), LimitPeriod(60, 8.0), LimitPeriod(DAY_S, 6.0))
    held = hold(limit(periods=steps, starts_at=after(-5 * DAY_S), repeats=Repeat.DAILY))
    found = changes(held, 1, after(30), after(DAY_S + 90), running=None)
    assert found == tuple(map(after, (60, DAY_S, DAY_S + 60)))
    assert amperes(held, DAY_S - 1, DAY_S) == [8, 10]


def test_changes_are_bounded_in_number_and_never_leave_the_calendar():
    held = hold(
        limit(periods=STEPS, starts_at=NOON, repeats=Repeat.DAILY),
        limit(stack_level=1, starts_at=datetime.max.replace(tzinfo=UTC), duration_s=SECONDS_MAX),
        limit(stack_level=2, starts_at=datetime.min.replace(tzinfo=UTC), duration_s=1),
    )
    found = changes(held, 1, NOON, after(50 * 365 * DAY_S), running=None)
    assert len(found) == CHANGES_MAX
    assert found[:3] == (after(60), after(DAY_S), after(DAY_S + 60))


# --- all together ---


def of(held, name="one", running=FIRST) -> Source:
    return of_profiles(name, held, 1, running=running, phases=3)


def test_the_lowest_limit_counts_and_it_is_told_whose_it_is():
    link = of(hold(limit(periods=STEPS, duration_s=90)), "link")
    found = compose([constant("owner", 9.0), link, constant("fuse", 9.0)], NOON, after(200))
    assert found == (
        Segment(NOON, after(60), 9.0, ("owner", "fuse")),
        Segment(after(60), after(90), 8.0, ("link",)),
        Segment(after(90), after(200), 9.0, ("owner", "fuse")),
    )


def test_equal_neighbours_are_one_segment():
    steps = (LimitPeriod(0, 10.0), LimitPeriod(60, 10.0), LimitPeriod(90, 12.0))
    found = compose([of(hold(limit(periods=steps))), constant("owner", 12.0)], NOON, after(200))
    assert [(one.from_at, one.by) for one in found] == [(NOON, ("one",)), (after(90), ("one", "owner"))]


def test_where_nobody_says_anything_there_is_no_limit():
    assert compose([], NOON, after(9)) == (Segment(NOON, after(9), None, ()),)
    assert compose([constant("owner", None)], NOON, after(9)) == (Segment(NOON, after(9), None, ()),)


def test_what_each_one_says_is_told_the_lowest_first():
    sources = [constant("owner", 16.0), constant("silent", None), of(hold(limit(periods=STEPS)), "link")]
    assert said_at(sources, NOON) == (("link", 10.0), ("owner", 16.0))


@given(
    st.lists(shelves, max_size=3),
    st.lists(st.none() | st.sampled_from([0.0, 6.0, 16.0]) | st.floats(0, 99), max_size=2),
    starts, st.integers(1, 9 * DAY_S), transactions, st.data(),
)  # fmt: skip
def test_the_composed_limit_is_never_above_any_part(links, others, from_s, length_s, running, data):
    sources = [of(held, f"link {place}", running) for place, held in enumerate(links)]
    sources += [constant(f"other {place}", limit_a) for place, limit_a in enumerate(others)]
    found = compose(sources, after(from_s), after(from_s + length_s))
    assert found[0].from_at == after(from_s)
    assert found[-1].until_at == after(from_s + length_s)
    for one, following in pairwise(found):
        assert one.until_at == following.from_at
        assert (one.limit_a, one.by) != (following.limit_a, following.by)
    one = data.draw(st.sampled_from(found))
    at = between(one.from_at, one.until_at, data.draw(st.floats(0, 1)))
    said = {source.name: source.limit_at(at) for source in sources}
    told = [limit_a for limit_a in said.values() if limit_a is not None]
    assert one.limit_a == min(told, default=None)
    assert set(one.by) == {name for name, limit_a in said.items() if None is not limit_a == one.limit_a}


def test_a_composition_ends_where_the_changes_are_no_longer_known():
    held = hold(limit(periods=STEPS, starts_at=NOON, repeats=Repeat.DAILY))
    until_at = after(1_000 * DAY_S)
    found = compose([of(held)], NOON, until_at)
    assert len(found) == CHANGES_MAX
    assert found[-1].until_at == changes(held, 1, NOON, until_at, running=None)[-1]


def test_changes_outside_the_window_are_left_out():
    source = Source(
        "odd", lambda at: 6.0 if at < after(5) else 7.0, lambda *_: (after(-5), after(5), after(99))
    )
    found = compose([source], NOON, after(9))
    assert [(one.from_at, one.until_at) for one in found] == [(NOON, after(5)), (after(5), after(9))]


# --- as a schedule ---


def row(*steps: tuple[float, float | None], until_s: float = 1_000) -> list[Segment]:
    ends = [at for at, _ in steps[1:]] + [until_s]
    return [
        Segment(after(at), after(end), limit_a, ())
        for (at, limit_a), end in zip(steps, ends, strict=True)
    ]  # fmt: skip


def starts_and_limits(found) -> list[tuple[int, float | None]]:
    return [(one.start_s, one.limit_a) for one in found]


def test_segments_become_periods_and_where_there_is_no_limit_the_connector_bounds():
    segments = row((0, 10.0), (60, None), (90, 40.0), (120, 6.0))
    assert starts_and_limits(periods(segments, NOON)) == [(0, 10), (60, 32), (120, 6)]
    assert starts_and_limits(periods(segments, NOON, most_a=9.0)) == [(0, 9), (120, 6)]


def test_periods_count_from_where_the_schedule_begins():
    segments = row((0, 10.0), (60, 8.0), (90, 6.0))
    assert starts_and_limits(periods(segments, after(70))) == [(0, 8), (20, 6)]


def test_a_second_in_which_the_limit_changes_gets_the_lower_one():
    lower, higher = row((0, 10.0), (60.5, 8.0)), row((0, 8.0), (60.5, 10.0))
    assert starts_and_limits(periods(lower, NOON)) == [(0, 10), (60, 8)]
    assert starts_and_limits(periods(higher, NOON)) == [(0, 8), (61, 10)]
    short = row((0, 8.0), (9.2, 16.0), (9.4, 6.0), (9.6, 12.0), (9.8, 7.0), until_s=11.5)
    assert starts_and_limits(periods(short, NOON)) == [(0, 8), (9, 6), (10, 7)]


def test_too_many_periods_end_in_the_lowest_of_the_rest():
    segments = row((0, 10.0), (60, 16.0), (90, 6.0), (120, 12.0))
    assert starts_and_limits(periods(segments, NOON, count_max=4)) == [(0, 10), (60, 16), (90, 6), (120, 12)]
    assert starts_and_limits(periods(segments, NOON, count_max=2)) == [(0, 10), (60, 6)]
    assert starts_and_limits(periods(segments, NOON, count_max=1)) == [(0, 6)]


@given(
    st.dictionaries(st.floats(0.1, 20), st.none() | st.integers(0, 40).map(float), max_size=9),
    st.none() | st.integers(1, 4), st.floats(0, 25), st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_periods_are_never_above_their_segments(steps, count_max, begins_s, share):
    segments = row((0, 16.0), *sorted(steps.items()), until_s=30)
    found = periods(segments, after(begins_s), count_max=count_max)
    assert found[0].start_s == 0
    assert all(a.start_s < b.start_s for a, b in pairwise(found))
    assert count_max is None or len(found) <= count_max
    passed_s = (30 - begins_s) * share
    at = after(begins_s) + timedelta(seconds=passed_s)
    asked = next((one.limit_a for one in segments if one.from_at <= at < one.until_at), None)
    held = [one.limit_a for one in found if timedelta(seconds=one.start_s) <= at - after(begins_s)][-1]
    assert held <= (32.0 if asked is None else asked)

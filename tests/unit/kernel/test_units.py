"""Watts and amperes, and rounding that never goes above a fuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.units import NOMINAL_V, PerPhase, amps, round_down_a, watts

currents = st.floats(0, 1_000)
phases = st.sampled_from([1, 2, 3])


def test_three_phases_of_16_a_are_11_kilowatts() -> None:
    assert watts(16, 3) == 11_040
    assert amps(11_040, 3) == 16
    assert amps(3_680, 1) == 16
    assert amps(100, 1, 100) == 1


@given(currents, phases, st.floats(100, 400))
def test_watts_undo_amps(current_a: float, count: int, voltage_v: float) -> None:
    assert amps(watts(current_a, count, voltage_v), count, voltage_v) == pytest.approx(current_a)


@pytest.mark.parametrize("count", [0, 4, -1])
def test_there_are_one_two_or_three_phases(count: int) -> None:
    with pytest.raises(AssertionError):
        amps(1, count)
    with pytest.raises(AssertionError):
        watts(1, count)


@given(st.floats(-1_000, 1_000))
def test_a_limit_is_rounded_down_by_less_than_a_tenth(current_a: float) -> None:
    rounded = round_down_a(current_a)
    assert rounded <= current_a + 1e-6
    assert current_a - rounded < 0.1 + 1e-6


@given(st.integers(0, 10_000))
def test_a_limit_in_tenths_stays_as_it_is(tenths: int) -> None:
    assert round_down_a(tenths / 10) == tenths / 10


def test_a_phase_that_is_not_told_is_none() -> None:
    assert PerPhase(16) == (16, None, None)
    assert NOMINAL_V == 230

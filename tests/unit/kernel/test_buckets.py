"""Token buckets: a burst, then so many a second, and bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.buckets import Buckets


@given(st.lists(st.floats(0, 120), max_size=50))
def test_nobody_gets_more_than_a_full_bucket_and_what_flows_in(pauses: list[float]):
    buckets, now_s, allowed = Buckets.per_minute(6), 0.0, 0
    for pause_s in pauses:
        now_s += pause_s
        allowed += buckets.take("a", now_s).is_allowed
    assert allowed <= 6 + now_s / 10 + 1e-6


def test_a_bucket_says_when_to_come_back():
    buckets = Buckets.per_minute(6)
    taken = [buckets.take("a", 0.0) for _ in range(7)]
    assert [left.remaining for left in taken] == [5, 4, 3, 2, 1, 0, 0]
    assert taken[-1].is_allowed is False
    assert taken[-1].retry_after_s == 10
    assert taken[-1].full_after_s == 60
    assert buckets.take("a", 10.0).is_allowed
    assert buckets.take("b", 0.0).is_allowed


def test_memory_is_bounded():
    buckets = Buckets.per_minute(6, keys_max=10)
    for number in range(100):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 10


def test_everybody_has_a_bucket_and_a_refusal_costs_nothing():
    buckets = Buckets(0.5, 2, keys_max=2)
    assert [buckets.take("one", 0.0).retry_after_s for _ in range(4)] == [0, 0, 2, 2]
    assert buckets.take("other", 0.0).is_allowed
    assert buckets.take("one", 1.0).retry_after_s == 1
    assert buckets.take("one", 2.0).is_allowed
    buckets.take("third", 2.0)
    forgotten = [buckets.take("other", 2.0).is_allowed for _ in range(3)]
    assert forgotten == [True, True, False], "whoever was forgotten begins anew"

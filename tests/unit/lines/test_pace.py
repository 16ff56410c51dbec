"""How often a thing may be done."""

from __future__ import annotations

from voltyard.lines.pace import Bucket, Buckets, Rarely


def test_a_burst_goes_at_once_and_then_so_many_a_second():
    bucket = Bucket(5.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.2, 0.4]
    assert bucket.take(101.0) == 0.0
    assert [bucket.take(1_000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.2], "no more than a burst is saved"


def test_what_was_done_lately_is_too_soon_and_nothing_else_is():
    rarely = Rarely()
    assert not rarely.is_too_soon("one", 10, 0.0)
    rarely.did("one", 0.0)
    assert rarely.is_too_soon("one", 10, 9.9)
    assert not rarely.is_too_soon("one", 10, 10.0)
    assert not rarely.is_too_soon("other", 10, 1.0)


def test_everybody_has_a_bucket_and_whose_is_empty_is_told_how_long_to_wait():
    buckets = Buckets(0.5, 2, most=2)
    assert [buckets.take("one", 0.0) for _ in range(4)] == [0.0, 0.0, 2.0, 2.0], "a refusal costs nothing"
    assert buckets.take("other", 0.0) == 0.0
    assert buckets.take("one", 1.0) == 1.0
    assert buckets.take("one", 2.0) == 0.0
    buckets.take("third", 2.0)
    assert [buckets.take("other", 2.0) for _ in range(3)] == [0.0, 0.0, 2.0], "it was forgotten meanwhile"

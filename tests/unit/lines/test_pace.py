"""How often a thing may be done."""

from __future__ import annotations

from voltyard.lines.pace import Bucket, Rarely


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

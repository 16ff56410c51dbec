"""Installations know themselves again in what a charger came through."""

from __future__ import annotations

from voltyard.kernel import hops


def test_an_installation_keeps_its_name_and_another_has_another():
    assert hops.name_of(b"one") == hops.name_of(b"one") != hops.name_of(b"two")
    assert len(hops.name_of(b"one")) == 16


def test_a_header_is_read_in_order_and_what_is_no_name_is_left_out():
    one, two = hops.name_of(b"one"), hops.name_of(b"two")
    assert hops.read(f"{one}, evil name,{two} ,") == (one, two)
    assert hops.read(None) == hops.read("") == ()


def test_a_charger_that_came_through_here_or_through_too_many_runs_in_a_circle():
    own, others = hops.name_of(b"own"), tuple(hops.name_of(bytes([n])) for n in range(5))
    assert hops.is_loop((others[0], own), own)
    assert hops.is_loop(others, own)
    assert not hops.is_loop(others[:4], own)

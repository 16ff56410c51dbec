"""One address could lock out many people: what it was refused still counted against each e-mail it named.

An attempt counts for the person only when the address may try, and one address cannot empty that bucket.
"""

import pytest

from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import TooMany
from voltyard.web.limits import Limits


def attack(limits: Limits, address: str, email: str, times: int) -> int:
    refused = 0
    for _ in range(times):
        try:
            limits.log_in(address, email)
        except TooMany:
            refused += 1
    return refused


def test_an_address_that_is_refused_counts_against_nobody():
    limits = Limits(FakeClock())
    assert attack(limits, "192.0.2.1", "nobody@example.com", 20) == 10
    for name in ("ann", "bob", "carl"):
        assert attack(limits, "192.0.2.1", f"{name}@example.com", 200) == 200
        limits.log_in("198.51.100.1", f"{name}@example.com")


def test_one_address_alone_cannot_lock_a_person_out():
    limits = Limits(FakeClock())
    assert attack(limits, "192.0.2.1", "ann@example.com", 1_000) == 990
    limits.log_in("198.51.100.1", "ann@example.com")


def test_many_addresses_together_do_not_guess_for_ever():
    limits = Limits(FakeClock())
    for number in range(10):
        attack(limits, f"192.0.2.{number}", "ann@example.com", 10)
    with pytest.raises(TooMany):
        limits.log_in("198.51.100.1", "ann@example.com")

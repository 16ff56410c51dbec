import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import TooMany
from voltyard.web.limits import (
    LOGINS_ADDRESSES_MAX,
    STREAMS_PER_USER_MAX,
    Buckets,
    Limits,
    client_address,
    neighbourhood,
    networks,
)


@given(st.lists(st.floats(0, 120), max_size=50))
def test_nobody_gets_more_than_a_full_bucket_and_what_flows_in(pauses: list[float]):
    buckets, now_s, allowed = Buckets(6), 0.0, 0
    for pause_s in pauses:
        now_s += pause_s
        allowed += buckets.take("a", now_s).is_allowed
    assert allowed <= 6 + now_s / 10 + 1e-6


def test_a_bucket_says_when_to_come_back():
    buckets = Buckets(6)
    taken = [buckets.take("a", 0.0) for _ in range(7)]
    assert [left.remaining for left in taken] == [5, 4, 3, 2, 1, 0, 0]
    assert taken[-1].is_allowed is False
    assert taken[-1].retry_after_s == 10
    assert taken[-1].full_after_s == 60
    assert buckets.take("a", 10.0).is_allowed
    assert buckets.take("b", 0.0).is_allowed


def test_memory_is_bounded():
    buckets = Buckets(6, keys_max=10)
    for number in range(100):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 10


def test_logins_are_counted_for_the_address():
    limits = Limits(FakeClock(), logins_per_minute=2)
    limits.log_in("192.0.2.1", "ann@example.com")
    limits.log_in("192.0.2.1", "bob@example.com")
    with pytest.raises(TooMany) as refused:
        limits.log_in("192.0.2.1", "carl@example.com")
    assert refused.value.facts["retry_after_s"] == 30
    limits.log_in("192.0.2.2", "carl@example.com")


def test_logins_are_counted_for_the_person_over_all_addresses():
    limits = Limits(FakeClock(), logins_per_minute=1)
    for number in range(LOGINS_ADDRESSES_MAX):
        limits.log_in(f"192.0.2.{number}", ("Ann@example.com", " ann@example.com")[number % 2])
    with pytest.raises(TooMany):
        limits.log_in("198.51.100.1", "ann@example.com")
    limits.log_in("198.51.100.2", "bob@example.com")


def test_streams_are_counted_while_they_last():
    limits = Limits(FakeClock())
    held = [limits.stream("usr_1") for _ in range(STREAMS_PER_USER_MAX)]
    for stream in held:
        stream.__enter__()
    with pytest.raises(TooMany), limits.stream("usr_1"):
        pass
    with limits.stream("usr_2"):
        pass
    held.pop().__exit__(None, None, None)
    with limits.stream("usr_1"):
        pass


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["203.0.113.9", "198.51.100.1", "10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("::ffff:127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("unix", ["198.51.100.1"], "unix"),
    ],
)
def test_only_trusted_proxies_are_believed(peer: str, forwarded: list[str], address: str):
    assert client_address(peer, forwarded, networks("127.0.0.1, 10.0.0.0/8")) == address


def test_a_household_of_ipv6_is_one_address():
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::2") != neighbourhood("2001:db8:0:1::1")
    assert neighbourhood("192.0.2.1") == "192.0.2.1"


def test_a_request_without_a_peer_has_an_address_all_the_same():
    request = HTTPConnection({"type": "http", "headers": [], "client": None})
    assert Limits(FakeClock()).address(request) == ""

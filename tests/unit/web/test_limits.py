import pytest
from starlette.requests import HTTPConnection

from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import TooMany
from voltyard.web.limits import (
    LOGINS_ADDRESSES_MAX,
    STREAMS_PER_USER_MAX,
    Limits,
    client_address,
    neighbourhood,
    networks,
)


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

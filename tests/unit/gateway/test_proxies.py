"""What a reverse proxy tells: believed from those we trust, and from nobody else."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.gateway.proxies import CERTIFICATE_LENGTH_MAX, Client, Proxies

DER = base64.b64encode(b"not really a certificate").decode()
PEM = f"-----BEGIN CERTIFICATE-----\n{DER}\n-----END CERTIFICATE-----\n"
PROXY = "10.0.0.1"


def client(headers: dict[str, str], *, address=PROXY, trusted="10.0.0.0/8, 127.0.0.1", **over) -> Client:
    told = {"is_tls": False, "certificate": None} | over
    return Proxies(trusted).client(address, headers, **told)


def test_a_socket_over_tls_tells_for_itself():
    found = client({"x-forwarded-proto": "http", "client-cert": f":{DER}:"}, is_tls=True, certificate=b"mine")
    assert found == Client(PROXY, is_tls=True, certificate=base64.b64encode(b"mine").decode())


def test_a_trusted_proxy_says_that_tls_ended_there_and_who_came():
    found = client({"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"})
    assert found == Client("203.0.113.9", is_tls=True, certificate=None)


@pytest.mark.parametrize("address", ["203.0.113.9", "", "a name"])
def test_a_stranger_says_nothing_that_counts(address):
    told = {"x-forwarded-proto": "https", "client-cert": f":{DER}:", "x-forwarded-for": "198.51.100.7"}
    assert client(told, address=address) == Client(address, is_tls=False, certificate=None)


@pytest.mark.parametrize(
    "headers", [{"client-cert": f":{DER}:"}, {"x-ssl-client-cert": quote(PEM)}], ids=["rfc-9440", "nginx"]
)
def test_a_client_certificate_comes_in_two_spellings(headers):
    assert client(headers | {"x-forwarded-proto": "wss"}).certificate == DER


def test_a_certificate_without_tls_is_none():
    assert client({"client-cert": f":{DER}:"}).certificate is None


def test_a_certificate_that_is_none_or_too_long_is_none():
    for value in (":not base64:", f":{'A' * CERTIFICATE_LENGTH_MAX}:", "::", ""):
        assert client({"x-forwarded-proto": "https", "client-cert": value}).certificate is None


def test_of_several_proxies_the_one_next_to_us_counts():
    assert not client({"x-forwarded-proto": "https, http"}).is_tls
    told = {"x-forwarded-proto": "http, https", "x-forwarded-for": "192.0.2.66, 203.0.113.9, 10.1.2.3"}
    assert client(told) == Client("203.0.113.9", is_tls=True, certificate=None)


def test_a_star_trusts_all_and_nothing_trusts_nobody():
    assert client({"x-forwarded-proto": "https"}, address="203.0.113.9", trusted="*").is_tls
    assert not client({"x-forwarded-proto": "https"}, trusted="").is_tls
    assert not client({"x-forwarded-proto": "https"}, trusted="a name").is_tls


def test_an_address_of_version_four_is_known_in_its_longer_spelling():
    assert Proxies("127.0.0.1").trusts("::ffff:127.0.0.1")


@given(
    st.dictionaries(
        st.sampled_from(["x-forwarded-proto", "x-forwarded-for", "client-cert", "x-ssl-client-cert"]),
        st.text(max_size=60),
    )
)
def test_whatever_a_proxy_says_something_is_made_of_it(headers):
    found = client(headers)
    assert found.address

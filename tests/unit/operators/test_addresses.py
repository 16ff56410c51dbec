"""Where a line may go: what is read out of an operator's URL, and which addresses are somebody else's."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from voltyard.kernel.errors import Invalid
from voltyard.operators.addresses import (
    INTERNAL_PORTS,
    URL_LENGTH_MAX,
    UrlRefused,
    address_for,
    authority,
    check_file_url,
    check_host,
    check_url,
    is_public,
    may_reach,
    read_address,
)

PRIVATE = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "64:ff9b:1::1", "100::1", "2001:2::1", "2001:db8::1", "3fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    "2606:4700::1%eth0",
)  # fmt: skip
PUBLIC = (
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
    "168.63.129.17", "172.15.255.255", "172.32.0.0", "192.167.255.255", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "2001:200::1", "2606:4700::1111", "2a00:1450:4001::5e",
)  # fmt: skip
NEVER = (
    "0.0.0.0", "168.63.129.16", "169.254.169.254", "192.0.0.192", "224.0.0.1", "255.255.255.255",
    "::", "fe80::1", "fd00:ec2::254", "ff02::1", "fd12::1%eth0", "64:ff9b::a9fe:a9fe", "::ffff:0.0.0.0",
)  # fmt: skip

v4 = st.integers(0, 2**32 - 1).map(IPv4Address) | st.sampled_from(
    [IPv4Address(text) for text in (*PRIVATE, *PUBLIC) if ":" not in text]
)


def mapped(inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0xFFFF << 32 | int(inner))


def six_to_four(inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0x2002 << 112 | int(inner) << 80 | 1)


def nat64(inner: IPv4Address) -> IPv6Address:
    return IPv6Address(0x64FF9B << 96 | int(inner))


def teredo(server: IPv4Address, client: IPv4Address) -> IPv6Address:
    return IPv6Address(0x20010000 << 96 | int(server) << 64 | (int(client) ^ 0xFFFF_FFFF))


def refusal(url: str, *, is_private_allowed: bool = False) -> str:
    with pytest.raises(UrlRefused) as wrong:
        check_url(url, is_private_allowed=is_private_allowed)
    ((pointer, problem),) = wrong.value.errors
    assert (pointer, problem) == ("/url", wrong.value.detail)
    return problem


# --- addresses ---


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_of_the_public_internet_is_not_public(text):
    assert not is_public(ip_address(text))
    assert not may_reach(ip_address(text), is_private_allowed=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_other_peoples_addresses_are_public(text):
    assert is_public(ip_address(text))
    assert may_reach(ip_address(text), is_private_allowed=False)
    assert may_reach(ip_address(text), is_private_allowed=True)


@given(v4, v4)
def test_an_address_within_an_address_is_judged_as_itself(inner, other):
    for wrapped in (mapped(inner), six_to_four(inner), nat64(inner), teredo(inner, inner)):
        assert is_public(wrapped) == is_public(inner)
        for allowed in (False, True):
            assert may_reach(wrapped, is_private_allowed=allowed) == may_reach(
                inner, is_private_allowed=allowed
            )
    assert is_public(teredo(inner, other)) == (is_public(inner) and is_public(other))


@given(st.integers(0, 2**128 - 1).map(IPv6Address) | v4)
def test_what_python_takes_for_private_is_never_public(address):
    assume(not (isinstance(address, IPv6Address) and (address.sixtofour or address.teredo)))
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert may_reach(address, is_private_allowed=True)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "10.1.2.3", "192.168.0.9", "100.64.0.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
)
def test_private_networks_may_be_allowed(text):
    assert not may_reach(ip_address(text), is_private_allowed=False)
    assert may_reach(ip_address(text), is_private_allowed=True)


@pytest.mark.parametrize("text", NEVER)
def test_the_metadata_of_clouds_and_the_wire_itself_are_never_allowed(text):
    assert not may_reach(ip_address(text), is_private_allowed=True)


# --- URLs ---


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("wss://ocpp.example.com", "wss://ocpp.example.com"),
        ("  wss://ocpp.example.com/a/b?x=1&y=2\n", "wss://ocpp.example.com/a/b?x=1&y=2"),
        ("WSS://OCPP.Example.COM:443/A/", "wss://ocpp.example.com/A/"),
        ("wss://ocpp.example.com:/a", "wss://ocpp.example.com/a"),
        ("wss://ocpp.example.com.:8443/a", "wss://ocpp.example.com:8443/a"),
        ("wss://ocpp.example.com:80/a", "wss://ocpp.example.com:80/a"),
        ("wss://ocpp.example.com?", "wss://ocpp.example.com"),
        ("wss://lade-säule.example/ü%20?ö=%zz", "wss://xn--lade-sule-02a.example/%C3%BC%20?%C3%B6=%25zz"),
        ("wss://1.1.1.1/a", "wss://1.1.1.1/a"),
        ("wss://１.1.1.1/a", "wss://1.1.1.1/a"),
        ("wss://[2606:4700:0:0::1111]:9000/a", "wss://[2606:4700::1111]:9000/a"),
        ("wss://my_operator.example/a", "wss://my_operator.example/a"),
    ],
)
def test_a_url_is_brought_into_its_normal_form(typed, normal):
    assert check_url(typed, is_private_allowed=False) == normal


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "enter the operator's address"),
        ("   ", "enter the operator's address"),
        ("wss://h.example/" + "a" * URL_LENGTH_MAX, "longer than 500"),
        ("wss://h.example/" + "ü" * 200, "longer than 500"),
        ("wss://h.example/a b", "blanks"),
        ("wss://h.example/a\tb", "blanks"),
        ("wss://h.example/a\r\nHost: x", "blanks"),
        ("wss://h.example/\x00", "blanks"),
        ("wss://h.exa\u200bmple/", "blanks"),
        ("wss://h.example\\@other.example/", "backslashes"),
        ("ws://h.example/", "write wss:// in place of ws://"),
        ("http://h.example/", "write wss:// in place of http://"),
        ("https://h.example/", "write wss:// in place of https://"),
        ("ftp://h.example/", "must begin with wss://"),
        ("h.example/a", "must begin with wss://"),
        ("h.example:443/a", "must begin with wss://"),
        ("wss://user:secret@h.example/", "fields for them"),
        ("wss://user@h.example/", "fields for them"),
        ("wss://h.example/#part", "remove the #"),
        ("wss://h.example/#", "remove the #"),
        ("wss://", "names no host"),
        ("wss:///a", "names no host"),
        ("wss:h.example", "names no host"),
        ("wss://:443/", "names no host"),
        ("wss://x[2606:4700::1]/", "names no host"),
        ("wss://[fe80::1%25eth0]/", "names no host"),
        ("wss://[2606:4700::1/", "cannot be read"),
        ("wss://h.example:port/", "cannot be read"),
        ("wss://h.example:70000/", "cannot be read"),
        ("wss://h.example℀x/", "cannot be read"),
        ("wss://h..example/", "host name is not a valid one"),
        ("wss://-h.example/", "host name is not a valid one"),
        ("wss://h%2eexample/", "host name is not a valid one"),
        ("wss://" + "a" * 64 + ".example/", "host name is not a valid one"),
        ("wss://" + "ü" * 64 + ".example/", "host name is not a valid one"),
        ("wss://" + "a." * 130 + "example/", "host name is not a valid one"),
        ("wss://[:::]/", "cannot be read"),
        ("wss://straße.example/", "xn--"),
        ("wss://127.1/", "four numbers"),
        ("wss://2130706433/", "four numbers"),
        ("wss://0x7f000001/", "four numbers"),
        ("wss://0177.0.0.1/", "four numbers"),
        ("wss://1.2.3.256/", "four numbers"),
        ("wss://127.0.0.1/", "not one of the public internet"),
        ("wss://169.254.169.254/", "not one of the public internet"),
        ("wss://[::1]/", "not one of the public internet"),
        ("wss://[::ffff:10.0.0.1]/", "not one of the public internet"),
    ],
)
def test_a_url_that_is_refused_says_what_to_do(url, told):
    assert told in refusal(url)


@pytest.mark.parametrize("port", [1, 22, 25, 81, 442, 1023, *sorted(INTERNAL_PORTS)])
def test_ports_of_other_services_are_refused_unless_private_networks_are_allowed(port):
    assert f"port {port} " in refusal(f"wss://h.example:{port}/")
    assert check_url(f"wss://h.example:{port}/", is_private_allowed=True) == f"wss://h.example:{port}/"


def test_port_0_is_none():
    assert "port 0 " in refusal("wss://h.example:0/", is_private_allowed=True)
    assert "port 0 " in refusal("wss://h.example:0/")


@pytest.mark.parametrize("port", [80, 1024, 8080, 8443, 8887, 9000, 65535])
def test_ports_that_operators_use_are_accepted(port):
    assert check_url(f"wss://h.example:{port}/", is_private_allowed=False) == f"wss://h.example:{port}/"


def test_where_private_networks_are_allowed_plain_sockets_and_private_addresses_are():
    assert check_url("ws://127.0.0.1:8887/x", is_private_allowed=True) == "ws://127.0.0.1:8887/x"
    assert check_url("ws://[fd12::1]:80/x", is_private_allowed=True) == "ws://[fd12::1]/x"
    assert check_url("wss://backend/x", is_private_allowed=True) == "wss://backend/x"
    assert "public internet" in refusal("ws://169.254.169.254/", is_private_allowed=True)


LETTERS = st.sampled_from(string.ascii_letters + string.digits + "/:?#@%[].-_~ü߀\\ \t١＠。")


@given(st.text(LETTERS, max_size=60), st.booleans())
def test_a_url_that_was_accepted_is_accepted_again_and_stays_as_it_is(rest, allowed):
    try:
        normal = check_url("wss://" + rest, is_private_allowed=allowed)
    except UrlRefused:
        return
    assert normal.isascii()
    assert normal.isprintable()
    assert " " not in normal
    assert check_url(normal, is_private_allowed=allowed) == normal


def test_a_host_name_beside_the_url_is_refused_at_its_own_field():
    assert check_host("OCPP.Example.") == "ocpp.example"
    with pytest.raises(UrlRefused) as wrong:
        check_host("h.example:80", "/host_name")
    assert wrong.value.errors[0][0] == "/host_name"


def test_addresses_are_read_without_zones():
    assert read_address("10.0.0.1") == IPv4Address("10.0.0.1")
    assert read_address("::1") == IPv6Address("::1")
    assert read_address("fe80::1%eth0") is None
    assert read_address("h.example") is None


def test_an_address_of_six_stands_in_brackets():
    assert authority("::1", None) == "[::1]"
    assert authority("::1", 80) == "[::1]:80"
    assert authority("h.example", 80) == "h.example:80"


# --- the identity ---


@pytest.mark.parametrize(
    ("url", "identity", "address"),
    [
        ("wss://h.example", "CP 1", "wss://h.example/CP%201"),
        ("wss://h.example/", "CP1", "wss://h.example/CP1"),
        ("wss://h.example/ocpp", "CP1", "wss://h.example/ocpp/CP1"),
        ("wss://h.example/ocpp/", "a/b?c#d", "wss://h.example/ocpp/a%2Fb%3Fc%23d"),
        ("wss://h.example/ocpp?token=x/y", "CP1", "wss://h.example/ocpp/CP1?token=x/y"),
        ("wss://h.example/ocpp/CP1", "CP1", "wss://h.example/ocpp/CP1"),
        ("wss://h.example/ocpp/CP1/", "CP1", "wss://h.example/ocpp/CP1/"),
        ("wss://h.example/ocpp/CP%201?a=b", "CP 1", "wss://h.example/ocpp/CP%201?a=b"),
        ("wss://h.example/ocpp?a=b&id=CP%201", "CP 1", "wss://h.example/ocpp?a=b&id=CP%201"),
        ("wss://h.example/ocpp?CP1", "CP1", "wss://h.example/ocpp?CP1"),
        ("wss://h.example/XCP1", "CP1", "wss://h.example/XCP1/CP1"),
        ("wss://cp1", "cp1", "wss://cp1/cp1"),
    ],
)
def test_the_identity_is_appended_unless_the_url_ends_with_it(url, identity, address):
    assert address_for(url, identity, is_identity_appended=True) == address


def test_a_link_may_say_that_nothing_is_appended():
    assert address_for("wss://h.example/x?y", "CP1", is_identity_appended=False) == "wss://h.example/x?y"


@given(
    st.text(string.ascii_letters + "/", max_size=20),
    st.text(string.ascii_letters + "=&", max_size=10),
    st.text(min_size=1, max_size=20).filter(lambda text: text.strip("/")),
)
def test_the_identity_is_appended_once(path, query, identity):
    url = f"wss://h.example/{path}" + (f"?{query}" if query else "")
    address = address_for(url, identity, is_identity_appended=True)
    assert address_for(address, identity, is_identity_appended=True) == address
    assert address.startswith(url.partition("?")[0].removesuffix("/"))
    assert address.isascii()


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.com/firmware.bin",
        "ftp://user:pass@files.example.com:2121/in/",
        "sftp://8.8.8.8/in",
        "http://[2606:4700::1111]/in",
    ],
)
def test_a_charger_may_be_sent_to_files_on_the_public_internet(url):
    check_file_url(url, is_private_allowed=False)
    check_file_url(url, is_private_allowed=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.1/router.cgi",
        "http://127.0.0.1/",
        "ftp://user:pass@10.0.0.7/in/",
        "http://[::1]/",
        "http://[fd00::1]/",
        "http://[::ffff:192.168.1.1]/",
        "http://router/",
        "http://router.lan/",
        "http://localhost/",
        "http://nas.local./in",
    ],
)
def test_a_charger_is_not_sent_into_its_owners_network_unless_that_is_allowed(url):
    with pytest.raises(UrlRefused):
        check_file_url(url, is_private_allowed=False)
    check_file_url(url, is_private_allowed=True)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "https://",
        "",
        "x",
        "http://169.254.169.254/",
        "http://2130706433/",
        "http://0x7f.1/",
    ],
)
def test_what_no_charger_is_ever_sent_to(url):
    for allowed in (False, True):
        with pytest.raises(Invalid):
            check_file_url(url, is_private_allowed=allowed)

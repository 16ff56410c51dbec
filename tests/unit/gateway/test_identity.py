"""Who knocks: identities, subprotocols and passwords as chargers really send them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.gateway import identity


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/ocpp/CP-1", "CP-1"),
        ("/CP-1", "CP-1"),
        ("/ocpp/CP-1/", "CP-1"),
        ("//ocpp//CP-1//", "CP-1"),
        ("/ocpp/CP-1/CP-1", "CP-1"),
        ("/ocpp/v16/tenant/CP-1", "CP-1"),
        ("/ocpp/CP-1?token=a/b", "CP-1"),
        ("/ocpp/CP-1#x", "CP-1"),
        ("/ocpp/CP%2D1", "CP-1"),
        ("/ocpp/CP%201", "CP 1"),
        ("/ocpp/%20CP-1%20", "CP-1"),
        ("/ocpp%2FCP-1", "CP-1"),
        ("/ocpp/CP%3A1", "CP:1"),
        ("/ocpp/CP:1", "CP:1"),
        ("/ocpp/cp-ÅØ%C3%86", "cp-ÅØÆ"),
        ("ws://host:8887/ocpp/CP-1", "CP-1"),
        ("/OCPP/CP-1", "CP-1"),
    ],
)
def test_the_last_segment_is_the_identity_whatever_stands_around_it(target, name):
    # Quirks Q4 and Q6.
    assert identity.identity(target) == name


@pytest.mark.parametrize(
    "target",
    ["", "/", "//", "/ocpp", "/ocpp/", "/OCPP/", "/ocpp?CP-1", "/%20/", "/ocpp/CP%00", "/ocpp/CP%0D%0A1"],
)
def test_a_target_without_a_printable_segment_names_nobody(target):
    assert not identity.identity(target)


def test_a_charger_that_is_called_ocpp_is_found_below_the_root():
    assert identity.identity("/ocpp/ocpp") == "ocpp"


@pytest.mark.parametrize("offered", [None, "", " ", ","])
def test_who_offers_no_subprotocol_is_taken_for_one_of_1_6(offered):
    # Quirk Q1.
    assert identity.subprotocol(offered) is None


@pytest.mark.parametrize(
    "offered",
    ["ocpp1.6", "ocpp1.6, ocpp1.5", "ocpp2.0.1,ocpp1.6", "ocpp2.1, ocpp2.0.1, ocpp1.6"],
)
def test_of_several_subprotocols_1_6_is_chosen(offered):
    # Quirk Q2.
    assert identity.subprotocol(offered) == "ocpp1.6"


def test_the_chosen_subprotocol_is_told_in_the_charger_s_own_capitals():
    assert identity.subprotocol(" OCPP1.6 , ocpp1.5") == "OCPP1.6"


@pytest.mark.parametrize(
    ("target", "offered", "user", "found"),
    [
        ("/ocpp/CP-1", "ocpp1.6", "CP-1:x", ()),
        ("/ocpp/cp-1", "ocpp1.6", None, ()),
        ("/CP-1", "ocpp1.6", None, ()),
        ("/ocpp/CP-1", None, None, ("no_subprotocol",)),
        ("/ocpp//CP-1", "ocpp1.6", None, ("odd_address",)),
        ("/ocpp/CP-1/", "ocpp1.6", None, ("odd_address",)),
        ("/ocpp/CP-1?a=b", "ocpp1.6", None, ("odd_address",)),
        ("/ocpp/CP-1/CP-1", "ocpp1.6", None, ("odd_address",)),
        ("/ocpp/CP-1", "ocpp1.6", "other:x", ("user_name_differs",)),
        ("/ocpp/CP-1", "ocpp1.6", "cp-1:x", ()),
        ("/ocpp/CP-1", "ocpp1.6", "nonsense", ()),
        ("", None, ":", ("no_subprotocol", "user_name_differs")),
    ],
)
def test_what_is_odd_in_a_knock_is_named(target, offered, user, found):
    pair = None if user is None else f"Basic {base64.b64encode(user.encode()).decode()}"
    assert identity.flaws(target, offered, pair, "CP-1") == found


@given(st.text(), st.none() | st.text(), st.none() | st.text(), st.text())
def test_naming_what_is_odd_never_raises(target, offered, authorization, name):
    identity.flaws(target, offered, authorization, name)


@pytest.mark.parametrize("offered", ["ocpp2.0.1", "ocpp1.5", "ocpp1.60", "mqtt, soap"])
def test_subprotocols_that_are_not_spoken_here_are_told_apart_from_none(offered):
    assert not identity.subprotocol(offered)
    assert identity.subprotocol(offered) is not None


def basic(pair: bytes) -> str:
    return f"Basic {base64.b64encode(pair).decode()}"


def sent(authorization: str | None, name: str = "") -> bytes | None:
    found = identity.password(authorization, name)
    return None if found is None else base64.b64decode(found)


@pytest.mark.parametrize(
    ("pair", "secret"),
    [
        (b"CP-1:secret", b"secret"),
        (b":secret", b"secret"),
        (b"somebody else:secret", b"secret"),
        (b"CP-1:a:b:c", b"a:b:c"),
        (b"CP-1:", b""),
        (b"CP-1:\x00\xff\x10", b"\x00\xff\x10"),
    ],
)
def test_the_password_is_what_follows_the_first_colon_whoever_the_user_is(pair, secret):
    # Quirk Q7.
    assert sent(basic(pair)) == secret
    assert sent(basic(pair), "CP-1") == secret


@pytest.mark.parametrize(
    ("pair", "secret"),
    [(b"CP:1:secret", b"secret"), (b"cp:1:a:b", b"a:b"), (b"CP:2:secret", b"2:secret"), (b"CP:1", b"1")],
)
def test_a_colon_in_the_identity_does_not_cut_the_password(pair, secret):
    # Quirk Q6.
    assert sent(basic(pair), "CP:1") == secret


def test_the_scheme_may_be_written_as_one_likes():
    assert sent("bAsIc   " + base64.b64encode(b"a:b").decode() + " ") == b"b"


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic !!!", "Basic YTp", "Bearer YTpi", basic(b"no colon"), "Basic é", "YTpi"],
)
def test_what_is_no_basic_authorization_brings_no_password(authorization):
    assert identity.password(authorization) is None

"""Sealing: what is sealed opens for its subject with the installation's secret, and for nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.seal import SealBroken, seal, unseal

SECRET = b"the installation's secret"


@given(st.binary(max_size=500), st.text(max_size=40))
def test_what_is_sealed_opens_again(data, about):
    try:
        about.encode()
    except UnicodeEncodeError:
        return
    assert unseal(seal(data, SECRET, about), SECRET, about) == data


def test_sealing_the_same_twice_gives_two_texts():
    assert seal(b"4711", SECRET, "pin") != seal(b"4711", SECRET, "pin")


def test_the_value_does_not_show():
    assert "4711" not in seal(b"4711" * 20, SECRET, "pin")


@pytest.mark.parametrize(("secret", "about"), [(b"another", "pin"), (SECRET, "somebody else's pin")])
def test_another_secret_or_another_subject_opens_nothing(secret, about):
    with pytest.raises(SealBroken, match="secret"):
        unseal(seal(b"4711", SECRET, "pin"), secret, about)


@given(st.text(max_size=80))
def test_what_was_never_sealed_does_not_open(text):
    with pytest.raises(SealBroken):
        unseal(text, SECRET, "pin")


def test_a_changed_letter_is_noticed():
    sealed = seal(b"4711", SECRET, "pin")
    other = "B" if sealed[-4] != "B" else "C"
    with pytest.raises(SealBroken):
        unseal(sealed[:-4] + other + sealed[-3:], SECRET, "pin")

import pytest
from argon2 import PasswordHasher

from voltyard.accounts import secrets
from voltyard.accounts.secrets import hash_password, is_password, is_same, machine_hash, new_secret


def test_a_secret_says_what_it_is_and_holds_160_random_bits():
    secret = new_secret("vyt")
    prefix, _, body = secret.partition("_")
    assert prefix == "vyt"
    assert len(bytes.fromhex(body)) * 8 == 160
    assert new_secret("vyt") != secret


def test_a_machine_s_secret_is_hashed_with_the_key_of_the_installation():
    assert machine_hash("secret", b"key") == machine_hash(b"secret", b"key")
    assert machine_hash("secret", b"key") != machine_hash("secret", b"another key")
    assert machine_hash("secret", b"key") != machine_hash("secreT", b"key")
    assert len(machine_hash("secret", b"a key of any length " * 100)) == 64


def test_hashes_are_compared_whole():
    assert is_same("abc", "abc")
    assert not is_same("abc", "abd")
    assert not is_same("abc", "ab")


@pytest.mark.parametrize("password", ["correct horse", "pässwörd 🔌", "\ud800 half a character"])
def test_a_password_is_known_by_its_hash_only(password: str):
    hashed = hash_password(password)
    assert password not in hashed
    assert is_password(password, hashed)
    assert not is_password(password + " ", hashed)
    assert not is_password("", hashed)


def test_nobody_has_a_password_and_neither_has_a_broken_hash():
    assert not is_password("anything at all", None)
    assert not is_password("anything at all", "this is no hash")


def test_asking_for_nobody_costs_as_much_as_asking_for_somebody():
    assert not PasswordHasher().check_needs_rehash(secrets._NOBODY)

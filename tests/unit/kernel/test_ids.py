"""Ids: a prefix that names the kind, then 26 characters that sort by time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voltyard.kernel.errors import NotFound
from voltyard.kernel.ids import ALPHABET, BODY_LENGTH, PREFIXES, check, encode, is_id, new_id

THREADS = 4
EACH = 10_000

numbers = st.integers(0, 2**128 - 1)
prefixes = st.sampled_from(sorted(PREFIXES))


def number_of(body: str) -> int:
    number = 0
    for character in body:
        number = number << 5 | ALPHABET.index(character)
    return number


def milliseconds_of(made: str) -> int:
    return number_of(made.partition("_")[2]) >> 80


@given(numbers, numbers)
def test_bodies_sort_as_their_numbers_do(one: int, other: int):
    assert (encode(one) < encode(other)) == (one < other)


@given(numbers)
@example(0)
@example(2**128 - 1)
def test_a_body_keeps_all_of_its_number(number: int):
    body = encode(number)
    assert len(body) == BODY_LENGTH
    assert number_of(body) == number


@given(
    st.integers(0, 2**48 - 2),
    st.integers(1, 2**20),
    st.integers(0, 2**80 - 1),
    st.integers(0, 2**80 - 1),
)
def test_an_id_made_later_in_another_millisecond_sorts_later(
    earlier_ms: int, after_ms: int, chance: int, other_chance: int
):
    later_ms = min(earlier_ms + after_ms, 2**48 - 1)
    assert encode(earlier_ms << 80 | chance) < encode(later_ms << 80 | other_chance)


def test_an_id_tells_the_time_at_which_it_was_made():
    before = time.time_ns() // 1_000_000
    made = new_id("txn")
    after = time.time_ns() // 1_000_000
    assert before <= milliseconds_of(made) <= after


def test_ids_never_collide_though_thousands_are_made_in_a_millisecond():
    with ThreadPoolExecutor(THREADS) as pool:
        made = [*pool.map(lambda _: [new_id("smp") for _ in range(EACH)], range(THREADS))]
    assert len({each for some in made for each in some}) == THREADS * EACH


@given(prefixes)
def test_a_fresh_id_passes_its_own_check(prefix: str):
    made = new_id(prefix)
    assert is_id(prefix, made)
    assert check(prefix, made) == made


@given(prefixes, prefixes)
def test_a_wrong_prefix_never_passes(prefix: str, other: str):
    made = new_id(prefix)
    assert is_id(other, made) == (prefix == other)


def test_an_id_of_another_kind_names_nothing():
    made = new_id("card")
    with pytest.raises(NotFound) as caught:
        check("chg", made)
    assert caught.value.facts["id"] == made


@given(prefixes, st.text(max_size=40))
def test_text_of_chance_is_no_id(prefix: str, text: str):
    assert not is_id(prefix, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "_",
        "chg",
        "chg_",
        "chg_0123456789",
        "CHG_01JD0000000000000000000000",
        "chg-01JD0000000000000000000000",
        "chg_01jd0000000000000000000000",
        "chg_01JD000000000000000000000I",
        "chg_01JD00000000000000000000000",
        "chg_01JD0000000000000000000000\n",
        " chg_01JD0000000000000000000000",
        "chg_chg_01JD0000000000000000000",
        "chg_01JD000000000000000000000\0",
        "chg_٠١٢٣٤٥٦٧٨٩٠١٢٣٤٥٦٧٨٩٠١٢٣٤٥",
    ],
)
def test_what_is_almost_an_id_is_none(text: str):
    with pytest.raises(NotFound):
        check("chg", text)


def test_a_prefix_that_nobody_registered_makes_no_id():
    with pytest.raises(AssertionError, match="xyz"):
        new_id("xyz")


def test_prefixes_are_short_words_and_fit_the_columns():
    assert all(prefix.isalpha() and prefix.islower() and len(prefix) <= 4 for prefix in PREFIXES)
    assert max(len(new_id(prefix)) for prefix in PREFIXES) <= 40

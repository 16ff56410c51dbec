"""Some thousand mutations of a fixed seed, each time the same; `make fuzz` searches further."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.fuzz.corpus import mutations, seeds
from tests.fuzz.targets import one_input

INPUTS = 3_000


@pytest.mark.parametrize("data", seeds(), ids=lambda data: data[:40].decode("utf-8", "replace"))
def test_what_chargers_really_send_breaks_no_promise(data):
    one_input(data)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_no_charger_ever_sent_breaks_no_promise(seed):
    for data in islice(mutations(seed), INPUTS):
        try:
            one_input(data)
        except Exception as wrong:
            raise AssertionError(f"{data!r}") from wrong


def test_the_same_seed_gives_the_same_inputs():
    assert list(islice(mutations(7), 50)) == list(islice(mutations(7), 50))
    assert list(islice(mutations(7), 50)) != list(islice(mutations(8), 50))

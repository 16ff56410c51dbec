from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_charger, place_of
from voltyard.chargers import readers
from voltyard.chargers import service as chargers
from voltyard.speech import Booted


@given(st.binary(min_size=4, max_size=10))
def test_twice_in_reverse_is_straight(data):
    tag = data.hex().upper()
    turned = readers.reversed_tag(tag)
    assert turned is not None
    assert readers.reversed_tag(turned) == tag


@pytest.mark.parametrize("tag", ["", "04A1", "04A1B2C", "GOODCARD", "04:A1:B2:C3", "04" * 11])
def test_what_are_no_bytes_has_no_reverse(tag):
    assert readers.reversed_tag(tag) is None


async def test_only_readers_that_are_known_for_it_are_read_in_reverse(ctx):
    keba, other = await make_charger(ctx), await make_charger(ctx)
    for charger, vendor in ((keba, "KEBA AG"), (other, "ABB")):
        await ctx.db.work(SYSTEM, chargers.boot, [(place_of(charger), Booted(vendor, "P30"))])
    told = [(keba.id, "04a1b2c3"), (other.id, "04a1b2c3"), (keba.id, "no bytes")]
    assert await ctx.db.read(SYSTEM, readers.turned, told) == ["C3B2A104", None, None]
    assert await ctx.db.read(SYSTEM, readers.turned, [(keba.id, "x")]) == [None]

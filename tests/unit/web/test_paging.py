from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.kernel.ids import new_id
from voltyard.web.paging import BadCursor, Paging, from_cursor, paging, to_cursor


@given(st.text())
def test_a_cursor_gives_its_key_back(key: str):
    assert from_cursor(to_cursor(key)) == key


@pytest.mark.parametrize("cursor", ["é", "a", "=", "a b", "__8"])
def test_a_text_that_is_no_cursor_is_refused(cursor: str):
    with pytest.raises(BadCursor) as refused:
        from_cursor(cursor)
    assert refused.value.errors[0][0] == "/cursor"


def test_a_key_of_another_kind_is_refused():
    for read in (
        lambda asked: asked.after_id("loc"),
        lambda asked: asked.after_number(),
        lambda asked: asked.after_instant(),
    ):
        for key in (new_id("chg"), "", "-1", "٣", "2026-01-01T00:00:00"):
            with pytest.raises(BadCursor):
                read(Paging(1, to_cursor(key)))
        assert read(Paging(1)) is None


def test_a_key_of_the_right_kind_is_read():
    location_id, instant = new_id("loc"), datetime(2026, 1, 1, tzinfo=UTC)
    assert Paging(1, to_cursor(location_id)).after_id("loc") == location_id
    assert Paging(1, to_cursor(57)).after_number() == 57
    assert Paging(1, to_cursor(9_999_999_999)).after_number() == 2**31 - 1
    assert Paging(1, to_cursor(instant.isoformat())).after_instant() == instant


def test_one_item_more_tells_of_a_next_page():
    asked = Paging(2)
    assert asked.most == 3
    assert asked.slice([1, 2, 3], str).next == to_cursor("2")
    assert asked.slice([1, 2, 3], str).items == [1, 2]
    assert asked.slice([1, 2], str).next is None
    assert asked.slice([], str).next is None


def test_an_empty_cursor_is_the_first_page():
    assert paging(5, "") == Paging(5, None)

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from voltyard.sim.envelope import Fields
from voltyard.sim.tags import KnownTags, TagInfo, read_tag_info

NOW = datetime(2026, 3, 1, tzinfo=UTC)
YES, NO = TagInfo("Accepted"), TagInfo("Blocked")


def test_an_expired_acceptance_lets_nobody_in():
    info = read_tag_info(
        Fields({"status": "Accepted", "expiryDate": "2026-03-01T00:00:10Z", "parentIdTag": "G"})
    )
    assert info.parent == "G"
    assert info.lets_in(NOW)
    assert not info.lets_in(NOW + timedelta(seconds=10))
    assert not NO.lets_in(NOW)


def test_the_list_goes_before_the_cache_and_case_does_not_matter():
    tags = KnownTags()
    tags.remember("abc", YES)
    assert tags.look_up("ABC", use_list=True, use_cache=True) == YES
    assert tags.look_up("ABC", use_list=True, use_cache=False) is None
    tags.replace(3, [("AbC", NO), ("gone", None)])
    assert tags.look_up("abc", use_list=True, use_cache=True) == NO
    assert tags.look_up("abc", use_list=False, use_cache=True) == YES
    assert (tags.version, len(tags)) == (3, 1)


def test_listed_tags_are_not_cached_and_the_cache_can_be_emptied():
    tags = KnownTags()
    tags.replace(1, [("A", YES)])
    tags.remember("a", NO)
    tags.remember("b", NO)
    assert tags.look_up("a", use_list=False, use_cache=True) is None
    tags.forget()
    assert tags.look_up("b", use_list=True, use_cache=True) is None


def test_changes_add_and_remove_entries():
    tags = KnownTags()
    tags.replace(1, [("A", YES)])
    tags.merge(2, [("a", None), ("B", NO), ("never", None)])
    assert tags.look_up("A", use_list=True, use_cache=True) is None
    assert tags.look_up("b", use_list=True, use_cache=True) == NO
    assert tags.version == 2

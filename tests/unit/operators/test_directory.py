"""The directory holds nothing that could not be connected to."""

from __future__ import annotations

from voltyard.operators.addresses import check_url
from voltyard.operators.directory import DIRECTORY, OTHER


def test_each_operator_that_is_known_by_name_can_be_reached_at_its_address():
    assert OTHER not in DIRECTORY
    for key, preset in DIRECTORY.items():
        assert (preset.key, bool(preset.name), bool(preset.hint)) == (key, True, True)
        if preset.url:
            assert check_url(preset.url, is_private_allowed=False) == preset.url

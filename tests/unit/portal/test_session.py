from __future__ import annotations

import pytest

from voltyard.portal.session import safe_next


@pytest.mark.parametrize("wanted", ["/", "/chargers?q=a", "/locations/loc_1"])
def test_places_of_our_own_are_gone_to(wanted: str):
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize(
    "wanted", ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "chargers"]
)
def test_other_places_are_not(wanted: str):
    assert safe_next(wanted) == "/"

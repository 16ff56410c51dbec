from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from voltyard.portal.transactions import read_day

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def test_a_date_means_the_local_day():
    assert read_day("2026-03-29", AMSTERDAM) == datetime(2026, 3, 28, 23, 0, tzinfo=UTC)
    assert read_day("2026-03-29", AMSTERDAM, days=1) == datetime(2026, 3, 29, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "0001-01-01"])
def test_what_is_no_date_filters_nothing(text: str):
    assert read_day(text, AMSTERDAM) is None


def test_the_day_after_the_last_one_filters_nothing():
    assert read_day("9999-12-31", AMSTERDAM, days=1) is None

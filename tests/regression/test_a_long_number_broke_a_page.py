"""A number of 5000 digits in an address, or a file name of 5000 letters, was answered with 500."""

from __future__ import annotations

import pytest

from tests.regression.conftest import Portal
from voltyard.web.paging import NUMBER_MAX, to_number

LONG = "9" * 5_000


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("9999999999", NUMBER_MAX), (LONG, None), ("", None), ("-1", None), ("٣", None), ("²", None)],
)
def test_a_number_that_was_typed_is_bounded(text: str, number: int | None):
    assert to_number(text) == number


async def test_no_page_breaks_on_a_long_number(portal: Portal):
    home = await portal.add_location("Home", "Europe/Amsterdam")
    charger_id, _ = await portal.charge(home, "ACE-1")
    for place in ("", f"/locations/{home}", f"/chargers/{charger_id}"):
        await portal.text(f"{place}/transactions?after={LONG}")
    for asked in ("start", "unlock"):
        answer = await portal.http.post(
            f"/chargers/{charger_id}/{asked}", data={"connector": LONG, "id_tag": "CAFE"}
        )
        assert answer.status_code < 500, asked


async def test_a_day_at_the_end_of_time_filters_nothing(portal: Portal):
    portal.http.cookies.set("voltyard_tz", "Europe/Amsterdam")
    await portal.text("/transactions?from=0001-01-01&to=9999-12-31")


@pytest.mark.parametrize("name", ["x" * 5_000, "y/" * 5_000 + "z", "x" * 254 + ".js"])
async def test_no_file_has_a_name_that_long(portal: Portal, name: str):
    await portal.text(f"/static/x/{name}", 404)

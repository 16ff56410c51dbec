"""Lists told times in the browser's zone and pages in the location's, and neither said which.

Whatever belongs to a location is told in the location's zone, and the zone is named where it is another:
once for a list whose clocks all agree, else behind each time.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from tests.regression.conftest import Portal


def times(page: str) -> list[str]:
    """Return each time of a page with the zone that is named behind it."""
    found = re.findall(
        r"<time [^>]*>([^<]*\d\d:\d\d)</time>( <span class=\"small quiet\">([^<]*)</span>)?", page
    )
    return [f"{time[-5:]} {zone}".strip() for time, _, zone in found]


async def test_each_time_is_that_of_its_location(portal: Portal):
    portal.http.cookies.set("voltyard_tz", "Europe/Amsterdam")
    there = await portal.add_location("Depot", "Asia/Kolkata")
    here = await portal.add_location("Home", "Europe/Copenhagen")
    charger_id, transaction_id = await portal.charge(there, "ACE-1")
    await portal.charge(here, "ACE-2")
    now = portal.ctx.clock.now()
    far = f"{now.astimezone(ZoneInfo('Asia/Kolkata')):%H:%M} Kolkata"
    near = f"{now.astimezone(ZoneInfo('Europe/Amsterdam')):%H:%M}"
    assert times(await portal.text("/transactions")) == [near, far]
    for page in (f"/locations/{there}/transactions", f"/chargers/{charger_id}/transactions"):
        text = await portal.text(page)
        assert set(times(text)) == {far.partition(" ")[0]}
        assert text.count("Kolkata time") == 1
    assert far in times(await portal.text(f"/transactions/{transaction_id}"))
    assert "Times are those of Kolkata." in await portal.text(f"/transactions/{transaction_id}")
    assert "(Kolkata)" in await portal.text("/"), "how long it lasts says since when, and where"


async def test_the_filters_say_whose_days_they_mean(portal: Portal):
    portal.http.cookies.set("voltyard_tz", "Europe/Amsterdam")
    await portal.charge(await portal.add_location("Home", "Europe/Amsterdam"), "ACE-1")
    assert "in the time zone of your browser (Europe/Amsterdam)" in await portal.text("/transactions")

"""Chargers whose clock is wrong or jumps: energy counts, and times stay believable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.e2e.library_charger import instant, plugged
from tests.e2e.server import Server, deliver, make_person, settle_in


async def test_a_clock_that_jumps_costs_no_energy_and_makes_no_impossible_times(tmp_path: Path):
    with Server(tmp_path) as server:
        person = make_person(server)
        deliver(server, "CLOCK-1,1234,")
        _, charger_id = await settle_in(person, "CLOCK-1")
        now = datetime.now(UTC)
        clocks = [
            (instant(datetime(1970, 1, 1, tzinfo=UTC)), instant(now)),
            (instant(now), instant(datetime(1970, 1, 1, tzinfo=UTC))),
            (instant(datetime(2099, 1, 1, tzinfo=UTC)), instant(datetime(2099, 1, 2, tzinfo=UTC))),
            (instant(now), instant(now - timedelta(hours=3))),
            (instant(now + timedelta(hours=1)), instant(now)),
        ]
        async with plugged(server.ocpp_url, "CLOCK-1") as charger:
            await charger.boot()
            for turn, (began_at, ended_at) in enumerate(clocks):
                number, verdict = await charger.begin("CARD1", 1_000 * turn, began_at)
                assert verdict == "Accepted"
                await charger.meter(number, 1_000 * turn + 250, began_at)
                await charger.meter(number, 1_000 * turn + 400, ended_at)
                await charger.end(number, 1_000 * turn + 500, at=ended_at)
        found = (await person("GET", f"/transactions?charger={charger_id}"))["items"]
        assert [each["energy_wh"] for each in found] == [500] * len(clocks)
        latest = datetime.now(UTC) + timedelta(minutes=6)
        for each in found:
            started_at = datetime.fromisoformat(each["started_at"])
            ended_at = datetime.fromisoformat(each["ended_at"])
            assert now - timedelta(days=1) < started_at <= ended_at < latest

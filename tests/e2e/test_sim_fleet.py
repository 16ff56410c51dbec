"""A fleet of virtual chargers against an independent central system, in accelerated time."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

from tests.unit.sim.backoffice import open_office
from voltyard.sim.fleet import run_fleet

COUNT = 20


async def test_many_chargers_live_and_every_session_that_ends_is_told_once():
    async with open_office() as office:
        names = [f"SIM{number:03d}" for number in range(COUNT)]
        work = run_fleet(office.url, names, {}, say=lambda _: None, seed=3, speed=1200, cards=("A", "B"))
        task = asyncio.create_task(work)
        await office.until(lambda: office.count("StopTransaction") >= COUNT, 90)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        ended = Counter(
            payload["transaction_id"] for _, action, payload in office.heard if action == "StopTransaction"
        )
        assert set(ended.values()) == {1}
        assert office.errors() == []
        for name in names:
            registers = [
                int(value["value"])
                for who, action, payload in office.heard
                if (who, action, payload.get("connector_id")) == (name, "MeterValues", 1)
                for one in payload["meter_value"]
                for value in one["sampled_value"]
                if value["measurand"] == "Energy.Active.Import.Register"
            ]
            assert all(later >= earlier for earlier, later in pairwise(registers))

"""A simulated charger and the real server: cards that it knows offline, and connectors that it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from tests.e2e.server import PASSWORD, Person, Server, deliver, make_person, settle_in, until
from voltyard.kernel.clock import SystemClock
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate

OWN, OTHER, NEW = "CARD1", "CARD2", "04C0FFEE"


@dataclass
class World:
    """A server, its owner, and a charger that is online."""

    server: Server
    owner: Person
    location_id: str
    charger_id: str
    runner: Runner
    lines: list[str]

    def knows(self, tag: str) -> str | None:
        """Return the verdict on a tag in the charger's own list."""
        info = self.runner.machine._station.tags._listed.get(tag.lower())
        return None if info is None else info.status

    async def until_knows(self, tag: str, verdict: str | None) -> None:
        what = f"{tag} is {verdict} in the charger: {self.lines[-5:]}"
        await until(lambda: self.knows(tag) == verdict, what, within_s=30)

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Give a browser in which the owner has logged in."""
        browser = httpx2.AsyncClient(
            base_url=self.server.url, headers={"Origin": self.server.url}, follow_redirects=True
        )
        async with browser:
            entered = await browser.post("/login", data={"email": "ann@example.com", "password": PASSWORD})
            assert entered.status_code == 200, entered.text
            yield browser

    async def status(self) -> str:
        charger = await self.owner("GET", f"/chargers/{self.charger_id}")
        return next((str(each["status"]) for each in charger["connectors"]), "")

    async def transactions(self) -> list[dict[str, Any]]:
        page = await self.owner("GET", f"/transactions?charger={self.charger_id}")
        found: list[dict[str, Any]] = page["items"]
        return found


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    with Server(folder) as server:
        owner = make_person(server)
        deliver(server, "SIM1,1234,")
        lines: list[str] = []
        runner = Runner(
            VirtualCharger(Nameplate("SIM1"), 1, datetime.now(UTC)),
            server.ocpp_url,
            None,
            SimulatedClock(SystemClock()),
            lines.append,
        )
        task = asyncio.create_task(runner.run())
        try:
            await until(lambda: runner.machine._is_online, "the charger is connected")
            location_id, charger_id = await settle_in(owner, "SIM1")
            world = World(server, owner, location_id, charger_id, runner, lines)
            await owner("POST", f"/locations/{location_id}/cards", name="Bob", id_token=OTHER)
            await world.until_knows(OTHER, "Accepted")
            yield world
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_card_that_is_added_in_the_portal_charges_offline_and_a_blocked_one_does_not(tmp_path: Path):
    async with open_world(tmp_path) as world:
        assert world.knows(OWN) == "Accepted"
        async with world.browser() as browser:
            added = await browser.post(
                f"/locations/{world.location_id}/cards", data={"name": "Coffee", "id_tag": NEW}
            )
            assert added.status_code == 200, added.text
            await world.until_knows(NEW, "Accepted")

            async def is_in_step() -> bool:
                # The charger knows the list a moment before the server knows that it took it.
                shown = await world.owner("GET", f"/chargers/{world.charger_id}/local-list")
                return (shown["state"], shown["card_count"]) == ("in_step", 3)

            await until(is_in_step, "the list is in step, with three cards")
            cards = (await world.owner("GET", f"/locations/{world.location_id}/cards"))["items"]
            other = next(card["id"] for card in cards if card["id_token"] == OTHER)
            await browser.post(f"/cards/{other}/block")
            await world.until_knows(OTHER, "Blocked")
        act = world.runner.act
        act(lambda machine, now: machine.cut_network(now))
        act(lambda machine, now: machine.plug(1, Car(), now))
        act(lambda machine, now: machine.swipe(OTHER, 1, now))
        assert not world.runner.machine.is_charging_session(1)
        act(lambda machine, now: machine.swipe(NEW, 1, now))
        assert world.runner.machine.is_charging_session(1), world.lines


async def test_a_reserved_connector_turns_others_away_and_is_used_by_its_own_card(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await until(world.status, "the connector is known")
        path = f"/chargers/{world.charger_id}/reservations"
        expires_at = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
        made = await world.owner(
            "POST", path, status=201, connector_id=1, id_token=OWN, expires_at=expires_at
        )
        assert (made["state"], made["is_kept_by_charger"]) == ("active", True)

        async def is_reserved() -> bool:
            return await world.status() == "Reserved"

        await until(is_reserved, "the connector says that it is reserved")
        act = world.runner.act
        act(lambda machine, now: machine.plug(1, Car(), now))
        act(lambda machine, now: machine.swipe(OTHER, 1, now))
        assert not world.runner.machine.is_charging_session(1)
        await world.owner("POST", f"/chargers/{world.charger_id}/actions/start", status=409, id_token=OTHER)
        act(lambda machine, now: machine.swipe(OWN, 1, now))
        await until(lambda: world.runner.machine.is_charging_session(1), "its own card charges")

        async def is_used() -> bool:
            found = await world.owner("GET", f"/reservations/{made['id']}")
            return bool(found["state"] == "used" and found["transaction_number"])

        await until(is_used, "the reservation is used")
        (transaction,) = await world.transactions()
        assert (transaction["id_token"], transaction["status"]) == (OWN, "active")
        leaving = f"/locations/{world.location_id}/chargers/{world.charger_id}"
        await world.owner("DELETE", leaving, status=204)
        await until(lambda: not len(world.runner.machine._station.tags), "the list is empty", within_s=30)

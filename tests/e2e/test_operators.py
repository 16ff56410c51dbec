"""One charger, several back offices at once: two that others wrote, and ones that misbehave or come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.back_offices import ForeignBackOffice, LibraryBackOffice, RpcBackOffice
from tests.e2e.server import VOLTYARD, Person, Server, deliver, make_person, settle_in, until
from voltyard.kernel.clock import SystemClock
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate

IDENTITY = "SIM1"
CARD = "CARD1"
TRANSACTION = frozenset(("StartTransaction", "MeterValues", "StopTransaction"))


@dataclass
class World:
    """A server, its owner, and a simulated charger that is online."""

    server: Server
    owner: Person
    charger_id: str
    runner: Runner

    def act(self, what: Any) -> None:
        self.runner.act(what)

    async def connect(self, office: ForeignBackOffice, role: str, **over: Any) -> str:
        made = await self.owner(
            "POST",
            f"/chargers/{self.charger_id}/operators",
            status=201,
            name=type(office).__name__,
            url=office.url,
            role=role,
            **over,
        )
        await until(lambda: office.charger(IDENTITY).boots, f"{role} sees the charger boot", within_s=20)
        return str(made["id"])

    async def charge(self, card: str = CARD) -> None:
        self.act(lambda machine, now: machine.plug(1, Car(), now))
        self.act(lambda machine, now: machine.swipe(card, 1, now))
        await until(lambda: self.runner.machine.is_charging_session(1), "it charges", within_s=20)

    async def end(self) -> None:
        self.act(lambda machine, now: machine.swipe(CARD, 1, now))
        await until(lambda: not self.runner.machine.is_charging_session(1), "it has ended", within_s=20)
        self.act(lambda machine, now: machine.unplug(1, now))

    async def state(self, link_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.owner("GET", f"/operators/{link_id}")
        return found


@asynccontextmanager
async def open_world(folder: Path, **settings: str) -> AsyncIterator[World]:
    with Server(folder, operator_private_networks="allow", **settings) as server:
        owner = make_person(server)
        deliver(server, f"{IDENTITY},1234,")
        runner = Runner(
            VirtualCharger(Nameplate(IDENTITY), 1, datetime.now(UTC)),
            server.ocpp_url,
            None,
            SimulatedClock(SystemClock()),
            lambda _line: None,
        )
        task = asyncio.create_task(runner.run())
        try:
            await until(lambda: runner.machine._is_online, "the charger is connected")
            _, charger_id = await settle_in(owner, IDENTITY)
            often = {"key": "MeterValueSampleInterval", "value": "1"}
            asked = {"action": "ChangeConfiguration", "payload": often}
            await owner("POST", f"/chargers/{charger_id}/ocpp", **asked)
            yield World(server, owner, charger_id, runner)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_two_back_offices_of_others_share_one_charger_each_with_its_own_numbers(tmp_path: Path):
    async with open_world(tmp_path) as world, LibraryBackOffice(9_000) as bill, RpcBackOffice(500) as watch:
        billing = await world.connect(bill, "billing")
        await world.connect(watch, "data_control")
        refused = await world.owner(
            "POST",
            f"/chargers/{world.charger_id}/operators",
            status=409,
            name="Third",
            url=watch.url,
            role="billing",
        )
        assert refused["code"] == "billing_taken"

        # Only the one who bills starts; the charger hears nothing of the other.
        assert await watch.ask(IDENTITY, "RemoteStartTransaction", idTag=CARD, connectorId=1) == {
            "status": "Rejected"
        }
        world.act(lambda machine, now: machine.plug(1, Car(), now))
        assert await bill.ask(IDENTITY, "RemoteStartTransaction", idTag="STRANGER", connectorId=1) == {
            "status": "Accepted"
        }
        await until(lambda: world.runner.machine.is_charging_session(1), "it charges", within_s=20)
        mine, theirs = bill.charger(IDENTITY), watch.charger(IDENTITY)
        await until(lambda: mine.transactions and theirs.transactions, "both know the session")
        assert (mine.transactions[0].number, theirs.transactions[0].number) == (9_000, 500)
        assert mine.transactions[0].start == theirs.transactions[0].start
        assert mine.transactions[0].start["idTag"] == "STRANGER"

        # A number of one is strange to the other; only billing stops.
        for office, number in ((watch, 500), (watch, 9_000), (bill, 500)):
            assert await office.ask(IDENTITY, "RemoteStopTransaction", transactionId=number) == {
                "status": "Rejected"
            }
        await until(lambda: mine.transactions[0].meter_values, "readings came", within_s=30)
        assert await bill.ask(IDENTITY, "RemoteStopTransaction", transactionId=9_000) == {
            "status": "Accepted"
        }
        await until(lambda: mine.transactions[0].stop and theirs.transactions[0].stop, "both heard the end")
        ends = [seen.transactions[0].stop or {} for seen in (mine, theirs)]
        assert [end["transactionId"] for end in ends] == [9_000, 500]
        assert ends[0]["meterStop"] == ends[1]["meterStop"]
        (session,) = (await world.owner("GET", f"/transactions?charger={world.charger_id}"))["items"]
        told_wh = ends[0]["meterStop"] - mine.transactions[0].start["meterStart"]
        assert session["energy_wh"] == told_wh
        assert all(
            payload["transactionId"] == 9_000 for action, payload in mine.heard if action == "MeterValues"
        )
        assert bill.violations == watch.violations == []

        # One step makes the other one bill; both go on where they are.
        links = (await world.owner("GET", f"/chargers/{world.charger_id}/operators"))["items"]
        other = next(link["id"] for link in links if link["id"] != billing)
        await world.owner("POST", f"/operators/{other}/make-billing", former_role="observer")
        await until(
            lambda: theirs.connections > 1 and theirs.is_connected, "it is connected anew", within_s=20
        )
        await watch.accept([])
        world.act(lambda machine, now: machine.unplug(1, now))
        world.act(lambda machine, now: machine.plug(1, Car(), now))
        world.act(lambda machine, now: machine.swipe(CARD, 1, now))
        await until(lambda: theirs.all("Authorize"), "the new one is asked about the card", within_s=20)
        assert not world.runner.machine.is_charging_session(1)
        await watch.accept(None)
        world.act(lambda machine, now: machine.swipe(CARD, 1, now))
        await until(lambda: world.runner.machine.is_charging_session(1), "it charges again", within_s=20)
        await until(lambda: len(mine.transactions) == len(theirs.transactions) == 2, "both know it")
        assert bill.violations == watch.violations == []

        trace = await asyncio.create_subprocess_exec(
            *VOLTYARD,
            *("trace", session["id"], "--data", str(world.server.data)),
            stdout=asyncio.subprocess.PIPE,
        )
        walked = (await trace.communicate())[0].decode()
        assert "LibraryBackOffice" in walked
        assert "RpcBackOffice" in walked
        assert "StartTransaction" in walked


async def test_an_operator_that_was_away_for_a_whole_session_is_told_it_in_order_with_its_own_times(
    tmp_path: Path,
):
    async with open_world(tmp_path) as world:
        async with LibraryBackOffice(70) as first:
            url = first.url
            link = await world.connect(first, "data_control")
            port = urlsplit(url).port or 0

        async def is_away() -> bool:
            return (await world.state(link))["state"] in {"backing_off", "connecting", "refused"}

        await until(is_away, "its absence is noticed", within_s=20)
        await world.charge()
        await asyncio.wait_for(_some_readings(world), 60)
        await world.end()
        session = await until(lambda: _ended(world), "the end is recorded")
        assert (await world.state(link))["queue"]["waiting"] > 2
        async with LibraryBackOffice(70, port=port) as again:
            seen = again.charger(IDENTITY)
            await until(
                lambda: seen.transactions and seen.transactions[0].stop, "it was told all of it", within_s=60
            )
            (deal,) = seen.transactions
            assert deal.number == 70
            assert datetime.fromisoformat(deal.start["timestamp"]) == datetime.fromisoformat(
                session["started_at"]
            )
            assert deal.stop is not None
            assert datetime.fromisoformat(deal.stop["timestamp"]) == datetime.fromisoformat(
                session["ended_at"]
            )
            told = [
                action
                for action, _ in seen.heard
                if action in {"StartTransaction", "MeterValues", "StopTransaction"}
            ]
            assert told[0] == "StartTransaction"
            assert told[-1] == "StopTransaction"
            assert again.violations == []


async def _ended(world: World) -> dict[str, Any] | None:
    (session,) = (await world.owner("GET", f"/transactions?charger={world.charger_id}"))["items"]
    return session if session["ended_at"] else None


async def _some_readings(world: World) -> None:
    async def are_there() -> bool:
        (session,) = (await world.owner("GET", f"/transactions?charger={world.charger_id}"))["items"]
        return bool(session["energy_wh"])

    await until(are_there, "energy flows", within_s=60)


async def test_a_link_that_leads_back_to_us_is_turned_away_and_says_so(tmp_path: Path):
    async with open_world(tmp_path) as world:
        made = await world.owner(
            "POST",
            f"/chargers/{world.charger_id}/operators",
            status=201,
            name="Ourselves",
            url=f"{world.server.ocpp_url}",
            role="observer",
        )

        async def reason() -> str:
            return str((await world.state(made["id"]))["reason"])

        await until(reason, "it says why", within_s=20)
        assert "installation itself" in await reason()
        assert (await world.state(made["id"]))["state"] == "refused"


async def test_a_refused_password_is_told_in_words_and_the_right_one_helps(tmp_path: Path):
    async with open_world(tmp_path) as world, LibraryBackOffice(1, password="opensesame") as office:
        made = await world.owner(
            "POST",
            f"/chargers/{world.charger_id}/operators",
            status=201,
            name="Strict",
            url=office.url,
            role="data_control",
            password="wrong",
        )

        async def is_refused() -> bool:
            return (await world.state(made["id"]))["state"] == "refused"

        await until(is_refused, "the password is refused", within_s=20)
        assert "password" in (await world.state(made["id"]))["reason"]
        await world.owner("PATCH", f"/operators/{made['id']}", password="opensesame")
        await until(lambda: office.charger(IDENTITY).boots, "it lets us in", within_s=20)
        assert (await world.owner("GET", f"/operators/{made['id']}"))["has_password"] is True
        # And the operator itself may give a new one, which counts from the next connection on.
        assert await office.ask(
            IDENTITY, "ChangeConfiguration", key="AuthorizationKey", value="a-new-key-of-20-bytes"
        ) == {"status": "Accepted"}
        await office.expect("a-new-key-of-20-bytes")
        before = office.charger(IDENTITY).connections
        await office.hang_up(IDENTITY)
        await until(
            lambda: office.charger(IDENTITY).connections > before, "it came with the new one", within_s=20
        )

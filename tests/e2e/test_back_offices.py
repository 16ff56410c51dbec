"""The back offices themselves, with a simulated charger at the other end and no Voltyard in between."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets

from tests.e2e.back_offices import ForeignBackOffice, LibraryBackOffice, Refused, RpcBackOffice
from tests.e2e.library_charger import VERSION, authorization
from tests.e2e.server import VOLTYARD, until
from voltyard.kernel.clock import SystemClock
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate

FOREIGN = [LibraryBackOffice, RpcBackOffice]


@asynccontextmanager
async def running(url: str, password: str | None = None) -> AsyncIterator[Runner]:
    clock = SimulatedClock(SystemClock(), 60)
    machine = VirtualCharger(Nameplate("SIM1", call_timeout_s=1800), 1, clock.now())
    runner = Runner(machine, url, password, clock, lambda _: None)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def plugged(office: ForeignBackOffice, identity: str = "SIM1", password: str | None = None) -> Any:
    return websockets.connect(
        f"{office.url}/{identity}",
        subprotocols=[VERSION],
        additional_headers=authorization(identity, password),
        proxy=None,
    )


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_charger_boots_and_charges_at_a_foreign_back_office(kind: type[Any]):
    async with kind(700, password="secret") as office, running(office.url, "secret") as runner:
        await office.accept({"TAG"})
        seen = office.charger("SIM1")
        await until(lambda: seen.status(1) == "Available", "it has booted and told its states")
        assert seen.boots[0]["chargePointVendor"] == "Voltyard Sim"
        started = await office.ask("SIM1", "RemoteStartTransaction", idTag="TAG", connectorId=1)
        assert started == {"status": "Accepted"}
        runner.act(lambda machine, now: machine.plug(1, Car(), now))
        await until(lambda: seen.transactions and seen.transactions[0].meter_values, "it charges")
        deal = seen.transactions[0]
        assert (deal.number, deal.verdict, deal.start["idTag"]) == (700, "Accepted", "TAG")
        key = "MeterValueSampleInterval"
        told = await office.ask("SIM1", "GetConfiguration", key=[key, "Nonsense"])
        assert [one["key"] for one in told["configurationKey"]] == [key]
        assert told["unknownKey"] == ["Nonsense"]
        limited = await office.ask(
            "SIM1",
            "SetChargingProfile",
            connectorId=1,
            csChargingProfiles={
                "chargingProfileId": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "TxProfile",
                "chargingProfileKind": "Relative",
                "transactionId": 700,
                "chargingSchedule": {
                    "chargingRateUnit": "A",
                    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.5}],
                },
            },
        )
        assert limited == {"status": "Accepted"}
        runner.act(lambda machine, now: machine.swipe("OTHER", 1, now))
        assert await office.ask("SIM1", "RemoteStopTransaction", transactionId=700) == {"status": "Accepted"}
        await until(lambda: deal.stop, "it has stopped")
        assert deal.stop is not None
        assert deal.stop["reason"] == "Remote"
        assert deal.stop["meterStop"] > deal.start["meterStart"]
        assert office.violations == []


@pytest.mark.parametrize("kind", FOREIGN)
async def test_what_breaks_the_schema_is_noticed(kind: type[Any]):
    async with kind() as office, plugged(office) as socket:
        await socket.send('[2,"1","BootNotification",{"chargePointVendor":7,"chargePointModel":"M"}]')
        assert json.loads(await socket.recv())[0] == 4
        await socket.send('[3,"never asked",{}]')
        await until(lambda: len(office.violations) >= 2, "both are noticed")
        await socket.send('[2,"2","MeterValues",{"connectorId":1,"transactionId":9,"meterValue":[]}]')
        await socket.recv()
        await until(lambda: any("MeterValues" in one for one in office.violations), "and a foreign number")


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_start_told_again_is_the_same_transaction_and_other_cards_are_refused(kind: type[Any]):
    begin = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-03-01T12:00:00Z"}
    async with kind(5) as office, plugged(office) as socket:
        await office.accept({"U"})
        await office.accept({"V"})
        for again, answer in ((begin, 5), (begin, 5), (begin | {"meterStart": 1}, 6)):
            await socket.send(json.dumps([2, "1", "StartTransaction", again]))
            told = json.loads(await socket.recv())[2]
            assert told == {"transactionId": answer, "idTagInfo": {"status": "Invalid"}}
        await until(lambda: len(office.charger("SIM1").heard) == 3, "all is told")
        assert [deal.number for deal in office.charger("SIM1").transactions] == [5, 6]


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_refusal_and_an_absent_charger_are_told(kind: type[Any]):
    async with kind() as office:
        with pytest.raises(Refused, match="not connected"):
            await office.ask("SIM1", "ClearCache")
        async with plugged(office) as socket:
            await until(lambda: office.charger("SIM1").is_connected, "it is there")
            asking = asyncio.create_task(office.ask("SIM1", "ClearCache"))
            _, call_id, action, _ = json.loads(await socket.recv())
            assert action == "ClearCache"
            await socket.send(json.dumps([4, call_id, "NotSupported", "no", {}]))
            with pytest.raises(Refused) as refused:
                await asking
            assert refused.value.code == "NotSupported"
            await office.hang_up("SIM1", 1001)
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1001
        await until(lambda: not office.charger("SIM1").is_connected, "it is gone")


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_wrong_password_is_turned_away(kind: type[Any]):
    async with kind(password="one") as office:
        async with plugged(office, password="one"):
            await office.expect("two")
            # The answer to an ask comes after the new password has arrived, whoever it goes to.
            with pytest.raises(Refused):
                await office.ask("nobody", "ClearCache")
        with pytest.raises(websockets.InvalidStatus) as refused:
            await plugged(office, password="one")
        assert refused.value.response.status_code == 401
        assert office.refusals == ["SIM1"]


async def test_the_command_serves_a_back_office_and_obeys_what_is_typed():
    command = (*VOLTYARD, "sim", "operator", "--port", "0", "--password", "secret", "--accept", "TAG")
    process = await asyncio.create_subprocess_exec(
        *command, "--first-number", "300", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None

    async def told(wanted: str) -> str:
        """Return the next line in which this stands."""
        assert process.stdout is not None
        async with asyncio.timeout(20):
            while wanted not in (line := (await process.stdout.readline()).decode()):
                assert line, f"it ended without saying {wanted!r}"
        return line

    try:
        found = re.search(r"ws://\S+/ocpp", await told("chargers connect at"))
        assert found is not None
        async with running(found[0], "secret") as runner:
            await told("SIM1: connector 1 is Available")
            runner.act(lambda machine, now: machine.plug(1, Car(), now))
            process.stdin.write(b"remote-start SIM1 TAG\n")
            await told("SIM1: starts transaction 300 at connector 1 with card TAG, Accepted")
            process.stdin.write(b"remote-stop SIM1 300\n")
            await told("SIM1: ends transaction 300")
            runner.act(lambda machine, now: machine.cut_network(now))
            await told("SIM1: is gone")
    finally:
        process.stdin.close()
        process.terminate()
        await process.wait()

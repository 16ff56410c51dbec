"""Conversations as tests: recorded from the real server, played again against it and against a charger.

`recordings/charge.jsonl` was made by the first test here: two charges, a reservation, a list of cards,
a restart, and all that Voltyard asked meanwhile. To make it anew, take the file that the test leaves behind.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.server import Person, Server, deliver, make_person, settle_in, until
from voltyard.kernel.clock import SystemClock
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate

RECORDING = Path(__file__).parent / "recordings" / "charge.jsonl"
IDENTITY, PASSWORD, TAG = "REC-0001", "a password of a charger", "CARD1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@asynccontextmanager
async def charger_of(server: Server) -> Any:
    """A simulated charger on the server."""
    clock = SimulatedClock(SystemClock())
    machine = VirtualCharger(Nameplate(IDENTITY, connectors=2, boot_s=0.2), 7, clock.now())
    runner = Runner(machine, server.ocpp_url, PASSWORD, clock, lambda _: None)
    running = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        runner.act(lambda machine, now: machine.cut_network(now))
        await until(lambda: runner._outgoing is None, "the socket is closed")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Conversation:
    """What people and programs do with a charger, so that there is something to record."""

    def __init__(self, person: Person, runner: Runner, charger_id: str) -> None:
        self.person, self.runner, self.charger_id = person, runner, charger_id

    def is_charging(self) -> bool:
        return bool(self.runner.machine.is_charging_session(1))

    async def status(self, wanted: str) -> None:
        def is_so() -> bool:
            return bool(self.runner.machine.snapshot()["connectors"][0]["status"] == wanted)

        await until(is_so, f"connector 1 is {wanted}")

    async def ask(self, action: str, **payload: Any) -> str:
        path = f"/chargers/{self.charger_id}/ocpp"
        answered = await self.person("POST", path, action=action, payload=payload, timeout_s=10)
        return str((answered["answer"] or {}).get("status"))

    async def hold(self) -> None:
        runner = self.runner
        await self.status("Available")
        assert await self.ask("GetConfiguration") == "None"
        assert await self.ask("ChangeConfiguration", key="HeartbeatInterval", value="600") == "Accepted"
        assert await self.ask("SendLocalList", listVersion=900, updateType="Full", localAuthorizationList=[
            {"idTag": TAG, "idTagInfo": {"status": "Accepted"}}
        ]) == "Accepted"  # fmt: skip
        assert await self.ask("GetLocalListVersion") == "None"
        reserved = {"connectorId": 2, "expiryDate": "2099-01-01T00:00:00Z", "idTag": TAG, "reservationId": 5}
        assert await self.ask("ReserveNow", **reserved) == "Accepted"
        assert await self.ask("CancelReservation", reservationId=5) == "Accepted"
        assert await self.ask("CancelReservation", reservationId=6) == "Rejected"
        runner.act(lambda machine, now: machine.plug(1, Car(), now))
        runner.act(lambda machine, now: machine.swipe(TAG, 1, now))
        await self.status("Charging")
        assert await self.ask("TriggerMessage", requestedMessage="MeterValues", connectorId=1) == "Accepted"
        assert await self.ask("GetCompositeSchedule", connectorId=1, duration=600) == "Accepted"
        assert await self.ask("ChangeAvailability", connectorId=1, type="Inoperative") == "Scheduled"
        assert await self.ask("ChangeAvailability", connectorId=1, type="Operative") == "Accepted"
        runner.act(lambda machine, now: machine.unplug(1, now))
        await until(lambda: not self.is_charging(), "the first charge ends")
        runner.act(lambda machine, now: machine.plug(1, Car(), now))
        path = f"/chargers/{self.charger_id}/actions"
        await self.person("POST", f"{path}/start", id_token=TAG, connector_id=1)
        await self.status("Charging")
        await until(self.is_known, "the second charge is known")
        await self.person("POST", f"{path}/stop")
        await until(lambda: not self.is_charging(), "the second charge ends")
        runner.act(lambda machine, now: machine.unplug(1, now))
        assert await self.ask("UnlockConnector", connectorId=1) == "Unlocked"
        assert await self.ask("DataTransfer", vendorId="Nobody") == "UnknownVendorId"
        assert await self.ask("Reset", type="Soft") == "Accepted"
        await until(self.is_back, "the charger is back")

    async def is_known(self) -> bool:
        found = await self.person("GET", f"/transactions?charger={self.charger_id}&status=active")
        return bool(found["items"])

    async def is_back(self) -> bool:
        found = (await self.person("GET", f"/chargers/{self.charger_id}/log?action=BootNotification"))[
            "items"
        ]
        return len({each["session_id"] for each in found if each["status"] == "done"}) > 1


async def prepare(server: Server) -> tuple[Person, str]:
    person = make_person(server)
    deliver(server, f"{IDENTITY},1234,{PASSWORD}")
    _, charger_id = await settle_in(person, IDENTITY, card=TAG)
    return person, charger_id


async def export(server: Server, person: Person, charger_id: str) -> str:
    path = f"{server.url}/api/v1/chargers/{charger_id}/log/export?format=jsonl"
    async with httpx2.AsyncClient(timeout=30) as client:
        answer = await client.get(path, headers=person._headers)
    assert answer.status_code == 200, answer.text
    return answer.text


async def settled(person: Person, charger_id: str) -> None:
    """Wait until every call of the log has its answer."""

    async def is_settled() -> bool:
        return not (await person("GET", f"/chargers/{charger_id}/log?status=pending"))["items"]

    await until(is_settled, "all answers are in the log", within_s=20)


def replayed(server: Server, file: Path, *more: str) -> tuple[int, str]:
    done = server.command("sim", "replay", str(file), *more, is_good=False)
    return done.returncode, done.stdout + done.stderr


def to_server(server: Server) -> tuple[str, ...]:
    return ("--url", server.ocpp_url, "--password", PASSWORD)


async def test_a_conversation_is_recorded_and_goes_the_same_way_again(server: Server, tmp_path: Path):
    person, charger_id = await prepare(server)
    async with charger_of(server) as runner:
        await Conversation(person, runner, charger_id).hold()
        await settled(person, charger_id)
    file = tmp_path / "charge.jsonl"
    await asyncio.to_thread(file.write_text, await export(server, person, charger_id))
    text = await asyncio.to_thread(file.read_text)
    assert PASSWORD not in text
    with Server(tmp_path / "again") as other:
        await prepare(other)
        code, said = await asyncio.to_thread(replayed, other, file, *to_server(other))
        assert (code, "DIFFERENT" in said) == (0, False), said
    code, said = await asyncio.to_thread(replayed, server, file)
    assert (code, "DIFFERENT" in said) == (0, False), said


async def test_the_recorded_charge_goes_the_same_way_on_this_version(server: Server):
    person, charger_id = await prepare(server)
    code, said = await asyncio.to_thread(replayed, server, RECORDING, *to_server(server))
    assert code == 0, said
    found = (await person("GET", f"/transactions?charger={charger_id}"))["items"]
    assert sorted(each["stop_reason"] for each in found) == ["EVDisconnected", "Remote"]
    assert {each["verdict"] for each in found} == {"Accepted"}


async def test_the_recorded_asks_get_the_same_words_from_the_simulated_charger(server: Server):
    code, said = await asyncio.to_thread(replayed, server, RECORDING, "--against", "sim")
    assert code == 0, said


async def test_a_card_that_is_no_longer_accepted_is_a_difference(server: Server):
    person = make_person(server)
    deliver(server, f"{IDENTITY},1234,{PASSWORD}")
    await settle_in(person, IDENTITY, card="ANOTHER")
    code, said = await asyncio.to_thread(replayed, server, RECORDING, *to_server(server))
    assert code == 1, said
    assert "StartTransaction: idTagInfo.status was Accepted and is Invalid" in said


async def test_a_wrong_password_and_a_wrong_file_are_told(server: Server, tmp_path: Path):
    await prepare(server)
    code, said = await asyncio.to_thread(
        replayed, server, RECORDING, "--url", server.ocpp_url, "--password", "wrong"
    )
    assert (code, "the password is wrong or missing" in said) == (5, True), said
    bad = tmp_path / "bad.jsonl"
    await asyncio.to_thread(bad.write_text, json.dumps({"number": 1}))
    code, said = await asyncio.to_thread(replayed, server, bad)
    assert (code, "line 1 lacks" in said) == (2, True), said

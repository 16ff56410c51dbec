"""Commands at the real server: sent, waiting behind one another, answered late, carried out in bulk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websockets
from websockets.typing import Subprotocol

from tests.e2e.server import Person, Server, deliver, make_person, settle_in, until

ACCEPTED = {"status": "Accepted"}


@dataclass
class ByHandCharger:
    """A charger that says and answers what a test wants, when it wants."""

    socket: Any
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    count: int = 0

    async def hear(self) -> None:
        async for text in self.socket:
            frame = json.loads(text)
            if frame[0] == 2:
                _, message_id, action, payload = frame
                self.calls.append((action, message_id, payload))
                if action in self.answers:
                    await self.answer(message_id, self.answers[action])

    async def say(self, action: str, **payload: Any) -> None:
        self.count += 1
        await self.socket.send(json.dumps([2, f"m{self.count}", action, payload]))

    async def answer(self, message_id: str, payload: dict[str, Any]) -> None:
        await self.socket.send(json.dumps([3, message_id, payload]))

    async def asked(self, action: str) -> str:
        """Wait until this was asked; return the id of its message."""
        found = await until(
            lambda: [call for call in self.calls if call[0] == action], f"{action} is asked", within_s=15
        )
        return str(found[-1][1])


@dataclass
class World:
    """A server, the owner of its only charger, and that charger."""

    owner: Person
    charger_id: str
    charger: ByHandCharger

    async def ask(self, action: str, timeout_s: float = 20, **payload: Any) -> dict[str, Any]:
        path = f"/chargers/{self.charger_id}/ocpp"
        told = await self.owner("POST", path, action=action, payload=payload, timeout_s=timeout_s)
        found: dict[str, Any] = told["command"]
        return found

    async def newest(self) -> dict[str, Any]:
        page = await self.owner("GET", f"/chargers/{self.charger_id}/commands")
        found: dict[str, Any] = page["items"][0]
        return found

    async def until_newest(self, what: str, **values: Any) -> dict[str, Any]:
        async def fits() -> dict[str, Any] | None:
            found = await self.newest()
            return found if values.items() <= found.items() else None

        found: dict[str, Any] = await until(fits, what, within_s=15)
        return found


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    with Server(folder) as server:
        owner = make_person(server)
        deliver(server, "HAND1,1234,")
        async with websockets.connect(
            f"{server.ocpp_url}/HAND1", subprotocols=[Subprotocol("ocpp1.6")]
        ) as socket:
            charger = ByHandCharger(socket)
            # What the server asks by itself after a boot is not what the tests are about.
            charger.answers |= {
                "GetConfiguration": {"configurationKey": [], "unknownKey": []},
                "GetLocalListVersion": {"listVersion": 0},
                "SendLocalList": ACCEPTED,
                "ChangeConfiguration": ACCEPTED,
                "TriggerMessage": ACCEPTED,
            }
            hearing = asyncio.create_task(charger.hear())
            _, charger_id = await settle_in(owner, "HAND1")
            await charger.say("BootNotification", chargePointVendor="V", chargePointModel="M")
            await charger.say("StatusNotification", connectorId=1, status="Available", errorCode="NoError")
            try:
                yield World(owner, charger_id, charger)
            finally:
                hearing.cancel()
                await asyncio.wait([hearing])


async def test_the_life_of_a_command_as_the_wire_tells_it(tmp_path: Path):
    async with open_world(tmp_path) as world:
        charger = world.charger
        asking = asyncio.create_task(world.ask("Reset", type="Soft"))
        message_id = await charger.asked("Reset")
        sent = await world.until_newest("it is sent", status="sent")
        assert (sent["message"], sent["sent_at"] is not None) == ("Asking the charger …", True)
        behind = asyncio.create_task(world.ask("ClearCache"))
        waiting = await world.until_newest("another one waits", action="ClearCache", status="prepared")
        assert (waiting["ahead"], waiting["message"]) == (1, "Waiting behind another command.")
        await charger.answer(message_id, ACCEPTED)
        done = await asking
        assert (done["status"], done["effect"]) == ("executed", "waiting")
        await charger.answer(await charger.asked("ClearCache"), ACCEPTED)
        assert (await behind)["message"] == "The charger has forgotten the cards it remembered."
        await charger.say("BootNotification", chargePointVendor="V", chargePointModel="M")

        async def has_restarted() -> bool:
            found = await world.owner("GET", f"/commands/{done['id']}")
            return bool(found["effect"] == "happened")

        await until(has_restarted, "the restart is noticed")


async def test_a_late_answer_is_told_apart_and_what_waited_too_long_was_never_sent(tmp_path: Path):
    async with open_world(tmp_path) as world:
        charger = world.charger
        asking = asyncio.create_task(world.ask("UnlockConnector", timeout_s=2, connectorId=1))
        message_id = await charger.asked("UnlockConnector")
        behind = await world.ask("ClearCache", timeout_s=0.5)
        assert (behind["status"], behind["sent_at"]) == ("expired", None)
        assert behind["message"].startswith("It was not sent")
        silent = await asking
        assert (silent["status"], silent["is_unable"]) == ("expired", True)
        assert silent["message"].startswith("The charger gave no answer in time")
        await charger.answer(message_id, {"status": "Unlocked"})

        async def late() -> dict[str, Any] | None:
            found = await world.owner("GET", f"/commands/{silent['id']}")
            return found if found["late"] is not None else None

        found = await until(late, "the late answer is noticed")
        assert (found["status"], found["late"]["word"], found["late"]["is_accepted"]) == (
            "expired",
            "Unlocked",
            True,
        )
        assert found["message"].startswith("The charger answered only after")


async def test_a_run_is_carried_out_by_the_worker(tmp_path: Path):
    async with open_world(tmp_path) as world:
        world.charger.answers["ClearCache"] = {"status": "Rejected"}
        ids = [world.charger_id, "chg_unknown"]
        begun = await world.owner(
            "POST", "/commands/bulk", status=202, command="ClearCache", data={}, charger_ids=ids
        )

        async def is_over() -> dict[str, Any] | None:
            found = await world.owner("GET", f"/commands/bulk/{begun['id']}")
            return found if found["status"] == "completed" else None

        run = await until(is_over, "the run is over", within_s=20)
        assert run["counts"] == {
            "total": 2, "pending": 0, "sent": 0, "offline": 0, "error": 1, "skipped": 1,
        }  # fmt: skip
        assert (
            run["chargers"][0]["message"] == "The charger could not forget its cards; it may remember none."
        )

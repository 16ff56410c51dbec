"""The server is killed again and again, in seeded places, while chargers charge and operators listen.

``python -m tests.e2e.kills --count 200 --seed 1`` does it at length; ``test_operators_killed.py`` a few
times. The chargers here are as small as can be: each says its sessions one message after the other, and
says a message again, word for word, until it is answered. What must hold in the end: each operator knows
each session exactly once, in order, with the charger's own values, and has been told nothing strange.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from tests.e2e.server import Server, deliver, make_person, settle_in, until
from voltyard.sim.backoffice import Backoffice
from voltyard.sim.operator import Manner, Operator

CHARGERS = 3
CARD = "CARD1"
READINGS = 3


@dataclass
class Told:
    """A session as its charger told it."""

    start: dict[str, Any]
    readings: list[dict[str, Any]] = field(default_factory=list)
    stop: dict[str, Any] | None = None


class SmallCharger:
    """One charger that never gives up saying what it has to say."""

    def __init__(self, identity: str, server: Server, chance: random.Random) -> None:
        self.identity = identity
        self.server = server
        self.chance = chance
        self.sessions: list[Told] = []
        self.answered = 0
        self.is_ending = False
        self.is_done = asyncio.Event()
        self._number = 0
        self._life = self._live()
        self._ids = itertools.count(1)
        self._open: tuple[str, str, dict[str, Any]] | None = None

    def _now(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _live(self) -> Iterator[tuple[str, dict[str, Any]]]:
        meter_wh = 1_000
        while not self.is_ending:
            start = {
                "connectorId": 1,
                "idTag": CARD,
                "meterStart": meter_wh,
                "timestamp": self._now(),
            }
            self.sessions.append(Told(start))
            yield "StartTransaction", start
            for _ in range(READINGS):
                meter_wh += self.chance.randint(1, 50)
                value = {"value": str(meter_wh), "measurand": "Energy.Active.Import.Register"}
                reading = [{"timestamp": self._now(), "sampledValue": [value]}]
                told = {"connectorId": 1, "transactionId": self._number, "meterValue": reading}
                self.sessions[-1].readings.append(told)
                yield "MeterValues", told
            stop = {
                "transactionId": self._number,
                "meterStop": meter_wh,
                "timestamp": self._now(),
                "reason": "Local",
            }
            self.sessions[-1].stop = stop
            yield "StopTransaction", stop

    async def run(self) -> None:
        while not self.is_done.is_set():
            with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                url = f"{self.server.ocpp_url}/{self.identity}"
                async with connect(
                    url, subprotocols=[Subprotocol("ocpp1.6")], open_timeout=5, close_timeout=1
                ) as socket:
                    await self._talk(socket)
            await asyncio.sleep(0.05)

    async def _talk(self, socket: Any) -> None:
        boot = {"chargePointVendor": "Small", "chargePointModel": "One"}
        await self._say(socket, f"b{time.monotonic_ns()}", "BootNotification", boot)
        while True:
            if self._open is None:
                said = next(self._life, None)
                if said is None:
                    self.is_done.set()
                    return
                self._open = (f"m{next(self._ids)}", *said)
            message_id, action, payload = self._open
            answer = await self._say(socket, message_id, action, payload)
            self._open = None
            self.answered += 1
            if action == "StartTransaction":
                self._number = answer["transactionId"]
            await asyncio.sleep(self.chance.random() * 0.02)

    async def _say(
        self, socket: Any, message_id: str, action: str, payload: dict[str, Any]
    ) -> dict[str, Any]:
        await socket.send(json.dumps([2, message_id, action, payload]))
        while True:
            frame = json.loads(await asyncio.wait_for(socket.recv(), 30))
            if frame[0] == 2:
                await socket.send(json.dumps([4, frame[1], "NotImplemented", "", {}]))
            elif frame[1] == message_id:
                assert frame[0] == 3, frame
                answer: dict[str, Any] = frame[2]
                return answer


@contextlib.asynccontextmanager
async def playing(
    folder: Path, chance: random.Random
) -> AsyncIterator[tuple[Server, list[SmallCharger], list[Backoffice]]]:
    names = [f"KILL{number}" for number in range(CHARGERS)]
    with Server(folder, operator_private_networks="allow") as server:
        owner = make_person(server)
        deliver(server, *(f"{name},1234," for name in names))
        offices = [Backoffice(Operator(Manner(first_number=first))) for first in (1, 100_000)]
        async with offices[0], offices[1]:
            for name in names:
                _, charger_id = await settle_in(owner, name)
                for office, role in zip(offices, ("billing", "data_control"), strict=True):
                    await owner(
                        "POST",
                        f"/chargers/{charger_id}/operators",
                        status=201,
                        name=role,
                        url=office.url,
                        role=role,
                        fallback="all",
                    )
            yield server, [SmallCharger(name, server, chance) for name in names], offices


def judge(charger: SmallCharger, office: Backoffice) -> list[str]:
    """Return what is wrong with what an operator knows of a charger."""
    seen = office.charger(charger.identity)
    wrong = [str(oddity) for oddity in seen.oddities]
    known = list(seen.transactions)
    if len(known) != len(charger.sessions):
        wrong.append(f"{len(known)} sessions known, {len(charger.sessions)} told")
    for ours, theirs in zip(charger.sessions, known, strict=False):
        told = (ours.start["meterStart"], ours.stop and ours.stop["meterStop"])
        if told != (theirs.meter_start, theirs.meter_stop):
            wrong.append(f"session {theirs.number}: {told} became {(theirs.meter_start, theirs.meter_stop)}")
        times = [reading["meterValue"][0]["timestamp"] for reading in ours.readings]
        heard = [value["timestamp"] for value in theirs.meter_values]
        if times != heard:
            wrong.append(f"session {theirs.number}: readings of {times} were heard as {heard}")
    return wrong


async def _until_answered(chargers: list[SmallCharger], count: int, what: str) -> None:
    """Wait until so many more calls were answered."""
    goal = sum(charger.answered for charger in chargers) + count
    await until(lambda: sum(charger.answered for charger in chargers) >= goal, what, within_s=60)


async def run(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Kill the server so often; return what was counted. Raises: AssertionError with what is wrong."""
    chance = random.Random(seed)
    async with playing(folder, chance) as (server, chargers, offices):
        tasks = [asyncio.create_task(charger.run()) for charger in chargers]
        try:
            for number in range(count):
                await _until_answered(
                    chargers, chance.randint(1, 40), f"kill {number}: chargers are answered"
                )
                await asyncio.sleep(chance.random() * 0.05)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            for charger in chargers:
                charger.is_ending = True
            await asyncio.wait_for(asyncio.gather(*(charger.is_done.wait() for charger in chargers)), 60)

            def is_told() -> bool:
                return not any(judge(charger, office) for charger in chargers for office in offices)

            with contextlib.suppress(AssertionError):
                await until(is_told, "all operators know all", within_s=60)
            wrong = [
                f"{charger.identity} at {office.url}: {what}"
                for charger in chargers
                for office in offices
                for what in judge(charger, office)
            ]
            assert not wrong, "\n".join([f"seed {seed}:", *wrong[:20], server.log.read_text()[-3_000:]])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return {
            "kills": count,
            "messages": sum(charger.answered for charger in chargers),
            "sessions": sum(len(charger.sessions) for charger in chargers),
            "repeats heard by operators": sum(
                len(office.charger(charger.identity).repeats) for charger in chargers for office in offices
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kills")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voltyard-kills-") as folder:
        print(asyncio.run(run(Path(folder), arguments.count, arguments.seed)))


if __name__ == "__main__":
    main()

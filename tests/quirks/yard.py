"""A gateway and a desk on one bus and one database, and a charger in front that does as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets

from tests.factories import SYSTEM, Person, make_card, make_charger, make_location, make_user
from tests.unit.gateway.peers import until
from voltyard.central.desk import Desk
from voltyard.chargers import findings_report as report
from voltyard.chargers.service import Charger
from voltyard.gateway.server import Gateway
from voltyard.kernel import jobs
from voltyard.kernel.context import Context
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.wire import decode
from voltyard.speech import Ask, Asked, Priority, Told
from voltyard.transactions import service as transactions
from voltyard.transactions.service import Transaction
from voltyard.worker.jobs import JOBS

CARD = "04A1B2C3"
DEADLINE_S = 10.0


class Peer:
    """The charger's end of a socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.count = 0

    async def send(self, text: str | bytes) -> None:
        """Send this text, and nothing else."""
        await self.socket.send(text)

    async def next(self) -> Any:
        """Return what comes next."""
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self.socket.recv())

    async def call(self, action: str, payload: Any = None) -> Any:
        """Call in good order and return the payload of the answer."""
        self.count += 1
        await self.send(json.dumps([2, f"m{self.count}", action, payload or {}]))
        kind, message_id, answer, *rest = await self.next()
        assert (kind, message_id) == (3, f"m{self.count}"), (kind, message_id, answer, rest)
        return answer

    async def boot(self, vendor: str = "Voltyard", model: str = "Sim 22", firmware: str = "1.0") -> Any:
        """Introduce oneself."""
        told = {"chargePointVendor": vendor, "chargePointModel": model, "firmwareVersion": firmware}
        return await self.call("BootNotification", told)


class Obedient:
    """A charger that answers what it is asked, while a test says what it tells of itself."""

    def __init__(self, peer: Peer, answers: dict[str, Any]) -> None:
        self.peer, self.answers = peer, answers
        self.asked: list[tuple[str, Any]] = []
        self._told: asyncio.Queue[Any] = asyncio.Queue()

    async def run(self) -> None:
        """Answer until cancelled."""
        async for text in self.peer.socket:
            message = json.loads(text)
            if message[0] != 2:
                await self._told.put(message)
                continue
            _, message_id, action, payload = message
            self.asked.append((action, payload))
            answer = self.answers.get(action, {"status": "Accepted"})
            told = answer(payload) if callable(answer) else answer
            await self.peer.send(json.dumps([3, message_id, told]))

    async def call(self, action: str, payload: Any) -> Any:
        """Call in good order and return the payload of the answer."""
        self.peer.count += 1
        await self.peer.send(json.dumps([2, f"m{self.peer.count}", action, payload]))
        async with asyncio.timeout(DEADLINE_S):
            return (await self._told.get())[2]


class Yard:
    """What a test of a quirk needs."""

    def __init__(self, ctx: Context, owner: Person, charger: Charger) -> None:
        self.ctx, self.owner, self.charger = ctx, owner, charger
        self.gateway = Gateway(bus=ctx.bus, clock=ctx.clock, host="127.0.0.1", port=0)
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the doors."""
        is_open = asyncio.Event()
        self._tasks.append(asyncio.create_task(Desk(self.ctx).run(is_open.set)))
        await is_open.wait()
        self._tasks.append(asyncio.create_task(self.gateway.run(self._ready)))
        await until(lambda: self.port)

    def _ready(self, port: int) -> None:
        self.port = port

    async def stop(self) -> None:
        """Close the doors, the gateway's first."""
        for task in reversed(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @asynccontextmanager
    async def connect(self, target: str = "", **over: Any) -> AsyncIterator[Peer]:
        """Connect as the charger."""
        usual = {"subprotocols": ["ocpp1.6"], "compression": None, "proxy": None, "ping_interval": None}
        path = target or f"/ocpp/{self.charger.identity}"
        async with websockets.connect(f"ws://127.0.0.1:{self.port}{path}", **(usual | over)) as socket:
            yield Peer(socket)

    @asynccontextmanager
    async def obey(self, peer: Peer, **answers: Any) -> AsyncIterator[Obedient]:
        """Have a peer answer what it is asked: with these by action, else with Accepted."""
        obedient = Obedient(peer, answers)
        running = asyncio.create_task(obedient.run())
        yield obedient
        running.cancel()
        with suppress(asyncio.CancelledError, websockets.ConnectionClosed):
            await running

    async def work_off(self, minutes: int) -> None:
        """Let time pass and do the jobs that fall due."""
        known = {kind.__name__: (kind, do) for kind, do in JOBS.items()}
        for _ in range(minutes):
            self.ctx.clock.advance(60)
            for job in await self.ctx.db.work(SYSTEM, jobs.claim, "test"):
                kind, do = known[job.kind]
                with suppress(VoltyardError):
                    await do(self.ctx, decode(job.body, kind))
                await self.ctx.db.work(SYSTEM, jobs.done, job.id, "test")

    def ask(self, ask: Ask, timeout_s: float = 30.0) -> asyncio.Task[Told]:
        """Ask the charger; its answer is the result of the task."""
        asked = Asked(ask, Priority.PORTAL, "test", timeout_s)
        request = self.ctx.bus.request(f"charger.{self.charger.id}.ask", asked, Told, timeout_s=timeout_s + 5)
        return asyncio.create_task(request)

    async def findings(self) -> dict[str, int]:
        """Return what was found of the charger so far, with counts."""
        await self.gateway._recorder.flush()
        found = await self.ctx.db.read(self.owner.actor, report.list_findings, self.charger.id)
        counts: dict[str, int] = {}
        for each in found:
            counts[each.flaw.kind] = counts.get(each.flaw.kind, 0) + each.count
        return counts

    async def transactions(self) -> list[Transaction]:
        """Return the charger's transactions, oldest first."""
        found = await self.ctx.db.read(SYSTEM, transactions.list_transactions, limit=100)
        return list(reversed(found))

    async def samples(self, transaction: Transaction) -> list[Any]:
        """Return the readings of a transaction."""
        return await self.ctx.db.read(SYSTEM, transactions.samples, transaction.id)


@asynccontextmanager
async def open_yard(ctx: Context, **delivered: Any) -> AsyncIterator[Yard]:
    """Open a yard with one charger and one card."""
    owner = await make_user(ctx)
    location = await make_location(ctx, owner, timezone="Europe/Amsterdam")
    await make_card(ctx, location.id, id_tag=CARD)
    yard = Yard(ctx, owner, await make_charger(ctx, location.id, **delivered))
    await yard.start()
    try:
        yield yard
    finally:
        await yard.stop()

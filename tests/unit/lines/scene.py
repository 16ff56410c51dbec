"""A charger with the real desk, lines and jobs in one process, and back offices on real sockets.

The clock stands still unless a test moves it. Charger and back office speak as they would on the wire; only
the charger's socket is missing: what it is asked is kept, and answered as the test wants.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

from tests.factories import SYSTEM, make_card, make_charger, make_location
from voltyard.central.desk import Desk
from voltyard.chargers.service import Charger
from voltyard.kernel import jobs
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.ids import new_id
from voltyard.kernel.settings import PrivateNetworks
from voltyard.kernel.wire import decode
from voltyard.lines.line import Line
from voltyard.lines.main import Lines
from voltyard.ocpp.frames import Call
from voltyard.ocpp.v16 import dialect
from voltyard.ocpp.v16.dialect import Malformed
from voltyard.operators import deliveries, service
from voltyard.operators.deliveries import Delivery
from voltyard.operators.service import Wanted
from voltyard.operators.serving import Record
from voltyard.operators.tables import links
from voltyard.sim.backoffice import Backoffice
from voltyard.sim.operator import Charger as Seen
from voltyard.sim.operator import Manner, Operator
from voltyard.speech import (
    AnswerRefused,
    Ask,
    Asked,
    ByHand,
    Gone,
    Heard,
    Hello,
    Replied,
    Reply,
    Role,
    Thanked,
    Told,
    Welcome,
)
from voltyard.worker.jobs import JOBS

IDENTITY = "CP-1"
CARD = "04A1B2C3"
STRANGER = "FFFFFFFF"
KINDS = {kind.__name__: (kind, do) for kind, do in JOBS.items()}

T = TypeVar("T")


class Watched:
    """A database of which one can see whether it is busy."""

    def __init__(self, database: Any) -> None:
        self._db = database
        self.active = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        with self._watching():
            return await self._db.read(*args, **kwargs)

    async def work(self, *args: Any, **kwargs: Any) -> Any:
        with self._watching():
            return await self._db.work(*args, **kwargs)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1


def allowing(ctx: Context) -> Context:
    """Return a context in which lines may go to this machine, and whose database is watched."""
    settings = ctx.settings.model_copy(update={"operator_private_networks": PrivateNetworks.ALLOW})
    return replace(ctx, settings=settings, db=Watched(ctx.db))  # type: ignore[arg-type]


def closed_office(**manner: Any) -> Backoffice:
    """Return a back office that is not open yet, or not again.

    It wants hardly any heartbeats, so that a test may let hours pass, and its numbers are like none of ours.
    """
    return Backoffice(Operator(Manner(**{"interval_s": 80_000, "first_number": 700} | manner)))


@asynccontextmanager
async def office(**manner: Any) -> AsyncIterator[Backoffice]:
    """Open a back office."""
    async with closed_office(**manner) as opened:
        yield opened


@asynccontextmanager
async def playing(run: Callable[[Callable[[], None]], Awaitable[None]]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a role until it is left; what it raises, the test raises."""
    is_ready = asyncio.Event()
    task = asyncio.ensure_future(run(is_ready.set))
    waiting = asyncio.create_task(is_ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Scene:
    """One charger, what it says and is asked, and the operators that are connected to it."""

    def __init__(self, ctx: Context, charger: Charger, lines: Lines) -> None:
        self.ctx, self.charger, self.lines = ctx, charger, lines
        self.session_id = ""
        self.asked: list[Ask] = []
        self.words: dict[str, str] = {}
        """What it answers to an ask of this name, instead of Accepted; an error with an exclamation mark."""
        self.payloads: dict[str, dict[str, Any]] = {}
        self._said = 0

    # --- the charger ---

    async def come(self) -> None:
        """Connect."""
        self.session_id = new_id("soc")
        hello = Hello(self.charger.identity, self.session_id, "gw:1", "ocpp1.6", "192.0.2.1")
        await self.ctx.bus.request("central.hello", hello, Welcome, timeout_s=10)
        self._serving = await self.ctx.bus.serve(f"charger.{self.charger.id}.ask", Asked, self._answer)

    async def go(self) -> None:
        """Disconnect."""
        await self._serving.stop()
        gone = Gone(self.charger.id, self.session_id, "cut")
        await self.ctx.bus.request("central.gone", gone, Thanked, timeout_s=10)

    async def _answer(self, asked: Asked) -> Told:
        self.asked.append(asked.ask)
        name = asked.ask.action if isinstance(asked.ask, ByHand) else type(asked.ask).__name__
        word = self.words.get(name, "Unlocked" if name == "Unlock" else "Accepted")
        action, request = dialect.write(asked.ask)
        if word.endswith("!"):
            return Told(AnswerRefused(word[:-1], "so it was told"), action, request.decode())
        payload = json.dumps(self.payloads.get(name, {"status": word}))
        return Told(dialect.read_answer(asked.ask, payload.encode()), action, request.decode())

    def asks(self, kind: type[T]) -> list[T]:
        """Return what the charger was asked of one kind."""
        return [ask for ask in self.asked if isinstance(ask, kind)]

    async def say(self, action: str, **payload: Any) -> Reply:
        """Say something as it would on the wire, and return what is replied."""
        self._said += 1
        raw = json.dumps(payload)
        said = dialect.read(Call(b'"%d"' % self._said, action, raw.encode()), [])
        assert not isinstance(said, Malformed), said
        heard = Heard(self.charger.id, self.session_id, str(self._said), action, raw, said)
        return (await self.ctx.bus.request("central.heard", heard, Replied, timeout_s=30)).reply

    def at(self) -> str:
        """Return the present instant as chargers write it."""
        return self.ctx.clock.now().isoformat().replace("+00:00", "Z")

    async def boot(self) -> None:
        await self.say("BootNotification", chargePointVendor="Vendor", chargePointModel="Model")

    async def status(self, word: str, connector: int = 1) -> None:
        await self.say(
            "StatusNotification",
            connectorId=connector, status=word, errorCode="NoError", timestamp=self.at(),
        )  # fmt: skip

    async def start(self, tag: str = CARD, *, connector: int = 1, meter: int = 1_000) -> Any:
        return await self.say(
            "StartTransaction", connectorId=connector, idTag=tag, meterStart=meter, timestamp=self.at()
        )

    async def meter(self, number: int | None, register: int, connector: int = 1, **more: Any) -> None:
        values = [
            {"timestamp": self.at(), "sampledValue": [{"value": str(register), "unit": "Wh", **more}]},
        ]
        tied = {} if number is None else {"transactionId": number}
        await self.say("MeterValues", connectorId=connector, meterValue=values, **tied)

    async def stop(self, number: int, meter: int = 2_000, **more: Any) -> Any:
        return await self.say(
            "StopTransaction", transactionId=number, meterStop=meter, timestamp=self.at(), **more
        )

    async def charge(self, tag: str = CARD, *, meter: int = 1_000) -> int:
        """Charge from plug to plug, a minute for each step, and return the number of the transaction."""
        await self.status("Preparing")
        self.wait(60)
        number: int = (await self.start(tag, meter=meter)).number
        self.wait(60)
        await self.meter(number, meter + 500)
        self.wait(60)
        await self.stop(number, meter + 1_000)
        await self.status("Available")
        return number

    # --- operators ---

    async def connect(self, back: Backoffice | str, role: Role = Role.BILLING, **wanted: Any) -> str:
        """Connect an operator and return the id of its link."""
        url = back if isinstance(back, str) else back.url
        made = await self.ctx.db.work(
            SYSTEM,
            service.connect,
            self.charger.id,
            Wanted(url=url, role=role, **{"name": "Operator"} | wanted),
            self.ctx.settings,
        )
        return made.id

    async def online(self, back: Backoffice, role: Role = Role.BILLING, **wanted: Any) -> str:
        """Connect an operator and wait until it is served, and decides about cards if it bills."""
        link_id = await self.connect(back, role, **wanted)
        await self.reach(link_id, "online")
        await self.work()
        return link_id

    async def disconnect(self, link_id: str) -> None:
        await self.ctx.db.work(SYSTEM, service.disconnect, link_id)

    async def change(self, link_id: str, **wanted: Any) -> None:
        await self.ctx.db.work(SYSTEM, service.change, link_id, Wanted(**wanted), self.ctx.settings)

    def seen(self, back: Backoffice) -> Seen:
        """Return what a back office knows of the charger."""
        return back.charger(self.charger.identity)

    async def ask(self, back: Backoffice, action: str, **payload: Any) -> dict[str, Any]:
        """Have an operator ask something; return the answer."""
        async with asyncio.timeout(10):
            return await back.ask(self.charger.identity, action, payload)

    async def row(self, link_id: str) -> Any:
        """Return a link as it is stored."""
        return await self.ctx.db.read(
            SYSTEM, lambda work: work.row(links.select().where(links.c.id == link_id))
        )

    async def numbers(self, link_id: str) -> list[Any]:
        """Return what a link knows of transactions, oldest first, once all that is on its way is stored."""
        await self.stored(link_id)
        found = await self.ctx.db.read(SYSTEM, service.compare, link_id)
        return list(reversed(found.transactions))

    async def stored(self, link_id: str) -> None:
        """Wait until all that was told so far is stored."""
        await self.lines._records.join(Record(link_id, self.charger.id))

    async def deliveries(self, link_id: str, *actions: str, **over: Any) -> list[Delivery]:
        """Return what became of messages, oldest first, once all that is on its way is stored."""
        await self.stored(link_id)
        found = await self.ctx.db.read(
            SYSTEM, deliveries.list_deliveries, link_id, actions=actions, limit=500, **over
        )
        return list(reversed(found))

    def line(self, link_id: str) -> Line:
        """Return the line of a link."""
        return self.lines._lines[link_id]

    @property
    def database(self) -> Watched:
        assert isinstance(self.ctx.db, Watched)
        return self.ctx.db

    # --- time ---

    @property
    def clock(self) -> FakeClock:
        assert isinstance(self.ctx.clock, FakeClock)
        return self.ctx.clock

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    async def until(
        self, holds: Callable[[], Any], *, step_s: float = 0.0, within_s: float = 10.0, why: str = ""
    ) -> Any:
        """Wait until this holds, and return what it returns; time passes in steps, if at all.

        It stands still while something is read or stored: what takes a moment must not seem to take minutes.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    found = holds()
                    if inspect.isawaitable(found):
                        found = await found
                    if found:
                        return found
                    await asyncio.sleep(0.002)
                    is_busy = self.database.active or self.lines._records._waiting
                    if step_s and not is_busy:
                        self.clock.advance(step_s)
                        await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(f"it never came about: {why or inspect.getsource(holds).strip()}") from None

    async def reach(self, link_id: str, state: str, *, step_s: float = 0.0) -> Any:
        """Wait until a link is in a state."""
        last: list[Any] = []

        async def is_there() -> Any:
            row = await self.row(link_id)
            last[:] = [(row.state, row.reason)]
            return row if row.state == state else None

        try:
            return await self.until(is_there, step_s=step_s)
        except AssertionError:
            raise AssertionError(f"the link never became {state}, but {last}") from None

    async def told(self, link_id: str, *, step_s: float = 0.0) -> None:
        """Wait until an operator was told all there is."""

        def is_told() -> bool:
            line = self.lines._lines.get(link_id)
            stand_in = line and line._connection and line._connection._stand_in
            return stand_in is not None and stand_in.is_drained

        await self.until(is_told, step_s=step_s)

    async def work(self, *, after_s: float = 0.0) -> None:
        """Do what is due, and what follows from it."""
        self.wait(after_s)
        while found := await self.ctx.db.work(SYSTEM, jobs.claim, "test"):
            for job in found:
                kind, do = KINDS[job.kind]
                await do(self.ctx, decode(job.body, kind))
                await self.ctx.db.work(SYSTEM, jobs.done, job.id, "test")


@asynccontextmanager
async def scene_of(ctx: Context) -> AsyncIterator[Scene]:
    """Set the scene: a charger with two connectors that is online, and a card of its location."""
    ctx = allowing(ctx)
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag=CARD)
    charger = await make_charger(ctx, location.id, identity=IDENTITY)
    desk, lines = Desk(ctx), Lines(ctx)
    async with playing(desk.run), playing(lines.run):
        scene = Scene(ctx, charger, lines)
        await scene.come()
        await scene.boot()
        for connector in (0, 1, 2):
            await scene.status("Available", connector)
        await scene.work(after_s=60)
        scene.asked.clear()
        yield scene

"""The desk serves the bus: hellos, sayings and good-byes of chargers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from voltyard.central import authorise, boot, charging, metering, status
from voltyard.chargers import calls, certificates, effects
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.kernel.actor import system
from voltyard.kernel.batch import Batch
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.limits import ANSWER_BUDGET_S
from voltyard.kernel.log import logger
from voltyard.kernel.settings import UnknownChargers
from voltyard.operators import authority, limits
from voltyard.operators.authority import Deferred
from voltyard.operators.events import WAKE, Woken
from voltyard.speech import (
    Beat,
    Booted,
    DiagnosticsTold,
    Ended,
    Entry,
    FirmwareTold,
    GatewayStarted,
    Gone,
    Heard,
    Hello,
    Judged,
    LogTold,
    MayCharge,
    Metered,
    Replied,
    Reply,
    SecurityTold,
    SignedFirmwareTold,
    SigningAsked,
    Started,
    StatusTold,
    Thanked,
    Traced,
    TracedNumbers,
    VendorReply,
    VendorTold,
    Welcome,
)

ACTOR = system("central")
LANES_POSTGRES = 4

Handle = Callable[[Work, Sequence[tuple[Place, Any]]], list[Reply]]
HANDLERS: MappingProxyType[type, Handle] = MappingProxyType(
    {
        Booted: boot.booted,
        Beat: boot.beat,
        StatusTold: status.told,
        MayCharge: authorise.may_charge,
        Started: charging.started,
        Metered: metering.metered,
        Ended: charging.ended,
        VendorTold: status.vendor,
        FirmwareTold: status.progress,
        DiagnosticsTold: status.progress,
        SecurityTold: status.told_security,
        SigningAsked: status.signing,
        LogTold: status.progress,
        SignedFirmwareTold: status.progress,
    }
)


@dataclass(frozen=True, slots=True)
class Handled:
    """What was committed of a saying, and whether a Billing operator has the last word about it."""

    replied: Replied
    deferred: Deferred | None = None


def hear(work: Work, heard: Sequence[Heard]) -> list[Handled]:
    """Handle sayings of different chargers, kind by kind; a charger is never in a batch twice at once.

    (Its exchange hands up one saying at a time; should an old and a new socket speak together, their
    sayings are of equal rank and any order of them is right.)
    """
    places = chargers.places(work, [item.charger_id for item in heard])
    by_kind: dict[type, list[int]] = {}
    for number, item in enumerate(heard):
        by_kind.setdefault(type(item.said), []).append(number)
    replies: dict[int, Reply] = {}
    for kind, numbers in by_kind.items():
        items = [(places[number], heard[number].said) for number in numbers]
        replies.update(zip(numbers, HANDLERS[kind](work, items), strict=True))
    chargers.seen(work, [item.charger_id for item in heard])
    effects.note(work, [(item.charger_id, item.said) for item in heard])
    numbers = calls.log(work, heard, [getattr(replies[place], "number", None) for place in range(len(heard))])
    deferred = authority.defer(work, [(places[place], item.said) for place, item in enumerate(heard)])
    limits.heard(work, [(places[place], item.said) for place, item in enumerate(heard)])
    work.emit(WAKE, Woken(tuple(item.charger_id for item in heard)))
    return [
        Handled(Replied(replies[place], number), deferred.get(place)) for place, number in enumerate(numbers)
    ]


def _disconnect(work: Work, gone: Sequence[Gone]) -> list[Thanked]:
    # In the order in which hellos and sayings lock the same rows; see chargers/store.py.
    for each in sorted(gone, key=lambda one: one.charger_id):
        chargers.disconnect(work, each.charger_id, each.session_id)
    return [Thanked()] * len(gone)


class Desk:
    """Serves ``central.*`` until cancelled."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        lanes = 1 if ctx.db.is_sqlite else LANES_POSTGRES
        self._key = ctx.settings.secret_key()
        self._is_holding = ctx.settings.unknown_chargers is UnknownChargers.HOLD
        self._others = certificates.other_authorities(ctx.settings)
        self._log = logger("desk")
        self._group: asyncio.TaskGroup | None = None
        self._sayings: Batch[Heard, Handled] = Batch(ctx.db, ACTOR, hear, lanes=lanes)
        self._hellos: Batch[Hello, Welcome] = Batch(ctx.db, ACTOR, self._connect, lanes=1)
        # When a network fails, all its chargers go at once, and come again while we still note that.
        self._goodbyes: Batch[Gone, Thanked] = Batch(ctx.db, ACTOR, _disconnect, lanes=1)

    def _connect(self, work: Work, hellos: Sequence[Hello]) -> list[Welcome]:
        return chargers.connect(work, hellos, key=self._key, is_holding=self._is_holding, others=self._others)

    async def _hello(self, hello: Hello) -> Welcome:
        assert self._group is not None
        waiting: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._group.create_task(self._welcome(hello, waiting))
        return await waiting

    async def _welcome(self, hello: Hello, waiting: asyncio.Future[Welcome]) -> None:
        """Let a charger in; if its gateway has given up meanwhile, nobody holds that socket, so forget it."""
        asked_at = self._ctx.clock.monotonic()
        try:
            welcome = await self._hellos.join(hello)
        except Exception as wrong:
            if not waiting.done():
                waiting.set_exception(wrong)
            return
        is_awaited = not waiting.done() and self._ctx.clock.monotonic() - asked_at < ANSWER_BUDGET_S
        if not waiting.done():
            waiting.set_result(welcome)
        if welcome.entry is Entry.WELCOME and not is_awaited:
            try:
                await self._gone(Gone(welcome.charger_id, hello.session_id, "came too late"))
            except VoltyardError as wrong:
                self._log.warning("left as online", charger_id=welcome.charger_id, why=str(wrong))

    async def _heard(self, heard: Heard) -> Replied:
        handled = await self._sayings.join(heard)
        if handled.deferred is None:
            return handled.replied
        reply, number = handled.replied.reply, handled.replied.number
        # What a Billing operator decides is committed already, and waits for nobody else.
        if isinstance(reply, VendorReply):
            return Replied(await authority.vendor_reply(self._ctx, handled.deferred, reply, number), number)
        assert isinstance(reply, Judged)
        return Replied(await authority.judge(self._ctx, handled.deferred, reply, number), number)

    async def _traced(self, traced: Traced) -> TracedNumbers:
        return TracedNumbers(tuple(await self._ctx.db.work(ACTOR, calls.trace, traced)))

    async def _gone(self, gone: Gone) -> Thanked:
        return await self._goodbyes.join(gone)

    async def _gateway_started(self, started: GatewayStarted) -> Thanked:
        await self._ctx.db.work(ACTOR, chargers.forget_sockets, started.gateway)
        return Thanked()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve; ``ready`` is called once the desk can be asked."""
        bus = self._ctx.bus
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._sayings.run())
            group.create_task(self._hellos.run())
            group.create_task(self._goodbyes.run())
            serving = [
                await bus.serve("central.hello", Hello, self._hello),
                await bus.serve("central.heard", Heard, self._heard),
                await bus.serve("central.gone", Gone, self._gone),
                await bus.serve("central.traced", Traced, self._traced),
                await bus.serve("central.gateway", GatewayStarted, self._gateway_started),
            ]
            ready()
            try:
                await asyncio.Event().wait()
            finally:
                for one in serving:
                    await one.stop()

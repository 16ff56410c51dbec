"""The role that goes out to operators: which lines this process keeps, and what they share.

A link belongs to one of a fixed number of shares; the process that holds the lease of a share keeps its
lines. Alone in the house a process holds them all.
"""

from __future__ import annotations

import asyncio
import os
import socket
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from voltyard.kernel import hops, leases
from voltyard.kernel.batch import Batch
from voltyard.kernel.buckets import Buckets
from voltyard.kernel.bus import Listening, read_event
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import TooMany, VoltyardError
from voltyard.kernel.limits import LEASE_BEAT_S, LISTENER_QUEUE_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.seal import unseal
from voltyard.kernel.settings import PrivateNetworks, Settings
from voltyard.lines.dial import Resolver, Target, try_out
from voltyard.lines.feeder import Feeder
from voltyard.lines.line import GRACE, SUBPROTOCOL, Around, Line
from voltyard.operators import serving
from voltyard.operators.addresses import authority
from voltyard.operators.events import WAKE, Attempted, TrialAsked, Tried, Woken
from voltyard.operators.service import seal_of
from voltyard.operators.serving import Record, Served

SHARES: Final = 32
TICK_S: Final = 1.0
LOOK_S: Final = 10.0
"""How often it is looked whether there are other links than those kept; events only make it quicker."""
FIND_S: Final = 5.0
"""How often it is looked which chargers are here."""
GATHER_S: Final = 0.1
"""How long records wait for company: nobody waits for them but the next message of the same link."""
RECORDS_MAX: Final = 250
"""Records that are stored at once: for a writer that others wait for, too."""
PAGE: Final = 1_000
END_S: Final = 20.0
"""How long lines may take to end before their shares are given back; later they run out by themselves."""
TRIALS_PER_S: Final = 0.2
TRIALS_BURST: Final = 12
"""How many connections one person may have tried at once, and how often after that: no ports are searched."""
TRIALS_MAX: Final = 4
"""Connections that are tried out at a time."""
PORTS: Final[Mapping[str, int]] = MappingProxyType({"ws": 80, "wss": 443, "http": 80, "https": 443})


def share_of(link_id: str) -> int:
    """Return the share that a link belongs to."""
    return zlib.crc32(link_id.encode()) % SHARES


class Lines:
    """Keeps the lines of this process, until cancelled."""

    def __init__(self, ctx: Context, holder: str = "") -> None:
        self._ctx = ctx
        self._is_alone = ctx.settings.nats_url is None
        self._holder = (holder or f"{socket.gethostname()}:{os.getpid()}")[:64]
        self._shares: set[int] = set(range(SHARES)) if self._is_alone else set()
        self._lines: dict[str, Line] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_charger: dict[str, list[Line]] = {}
        self._feeder = Feeder(ctx)
        # One lane, also on PostgreSQL: what a line tells later must not be stored earlier.
        self._records: Batch[Record, None] = Batch(
            ctx.db, serving.ACTOR, serving.record, lanes=1, gather_s=GATHER_S, most=RECORDS_MAX
        )
        own = hops.name_of(ctx.settings.secret_key())
        self._resolver = Resolver()
        self._trials = asyncio.Semaphore(TRIALS_MAX)
        self._trials_of = Buckets(TRIALS_PER_S, TRIALS_BURST)
        self._around = Around(ctx, self._feeder, self._records, own, self._where, self._resolver)
        self._look = asyncio.Event()
        self._log = logger("lines")

    def _where(self, target: Target) -> Target:
        return allowed(target, self._ctx.settings)

    async def run(self, ready: Callable[[], None]) -> None:
        """Keep lines until cancelled."""
        bus = self._ctx.bus
        listening = await bus.listen(WAKE, queue_max=LISTENER_QUEUE_MAX)
        testing = await bus.serve("lines.test", TrialAsked, self._test)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feeder.run())
                group.create_task(self._records.run())
                group.create_task(self._tick())
                group.create_task(self._hear(listening))
                group.create_task(self._beat())
                group.create_task(self._find())
                ready()
                await self._keep(group)
        finally:
            await listening.stop()
            await testing.stop()
            self._resolver.close()
            if not self._is_alone:
                await self._give_back(tuple(self._shares), is_last=True)

    async def _tick(self) -> None:
        while True:
            await self._ctx.clock.sleep(TICK_S)
            for line in tuple(self._lines.values()):
                line.tick()

    async def _hear(self, listening: Listening) -> None:
        while True:
            _, event = await listening.next()
            try:
                woken = read_event(event, Woken)
            except VoltyardError:  # of a newer process, perhaps
                woken = None
            if woken is None:
                continue
            for charger_id in woken.charger_ids:
                for line in self._by_charger.get(charger_id, ()):
                    line.woken(is_changed=woken.is_changed)
            if woken.is_changed:
                self._look.set()
            if listening.lost:  # whoever was meant looks by itself
                listening.lost = 0
                for line in tuple(self._lines.values()):
                    line.woken(is_changed=True)
                self._look.set()

    async def _beat(self) -> None:
        while True:
            await self._ctx.clock.sleep(LOOK_S if self._is_alone else min(LOOK_S, LEASE_BEAT_S))
            self._look.set()

    async def _find(self) -> None:
        """Look which chargers are here, for all lines together."""
        while True:
            await self._ctx.clock.sleep(FIND_S)
            charger_ids = sorted(self._by_charger)
            try:
                away = [
                    await self._ctx.db.read(
                        serving.ACTOR, serving.away, charger_ids[first : first + PAGE], GRACE
                    )
                    for first in range(0, len(charger_ids), PAGE)
                ]
            except Exception as wrong:
                self._warn("chargers could not be found", wrong)
                continue
            gone = {charger_id for some in away for charger_id in some}
            for line in tuple(self._lines.values()):
                line.found(is_away=line.charger_id in gone)

    async def _keep(self, group: asyncio.TaskGroup) -> None:
        """Start and end lines, as there are links and shares."""
        while True:
            self._look.clear()
            try:
                if not self._is_alone:
                    await self._take_shares()
                served = await self._served()
                wanted = {each.id: each for each in served if share_of(each.id) in self._shares}
            except Exception as wrong:
                self._warn("links could not be read", wrong)
            else:
                self._end(link_id for link_id in self._tasks if link_id not in wanted)
                for link_id, each in wanted.items():
                    if link_id not in self._tasks:
                        self._start(group, link_id, each.charger_id)
                    self._lines[link_id].look(each.mark)
            await self._look.wait()

    def _warn(self, what: str, wrong: Exception) -> None:
        """Tell what is tried again soon, and in detail what is nobody's purpose."""
        self._log.warning(what, why=repr(wrong), exc_info=not isinstance(wrong, VoltyardError))

    async def _served(self) -> list[Served]:
        found: list[Served] = []
        while True:
            page = await self._ctx.db.read(
                serving.ACTOR, serving.list_served, after=found[-1].id if found else "", limit=PAGE
            )
            found += page
            if len(page) < PAGE:
                return found

    def _start(self, group: asyncio.TaskGroup, link_id: str, charger_id: str) -> None:
        line = Line(self._around, link_id, charger_id)
        self._lines[link_id] = line
        self._by_charger.setdefault(charger_id, []).append(line)
        task = group.create_task(self._run(line))
        self._tasks[link_id] = task
        task.add_done_callback(lambda _done: self._forget(line))

    async def _run(self, line: Line) -> None:
        """Run a line; one that fails hurts no other, and is started again at the next look."""
        try:
            await line.run()
        except Exception:
            self._log.exception("a line failed", link=line.link_id)

    def _end(self, link_ids: Iterable[str]) -> list[asyncio.Task[None]]:
        """Have lines end; a line that is ending already is not disturbed at that."""
        ending = [self._tasks[link_id] for link_id in link_ids]
        for task in ending:
            if not task.cancelling():
                task.cancel()
        return ending

    def _forget(self, line: Line) -> None:
        self._lines.pop(line.link_id, None)
        self._tasks.pop(line.link_id, None)
        others = [each for each in self._by_charger.get(line.charger_id, ()) if each is not line]
        if others:
            self._by_charger[line.charger_id] = others
        else:
            self._by_charger.pop(line.charger_id, None)

    # --- shares ---

    async def _take_shares(self) -> None:
        held, given = await self._ctx.db.work(serving.ACTOR, _divide, self._holder, frozenset(self._shares))
        ending = self._end(link_id for link_id in self._tasks if share_of(link_id) not in held)
        self._shares = set(held)
        # Whoever takes a share over begins its lines at once: two of one link would throw each other out.
        late = (await asyncio.wait(ending, timeout=END_S))[1] if ending else ()
        if given and not late:
            await self._give_back(given)

    async def _give_back(self, shares: Sequence[int], *, is_last: bool = False) -> None:
        try:
            await self._ctx.db.work(serving.ACTOR, _release, self._holder, shares, is_last)
        except VoltyardError as wrong:  # they run out by themselves
            self._log.warning("shares were not given back", why=str(wrong))

    # --- tests ---

    async def _test(self, asked: TrialAsked) -> Tried:
        """Try to reach an operator, and tell each step; nothing that the other side says is repeated.

        Raises: TooMany.
        """
        left = self._trials_of.take(asked.by, self._ctx.clock.monotonic())
        if not left.is_allowed:
            raise TooMany(
                "that were many connection tests in a short time: wait a moment",
                retry_after_s=left.retry_after_s,
            )
        key = self._ctx.settings.secret_key()
        password = asked.password_sealed and unseal(
            asked.password_sealed, key, seal_of(asked.sealed_for, "password")
        )
        client_key = asked.key_sealed and unseal(asked.key_sealed, key, seal_of(asked.sealed_for, "key"))
        target = Target(
            asked.url,
            asked.identity,
            is_identity_appended=asked.is_identity_appended,
            subprotocols=(SUBPROTOCOL,),
            username=asked.username or None,
            password=password or None,
            client_certificate_pem=asked.certificate_pem or None,
            client_key_pem=client_key.decode() if client_key else None,
            authority_pem=asked.authority_pem or None,
            via=(self._around.installation,),
        )
        async with self._trials:
            attempts = await try_out(self._where(target), resolve=self._resolver)
        return Tried(tuple(Attempted(each.step.value, each.is_ok, each.why) for each in attempts))


def allowed(target: Target, settings: Settings) -> Target:
    """Return a target with what an installation says about where lines may go."""
    doors = {_door(settings.ocpp_url), _door(settings.public_url)} - {""}
    ports = {settings.ocpp_port, settings.http_port, settings.ocpp_tls_port} - {0}
    return replace(
        target,
        is_private_allowed=settings.operator_private_networks is PrivateNetworks.ALLOW,
        own_doors=frozenset(doors),
        own_ports=frozenset(ports),
    )


def _door(url: str) -> str:
    """Return host and port of an address as a connection would have them, empty where it has no host."""
    parts = urlsplit(url)
    return authority(parts.hostname, parts.port or PORTS.get(parts.scheme)) if parts.hostname else ""


def _divide(work: Work, holder: str, held: frozenset[int]) -> tuple[frozenset[int], tuple[int, ...]]:
    """Take what is this process's part of the shares; return those held now, and those to give back."""
    leases.take(work, f"lines.process.{holder}", holder)
    processes = max(1, leases.count(work, "lines.process."))
    most = -(-SHARES // processes)
    keeping = sorted(held)[:most]
    kept = [share for share in keeping if leases.take(work, f"lines.{share}", holder)]
    for share in range(SHARES):
        if len(kept) >= most:
            break
        if share not in held and leases.take(work, f"lines.{share}", holder):
            kept.append(share)
    return frozenset(kept), tuple(share for share in sorted(held) if share not in keeping)


def _release(work: Work, holder: str, shares: Sequence[int], is_last: bool) -> None:
    for share in shares:
        leases.release(work, f"lines.{share}", holder)
    if is_last:
        leases.release(work, f"lines.process.{holder}", holder)

"""The actor that owns one operator's socket: it dials, plays the stand-in, and carries out its effects.

Messages of the operator, sayings that were read and records that were stored come in as plain calls; what
takes longer runs in tasks of its own and comes back the same way. Nothing here blocks another line.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from voltyard.chargers.masks import masked
from voltyard.kernel.batch import Batch
from voltyard.kernel.bus import Serving as BusServing
from voltyard.kernel.context import Context
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.limits import AUTHORISE_BUDGET_S, PING_S
from voltyard.kernel.log import logger
from voltyard.kernel.seal import SealBroken, unseal
from voltyard.lines import records, telling
from voltyard.lines.dial import DialFailed, Ears, Resolve, Target, connect
from voltyard.lines.feeder import Feeder
from voltyard.lines.pace import Bucket
from voltyard.lines.requests import Requests
from voltyard.lines.verdicts import verdict_of, verdicted
from voltyard.ocpp.frames import Call
from voltyard.operators import serving
from voltyard.operators.events import Authorise, Deliver, Verdicted
from voltyard.operators.service import seal_of
from voltyard.operators.serving import Facts, Farewell, Fed, Learned, Record, Serving, Wish
from voltyard.proxy import standin
from voltyard.proxy.readings import choice
from voltyard.proxy.sayings import Saying
from voltyard.proxy.standin import Manner, Report, StandIn, State

BACK_OFF_S: Final = 1.0
BACK_OFF_MAX_S: Final = 300.0
LASTING_S: Final = 60.0
"""After a refusal that somebody has to change something about, the first pause is this long."""
GRACE: Final = timedelta(seconds=60)
"""How long a charger may be away before its operator sees it go."""
WAITING_S: Final = 60.0
"""How often a line whose charger is away looks by itself whether there is something to tell all the same."""
DELIVER_S: Final = AUTHORISE_BUDGET_S - 0.5
"""How long an operator may take to decide; the rest is for the ways to the desk and back."""
DECIDED_MAX: Final = 32
"""Answers that are remembered, for who asks for them only after they came."""
PING_MIN_S: Final = 10.0
PING_MAX_S: Final = 3_600.0
SILENT_PINGS: Final = 2.5
"""After so many intervals without a sound, two pings were not answered: there is nobody any more."""
FAREWELL_S: Final = 30.0
EARLY_MAX: Final = 16
"""Messages that are kept until we have said our first word."""
ASKED_PER_S: Final = 5.0
ASKED_BURST: Final = 60
"""What an operator may ask at once, as when it sets up a charger; after that it is done more slowly."""
REFUSED_KEPT: Final = 4_096
"""What is kept of a message that came to nothing."""
SUBPROTOCOL: Final = "ocpp1.6"
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
"""RFC 6455 §7.4.1."""


@dataclass(frozen=True, slots=True)
class Around:
    """What lines share: the parts, the reader of the log, and the writer of records."""

    ctx: Context
    feeder: Feeder
    records: Batch[Record, None]
    installation: str
    target: Callable[[Target], Target]
    """Adds what the installation says about where lines may go."""
    resolve: Resolve


class Line:
    """The line of one link, over however many connections, until there is nothing left to serve."""

    def __init__(self, around: Around, link_id: str, charger_id: str) -> None:
        self.link_id = link_id
        self.charger_id = charger_id
        self._around = around
        self._ctx = around.ctx
        self._connection: _Connection | None = None
        self._link: Serving | None = None
        self._requests = Requests(around.ctx)
        self._stir = asyncio.Event()
        self._mark: int | None = None
        self._is_changed = False
        self._is_waiting = False
        """Nothing is to be done until the charger is here again."""
        self._noting = asyncio.Lock()
        self._chance = random.Random(link_id)  # noqa: S311 - jitter, no secret
        self._log = logger("line").bind(link=link_id)

    # --- from outside: plain calls ---

    def woken(self, *, is_changed: bool = False) -> None:
        """The charger said something, or links of this charger are not as they were."""
        self._is_changed = self._is_changed or is_changed
        self._stir.set()
        if self._connection is not None:
            self._connection.woken()
            if is_changed:
                self._connection.spawn(self._look_again(self._connection))

    def look(self, mark: int) -> None:
        """See to what may have been missed; called now and then, with the mark that the link has now."""
        before, self._mark = self._mark, mark
        if before not in {None, mark}:
            self.woken(is_changed=True)
        elif self._connection is not None:
            self._connection.woken()
            if self._connection.blocked:  # somebody may have decided about it
                self._connection.spawn(self._look_again(self._connection))

    def found(self, *, is_away: bool) -> None:
        """The charger is here, or has been away for a while; called now and then."""
        if not is_away:
            if self._is_waiting:
                self._stir.set()
        elif self._connection is not None:
            self._connection.spawn(self._leave_off(self._connection))

    def tick(self) -> None:
        """Let time pass; called about every second."""
        if self._connection is not None:
            self._connection.tick()

    # --- the life of a line ---

    async def run(self) -> None:
        """Serve the link until it is over, or this is cancelled."""
        served: list[BusServing] = []
        pause_s: float | None = 0.0
        try:
            bus, subject = self._ctx.bus, f"line.{self.link_id}"
            served.append(await bus.serve(f"{subject}.deliver", Deliver, self._deliver))
            served.append(await bus.serve(f"{subject}.authorise", Authorise, self._authorise))
            while pause_s is not None:
                self._is_changed = False
                try:
                    pause_s = await self._live(pause_s)
                except VoltyardError as wrong:  # most likely the database, for a moment
                    self._log.warning("a line waits", why=str(wrong))
                    pause_s = longer(pause_s or 0.0)
                if pause_s and await self._rest(pause_s * (0.5 + self._chance.random())):
                    pause_s = 0.0
        finally:
            # All of them, even if this is cancelled meanwhile: another process may serve the link next.
            await asyncio.shield(asyncio.gather(*(one.stop() for one in served), return_exceptions=True))

    async def _live(self, pause_s: float) -> float | None:
        """Serve the link for as long as a connection lasts.

        ``pause_s`` is how long it was waited before. Returns: how long to wait now, None if it is over.
        """
        link = self._link = await self._ctx.db.read(serving.ACTOR, serving.find, self.link_id)
        if link is None:
            return None
        facts = await self._ctx.db.read(serving.ACTOR, serving.facts, self.charger_id)
        is_away = not facts.is_online and is_past_grace(facts.gone_at, self._ctx.clock.now())
        if is_away and not link.is_leaving and not await self._owes(link):
            await self._became("waiting", "charger_offline")
            self._is_waiting = True
            await self._rest(WAITING_S)
            self._is_waiting = False
            return 0.0
        if link.is_leaving and pause_s > FAREWELL_S:
            await self._ctx.db.work(serving.ACTOR, serving.leave, self.link_id)
            return None
        return await self._connect(link, facts, pause_s)

    async def _owes(self, link: Serving) -> bool:
        return await self._ctx.db.read(serving.ACTOR, serving.owes, link, standin.OF_TRANSACTIONS)

    async def _rest(self, seconds: float) -> bool:
        """Wait, no longer than until the link is another one; return whether it is.

        A line that waits for its charger waits no longer than until that stirs, either.
        """
        until = self._now + seconds
        self._stir.clear()
        while (left_s := until - self._now) > 0:
            if self._is_changed:
                self._is_changed = False
                if await self._is_other():
                    return True
            waiting = asyncio.ensure_future(self._stir.wait())
            sleeping = asyncio.ensure_future(self._ctx.clock.sleep(left_s))
            try:
                await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()
            if self._is_waiting and self._stir.is_set():
                return False
            self._stir.clear()
        return False

    @property
    def _now(self) -> float:
        return self._ctx.clock.monotonic()

    async def _is_other(self) -> bool:
        """Say whether the link is not the one any more that is served: another line of its charger is not."""
        found = await self._ctx.db.read(serving.ACTOR, serving.find, self.link_id)
        return found is None or self._link is None or _lasting(found) != _lasting(self._link)

    async def _look_again(self, connection: _Connection) -> None:
        """Connect anew if the link is another one, or if somebody decided about what was refused."""
        if await self._is_other() or await self._ctx.db.read(
            serving.ACTOR, serving.was_decided, self.link_id, connection.blocked
        ):
            connection.end("changed")

    async def _leave_off(self, connection: _Connection) -> None:
        """End a connection for a charger that is away, unless there is something left to tell."""
        if self._link is not None and not await self._owes(self._link):
            connection.end("charger_offline")

    async def _became(self, state: str, reason: str = "") -> None:
        async with self._noting:  # one after the other, so that the last one stands
            try:
                await self._ctx.db.work(serving.ACTOR, serving.set_state, self.link_id, state, reason)
            except VoltyardError as wrong:
                self._log.warning("a state was not noted", why=str(wrong))

    async def _connect(self, link: Serving, facts: Facts, pause_s: float) -> float:
        """Connect and serve until the connection ends; return how long to wait before the next one."""
        if pause_s == 0:
            await self._became("connecting")
        connection = _Connection(self._around, link, self._requests, self._became, self._chance)
        try:
            await self._dial(connection)
        except DialFailed as wrong:
            await self._became("refused" if wrong.is_lasting else "backing_off", wrong.why)
            return longer(pause_s, LASTING_S if wrong.is_lasting else BACK_OFF_S)
        except SealBroken as wrong:
            await self._became("refused", str(wrong))
            return BACK_OFF_MAX_S
        while self._is_changed:
            self._is_changed = False
            if await self._is_other():
                connection.drop()
                return 0.0
        began = self._now
        self._connection = connection
        try:
            reason = await connection.serve(facts)
        finally:
            self._connection = None
            self._around.feeder.forget(self.link_id)
        return await self._ended(reason, pause_s if self._now - began < LASTING_S else 0.0)

    async def _ended(self, reason: str, pause_s: float) -> float:
        """Note why a connection ended; return how long to wait before the next one.

        One that held for a while was good; one that ends at once is no better than a refusal.
        """
        if reason == "changed":
            return 0.0
        if reason == "left":
            await self._ctx.db.work(serving.ACTOR, serving.leave, self.link_id)
            return 0.0
        await self._became("waiting" if reason == "charger_offline" else "backing_off", reason)
        return longer(pause_s)

    async def _dial(self, connection: _Connection) -> None:
        """Connect, with the newer of two passwords first. Raises: DialFailed; SealBroken."""
        link, key = connection.link, self._ctx.settings.secret_key()

        def opened(sealed: str | None, what: str) -> bytes | None:
            return None if sealed is None else unseal(sealed, key, seal_of(link.id, what))

        newer = link.password_next_sealed
        client_key = opened(link.key_sealed, "key")
        for sealed in (link.password_sealed,) if newer is None else (newer, link.password_sealed):
            target = self._around.target(
                Target(
                    link.url,
                    link.identity,
                    is_identity_appended=link.is_identity_appended,
                    subprotocols=(SUBPROTOCOL,),
                    username=link.username or None,
                    password=opened(sealed, "password"),
                    client_certificate_pem=link.certificate_pem,
                    client_key_pem=client_key.decode() if client_key is not None else None,
                    authority_pem=link.authority_pem,
                    via=(*link.via, self._around.installation),
                )
            )
            try:
                await connect(target, connection.listen, resolve=self._around.resolve)
            except DialFailed as wrong:
                if wrong.http_status == 401 and sealed == newer and newer is not None:
                    continue
                raise
            if newer is not None and sealed == newer:
                await self._ctx.db.work(serving.ACTOR, serving.confirm_password, link.id, newer)
                self._link = replace(link, password_sealed=newer, password_next_sealed=None)
            return

    # --- what the desk asks ---

    async def _deliver(self, asked: Deliver) -> Verdicted:
        connection = self._connection
        return Verdicted() if connection is None else await connection.deliver(asked.call_number)

    async def _authorise(self, asked: Authorise) -> Verdicted:
        connection = self._connection
        return Verdicted() if connection is None else await connection.authorise(asked.id_tag)


class _Connection:
    """One connection of a line: the socket, the stand-in that speaks on it, and what its effects need."""

    def __init__(
        self,
        around: Around,
        link: Serving,
        requests: Requests,
        became: Callable[[str, str], Coroutine[None, None, None]],
        chance: random.Random,
    ) -> None:
        self.link = link
        self.blocked: set[int] = set(link.blocked)
        """Transactions of which something was refused, as far as is known here."""
        self._around = around
        self._ctx = around.ctx
        self._requests = requests
        self._became = became
        self._chance = chance
        self._stand_in: StandIn | None = None
        self._ears: Ears | None = None
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._deliveries: dict[int, list[asyncio.Future[Verdicted]]] = {}
        self._decided: OrderedDict[int, Verdicted] = OrderedDict()
        """What was told last, and what was decided by each: it may not be stored yet."""
        self._telling: asyncio.Future[None] | None = None
        """Done once the start that was told last is stored."""
        # What an operator said before we had opened our mouth; hardly any does.
        self._early: list[bytes] = []
        self._opened_at = self._now
        self._pinged_at = 0.0
        self._ping_s = ping_of(link)
        self._is_farewell_said = False
        self._goodbyes: dict[str, Farewell] = {}
        """What was told as the last word, by the ids of the messages."""
        self._pace = Bucket(ASKED_PER_S, ASKED_BURST, self._now)
        self._is_paused = False
        self._log = logger("line").bind(link=link.id)

    @property
    def _now(self) -> float:
        return self._ctx.clock.monotonic()

    # --- the socket ---

    def listen(self) -> Ears:
        """Make the ears of this connection, once the operator has agreed to it."""
        self._ears = Ears(self._heard, self.end, monotonic=self._ctx.clock.monotonic)
        return self._ears

    def _heard(self, data: bytes) -> None:
        if self._stand_in is not None:
            self._step(lambda stand_in: stand_in.received(data, self._now))
            self._breathe()
        elif len(self._early) < EARLY_MAX:
            self._early.append(data)
        else:
            self.end("the operator talked on and on before it was told anything")

    def _breathe(self) -> None:
        """Listen no longer while too much of what the operator asked waits, and go on after that."""
        should = self._stand_in is not None and self._stand_in.is_inward_full
        if self._ears is None or should is self._is_paused:
            return
        self._is_paused = should
        if should:
            self._ears.pause()
        else:
            self._ears.resume()

    def end(self, reason: str) -> None:
        """Let the connection end; the first reason counts."""
        if not self._over.done():
            self._over.set_result(reason)

    def woken(self) -> None:
        """There may be more to tell."""
        self._step(lambda stand_in: stand_in.woken(self._now))

    def tick(self) -> None:
        """Let time pass."""
        now, ears = self._now, self._ears
        if self._stand_in is None or ears is None:
            return
        wake_at = self._stand_in.wake_at
        if wake_at is not None and wake_at <= now:
            self._step(lambda stand_in: stand_in.tick(now))
        if self._ping_s:  # without pings the heartbeats tell: one without an answer ends the connection, too
            self._listen_for(ears, now)
        if self.link.is_leaving and now - self._opened_at > FAREWELL_S:
            self.end("left")

    def _listen_for(self, ears: Ears, now: float) -> None:
        """Ping an operator that is silent, and give one up that stays so."""
        if ears.silent_s > self._ping_s * SILENT_PINGS:
            self.end("silent")
            ears.abort()
        elif ears.silent_s > self._ping_s and now - self._pinged_at > self._ping_s:
            self._pinged_at = now
            ears.ping()

    async def serve(self, facts: Facts) -> str:
        """Play the stand-in until the connection ends; return why it ended."""
        assert self._ears is not None
        ears = self._ears
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._open(facts)
                reason = await self._over
                self._close()
                for task in tuple(self._tasks):
                    task.cancel()
                ears.close(NORMAL, "")
                return reason
        finally:
            self._close()
            self._group = None
            ears.close(GOING_AWAY, "")  # unless it is closed already

    def drop(self) -> None:
        """Close a connection that was never used."""
        if self._ears is not None:
            self._ears.close(GOING_AWAY, "")

    async def _open(self, facts: Facts) -> None:
        link = self.link
        situation = await self._ctx.db.read(serving.ACTOR, serving.situation, link)
        goodbyes = (
            await self._ctx.db.read(serving.ACTOR, serving.farewells, link.id) if link.is_leaving else []
        )
        now, at = self._now, self._ctx.clock.now()
        stand_in = StandIn(
            manner_of(link),
            cursor=link.cursor,
            attached=link.attached_number,
            message_ids=link.id[-12:],
            prefix=f"{link.id[-8:]}{self._chance.getrandbits(24):06x}-",
            jitter=self._chance.random(),
            blocked=tuple(link.blocked),
            latest=[records.saying(said) for said in situation.latest],
        )
        self._stand_in, self._opened_at = stand_in, now
        told = [] if link.is_leaving else telling.statuses(situation.facts, at)
        self._carry(stand_in.opened(telling.boot(situation.facts), told, situation.number, now))
        for each in goodbyes:
            # The same on each connection, so that an operator knows again what it has heard.
            message_id = f"{link.id[-12:]}:bye-{each.number}"
            self._goodbyes[message_id] = each
            self._carry(stand_in.tell(standin.STOP, telling.farewell(each, at), now, message_id))
        self._is_farewell_said = link.is_leaving
        early, self._early = self._early, []
        for data in early:
            self._carry(stand_in.received(data, now))
        self._end_farewell()

    def _close(self) -> None:
        """Let go of the stand-in, and of all who wait for its operator."""
        if self._stand_in is not None:
            stand_in, self._stand_in = self._stand_in, None
            for effect in stand_in.closed(self._now):
                self._do(effect)
        for number in tuple(self._deliveries):
            self._settle(number, Verdicted())

    def spawn(self, doing: Coroutine[None, None, None]) -> None:
        """Let something go on beside this connection, and end with it."""
        if self._group is None or self._over.done():
            doing.close()
            return
        task = self._group.create_task(self._guarded(doing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, doing: Coroutine[None, None, None]) -> None:
        try:
            await doing
        except VoltyardError as wrong:
            # Most likely the database: the next connection begins from what stands there.
            self._log.warning("a connection was given up", why=str(wrong))
            self.end("not_stored")

    # --- carrying out effects ---

    def _step(self, act: Callable[[StandIn], Sequence[standin.Effect]]) -> None:
        """Let something happen to the stand-in; should it not bear that, only this connection ends."""
        if self._stand_in is None:
            return
        try:
            self._carry(act(self._stand_in))
        except Exception:
            self._log.exception("a stand-in failed")
            self.end("failed")

    def _carry(self, effects: Sequence[standin.Effect]) -> None:
        for effect in effects:
            self._do(effect)
        self._end_farewell()

    def _end_farewell(self) -> None:
        """Leave for good, once an operator that was disconnected has heard the last word."""
        stand_in = self._stand_in
        if not self._is_farewell_said or stand_in is None:
            return
        if stand_in.state is State.ONLINE and stand_in.is_told:
            self.end("left")

    def _do(self, effect: standin.Effect) -> None:
        match effect:
            case standin.Send(data):
                if self._ears is not None:
                    self._ears.send(data)
            case standin.Want(after):
                if not self.link.is_leaving and self._stand_in is not None:
                    wish = Wish(self.link.charger_id, after, self._stand_in.knows)
                    self._around.feeder.want(self.link.id, wish, self._fed)
            case standin.Told(report):
                self._told(report)
            case standin.Moved(cursor):
                self._moved(cursor)
            case standin.Requested(call):
                self.spawn(self._requested(call))
            case standin.WantOwed():
                self.spawn(self._read_owed())
            case standin.Authorised(token, answer):
                assert isinstance(token, asyncio.Future)
                if not token.done():
                    token.set_result(answer)
            case standin.Exchanged():
                self._exchanged(effect)
            case standin.Became(state, reason):
                self.spawn(self._became(str(state), reason))
            case standin.Close(_, reason):
                self.end(reason)

    def _exchanged(self, told: standin.Exchanged) -> None:
        """Note what was told beside the log; a heartbeat like any other is not worth it."""
        is_done = told.status == "done"
        if told.action == standin.HEARTBEAT and is_done:
            return
        ending = self._goodbyes.get(told.message_id) if is_done else None
        self._keep(
            self._record(
                message_id=told.message_id,
                action=told.action,
                payload=told.payload.decode("utf-8", "replace"),
                status=told.status,
                answer=told.answer.decode("utf-8", "replace"),
                latency_ms=told.latency_s * 1000,
                learned=None
                if ending is None
                else Learned(ending.number, "stopped", ending.theirs, stopped_at=self._ctx.clock.now()),
            )
        )

    def _record(self, **values: Any) -> Record:
        return Record(self.link.id, self.link.charger_id, **values)

    def _keep(self, record: Record) -> asyncio.Future[None]:
        kept = self._around.records.put(record)
        kept.add_done_callback(_look_at)
        return kept

    def _fed(self, sayings: Sequence[Saying], fed: Fed) -> None:
        ties = records.ties(fed.known)
        self._step(lambda stand_in: stand_in.fed(sayings, ties, self._now, is_all=fed.is_all))

    async def _read_owed(self) -> None:
        """Give the stand-in what is owed; it tells nothing meanwhile. The last word comes before all that."""
        rows, known = (
            ([], {})
            if self.link.is_leaving
            else await self._ctx.db.read(serving.ACTOR, serving.list_owed, self.link.id)
        )
        owed, ties = records.owed(rows, self._ctx.clock.now()), records.ties(known)
        self.blocked = {
            each.saying.transaction_number for each in owed if each.saying.transaction_number is not None
        }
        self._step(lambda stand_in: stand_in.owe(owed, ties, self._now))

    def _told(self, report: Report) -> None:
        """Store what became of a saying; the next one is told once that is committed."""
        saying = report.saying
        assert saying is not None
        waiters = self._deliveries.get(saying.number)
        record = records.record(self.link, report, self._ctx.clock.now(), is_awaited=bool(waiters))
        decided = verdicted(report.action, report.status, report.answer)
        self._decided[saying.number] = decided
        if len(self._decided) > DECIDED_MAX:
            self._decided.popitem(last=False)
        if waiters:
            self._settle(saying.number, decided)
        if saying.transaction_number is not None and report.status in {"retrying", "parked"}:
            self.blocked.add(saying.transaction_number)
        if saying.action == standin.START:
            self._telling = asyncio.get_running_loop().create_future()
            self._around.records.tell(record, partial(self._start_stored, self._telling))
        else:
            self._around.records.tell(record, self._stored)
        if self._stand_in is not None and self._stand_in.is_full:
            self._around.records.hurry()

    def _start_stored(self, telling: asyncio.Future[None], wrong: Exception | None) -> None:
        if not telling.done():
            telling.set_result(None)
        self._stored(wrong)

    def _stored(self, wrong: Exception | None) -> None:
        if wrong is not None:
            # Nothing is lost: the cursor stands where it stood, and the next connection tells it again.
            self._log.warning("what was told was not stored", why=repr(wrong))
            self.end("not_stored")
            return
        self._step(lambda stand_in: stand_in.stored(self._now))

    def _moved(self, cursor: int) -> None:
        self._keep(self._record(cursor=cursor))
        for number in [number for number in self._deliveries if number <= cursor]:
            self.spawn(self._told_before(number))

    async def _told_before(self, number: int) -> None:
        self._settle(number, await self._verdict_before(number))

    async def _verdict_before(self, number: int) -> Verdicted:
        """Return what the operator said of a start that it was told before: the charger says it again."""
        verdict = await self._ctx.db.read(
            serving.ACTOR, serving.verdict_of, self.link.id, self.link.charger_id, number
        )
        return Verdicted(verdict_of(verdict)) if verdict else Verdicted()

    def _settle(self, number: int, verdicted: Verdicted) -> None:
        for waiter in self._deliveries.pop(number, ()):
            if not waiter.done():
                waiter.set_result(verdicted)

    # --- what the desk asks ---

    async def deliver(self, number: int) -> Verdicted:
        """Tell the operator up to a call of the log, and return what it answers to that within the budget."""
        if self._stand_in is None or self._stand_in.state is not State.ONLINE:
            return Verdicted()
        if number in self._decided:
            return self._decided[number]
        if number <= self._stand_in.cursor:
            return await self._verdict_before(number)
        waiter: asyncio.Future[Verdicted] = asyncio.get_running_loop().create_future()
        self._deliveries.setdefault(number, []).append(waiter)
        try:
            self.woken()
            self._around.feeder.hurry()
            async with asyncio.timeout(DELIVER_S):
                return await waiter
        except TimeoutError:
            return Verdicted()
        finally:
            # A refusal that comes later is a late one: nobody is left to tell the charger.
            waiters = self._deliveries.get(number, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._deliveries.pop(number, None)

    async def authorise(self, id_tag: str) -> Verdicted:
        """Ask the operator about a card. Raises: TooMany."""
        if self._stand_in is None:
            return Verdicted()
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._carry(self._stand_in.authorise(answered, id_tag, DELIVER_S, self._now))
        answer = await answered
        return Verdicted() if answer is None else verdicted("Authorize", "done", answer)

    # --- what the operator asks ---

    async def _requested(self, call: Call) -> None:
        stand_in = self._stand_in
        assert stand_in is not None
        wait_s = self._pace.take(self._now)
        if wait_s > 0:
            await self._ctx.clock.sleep(wait_s)
        began = self._now
        if self._telling is not None and not self._telling.done():
            # An operator that has just given a number to a start may ask for it at once.
            self._around.records.hurry()
            await asyncio.wait((self._telling,))
        done = await self._requests.carry_out(self.link, stand_in, call, self._carry)
        asked = masked(call.payload.decode("utf-8", "replace"))
        kept = self._keep(
            self._record(
                is_inward=True,
                message_id=call.id_raw.decode("utf-8", "replace").strip('"'),
                action=call.action,
                payload=asked[:REFUSED_KEPT] if done.status == "refused" else asked,
                note=done.note,
                status=done.status,
                answer=done.shown,
                latency_ms=(self._now - began) * 1000,
            )
        )
        self._around.records.hurry()
        # No answer before that: who asks faster than it can be written down has to wait.
        await asyncio.wait((kept,))
        if done.is_manner_changed:  # before the answer, since the operator may look at once
            found = await self._ctx.db.read(serving.ACTOR, serving.find, self.link.id)
            if found is not None:
                self.link = found
                self._ping_s = ping_of(found)
                stand_in.manner = manner_of(found)
        if done.error:
            self._carry(stand_in.refuse(call, done.error, done.description, self._now))
        else:
            self._carry(stand_in.answer(call, done.answer, self._now))
        self._breathe()
        if done.after is not None:
            done.after()


def longer(pause_s: float, least_s: float = BACK_OFF_S) -> float:
    """Return how long to wait after one more failure: twice as long each time, within bounds."""
    return min(max(pause_s * 2, least_s), BACK_OFF_MAX_S)


def is_past_grace(gone_at: datetime | None, now: datetime) -> bool:
    """Say whether a charger that is not here has been away for longer than operators need not know."""
    return gone_at is None or now - gone_at > GRACE


def _lasting(link: Serving) -> Serving:
    """Return a link without what changes while it is served."""
    return replace(
        link, cursor=0, attached_number=0, keys={}, blocked=frozenset(), password_next_sealed=None, via=()
    )


def manner_of(link: Serving) -> Manner:
    """Return how a stand-in behaves for a link."""
    return Manner(
        link.role,
        is_boot_on_connect=link.is_boot_on_connect,
        tag_alias=link.tag_alias,
        consents=frozenset(link.consents),
        heartbeat_s=_seconds(link.key("HeartbeatInterval")),
        meter_interval_s=_seconds(link.key("MeterValueSampleInterval")),
        readings=choice(link.key("MeterValuesSampledData"), link.key("MeterValuesAlignedData")),
        in_stop=choice(link.key("StopTxnSampledData"), link.key("StopTxnAlignedData")),
    )


def ping_of(link: Serving) -> float:
    """Return how long an operator may be silent before it is pinged, 0 for one that wants no pings.

    OCPP 1.6-J §5.3: the interval is a configuration key, 0 turns pings off.
    """
    wanted = link.key("WebSocketPingInterval")
    if wanted is None or not wanted.isdecimal():
        return PING_S
    wanted_s = _seconds(wanted)
    return 0.0 if wanted_s == 0 else min(max(wanted_s, PING_MIN_S), PING_MAX_S)


def _seconds(text: str | None) -> float:
    """Return what an operator wrote into a key as seconds, 0 for nothing that can be meant."""
    return float(text) if text is not None and text.isdecimal() and len(text) < 8 else 0.0


def _look_at(kept: asyncio.Future[None]) -> None:
    """Take a failure for seen: who waits for it has been told, and the others lose a row of a record."""
    if not kept.cancelled() and kept.exception() is not None:
        logger("line").warning("a record was not stored", why=repr(kept.exception()))

"""The actor that owns one operator's socket: it dials, plays the stand-in, and carries out its effects.

Messages of the operator, sayings that were read and records that were stored come in as plain calls; what
takes longer runs in tasks of its own and comes back the same way. Nothing here blocks another line.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from voltyard.chargers.calls import Said
from voltyard.chargers.masks import masked
from voltyard.kernel.batch import Batch
from voltyard.kernel.bus import Serving as BusServing
from voltyard.kernel.context import Context
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.limits import AUTHORISE_BUDGET_S
from voltyard.kernel.log import logger
from voltyard.kernel.seal import unseal
from voltyard.lines import telling
from voltyard.lines.dial import DialFailed, Ears, Target, connect
from voltyard.lines.feeder import Feeder
from voltyard.lines.requests import Requests
from voltyard.ocpp.frames import Call
from voltyard.operators import serving
from voltyard.operators.events import Authorise, Deliver, Verdicted
from voltyard.operators.service import seal_of
from voltyard.operators.serving import Facts, Fed, Known, Learned, Record, Serving
from voltyard.proxy import standin
from voltyard.proxy.standin import Manner, Owed, Report, Saying, StandIn, State, Tie
from voltyard.speech import Role, VendorReply, Verdict

BACK_OFF_S: Final = 1.0
BACK_OFF_MAX_S: Final = 300.0
LASTING_S: Final = 60.0
"""After a refusal that somebody has to change something about, the first pause is this long."""
GRACE: Final = timedelta(seconds=60)
"""How long a charger may be away before its operator sees it go."""
LOOK_S: Final = 5.0
"""How often a line that is not connected looks whether it should be."""
PING_S: Final = 60.0
SILENCE_S: Final = 150.0
FAREWELL_S: Final = 30.0
SUBPROTOCOL: Final = "ocpp1.6"
VENDOR: Final = frozenset(("Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"))
"""OCPP 1.6 §7.16."""


@dataclass(frozen=True, slots=True)
class Around:
    """What lines share: the parts, the reader of the log, and the writer of records."""

    ctx: Context
    feeder: Feeder
    records: Batch[Record, None]
    installation: str
    target: Callable[[Target], Target]
    """Adds what the installation says about where lines may go."""


class Line:
    """The line of one link, over however many connections, until there is nothing left to serve."""

    def __init__(self, around: Around, link_id: str, charger_id: str) -> None:
        self.link_id = link_id
        self.charger_id = charger_id
        self._around = around
        self._ctx = around.ctx
        self._stand_in: StandIn | None = None
        self._ears: Ears | None = None
        self._link: Serving | None = None
        self._group: asyncio.TaskGroup | None = None
        self._stir = asyncio.Event()
        self._is_changed = False
        self._ended: asyncio.Future[str] | None = None
        self._deliveries: dict[int, list[asyncio.Future[Verdicted]]] = {}
        self._requests = Requests(around.ctx)
        self._tasks: set[asyncio.Task[None]] = set()
        # What an operator said before we had opened our mouth; hardly any does.
        self._early: list[bytes] = []
        self._chance = random.Random(link_id)  # noqa: S311 - jitter, no secret
        self._pinged_at = 0.0
        self._log = logger("line").bind(link=link_id)

    # --- from outside: plain calls ---

    def woken(self, *, is_changed: bool = False) -> None:
        """The charger said something, or the link is not as it was."""
        self._is_changed = self._is_changed or is_changed
        self._stir.set()
        if is_changed and self._ended is not None:
            self._end("changed")
        elif self._stand_in is not None:
            self._carry(self._stand_in.woken(self._now))

    def tick(self) -> None:
        """Let time pass; called about every second."""
        now = self._now
        if self._stand_in is None or self._ears is None:
            return
        wake_at = self._stand_in.wake_at
        if wake_at is not None and wake_at <= now:
            self._carry(self._stand_in.tick(now))
        ears = self._ears
        if ears.silent_s > SILENCE_S:
            ears.abort()
            self._end("silent")
        elif ears.silent_s > PING_S and now - self._pinged_at > PING_S:
            self._pinged_at = now
            ears.ping()

    @property
    def _now(self) -> float:
        return self._ctx.clock.monotonic()

    # --- the life of a line ---

    async def run(self) -> None:
        """Serve the link until it is over, or this is cancelled."""
        served: list[BusServing] = [
            await self._ctx.bus.serve(f"line.{self.link_id}.deliver", Deliver, self._deliver),
            await self._ctx.bus.serve(f"line.{self.link_id}.authorise", Authorise, self._authorise),
        ]
        pause_s = 0.0
        try:
            while True:
                self._is_changed = False
                link = await self._ctx.db.read(serving.ACTOR, serving.find, self.link_id)
                if link is None:
                    return
                self._link = link
                facts = await self._ctx.db.read(serving.ACTOR, serving.facts, self.charger_id)
                if self._is_away(facts) and not link.is_leaving and not await self._has_more(link):
                    await self._became("waiting", "charger_offline")
                    await self._rest(LOOK_S)
                    continue
                if link.is_leaving and pause_s > FAREWELL_S:
                    await self._ctx.db.work(serving.ACTOR, serving.leave, self.link_id)
                    return
                pause_s = await self._connection(link, facts, pause_s)
                await self._rest(pause_s * (0.5 + self._chance.random()))
                if self._is_changed:
                    pause_s = 0.0
        finally:
            for one in served:
                with suppress(Exception):
                    await one.stop()

    def _is_away(self, facts: Facts) -> bool:
        if facts.is_online:
            return False
        return facts.gone_at is None or self._ctx.clock.now() - facts.gone_at > GRACE

    async def _has_more(self, link: Serving) -> bool:
        wanted = {link.id: (link.charger_id, link.cursor)}
        found, _ = await self._ctx.db.read(serving.ACTOR, serving.feed, wanted, limit=50)
        return any(said.action in standin.OF_TRANSACTIONS for said in found[link.id].said)

    async def _rest(self, seconds: float) -> None:
        """Wait, no longer than until something changes about the link."""
        until = self._now + seconds
        while (left_s := until - self._now) > 0 and not self._is_changed:
            self._stir.clear()
            waiting = asyncio.ensure_future(self._stir.wait())
            sleeping = asyncio.ensure_future(self._ctx.clock.sleep(left_s))
            try:
                await asyncio.wait((waiting, sleeping), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()

    async def _became(self, state: str, reason: str = "") -> None:
        try:
            await self._ctx.db.work(serving.ACTOR, serving.set_state, self.link_id, state, reason)
        except VoltyardError as wrong:
            self._log.warning("a state was not noted", why=str(wrong))

    async def _connection(self, link: Serving, facts: Facts, pause_s: float) -> float:
        """Connect and serve until the connection ends; return how long to wait before the next one."""
        if pause_s == 0:
            await self._became("connecting")
        try:
            ears = await self._dial(link)
        except DialFailed as wrong:
            longer_s = min(max(pause_s * 2, LASTING_S if wrong.is_lasting else BACK_OFF_S), BACK_OFF_MAX_S)
            await self._became("refused" if wrong.is_lasting else "backing_off", wrong.why)
            return longer_s
        except VoltyardError as wrong:  # a secret that does not open
            await self._became("refused", str(wrong))
            return BACK_OFF_MAX_S
        began = self._now
        reason = await self._serve(ears, link, facts)
        if self._is_changed:
            return 0.0
        if reason == "left":
            await self._ctx.db.work(serving.ACTOR, serving.leave, self.link_id)
            self._is_changed = True
            return 0.0
        # One that held for a while was good; one that ends at once is no better than a refusal.
        longer_s = BACK_OFF_S if self._now - began > LASTING_S else max(pause_s * 2, BACK_OFF_S)
        await self._became("backing_off", reason)
        return min(longer_s, BACK_OFF_MAX_S)

    async def _dial(self, link: Serving) -> Ears:
        """Connect, with the newer of two passwords first. Raises: DialFailed; SealBroken."""
        key = self._ctx.settings.secret_key()

        def opened(sealed: str | None, what: str) -> bytes | None:
            return None if sealed is None else unseal(sealed, key, seal_of(link.id, what))

        chosen = [
            sealed for sealed in (link.password_next_sealed, link.password_sealed) if sealed is not None
        ]
        client_key = opened(link.key_sealed, "key")
        self._ended = asyncio.get_running_loop().create_future()
        for index, sealed in enumerate(chosen or [None]):
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
                _, ears = await connect(target, self._listen)
            except DialFailed as wrong:
                if wrong.http_status == 401 and index + 1 < len(chosen):
                    continue
                raise
            if sealed is not None and sealed == link.password_next_sealed:
                await self._ctx.db.work(serving.ACTOR, serving.confirm_password, link.id, sealed)
            return ears
        raise AssertionError("unreachable: each way out of the loop is inside it")

    def _listen(self) -> Ears:
        return Ears(self._heard, self._end, monotonic=self._ctx.clock.monotonic)

    def _heard(self, data: bytes) -> None:
        if self._stand_in is None:
            self._early.append(data)
        else:
            self._carry(self._stand_in.received(data, self._now))

    def _end(self, reason: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    async def _serve(self, ears: Ears, link: Serving, facts: Facts) -> str:
        """Play the stand-in on an open connection; return why it ended."""
        assert self._ended is not None
        situation = await self._ctx.db.read(serving.ACTOR, serving.situation, link)
        now = self._now
        stand_in = StandIn(
            manner_of(link),
            cursor=link.cursor,
            attached=link.attached_number,
            message_ids=link.id[-12:],
            prefix=f"{link.id[-8:]}{self._chance.getrandbits(24):06x}-",
            jitter=self._chance.random(),
            blocked=tuple(link.blocked),
            latest=[_saying(said) for said in situation.latest],
        )
        self._ears, self._stand_in = ears, stand_in
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                at = self._ctx.clock.now()
                told = [] if link.is_leaving else telling.statuses(situation.facts, at)
                self._carry(stand_in.opened(telling.boot(situation.facts), told, situation.number, now))
                early, self._early = self._early, []
                for data in early:
                    self._carry(stand_in.received(data, self._now))
                if link.is_leaving:
                    self._spawn(self._say_farewell(link, stand_in))
                self._spawn(self._watch_charger())
                reason = await asyncio.shield(self._ended)
                self._stand_in = None
                for effect in stand_in.closed(self._now):
                    self._do(effect)
                ears.close(1000, "")
                for task in self._tasks:
                    task.cancel()
                return reason
        finally:
            ears.abort()
            self._ears, self._stand_in, self._group, self._ended = None, None, None, None
            self._early = []
            self._around.feeder.forget(self.link_id)
            for number in tuple(self._deliveries):
                self._settle(number, Verdicted())

    def _spawn(self, doing: Coroutine[None, None, None]) -> None:
        """Let something go on beside this connection, and end with it."""
        if self._group is None:
            doing.close()
            return
        task = self._group.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_charger(self) -> None:
        """End the connection when the charger has been away for a while and there is nothing more to tell."""
        while True:
            await self._ctx.clock.sleep(LOOK_S)
            facts = await self._ctx.db.read(serving.ACTOR, serving.facts, self.charger_id)
            if self._is_away(facts) and (self._stand_in is None or self._stand_in.is_drained):
                self._end("charger_offline")

    async def _say_farewell(self, link: Serving, stand_in: StandIn) -> None:
        """Tell an operator that was disconnected that running transactions end for it."""
        goodbyes = await self._ctx.db.read(serving.ACTOR, serving.farewells, link.id)
        until = self._now + FAREWELL_S
        while stand_in.state is not State.ONLINE and self._now < until:
            await self._ctx.clock.sleep(0.05)
        for each in goodbyes:
            at = self._ctx.clock.now()
            self._carry(stand_in.tell(standin.STOP, telling.farewell(each, at), self._now))
        while not stand_in.is_told and self._now < until:
            await self._ctx.clock.sleep(0.05)
        self._end("left")

    # --- carrying out effects ---

    def _carry(self, effects: Sequence[standin.Effect]) -> None:
        for effect in effects:
            self._do(effect)

    def _do(self, effect: standin.Effect) -> None:
        match effect:
            case standin.Send(data):
                if self._ears is not None:
                    self._ears.send(data)
            case standin.Want(after):
                self._around.feeder.want(self.link_id, self.charger_id, after, self._fed)
            case standin.Told(report):
                self._told(report)
            case standin.Moved(cursor):
                self._moved(cursor)
            case standin.Requested(call):
                self._spawn(self._requested(call))
            case standin.WantOwed():
                self._spawn(self._read_owed())
            case standin.Authorised(token, answer):
                assert isinstance(token, asyncio.Future)
                if not token.done():
                    token.set_result(answer)
            case standin.Exchanged(action, message_id, payload, status, answer, latency_s):
                self._keep(
                    self._record(
                        message_id=message_id,
                        action=action,
                        payload=payload.decode("utf-8", "replace"),
                        status=status,
                        answer=answer.decode("utf-8", "replace"),
                        latency_ms=latency_s * 1000,
                    )
                )
            case standin.Became(state, reason):
                self._spawn(self._became(str(state), reason))
            case standin.Close(_, reason):
                self._end(reason)

    def _record(self, **values: Any) -> Record:
        return Record(self.link_id, self.charger_id, **values)

    def _keep(self, record: Record) -> asyncio.Future[None]:
        kept = self._around.records.put(record)
        kept.add_done_callback(_look_at)
        return kept

    def _fed(self, fed: Fed) -> None:
        if self._stand_in is not None:
            sayings = [_saying(said) for said in fed.said]
            self._carry(self._stand_in.fed(sayings, _ties(fed.known), self._now))

    async def _read_owed(self) -> None:
        owed, known = await self._ctx.db.read(serving.ACTOR, serving.list_owed, self.link_id)
        at = self._ctx.clock.now()
        rows = [
            Owed(
                each.number,
                _saying(each.said),
                each.status == "parked",
                each.tries,
                (each.next_at - at).total_seconds() if each.next_at is not None else 0.0,
            )
            for each in owed
        ]
        if self._stand_in is not None:
            self._carry(self._stand_in.owe(rows, _ties(known), self._now))

    def _told(self, report: Report) -> None:
        """Store what became of a saying; the next one is told once that is committed."""
        saying, learned = report.saying, report.learned
        assert saying is not None
        assert self._link is not None
        waiters = self._deliveries.get(saying.number)
        is_refused = learned is not None and bool(learned.verdict) and learned.verdict != "Accepted"
        at = self._ctx.clock.now()
        record = self._record(
            cursor=report.cursor,
            delivery=report.delivery,
            call_number=saying.number,
            transaction_number=saying.transaction_number,
            message_id=report.message_id,
            action=report.action,
            payload=None if report.payload is None else report.payload.decode("utf-8", "replace"),
            note=report.note,
            status=report.status,
            answer=report.answer.decode("utf-8", "replace"),
            latency_ms=None if report.latency_s is None else report.latency_s * 1000,
            tries=report.tries,
            next_at=None if report.retry_in_s is None else at + timedelta(seconds=report.retry_in_s),
            learned=None
            if learned is None
            else Learned(
                learned.number,
                learned.state,
                learned.theirs,
                learned.verdict,
                learned.id_tag,
                learned.started_at,
                at if learned.is_stop else None,
                is_late_refusal=is_refused and not waiters and self._link.role is Role.BILLING,
            ),
        )
        if waiters:
            self._settle(saying.number, verdicted(report.action, report.status, report.answer))
        self._keep(record).add_done_callback(self._stored)

    def _stored(self, kept: asyncio.Future[None]) -> None:
        if kept.cancelled() or self._stand_in is None:
            return
        if kept.exception() is not None:
            # Nothing is lost: the cursor stands where it stood, and the next connection tells it again.
            self._end("not_stored")
            return
        self._carry(self._stand_in.stored(self._now))

    def _moved(self, cursor: int) -> None:
        self._keep(self._record(cursor=cursor))
        for number in [number for number in self._deliveries if number <= cursor]:
            self._spawn(self._told_before(number))

    async def _told_before(self, number: int) -> None:
        """Answer for a start that the operator was told before: the charger says it again."""
        verdict = await self._ctx.db.read(
            serving.ACTOR, serving.verdict_of, self.link_id, self.charger_id, number
        )
        self._settle(number, Verdicted(_verdict(verdict)) if verdict else Verdicted())

    def _settle(self, number: int, verdicted: Verdicted) -> None:
        for waiter in self._deliveries.pop(number, ()):
            if not waiter.done():
                waiter.set_result(verdicted)

    # --- what the desk asks ---

    async def _deliver(self, asked: Deliver) -> Verdicted:
        if self._stand_in is None or self._stand_in.state is not State.ONLINE:
            return Verdicted()
        if asked.call_number <= self._stand_in.cursor:
            verdict = await self._ctx.db.read(
                serving.ACTOR, serving.verdict_of, self.link_id, self.charger_id, asked.call_number
            )
            return Verdicted(_verdict(verdict)) if verdict else Verdicted()
        waiter: asyncio.Future[Verdicted] = asyncio.get_running_loop().create_future()
        self._deliveries.setdefault(asked.call_number, []).append(waiter)
        try:
            self.woken()
            return await waiter
        finally:
            waiters = self._deliveries.get(asked.call_number, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._deliveries.pop(asked.call_number, None)

    async def _authorise(self, asked: Authorise) -> Verdicted:
        if self._stand_in is None:
            return Verdicted()
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._carry(self._stand_in.authorise(answered, asked.id_tag, AUTHORISE_BUDGET_S, self._now))
        answer = await answered
        return Verdicted() if answer is None else verdicted("Authorize", "done", answer)

    # --- what the operator asks ---

    async def _requested(self, call: Call) -> None:
        assert self._link is not None
        assert self._stand_in is not None
        stand_in, link = self._stand_in, self._link
        began = self._now
        done = await self._requests.carry_out(link, stand_in, call, self._carry)
        self._keep(
            self._record(
                is_inward=True,
                message_id=call.id_raw.decode("utf-8", "replace").strip('"'),
                action=call.action,
                payload=masked(call.payload.decode("utf-8", "replace")),
                note=done.note,
                status=done.status,
                answer=done.shown,
                latency_ms=(self._now - began) * 1000,
            )
        )
        if done.error:
            self._carry(stand_in.refuse(call, done.error, done.description, self._now))
        else:
            self._carry(stand_in.answer(call, done.answer, self._now))
        if done.after is not None:
            done.after()
        if done.is_manner_changed:
            found = await self._ctx.db.read(serving.ACTOR, serving.find, self.link_id)
            if found is not None:
                self._link = found
                stand_in.manner = manner_of(found)


def manner_of(link: Serving) -> Manner:
    """Return how a stand-in behaves for a link."""
    interval = link.key("MeterValueSampleInterval")
    return Manner(
        link.role,
        is_boot_on_connect=link.is_boot_on_connect,
        tag_alias=link.tag_alias,
        consents=frozenset(link.consents),
        meter_interval_s=float(interval) if interval.isdecimal() and len(interval) < 8 else 0.0,
    )


def _saying(said: Said) -> Saying:
    return Saying(said.number, said.action, said.payload.encode(), said.at, said.transaction_number)


def _ties(known: Mapping[int, Known]) -> dict[int, Tie]:
    return {number: Tie(each.theirs, each.state) for number, each in known.items()}


def _look_at(kept: asyncio.Future[None]) -> None:
    """Take a failure for seen: who waits for it has been told, and the others lose a row of a record."""
    if not kept.cancelled() and kept.exception() is not None:
        logger("line").warning("a record was not stored", why=repr(kept.exception()))


class _TagInfo(msgspec.Struct, rename="camel"):
    status: str = ""
    expiry_date: datetime | None = None
    parent_id_tag: str | None = None


class _Told(msgspec.Struct, rename="camel"):
    id_tag_info: _TagInfo | None = None
    status: str = ""
    data: str | None = None


def verdicted(action: str, status: str, answer: bytes) -> Verdicted:
    """Return what an operator's answer decides: nothing unless it was one that can be understood."""
    if status != "done":
        return Verdicted()
    try:
        told = msgspec.json.decode(answer, type=_Told)
    except (msgspec.DecodeError, RecursionError):
        return Verdicted()
    if action == "DataTransfer":
        return Verdicted(vendor=VendorReply(told.status, told.data)) if told.status in VENDOR else Verdicted()
    if told.id_tag_info is None:
        return Verdicted()
    expires_at = told.id_tag_info.expiry_date
    if expires_at is not None and expires_at.tzinfo is None:
        expires_at = expires_at.replace(tzinfo=UTC)
    return Verdicted(_verdict(told.id_tag_info.status), expires_at, told.id_tag_info.parent_id_tag)


def _verdict(word: str) -> Verdict | None:
    try:
        return Verdict(word)
    except ValueError:
        return None

"""What lines read and note, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import SYSTEM, make_charger, make_location, make_transaction
from voltyard.chargers import calls
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Charger
from voltyard.kernel import jobs
from voltyard.kernel.context import Context
from voltyard.kernel.ids import new_id
from voltyard.kernel.settings import PrivateNetworks
from voltyard.kernel.wire import decode
from voltyard.operators import deliveries, deliveries_store, service, serving, store
from voltyard.operators.events import EndRefused, LinkChanged
from voltyard.operators.service import Wanted
from voltyard.operators.serving import Known, Learned, Record, Wish
from voltyard.speech import Beat, Heard, Hello, Role, Verdict
from voltyard.transactions import service as transactions

ACTOR = serving.ACTOR
GRACE = timedelta(seconds=60)
TRANSACTIONS = frozenset(("StartTransaction", "StopTransaction", "MeterValues"))
START, STOP, METER = "StartTransaction", "StopTransaction", "MeterValues"


class Room:
    """A charger of a location, its log, and operators."""

    def __init__(self, ctx: Context, charger: Charger) -> None:
        self.ctx, self.charger = ctx, charger

    async def connect(self, role: Role = Role.OBSERVER, **wanted: Any) -> str:
        found = await self.work(
            service.connect,
            self.charger.id,
            Wanted(**{"url": "wss://example.com/ocpp", "role": role, "name": "Operator"} | wanted),
            self.ctx.settings,
        )
        return found.id

    async def say(self, action: str, number: int | None = None, payload: str = "{}") -> int:
        heard = Heard(self.charger.id, "soc", "m", action, payload, Beat())
        return (await self.work(calls.log, [heard], [number]))[0]

    async def record(self, *records: Record) -> None:
        await self.ctx.db.work(ACTOR, serving.record, records)

    async def told(self, link_id: str, said: int, number: int, **over: Any) -> None:
        """Note what became of a start."""
        values = {"cursor": said, "call_number": said, "transaction_number": number, "action": START} | over
        await self.record(Record(link_id, self.charger.id, **values))

    async def work(self, act: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.ctx.db.work(SYSTEM, act, *args, **kwargs)

    async def read(self, act: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.ctx.db.read(ACTOR, act, *args, **kwargs)

    async def come(self, via: tuple[str, ...] = ()) -> str:
        session_id = new_id("soc")
        hello = Hello(self.charger.identity, session_id, "gw", "ocpp1.6", "192.0.2.1", via=via)
        key = self.ctx.settings.secret_key()
        await self.work(chargers.connect, [hello], key=key, is_holding=False, others=())
        return session_id

    async def go(self, session_id: str) -> None:
        await self.work(chargers.disconnect, self.charger.id, session_id)

    async def find(self, link_id: str) -> serving.Serving:
        found = await self.read(serving.find, link_id)
        assert found is not None
        return found


@pytest.fixture
async def room(ctx: Context) -> Room:
    ctx = replace(
        ctx,
        settings=ctx.settings.model_copy(update={"operator_private_networks": PrivateNetworks.ALLOW}),
    )
    location = await make_location(ctx)
    return Room(ctx, await make_charger(ctx, location.id))


# --- links ----------------------------------------------------------------------------------------


async def test_a_link_is_served_as_it_was_wanted(room: Room):
    await room.come(via=("one", "two"))
    said = await room.say("StatusNotification")
    link_id = await room.connect(
        Role.BILLING, username="me", password="a secret", tag_alias="ALIAS", consents=("vendor", "firmware")
    )
    found = await room.find(link_id)
    assert (found.role, found.username, found.tag_alias) == (Role.BILLING, "me", "ALIAS")
    assert (found.cursor, found.attached_number) == (said, said)
    assert (found.via, found.consents) == (("one", "two"), ("firmware", "vendor"))
    assert found.password_sealed is not None
    assert (found.keys, found.blocked, found.is_leaving) == ({}, frozenset(), False)
    assert found.actor.subject_id == link_id
    assert found.actor.location_id == room.charger.location_id


async def test_a_link_that_is_over_or_whose_charger_has_moved_is_served_no_more(room: Room):
    ended, moved = await room.connect(), await room.connect()
    assert [each.id for each in await room.read(serving.list_served)] == sorted((ended, moved))
    (last,) = await room.read(serving.list_served, after=ended, limit=1)
    assert (last.id, last.charger_id) == (moved, room.charger.id)
    await room.work(service.disconnect, ended)
    assert await room.read(serving.find, ended) is None
    await room.work(chargers.unlink, room.charger.location_id, room.charger.id)
    assert await room.read(serving.find, moved) is None
    assert await room.read(serving.find, new_id("link")) is None
    assert await room.read(serving.list_served) == []


async def test_a_link_bears_another_mark_once_it_was_changed_and_not_while_it_is_served(room: Room):
    link_id = await room.connect()
    (before,) = await room.read(serving.list_served)
    await room.record(Record(link_id, room.charger.id, cursor=99))
    await room.work(serving.set_state, link_id, "online", "")
    assert await room.read(serving.list_served) == [before]
    await room.work(service.change, link_id, Wanted(consents=("vendor",)), room.ctx.settings)
    (after,) = await room.read(serving.list_served)
    assert after.mark != before.mark


async def test_where_a_link_stands_is_a_number_of_its_own_charger(room: Room):
    link_id = await room.connect()
    said = await room.say("StatusNotification")
    other = await make_charger(room.ctx, room.charger.location_id)
    heard = Heard(other.id, "soc", "m", "StatusNotification", "{}", Beat())
    await room.work(calls.log, [heard])
    assert (await room.read(serving.situation, await room.find(link_id))).number == said


async def test_what_databases_do_not_take_is_replaced(room: Room):
    link_id = await room.connect()
    number = await make_transaction(room.ctx, room.charger)
    said = await room.say(START, number)
    learned = Learned(number, "refused", 7, "A\0" * 20, "T\0G")
    await room.told(link_id, said, number, answer="{\0}", payload="\0", message_id="m\0", learned=learned)
    (known,) = (await room.read(service.compare, link_id)).transactions
    assert "\0" not in known.verdict + known.id_tag
    assert len(known.verdict) == serving.VERDICT_MAX


async def test_keys_of_a_link_are_known_without_case(room: Room):
    link_id = await room.connect()
    await room.work(serving.keep_key, link_id, "HeartbeatInterval", "60")
    await room.work(serving.keep_key, link_id, "HEARTBEATINTERVAL", "90")
    found = await room.find(link_id)
    assert (found.key("heartbeatinterval"), found.key("Other")) == ("90", None)


async def test_a_state_is_told_once(room: Room):
    link_id = await room.connect()
    news = await room.ctx.bus.listen("live.>", queue_max=10)
    await room.work(serving.set_state, link_id, "online", "")
    room.ctx.clock.advance(60)
    await room.work(serving.set_state, link_id, "online", "")
    await room.work(serving.set_state, link_id, "online", "x" * 999)
    row = await room.read(store.find_link, link_id)
    assert (row.state, len(row.reason)) == ("online", serving.REASON_MAX)
    assert row.state_at == room.ctx.clock.now() - timedelta(seconds=60), "since then it is in this state"
    told = [(await news.next())[1] for _ in range(2)]
    assert told == [LinkChanged(link_id, room.charger.id, room.charger.location_id)] * 2
    await room.work(serving.leave, link_id)
    await room.work(serving.set_state, link_id, "online", "")
    assert (await room.read(store.find_link, link_id)).state == "ended"


async def test_of_passwords_the_one_that_worked_counts(room: Room):
    link_id = await room.connect(password="old")
    await room.work(serving.keep_password, link_id, "v1.first")
    await room.work(serving.keep_password, link_id, "v1.second")
    await room.work(serving.confirm_password, link_id, "v1.first")
    found = await room.find(link_id)
    assert found.password_next_sealed == "v1.second", "there is a newer one since"
    assert found.password_sealed != "v1.first"
    await room.work(serving.confirm_password, link_id, "v1.second")
    found = await room.find(link_id)
    assert (found.password_sealed, found.password_next_sealed) == ("v1.second", None)
    await room.work(serving.confirm_password, new_id("link"), "v1.second")


async def test_a_link_that_leaves_forgets_its_secrets(room: Room):
    link_id = await room.connect(password="old")
    await room.work(serving.keep_password, link_id, "v1.first")
    await room.work(serving.leave, link_id)
    row = await room.read(store.find_link, link_id)
    assert (row.is_over, row.password_sealed, row.password_next_sealed, row.key_sealed) == (
        True, None, None, None,
    )  # fmt: skip


async def test_connectors_are_out_of_use_if_anybody_wants_them_so(room: Room):
    one, two = await room.connect(), await room.connect()

    async def want(link_id: str, connector: int, *, is_operative: bool) -> tuple[str, frozenset[int]]:
        return await room.work(serving.set_inoperative, link_id, connector, is_operative=is_operative)

    assert await want(one, 1, is_operative=False) == ("", frozenset((1,)))
    assert await want(two, 0, is_operative=False) == ("", frozenset((0, 1)))
    assert await want(two, 2, is_operative=False) == ("0", frozenset((0, 1, 2)))
    before, out = await want(two, 0, is_operative=True)
    assert (before, out) == ("0,2", frozenset((1,)))
    await room.work(serving.restore_inoperative, two, before)
    assert await want(one, 1, is_operative=True) == ("1", frozenset((0, 2)))


# --- chargers -------------------------------------------------------------------------------------


async def test_what_is_not_known_of_a_charger_is_said_in_words(room: Room):
    found = await room.read(serving.facts, room.charger.id)
    assert (found.vendor, found.model, found.is_online, found.gone_at) == ("Unknown", "Unknown", False, None)
    assert found.statuses == found.running == ()


async def test_a_charger_is_away_when_it_has_been_for_a_while(room: Room):
    other = await make_charger(room.ctx, room.charger.location_id)
    both = {room.charger.id, other.id}
    assert await room.read(serving.away, both, GRACE) == both, "they were never here"
    session_id = await room.come()
    assert await room.read(serving.away, both, GRACE) == {other.id}
    await room.go(session_id)
    room.ctx.clock.advance(60)
    assert await room.read(serving.away, both, GRACE) == {other.id}
    room.ctx.clock.advance(1)
    assert await room.read(serving.away, both, GRACE) == both
    assert await room.read(serving.away, set(), GRACE) == set()
    facts = await room.read(serving.facts, room.charger.id)
    assert facts.gone_at == room.ctx.clock.now() - timedelta(seconds=61)


async def test_a_situation_is_read_at_one_instant(room: Room):
    await room.say(METER, payload='{"a":1}')
    link_id = await room.connect()
    number = await make_transaction(room.ctx, room.charger)
    last = await room.say(METER, number, '{"a":2}')
    found = await room.read(serving.situation, await room.find(link_id))
    assert found.number == last
    assert [said.payload for said in found.latest] == ['{"a":1}'], (
        "what comes after the cursor is not told yet"
    )
    assert [each[:2] for each in found.facts.running] == [(number, 1)]


# --- what is owed ---------------------------------------------------------------------------------


async def test_a_link_owes_what_it_was_not_told_of_transactions(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serving, "LOOKED_AT", 3)
    link_id = await room.connect()
    link = await room.find(link_id)
    for _ in range(7):
        await room.say("StatusNotification")
    assert not await room.read(serving.owes, link, TRANSACTIONS)
    number = await make_transaction(room.ctx, room.charger)
    said = await room.say(START, number)
    assert await room.read(serving.owes, link, TRANSACTIONS)
    await room.told(link_id, said, number, status="parked")
    assert not await room.read(serving.owes, link, TRANSACTIONS), (
        "that waits for somebody, not for the charger"
    )
    (row,) = await room.read(deliveries_store.open_deliveries, link_id)
    await room.work(deliveries.retry, link_id, row.number)
    assert await room.read(serving.owes, link, TRANSACTIONS)


async def test_it_is_noticed_when_somebody_decides(room: Room):
    link_id = await room.connect()
    number = await make_transaction(room.ctx, room.charger)
    await room.told(link_id, await room.say(START, number), number, status="parked", tries=5)
    await room.told(link_id, await room.say(STOP, number), number, action=STOP, status="held", tries=0)
    start, stop = await room.read(deliveries_store.open_deliveries, link_id)
    assert not await room.read(serving.was_decided, link_id, {number})
    assert (await room.find(link_id)).blocked == {number}
    await room.work(deliveries.retry, link_id, start.number)
    assert await room.read(serving.was_decided, link_id, {number})
    await room.record(Record(link_id, room.charger.id, delivery=start.number, action=START, status="parked"))
    assert not await room.read(serving.was_decided, link_id, {number})
    await room.work(deliveries.skip, link_id, start.number)
    assert not await room.read(serving.was_decided, link_id, {number}), "its end is told next"
    await room.record(Record(link_id, room.charger.id, delivery=stop.number, action=STOP))
    assert await room.read(serving.was_decided, link_id, {number})
    assert not await room.read(serving.was_decided, link_id, set())


async def test_what_is_owed_comes_in_order_and_what_was_forgotten_not_at_all(room: Room):
    link_id = await room.connect()
    number = await make_transaction(room.ctx, room.charger)
    first, second = await room.say(START, number, '{"s":1}'), await room.say(STOP, number)
    await room.told(link_id, second, number, action=STOP, status="held", tries=0)
    at = room.ctx.clock.now() + timedelta(seconds=5)
    await room.told(link_id, first, number, status="retrying", next_at=at)
    await room.told(link_id, 999_999, number, status="parked")
    owed, known = await room.read(serving.list_owed, link_id)
    assert [(each.said.number, each.status, each.next_at) for each in owed] == [
        (first, "retrying", at),
        (second, "held", None),
    ]
    assert owed[0].said.payload == '{"s":1}'
    assert known == {}


async def test_a_look_serves_many_links_each_from_its_own_cursor(room: Room):
    number = await make_transaction(room.ctx, room.charger)
    one, two = await room.connect(), await room.connect()
    first, second = await room.say(START, number), await room.say(METER, number)
    await room.say("Heartbeat")
    await room.told(one, first, number, learned=Learned(number, "open", 77))
    wanted = {one: Wish(room.charger.id, 0), two: Wish(room.charger.id, first)}
    found, is_more = await room.read(serving.feed, wanted, limit=10)
    assert [said.number for said in found[one].said] == [first, second]
    assert [said.number for said in found[two].said] == [second]
    assert (found[one].known, found[two].known) == ({number: Known(number, 77, "open")}, {})
    assert not is_more
    assert found[one].is_all
    wanted[one] = Wish(room.charger.id, 0, {number})
    found, _ = await room.read(serving.feed, wanted, limit=10)
    assert found[one].known == {}, "what is known already is not read again"
    assert (await room.read(serving.feed, wanted, limit=1))[1]
    assert await room.read(serving.feed, {}, limit=1) == ({}, False)


# --- what became of it ----------------------------------------------------------------------------


async def test_a_record_holds_what_was_said_and_moves_the_cursor_on(room: Room):
    link_id, other = await room.connect(), await room.connect()
    said = await room.say("StatusNotification")
    await room.record(
        Record(
            link_id, room.charger.id, cursor=said, call_number=said, message_id="m" * 99, action="A" * 99,
            payload="p" * 99_999, note="n" * 999, answer="a" * 99_999, latency_ms=5.0,
        ),
        Record(other, room.charger.id, cursor=said + 5),
        Record(other, room.charger.id, cursor=said),
    )  # fmt: skip
    (row,) = await room.read(deliveries.list_deliveries, link_id)
    lengths = (len(row.message_id), len(row.action), len(row.payload), len(row.note[0]), len(row.answer))
    assert lengths == (64, 64, serving.PAYLOAD_MAX, serving.NOTE_MAX, serving.ANSWER_MAX)
    assert await room.read(deliveries.list_deliveries, other) == []
    assert (await room.find(link_id)).cursor == said
    assert (await room.find(other)).cursor == said + 5, "it never moves back"
    rows = [await room.read(store.find_link, each) for each in (link_id, other)]
    assert [each.delivered_at for each in rows] == [room.ctx.clock.now(), None]


async def test_a_delivery_that_is_told_again_is_the_same_one(room: Room):
    link_id = await room.connect()
    number = await make_transaction(room.ctx, room.charger)
    said = await room.say(START, number)
    await room.told(link_id, said, number, status="retrying", tries=1)
    (before,) = await room.read(deliveries.list_deliveries, link_id)
    room.ctx.clock.advance(5)
    learned = Learned(number, "open", 7, "Accepted", "TAG", room.ctx.clock.now())
    await room.told(
        link_id, said, number, cursor=0, delivery=before.number, answer="{}", tries=2, learned=learned
    )
    (after,) = await room.read(deliveries.list_deliveries, link_id)
    assert (after.number, after.status.value, after.tries, after.answer) == (before.number, "done", 2, "{}")
    assert after.at > before.at
    (known,) = (await room.read(service.compare, link_id)).transactions
    assert (known.theirs, known.state, known.verdict, known.id_tag) == (7, "open", "Accepted", "TAG")


async def test_what_an_operator_knows_of_a_transaction_grows(room: Room):
    link_id = await room.connect()
    number = await make_transaction(room.ctx, room.charger)
    said = await room.say(START, number)
    began = room.ctx.clock.now()
    await room.told(link_id, said, number, learned=Learned(number, "open", 7, "Accepted", "TAG", began))
    assert await room.read(serving.ours, link_id, 7) == number
    assert await room.read(serving.verdict_of, link_id, room.charger.id, said) == "Accepted"
    assert await room.read(serving.verdict_of, link_id, room.charger.id, said + 1) == ""
    (farewell,) = await room.read(serving.farewells, link_id)
    assert farewell.number == number
    assert (farewell.theirs, farewell.meter_wh, farewell.id_tag) == (7, 1_000, "TAG")
    ended = Learned(number, "stopped", stopped_at=began)
    await room.told(link_id, said + 1, number, action=STOP, learned=ended)
    (known,) = (await room.read(service.compare, link_id)).transactions
    assert (known.theirs, known.state, known.verdict, known.energy_wh) == (7, "stopped", "Accepted", 0)
    assert known.started_at == began
    assert await room.read(serving.ours, link_id, 7) is None, "it is over"
    assert await room.read(serving.ours, link_id, 8) is None
    assert await room.read(serving.farewells, link_id) == []


@pytest.mark.parametrize("verdict", ["Blocked", "Nonsense"])
async def test_a_late_refusal_is_a_duty_and_takes_an_acceptance_back(room: Room, verdict: str):
    link_id = await room.connect(Role.BILLING)
    number = await make_transaction(room.ctx, room.charger, id_tag="TAG")
    await room.work(serving.judged, link_id, "tag", Verdict.ACCEPTED, None, None)
    await room.work(jobs.claim, "test")
    learned = Learned(number, "refused", 7, verdict, "TAG", is_late_refusal=True)
    for _ in range(2):
        await room.told(link_id, await room.say(START, number), number, learned=learned)
    (job,) = [each for each in await room.work(jobs.claim, "test") if each.kind == "EndRefused"]
    assert decode(job.body, EndRefused) == EndRefused(link_id, room.charger.id, number)
    assert await room.read(store.find_verdict, link_id, "TAG") is None
    (found,) = await room.read(transactions.list_transactions)
    assert found.verdict == ("Blocked" if verdict == "Blocked" else "Accepted")


async def test_only_acceptance_is_kept_of_a_card(room: Room):
    link_id = await room.connect(Role.BILLING)
    until = room.ctx.clock.now() + timedelta(hours=1)
    await room.work(serving.judged, link_id, "a-b", Verdict.ACCEPTED, until, "PARENT")
    found = await room.read(store.find_verdict, link_id, "AB")
    assert (found.expires_at, found.parent_tag, found.at) == (until, "PARENT", room.ctx.clock.now())
    await room.work(serving.judged, link_id, "AB", Verdict.BLOCKED, None, None)
    assert await room.read(store.find_verdict, link_id, "AB") is None

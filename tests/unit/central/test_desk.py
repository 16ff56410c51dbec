"""The desk with the real rooms, on both databases: what chargers say is stored, then replied to."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from tests.factories import make_card, make_charger, make_location
from voltyard.central import desk
from voltyard.central.desk import ACTOR, HANDLERS, Desk, hear
from voltyard.chargers import commands
from voltyard.chargers import service as chargers
from voltyard.chargers.effects import Effect
from voltyard.chargers.tables import calls as calls_table
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import ANSWER_BUDGET_S, UNKNOWN_CHARGERS_HELD_MAX
from voltyard.kernel.settings import Settings
from voltyard.speech import (
    Answer,
    Asked,
    Beat,
    Booted,
    CallStatus,
    CallTraced,
    ConnectorStatus,
    Decided,
    Ended,
    Entry,
    GatewayStarted,
    Gone,
    Heard,
    Hello,
    Judged,
    MayCharge,
    Metered,
    Reading,
    Registration,
    Replied,
    Said,
    SecurityTold,
    Started,
    StatusTold,
    Superseded,
    Thanked,
    Thanks,
    Ticked,
    Told,
    Traced,
    TracedNumbers,
    Trigger,
    VendorReply,
    VendorTold,
    Verdict,
    Welcome,
    Welcomed,
)
from voltyard.transactions import service as transactions


@asynccontextmanager
async def open_desk(ctx: Context) -> AsyncIterator[Desk]:
    serving = Desk(ctx)
    is_ready = asyncio.Event()
    task = asyncio.create_task(serving.run(is_ready.set))
    await is_ready.wait()
    yield serving
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def served(ctx: Context) -> AsyncIterator[Context]:
    async with open_desk(ctx):
        yield ctx


def hello(identity: str, *, password: str | None = None, gateway: str = "gw:1") -> Hello:
    secret = None if password is None else base64.b64encode(password.encode()).decode()
    return Hello(identity, new_id("soc"), gateway, "ocpp1.6", "192.0.2.1", secret)


async def knock(ctx: Context, what: Hello) -> Welcome:
    return await ctx.bus.request("central.hello", what, Welcome, timeout_s=10)


def heard(charger_id: str, said: Said, *, action: str = "Anything", session_id: str = "") -> Heard:
    return Heard(charger_id, session_id or new_id("soc"), "m", action, "{}", said)


async def say(ctx: Context, charger_id: str, said: Said, action: str = "Anything"):
    what = heard(charger_id, said, action=action)
    return (await ctx.bus.request("central.heard", what, Replied, timeout_s=10)).reply


async def see(ctx: Context, charger_id: str):
    return await ctx.db.read(ACTOR, chargers.get, charger_id)


async def test_a_registered_charger_comes_in_and_is_online_until_it_goes(served):
    charger = await make_charger(served, identity="CP-1", password="secret")
    assert (await knock(served, hello("CP-1", password="wrong"))).entry is Entry.WRONG_PASSWORD
    assert (await knock(served, hello("CP-1"))).entry is Entry.WRONG_PASSWORD
    assert not (await see(served, charger.id)).is_online
    coming = hello("cp-1", password="secret")
    assert await knock(served, coming) == Welcome(Entry.WELCOME, charger.id)
    assert (await see(served, charger.id)).is_online
    gone = Gone(charger.id, coming.session_id, "cut")
    await served.bus.request("central.gone", gone, Thanked, timeout_s=10)
    assert not (await see(served, charger.id)).is_online


async def test_the_end_of_an_old_socket_does_not_mark_the_new_one_offline(served):
    charger = await make_charger(served, identity="CP-1")
    news = await served.bus.listen("charger.*.superseded", queue_max=10)
    old, new = hello("CP-1"), hello("CP-1")
    await knock(served, old)
    await knock(served, new)
    await served.bus.request("central.gone", Gone(charger.id, old.session_id, ""), Thanked, timeout_s=10)
    assert (await see(served, charger.id)).is_online
    told = [(await news.next())[1] for _ in range(2)]
    assert told == [Superseded(charger.id, old.session_id), Superseded(charger.id, new.session_id)]


async def test_many_come_at_once_also_two_sockets_of_one(served):
    for number in range(5):
        await make_charger(served, identity=f"CP-{number}")
    welcomes = await asyncio.gather(*(knock(served, hello(f"CP-{number % 5}")) for number in range(40)))
    assert {welcome.entry for welcome in welcomes} == {Entry.WELCOME}
    assert len({welcome.charger_id for welcome in welcomes}) == 5


async def test_an_unknown_charger_is_held_once_and_told_to_wait(served):
    one, two = await asyncio.gather(knock(served, hello("NEW")), knock(served, hello("new")))
    assert one == two
    reply = await say(served, one.charger_id, Booted("V", "M"))
    assert reply == Welcomed(Registration.PENDING, served.clock.now(), 60)
    assert (await see(served, one.charger_id)).identity == "NEW"


async def test_an_unknown_charger_is_unknown_where_that_is_wanted(ctx):
    settings = Settings(data=ctx.settings.data, secret="s", unknown_chargers="refuse")
    refusing = Context(ctx.db, ctx.bus, ctx.clock, ctx.files, settings)
    async with open_desk(refusing):
        assert await knock(ctx, hello("NEW")) == Welcome(Entry.UNKNOWN)


async def test_no_more_unknown_chargers_are_held_than_the_bound(sqlite_ctx):
    ctx = sqlite_ctx

    def fill(work):
        key = ctx.settings.secret_key()
        many = [hello(f"N-{number}") for number in range(UNKNOWN_CHARGERS_HELD_MAX)]
        return chargers.connect(work, many, key=key, is_holding=True)

    await ctx.db.work(ACTOR, fill)
    async with open_desk(ctx):
        assert (await knock(ctx, hello("ONE-MORE"))).entry is Entry.FULL
        assert (await knock(ctx, hello("N-1"))).entry is Entry.WELCOME


async def test_a_gateway_that_starts_holds_nobody(served):
    charger = await make_charger(served, identity="CP-1")
    other = await make_charger(served, identity="CP-2")
    await knock(served, hello("CP-1", gateway="gw:1"))
    await knock(served, hello("CP-2", gateway="gw:2"))
    await served.bus.request("central.gateway", GatewayStarted("gw:1"), Thanked, timeout_s=10)
    assert not (await see(served, charger.id)).is_online
    assert (await see(served, other.id)).is_online


async def test_a_charge_from_boot_to_end(served):
    location = await make_location(served)
    charger = await make_charger(served, location.id)
    await make_card(served, location.id, id_tag="ABCD1234")
    now = served.clock.now()
    assert await say(served, charger.id, Booted("V", "M")) == Welcomed(Registration.ACCEPTED, now, 300)
    assert await say(served, charger.id, StatusTold(1, ConnectorStatus.PREPARING)) == Thanks()
    assert (await say(served, charger.id, MayCharge("ab:cd:12:34"))).verdict is Verdict.ACCEPTED
    started = await say(served, charger.id, Started(1, "ABCD1234", 100, now))
    assert (started.verdict, started.number > 0) == (Verdict.ACCEPTED, True)
    assert await say(served, charger.id, Started(1, "ABCD1234", 100, now)) == started
    assert await say(
        served, charger.id, Metered(1, started.number, (Reading(now, energy_wh=150.0),))
    ) == Thanks(started.number)
    assert await say(served, charger.id, Ended(started.number, 300, now, "Local")) == Judged(
        number=started.number
    )
    (found,) = await served.db.read(ACTOR, transactions.list_transactions, charger_id=charger.id)
    assert (found.energy_wh, found.is_active, found.stop_reason) == (200, False, "Local")
    shown = await see(served, charger.id)
    assert (shown.vendor, shown.connectors[0].status) == ("V", ConnectorStatus.PREPARING)
    assert shown.booted_at == now


async def test_one_batch_holds_every_kind_and_replies_keep_their_order(ctx):
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag="GOOD")
    many = [await make_charger(ctx, location.id) for _ in range(len(HANDLERS) + 2)]
    said = [
        MayCharge("GOOD"),
        Beat(),
        Started(1, "BAD", 5),
        VendorTold("com.example", "x", "y"),
        MayCharge("BAD"),
        StatusTold(1, ConnectorStatus.FAULTED),
        Metered(1, None, ()),
        Ended(-1, 7),
        Booted("V", "M"),
        Started(1, "GOOD", 5),
        desk.FirmwareTold("Installed"),
        desk.DiagnosticsTold("Uploaded"),
        SecurityTold("TamperDetectionActivated"),
        desk.SigningAsked("-----BEGIN"),
        desk.LogTold("Uploaded", 5),
        desk.SignedFirmwareTold("Installed", 5),
    ]
    replies = await ctx.db.work(
        ACTOR, hear, [heard(charger.id, what) for charger, what in zip(many, said, strict=True)]
    )
    assert all(each.deferred is None for each in replies), "no Billing operator has a say"
    replies = [each.replied for each in replies]
    numbers = [each.number for each in replies]
    assert numbers == sorted(set(numbers))
    replies = [each.reply for each in replies]
    assert [type(reply) for reply in replies] == [
        Judged, Ticked, Judged, VendorReply, Judged, Thanks, Thanks, Judged, Welcomed, Judged, Thanks, Thanks,
        Thanks, Decided, Thanks, Thanks,
    ]  # fmt: skip
    verdicts = [replies[place].verdict for place in (0, 2, 4, 9)]
    assert verdicts == [Verdict.ACCEPTED, Verdict.INVALID, Verdict.INVALID, Verdict.ACCEPTED]
    assert replies[2].number != replies[9].number
    assert replies[3] == VendorReply("UnknownVendorId")
    assert replies[13] == Decided(is_accepted=False)


async def test_every_saying_has_a_handler():
    assert set(HANDLERS) == set(Said.__args__)


async def test_whoever_speaks_was_seen_and_what_it_said_is_in_the_log(served):
    charger = await make_charger(served, identity="CP-1")
    await knock(served, hello("CP-1"))
    served.clock.advance(60)
    await say(served, charger.id, Beat(), "Heartbeat")
    await say(served, charger.id, VendorTold("v"), "DataTransfer")
    await say(served, charger.id, SecurityTold("SettingSystemTime"), "SecurityEventNotification")
    shown = await see(served, charger.id)
    assert shown.seen_at == shown.connected_at + timedelta(seconds=60)
    rows = await served.db.read(
        ACTOR, lambda work: work.rows(calls_table.select().order_by(calls_table.c.number))
    )
    assert [row.action for row in rows] == ["Heartbeat", "DataTransfer", "SecurityEventNotification"]


async def test_a_saying_of_a_charger_that_does_not_exist_hurts_only_itself(served):
    charger = await make_charger(served)
    results = await asyncio.gather(
        say(served, charger.id, StatusTold(1, ConnectorStatus.AVAILABLE)),
        say(served, new_id("chg"), StatusTold(1, ConnectorStatus.AVAILABLE)),
        say(served, charger.id, Beat()),
        return_exceptions=True,
    )
    assert results[0] == Thanks()
    assert isinstance(results[1], VoltyardError)
    assert isinstance(results[2], Ticked)


class SlowDatabase:
    """A database that works once it is let."""

    def __init__(self, database: Database) -> None:
        self.is_sqlite = database.is_sqlite
        self._work = database.work
        self.is_inside, self.gate = asyncio.Event(), asyncio.Event()

    async def work(self, *args, **kwargs):
        self.is_inside.set()
        await self.gate.wait()
        return await self._work(*args, **kwargs)


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_welcome_that_nobody_waits_for_leaves_nobody_online(ctx, how):
    charger = await make_charger(ctx, identity="CP-1")
    slow = SlowDatabase(ctx.db)
    async with open_desk(Context(slow, ctx.bus, ctx.clock, ctx.files, ctx.settings)):
        knocking = asyncio.create_task(knock(ctx, hello("CP-1")))
        await slow.is_inside.wait()
        if how == "cancelled":
            knocking.cancel()
        else:
            ctx.clock.advance(ANSWER_BUDGET_S)
        slow.gate.set()
        async with asyncio.timeout(10):
            while True:
                shown = await see(ctx, charger.id)
                if shown.disconnected_at is not None:
                    break
        assert not shown.is_online
        with suppress(asyncio.CancelledError):
            await knocking


async def test_what_a_gateway_saw_is_in_the_log_under_the_numbers_that_it_is_told(served):
    charger = await make_charger(served, identity="CP-1")
    traced = CallTraced(
        charger.id, "soc_1", "vy-1", is_outward=True, origin="user:usr_1", command_id="", action="Reset",
        payload="{}", at=served.clock.now(), status=CallStatus.PENDING,
    )  # fmt: skip
    told = await served.bus.request("central.traced", Traced((traced, traced)), TracedNumbers, timeout_s=5)
    assert len(told.numbers) == 2
    assert told.numbers[0] < told.numbers[1]


async def test_what_a_command_waits_for_is_noticed_whatever_else_is_said(ctx):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id, identity="CP-1")

    async def accept(_asked: Asked) -> Told:
        return Told(Answer(is_accepted=True, status="Accepted", payload="{}"), "TriggerMessage", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, accept)
    given = await commands.ask(ctx, ACTOR, charger.id, Trigger("Heartbeat"))
    beat = Heard(charger.id, "soc_1", "1", "Heartbeat", "{}", Beat())
    await ctx.db.work(ACTOR, hear, [beat])
    assert (await ctx.db.read(ACTOR, commands.get, given.id)).effect is Effect.HAPPENED

"""Connecting, changing, swapping and disconnecting operators."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import (
    PIN,
    SYSTEM,
    make_charger,
    make_location,
    make_member,
    make_transaction,
    make_user,
)
from tests.unit.operators.office import URL, make_link, make_linked, say
from voltyard.chargers import service as chargers
from voltyard.chargers.events import ChargerMoved
from voltyard.kernel import jobs
from voltyard.kernel.errors import Forbidden, Invalid, NotFound, Unserved
from voltyard.kernel.limits import LINKS_OF_CHARGER_MAX
from voltyard.kernel.seal import unseal
from voltyard.locations.access import Level
from voltyard.operators import service, serving
from voltyard.operators.events import Attempted, TrialAsked, Tried
from voltyard.operators.service import BillingTaken, TooManyOperators, Wanted
from voltyard.speech import Fallback, Role


async def jobs_of(ctx) -> list[str]:
    return [job.kind for job in await ctx.db.work(SYSTEM, jobs.claim, "test", most=50)]


async def test_a_link_begins_at_the_end_of_the_log_and_shows_what_waits(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    await ctx.db.work(SYSTEM, say, charger.id, "StatusNotification")
    link = await make_link(ctx, charger)
    assert (link.state, link.waiting, link.identity, link.fallback) == (
        "connecting", 0, charger.identity, Fallback.REFUSE,
    )  # fmt: skip
    await ctx.db.work(SYSTEM, say, charger.id, "StatusNotification")
    await ctx.db.work(SYSTEM, say, charger.id, "Heartbeat")
    shown = await ctx.db.read(SYSTEM, service.get, link.id)
    assert (shown.waiting, shown.waiting_since_at) == (1, ctx.clock.now())


async def test_a_second_billing_operator_is_refused_until_the_two_are_swapped(ctx):
    charger, first = await make_linked(ctx, Role.BILLING)
    with pytest.raises(BillingTaken):
        await make_link(ctx, charger, Role.BILLING)
    second = await make_link(ctx, charger, Role.OBSERVER)
    with pytest.raises(BillingTaken):
        await ctx.db.work(SYSTEM, service.change, second.id, Wanted(role=Role.BILLING), ctx.settings)
    with pytest.raises(Invalid):
        await ctx.db.work(SYSTEM, service.make_billing, second.id, former=Role.BILLING)
    swapped = await ctx.db.work(SYSTEM, service.make_billing, second.id, former=Role.DATA_CONTROL)
    assert swapped.role is Role.BILLING
    assert (await ctx.db.read(SYSTEM, service.get, first.id)).role is Role.DATA_CONTROL
    assert (await ctx.db.work(SYSTEM, service.make_billing, second.id)).role is Role.BILLING
    what = [each.what for each in await ctx.db.read(SYSTEM, service.history, second.id)]
    assert what == ["swapped", "connected"]
    assert "Attune" in await jobs_of(ctx), "the charger forgets the cards of the party before"


async def test_secrets_are_sealed_and_forgotten_when_the_address_leads_to_another_host(ctx):
    charger, link = await make_linked(ctx, password="opensesame")
    assert link.has_password
    found = await ctx.db.read(SYSTEM, serving.find, link.id)
    key = ctx.settings.secret_key()
    assert unseal(found.password_sealed, key, service.seal_of(link.id, "password")) == b"opensesame"
    same = await ctx.db.work(SYSTEM, service.change, link.id, Wanted(url=f"{URL}/other"), ctx.settings)
    assert same.has_password
    other = Wanted(url="wss://elsewhere.example.com/ocpp")
    assert not (await ctx.db.work(SYSTEM, service.change, link.id, other, ctx.settings)).has_password
    again = Wanted(url=URL, password="0a0b", is_password_hex=True)
    assert (await ctx.db.work(SYSTEM, service.change, link.id, again, ctx.settings)).has_password
    found = await ctx.db.read(SYSTEM, serving.find, link.id)
    assert unseal(found.password_sealed, key, service.seal_of(link.id, "password")) == b"\x0a\x0b"
    gone = await ctx.db.work(SYSTEM, service.change, link.id, Wanted(password=""), ctx.settings)
    assert not gone.has_password
    told = "".join(each.detail for each in await ctx.db.read(SYSTEM, service.history, link.id))
    assert "opensesame" not in told
    assert "v1." not in told
    assert charger.id == link.charger_id


@pytest.mark.parametrize(
    "over",
    [
        {"url": "ws://ocpp.example.com"},
        {"url": "wss://user:word@example.com"},
        {"url": "wss://127.0.0.1/ocpp"},
        {"url": ""},
        {"role": None},
        {"name": "\n"},
        {"identity": "a/b"},
        {"username": "a:b"},
        {"password": "x" * 41},
        {"password": "xyz", "is_password_hex": True},
        {"consents": ("everything",)},
        {"tag_alias": "x" * 21},
    ],
)
async def test_what_cannot_work_is_refused_in_words(sqlite_ctx, over):
    charger = await make_charger(sqlite_ctx, (await make_location(sqlite_ctx)).id)
    with pytest.raises(Invalid) as refused:
        await make_link(sqlite_ctx, charger, **over)
    assert refused.value.detail
    assert await sqlite_ctx.db.read(SYSTEM, service.list_links, charger_id=charger.id) == []


async def test_who_sees_and_changes_operators(ctx):
    charger, link = await make_linked(ctx)
    location_id = charger.location_id
    full = await make_member(ctx, location_id, Level.FULL)
    sensitive = await make_member(ctx, location_id, Level.SENSITIVE)
    basic = await make_member(ctx, location_id, Level.BASIC)
    foreign = await make_user(ctx)
    ended = await make_member(ctx, location_id, Level.FULL, until_at=ctx.clock.now())
    for person in (full, sensitive):
        assert (await ctx.db.read(person.actor, service.get, link.id)).id == link.id
        assert len(await ctx.db.read(person.actor, service.list_links)) == 1
    with pytest.raises(Forbidden):
        await ctx.db.read(basic.actor, service.get, link.id)
    assert await ctx.db.read(basic.actor, service.list_links) == []
    for person in (foreign, ended):
        with pytest.raises(NotFound):
            await ctx.db.read(person.actor, service.get, link.id)
        assert await ctx.db.read(person.actor, service.list_links) == []
    for person in (sensitive, basic):
        with pytest.raises(Forbidden):
            await ctx.db.work(person.actor, service.disconnect, link.id)
    await ctx.db.work(full.actor, service.disconnect, link.id)
    with pytest.raises(NotFound):
        await ctx.db.read(full.actor, service.get, link.id)


async def test_a_charger_has_room_for_a_few_operators(sqlite_ctx):
    charger, _ = await make_linked(sqlite_ctx)
    for _ in range(LINKS_OF_CHARGER_MAX - 1):
        await make_link(sqlite_ctx, charger)
    with pytest.raises(TooManyOperators):
        await make_link(sqlite_ctx, charger)


async def test_an_operator_that_comes_in_mid_session_may_be_told_it_from_its_start(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    number = await make_transaction(ctx, charger)
    began = await ctx.db.work(SYSTEM, say, charger.id, "StartTransaction", "{}", number)
    await ctx.db.work(SYSTEM, say, charger.id, "MeterValues", "{}", number)
    late = await make_link(ctx, charger)
    told = await make_link(ctx, charger, is_running_told=True)
    assert (await ctx.db.read(SYSTEM, serving.find, late.id)).cursor > began
    found = await ctx.db.read(SYSTEM, serving.find, told.id)
    assert found.cursor == began - 1 < found.attached_number
    known = await ctx.db.read(SYSTEM, serving.known, told.id, [number])
    assert known[number].state == "pending"


async def test_links_end_with_the_stay_of_their_charger(ctx):
    charger, link = await make_linked(ctx)
    await ctx.db.work(SYSTEM, chargers.unlink, charger.location_id, charger.id)
    assert await ctx.db.read(SYSTEM, serving.find, link.id) is None, "at once, whatever the job does"
    await service.charger_moved(ctx, ChargerMoved(charger.id))
    other = await make_location(ctx)
    await chargers.claim(ctx, SYSTEM, other.id, identity=charger.identity, pin=PIN)
    with pytest.raises(NotFound):
        await ctx.db.read(SYSTEM, service.get, link.id)
    await chargers.claim(ctx, SYSTEM, other.id, identity=charger.identity, pin=PIN)
    assert await ctx.db.read(SYSTEM, service.list_links, charger_id=charger.id) == []


async def test_a_comparison_tells_what_an_operator_saw_and_would_refuse(ctx):
    charger, link = await make_linked(ctx)
    number = await make_transaction(ctx, charger)
    learned = serving.Learned(number, "refused", 9_001, "Invalid", "04A1B2C3", ctx.clock.now())
    told = serving.Record(link.id, charger.id, 1, call_number=1, action="StartTransaction", learned=learned)
    await ctx.db.work(serving.ACTOR, serving.record, [told])
    found = await ctx.db.read(SYSTEM, service.compare, link.id)
    assert found.refused_tags == ("04A1B2C3",)
    assert [(each.number, each.theirs, each.verdict) for each in found.transactions] == [
        (number, 9_001, "Invalid")
    ]


async def test_a_test_sends_no_secret_to_an_address_it_was_not_entered_for(ctx):
    charger, link = await make_linked(ctx, password="opensesame")
    asked: list[TrialAsked] = []

    async def test(what: TrialAsked) -> Tried:
        asked.append(what)
        return Tried((Attempted("open", is_ok=True, why="the connection is open"),))

    with pytest.raises(Unserved):
        await service.try_out(ctx, SYSTEM, charger.id, Wanted(), link.id)
    served = await ctx.bus.serve("lines.test", TrialAsked, test)
    done = await service.try_out(ctx, SYSTEM, charger.id, Wanted(), link.id)
    assert done.attempts[0].is_ok
    elsewhere = Wanted(url="wss://elsewhere.example.com")
    await service.try_out(ctx, SYSTEM, charger.id, elsewhere, link.id)
    await served.stop()
    assert [bool(each.password_sealed) for each in asked] == [True, False]
    ctx.clock.advance(timedelta(minutes=1).total_seconds())
    other = await make_charger(ctx, charger.location_id)
    with pytest.raises(NotFound):
        await service.try_out(ctx, SYSTEM, other.id, Wanted(), link.id)


async def test_a_former_owners_running_charge_is_nobody_elses_business(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    number = await make_transaction(ctx, charger)
    await ctx.db.work(SYSTEM, say, charger.id, "StartTransaction", "{}", number)
    await ctx.db.work(SYSTEM, chargers.unlink, charger.location_id, charger.id)
    other = await make_location(ctx)
    mine = await chargers.claim(ctx, SYSTEM, other.id, identity=charger.identity, pin=PIN)
    link = await make_link(ctx, mine, is_running_told=True)
    found = await ctx.db.read(SYSTEM, serving.find, link.id)
    assert found.cursor == found.attached_number
    assert await ctx.db.read(SYSTEM, serving.known, link.id, [number]) == {}


async def test_an_operator_that_is_over_leaves_no_secrets_and_no_closed_connectors(ctx):
    _, link = await make_linked(ctx, password="opensesame")
    await ctx.db.work(SYSTEM, serving.set_inoperative, link.id, 1, is_operative=False)
    await ctx.db.work(SYSTEM, service.disconnect, link.id)
    row = await ctx.db.read(SYSTEM, service.store.find_link, link.id)
    assert (row.password_sealed, row.inoperative, row.is_over) == (None, "", True)
    assert "FreeConnectors" in await jobs_of(ctx)


async def test_who_only_watches_from_now_on_closes_no_connector_any_more(ctx):
    _, link = await make_linked(ctx)
    await ctx.db.work(SYSTEM, serving.set_inoperative, link.id, 1, is_operative=False)
    await ctx.db.work(SYSTEM, service.change, link.id, Wanted(role=Role.OBSERVER), ctx.settings)
    assert {"FreeConnectors", "Compose"} <= set(await jobs_of(ctx))

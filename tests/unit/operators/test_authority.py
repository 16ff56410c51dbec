"""Who decides about cards, with the real desk and lines, and Billing operators that answer or do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.factories import SYSTEM
from tests.unit.lines.scene import CARD, STRANGER, Scene, closed_office, office, scene_of
from voltyard.chargers import parameters
from voltyard.kernel import jobs
from voltyard.kernel.context import Context
from voltyard.kernel.limits import PREAUTHORISED_S, VERDICT_DAYS
from voltyard.lines import line
from voltyard.local_lists import service as local_lists
from voltyard.operators import authority, serving
from voltyard.operators.authority import Deferred
from voltyard.operators.events import EndRefused
from voltyard.sim.backoffice import Backoffice
from voltyard.speech import (
    Fallback,
    ForgetCards,
    Judged,
    Role,
    StopCharging,
    VendorReply,
    Verdict,
)
from voltyard.transactions import service as transactions

ACCEPTED, INVALID, BLOCKED = Verdict.ACCEPTED, Verdict.INVALID, Verdict.BLOCKED
DAY_S = 24 * 3_600


@pytest.fixture
async def scene(sqlite_ctx: Context) -> AsyncIterator[Scene]:
    async with scene_of(sqlite_ctx) as found:
        yield found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let operators decide at once or not at all."""
    monkeypatch.setattr(line, "DELIVER_S", 0.2)
    monkeypatch.setattr(authority, "AUTHORISE_BUDGET_S", 0.4)


async def may_charge(scene: Scene, tag: str) -> Verdict | None:
    return (await scene.say("Authorize", idTag=tag)).verdict


async def verdict_of(scene: Scene, number: int) -> str:
    """Return what stands at a transaction."""
    rows = await scene.ctx.db.read(SYSTEM, transactions.list_transactions)
    return next(row.verdict for row in rows if row.number == number)


def asked(scene: Scene, back: Backoffice, action: str) -> int:
    return len(scene.seen(back).heard(action))


async def test_without_a_billing_operator_the_cards_of_the_location_count(scene: Scene):
    async with office(accepted_tags=frozenset()) as back:
        await scene.online(back, Role.DATA_CONTROL)
        assert await may_charge(scene, CARD) is ACCEPTED
        assert await may_charge(scene, STRANGER) is INVALID
        started = await scene.start()
        assert started.verdict is ACCEPTED
        assert asked(scene, back, "Authorize") == 0


async def test_who_bills_decides_about_cards_and_starts(scene: Scene):
    async with office(accepted_tags=frozenset((STRANGER,)), verdict_on_others="Blocked") as back:
        link_id = await scene.online(back)
        assert await may_charge(scene, STRANGER) is ACCEPTED
        assert await may_charge(scene, CARD) is BLOCKED, "the location's own card counts no more"
        assert asked(scene, back, "Authorize") == 2
        good = await scene.start(STRANGER)
        bad = await scene.start(CARD, connector=2)
        assert (good.verdict, bad.verdict) == (ACCEPTED, BLOCKED)
        assert await verdict_of(scene, good.number) == "Accepted"
        assert await verdict_of(scene, bad.number) == "Blocked"
        assert [each.verdict for each in await scene.numbers(link_id)] == ["Accepted", "Blocked"]
        await scene.work()
        assert scene.asks(StopCharging) == [], "the charger ends it by itself: it has heard the verdict"
        again = await scene.start(CARD, connector=2)
        assert again == bad
        assert asked(scene, back, "StartTransaction") == 2


@pytest.mark.parametrize(
    ("fallback", "card", "stranger"),
    [
        (Fallback.REFUSE, INVALID, INVALID),
        (Fallback.LOCATION_CARDS, ACCEPTED, INVALID),
        (Fallback.ALL, ACCEPTED, ACCEPTED),
    ],
)
@pytest.mark.parametrize("how", ["away", "silent", "errors", "nonsense"])
async def test_while_it_does_not_decide_the_rule_of_the_owner_counts(
    scene: Scene, short: None, how, fallback, card, stranger
):
    both = frozenset(("Authorize", "StartTransaction"))
    manner: dict[str, Any] = {
        "away": {},
        "silent": {"silent": both},
        "errors": {"errors": dict.fromkeys(both, "InternalError")},
        "nonsense": {"nonsense": both},
    }[how]
    back = closed_office(**manner)
    async with back:
        link_id = await scene.online(back, fallback=fallback)
        if how == "away":
            back.behave(refuses_with=503)
            back.hang_up(scene.charger.identity)
            await scene.reach(link_id, "backing_off")
        assert await may_charge(scene, CARD) is card
        assert await may_charge(scene, STRANGER) is stranger
        started = await scene.start(STRANGER)
        assert started.verdict is stranger
        assert await verdict_of(scene, started.number) == stranger.value


async def test_what_it_accepted_before_counts_while_it_is_silent_for_some_days(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        assert await may_charge(scene, STRANGER) is ACCEPTED
        back.behave(refuses_with=503)
        back.hang_up(scene.charger.identity)
        await scene.reach(link_id, "backing_off")
        assert await may_charge(scene, STRANGER.lower()) is ACCEPTED
        assert await may_charge(scene, CARD) is INVALID
        scene.wait(VERDICT_DAYS * DAY_S + 1)
        assert await may_charge(scene, STRANGER) is INVALID


async def test_a_stop_puts_no_verdict_of_the_location_into_the_cache_of_the_charger(scene: Scene):
    async with office(accepted_tags=frozenset((STRANGER,))) as back:
        await scene.online(back, fallback=Fallback.LOCATION_CARDS)
        number = (await scene.start(STRANGER)).number
        stopped = await scene.stop(number, idTag=STRANGER)
        assert stopped == Judged(ACCEPTED, number=number)
        number = (await scene.start(CARD)).number
        stopped = await scene.stop(number, idTag=CARD)
        assert stopped == Judged(number=number), "the operator has refused the location's own card"
        assert asked(scene, back, "Authorize") == 0, "a stop waits for nobody"


async def test_what_it_refuses_is_forgotten_as_accepted(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        assert await may_charge(scene, STRANGER) is ACCEPTED
        back.behave(accepted_tags=frozenset())
        assert await may_charge(scene, STRANGER) is INVALID
        back.behave(refuses_with=503)
        back.hang_up(scene.charger.identity)
        await scene.reach(link_id, "backing_off")
        assert await may_charge(scene, STRANGER) is INVALID


async def test_an_acceptance_counts_no_longer_than_it_was_meant_to(scene: Scene):
    back = closed_office()
    async with back:
        link_id = await scene.online(back)
    await scene.reach(link_id, "backing_off")
    until = scene.clock.now().replace(hour=13)
    await scene.ctx.db.work(serving.ACTOR, serving.judged, link_id, STRANGER, ACCEPTED, until, "PARENT")
    found = await scene.say("Authorize", idTag=STRANGER)
    assert found == Judged(ACCEPTED, None, until, "PARENT")
    scene.wait(3_600)
    assert await may_charge(scene, STRANGER) is INVALID


async def test_a_start_that_it_asked_for_needs_its_word_no_more(scene: Scene, short: None):
    async with office(silent=frozenset(("Authorize", "StartTransaction"))) as back:
        link_id = await scene.online(back)
        answer = await scene.ask(back, "RemoteStartTransaction", idTag=STRANGER, connectorId=1)
        assert answer == {"status": "Accepted"}
        assert await may_charge(scene, STRANGER) is ACCEPTED
        assert asked(scene, back, "Authorize") == 0
        started = await scene.start(STRANGER)
        assert started.verdict is ACCEPTED
        assert asked(scene, back, "StartTransaction") == 1, "it is told all the same"
        assert await scene.start(STRANGER) == started, "said again, it is the same start"
        assert await may_charge(scene, STRANGER) is INVALID, "the next one is another"
        assert (await scene.row(link_id)).state == "online"


async def test_a_start_that_it_asked_for_long_ago_is_forgotten(scene: Scene, short: None):
    async with office(silent=frozenset(("Authorize",))) as back:
        await scene.online(back)
        await scene.ask(back, "RemoteStartTransaction", idTag=STRANGER, connectorId=1)
        scene.wait(PREAUTHORISED_S + 1)
        assert await may_charge(scene, STRANGER) is INVALID


async def test_a_start_that_the_charger_refused_allows_nothing(scene: Scene):
    async with office(accepted_tags=frozenset()) as back:
        await scene.online(back)
        scene.words["StartCharging"] = "Rejected"
        answer = await scene.ask(back, "RemoteStartTransaction", idTag=STRANGER)
        assert answer == {"status": "Rejected"}
        assert await may_charge(scene, STRANGER) is INVALID
        assert asked(scene, back, "Authorize") == 1


async def test_an_answer_that_comes_late_but_in_time_counts(scene: Scene):
    async with office(delay_s=0.3, accepted_tags=frozenset((STRANGER,))) as back:
        link_id = await scene.connect(back)
        await scene.reach(link_id, "online")
        await scene.told(link_id)
        assert (await scene.start(STRANGER)).verdict is ACCEPTED
        assert (await scene.start(CARD, connector=2)).verdict is INVALID
        await scene.work()
        assert scene.asks(StopCharging) == []


@pytest.mark.parametrize("how", ["running", "told to go on", "ended"])
async def test_a_refusal_that_comes_after_the_budget_ends_what_runs(scene: Scene, monkeypatch, how):
    monkeypatch.setattr(line, "DELIVER_S", 0.05)
    async with office(delay_s=0.3, accepted_tags=frozenset()) as back:
        link_id = await scene.connect(back, fallback=Fallback.ALL)
        await scene.reach(link_id, "online")
        await scene.told(link_id)
        await scene.ctx.db.work(serving.ACTOR, serving.judged, link_id, STRANGER, ACCEPTED, None, None)
        if how == "told to go on":
            key = {"key": "StopTransactionOnInvalidId", "readonly": False, "value": "False"}
            scene.payloads["GetKeys"] = {"configurationKey": [key]}
            await parameters.read(scene.ctx, SYSTEM, scene.charger.id)
        started = await scene.start(STRANGER)
        assert started.verdict is ACCEPTED
        await scene.told(link_id)
        if how == "ended":
            await scene.stop(started.number)
        await scene.work()
        assert scene.asks(StopCharging) == ([StopCharging(started.number)] if how == "running" else [])
        assert await verdict_of(scene, started.number) == "Invalid"
        # Nor does an older acceptance of the card count any more.
        back.behave(refuses_with=503)
        back.hang_up(scene.charger.identity)
        await scene.reach(link_id, "backing_off")
        await scene.change(link_id, fallback=Fallback.REFUSE)
        assert await may_charge(scene, STRANGER) is INVALID


async def test_a_duty_to_end_for_a_link_that_is_gone_is_none(scene: Scene):
    number = (await scene.start()).number
    duty = EndRefused("link_01JD00000000000000000000AA", scene.charger.id, number)
    await scene.ctx.db.work(SYSTEM, lambda work: jobs.enqueue(work, duty))
    await scene.work()
    assert scene.asks(StopCharging) == []


async def test_a_vendors_message_of_the_charger_is_answered_by_who_bills(scene: Scene, short: None):
    async with office() as back, office() as other:
        await scene.online(back, consents=("vendor",))
        watching = await scene.online(other, Role.OBSERVER)
        reply = await scene.say("DataTransfer", vendorId="com.example", data="x")
        assert reply == VendorReply("UnknownVendorId")
        assert asked(scene, back, "DataTransfer") == 1
        back.behave(silent=frozenset(("DataTransfer",)))
        reply = await scene.say("DataTransfer", vendorId="com.example", data="y")
        assert reply == VendorReply("UnknownVendorId")
        await scene.told(watching)
        assert asked(scene, other, "DataTransfer") == 0, "it was not allowed to hear those"


async def test_a_vendors_reply_counts_where_it_has_one(sqlite_ctx: Context):
    deferred = Deferred("link_01JD00000000000000000000AA", "loc_01JD00000000000000000000AA", "", None)

    async def answer(_asked: Any) -> authority.Verdicted:
        return authority.Verdicted(vendor=VendorReply("Accepted", "z"))

    own = VendorReply("UnknownVendorId")
    assert await authority.vendor_reply(sqlite_ctx, deferred, own, 1) == own, "nobody serves the line"
    await sqlite_ctx.bus.serve(f"line.{deferred.link_id}.deliver", authority.Deliver, answer)
    assert await authority.vendor_reply(sqlite_ctx, deferred, own, 1) == VendorReply("Accepted", "z")


async def test_a_line_that_fails_decides_nothing(sqlite_ctx: Context):
    deferred = Deferred("link_01JD00000000000000000000AA", "loc_01JD00000000000000000000AA", CARD, None)

    async def answer(_asked: Any) -> authority.Verdicted:
        raise RuntimeError

    await sqlite_ctx.bus.serve(f"line.{deferred.link_id}.authorise", authority.Authorise, answer)
    assert await authority.judge(sqlite_ctx, deferred, Judged(BLOCKED), 1) == Judged(BLOCKED)


async def test_the_charger_forgets_the_cards_of_the_one_who_decided_before(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.work(after_s=5)
        assert scene.asks(ForgetCards)
        assert await author(scene) == link_id
        scene.asked.clear()
        await scene.disconnect(link_id)
        await scene.work(after_s=5)
        assert scene.asks(ForgetCards)
        assert await author(scene) is None


async def author(scene: Scene) -> str | None:
    row = await scene.ctx.db.read(
        SYSTEM, lambda work: local_lists.store.find_lists(work, [scene.charger.id])[scene.charger.id]
    )
    return row.author_id

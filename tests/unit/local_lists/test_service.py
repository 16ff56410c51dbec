"""Each charger's list follows the cards of its location, whatever the charger can do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import (
    PIN,
    SYSTEM,
    make_card,
    make_charger,
    make_location,
    make_member,
    make_user,
    place_of,
)
from tests.unit.local_lists.peer import Peer
from voltyard.cards import service as cards
from voltyard.cards.events import CardsChanged, CardsWithdrawn
from voltyard.chargers import service as chargers
from voltyard.chargers.events import ChargerMoved
from voltyard.kernel import jobs
from voltyard.kernel.errors import Forbidden, NotFound
from voltyard.kernel.wire import decode
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.local_lists.service import ListState, Taken
from voltyard.locations.access import Level
from voltyard.speech import (
    Booted,
    ForgetCards,
    GetKeys,
    ListedCard,
    ReplaceCards,
    SetKey,
    TellCardsVersion,
    UpdateCards,
    Verdict,
)

ACCEPTED = Verdict.ACCEPTED

DOES = {
    CardsChanged: local_lists.cards_changed,
    CardsWithdrawn: local_lists.cards_withdrawn,
    ChargerMoved: local_lists.moved,
    SyncList: local_lists.sync,
}


async def work_off(ctx, *, hours=1.0) -> int:
    """Do what is due within some time, as the worker would."""
    kinds = {kind.__name__: (kind, do) for kind, do in DOES.items()}
    ctx.clock.advance(hours * 3600)
    count = 0
    while claimed := await ctx.db.work(SYSTEM, jobs.claim, "test"):
        for job in claimed:
            kind, do = kinds[job.kind]
            await do(ctx, decode(job.body, kind))
            await ctx.db.work(SYSTEM, jobs.done, job.id, "test")
            count += 1
    return count


async def make_peer(ctx, *tags: str, owner=None, **over) -> Peer:
    """Make a charger at a location with these cards, online, its jobs not done yet."""
    location = await make_location(ctx, owner)
    for tag in tags:
        await make_card(ctx, location.id, id_tag=tag)
    charger = await make_charger(ctx, location.id)
    return await Peer(ctx, charger, **over).connect()


async def state(ctx, peer: Peer):
    return await ctx.db.read(SYSTEM, local_lists.get, peer.charger.id)


async def boot(ctx, peer: Peer, firmware: str | None = None) -> None:
    place = (await ctx.db.read(SYSTEM, chargers.places, [peer.charger.id]))[0]
    said = Booted("V", "M", firmware=firmware)
    await ctx.db.work(SYSTEM, chargers.boot, [(place, said)])
    await ctx.db.work(SYSTEM, local_lists.booted, [(place, said)])


async def test_a_claimed_charger_gets_the_cards_of_its_location_in_pieces_that_it_takes(ctx):
    peer = await make_peer(ctx, "A1", "b2", "C3", "D4", "E5", "F6", "G7")
    await work_off(ctx)
    assert peer.held == dict.fromkeys(["A1", "b2", "C3", "D4", "E5", "F6", "G7"], "Accepted")
    sent = [ask for ask in peer.asked if isinstance(ask, ReplaceCards | UpdateCards)]
    assert [(type(ask), len(ask.cards), ask.version) for ask in sent] == [
        (ReplaceCards, 3, 1),
        (UpdateCards, 3, 2),
        (UpdateCards, 1, 3),
    ]
    found = await state(ctx, peer)
    assert (found.state, found.version, found.card_count) == (ListState.IN_STEP, 3, 7)
    assert found.in_step_at == ctx.clock.now()
    assert peer.count(ForgetCards) == 1, "what it remembers of the place before is gone"


async def test_a_new_card_is_one_change_after_the_version_was_compared(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    peer.asked.clear()
    await make_card(ctx, peer.charger.location_id, id_tag="B2")
    assert await work_off(ctx) == 2
    assert [type(ask) for ask in peer.asked] == [TellCardsVersion, UpdateCards]
    assert peer.held == {"A1": "Accepted", "B2": "Accepted"}


async def test_many_cards_at_once_are_one_job(ctx):
    peer = await make_peer(ctx)
    await work_off(ctx)
    for number in range(4):
        await make_card(ctx, peer.charger.location_id, id_tag=f"T{number}")
    assert await work_off(ctx) == 2
    assert len(peer.held) == 4


async def test_a_blocked_card_carries_its_verdict_and_a_removed_one_is_taken_out(ctx):
    peer = await make_peer(ctx, "A1", "B2")
    await work_off(ctx)
    found = await ctx.db.read(SYSTEM, cards.find, peer.charger.location_id, "A1")
    await ctx.db.work(SYSTEM, cards.change, found.id, is_blocked=True)
    peer.asked.clear()
    await work_off(ctx)
    assert peer.held == {"A1": "Blocked", "B2": "Accepted"}
    assert peer.count(ForgetCards) == 1, "its cache would let the card in offline"
    await ctx.db.work(SYSTEM, cards.remove, found.id)
    await work_off(ctx)
    assert peer.held == {"B2": "Accepted"}
    other = await ctx.db.read(SYSTEM, cards.find, peer.charger.location_id, "B2")
    await ctx.db.work(SYSTEM, cards.change, other.id, name="Other")
    peer.asked.clear()
    assert await work_off(ctx) == 0, "a name concerns no charger"


async def test_a_card_that_runs_out_is_said_to_be_over(ctx):
    peer = await make_peer(ctx)
    until = ctx.clock.now() + timedelta(hours=5)
    await make_card(ctx, peer.charger.location_id, id_tag="A1", expires_at=until)
    await work_off(ctx)
    assert peer.held == {"A1": "Accepted"}
    await work_off(ctx, hours=5)
    assert peer.held == {"A1": "Expired"}


async def test_a_list_that_was_changed_by_somebody_else_is_made_anew(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    peer.version, peer.held = 40, {"FOREIGN": "Accepted"}
    await make_card(ctx, peer.charger.location_id, id_tag="B2")
    await work_off(ctx)
    assert peer.held == {"A1": "Accepted", "B2": "Accepted"}
    assert peer.version == 41


@pytest.mark.parametrize("word", ["VersionMismatch", "Failed"])
async def test_a_refused_change_is_followed_by_a_whole_list(ctx, word):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    peer.refuses = {UpdateCards: word}
    await make_card(ctx, peer.charger.location_id, id_tag="B2")
    peer.asked.clear()
    await work_off(ctx)
    assert [type(ask) for ask in peer.asked] == [TellCardsVersion, UpdateCards, ReplaceCards]
    assert set(peer.held) == {"A1", "B2"}
    versions = [ask.version for ask in peer.asked if not isinstance(ask, TellCardsVersion)]
    assert versions == [2, 3], "a number that was sent once is not sent again"


async def test_a_list_that_is_refused_altogether_is_said_to_have_failed_and_tried_at_the_next_boot(ctx):
    peer = await make_peer(ctx, "A1", refuses={ReplaceCards: "Failed"})
    await work_off(ctx)
    found = await state(ctx, peer)
    assert (found.state, found.word, found.version) == (ListState.FAILED, "Failed", None)
    peer.refuses = {}
    await boot(ctx, peer)
    await work_off(ctx)
    assert (await state(ctx, peer)).state is ListState.IN_STEP


async def test_a_charger_without_lists_is_asked_once_and_again_after_new_firmware(ctx):
    peer = await make_peer(ctx, "A1", cannot=frozenset({ReplaceCards, UpdateCards, TellCardsVersion}))
    await boot(ctx, peer, "1.0")
    await work_off(ctx)
    assert (await state(ctx, peer)).state is ListState.UNSUPPORTED
    peer.asked.clear()
    await make_card(ctx, peer.charger.location_id, id_tag="B2")
    await boot(ctx, peer, "1.0")
    await work_off(ctx)
    assert peer.asked == []
    peer.cannot = frozenset()
    await boot(ctx, peer, "1.1")
    await work_off(ctx)
    assert set(peer.held) == {"A1", "B2"}


async def test_a_charger_without_lists_forgets_its_cache_all_the_same(ctx):
    peer = await make_peer(ctx, "A1", keys={"SupportedFeatureProfiles": "Core"})
    await work_off(ctx)
    assert (await state(ctx, peer)).state is ListState.UNSUPPORTED
    assert peer.count(ReplaceCards) == 0
    peer.asked.clear()
    found = await ctx.db.read(SYSTEM, cards.find, peer.charger.location_id, "A1")
    await ctx.db.work(SYSTEM, cards.remove, found.id)
    await work_off(ctx)
    assert peer.asked == [ForgetCards()]


async def test_a_list_that_is_switched_off_is_switched_on(ctx):
    peer = await make_peer(ctx, "A1")
    peer.keys["LocalAuthListEnabled"] = "false"
    await work_off(ctx)
    assert SetKey("LocalAuthListEnabled", "true") in peer.asked
    assert set(peer.held) == {"A1"}


async def test_a_list_that_stays_switched_off_is_said_to_be(ctx):
    peer = await make_peer(ctx, "A1", refuses={SetKey: "Rejected"})
    peer.keys["LocalAuthListEnabled"] = "false"
    await work_off(ctx)
    assert (await state(ctx, peer)).state is ListState.SWITCHED_OFF
    assert peer.held == {}


async def test_more_cards_than_fit_leave_out_those_that_were_not_used_for_longest(ctx):
    peer = await make_peer(ctx)
    peer.keys["LocalAuthListMaxLength"] = "2"
    for tag in ("OLD", "MIDDLE", "NEW"):
        await make_card(ctx, peer.charger.location_id, id_tag=tag)
        ctx.clock.advance(60)
    ctx.clock.advance(60)
    await ctx.db.work(SYSTEM, cards.judge, [(peer.charger.location_id, "OLD")])
    await work_off(ctx)
    assert set(peer.held) == {"OLD", "NEW"}
    found = await state(ctx, peer)
    assert (found.state, found.card_count, found.left_out_count, found.is_full) == (
        ListState.IN_STEP,
        2,
        1,
        True,
    )


async def test_a_long_list_is_sent_over_several_jobs(ctx):
    peer = await make_peer(ctx, *(f"T{number:02}" for number in range(22)))
    await work_off(ctx)
    assert len(peer.held) == 22
    assert (await state(ctx, peer)).version == 8
    assert peer.count(GetKeys) == 1


async def test_a_charger_that_is_away_is_served_when_it_is_back(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    await peer.leave()
    await make_card(ctx, peer.charger.location_id, id_tag="B2")
    peer.asked.clear()
    ctx.clock.advance(10)
    for _ in range(3):
        for job in await ctx.db.work(SYSTEM, jobs.claim, "test"):
            kind = next(each for each in DOES if each.__name__ == job.kind)
            await DOES[kind](ctx, decode(job.body, kind))
            await ctx.db.work(SYSTEM, jobs.done, job.id, "test")
    assert peer.asked == []
    assert (await state(ctx, peer)).state is ListState.WAITING
    await peer.connect()
    await boot(ctx, peer)
    await work_off(ctx, hours=0.1)
    assert set(peer.held) == {"A1", "B2"}


async def test_a_silent_charger_is_asked_once_more_and_then_left_in_peace(ctx):
    peer = await make_peer(ctx, "A1", is_silent=True)
    await work_off(ctx)
    assert (await state(ctx, peer)).word == "NoAnswer"
    await work_off(ctx)
    await work_off(ctx)
    assert len(peer.asked) == 2
    peer.is_silent = False
    await boot(ctx, peer)
    await work_off(ctx)
    assert set(peer.held) == {"A1"}


async def test_a_charger_that_leaves_takes_no_cards_along(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    await ctx.db.work(SYSTEM, chargers.unlink, peer.charger.location_id, peer.charger.id)
    peer.asked.clear()
    await work_off(ctx)
    assert peer.held == {}
    assert peer.count(ForgetCards) == 1
    assert [ask for ask in peer.asked if isinstance(ask, UpdateCards)] == [], "no tag is told once more"


async def test_a_charger_that_leaves_while_it_is_away_is_emptied_when_it_is_back(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    await peer.leave()
    await ctx.db.work(SYSTEM, chargers.unlink, peer.charger.location_id, peer.charger.id)
    await ctx.db.work(SYSTEM, jobs.claim, "a worker that dies", most=100)
    await peer.connect()
    await boot(ctx, peer)
    await work_off(ctx, hours=0.05)
    assert peer.held == {}


async def test_a_new_owner_sees_nothing_of_the_cards_before(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    await ctx.db.work(SYSTEM, chargers.unlink, peer.charger.location_id, peer.charger.id)
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    await chargers.claim(ctx, owner.actor, location.id, identity=peer.charger.identity, pin=PIN)
    found = await ctx.db.read(owner.actor, local_lists.get, peer.charger.id)
    assert (found.state, found.card_count, found.in_step_at) == (ListState.WAITING, 0, None)
    await work_off(ctx)
    assert peer.held == {}


async def test_a_boot_asks_nothing_of_a_list_that_was_looked_at_today(ctx):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    await boot(ctx, peer)
    assert await work_off(ctx) == 0
    await boot(ctx, peer)
    peer.version, peer.held = 0, {}
    assert await work_off(ctx, hours=24) == 0
    await boot(ctx, peer)
    await work_off(ctx)
    assert set(peer.held) == {"A1"}, "it had forgotten its list"


async def test_two_jobs_never_speak_with_one_charger_at_once(ctx):
    peer = await make_peer(ctx, "A1")
    turn = await ctx.db.work(SYSTEM, local_lists._begin, peer.charger.id)
    assert turn is not None
    assert await ctx.db.work(SYSTEM, local_lists._begin, peer.charger.id) is None
    await ctx.db.work(SYSTEM, local_lists._end_turn, peer.charger.id)
    assert await ctx.db.work(SYSTEM, local_lists._begin, peer.charger.id) is not None


async def test_those_who_may_control_have_a_list_sent_anew(ctx):
    owner = await make_user(ctx)
    peer = await make_peer(ctx, "A1", owner=owner)
    await work_off(ctx)
    peer.held = {}
    found = await ctx.db.work(owner.actor, local_lists.request_sync, peer.charger.id)
    assert found.state is ListState.WAITING
    await work_off(ctx)
    assert set(peer.held) == {"A1"}
    guest = await make_member(ctx, peer.charger.location_id, Level.BASIC)
    assert (await ctx.db.read(guest.actor, local_lists.get, peer.charger.id)).card_count == 1
    with pytest.raises(Forbidden):
        await ctx.db.work(guest.actor, local_lists.request_sync, peer.charger.id)
    stranger = await make_user(ctx)
    with pytest.raises(NotFound):
        await ctx.db.read(stranger.actor, local_lists.get, peer.charger.id)


async def test_a_charger_of_nobody_has_no_list(ctx):
    charger = await make_charger(ctx)
    await ctx.db.work(SYSTEM, local_lists.booted, [(place_of(charger), Booted("V", "M"))])
    assert await work_off(ctx) == 0


async def test_an_author_sends_its_list_whole_or_as_changes(ctx, monkeypatch):
    peer = await make_peer(ctx, "A1")
    await work_off(ctx)
    await ctx.db.work(SYSTEM, local_lists.set_author, peer.charger.id, "lnk_1")

    async def send(version: int, *tags: str, who: str = "lnk_1", is_whole: bool = False, verdict=ACCEPTED):
        cards = [ListedCard(tag, verdict) for tag in tags]
        return await ctx.db.work(
            SYSTEM, local_lists.send_authored, peer.charger.id, who, version, cards, is_whole=is_whole
        )

    async def kept() -> tuple[int, list[str]]:
        version, cards = await ctx.db.read(SYSTEM, local_lists.authored, peer.charger.id, "lnk_1")
        return version, [card.id_tag for card in cards]

    assert await send(3, "B2", "C3", is_whole=True) is Taken.ACCEPTED
    assert await send(3, "D4") is Taken.OLD_VERSION
    assert await send(4, "D4") is Taken.ACCEPTED
    assert await send(5, "b2", verdict=None) is Taken.ACCEPTED, "tags are compared as chargers compare them"
    assert await kept() == (5, ["C3", "D4"])
    monkeypatch.setattr(local_lists, "CARDS_MOST", 2)
    assert await send(6, "E5") is Taken.TOO_MANY_CARDS
    assert await send(6, "E5", is_whole=True, who="lnk_2") is Taken.NOT_THE_AUTHORITY
    assert await kept() == (5, ["C3", "D4"])
    await work_off(ctx)
    assert peer.held == {"C3": "Accepted", "D4": "Accepted"}

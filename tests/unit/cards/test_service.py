from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_card, make_location, make_member, make_user
from voltyard.cards import service as cards
from voltyard.cards.service import Card, CardExists, Judgement, tag_key
from voltyard.kernel import jobs
from voltyard.kernel.actor import ANYONE, Actor
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.errors import Forbidden, Invalid, NotFound
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.speech import Verdict

UNKNOWN = "card_00000000000000000000000000"
SPELLINGS = ("04A2B3C4", "04a2b3c4", "04:A2:B3:C4", "04-a2-b3-c4", " 04 A2 B3 C4 ", "04a2:B3-c4")

tags = st.text(st.sampled_from("0123456789abcdefABCDEF"), min_size=1, max_size=14)


async def judge(ctx: Context, *asked: tuple[str | None, str]) -> list[Judgement]:
    return await ctx.db.work(SYSTEM, cards.judge, list(asked))


async def verdict(ctx: Context, location_id: str | None, id_tag: str) -> Verdict:
    (judgement,) = await judge(ctx, (location_id, id_tag))
    return judgement.verdict


async def listed(ctx: Context, actor: Actor, **asked: object) -> list[str]:
    found = await ctx.db.read(actor, lambda work: cards.list_cards(work, **asked))
    return [each.name for each in found]


def adding(location_id: str, **over: object):
    asked = {"name": "Card", "id_tag": "04A2B3C4"} | over
    return lambda work: cards.add(work, location_id, **asked)


def changing(card: Card, **over: object):
    return lambda work: cards.change(work, card.id, **over)


async def due(ctx: Context) -> list[str]:
    """Return which duties towards chargers are due within a while, and take them away."""
    ctx.clock.advance(60)
    found = await ctx.db.work(SYSTEM, jobs.claim, "test", most=100)
    for job in found:
        await ctx.db.work(SYSTEM, jobs.done, job.id, "test")
    return sorted(job.kind for job in found)


async def test_chargers_follow_cards_and_forget_those_that_can_charge_no_longer(ctx: Context):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id)
    await make_card(ctx, location.id)
    assert await due(ctx) == ["CardsChanged"], "several at once are one duty"
    await ctx.db.work(SYSTEM, changing(card, name="Other"))
    assert await due(ctx) == []
    await ctx.db.work(SYSTEM, changing(card, is_blocked=True))
    assert await due(ctx) == ["CardsWithdrawn"]
    await ctx.db.work(SYSTEM, changing(card, is_blocked=True))
    assert await due(ctx) == []
    await ctx.db.work(SYSTEM, changing(card, is_blocked=False))
    assert await due(ctx) == ["CardsChanged"]
    await ctx.db.work(SYSTEM, cards.remove, card.id)
    assert await due(ctx) == ["CardsWithdrawn"]
    soon = ctx.clock.now() + timedelta(hours=1)
    await make_card(ctx, location.id, expires_at=soon)
    assert await due(ctx) == ["CardsChanged"]
    ctx.clock.advance(3600)
    assert await due(ctx) == ["CardsChanged"], "not every charger looks at the date"


async def test_a_card_is_found_by_its_tag_in_any_spelling(ctx: Context):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id, id_tag="04A2B3C4")
    assert await ctx.db.read(SYSTEM, cards.find, location.id, "04:a2:b3:c4") == card
    assert await ctx.db.read(SYSTEM, cards.find, location.id, "FF") is None
    stranger = await make_user(ctx)
    with pytest.raises(NotFound):
        await ctx.db.read(stranger.actor, cards.find, location.id, "FF")


# --- tags -----------------------------------------------------------------------------------------


def test_all_spellings_of_a_tag_are_one_tag():
    assert {tag_key(spelling) for spelling in SPELLINGS} == {"04A2B3C4"}


@given(tags, st.data())
def test_noise_and_case_never_change_a_tag(tag: str, data: st.DataObject):
    noisy = "".join(
        data.draw(st.sampled_from([each, each.upper(), each.lower()]))
        + data.draw(st.sampled_from(["", ":", "-", " ", "\t"]))
        for each in tag
    )
    assert tag_key(noisy) == tag_key(tag) == tag.upper()


@given(st.text(max_size=40))
def test_a_tag_in_its_compared_form_stays_as_it_is(text: str):
    assert tag_key(tag_key(text)) == tag_key(text)


# --- adding and changing --------------------------------------------------------------------------


async def test_a_card_keeps_the_spelling_that_was_entered(ctx: Context, clock: FakeClock):
    owner = await make_user(ctx)
    home = await make_location(ctx, owner)
    until = clock.now() + timedelta(days=365)
    card = await ctx.db.work(
        owner.actor, adding(home.id, name=" Anna ", id_tag=" 04:a2:b3:c4 ", expires_at=until)
    )
    assert (card.name, card.id_tag, card.location_id) == ("Anna", "04:a2:b3:c4", home.id)
    assert (card.is_blocked, card.expires_at, card.used_at) == (False, until, None)
    assert card.created_at == clock.now()
    assert await ctx.db.read(owner.actor, cards.get, card.id) == card


async def test_a_card_is_there_once_in_whatever_spelling(ctx: Context):
    home, depot = await make_location(ctx), await make_location(ctx)
    card = await make_card(ctx, home.id, id_tag=SPELLINGS[0], name="Anna")
    for spelling in SPELLINGS:
        with pytest.raises(CardExists) as refused:
            await make_card(ctx, home.id, id_tag=spelling)
        assert refused.value.facts == {"id": card.id}
        assert "Anna" in refused.value.detail
    await make_card(ctx, depot.id, id_tag=SPELLINGS[1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 256),
        ("name", "\x00"),
        ("id_tag", ""),
        ("id_tag", " :-- "),
        ("id_tag", "0" * 21),
        ("id_tag", "ßßßßßßßßßßßß"),
        ("id_tag", "04\x00A2"),
        ("expires_at", datetime(2027, 1, 1)),  # noqa: DTZ001 - that is what is wrong with it
    ],
)
async def test_a_card_that_no_reader_can_show_is_refused(sqlite_ctx: Context, field: str, value: object):
    home = await make_location(sqlite_ctx)
    with pytest.raises(Invalid) as refused:
        await sqlite_ctx.db.work(SYSTEM, adding(home.id, **{field: value}))
    assert [pointer for pointer, _ in refused.value.errors] == [f"/{field}"]


async def test_the_longest_card_fits_both_databases(ctx: Context):
    home = await make_location(ctx)
    card = await make_card(ctx, home.id, name="Ø" * 255, id_tag="F" * 20)
    assert await ctx.db.read(SYSTEM, cards.get, card.id) == card


async def test_a_card_is_renamed_blocked_unblocked_and_removed(ctx: Context):
    owner = await make_user(ctx)
    home = await make_location(ctx, owner)
    card, other = await make_card(ctx, home.id), await make_card(ctx, home.id)
    renamed = await ctx.db.work(owner.actor, changing(card, name=" Bob "))
    assert (renamed.name, renamed.is_blocked) == ("Bob", False)
    blocked = await ctx.db.work(owner.actor, changing(card, is_blocked=True))
    assert (blocked.name, blocked.is_blocked) == ("Bob", True)
    assert await ctx.db.work(owner.actor, changing(card)) == blocked
    assert not (await ctx.db.work(owner.actor, changing(card, is_blocked=False))).is_blocked
    with pytest.raises(Invalid):
        await ctx.db.work(owner.actor, changing(card, name=" "))
    await ctx.db.work(owner.actor, cards.remove, card.id)
    for act in (cards.get, cards.remove):
        with pytest.raises(NotFound):
            await ctx.db.work(owner.actor, act, card.id)
    assert await ctx.db.read(owner.actor, cards.get, other.id) == other


async def test_a_removed_card_may_be_added_again(ctx: Context):
    home = await make_location(ctx)
    card = await make_card(ctx, home.id, id_tag="04A2B3C4")
    await ctx.db.work(SYSTEM, cards.remove, card.id)
    assert await verdict(ctx, home.id, "04A2B3C4") is Verdict.INVALID
    again = await make_card(ctx, home.id, id_tag="04A2B3C4")
    assert again.id != card.id


# --- the card at the reader -----------------------------------------------------------------------


@pytest.mark.parametrize("shown", SPELLINGS)
async def test_a_card_is_accepted_in_the_reader_s_spelling(ctx: Context, clock: FakeClock, shown: str):
    home = await make_location(ctx)
    card = await make_card(ctx, home.id, id_tag="04:A2:b3:c4")
    assert await judge(ctx, (home.id, shown)) == [Judgement(Verdict.ACCEPTED, card.id)]
    assert (await ctx.db.read(SYSTEM, cards.get, card.id)).used_at == clock.now()


async def test_unknown_blocked_and_expired_cards_are_not_accepted(ctx: Context, clock: FakeClock):
    home, depot = await make_location(ctx), await make_location(ctx)
    until = clock.now() + timedelta(hours=1)
    good = await make_card(ctx, home.id, id_tag="AA01")
    blocked = await make_card(ctx, home.id, id_tag="AA02")
    ending = await make_card(ctx, home.id, id_tag="AA03", expires_at=until)
    both = await make_card(ctx, home.id, id_tag="AA04", expires_at=until)
    elsewhere = await make_card(ctx, depot.id, id_tag="AA05")
    for card in (blocked, both):
        await ctx.db.work(SYSTEM, changing(card, is_blocked=True))
    asked = [
        (home.id, "AA01"),
        (home.id, "AA02"),
        (home.id, "AA03"),
        (home.id, "AA04"),
        (home.id, "AA05"),
        (depot.id, "AA05"),
        (depot.id, "AA01"),
        (None, "AA01"),
        (home.id, ""),
        (home.id, ":"),
        (home.id, "AA01"),
    ]
    expected = [
        Judgement(Verdict.ACCEPTED, good.id),
        Judgement(Verdict.BLOCKED, blocked.id),
        Judgement(Verdict.ACCEPTED, ending.id, until),
        Judgement(Verdict.BLOCKED, both.id),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.ACCEPTED, elsewhere.id),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.ACCEPTED, good.id),
    ]
    assert await judge(ctx, *asked) == expected
    clock.advance(3600)
    expected[2] = Judgement(Verdict.EXPIRED, ending.id, until)
    assert await judge(ctx, *asked) == expected


async def test_nobody_asked_nobody_judged(ctx: Context):
    assert await judge(ctx) == []
    assert await judge(ctx, (None, "AA01")) == [Judgement(Verdict.INVALID)]


async def test_a_long_tag_is_not_taken_for_the_card_that_it_begins_with(ctx: Context):
    home = await make_location(ctx)
    await make_card(ctx, home.id, id_tag="F" * 20)
    assert await verdict(ctx, home.id, "F" * 20) is Verdict.ACCEPTED
    assert await verdict(ctx, home.id, "F" * 21) is Verdict.INVALID
    assert await verdict(ctx, home.id, "F" * 19) is Verdict.INVALID
    assert await verdict(ctx, home.id, "F" * 5_000) is Verdict.INVALID


async def test_a_busy_minute_is_judged_in_one_look_up(ctx: Context):
    homes = [await make_location(ctx) for _ in range(3)]
    known = {}
    for number in range(12):
        home = homes[number % 3]
        known[home.id, f"{number:02}"] = (await make_card(ctx, home.id, id_tag=f"{number:02}")).id
    asked = [(home.id, f"{number:02}") for home in homes for number in range(30)]
    for (location_id, tag), found in zip(asked, await judge(ctx, *asked), strict=True):
        card_id = known.get((location_id, tag))
        assert found == Judgement(Verdict.ACCEPTED if card_id else Verdict.INVALID, card_id)


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "may_edit"), [("basic", False), ("sensitive", False), ("full", True)])
async def test_whoever_views_a_location_sees_its_cards_and_full_access_edits_them(
    ctx: Context, level: str, may_edit: bool
):
    home = await make_location(ctx)
    person = await make_member(ctx, home.id, Level(level))
    card = await make_card(ctx, home.id, name="Anna")
    assert await ctx.db.read(person.actor, cards.get, card.id) == card
    assert await listed(ctx, person.actor, location_id=home.id) == ["Anna"]
    for act in (
        adding(home.id, id_tag="04FFFFFF"),
        changing(card, name="Bob"),
        changing(card, is_blocked=True),
        lambda work: cards.remove(work, card.id),
    ):
        if may_edit:
            await ctx.db.work(person.actor, act)
        else:
            with pytest.raises(Forbidden):
                await ctx.db.work(person.actor, act)
    assert (await verdict(ctx, home.id, card.id_tag) is Verdict.INVALID) is may_edit


async def test_a_foreign_card_looks_like_none(ctx: Context, clock: FakeClock):
    home = await make_location(ctx)
    card = await make_card(ctx, home.id)
    stranger = await make_user(ctx)
    expired = await make_member(ctx, home.id, Level.FULL, until_at=clock.now())
    for actor in (stranger.actor, expired.actor, ANYONE):
        for act in (cards.get, cards.remove, lambda work, which: cards.change(work, which, is_blocked=True)):
            for which in (card.id, UNKNOWN, "card_", home.id):
                with pytest.raises(NotFound):
                    await ctx.db.work(actor, act, which)
        with pytest.raises(NotFound):
            await ctx.db.work(actor, adding(home.id))
        with pytest.raises(NotFound):
            await ctx.db.read(actor, lambda work: cards.list_cards(work, location_id=home.id))
        assert await listed(ctx, actor) == []
    assert await ctx.db.read(SYSTEM, cards.get, card.id) == card


# --- lists ----------------------------------------------------------------------------------------


async def test_cards_of_all_one_s_locations_are_listed_or_of_one(ctx: Context):
    owner = await make_user(ctx)
    home, depot = await make_location(ctx, owner), await make_location(ctx, owner)
    await make_card(ctx, home.id, name="Home")
    await make_card(ctx, depot.id, name="Depot")
    await make_card(ctx, (await make_location(ctx)).id, name="Foreign")
    assert set(await listed(ctx, owner.actor)) == {"Home", "Depot"}
    assert await listed(ctx, owner.actor, location_id=depot.id) == ["Depot"]
    await ctx.db.work(owner.actor, locations.archive, depot.id)
    assert await listed(ctx, owner.actor) == ["Home"]


async def test_cards_come_newest_first_in_pages_without_gap_or_double(ctx: Context):
    home = await make_location(ctx)
    made = {(await make_card(ctx, home.id)).id for _ in range(7)}
    seen: list[str] = []
    after = None
    while page := await ctx.db.read(
        SYSTEM, lambda work, after: cards.list_cards(work, after=after, limit=3), after
    ):
        assert len(page) <= 3
        seen += [each.id for each in page]
        after = seen[-1]
    assert seen == sorted(made, reverse=True)


async def test_a_search_finds_names_in_any_case_and_tags_in_any_spelling(ctx: Context):
    home = await make_location(ctx)
    await make_card(ctx, home.id, name="Anna 100%", id_tag="04:a2:b3:c4")
    await make_card(ctx, home.id, name="Bob_2", id_tag="99887766")
    await make_card(ctx, home.id, name="Søren", id_tag="55")
    everybody = {"Anna 100%", "Bob_2", "Søren"}
    for q, names in {
        "ANNA": {"Anna 100%"},
        " bob ": {"Bob_2"},
        "04A2": {"Anna 100%"},
        "a2:B3": {"Anna 100%"},
        "b3-c4": {"Anna 100%"},
        "%": {"Anna 100%"},
        "_": {"Bob_2"},
        "-": set(),
        ":": set(),
        "": everybody,
        "SØREN": {"Søren"},
        "7766": {"Bob_2"},
        "nobody": set(),
    }.items():
        assert set(await listed(ctx, SYSTEM, q=q)) == names, q

"""Cards: tags in any spelling, verdicts at readers, and who may see or change them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_card, make_location, make_member, make_user
from voltyard.cards import service as cards
from voltyard.cards.service import CardExists, Judgement, tag_key
from voltyard.kernel.errors import Forbidden, Invalid, NotFound
from voltyard.locations.access import Level
from voltyard.speech import Verdict


@pytest.mark.parametrize("spelling", ["04A1B2C3", "04a1b2c3", "04:A1:b2:C3", " 04-a1-B2-c3 ", "04 A1\tB2 C3"])
def test_a_tag_is_the_same_in_every_spelling(spelling):
    assert tag_key(spelling) == "04A1B2C3"


@given(st.text(max_size=30))
def test_the_key_of_a_tag_is_its_own_key(tag):
    assert tag_key(tag_key(tag)) == tag_key(tag)


@given(st.from_regex(r"[0-9A-F]{2}(:[0-9A-F]{2}){3,6}", fullmatch=True))
def test_a_key_keeps_every_digit(tag):
    assert tag_key(tag) == tag.replace(":", "")


async def test_a_card_keeps_the_spelling_that_was_entered(ctx):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id, id_tag=" 04:a1:b2:c3 ", name=" Ann ")
    assert (card.id_tag, card.name, card.is_blocked, card.used_at) == ("04:a1:b2:c3", "Ann", False, None)
    assert await ctx.db.read(SYSTEM, cards.get, card.id) == card


async def test_a_location_has_each_tag_once_in_whatever_spelling(ctx):
    location, other = await make_location(ctx), await make_location(ctx)
    card = await make_card(ctx, location.id, id_tag="04A1B2C3", name="Ann")
    with pytest.raises(CardExists) as caught:
        await make_card(ctx, location.id, id_tag="04:a1:b2:c3")
    assert caught.value.facts["id"] == card.id
    await make_card(ctx, other.id, id_tag="04A1B2C3")


@pytest.mark.parametrize(
    ("name", "id_tag", "pointers"),
    [
        ("", "04A1", ["/name"]),
        ("x" * 256, "04A1", ["/name"]),
        ("Ann", "::", ["/id_tag"]),
        ("Ann", "X" * 21, ["/id_tag"]),
        ("Ann", "ß" * 20, ["/id_tag"]),
        ("Ann", "04\x00A1", ["/id_tag"]),
        (" ", " ", ["/name", "/id_tag"]),
    ],
)
async def test_a_card_that_cannot_be_is_refused_with_what_is_wrong(ctx, name, id_tag, pointers):
    location = await make_location(ctx)
    with pytest.raises(Invalid) as caught:
        await ctx.db.work(SYSTEM, cards.add, location.id, name=name, id_tag=id_tag)
    assert [pointer for pointer, _ in caught.value.errors] == pointers


async def test_the_end_of_a_card_needs_a_time_zone(ctx):
    location = await make_location(ctx)
    with pytest.raises(Invalid):
        await make_card(ctx, location.id, expires_at=datetime(2027, 1, 1))  # noqa: DTZ001 - that is the point


async def judge(ctx, *asked) -> list[Judgement]:
    return await ctx.db.work(SYSTEM, cards.judge, list(asked))


async def test_several_readers_are_answered_in_one_look_up_and_in_their_order(ctx, clock):
    here, there = await make_location(ctx), await make_location(ctx)
    good = await make_card(ctx, here.id, id_tag="AA01")
    blocked = await make_card(ctx, here.id, id_tag="AA02")
    await ctx.db.work(SYSTEM, cards.change, blocked.id, is_blocked=True)
    ends_at = clock.now() + timedelta(seconds=1)
    ending = await make_card(ctx, here.id, id_tag="AA03", expires_at=ends_at)
    expired = await make_card(ctx, here.id, id_tag="AA04", expires_at=clock.now())
    assert await judge(
        ctx,
        (here.id, "aa:01"),
        (there.id, "AA01"),
        (here.id, "AA02"),
        (None, "AA01"),
        (here.id, "AA03"),
        (here.id, "AA04"),
        (here.id, "FF"),
        (here.id, "AA01"),
    ) == [
        Judgement(Verdict.ACCEPTED, good.id),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.BLOCKED, blocked.id),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.ACCEPTED, ending.id, ends_at),
        Judgement(Verdict.EXPIRED, expired.id, clock.now()),
        Judgement(Verdict.INVALID),
        Judgement(Verdict.ACCEPTED, good.id),
    ]


async def test_nobody_to_judge_is_no_question(ctx):
    assert await judge(ctx) == []


async def test_a_tag_that_only_begins_like_a_card_is_another_tag(ctx):
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag="A" * 20)
    assert await judge(ctx, (location.id, "A" * 21)) == [Judgement(Verdict.INVALID)]


async def test_it_is_noted_when_a_card_was_used(ctx, clock):
    location = await make_location(ctx)
    used, unused = await make_card(ctx, location.id), await make_card(ctx, location.id)
    clock.advance(60)
    await judge(ctx, (location.id, used.id_tag))
    assert (await ctx.db.read(SYSTEM, cards.get, used.id)).used_at == clock.now()
    assert (await ctx.db.read(SYSTEM, cards.get, unused.id)).used_at is None


async def test_a_card_can_be_renamed_blocked_and_let_in_again(ctx):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id)
    changed = await ctx.db.work(SYSTEM, cards.change, card.id, name="Bob", is_blocked=True)
    assert (changed.name, changed.is_blocked, changed.id_tag) == ("Bob", True, card.id_tag)
    assert await ctx.db.work(SYSTEM, cards.change, card.id) == changed
    assert (await ctx.db.work(SYSTEM, cards.change, card.id, is_blocked=False)).is_blocked is False
    with pytest.raises(Invalid):
        await ctx.db.work(SYSTEM, cards.change, card.id, name=" ")


async def test_a_removed_card_is_gone(ctx):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id)
    await ctx.db.work(SYSTEM, cards.remove, card.id)
    with pytest.raises(NotFound):
        await ctx.db.read(SYSTEM, cards.get, card.id)
    assert await judge(ctx, (location.id, card.id_tag)) == [Judgement(Verdict.INVALID)]


async def test_cards_are_changed_with_full_access_and_seen_with_any(ctx):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id)
    full = await make_member(ctx, location.id, Level.FULL)
    await ctx.db.work(full.actor, cards.add, location.id, name="New", id_tag="BB01")
    for level in (Level.BASIC, Level.SENSITIVE):
        looker = await make_member(ctx, location.id, level)
        assert await ctx.db.read(looker.actor, cards.get, card.id) == card
        assert len(await ctx.db.read(looker.actor, cards.list_cards)) == 2
        for act in (
            lambda work: cards.add(work, location.id, name="Newer", id_tag="BB02"),
            lambda work: cards.change(work, card.id, name="Mine"),
            lambda work: cards.remove(work, card.id),
        ):
            with pytest.raises(Forbidden):
                await ctx.db.work(looker.actor, act)


async def test_a_foreign_team_or_an_expired_member_finds_no_card(ctx, clock):
    location = await make_location(ctx)
    card = await make_card(ctx, location.id)
    for person in (
        await make_user(ctx),
        await make_member(ctx, location.id, Level.FULL, until_at=clock.now()),
    ):
        for act in (cards.get, cards.change, cards.remove):
            with pytest.raises(NotFound):
                await ctx.db.work(person.actor, act, card.id)
        with pytest.raises(NotFound):
            await ctx.db.read(person.actor, cards.list_cards, location_id=location.id)
        assert await ctx.db.read(person.actor, cards.list_cards) == []


@pytest.mark.parametrize("wrong", ["card_" + "0" * 26, "loc_" + "0" * 26, "x"])
async def test_a_card_that_is_not_there_is_not_found(ctx, wrong):
    with pytest.raises(NotFound):
        await ctx.db.read(SYSTEM, cards.get, wrong)


async def test_a_list_is_paged_newest_first_and_searched_by_name_and_tag(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    made = [
        await make_card(ctx, location.id, name=name, id_tag=tag)
        for name, tag in (("Søren", "AB01"), ("Ann 5%", "AB02"), ("Bob", "CD03"))
    ]
    newest_first = sorted((card.id for card in made), reverse=True)
    first = await ctx.db.read(owner.actor, cards.list_cards, limit=2)
    second = await ctx.db.read(owner.actor, cards.list_cards, after=first[-1].id, limit=2)
    assert [card.id for card in first + second] == newest_first
    for q, names in {"SØREN": {"Søren"}, "ab0": {"Søren", "Ann 5%"}, "5%": {"Ann 5%"}, "_": set()}.items():
        listed = await ctx.db.read(owner.actor, cards.list_cards, location_id=location.id, q=q)
        assert {card.name for card in listed} == names, q

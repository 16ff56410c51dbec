"""Proofs by letter: signing up, a new password, another address; and what they never tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import SYSTEM, make_user
from voltyard.accounts import factors, proofs, service
from voltyard.accounts.letters import NoMail, SendLetter
from voltyard.accounts.proofs import LASTS, LETTERS_MAX, ProofAsked, ProofDead, ProofKind, SignUpClosed
from voltyard.accounts.service import EmailTaken, WrongPassword
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.context import Context
from voltyard.kernel.errors import Invalid, NotFound, Unauthenticated
from voltyard.kernel.jobs import jobs
from voltyard.kernel.settings import SignUp
from voltyard.kernel.wire import decode

NEW = "new@example.com"
WORDS = "four words of mine"


@pytest.fixture
def house(ctx: Context) -> Context:
    return replace(ctx, settings=ctx.settings.keeping_mail())


async def answered(ctx: Context) -> None:
    """Do what a worker does with what was asked for."""
    rows = await ctx.db.read(
        SYSTEM,
        lambda work: list(work.rows(jobs.select().where(jobs.c.kind == "ProofAsked").order_by(jobs.c.id))),
    )
    for row in rows:
        await proofs.answer(ctx, decode(row.body, ProofAsked))
        await ctx.db.work(SYSTEM, lambda work, row=row: work.run(jobs.delete().where(jobs.c.id == row.id)))


async def letters(ctx: Context) -> list[SendLetter]:
    """Return the letters that wait to be sent, oldest first."""
    await answered(ctx)
    rows = await ctx.db.read(
        SYSTEM,
        lambda work: list(work.rows(jobs.select().where(jobs.c.kind == "SendLetter").order_by(jobs.c.id))),
    )
    return [decode(row.body, SendLetter) for row in rows]


async def link(ctx: Context) -> str:
    """Return the link in the latest letter."""
    return proofs.token_of((await letters(ctx))[-1].proof_id, ctx.settings.secret_key())


async def read(ctx: Context, token: str) -> Any:
    return await ctx.db.read(ANYONE, proofs.find, token, ctx.settings.secret_key())


async def test_what_is_asked_for_is_the_same_whoever_is_registered(house: Context):
    person = await make_user(house)
    for address in (person.user.email, NEW):
        await proofs.forgot(house, address)
    rows = await house.db.read(SYSTEM, lambda work: list(work.rows(jobs.select().order_by(jobs.c.id))))
    assert [row.kind for row in rows] == ["ProofAsked", "ProofAsked"]


async def test_whoever_reads_the_letter_gets_an_account_once(house: Context):
    await proofs.sign_up(house, " New@Example.com ", "  Nia ")
    (letter,) = await letters(house)
    assert (letter.kind, letter.to, letter.values) == ("sign_up", NEW, {"name": "Nia"})
    with pytest.raises(NotFound):
        await house.db.read(SYSTEM, service.user_by_email, NEW)
    token = await link(house)
    assert (await read(house, token)).name == "Nia"
    person = await proofs.set_password(house, token, WORDS, "Nia N.")
    assert (person.email, person.name, [team.is_personal for team in person.teams]) == (NEW, "Nia N.", [True])
    with pytest.raises(ProofDead):
        await proofs.set_password(house, token, "another password")
    assert (await factors.log_in(house, NEW, WORDS))[0].id == person.id


async def test_no_job_holds_what_opens_an_account(house: Context):
    await proofs.sign_up(house, NEW, "Nia")
    token = await link(house)
    rows = await house.db.read(SYSTEM, lambda work: list(work.rows(jobs.select())))
    code = token.partition("-")[2]
    assert len(code) == proofs.CODE_LENGTH
    assert all(code not in row.body for row in rows)


async def test_who_has_an_account_is_told_so_by_letter_only(house: Context):
    person = await make_user(house)
    await proofs.sign_up(house, person.user.email, "Somebody else")
    (letter,) = await letters(house)
    assert (letter.kind, letter.to) == ("have_account", person.user.email)
    assert (await read(house, await link(house))).kind is ProofKind.RESET


async def test_a_forgotten_password_is_set_anew_and_every_browser_logged_out(house: Context):
    person = await make_user(house)
    other = await _session(house, person)
    await proofs.forgot(house, person.user.email)
    token = await link(house)
    await proofs.set_password(house, token, WORDS)
    with pytest.raises(Unauthenticated):
        await house.db.read(ANYONE, service.actor_of_session, other, house.settings.secret_key())
    assert (await factors.log_in(house, person.user.email, WORDS))[0].id == person.user.id
    assert (await letters(house))[-1].kind == "password_changed"


async def _session(ctx: Context, person: Any) -> str:
    await service.put_password(ctx, SYSTEM, person.user.email, "first password")
    return (await factors.log_in(ctx, person.user.email, "first password"))[1]


async def test_a_stranger_gets_no_letter_and_hears_nothing_of_it(house: Context):
    await proofs.forgot(house, "nobody@example.com")
    assert await letters(house) == []


async def test_one_letter_that_was_used_kills_those_before_it(house: Context):
    person = await make_user(house)
    await proofs.forgot(house, person.user.email)
    first = await link(house)
    await proofs.forgot(house, person.user.email)
    await proofs.set_password(house, await link(house), WORDS)
    with pytest.raises(ProofDead):
        await read(house, first)


@pytest.mark.parametrize("kind", list(ProofKind))
async def test_a_link_works_up_to_its_last_moment_and_not_after(house: Context, clock, kind: ProofKind):
    person = await make_user(house)
    await house.db.work(SYSTEM, proofs._write, kind, NEW, "N", person.user.id, "en")
    token = await link(house)
    clock.advance(LASTS[kind].total_seconds() - 0.001)
    assert (await read(house, token)).kind is kind
    clock.advance(0.001)
    with pytest.raises(ProofDead):
        await read(house, token)


async def test_what_is_no_link_of_ours_is_dead(house: Context):
    await proofs.sign_up(house, NEW, "Nia")
    token = await link(house)
    for wrong in (
        "",
        "x",
        token[:-1],
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        token + "0",
        "prf_0-1",
    ):
        with pytest.raises(ProofDead):
            await read(house, wrong)


async def test_nobodys_inbox_is_filled(house: Context, clock):
    for _ in range(LETTERS_MAX + 2):
        await proofs.sign_up(house, NEW, "Nia")
        await answered(house)
    assert len(await letters(house)) == LETTERS_MAX
    clock.advance(3_600)
    await proofs.sign_up(house, NEW, "Nia")
    assert len(await letters(house)) == LETTERS_MAX + 1


async def test_another_address_counts_once_its_letter_was_read_and_the_old_one_is_told(house: Context):
    person = await make_user(house)
    await service.put_password(house, SYSTEM, person.user.email, "first password")
    with pytest.raises(WrongPassword):
        await proofs.change_email(house, person.actor, NEW, "wrong password")
    with pytest.raises(Invalid):
        await proofs.change_email(house, person.actor, person.user.email, "first password")
    await proofs.change_email(house, person.actor, NEW, "first password")
    assert (await letters(house))[-1].to == NEW
    token = await link(house)
    with pytest.raises(ProofDead):
        await proofs.set_password(house, token, WORDS)
    stranger = await make_user(house)
    for actor in (ANYONE, stranger.actor):
        with pytest.raises(ProofDead):
            await house.db.work(actor, proofs.confirm_email, token, house.settings.secret_key())
    changed = await house.db.work(person.actor, proofs.confirm_email, token, house.settings.secret_key())
    assert changed.email == NEW
    told = (await letters(house))[-1]
    assert (told.kind, told.to, told.values["email"]) == ("email_changed", person.user.email, NEW)
    with pytest.raises(ProofDead):
        await house.db.work(person.actor, proofs.confirm_email, token, house.settings.secret_key())


async def test_an_address_that_somebody_took_meanwhile_is_not_taken_twice(house: Context):
    person = await make_user(house)
    await service.put_password(house, SYSTEM, person.user.email, "first password")
    await proofs.change_email(house, person.actor, NEW, "first password")
    token = await link(house)
    await service.register(house, NEW, password=None)
    with pytest.raises(EmailTaken):
        await house.db.work(person.actor, proofs.confirm_email, token, house.settings.secret_key())
    before = len(await letters(house))
    await proofs.change_email(house, person.actor, NEW, "first password")
    assert len(await letters(house)) == before, "nor is it told who has it"


async def test_ones_own_password_is_changed_with_the_present_one_and_this_browser_stays(house: Context):
    person = await make_user(house)
    own, other = (
        await _session(house, person),
        (await factors.log_in(house, person.user.email, "first password"))[1],
    )
    key = house.settings.secret_key()
    actor, _ = await house.db.read(ANYONE, service.actor_of_session, own, key)
    with pytest.raises(WrongPassword):
        await proofs.change_password(house, actor, "wrong password", WORDS)
    with pytest.raises(Invalid):
        await proofs.change_password(house, actor, "first password", "short")
    await proofs.change_password(house, actor, "first password", WORDS)
    assert (await house.db.read(ANYONE, service.actor_of_session, own, key))[1].id == person.user.id
    with pytest.raises(Unauthenticated):
        await house.db.read(ANYONE, service.actor_of_session, other, key)


async def test_where_no_mail_is_sent_or_nobody_may_sign_up_it_is_refused(ctx: Context):
    closed = replace(ctx, settings=ctx.settings.model_copy(update={"sign_up": SignUp.CLOSED}))
    with pytest.raises(SignUpClosed):
        await proofs.sign_up(closed, NEW, "Nia")
    for act in (proofs.sign_up(ctx, NEW, "Nia"), proofs.forgot(ctx, NEW)):
        with pytest.raises(NoMail):
            await act
    person = await make_user(ctx)
    with pytest.raises(NoMail):
        await proofs.change_email(ctx, person.actor, NEW, "x")


async def test_who_gets_a_password_from_the_installation_has_no_open_links(house: Context):
    person = await make_user(house)
    await service.put_password(house, SYSTEM, person.user.email, "first password")
    await proofs.change_email(house, person.actor, NEW, "first password")
    token = await link(house)
    await service.put_password(house, SYSTEM, person.user.email, "second password")
    with pytest.raises(ProofDead):
        await read(house, token)


@pytest.mark.parametrize(
    "address",
    [
        "a1,victim@x.com", "x<victim@x.com>", "(foo)victim@x.com", "victim@x.com(a1)", "victim@x.com>", "a@b",
        "g:victim@x.com;", "=?utf-8?q?a?=<victim@x.com>", "a..b@x.com", ".a@x.com", "a@-x.com", "a b@x.com",
        '"a b"@x.com', "a@x..com", f"{'a' * 65}@x.com", "ü@x.com",
    ],
)  # fmt: skip
def test_one_mailbox_has_one_spelling(address: str):
    with pytest.raises(Invalid):
        service.tidy_email(address)


def test_addresses_as_people_have_them():
    for address in ("a.b+c@x-y.example.com", "O'Neill@x.com", "me@localhost"):
        assert service.tidy_email(f" {address} ") == address.lower()
    assert service.tidy_email("zoe@bücher.example") == "zoe@xn--bcher-kva.example"


async def test_old_proofs_are_forgotten(house: Context, clock):
    await proofs.sign_up(house, NEW, "Nia")
    await answered(house)
    clock.advance((LASTS[ProofKind.SIGN_UP] + timedelta(days=7)).total_seconds())
    assert await house.db.work(SYSTEM, proofs.forget_old) == 0
    clock.advance(1)
    assert await house.db.work(SYSTEM, proofs.forget_old) == 1


async def test_browsers_are_listed_and_logged_out_one_by_one_or_all(house: Context):
    person, key = await make_user(house), house.settings.secret_key()
    own = await _session(house, person)
    for _ in range(2):
        await factors.log_in(house, person.user.email, "first password", address="192.0.2.1", agent="A\x00B")
    here, _ = await house.db.read(ANYONE, service.actor_of_session, own, key)
    found = await house.db.read(here, service.list_sessions)
    assert [each.is_this for each in found] == [False, False, True]
    assert (found[0].address, found[0].agent) == ("192.0.2.1", "AB")
    await house.db.work(person.actor, service.end_session, found[0].id)
    stranger = await make_user(house)
    for actor, which in ((person.actor, found[0].id), (stranger.actor, found[1].id)):
        with pytest.raises(NotFound):
            await house.db.work(actor, service.end_session, which)
    assert await house.db.work(here, service.end_sessions) == 1
    assert [each.is_this for each in await house.db.read(here, service.list_sessions)] == [True]

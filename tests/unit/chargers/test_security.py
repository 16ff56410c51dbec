"""Making a charger's connection safer: passwords, profiles, PINs, security events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as replace_struct

from tests.factories import (
    PIN,
    SYSTEM,
    make_charger,
    make_location,
    make_member,
    make_user,
    place_of,
)
from tests.unit.chargers.papers import Answering, give_authority
from tests.unit.chargers.test_credentials import certificate_for, goods, hello, knock, row_of, set_row
from voltyard.accounts.secrets import machine_hash
from voltyard.chargers import certificates, commands, security
from voltyard.chargers import service as chargers
from voltyard.chargers.security import NotReadyForProfile, PinNotKept, ProfileNotRaised, partly
from voltyard.chargers.service import Delivered
from voltyard.kernel.actor import Actor, Kind
from voltyard.kernel.errors import ChargerOffline, Forbidden, Invalid, NotFound
from voltyard.kernel.limits import SECURITY_EVENT_DAYS, SECURITY_EVENTS_OF_CHARGER_MAX
from voltyard.locations.access import Level
from voltyard.speech import ByHand, Entry, SecurityTold, SetKey

OLD = "secret-of-before"


async def owned(ctx, **over):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    return await make_charger(ctx, location.id, **({"password": OLD} | over)), owner


def over_tls(ctx):
    return replace(ctx, settings=ctx.settings.model_copy(update={"ocpp_tls_port": 8888}))


# --- where it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "is_near"), [("127.0.0.1", True), ("::1", True), ("203.0.113.9", False)])
async def test_a_charger_of_this_machine_is_told_from_others(ctx, address, is_near):
    charger, owner = await owned(ctx)
    assert not await ctx.db.read(owner.actor, security.is_on_this_machine, charger.id)
    there = replace_struct(hello(charger, OLD), address=address)
    assert await knock(ctx, there) == [Entry.WELCOME]
    assert await ctx.db.read(owner.actor, security.is_on_this_machine, charger.id) is is_near


# --- password -------------------------------------------------------------------------------------


async def test_a_new_password_is_random_counts_once_accepted_and_is_nowhere_in_clear(ctx):
    charger, owner = await owned(ctx)
    async with Answering(ctx, charger.id) as there:
        done = await security.rotate_password(ctx, owner.actor, charger.id)
        again = await security.rotate_password(ctx, owner.actor, charger.id)
    first, second = (asked.value for asked in there.asked)
    assert first != second
    assert len(second) == 40
    assert (done.status, again.status) == ("executed", "executed")
    assert await knock(ctx, hello(charger, OLD)) == [Entry.WRONG_PASSWORD]
    assert await knock(ctx, hello(charger, first)) == [Entry.WRONG_PASSWORD]
    assert await knock(ctx, hello(charger, second)) == [Entry.WELCOME]
    shown = await ctx.db.read(owner.actor, commands.list_commands, charger.id)
    assert second not in str(shown)
    assert second not in str(await row_of(ctx, charger))


async def test_a_rejected_password_changes_nothing(ctx):
    charger, owner = await owned(ctx)
    for status in ("Rejected", "NotSupported", "CALLERROR"):
        async with Answering(ctx, charger.id) as there:
            there.reject(status)
            done = await security.rotate_password(ctx, owner.actor, charger.id)
        assert done.status == "rejected"
        assert await goods(ctx, charger) == {OLD}
        row = await row_of(ctx, charger)
        assert row.candidate_hashes is None


async def test_a_connection_that_is_cut_before_the_answer_leaves_both_passwords_good(ctx):
    charger, owner = await owned(ctx)
    async with Answering(ctx, charger.id) as there:
        there.wrong = ChargerOffline()
        await security.rotate_password(ctx, owner.actor, charger.id)
    sent = there.asked[0].value
    row = await row_of(ctx, charger)
    key = ctx.settings.secret_key()
    assert (row.password_hash, row.candidate_hashes) == (machine_hash(OLD, key), machine_hash(sent, key))
    found = await security.look(ctx, owner.actor, charger.id)
    assert found.has_candidate
    assert await knock(ctx, hello(charger, sent)) == [Entry.WELCOME]
    assert await knock(ctx, hello(charger, OLD)) == [Entry.WRONG_PASSWORD]


async def test_a_charger_that_comes_back_with_the_new_password_before_its_answer_is_heard(ctx):
    charger, owner = await owned(ctx)
    async with Answering(ctx, charger.id) as there:

        async def comes_back(asked) -> None:
            assert await knock(ctx, hello(charger, asked.value)) == [Entry.WELCOME]

        there.before, there.wrong = comes_back, ChargerOffline()
        await security.rotate_password(ctx, owner.actor, charger.id)
    sent = there.asked[0].value
    row = await row_of(ctx, charger)
    assert (row.password_hash, row.candidate_hashes) == (machine_hash(sent, ctx.settings.secret_key()), None)


async def test_a_password_set_by_hand_is_kept_in_step_too(ctx):
    charger, owner = await owned(ctx)
    by_hand = ByHand("ChangeConfiguration", '{"key":"AuthorizationKey","value":"00112233445566778899"}')
    async with Answering(ctx, charger.id):
        await commands.ask(ctx, owner.actor, charger.id, by_hand)
    assert await knock(ctx, hello(charger, "00112233445566778899")) == [Entry.WELCOME]
    member = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    with pytest.raises(Forbidden):
        await commands.ask(ctx, member.actor, charger.id, SetKey("SecurityProfile", "2"))


@pytest.mark.parametrize("password", ["short", "ab" * 7, "ab" * 21, "abc" * 7, "not hexadecimal digits"])
async def test_a_password_that_chargers_do_not_take_is_refused(ctx, password):
    charger, owner = await owned(ctx)
    with pytest.raises(Invalid):
        await security.rotate_password(ctx, owner.actor, charger.id, password)


# --- profile --------------------------------------------------------------------------------------


async def test_each_profile_has_its_conditions(ctx):
    await give_authority(ctx)
    charger, owner = await owned(ctx, password="")
    secure = over_tls(ctx)

    async def why(profile: int, where=secure, **over) -> str:
        with pytest.raises((NotReadyForProfile, ProfileNotRaised, Invalid)) as wrong:
            await security.raise_profile(where, owner.actor, charger.id, profile, **over)
        return wrong.value.detail

    assert "no password" in await why(1)
    await set_row(ctx, charger, password_hash=machine_hash(OLD, ctx.settings.secret_key()))
    assert "VOLTYARD_OCPP_TLS_PORT" in await why(2, ctx)
    assert "root certificate" in await why(2)
    assert "certificate of its own" in await why(3, is_sure=True)
    assert "no such security profile" in await why(4)
    assert "can only be raised" in await why(0)
    async with Answering(ctx, charger.id) as there:
        await certificates.install_root(ctx, owner.actor, charger.id)
        await security.raise_profile(secure, owner.actor, charger.id, 2)
        await certificate_for(ctx, charger)
        await security.raise_profile(secure, owner.actor, charger.id, 3)
    assert [asked.value for asked in there.asked if isinstance(asked, SetKey)] == ["2", "3"]
    assert (await row_of(ctx, charger)).wanted_profile == 3


async def test_a_charger_that_came_over_tls_trusts_us_evidently(ctx):
    charger, owner = await owned(ctx)
    await knock(ctx, hello(charger, OLD, is_tls=True))
    async with Answering(ctx, charger.id):
        await security.raise_profile(over_tls(ctx), owner.actor, charger.id, 2)
    found = await security.look(ctx, owner.actor, charger.id)
    assert (found.enforced, found.wanted, found.in_use) == (2, None, 2)


async def test_a_profile_that_the_charger_refused_is_not_waited_for(ctx):
    charger, owner = await owned(ctx)
    async with Answering(ctx, charger.id) as there:
        there.reject()
        await security.raise_profile(ctx, owner.actor, charger.id, 1)
    assert (await row_of(ctx, charger)).wanted_profile is None


async def test_only_the_terminal_lowers_a_profile(ctx):
    charger, owner = await owned(ctx)
    await set_row(ctx, charger, security_profile=2)
    with pytest.raises(ProfileNotRaised, match="only be raised"):
        await security.raise_profile(ctx, owner.actor, charger.id, 1)
    with pytest.raises(AssertionError):
        await ctx.db.work(owner.actor, security.lower_profile, charger.identity, 1)
    await ctx.db.work(SYSTEM, security.lower_profile, charger.identity.lower(), 1)
    assert (await row_of(ctx, charger)).security_profile == 1
    with pytest.raises(Invalid):
        await ctx.db.work(SYSTEM, security.lower_profile, charger.identity, 2)
    with pytest.raises(NotFound):
        await ctx.db.work(SYSTEM, security.lower_profile, "nobody", 0)


async def test_only_those_who_may_change_chargers_change_their_security(ctx):
    charger, _ = await owned(ctx)
    member = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    stranger = await make_user(ctx)
    for person, wrong in ((member, Forbidden), (stranger, NotFound)):
        with pytest.raises(wrong):
            await security.rotate_password(ctx, person.actor, charger.id)
        with pytest.raises(wrong):
            await security.raise_profile(ctx, person.actor, charger.id, 1)


# --- what is shown --------------------------------------------------------------------------------


async def test_how_a_charger_proves_itself_is_shown_to_those_who_see_sensitive_data(ctx):
    charger, owner = await owned(ctx)
    await knock(ctx, hello(charger, "wrong"))
    found = await security.look(over_tls(ctx), owner.actor, charger.id)
    assert (found.enforced, found.in_use, found.has_password, found.is_pin_kept) == (0, None, True, True)
    assert found.refusal is not None
    assert found.refusal.why == "wrong_password"
    assert found.plain_url == f"ws://localhost:8887/ocpp/{charger.identity}"
    assert found.tls_url == f"wss://localhost:8888/ocpp/{charger.identity}"
    basic = await make_member(ctx, charger.location_id, Level.BASIC)
    with pytest.raises(Forbidden):
        await security.look(ctx, basic.actor, charger.id)


async def test_a_refusal_of_an_earlier_owners_time_is_not_shown(ctx, clock):
    charger, owner = await owned(ctx)
    await knock(ctx, hello(charger, "wrong"))
    clock.advance(60)
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    location = await make_location(ctx, owner)
    await chargers.claim(ctx, owner.actor, location.id, identity=charger.identity, pin=PIN)
    assert (await security.look(ctx, owner.actor, charger.id)).refusal is None


@pytest.mark.parametrize(
    ("number", "shown"),
    [("89310410106543789301", "8931••••••••••••9301"), ("12345678", "••••••••"), (None, None)],
)
def test_numbers_of_contracts_are_shown_in_part(number, shown):
    assert partly(number) == shown


# --- PIN ------------------------------------------------------------------------------------------


async def test_a_pin_is_shown_to_those_who_may_and_each_look_is_noted(ctx):
    charger, owner = await owned(ctx)
    key = ctx.settings.secret_key()
    member = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    program = Actor(Kind.TOKEN, owner.actor.subject_id, owner.actor.team_ids, "api")
    for actor in (owner.actor, member.actor, program):
        assert await ctx.db.work(actor, security.reveal_pin, charger.id, key) == PIN
    looks = await ctx.db.read(owner.actor, security.list_looks, charger.id)
    assert [(each.actor_id, each.door, each.what) for each in looks] == [
        (owner.actor.subject_id, "api", "pin"),
        (member.actor.subject_id, "portal", "pin"),
        (owner.actor.subject_id, "portal", "pin"),
    ]
    basic = await make_member(ctx, charger.location_id, Level.BASIC)
    with pytest.raises(Forbidden):
        await ctx.db.work(basic.actor, security.reveal_pin, charger.id, key)
    with pytest.raises(NotFound):
        await ctx.db.work((await make_user(ctx)).actor, security.reveal_pin, charger.id, key)
    assert PIN not in str((await row_of(ctx, charger)).pin_sealed)


async def test_a_pin_of_before_is_shown_once_it_was_imported_anew(ctx):
    charger, owner = await owned(ctx)
    key = ctx.settings.secret_key()
    await set_row(ctx, charger, pin_sealed=None)
    with pytest.raises(PinNotKept, match="import it anew"):
        await ctx.db.work(owner.actor, security.reveal_pin, charger.id, key)
    wrong, right = (Delivered(charger.identity, pin) for pin in ("9999", PIN))
    for delivered in (wrong, right):
        assert await ctx.db.work(SYSTEM, chargers.register, [delivered], key) == [charger.identity]
    assert await ctx.db.work(owner.actor, security.reveal_pin, charger.id, key) == PIN


async def test_a_charger_without_a_pin_says_so(ctx):
    charger, owner = await owned(ctx)
    await set_row(ctx, charger, pin_sealed=None, pin_hash=None)
    with pytest.raises(PinNotKept, match="without a PIN"):
        await ctx.db.work(owner.actor, security.reveal_pin, charger.id, ctx.settings.secret_key())


# --- security events ------------------------------------------------------------------------------


async def tell(ctx, charger, *said: SecurityTold) -> None:
    await ctx.db.work(SYSTEM, security.told, [(place_of(charger), each) for each in said])


async def test_events_are_kept_newest_first_and_what_matters_is_marked(ctx, clock):
    charger, owner = await owned(ctx)
    at = clock.now() - timedelta(minutes=1)
    await tell(ctx, charger, SecurityTold("StartupOfTheDevice", at, "x" * 300))
    await tell(ctx, charger, SecurityTold("TamperDetectionActivated", at + timedelta(days=900)))
    found = await ctx.db.read(owner.actor, security.list_events, charger.id)
    assert [(each.kind, each.is_critical, each.told_at) for each in found] == [
        ("TamperDetectionActivated", True, None),
        ("StartupOfTheDevice", False, at),
    ]
    assert len(found[1].info) == 255
    after = await ctx.db.read(owner.actor, security.list_events, charger.id, after=found[0].number)
    assert after == found[1:]


async def test_a_charger_that_tells_without_end_fills_nothing(ctx):
    charger, owner = await owned(ctx)
    await tell(ctx, charger, *[SecurityTold("MemoryExhaustion")] * (SECURITY_EVENTS_OF_CHARGER_MAX + 5))
    kept = await ctx.db.read(owner.actor, security.list_events, charger.id, limit=5_000)
    assert len(kept) == SECURITY_EVENTS_OF_CHARGER_MAX


async def test_events_are_forgotten_in_time_and_hidden_from_a_later_owner(ctx, clock):
    charger, owner = await owned(ctx)
    await tell(ctx, charger, SecurityTold("StartupOfTheDevice"))
    clock.advance(1)
    await ctx.db.work(owner.actor, chargers.unlink, charger.location_id, charger.id)
    location = await make_location(ctx, owner)
    await chargers.claim(ctx, owner.actor, location.id, identity=charger.identity, pin=PIN)
    assert await ctx.db.read(owner.actor, security.list_events, charger.id) == []
    assert await ctx.db.work(SYSTEM, security.forget_old) == 0
    clock.advance(timedelta(days=SECURITY_EVENT_DAYS + 1).total_seconds())
    assert await ctx.db.work(SYSTEM, security.forget_old) == 1


async def test_the_papers_of_a_charger_are_its_certificates_and_its_roots(ctx):
    await give_authority(ctx)
    charger, owner = await owned(ctx)
    await certificate_for(ctx, charger)
    async with Answering(ctx, charger.id):
        await certificates.install_root(ctx, owner.actor, charger.id)
    found = await ctx.db.read(owner.actor, security.papers, charger.id)
    assert ([each.status for each in found.own], [each.name for each in found.roots]) == (
        ["accepted"],
        ["Test root"],
    )

"""How chargers prove who they are: the rules as values, then sockets that come with what they have."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_charger, make_location, unique
from tests.unit.chargers.papers import der, give_authority
from voltyard.accounts.secrets import machine_hash
from voltyard.chargers import certificates as room
from voltyard.chargers import credentials, security_store
from voltyard.chargers import service as chargers
from voltyard.chargers.credentials import Answered, Kept, Paper, Proof, Shown, weigh
from voltyard.kernel import certificates
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import CANDIDATE_S
from voltyard.speech import ByHand, Entry, GetKeys, Hello, SetKey

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(seconds=CANDIDATE_S + 1)

proofs = st.builds(Proof, st.booleans(), st.sampled_from(Shown), st.sampled_from(Paper))
keeps = st.builds(
    Kept,
    st.booleans(),
    st.integers(0, 3),
    st.none() | st.integers(1, 3),
    st.sampled_from([None, NOW, LONG_AGO]),
    st.booleans(),
)


# --- the rules ------------------------------------------------------------------------------------


@given(keeps, proofs)
def test_nobody_comes_in_below_the_profile_that_is_enforced(kept, proof):
    if weigh(kept, proof, NOW).is_in:
        assert proof.profile >= kept.profile


@given(keeps, proofs)
def test_a_password_that_is_known_has_to_be_shown_or_outdone(kept, proof):
    if kept.has_password and weigh(kept, proof, NOW).is_in:
        assert proof.profile >= 1


@given(keeps, proofs)
def test_what_is_enforced_never_sinks_and_rises_only_to_what_was_shown(kept, proof):
    letting = weigh(kept, proof, NOW)
    assert letting.enforced >= kept.profile
    if letting.enforced > kept.profile:
        assert letting.is_in
        assert letting.enforced == kept.wanted_profile <= proof.profile


@given(keeps, proofs)
def test_a_wanted_profile_locks_nobody_out_before_it_is_fulfilled(kept, proof):
    without = Kept(kept.has_password, kept.profile, None, kept.candidate_at, kept.is_candidate_late)
    if weigh(without, proof, NOW).is_in:
        assert weigh(kept, proof, NOW).is_in


@given(keeps, proofs)
def test_a_candidate_is_never_taken_and_dropped_at_once(kept, proof):
    letting = weigh(kept, proof, NOW)
    assert not (letting.takes_candidate and letting.drops_candidate)
    if not letting.is_in:
        assert not letting.takes_candidate
        assert not letting.drops_candidate


@pytest.mark.parametrize(
    ("profile", "proof", "entry"),
    [
        (0, Proof(False, Shown.NONE, Paper.ABSENT), Entry.WELCOME),
        (1, Proof(False, Shown.NONE, Paper.ABSENT), Entry.WRONG_PASSWORD),
        (1, Proof(False, Shown.PRESENT, Paper.ABSENT), Entry.WELCOME),
        (2, Proof(False, Shown.PRESENT, Paper.ABSENT), Entry.NOT_TLS),
        (2, Proof(True, Shown.NONE, Paper.ABSENT), Entry.WRONG_PASSWORD),
        (2, Proof(True, Shown.PRESENT, Paper.BAD), Entry.WELCOME),
        (2, Proof(True, Shown.NONE, Paper.GOOD), Entry.WELCOME),
        (3, Proof(False, Shown.PRESENT, Paper.GOOD), Entry.NOT_TLS),
        (3, Proof(True, Shown.PRESENT, Paper.ABSENT), Entry.NO_CERTIFICATE),
        (3, Proof(True, Shown.PRESENT, Paper.BAD), Entry.WRONG_CERTIFICATE),
        (3, Proof(True, Shown.NONE, Paper.GOOD), Entry.WELCOME),
    ],
)
def test_each_profile_asks_for_what_the_white_paper_says(profile, proof, entry):
    kept = Kept(profile > 0, profile, None, None, is_candidate_late=False)
    assert weigh(kept, proof, NOW).entry is entry


@pytest.mark.parametrize(
    ("at", "is_late", "is_dropped"), [(NOW, False, False), (LONG_AGO, False, True), (LONG_AGO, True, False)]
)
def test_the_old_password_wins_unless_the_ask_is_under_way_or_waits_for_a_restart(at, is_late, is_dropped):
    kept = Kept(True, 1, None, at, is_late)
    assert weigh(kept, Proof(False, Shown.PRESENT, Paper.ABSENT), NOW).drops_candidate is is_dropped


def test_passwords_come_as_text_or_as_the_bytes_that_their_digits_mean():
    key = b"key"

    class Row:
        password_hash = machine_hash("AB" * 10, key)
        candidate_hashes = None

    for sent in (b"AB" * 10, b"\xab" * 10, b"ab" * 10):
        assert credentials.shown(base64.b64encode(sent).decode(), Row, key) is Shown.PRESENT
    for sent in (b"AC" * 10, b""):
        assert credentials.shown(base64.b64encode(sent).decode(), Row, key) is Shown.NONE
    assert credentials.shown("not base64!", Row, key) is Shown.NONE
    assert credentials.shown(None, Row, key) is Shown.NONE


@pytest.mark.parametrize(
    ("ask", "found"),
    [
        (SetKey("AuthorizationKey", "AB"), ("authorizationkey", "AB")),
        (SetKey("authorizationKEY ", "AB"), ("authorizationkey", "AB")),
        (SetKey("HeartbeatInterval", "5"), None),
        (ByHand("ChangeConfiguration", '{"key":"SecurityProfile","value":2}'), ("securityprofile", "2")),
        (ByHand("ChangeConfiguration", "[]"), None),
        (ByHand("GetConfiguration", '{"key":"SecurityProfile"}'), None),
        (GetKeys(("AuthorizationKey",)), None),
    ],
)
def test_a_key_that_changes_credentials_is_known_by_whatever_door_it_comes(ask, found):
    assert credentials.key_of(ask) == found


# --- sockets --------------------------------------------------------------------------------------


def hello(charger, password: str | None = None, *, certificate=None, is_tls=False, **over) -> Hello:
    sent = base64.b64encode(password.encode()).decode() if password is not None else None
    session = new_id("soc")
    return Hello(
        charger.identity,
        session,
        "g",
        "ocpp1.6",
        "192.0.2.1",
        sent,
        is_tls=is_tls,
        certificate=certificate,
        **over,
    )


async def knock(ctx, *hellos: Hello, others=()) -> list[Entry]:
    found = await ctx.db.work(
        SYSTEM, chargers.connect, hellos, key=ctx.settings.secret_key(), is_holding=True, others=others
    )
    return [each.entry for each in found]


async def row_of(ctx, charger):
    return await ctx.db.read(SYSTEM, security_store.find_credentials, charger.id)


async def set_row(ctx, charger, **values) -> None:
    await ctx.db.work(SYSTEM, security_store.set_credentials, charger.id, **values)


async def a_charger(ctx, password="secret-of-before", **values):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id, password=password)
    if values:
        await set_row(ctx, charger, **values)
    return charger


async def certificate_for(ctx, charger, *, status="accepted", identity=None, issuer=None, **over) -> str:
    """Give a charger a certificate as if it had asked for one; return it as a Hello carries it."""
    _, ours = await give_authority(ctx)
    identity = identity or charger.identity
    request, _ = certificates.new_request(identity, "")
    times = {"now": ctx.clock.now(), "until_at": ctx.clock.now() + timedelta(days=10)} | over
    pem = certificates.sign_request(issuer or ours, request, identity=identity, **times)
    certificate_id = new_id("cert")
    await ctx.db.work(
        SYSTEM, security_store.insert_certificate,
        id=certificate_id, charger_id=charger.id, status="asked", request=request, word="",
    )  # fmt: skip
    await ctx.db.work(SYSTEM, room._signed, certificate_id, pem)
    await ctx.db.work(
        SYSTEM,
        lambda work: security_store.set_certificate(work, certificate_id, was=("signed",), status=status),
    )
    return der(pem)


async def test_what_a_socket_shows_is_kept_with_its_presence(ctx):
    charger = await a_charger(ctx)
    certificate = await certificate_for(ctx, charger)
    for one, profile in (
        (hello(charger, "secret-of-before"), 1),
        (hello(charger, "secret-of-before", is_tls=True), 2),
        (hello(charger, is_tls=True, certificate=certificate), 3),
    ):
        assert await knock(ctx, one) == [Entry.WELCOME]
        row = await row_of(ctx, charger)
        assert (row.profile_in_use, row.is_tls) == (profile, one.is_tls)
        assert row.security_profile == 0, "showing more than one must enforces nothing"
    assert row.certificate_serial


async def test_a_plain_socket_is_refused_from_profile_2_on_and_it_is_noted(ctx):
    charger = await a_charger(ctx, security_profile=2)
    assert await knock(ctx, hello(charger, "secret-of-before")) == [Entry.NOT_TLS]
    row = await row_of(ctx, charger)
    assert (row.refused_why, row.refused_address, row.refused_at) == ("not_tls", "192.0.2.1", ctx.clock.now())
    assert row.session_id is None
    assert await knock(ctx, hello(charger, "secret-of-before", is_tls=True)) == [Entry.WELCOME]


async def test_the_same_refusal_is_noted_once_a_minute(ctx, clock):
    charger = await a_charger(ctx, security_profile=2)
    first_at = clock.now()
    for _ in range(3):
        await knock(ctx, hello(charger))
        clock.advance(20)
    assert (await row_of(ctx, charger)).refused_at == first_at
    await knock(ctx, hello(charger))
    assert (await row_of(ctx, charger)).refused_at > first_at


@pytest.mark.parametrize(
    "wrong", ["name", "expired", "not yet", "foreign", "revoked", "somebody else's", "garbage"]
)
async def test_a_certificate_that_is_not_this_chargers_own_and_good_is_refused(ctx, wrong):
    charger = await a_charger(ctx, security_profile=3)
    now, day = ctx.clock.now(), timedelta(days=1)
    match wrong:
        case "name":
            paper = await certificate_for(ctx, charger, identity="CP-OTHER")
        case "expired":
            paper = await certificate_for(ctx, charger, now=now - 9 * day, until_at=now)
        case "not yet":
            paper = await certificate_for(ctx, charger, now=now + day, until_at=now + 9 * day)
        case "foreign":
            other = certificates.new_root("Test issuer", "Voltyard", now, now + 9 * day)
            paper = await certificate_for(ctx, charger, issuer=other)
        case "revoked":
            paper = await certificate_for(ctx, charger, status="revoked")
        case "garbage":
            paper = base64.b64encode(b"garbage").decode()
        case _:
            # The same name in another spelling of the identity, held by another charger.
            paper = await certificate_for(ctx, await make_charger(ctx), identity=charger.identity)
    assert await knock(ctx, hello(charger, is_tls=True, certificate=paper)) == [Entry.WRONG_CERTIFICATE]
    assert await knock(ctx, hello(charger, is_tls=True)) == [Entry.NO_CERTIFICATE]


async def test_a_certificate_of_an_authority_that_the_installation_trusts_is_good(ctx):
    charger = await a_charger(ctx, security_profile=3)
    now = ctx.clock.now()
    other = certificates.new_root("Maker's root", "Maker", now, now + timedelta(days=9))
    request, _ = certificates.new_request(charger.identity, "")
    paper = der(
        certificates.sign_request(
            other, request, identity=charger.identity, now=now, until_at=now + timedelta(days=9)
        )
    )
    knocking = hello(charger, is_tls=True, certificate=paper)
    assert await knock(ctx, knocking) == [Entry.WRONG_CERTIFICATE]
    assert await knock(ctx, knocking, others=(other.certificate_pem,)) == [Entry.WELCOME]


async def test_coming_with_a_certificate_proves_that_it_was_taken(ctx):
    charger = await a_charger(ctx)
    older = await certificate_for(ctx, charger, status="accepted")
    newer = await certificate_for(ctx, charger, status="signed")
    await knock(ctx, hello(charger, is_tls=True, certificate=newer))
    found = await ctx.db.read(SYSTEM, room.of_charger, charger.id)
    assert [each.status for each in found] == ["accepted", "replaced"]
    assert await knock(ctx, hello(charger, is_tls=True, certificate=older)) == [Entry.WELCOME]


async def test_a_wanted_profile_is_enforced_from_the_first_socket_that_fulfils_it(ctx):
    charger = await a_charger(ctx, security_profile=1, wanted_profile=2)
    assert await knock(ctx, hello(charger, "secret-of-before")) == [Entry.WELCOME]
    assert (await row_of(ctx, charger)).security_profile == 1
    assert await knock(ctx, hello(charger, "secret-of-before", is_tls=True)) == [Entry.WELCOME]
    row = await row_of(ctx, charger)
    assert (row.security_profile, row.wanted_profile) == (2, None)
    assert await knock(ctx, hello(charger, "secret-of-before")) == [Entry.NOT_TLS]


# --- new passwords --------------------------------------------------------------------------------

OLD, NEW = "secret-of-before", "00112233445566778899aabbccddeeff00112233"


async def send(ctx, charger, answered: Answered | None) -> None:
    ask, key = SetKey("AuthorizationKey", NEW), ctx.settings.secret_key()
    await ctx.db.work(SYSTEM, credentials.about_to_set, charger.id, ask, key)
    if answered is not None:
        await ctx.db.work(SYSTEM, credentials.was_set, charger.id, ask, answered, key)


async def goods(ctx, charger) -> set[str]:
    """Return which of the passwords are good, without any of them being tried."""
    row = await row_of(ctx, charger)
    held = {row.password_hash, row.candidate_hashes}
    return {each for each in (OLD, NEW) if machine_hash(each, ctx.settings.secret_key()) in held}


@pytest.mark.parametrize(
    ("answered", "good"),
    [
        (Answered.OBEYED, {NEW}),
        (Answered.REFUSED, {OLD}),
        (Answered.NOTHING, {OLD, NEW}),
        (Answered.LATER, {OLD, NEW}),
        (None, {OLD, NEW}),
    ],
)
async def test_a_new_password_counts_as_far_as_the_charger_has_taken_it(ctx, answered, good):
    charger = await a_charger(ctx)
    await send(ctx, charger, answered)
    assert await goods(ctx, charger) == good


@pytest.mark.parametrize("wins", [OLD, NEW])
async def test_without_an_answer_the_password_that_the_charger_comes_with_wins(ctx, clock, wins):
    charger = await a_charger(ctx)
    await send(ctx, charger, Answered.NOTHING)
    clock.advance(CANDIDATE_S + 1)
    assert await knock(ctx, hello(charger, wins)) == [Entry.WELCOME]
    assert await goods(ctx, charger) == {wins}
    assert await knock(ctx, hello(charger, OLD if wins == NEW else NEW)) == [Entry.WRONG_PASSWORD]


async def test_a_socket_between_the_sending_and_the_answer_costs_the_new_password_nothing(ctx):
    """The worst moment: the charger comes back with the old one while the new one is on its way to it."""
    charger = await a_charger(ctx)
    await send(ctx, charger, None)
    assert await knock(ctx, hello(charger, OLD)) == [Entry.WELCOME]
    assert await goods(ctx, charger) == {OLD, NEW}


async def test_a_candidate_that_was_forgotten_too_early_comes_back_when_no_answer_did(ctx, clock):
    charger = await a_charger(ctx)
    await send(ctx, charger, None)
    clock.advance(CANDIDATE_S + 1)
    await knock(ctx, hello(charger, OLD))
    assert await goods(ctx, charger) == {OLD}
    key = ctx.settings.secret_key()
    ask = SetKey("AuthorizationKey", NEW)
    await ctx.db.work(SYSTEM, credentials.was_set, charger.id, ask, Answered.NOTHING, key)
    assert await goods(ctx, charger) == {OLD, NEW}


async def test_after_a_restart_that_was_announced_the_new_password_wins(ctx, clock):
    charger = await a_charger(ctx)
    await send(ctx, charger, Answered.LATER)
    clock.advance(10 * CANDIDATE_S)
    assert await knock(ctx, hello(charger, OLD)) == [Entry.WELCOME]
    assert await knock(ctx, hello(charger, NEW)) == [Entry.WELCOME]
    assert await goods(ctx, charger) == {NEW}


async def test_a_charger_without_a_password_gets_its_first_one(ctx):
    charger = await a_charger(ctx, password="")
    assert await knock(ctx, hello(charger)) == [Entry.WELCOME]
    await send(ctx, charger, Answered.NOTHING)
    assert await knock(ctx, hello(charger)) == [Entry.WELCOME]
    assert await knock(ctx, hello(charger, NEW)) == [Entry.WELCOME]
    assert await knock(ctx, hello(charger)) == [Entry.WRONG_PASSWORD]


@pytest.mark.parametrize(
    ("answered", "wanted"),
    [(Answered.OBEYED, 2), (Answered.LATER, 2), (Answered.REFUSED, None), (Answered.NOTHING, None)],
)
async def test_a_profile_is_wanted_once_the_charger_has_accepted_it(ctx, answered, wanted):
    charger = await a_charger(ctx)
    ask = SetKey("SecurityProfile", "2")
    await ctx.db.work(SYSTEM, credentials.was_set, charger.id, ask, answered, ctx.settings.secret_key())
    assert (await row_of(ctx, charger)).wanted_profile == wanted


async def test_a_charger_that_came_back_before_its_answer_was_written_down_is_held_to_its_profile(ctx):
    charger = await a_charger(ctx)
    await knock(ctx, hello(charger, OLD, is_tls=True))
    ask = SetKey("SecurityProfile", "2")
    await ctx.db.work(
        SYSTEM, credentials.was_set, charger.id, ask, Answered.OBEYED, ctx.settings.secret_key()
    )
    row = await row_of(ctx, charger)
    assert (row.security_profile, row.wanted_profile) == (2, None)


@pytest.mark.parametrize("value", ["1", "0", "9", "two", "", "²"])
async def test_a_profile_that_is_no_higher_one_is_not_wanted(ctx, value):
    charger = await a_charger(ctx, security_profile=1)
    ask = SetKey("SecurityProfile", value)
    await ctx.db.work(
        SYSTEM, credentials.was_set, charger.id, ask, Answered.OBEYED, ctx.settings.secret_key()
    )
    assert (await row_of(ctx, charger)).wanted_profile is None


async def test_two_sockets_of_a_new_charger_are_held_as_ever(ctx):
    class Unknown:
        identity = unique("NEW")

    assert await knock(ctx, hello(Unknown, is_tls=True), hello(Unknown)) == [Entry.WELCOME] * 2

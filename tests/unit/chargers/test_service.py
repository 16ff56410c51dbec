"""Chargers: the inventory, claiming, sockets of which the newest counts, and what chargers say."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.factories import (
    PIN,
    SYSTEM,
    charger_by_identity,
    make_charger,
    make_location,
    make_member,
    make_user,
    place_of,
    unique,
)
from voltyard.chargers import service as chargers
from voltyard.chargers.events import ChargerChanged
from voltyard.chargers.service import ChargerElsewhere, Delivered, Place, WrongPin, believed, is_believed
from voltyard.kernel.errors import Forbidden, Invalid, NotFound, TooMany
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import PIN_TRIES_PER_HOUR_MAX
from voltyard.locations.access import Level
from voltyard.speech import Booted, ConnectorStatus, Entry, Hello, StatusTold, Superseded, Welcome

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def hello(identity: str, password: str | bytes | None = None, **over) -> Hello:
    sent = password.encode() if isinstance(password, str) else password
    return Hello(
        identity,
        over.get("session_id") or new_id("soc"),
        over.get("gateway", "gateway-1"),
        "ocpp1.6",
        "192.0.2.1",
        base64.b64encode(sent).decode() if sent is not None else None,
    )


async def connect(ctx, *hellos: Hello, is_holding=True) -> list[Welcome]:
    return await ctx.db.work(
        SYSTEM, chargers.connect, list(hellos), key=ctx.settings.secret_key(), is_holding=is_holding
    )


async def look(ctx, charger_id: str, actor=SYSTEM):
    return await ctx.db.read(actor, chargers.get, charger_id)


async def register(ctx, *delivered: Delivered) -> list[str]:
    return await ctx.db.work(SYSTEM, chargers.register, list(delivered), ctx.settings.secret_key())


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told_at", "is_right"),
    [
        (NOW, True),
        (NOW + timedelta(minutes=5), True),
        (NOW + timedelta(minutes=6), False),
        (NOW - timedelta(days=399), True),
        (NOW - timedelta(days=401), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (None, False),
    ],
)
def test_an_instant_that_cannot_be_right_is_replaced_by_ours(told_at, is_right):
    assert is_believed(told_at, NOW) is is_right
    assert believed(told_at, NOW) == (told_at if is_right else NOW)


# --- the inventory --------------------------------------------------------------------------------


async def test_a_delivery_fills_the_inventory_once(ctx):
    one, two = unique("CP"), unique("CP")
    assert await register(ctx, Delivered(one), Delivered(two, vendor="Acme")) == []
    assert await register(ctx, Delivered(one.lower())) == [one.lower()]
    found = await charger_by_identity(ctx, two)
    assert (found.identity, found.vendor, found.location_id, found.connection) == (
        two,
        "Acme",
        None,
        "never_seen",
    )


async def test_a_charger_that_stands_twice_in_one_delivery_is_told(ctx):
    identity = unique("CP")
    assert await register(ctx, Delivered(identity), Delivered(identity.lower())) == [identity.lower()]


@pytest.mark.parametrize("identity", ["", " ", "a/b", "x" * 49, "naïve", "a\x00b"])
async def test_what_no_charger_can_be_called_is_refused(ctx, identity):
    with pytest.raises(Invalid):
        await register(ctx, Delivered(identity))
    with pytest.raises(Invalid):
        await chargers.claim(ctx, SYSTEM, (await make_location(ctx)).id, identity=identity)


async def test_a_held_charger_becomes_registered_and_keeps_what_it_said_of_itself(ctx):
    identity = unique("CP")
    (welcome,) = await connect(ctx, hello(identity))
    await ctx.db.work(SYSTEM, chargers.boot, [(Place(welcome.charger_id, None), Booted("Acme", "One"))])
    assert await register(ctx, Delivered(identity, PIN, password="sesame")) == []
    found = await charger_by_identity(ctx, identity)
    assert (found.id, found.vendor, found.model) == (welcome.charger_id, "Acme", "One")
    assert (await connect(ctx, hello(identity)))[0].entry is Entry.WRONG_PASSWORD
    assert (await connect(ctx, hello(identity, "sesame")))[0].entry is Entry.WELCOME


# --- claiming -------------------------------------------------------------------------------------


async def test_a_charger_is_claimed_with_the_pin_of_its_sticker(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    waiting = await make_charger(ctx)
    listening = await ctx.bus.listen(f"live.{location.id}.>", queue_max=5)
    claimed = await chargers.claim(
        ctx, owner.actor, location.id, identity=waiting.identity.lower(), pin=f" {PIN} "
    )
    assert (claimed.id, claimed.location_id, claimed.identity) == (waiting.id, location.id, waiting.identity)
    assert (await listening.next())[1] == ChargerChanged(waiting.id, location.id, "claimed")
    again = await chargers.claim(ctx, owner.actor, location.id, identity=waiting.identity, pin=PIN)
    assert again == claimed


async def test_a_wrong_pin_and_an_unknown_serial_number_are_told_alike(ctx):
    owner = await make_user(ctx)
    location, waiting = await make_location(ctx, owner), await make_charger(ctx)
    seen = []
    for identity, pin in ((waiting.identity, "0000"), (waiting.identity, ""), (unique("CP"), PIN)):
        with pytest.raises(WrongPin) as caught:
            await chargers.claim(ctx, owner.actor, location.id, identity=identity, pin=pin)
        seen.append((caught.value.detail, dict(caught.value.facts)))
    assert seen[0] == seen[1] == seen[2]


async def test_a_charger_without_a_pin_cannot_be_claimed_with_an_empty_one(ctx):
    location, waiting = await make_location(ctx), await make_charger(ctx, pin="")
    with pytest.raises(WrongPin):
        await chargers.claim(ctx, SYSTEM, location.id, identity=waiting.identity, pin="")


async def test_wrong_pins_are_counted_and_limited_for_an_hour(ctx, clock):
    location, waiting = await make_location(ctx), await make_charger(ctx)

    def claim(pin):
        return chargers.claim(ctx, SYSTEM, location.id, identity=waiting.identity, pin=pin)

    for _ in range(PIN_TRIES_PER_HOUR_MAX):
        with pytest.raises(WrongPin):
            await claim("0000")
        clock.advance(60)
    with pytest.raises(TooMany) as caught:
        await claim(PIN)
    assert caught.value.facts["retry_after_s"] == 3600
    clock.advance(3_600)
    assert (await claim(PIN)).location_id == location.id


async def test_a_charger_at_another_location_must_be_unlinked_there_first(ctx):
    here, there = await make_location(ctx), await make_location(ctx)
    taken = await make_charger(ctx, there.id)
    with pytest.raises(ChargerElsewhere):
        await chargers.claim(ctx, SYSTEM, here.id, identity=taken.identity, pin=PIN)
    await ctx.db.work(SYSTEM, chargers.unlink, there.id, taken.id)
    moved = await chargers.claim(ctx, SYSTEM, here.id, identity=taken.identity, pin=PIN)
    assert (moved.id, moved.location_id, moved.name) == (taken.id, here.id, "")


async def test_of_two_who_claim_at_once_one_gets_the_charger(ctx):
    waiting = await make_charger(ctx)
    places = [await make_location(ctx) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(chargers.claim(ctx, SYSTEM, each.id, identity=waiting.identity, pin=PIN) for each in places),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in outcomes) == ["Charger", "ChargerElsewhere"]


async def test_an_administrator_claims_without_the_pin_but_only_where_it_is_allowed(ctx):
    admin = await make_user(ctx, is_admin=True)
    own, foreign = await make_location(ctx, admin), await make_location(ctx)
    waiting = await make_charger(ctx)
    with pytest.raises(NotFound):
        await chargers.claim(ctx, admin.actor, foreign.id, identity=waiting.identity)
    assert (await chargers.claim(ctx, admin.actor, own.id, identity=waiting.identity)).location_id == own.id


async def test_those_without_full_access_cannot_claim_rename_or_unlink(ctx):
    location = await make_location(ctx)
    charger, waiting = await make_charger(ctx, location.id), await make_charger(ctx)
    for level in (Level.BASIC, Level.SENSITIVE):
        member = await make_member(ctx, location.id, level)
        with pytest.raises(Forbidden):
            await chargers.claim(ctx, member.actor, location.id, identity=waiting.identity, pin=PIN)
        with pytest.raises(Forbidden):
            await ctx.db.work(member.actor, chargers.rename, charger.id, "Mine")
        with pytest.raises(Forbidden):
            await ctx.db.work(member.actor, chargers.unlink, location.id, charger.id)


async def test_a_charger_gets_a_name_and_loses_it(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    named = await ctx.db.work(SYSTEM, chargers.rename, charger.id, " Garage ")
    assert (named.name, named.label) == ("Garage", "Garage")
    assert (await ctx.db.work(SYSTEM, chargers.rename, charger.id, "")).label == charger.identity
    with pytest.raises(Invalid):
        await ctx.db.work(SYSTEM, chargers.rename, charger.id, "x" * 256)


async def test_an_unlinked_charger_is_out_of_sight_and_may_be_claimed_again(ctx):
    owner = await make_user(ctx)
    location, other = await make_location(ctx, owner), await make_location(ctx, owner)
    charger = await make_charger(ctx, location.id)
    with pytest.raises(NotFound):
        await ctx.db.work(owner.actor, chargers.unlink, other.id, charger.id)
    await ctx.db.work(owner.actor, chargers.unlink, location.id, charger.id)
    with pytest.raises(NotFound):
        await look(ctx, charger.id, owner.actor)
    assert await ctx.db.read(owner.actor, chargers.list_chargers) == []
    await chargers.claim(ctx, owner.actor, other.id, identity=charger.identity, pin=PIN)


# --- who sees which -------------------------------------------------------------------------------


async def test_whoever_sees_the_location_sees_its_chargers(ctx, clock):
    location = await make_location(ctx)
    charger = await make_charger(ctx, location.id)
    member = await make_member(ctx, location.id, Level.BASIC)
    assert await look(ctx, charger.id, member.actor) == charger
    assert await ctx.db.read(member.actor, chargers.list_chargers) == [charger]
    expired = await make_member(ctx, location.id, Level.FULL, until_at=clock.now())
    for person in (await make_user(ctx), expired):
        with pytest.raises(NotFound):
            await look(ctx, charger.id, person.actor)
        assert await ctx.db.read(person.actor, chargers.list_chargers) == []


@pytest.mark.parametrize("wrong", ["chg_" + "0" * 26, "loc_" + "0" * 26, ""])
async def test_a_charger_that_is_not_there_is_not_found(ctx, wrong):
    with pytest.raises(NotFound):
        await look(ctx, wrong)


async def test_only_administrators_see_who_waits(ctx):
    identity = unique("CP")
    await connect(ctx, hello(identity))
    admin, person = await make_user(ctx, is_admin=True), await make_user(ctx)
    assert [each.identity for each in await ctx.db.read(admin.actor, chargers.list_waiting)] == [identity]
    assert [each.identity for each in await ctx.db.read(SYSTEM, chargers.list_waiting)] == [identity]
    assert await ctx.db.read(person.actor, chargers.list_waiting) == []


async def test_a_list_is_filtered_searched_and_paged(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    one, two, three = [
        await make_charger(ctx, location.id, vendor=name) for name in ("Acme", "Bolt 5%", "Cøl")
    ]
    await ctx.db.work(SYSTEM, chargers.rename, one.id, "Århus")
    await connect(ctx, hello(two.identity), hello(three.identity, session_id="soc_x"))
    await ctx.db.work(SYSTEM, chargers.disconnect, three.id, "soc_x")
    await ctx.db.work(SYSTEM, chargers.tell_status, [(place_of(two), StatusTold(1, ConnectorStatus.FAULTED))])

    async def found(**over):
        return {each.id for each in await ctx.db.read(owner.actor, chargers.list_chargers, **over)}

    assert await found() == {one.id, two.id, three.id}
    assert await found(q="ÅRHUS") == {one.id}
    assert await found(q=two.identity[3:].upper()) == {two.id}
    assert await found(q="5%") == {two.id}
    assert await found(q="_") == set()
    assert await found(q="cøl") == {three.id}
    assert await found(is_online=True) == {two.id}
    assert await found(is_online=False) == {one.id, three.id}
    assert await found(is_online=False, is_seen=True) == {three.id}
    assert await found(is_online=False, is_seen=False) == {one.id}
    assert await found(status="Faulted") == {two.id}
    assert await found(location_id="loc_" + "0" * 26) == set()
    first = await ctx.db.read(owner.actor, chargers.list_chargers, limit=2)
    rest = await ctx.db.read(owner.actor, chargers.list_chargers, after=first[-1].id)
    assert [each.id for each in first + rest] == sorted((one.id, two.id, three.id), reverse=True)


# --- sockets --------------------------------------------------------------------------------------


async def test_a_charger_that_connects_is_online_until_its_session_ends(ctx, clock):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    knock = hello(charger.identity)
    assert await connect(ctx, knock) == [Welcome(Entry.WELCOME, charger.id, timezone="Europe/Amsterdam")]
    online = await look(ctx, charger.id)
    assert (online.connection, online.version, online.connected_at) == ("online", "ocpp1.6", clock.now())
    clock.advance(30)
    await ctx.db.work(SYSTEM, chargers.seen, [charger.id])
    await ctx.db.work(SYSTEM, chargers.disconnect, charger.id, knock.session_id)
    offline = await look(ctx, charger.id)
    assert (offline.connection, offline.disconnected_at, offline.seen_at) == (
        "offline",
        clock.now(),
        clock.now(),
    )


async def test_the_newest_session_counts_and_the_end_of_an_older_one_is_ignored(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    listening = await ctx.bus.listen(f"charger.{charger.id}.superseded", queue_max=5)
    old, new = hello(charger.identity), hello(charger.identity)
    await connect(ctx, old)
    await connect(ctx, new)
    heard = [(await listening.next())[1] for _ in range(2)]
    assert heard == [Superseded(charger.id, old.session_id), Superseded(charger.id, new.session_id)]
    await ctx.db.work(SYSTEM, chargers.disconnect, charger.id, old.session_id)
    assert (await look(ctx, charger.id)).is_online
    await ctx.db.work(SYSTEM, chargers.disconnect, charger.id, new.session_id)
    assert not (await look(ctx, charger.id)).is_online


async def test_two_sockets_of_one_charger_in_one_batch_leave_the_later_one(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    old, new = hello(charger.identity), hello(charger.identity)
    assert [each.entry for each in await connect(ctx, old, new)] == [Entry.WELCOME, Entry.WELCOME]
    await ctx.db.work(SYSTEM, chargers.disconnect, charger.id, old.session_id)
    assert (await look(ctx, charger.id)).is_online


async def test_the_identity_is_the_same_in_either_case(ctx):
    charger = await make_charger(ctx, identity=unique("CaSe"))
    for identity in (charger.identity.upper(), charger.identity.lower()):
        assert (await connect(ctx, hello(identity)))[0].charger_id == charger.id


async def test_a_gateway_that_starts_anew_holds_no_sockets(ctx):
    location = await make_location(ctx)
    ours, theirs = await make_charger(ctx, location.id), await make_charger(ctx, location.id)
    await connect(ctx, hello(ours.identity, gateway="a"), hello(theirs.identity, gateway="b"))
    assert await ctx.db.work(SYSTEM, chargers.forget_sockets, "a") == 1
    assert await ctx.db.work(SYSTEM, chargers.forget_sockets, "a") == 0
    assert not (await look(ctx, ours.id)).is_online
    assert (await look(ctx, theirs.id)).is_online


async def test_screens_hear_that_a_gateway_starts_anew(ctx):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    await connect(ctx, hello(charger.identity, gateway="a"))
    listening = await ctx.bus.listen("live.>", queue_max=5)
    await ctx.db.work(SYSTEM, chargers.forget_sockets, "a")
    assert (await listening.next())[1] == ChargerChanged(charger.id, charger.location_id, "disconnected")


@pytest.mark.parametrize("name", ["x" * 256, "two\nlines", "\x00"])
async def test_what_cannot_be_a_name_is_refused(ctx, name):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    with pytest.raises(Invalid):
        await ctx.db.work(SYSTEM, chargers.rename, charger.id, name)
    assert (await look(ctx, charger.id)).name == ""


async def test_an_unknown_charger_is_held_or_refused_as_the_installation_chose(ctx):
    identity = unique("CP")
    assert await connect(ctx, hello(identity), is_holding=False) == [Welcome(Entry.UNKNOWN)]
    (one, two) = await connect(ctx, hello(identity), hello(identity.lower()))
    assert one.entry is Entry.WELCOME
    assert one.charger_id == two.charger_id
    assert (await look(ctx, one.charger_id)).location_id is None


@pytest.mark.parametrize("identity", ["a\x00b", "x" * 49, " x", "é", ""])
async def test_a_charger_with_an_impossible_identity_is_unknown_and_hurts_no_other(ctx, identity):
    good = await make_charger(ctx)
    assert await connect(ctx, hello(identity), hello(good.identity)) == [
        Welcome(Entry.UNKNOWN),
        Welcome(Entry.WELCOME, good.id),
    ]


async def test_only_so_many_unknown_chargers_are_held(ctx, monkeypatch):
    monkeypatch.setattr(chargers, "UNKNOWN_CHARGERS_HELD_MAX", 2)
    known = await make_charger(ctx)
    knocks = [hello(unique("CP")) for _ in range(3)]
    assert [each.entry for each in await connect(ctx, *knocks)] == [Entry.WELCOME, Entry.WELCOME, Entry.FULL]
    assert [each.entry for each in await connect(ctx, hello("é"), hello(known.identity), knocks[2])] == [
        Entry.UNKNOWN,
        Entry.WELCOME,
        Entry.FULL,
    ]
    # Whoever is held may come again, and one that is claimed makes room.
    assert (await connect(ctx, knocks[0]))[0].entry is Entry.WELCOME
    admin = await make_user(ctx, is_admin=True)
    await chargers.claim(ctx, admin.actor, (await make_location(ctx, admin)).id, identity=knocks[0].identity)
    assert (await connect(ctx, knocks[2]))[0].entry is Entry.WELCOME


HEXADECIMAL = "0123456789abcdef0123456789ABCDEF01234567"


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("sesame", b"sesame"),
        ("pass:with:colons", b"pass:with:colons"),
        (HEXADECIMAL, HEXADECIMAL.encode()),
        (HEXADECIMAL.lower(), HEXADECIMAL.upper().encode()),
        (HEXADECIMAL.upper(), HEXADECIMAL.lower().encode()),
        (HEXADECIMAL.lower(), bytes.fromhex(HEXADECIMAL)),
        (HEXADECIMAL.upper(), bytes.fromhex(HEXADECIMAL)),
        ("sesame", b"sesame".hex().encode()),
        ("\xff\x00binary", "\xff\x00binary".encode()),
    ],
)
async def test_a_password_is_right_as_text_and_in_the_forms_of_its_hexadecimal(ctx, stored, sent):
    charger = await make_charger(ctx, password=stored)
    assert await connect(ctx, hello(charger.identity, sent)) == [Welcome(Entry.WELCOME, charger.id)]


@pytest.mark.parametrize("sent", [b"Sesame", b"", None, b"sesame ", b"00"])
async def test_a_wrong_password_or_none_keeps_a_charger_out(ctx, sent):
    charger = await make_charger(ctx, password="sesame")
    assert await connect(ctx, hello(charger.identity, sent)) == [Welcome(Entry.WRONG_PASSWORD)]
    garbled = replace_password(hello(charger.identity), "not base64!")
    assert await connect(ctx, garbled) == [Welcome(Entry.WRONG_PASSWORD)]
    assert not (await charger_by_identity(ctx, charger.identity)).is_online


def replace_password(knock: Hello, password: str) -> Hello:
    return Hello(knock.identity, knock.session_id, knock.gateway, knock.version, knock.address, password)


# --- what chargers say of themselves --------------------------------------------------------------


async def test_a_boot_is_stored_and_tells_whether_the_charger_is_claimed(ctx, clock):
    claimed, waiting = await make_charger(ctx, (await make_location(ctx)).id), await make_charger(ctx)
    said = Booted("Acme" * 50, "One", None, "BOX-1", "1.2.3", "8931", "2040", "meter", "M1")
    answers = await ctx.db.work(
        SYSTEM, chargers.boot, [(place_of(claimed), said), (place_of(waiting), Booted("B", "Two"))]
    )
    assert answers == [True, False]
    found = await look(ctx, claimed.id)
    assert (found.vendor, found.model, found.serial) == (("Acme" * 50)[:120], "One", "BOX-1")
    assert (found.firmware, found.booted_at) == ("1.2.3", clock.now())
    assert (await look(ctx, waiting.id)).model == "Two"


async def test_the_status_of_connectors_and_of_the_whole_is_kept(ctx, clock):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    place = place_of(charger)
    at = clock.now() - timedelta(minutes=20)
    await ctx.db.work(
        SYSTEM,
        chargers.tell_status,
        [
            (place, StatusTold(0, ConnectorStatus.AVAILABLE, told_at=at)),
            (place, StatusTold(2, ConnectorStatus.FAULTED, "GroundFailure", "hot", "Acme", "E42", at)),
            (place, StatusTold(1, ConnectorStatus.CHARGING)),
            (place, StatusTold(1, ConnectorStatus.FINISHING)),
        ],
    )
    found = await look(ctx, charger.id)
    assert found.status is ConnectorStatus.AVAILABLE
    assert [(each.number, each.status) for each in found.connectors] == [
        (1, ConnectorStatus.FINISHING),
        (2, ConnectorStatus.FAULTED),
    ]
    faulted = found.connectors[1]
    assert (faulted.error, faulted.info, faulted.vendor_error, faulted.status_at) == (
        "GroundFailure",
        "hot",
        "E42",
        at,
    )
    assert found.connectors[0].status_at == clock.now()
    await ctx.db.work(SYSTEM, chargers.tell_status, [(place, StatusTold(2, ConnectorStatus.AVAILABLE))])
    mended = (await look(ctx, charger.id)).connectors[1]
    assert (mended.status, mended.error, mended.info) == (ConnectorStatus.AVAILABLE, "NoError", None)


@pytest.mark.parametrize("told_at", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)])
async def test_a_status_from_an_impossible_time_is_timed_by_ours(ctx, clock, told_at):
    charger = await make_charger(ctx, (await make_location(ctx)).id)
    said = StatusTold(1, ConnectorStatus.AVAILABLE, told_at=told_at)
    await ctx.db.work(SYSTEM, chargers.tell_status, [(place_of(charger), said)])
    assert (await look(ctx, charger.id)).connectors[0].status_at == clock.now()


async def test_places_come_in_the_order_in_which_they_are_asked_for(ctx):
    location = await make_location(ctx)
    here, waiting = await make_charger(ctx, location.id), await make_charger(ctx)
    unknown = new_id("chg")
    asked = [waiting.id, here.id, unknown, here.id]
    assert await ctx.db.read(SYSTEM, chargers.places, asked) == [
        Place(waiting.id, None),
        Place(here.id, location.id),
        Place(unknown, None),
        Place(here.id, location.id),
    ]


def test_a_charger_that_was_seen_once_is_offline_and_not_unknown():
    seen = chargers.Charger(
        "chg_1",
        "CP",
        "",
        None,
        None,
        None,
        None,
        None,
        None,
        False,
        None,
        None,
        NOW,
        None,
        NOW,
        None,
        "NoError",
        (),
    )
    assert seen.connection == "offline"
    assert replace(seen, seen_at=None).connection == "never_seen"

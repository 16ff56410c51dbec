"""Reservations: made with the charger, in everybody else's way, and over when they should be."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.unit.central.speakers import handle
from voltyard.cards import service as cards
from voltyard.central import charging, status
from voltyard.chargers import service as chargers
from voltyard.chargers.events import ChargerMoved
from voltyard.kernel import jobs
from voltyard.kernel.errors import ChargerOffline, Forbidden, Invalid, NotFound, TimedOut
from voltyard.kernel.wire import decode
from voltyard.locations.access import Level
from voltyard.reservations import service as reservations
from voltyard.reservations.events import ReservationOver, ReservationWithdrawn
from voltyard.reservations.service import (
    AlreadyReserved,
    ConnectorKept,
    ReservationEnded,
    ReservationRefused,
    ReservationState,
    ReservationUnsupported,
)
from voltyard.speech import (
    Answer,
    Asked,
    CancelReservation,
    ConnectorStatus,
    Hello,
    Reserve,
    StartCharging,
    Started,
    StatusTold,
    Told,
    Verdict,
)
from voltyard.transactions import service as transactions

MINE, OTHER = "04AA", "04BB"
DOES = {ReservationOver: reservations.over, ReservationWithdrawn: reservations.withdrawn}


class Scene:
    """A charger with two connectors, two cards, and somebody who may control it."""

    def __init__(self, ctx, owner, charger):
        self.ctx, self.owner, self.charger = ctx, owner, charger
        self.asked = []
        self.words = {}
        self.is_silent = False

    @property
    def place(self):
        return place_of(self.charger)

    async def connect(self):
        hello = Hello(self.charger.identity, "ses-1", "gateway-1", "ocpp1.6", "192.0.2.7")
        key = self.ctx.settings.secret_key()
        await self.ctx.db.work(SYSTEM, chargers.connect, [hello], key=key, is_holding=False)
        self.serving = await self.ctx.bus.serve(f"charger.{self.charger.id}.ask", Asked, self.answer)

    async def leave(self):
        await self.ctx.db.work(SYSTEM, chargers.disconnect, self.charger.id, "ses-1")
        await self.serving.stop()

    async def answer(self, asked):
        self.asked.append(asked.ask)
        if self.is_silent:
            raise TimedOut
        word = self.words.get(type(asked.ask), "Accepted")
        return Told(Answer(word == "Accepted", word, f'{{"status":"{word}"}}'), "X", "{}")

    async def say(self, connector, status_word, **over):
        said = StatusTold(connector, status_word, **over)
        await handle(self.ctx, status.told, (self.place, said))

    async def reserve(self, tag=MINE, connector=1, minutes=30, actor=None, **over):
        until = self.ctx.clock.now() + timedelta(minutes=minutes)
        return await reservations.create(
            self.ctx,
            actor or self.owner.actor,
            self.charger.id,
            connector=connector,
            expires_at=until,
            **({"id_tag": tag} if "card_id" not in over else {}),
            **over,
        )

    async def start(self, tag, connector=1, meter=0, **over):
        (reply,) = await handle(
            self.ctx, charging.started, (self.place, Started(connector, tag, meter, **over))
        )
        return reply

    async def state(self, reservation):
        return await self.ctx.db.read(self.owner.actor, reservations.get, reservation.id)

    async def work_off(self, hours=0.0):
        self.ctx.clock.advance(hours * 3600)
        while claimed := await self.ctx.db.work(SYSTEM, jobs.claim, "test"):
            for job in claimed:
                for kind, do in DOES.items():
                    if job.kind == kind.__name__:
                        await do(self.ctx, decode(job.body, kind))
                await self.ctx.db.work(SYSTEM, jobs.done, job.id, "test")


@pytest.fixture
async def scene(ctx):
    return await make_scene(ctx)


async def make_scene(ctx):
    owner = await make_user(ctx)
    location = await make_location(ctx, owner)
    await make_card(ctx, location.id, id_tag=MINE)
    await make_card(ctx, location.id, id_tag=OTHER)
    made = Scene(ctx, owner, await make_charger(ctx, location.id))
    await made.connect()
    for number in (1, 2):
        await made.say(number, ConnectorStatus.AVAILABLE)
    return made


async def test_a_charger_that_accepts_keeps_the_connector(scene):
    made = await scene.reserve()
    assert scene.asked == [Reserve(1, made.number, MINE, made.expires_at)]
    assert (made.state, made.is_active, made.is_kept_by_charger) == (ReservationState.ACTIVE, True, True)
    card = await scene.ctx.db.read(scene.owner.actor, cards.find, scene.charger.location_id, MINE)
    assert made.card_id == card.id
    assert (await scene.reserve(card_id=card.id, connector=2)).id_tag == MINE


async def test_numbers_are_never_given_again(scene):
    first = await scene.reserve()
    await reservations.cancel(scene.ctx, scene.owner.actor, first.id)
    assert (await scene.reserve()).number > first.number


@pytest.mark.parametrize(
    ("word", "error", "part"),
    [
        ("Occupied", ReservationRefused, "somebody is using"),
        ("Faulted", ReservationRefused, "fault"),
        ("Unavailable", ReservationRefused, "out of service"),
        ("Strange", ReservationRefused, "without saying why"),
        ("Rejected", ReservationUnsupported, "all the same"),
        ("NotSupported", ReservationUnsupported, "all the same"),
    ],
)
async def test_a_charger_that_does_not_keep_it_is_told_in_words(scene, word, error, part):
    scene.words = {Reserve: word}
    with pytest.raises(error, match=part):
        await scene.reserve()
    (found,) = await scene.ctx.db.read(scene.owner.actor, reservations.list_reservations, scene.charger.id)
    assert (found.state, found.word) == (ReservationState.REFUSED, word)
    assert (await scene.start(OTHER)).verdict is Verdict.ACCEPTED


async def test_any_connector_that_cannot_be_kept_asks_to_choose_one(scene):
    scene.words = {Reserve: "Rejected"}
    with pytest.raises(ReservationUnsupported, match="choose one"):
        await scene.reserve(connector=0)


async def test_whoever_insists_has_voltyard_alone_keep_others_off(scene):
    scene.words = {Reserve: "NotSupported"}
    made = await scene.reserve(is_insisting=True)
    assert (made.state, made.is_kept_by_charger) == (ReservationState.ACTIVE, False)
    assert (await scene.start(OTHER)).verdict is Verdict.CONCURRENT
    await reservations.cancel(scene.ctx, scene.owner.actor, made.id)
    assert CancelReservation(made.number) not in scene.asked


async def test_insisting_does_not_help_where_somebody_charges(scene):
    scene.words = {Reserve: "Occupied"}
    with pytest.raises(ReservationRefused):
        await scene.reserve(is_insisting=True)


async def test_a_charger_that_is_away_keeps_nothing(scene):
    await scene.leave()
    with pytest.raises(ChargerOffline):
        await scene.reserve()


async def test_a_silent_charger_is_told_later_that_nothing_is_reserved(scene):
    scene.is_silent = True
    with pytest.raises(TimedOut):
        await scene.reserve()
    scene.is_silent = False
    scene.asked.clear()
    await scene.work_off()
    (found,) = await scene.ctx.db.read(scene.owner.actor, reservations.list_reservations, scene.charger.id)
    assert scene.asked == [CancelReservation(found.number)]


@pytest.mark.parametrize(
    ("over", "pointer"),
    [
        ({"connector": 3}, "/connector"),
        ({"connector": -1}, "/connector"),
        ({"minutes": 0}, "/expires_at"),
        ({"minutes": 60 * 24 * 8}, "/expires_at"),
        ({"tag": ""}, "/id_tag"),
        ({"tag": "x" * 21}, "/id_tag"),
    ],
)
async def test_what_makes_no_sense_is_pointed_at(scene, over, pointer):
    with pytest.raises(Invalid) as caught:
        await scene.reserve(**over)
    assert [where for where, _ in caught.value.errors] == [pointer]


async def test_a_connector_is_kept_for_one_card_at_a_time(scene):
    await scene.reserve()
    with pytest.raises(AlreadyReserved):
        await scene.reserve(OTHER)
    await scene.reserve(OTHER, connector=2)
    with pytest.raises(AlreadyReserved, match="all connectors"):
        await scene.reserve(OTHER, connector=0)
    scene.ctx.clock.advance(31 * 60)
    await scene.reserve(OTHER)


async def test_another_card_is_recorded_and_stopped(scene):
    made = await scene.reserve()
    reply = await scene.start(OTHER, meter=5)
    assert reply.verdict is Verdict.CONCURRENT
    (found,) = await scene.ctx.db.read(SYSTEM, transactions.list_transactions)
    assert (found.number, found.verdict, found.meter_start_wh) == (reply.number, "ConcurrentTx", 5)
    assert (await scene.state(made)).is_active
    assert (await scene.start(OTHER, connector=2)).verdict is Verdict.ACCEPTED


async def test_its_own_card_uses_it_up(scene):
    made = await scene.reserve()
    reply = await scene.start("04 aa", reservation=made.number)
    assert reply.verdict is Verdict.ACCEPTED
    found = await scene.state(made)
    assert (found.state, found.transaction_number) == (ReservationState.USED, reply.number)
    assert (await scene.start("04 aa", reservation=made.number)).number == reply.number
    assert (await scene.start(OTHER, meter=9)).verdict is Verdict.ACCEPTED


async def test_its_own_card_uses_it_up_without_its_number(scene):
    made = await scene.reserve()
    await scene.start(MINE)
    assert (await scene.state(made)).state is ReservationState.USED


async def test_a_refused_card_does_not_use_it_up(scene):
    made = await scene.reserve()
    card = await scene.ctx.db.read(SYSTEM, cards.find, scene.charger.location_id, MINE)
    await scene.ctx.db.work(SYSTEM, cards.change, card.id, is_blocked=True)
    assert (await scene.start(MINE, reservation=made.number)).verdict is Verdict.BLOCKED
    assert (await scene.state(made)).is_active


async def test_history_from_before_a_reservation_is_not_in_its_way(scene):
    before = scene.ctx.clock.now()
    scene.ctx.clock.advance(3600)
    made = await scene.reserve()
    assert (await scene.start(OTHER, told_at=before)).verdict is Verdict.ACCEPTED
    assert (await scene.start(MINE, meter=7, told_at=before)).verdict is Verdict.ACCEPTED
    assert (await scene.state(made)).is_active


async def test_the_last_free_connector_is_left_for_whoever_reserved_any(scene):
    made = await scene.reserve(connector=0)
    assert (await scene.start(OTHER, connector=1)).verdict is Verdict.ACCEPTED
    await scene.say(1, ConnectorStatus.CHARGING)
    assert (await scene.start(OTHER, connector=2)).verdict is Verdict.CONCURRENT
    assert (await scene.start(MINE, connector=2, meter=4)).verdict is Verdict.ACCEPTED
    assert (await scene.state(made)).state is ReservationState.USED


async def test_a_remote_start_with_another_card_is_refused_and_says_what_helps(scene):
    await scene.reserve()
    scene.asked.clear()
    ask = transactions.request_start
    with pytest.raises(ConnectorKept, match="cancel the reservation"):
        await ask(scene.ctx, scene.owner.actor, scene.charger.id, id_tag=OTHER, connector=1)
    assert scene.asked == []
    await ask(scene.ctx, scene.owner.actor, scene.charger.id, id_tag=OTHER, connector=2)
    await ask(scene.ctx, scene.owner.actor, scene.charger.id, id_tag=OTHER)
    await ask(scene.ctx, scene.owner.actor, scene.charger.id, id_tag=MINE, connector=1)
    assert [type(each) for each in scene.asked] == [StartCharging] * 3
    await scene.reserve(connector=2)
    with pytest.raises(ConnectorKept):
        await ask(scene.ctx, scene.owner.actor, scene.charger.id, id_tag=OTHER)


async def test_a_reservation_is_over_by_the_time_alone(scene):
    made = await scene.reserve()
    scene.ctx.clock.advance(30 * 60)
    assert (await scene.state(made)).state is ReservationState.EXPIRED
    assert (await scene.start(OTHER)).verdict is Verdict.ACCEPTED
    with pytest.raises(ReservationEnded):
        await reservations.cancel(scene.ctx, scene.owner.actor, made.id)


async def test_a_charger_that_still_keeps_it_after_its_time_is_told(scene):
    made = await scene.reserve()
    await scene.say(1, ConnectorStatus.RESERVED)
    scene.asked.clear()
    await scene.work_off(hours=1)
    assert scene.asked == [CancelReservation(made.number)]
    assert (await scene.state(made)).ended_at == made.expires_at


async def test_a_charger_that_freed_it_by_itself_is_left_in_peace(scene):
    await scene.reserve()
    scene.asked.clear()
    await scene.work_off(hours=1)
    assert scene.asked == []


async def test_a_cancelled_reservation_is_free_at_once_also_at_a_charger_that_is_away(scene):
    made = await scene.reserve()
    await scene.leave()
    found = await reservations.cancel(scene.ctx, scene.owner.actor, made.id)
    assert found.state is ReservationState.CANCELLED
    assert (await scene.start(OTHER)).verdict is Verdict.ACCEPTED
    await scene.connect()
    scene.asked.clear()
    await scene.work_off()
    assert scene.asked == [CancelReservation(made.number)]


@pytest.mark.parametrize("word", [ConnectorStatus.FAULTED, ConnectorStatus.UNAVAILABLE])
@pytest.mark.parametrize("connector", [0, 1])
async def test_a_connector_that_breaks_drops_its_reservation(scene, word, connector):
    made, other = await scene.reserve(), await scene.reserve(OTHER, connector=2)
    await scene.say(connector, word)
    assert (await scene.state(made)).state is ReservationState.DROPPED
    assert (await scene.state(other)).is_active is (connector == 1)


async def test_old_news_of_a_fault_drop_nothing(scene):
    before = scene.ctx.clock.now()
    scene.ctx.clock.advance(600)
    made = await scene.reserve()
    await scene.say(1, ConnectorStatus.FAULTED, told_at=before)
    assert (await scene.state(made)).is_active


async def test_a_charger_that_leaves_takes_no_reservation_along(scene):
    made = await scene.reserve()
    await scene.ctx.db.work(SYSTEM, chargers.unlink, scene.charger.location_id, scene.charger.id)
    owner = await make_user(scene.ctx)
    location = await make_location(scene.ctx, owner)
    await chargers.claim(scene.ctx, owner.actor, location.id, identity=scene.charger.identity, pin=PIN)
    find = reservations.list_reservations
    assert await scene.ctx.db.read(owner.actor, find, scene.charger.id) == []
    with pytest.raises(NotFound):
        await scene.ctx.db.read(owner.actor, reservations.get, made.id)
    with pytest.raises(NotFound):
        await scene.ctx.db.read(scene.owner.actor, reservations.get, made.id)
    await reservations.moved(scene.ctx, ChargerMoved(scene.charger.id))
    scene.asked.clear()
    await scene.work_off()
    assert CancelReservation(made.number) in scene.asked


async def test_only_those_who_may_control_reserve_and_cancel(scene):
    made = await scene.reserve()
    guest = await make_member(scene.ctx, scene.charger.location_id, Level.BASIC)
    with pytest.raises(Forbidden):
        await scene.reserve(connector=2, actor=guest.actor)
    with pytest.raises(Forbidden):
        await reservations.cancel(scene.ctx, guest.actor, made.id)
    assert await scene.ctx.db.read(guest.actor, reservations.get, made.id) == made
    stranger = await make_user(scene.ctx)
    with pytest.raises(NotFound):
        await scene.reserve(connector=2, actor=stranger.actor)
    with pytest.raises(NotFound):
        await reservations.cancel(scene.ctx, stranger.actor, made.id)


async def test_lists_come_in_pages_and_tell_active_ones_apart(scene):
    first = await scene.reserve(minutes=5)
    second = await scene.reserve(connector=2)
    find = reservations.list_reservations

    async def ids(**over):
        return [
            each.id for each in await scene.ctx.db.read(scene.owner.actor, find, scene.charger.id, **over)
        ]

    assert await ids() == [second.id, first.id]
    assert await ids(limit=1, after=second.id) == [first.id]
    scene.ctx.clock.advance(600)
    assert await ids(is_active=True) == [second.id]
    assert await ids(is_active=False) == [first.id]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sampled_from([MINE, OTHER]), st.integers(0, 2), st.integers(1, 40)),
        st.tuples(st.just("start"), st.sampled_from([MINE, OTHER]), st.integers(1, 2), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.just(0), st.integers(1, 30)),
        st.tuples(st.just("cancel"), st.just(""), st.just(0), st.just(0)),
        st.tuples(st.just("break"), st.just(""), st.integers(1, 2), st.just(0)),
    ),
    max_size=10,
)


@given(asked=steps)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nobody_elses_card_is_accepted_while_a_reservation_holds(sqlite_ctx, asked):
    scene = await make_scene(sqlite_ctx)
    find = reservations.list_reservations
    meter = 0
    for kind, tag, connector, minutes in asked:
        active = await scene.ctx.db.read(SYSTEM, find, scene.charger.id, is_active=True)
        named = [each.connector for each in active if each.connector]
        assert len(named) == len(set(named))
        assert len(active) <= 2
        match kind:
            case "reserve":
                try:
                    await scene.reserve(tag, connector, minutes)
                except AlreadyReserved:
                    assert active
            case "start":
                meter += 1
                reply = await scene.start(tag, connector, meter)
                others = [each for each in active if each.connector == connector and each.id_tag != tag]
                assert (reply.verdict is Verdict.ACCEPTED) or active
                if others:
                    assert reply.verdict is Verdict.CONCURRENT
            case "wait":
                scene.ctx.clock.advance(minutes * 60)
            case "cancel" if active:
                await reservations.cancel(scene.ctx, scene.owner.actor, active[0].id)
            case "break":
                await scene.say(connector, ConnectorStatus.FAULTED)
                await scene.say(connector, ConnectorStatus.AVAILABLE)
            case _:
                pass

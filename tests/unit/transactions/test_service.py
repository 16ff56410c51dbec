"""Transactions, the heart: whatever a charger repeats, loses or gets wrong, each is there exactly once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
import sqlalchemy as sa
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
from voltyard.cards import service as cards
from voltyard.cards.service import Judgement
from voltyard.chargers import service as chargers
from voltyard.chargers.commands import CommandStatus
from voltyard.chargers.service import Charger, Place
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from voltyard.kernel.ids import new_id
from voltyard.kernel.units import PerPhase
from voltyard.locations.access import Level
from voltyard.speech import (
    Answer,
    Asked,
    Ended,
    Metered,
    Reading,
    StartCharging,
    Started,
    StopCharging,
    Told,
    Verdict,
)
from voltyard.transactions import service as transactions
from voltyard.transactions.events import TransactionChanged
from voltyard.transactions.service import AlreadyEnded, NothingToStop, Transaction
from voltyard.transactions.tables import transactions as table

TAG = "04A1B2C3"
ACCEPTED = Judgement(Verdict.ACCEPTED)


@dataclass
class Scene:
    """A charger at a location, and short words for what it says."""

    ctx: Context
    charger: Charger
    others: dict[str, Charger] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return place_of(self.charger)

    @property
    def now(self) -> datetime:
        return self.ctx.clock.now()

    async def start(
        self,
        *,
        connector=1,
        tag=TAG,
        meter=1_000,
        at: datetime | str | None = "now",
        place=None,
        judgement=ACCEPTED,
    ) -> int:
        said = Started(connector, tag, meter, self.now if at == "now" else at)
        return (await self.starts([(place or self.place, said)], [judgement]))[0]

    async def starts(self, items, judgements=None) -> list[int]:
        return await self.ctx.db.work(
            SYSTEM, transactions.start, items, judgements or [ACCEPTED] * len(items)
        )

    async def meter(self, number, *readings: Reading, connector=1, place=None) -> None:
        await self.ctx.db.work(
            SYSTEM, transactions.meter, [(place or self.place, Metered(connector, number, readings))]
        )

    async def end(self, number, meter=5_000, *, at="now", tag=TAG, place=None, **over) -> str | None:
        said = Ended(number, meter, self.now if at == "now" else at, id_tag=tag, **over)
        return (await self.ends([(place or self.place, said)]))[0]

    async def ends(self, items) -> list[str | None]:
        return await self.ctx.db.work(SYSTEM, transactions.end, items)

    async def all(self, **over) -> list[Transaction]:
        rows = await self.ctx.db.read(SYSTEM, transactions.list_transactions, limit=100, **over)
        return rows[::-1]

    async def one(self, number: int) -> Transaction:
        return next(each for each in await self.all() if each.number == number)

    async def orphans(self):
        return await self.ctx.db.read(SYSTEM, transactions.list_orphans)

    async def samples(self, number: int):
        return await self.ctx.db.read(SYSTEM, transactions.samples, (await self.one(number)).id)

    def pass_s(self, seconds: float) -> None:
        self.ctx.clock.advance(seconds)


@pytest_asyncio.fixture
async def scene(ctx) -> Scene:
    location = await make_location(ctx)
    return Scene(ctx, await make_charger(ctx, location.id))


def reading(at: datetime | None, energy_wh: float | None = None, **over) -> Reading:
    return Reading(told_at=at, energy_wh=energy_wh, **over)


# --- starts ---------------------------------------------------------------------------------------


async def test_a_start_gets_a_positive_number_and_is_active(scene):
    number = await scene.start()
    found = await scene.one(number)
    assert number > 0
    assert found.is_active
    assert (found.meter_start_wh, found.energy_wh, found.id_tag) == (1_000, 0, TAG)
    assert found.charger_id == scene.charger.id
    assert found.location_id == scene.charger.location_id
    assert found.charger_label == scene.charger.identity


async def test_a_repeated_start_keeps_its_number(scene):
    at = scene.now
    first = await scene.start(at=at)
    scene.pass_s(40)
    assert await scene.start(at=at) == first
    assert len(await scene.all()) == 1


async def test_a_repeated_start_keeps_its_number_after_a_restart_of_voltyard(scene, database_url, clock, bus):
    at = scene.now
    first = await scene.start(at=at)
    again = Database(database_url, clock=clock, bus=bus)
    try:
        said = Started(1, TAG, 1_000, at)
        assert await again.work(SYSTEM, transactions.start, [(scene.place, said)], [ACCEPTED]) == [first]
    finally:
        await again.close()


async def test_the_same_start_twice_in_one_batch_is_one_transaction(scene):
    said = Started(1, TAG, 1_000, scene.now)
    one, two = await scene.starts([(scene.place, said), (scene.place, said)])
    assert one == two
    assert len(await scene.all()) == 1


async def test_a_repeated_start_does_not_end_what_has_begun_since(scene):
    at = scene.now
    first = await scene.start(at=at)
    await scene.end(first)
    scene.pass_s(60)
    second = await scene.start(meter=5_000)
    assert await scene.start(at=at) == first
    assert (await scene.one(second)).is_active
    assert len(await scene.all()) == 2


async def test_numbers_are_never_given_again(scene):
    first = await scene.start()

    await scene.ctx.db.work(SYSTEM, lambda work: work.run(sa.delete(table)))
    scene.pass_s(60)
    assert await scene.start() > first


async def test_a_refused_card_is_recorded_with_its_energy(scene):
    number = await scene.start(judgement=Judgement(Verdict.BLOCKED))
    await scene.end(number, 1_700)
    found = await scene.one(number)
    assert found.verdict == "Blocked"
    assert found.energy_wh == 700


async def test_the_card_is_noted_where_one_was_found(scene):
    card = await make_card(scene.ctx, scene.charger.location_id, id_tag=TAG)
    judged = await scene.ctx.db.work(SYSTEM, cards.judge, [(scene.charger.location_id, TAG)])
    number = await scene.start(judgement=judged[0])
    assert (await scene.one(number)).card_id == card.id
    assert [each.number for each in await scene.all(card_id=card.id)] == [number]


async def test_a_batch_of_many_chargers_starts_each_of_them(scene):
    places = [place_of(await make_charger(scene.ctx, scene.charger.location_id)) for _ in range(8)]
    said = Started(1, TAG, 10, scene.now)
    numbers = await scene.starts([(place, said) for place in places])
    assert len(set(numbers)) == 8
    assert {each.charger_id for each in await scene.all()} == {place.charger_id for place in places}
    ends = [(place, Ended(number, 20, scene.now)) for place, number in zip(places, numbers, strict=True)]
    assert await scene.ends(ends) == numbers
    assert all(each.energy_wh == 10 and not each.is_active for each in await scene.all())


async def test_both_connectors_of_a_charger_charge_at_once(scene):
    one, two = await scene.start(connector=1), await scene.start(connector=2)
    assert (await scene.one(one)).is_active
    assert (await scene.one(two)).is_active


# --- a stop that was lost ---------------------------------------------------------------------------


async def test_the_next_start_closes_a_transaction_whose_stop_was_lost(scene):
    lost = await scene.start()
    scene.pass_s(600)
    await scene.meter(lost, reading(scene.now, 3_000, power_w=11_000))
    metered_at = scene.now
    scene.pass_s(600)
    await scene.start(meter=4_000)
    found = await scene.one(lost)
    assert found.is_estimated
    assert found.stop_reason == "StopLost"
    assert (found.energy_wh, found.ended_at, found.power_w) == (2_000, metered_at, 0)


async def test_a_late_stop_puts_the_true_values_into_an_estimated_end(scene):
    lost = await scene.start()
    scene.pass_s(600)
    stopped_at = scene.now
    scene.pass_s(60)
    running = await scene.start(meter=4_000)
    assert (await scene.one(lost)).energy_wh == 0
    assert await scene.end(lost, 4_000, at=stopped_at, reason="EVDisconnected") == lost
    found = await scene.one(lost)
    assert not found.is_estimated
    assert (found.energy_wh, found.ended_at, found.stop_reason) == (3_000, stopped_at, "EVDisconnected")
    assert (await scene.one(running)).is_active


async def test_a_start_on_the_other_connector_closes_nothing(scene):
    one = await scene.start(connector=1)
    await scene.start(connector=2)
    assert (await scene.one(one)).is_active


async def test_two_new_starts_of_one_connector_in_one_batch_leave_the_later_one_open(scene):
    earlier = Started(1, TAG, 1_000, scene.now - timedelta(minutes=30))
    later = Started(1, TAG, 2_000, scene.now)
    one, two = await scene.starts([(scene.place, earlier), (scene.place, later)])
    assert (await scene.one(one)).is_estimated
    assert (await scene.one(two)).is_active


# --- ends -----------------------------------------------------------------------------------------


async def test_a_stop_ends_its_transaction(scene):
    number = await scene.start()
    scene.pass_s(3_600)
    assert await scene.end(number, 8_400, reason="Remote") == number
    found = await scene.one(number)
    assert not found.is_active
    assert (found.energy_wh, found.ended_at, found.stop_reason) == (7_400, scene.now, "Remote")


async def test_a_repeated_stop_changes_nothing(scene):
    number = await scene.start()
    at = scene.now
    await scene.end(number, at=at)
    before = await scene.one(number)
    scene.pass_s(60)
    assert await scene.end(number, at=at) == number
    assert await scene.one(number) == before
    assert await scene.orphans() == []


async def test_a_stop_without_a_reason_means_local(scene):
    number = await scene.start()
    await scene.end(number)
    assert (await scene.one(number)).stop_reason == "Local"


async def test_the_readings_of_a_stop_are_kept(scene):
    number = await scene.start()
    scene.pass_s(60)
    await scene.end(number, readings=(reading(scene.now, 5_000, context="Transaction.End"),))
    assert [each.energy_wh for each in await scene.samples(number)] == [5_000]


async def test_a_stop_below_its_start_counts_the_last_good_register_and_is_estimated(scene):
    number = await scene.start(meter=1_000)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 2_500))
    await scene.end(number, 0)
    found = await scene.one(number)
    assert found.energy_wh == 1_500
    assert found.is_estimated


@pytest.mark.parametrize("number", [0, -1, 2_000_000_000])
async def test_a_stop_with_a_strange_number_ends_the_one_that_fits(scene, number):
    running = await scene.start()
    scene.pass_s(60)
    assert await scene.end(number, 5_000) == running
    assert (await scene.one(running)).energy_wh == 4_000
    assert await scene.orphans() == []


@pytest.mark.parametrize("number", [0, -1, 2_000_000_000, 2**40])
async def test_a_stop_with_a_strange_number_and_nothing_open_is_kept_once_as_an_orphan(scene, number):
    at = scene.now
    for _ in range(3):
        assert await scene.end(number, 5_000, at=at) is None
        scene.pass_s(60)
    (orphan,) = await scene.orphans()
    assert (orphan.number, orphan.meter_wh, orphan.charger_id) == (number, 5_000, scene.charger.id)
    assert await scene.all() == []


async def test_a_strange_stop_that_two_could_mean_ends_neither(scene):
    one, two = await scene.start(connector=1), await scene.start(connector=2)
    assert await scene.end(-1) is None
    assert (await scene.one(one)).is_active
    assert (await scene.one(two)).is_active
    assert len(await scene.orphans()) == 1


async def test_a_strange_stop_is_told_apart_by_its_tag(scene):
    one, two = await scene.start(connector=1, tag="AA:BB"), await scene.start(connector=2, tag="CC")
    assert await scene.end(-1, tag="aabb") == one
    assert not (await scene.one(one)).is_active
    assert (await scene.one(two)).is_active


async def test_a_strange_stop_from_before_the_start_ends_nothing(scene):
    running = await scene.start()
    assert await scene.end(-1, at=scene.now - timedelta(hours=2)) is None
    assert (await scene.one(running)).is_active


async def test_a_strange_stop_with_less_on_its_register_ends_nothing(scene):
    running = await scene.start(meter=1_000)
    assert await scene.end(-1, 999) is None
    assert (await scene.one(running)).is_active


async def test_a_strange_stop_that_is_repeated_ends_only_one(scene):
    at = scene.now
    first = await scene.start(at=at)
    await scene.end(-1, 5_000, at=at)
    second = await scene.start(meter=5_000, at=at)
    assert await scene.end(-1, 5_000, at=at) is None
    assert not (await scene.one(first)).is_active
    assert (await scene.one(second)).is_active


async def test_a_stop_with_the_number_of_another_charger_never_touches_it(scene):
    foreign = await make_charger(scene.ctx, scene.charger.location_id)
    theirs = await scene.start(place=place_of(foreign))
    assert await scene.end(theirs, 9_000) is None
    assert (await scene.one(theirs)).is_active
    assert [each.charger_id for each in await scene.orphans()] == [scene.charger.id]


async def test_a_stop_with_the_number_of_another_charger_ends_the_own_one_that_fits(scene):
    foreign = await make_charger(scene.ctx, scene.charger.location_id)
    theirs, ours = await scene.start(place=place_of(foreign)), await scene.start()
    assert await scene.end(theirs, 9_000) == ours
    assert (await scene.one(theirs)).is_active
    assert (await scene.one(ours)).energy_wh == 8_000


async def test_a_stop_with_a_stale_number_ends_the_running_transaction_and_leaves_the_old_one(scene):
    stale = await scene.start(meter=1_000)
    await scene.end(stale, 2_000)
    scene.pass_s(60)
    running = await scene.start(meter=2_000)
    scene.pass_s(60)
    for _ in range(2):
        await scene.end(stale, 6_000, at=scene.now)
    assert (await scene.one(stale)).energy_wh == 1_000
    assert (await scene.one(running)).energy_wh == 4_000
    assert await scene.orphans() == []


async def test_a_stop_with_a_stale_number_that_fits_nothing_changes_nothing(scene):
    stale = await scene.start(meter=1_000)
    await scene.end(stale, 2_000)
    assert await scene.end(stale, 6_000) == stale
    assert (await scene.one(stale)).energy_wh == 1_000
    assert await scene.orphans() == []


async def test_two_stops_of_one_transaction_in_one_batch_end_it_once(scene):
    number = await scene.start()
    said = Ended(number, 5_000, scene.now)
    assert await scene.ends([(scene.place, said), (scene.place, said)]) == [number, number]
    assert (await scene.one(number)).energy_wh == 4_000


# --- clocks ---------------------------------------------------------------------------------------

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("at", [EPOCH, datetime(2038, 1, 1, tzinfo=UTC), None])
async def test_a_charger_whose_clock_is_wrong_is_timed_by_ours(scene, at):
    began_at = scene.now
    number = await scene.start(at=at)
    scene.pass_s(600)
    await scene.meter(number, reading(at, 2_000))
    metered_at = scene.now
    scene.pass_s(600)
    await scene.end(number, at=at)
    found = await scene.one(number)
    assert (found.started_at, found.metered_at, found.ended_at) == (began_at, metered_at, scene.now)
    assert found.energy_wh == 4_000


async def test_an_end_is_never_before_its_start(scene):
    number = await scene.start()
    await scene.end(number, at=scene.now - timedelta(days=3))
    found = await scene.one(number)
    assert found.ended_at == found.started_at


async def test_a_start_told_hours_later_keeps_the_time_of_the_charger(scene):
    at = scene.now - timedelta(hours=9)
    number = await scene.start(at=at)
    assert (await scene.one(number)).started_at == at


@pytest.mark.parametrize("at", [EPOCH, None])
async def test_without_a_clock_the_next_transaction_without_energy_is_another_one(scene, at):
    first = await scene.start(at=at)
    assert await scene.start(at=at) == first
    await scene.end(first, 1_000, at=at)
    second = await scene.start(at=at)
    assert second != first
    assert await scene.start(at=at) == second
    await scene.end(second, 1_500, at=at)
    third = await scene.start(at=at)
    assert [each.energy_wh for each in await scene.all()] == [0, 500, 0]
    assert (await scene.one(third)).is_active


# --- readings -------------------------------------------------------------------------------------


async def test_readings_move_the_energy_and_power_of_their_transaction(scene):
    number = await scene.start()
    scene.pass_s(60)
    await scene.meter(
        number,
        reading(
            scene.now, 1_200.4, power_w=7_000, soc_percent=55, current_a=PerPhase(16, 15, 14), offered_a=16
        ),
    )
    found = await scene.one(number)
    assert (found.energy_wh, found.power_w, found.soc_percent, found.metered_at) == (
        200,
        7_000,
        55,
        scene.now,
    )
    (sample,) = await scene.samples(number)
    assert (sample.energy_wh, sample.current_l3_a, sample.voltage_l1_v, sample.offered_a) == (
        1_200.4,
        14,
        None,
        16,
    )


async def test_repeated_readings_are_kept_once(scene):
    number = await scene.start()
    at = scene.now
    for _ in range(2):
        await scene.meter(number, reading(at, 1_100), reading(at + timedelta(seconds=1), 1_150))
    assert [each.energy_wh for each in await scene.samples(number)] == [1_100, 1_150]


async def test_older_readings_do_not_turn_the_state_back(scene):
    number = await scene.start()
    scene.pass_s(120)
    await scene.meter(number, reading(scene.now, 2_000, power_w=5_000))
    await scene.meter(number, reading(scene.now - timedelta(seconds=60), 1_500, power_w=9_000))
    found = await scene.one(number)
    assert (found.energy_wh, found.power_w) == (1_000, 5_000)
    assert len(await scene.samples(number)) == 2


async def test_two_messages_of_readings_in_one_batch_leave_the_newer_state(scene):
    number = await scene.start()
    scene.pass_s(120)
    newer = Metered(1, number, (reading(scene.now, 2_000),))
    older = Metered(1, number, (reading(scene.now - timedelta(seconds=60), 1_500),))
    await scene.ctx.db.work(SYSTEM, transactions.meter, [(scene.place, newer), (scene.place, older)])
    assert (await scene.one(number)).energy_wh == 1_000


async def test_readings_after_the_end_join_the_transaction_and_do_not_revive_it(scene):
    number = await scene.start()
    await scene.end(number, 5_000)
    before = await scene.one(number)
    scene.pass_s(30)
    await scene.meter(number, reading(scene.now, 9_000, power_w=1))
    assert await scene.one(number) == before
    assert [each.energy_wh for each in await scene.samples(number)] == [9_000]


async def test_readings_without_a_number_join_the_open_transaction_of_their_connector(scene):
    number = await scene.start(connector=2)
    scene.pass_s(60)
    await scene.meter(None, reading(scene.now, 1_800), connector=2)
    assert (await scene.one(number)).energy_wh == 800


async def test_readings_without_a_transaction_are_kept_for_the_connector(scene):
    await scene.meter(None, reading(scene.now, 77, power_w=0))
    latest = await scene.ctx.db.read(SYSTEM, transactions.latest_sample, scene.charger.id, 1)
    assert latest.energy_wh == 77
    assert await scene.ctx.db.read(SYSTEM, transactions.latest_sample, scene.charger.id, 2) is None


@pytest.mark.parametrize("number", [0, -1, 999_999, 2**40])
async def test_readings_with_a_strange_number_join_the_open_transaction_of_their_connector(scene, number):
    running = await scene.start()
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 1_800))
    assert (await scene.one(running)).energy_wh == 800


async def test_readings_with_the_number_of_another_charger_never_touch_it(scene):
    foreign = await make_charger(scene.ctx, scene.charger.location_id)
    theirs = await scene.start(place=place_of(foreign))
    scene.pass_s(60)
    await scene.meter(theirs, reading(scene.now, 9_000))
    assert (await scene.one(theirs)).energy_wh == 0
    assert await scene.samples(theirs) == []


async def test_a_register_below_the_start_is_not_believed(scene):
    number = await scene.start(meter=1_000)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 40, power_w=3_000))
    found = await scene.one(number)
    assert (found.energy_wh, found.power_w) == (0, 3_000)


async def test_readings_without_energy_leave_the_energy(scene):
    number = await scene.start()
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 1_500, soc_percent=40))
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, None, power_w=100))
    found = await scene.one(number)
    assert (found.energy_wh, found.power_w, found.soc_percent) == (500, 100, 40)


async def test_no_readings_change_nothing(scene):
    number = await scene.start()
    before = await scene.one(number)
    await scene.meter(number)
    assert await scene.one(number) == before


# --- what screens are told --------------------------------------------------------------------------


async def test_screens_hear_of_start_readings_and_end(scene):
    listening = await scene.ctx.bus.listen(f"live.{scene.charger.location_id}.>", queue_max=10)
    number = await scene.start()
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 1_100))
    await scene.end(number)
    heard = [(await listening.next())[1] for _ in range(3)]
    assert all(isinstance(each, TransactionChanged) for each in heard)
    assert [each.what for each in heard] == ["started", "metered", "ended"]


# --- who may see ------------------------------------------------------------------------------------


async def test_only_those_who_may_see_sensitive_data_see_transactions(scene):
    number = await scene.start()
    transaction = await scene.one(number)
    ctx, location_id = scene.ctx, scene.charger.location_id
    sensitive = await make_member(ctx, location_id, Level.SENSITIVE)
    assert (await ctx.db.read(sensitive.actor, transactions.get, transaction.id)).number == number
    expired = await make_member(ctx, location_id, Level.FULL, until_at=scene.now)
    for person in (await make_member(ctx, location_id, Level.BASIC), await make_user(ctx), expired):
        with pytest.raises(NotFound):
            await ctx.db.read(person.actor, transactions.get, transaction.id)
        with pytest.raises(NotFound):
            await ctx.db.read(person.actor, transactions.samples, transaction.id)
        assert await ctx.db.read(person.actor, transactions.list_transactions) == []
        assert await ctx.db.read(person.actor, transactions.list_orphans) == []


async def test_a_transaction_that_is_not_there_is_not_found(scene):
    for wrong in ("txn_" + "0" * 26, scene.charger.id):
        with pytest.raises(NotFound):
            await scene.ctx.db.read(SYSTEM, transactions.get, wrong)


async def test_a_list_is_filtered_and_paged(scene):
    numbers = []
    for index in range(3):
        numbers.append(await scene.start(meter=1_000 * index))
        scene.pass_s(3_600)
    assert [each.number for each in await scene.all(is_active=True)] == numbers[2:]
    assert [each.number for each in await scene.all(is_active=False)] == numbers[:2]
    assert [each.number for each in await scene.all(after=numbers[1])] == numbers[:1]
    began = [each.started_at for each in await scene.all()]
    assert [each.number for each in await scene.all(started_from=began[1], started_to=began[2])] == numbers[
        1:2
    ]
    assert [each.number for each in await scene.all(charger_id=scene.charger.id)] == numbers
    assert await scene.all(location_id="loc_" + "0" * 26) == []


async def test_samples_come_in_pages_in_the_order_of_time(scene):
    number = await scene.start()
    for index in (3, 1, 2):
        await scene.meter(number, reading(scene.now + timedelta(seconds=index), 1_000 + index))
    transaction = await scene.one(number)
    read = scene.ctx.db.read
    page = await read(SYSTEM, transactions.samples, transaction.id, limit=2)
    assert [each.energy_wh for each in page] == [1_001, 1_002]
    rest = await read(SYSTEM, transactions.samples, transaction.id, after=page[-1].at)
    assert [each.energy_wh for each in rest] == [1_003]


# --- asking a charger to start and stop -----------------------------------------------------------


async def play(scene, *, is_accepted=True) -> list[Asked]:
    """Be the charger: note what is asked and answer."""
    asked: list[Asked] = []

    async def answer(ask: Asked) -> Told:
        asked.append(ask)
        word = "Accepted" if is_accepted else "Rejected"
        return Told(Answer(is_accepted, word, f'{{"status":"{word}"}}'), "RemoteStopTransaction", "{}")

    await scene.ctx.bus.serve(f"charger.{scene.charger.id}.ask", Asked, answer)
    return asked


async def test_a_stop_is_asked_with_the_number_of_the_only_open_transaction(scene):
    asked = await play(scene)
    number = await scene.start()
    command = await transactions.request_stop(scene.ctx, SYSTEM, scene.charger.id)
    assert command.status is CommandStatus.EXECUTED
    assert asked[0].ask == StopCharging(number)
    assert asked[0].priority == "stop"
    assert (await scene.one(number)).is_active, "only the charger's own word ends it"


async def test_a_stop_needs_a_name_when_several_are_open(scene):
    asked = await play(scene)
    await scene.start(connector=1)
    two = await scene.start(connector=2)
    with pytest.raises(Conflict):
        await transactions.request_stop(scene.ctx, SYSTEM, scene.charger.id)
    named = (await scene.one(two)).id
    await transactions.request_stop(scene.ctx, SYSTEM, scene.charger.id, transaction_id=named)
    assert [each.ask for each in asked] == [StopCharging(two)]


async def test_nothing_that_has_ended_can_be_stopped(scene):
    with pytest.raises(NothingToStop):
        await transactions.request_stop(scene.ctx, SYSTEM, scene.charger.id)
    number = await scene.start()
    await scene.end(number)
    with pytest.raises(AlreadyEnded):
        await transactions.request_stop(
            scene.ctx, SYSTEM, scene.charger.id, transaction_id=(await scene.one(number)).id
        )


async def test_a_transaction_of_another_charger_cannot_be_stopped_here(scene):
    other = await make_charger(scene.ctx, scene.charger.location_id)
    theirs = await scene.one(await scene.start(place=place_of(other)))
    with pytest.raises(NotFound):
        await transactions.request_stop(scene.ctx, SYSTEM, scene.charger.id, transaction_id=theirs.id)


async def test_those_who_may_only_look_cannot_stop_or_start(scene):
    await scene.start()
    looker = await make_member(scene.ctx, scene.charger.location_id, Level.BASIC)
    with pytest.raises(Forbidden):
        await transactions.request_stop(scene.ctx, looker.actor, scene.charger.id)
    with pytest.raises(Forbidden):
        await transactions.request_start(scene.ctx, looker.actor, scene.charger.id, id_tag=TAG)


async def test_a_start_is_asked_with_the_card_and_the_connector(scene):
    asked = await play(scene, is_accepted=False)
    command = await transactions.request_start(
        scene.ctx, SYSTEM, scene.charger.id, id_tag=f" {TAG} ", connector=2
    )
    assert command.status is CommandStatus.REJECTED
    assert asked[0].ask == StartCharging(TAG, 2)
    assert await scene.all() == []


@pytest.mark.parametrize(("tag", "connector"), [("", 1), ("X" * 21, 1), (TAG, 0)])
async def test_a_start_that_makes_no_sense_is_not_asked(scene, tag, connector):
    with pytest.raises(Invalid):
        await transactions.request_start(scene.ctx, SYSTEM, scene.charger.id, id_tag=tag, connector=connector)


async def test_a_charger_that_was_unlinked_keeps_its_transactions_at_the_location(scene):
    number = await scene.start()
    location_id = scene.charger.location_id
    await scene.ctx.db.work(SYSTEM, chargers.unlink, location_id, scene.charger.id)
    assert (await scene.one(number)).location_id == location_id


# --- chargers that write odd registers ------------------------------------------------------------


async def test_a_repeated_stop_below_its_start_changes_nothing_even_without_a_clock(scene):
    number = await scene.start(meter=1_000)
    await scene.meter(number, reading(scene.now, 4_000))
    await scene.end(number, 10, at=None)
    ended = await scene.one(number)
    assert (ended.energy_wh, ended.is_estimated, ended.ended_at) == (3_000, True, scene.now)
    scene.pass_s(3_600)
    heard = await scene.ctx.bus.listen("live.>", queue_max=10)
    await scene.end(number, 10, at=None)
    assert await scene.one(number) == ended
    await scene.ctx.bus.publish("live.mark", TransactionChanged("", "", None, "mark"))
    assert (await heard.next())[0] == "live.mark"


async def test_a_good_stop_corrects_one_below_its_start(scene):
    number = await scene.start(meter=1_000)
    await scene.end(number, 10)
    await scene.end(number, 7_000)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (6_000, False)


async def test_a_stop_below_its_start_still_tells_when_a_lost_one_was(scene):
    number = await scene.start(meter=1_000)
    scene.pass_s(60)
    ended_at = scene.now
    scene.pass_s(600)
    await scene.start(meter=2_000)
    await scene.end(number, 10, at=ended_at, reason="PowerLoss")
    found = await scene.one(number)
    assert (found.ended_at, found.stop_reason, found.is_estimated) == (ended_at, "PowerLoss", True)


async def test_a_charger_that_always_writes_zero_loses_no_energy_that_its_readings_showed(scene):
    number = await scene.start(meter=0)
    await scene.meter(number, reading(scene.now, 5_000))
    await scene.end(number, 0)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (5_000, True)


async def test_the_readings_of_the_stop_itself_count_where_its_register_is_no_use(scene):
    number = await scene.start(meter=1_000)
    await scene.end(number, 0, readings=(reading(scene.now, 9_000, context="Transaction.End"),))
    found = await scene.one(number)
    assert (found.energy_wh, found.meter_stop_wh, found.is_estimated) == (8_000, 9_000, True)


async def test_without_clock_and_register_the_next_transaction_is_another_one(scene):
    first = await scene.start(meter=0, at=None)
    await scene.meter(first, reading(None, 5_000))
    await scene.end(first, 0, at=None)
    second = await scene.start(meter=0, at=None)
    assert second != first
    assert (await scene.one(first)).energy_wh == 5_000
    assert (await scene.one(second)).is_active


async def test_an_estimated_end_is_never_before_its_start(scene):
    early = scene.now - timedelta(hours=1)
    number = await scene.start(meter=1_000)
    await scene.meter(number, reading(early, 1_500))
    await scene.start(meter=2_000, at=scene.now + timedelta(seconds=60))
    found = await scene.one(number)
    assert (found.is_estimated, found.ended_at) == (True, found.started_at)
    assert found.energy_wh == 500


async def test_one_instant_told_in_two_readings_shows_the_power_of_either(scene):
    number = await scene.start(meter=1_000)
    await scene.meter(
        number,
        reading(scene.now, 1_000, context="Transaction.Begin"),
        reading(scene.now, power_w=7_000.0, soc_percent=40.0),
    )
    found = await scene.one(number)
    assert (found.energy_wh, found.power_w, found.soc_percent) == (0, 7_000.0, 40.0)


async def test_a_stale_stop_that_ends_another_one_leaves_no_readings_at_the_old_one(scene):
    stale = await scene.start(connector=1, meter=1_000)
    await scene.end(stale, 2_000)
    running = await scene.start(connector=2, meter=2_000)
    scene.pass_s(60)
    last = reading(scene.now, 6_000)
    for _ in range(2):
        await scene.end(stale, 6_000, at=scene.now, readings=(last,))
    assert await scene.samples(stale) == []
    assert [each.energy_wh for each in await scene.samples(running)] == [6_000]


@pytest.mark.parametrize("meter", [2**63, -(2**63), 2**200, -(2**200)])
async def test_registers_beyond_every_column_hurt_nothing(scene, meter):
    number = await scene.start(meter=meter)
    assert await scene.start(meter=meter) == number
    await scene.meter(number, reading(scene.now, 1e300), reading(scene.now, -1e300))
    await scene.end(number, meter)
    await scene.end(number, meter)
    await scene.end(-1, meter)
    await scene.end(2**80, meter)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_active) == (0, False)
    assert len(await scene.orphans()) == 2


async def test_the_longest_words_fit_both_databases(scene):
    number = await scene.start(tag="X" * 300, connector=2**31 - 1)
    await scene.meter(number, reading(scene.now, 2_000, context="C" * 300, others=(("O" * 5_000, "1", "x"),)))
    await scene.end(number, reason="R" * 300, tag="Y" * 300)
    await scene.end(-1, reason="R" * 300, tag="Y" * 300)
    found = await scene.one(number)
    assert (found.id_tag, found.stop_reason) == ("X" * 64, "R" * 32)


# --- who sees readings and orphans ----------------------------------------------------------------


async def test_the_newest_reading_is_for_those_who_may_see_sensitive_data(scene):
    ctx, location_id = scene.ctx, scene.charger.location_id
    assert await ctx.db.read(SYSTEM, transactions.latest_sample, scene.charger.id, 1) is None
    await scene.meter(None, reading(scene.now, 1_000), reading(scene.now + timedelta(seconds=9), 1_100))
    looker = await make_member(ctx, location_id, Level.BASIC)
    manager = await make_member(ctx, location_id, Level.SENSITIVE)
    assert await ctx.db.read(looker.actor, transactions.latest_sample, scene.charger.id, 1) is None
    newest = await ctx.db.read(manager.actor, transactions.latest_sample, scene.charger.id, 1)
    assert newest is not None
    assert newest.energy_wh == 1_100
    with pytest.raises(NotFound):
        await ctx.db.read((await make_user(ctx)).actor, transactions.latest_sample, scene.charger.id, 1)


async def test_orphans_are_for_those_who_had_the_charger_then(scene):
    ctx, charger = scene.ctx, scene.charger
    manager = await make_member(ctx, charger.location_id, Level.SENSITIVE)
    looker = await make_member(ctx, charger.location_id, Level.BASIC)
    await scene.end(0, 100)
    (orphan,) = await ctx.db.read(manager.actor, transactions.list_orphans)
    assert (orphan.charger_id, orphan.number, orphan.meter_wh) == (charger.id, 0, 100)
    assert await ctx.db.read(looker.actor, transactions.list_orphans) == []
    assert await ctx.db.read(manager.actor, transactions.list_orphans, after=orphan.id) == []
    assert await ctx.db.read(manager.actor, transactions.list_orphans, charger_id=new_id("chg")) == []
    await ctx.db.work(SYSTEM, chargers.unlink, charger.location_id, charger.id)
    scene.pass_s(1)
    buyer = await make_user(ctx)
    home = await make_location(ctx, buyer)
    await chargers.claim(ctx, buyer.actor, home.id, identity=charger.identity, pin=PIN)
    assert await ctx.db.read(buyer.actor, transactions.list_orphans) == []


# --- properties -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """A transaction as its charger knows it."""

    connector: int
    start_wh: int
    stop_wh: int
    start_s: int
    stop_s: int


@st.composite
def sayings(draw) -> tuple[list[Planned], list[tuple[str, int]]]:
    """Draw transactions, and starts and stops in any order: each repeated, no stop before its start."""
    plans, clock_s, register = [], 0, draw(st.integers(0, 10**6))
    for _ in range(draw(st.integers(1, 5))):
        clock_s += draw(st.integers(1, 4_000))
        energy = draw(st.integers(0, 80_000))
        length_s = draw(st.integers(1, 4_000))
        plans.append(
            Planned(draw(st.integers(1, 2)), register, register + energy, clock_s, clock_s + length_s)
        )
        clock_s, register = clock_s + length_s, register + energy
    said = [("start", index) for index in range(len(plans)) for _ in range(draw(st.integers(1, 3)))]
    said += [("end", index) for index in range(len(plans)) for _ in range(draw(st.integers(1, 3)))]
    order, begun, held = [], set(), []
    for kind, index in draw(st.permutations(said)):
        if kind == "end" and index not in begun:
            held.append((kind, index))
            continue
        begun.add(index)
        order.append((kind, index))
    return plans, order + held


@given(story=sayings(), has_clock=st.booleans())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
async def test_any_order_of_repeated_sayings_gives_each_transaction_once_with_its_energy(
    ctx, story, has_clock
):
    plans, order = story
    scene = Scene(ctx, await make_charger(ctx, (await make_location(ctx)).id))
    began_at = scene.now - timedelta(days=2)

    def told(seconds: int) -> datetime:
        # Without a clock a charger counts from 1970; the seconds still differ.
        return (began_at if has_clock else EPOCH) + timedelta(seconds=seconds)

    numbers: dict[int, int] = {}
    for kind, index in order:
        plan = plans[index]
        if kind == "start" and (has_clock or index not in numbers):
            number = await scene.start(connector=plan.connector, meter=plan.start_wh, at=told(plan.start_s))
            assert numbers.setdefault(index, number) == number
        elif kind == "end":
            await scene.end(numbers[index], plan.stop_wh, at=told(plan.stop_s))
    found = {each.number: each for each in await scene.all(charger_id=scene.charger.id)}
    assert sorted(found) == sorted(numbers.values())
    for index, plan in enumerate(plans):
        transaction = found[numbers[index]]
        assert (transaction.energy_wh, transaction.is_active) == (plan.stop_wh - plan.start_wh, False)
        assert (transaction.meter_start_wh, transaction.connector) == (plan.start_wh, plan.connector)
        assert not transaction.is_estimated
    assert await ctx.db.read(SYSTEM, transactions.list_orphans, charger_id=scene.charger.id) == []


# --- offline: what a charger tells out of its memory ----------------------------------------------


async def test_weeks_of_history_keep_their_times_and_order_and_are_no_news(scene):
    listening = await scene.ctx.bus.listen("live.>", queue_max=100)
    began = scene.now - timedelta(days=21)
    told = []
    for day in range(20):
        at = began + timedelta(days=day)
        number = await scene.start(meter=1_000 * day, at=at)
        await scene.meter(number, reading(at + timedelta(hours=1), 1_000 * day + 400))
        await scene.end(number, 1_000 * day + 900, at=at + timedelta(hours=2))
        told.append((number, at))
    found = await scene.all()
    assert [(each.number, each.started_at) for each in found] == told
    assert {each.energy_wh for each in found} == {900}
    assert {each.ended_at - each.started_at for each in found} == {timedelta(hours=2)}
    assert not any(each.is_estimated for each in found)
    news = set()
    for _ in range(60):
        _, event = await listening.next()
        news.add(event.what)
    assert news == {"recorded", "metered"}, "a start or an end now would be news"


async def test_an_offline_start_with_an_unknown_card_is_recorded_and_told_its_verdict_late(scene):
    at = scene.now - timedelta(hours=5)
    number = await scene.start(tag="STRANGER", at=at, judgement=Judgement(Verdict.INVALID))
    await scene.end(number, 3_000, at=at + timedelta(hours=1), tag="STRANGER")
    found = await scene.one(number)
    assert (found.verdict, found.energy_wh, found.started_at) == ("Invalid", 2_000, at)


@pytest.mark.parametrize("number", [-1, 0])
async def test_the_stop_of_an_offline_charge_without_a_number_finds_its_start(scene, number):
    at = scene.now - timedelta(hours=5)
    ours = await scene.start(at=at)
    await scene.end(number, 3_000, at=at + timedelta(hours=1))
    found = await scene.one(ours)
    assert (found.is_active, found.energy_wh, found.ended_at) == (False, 2_000, at + timedelta(hours=1))
    assert await scene.orphans() == []


async def test_several_offline_charges_told_one_after_the_other_end_each_their_own(scene):
    at = scene.now - timedelta(hours=9)
    first = await scene.start(at=at, meter=0)
    await scene.end(-1, 500, at=at + timedelta(hours=1))
    second = await scene.start(at=at + timedelta(hours=2), meter=500)
    await scene.end(-1, 1_100, at=at + timedelta(hours=3))
    assert [(each.number, each.energy_wh, each.stop_reason) for each in await scene.all()] == [
        (first, 500, "Local"),
        (second, 600, "Local"),
    ]


async def test_a_start_at_zero_of_a_meter_that_stands_high_takes_the_first_register(scene):
    number = await scene.start(meter=0)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 5_000_000))
    scene.pass_s(600)
    await scene.meter(number, reading(scene.now, 5_001_000))
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh, found.is_estimated) == (5_000_000, 1_000, True)
    await scene.end(number, 5_001_500)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (1_500, True)


async def test_a_start_at_zero_whose_stop_alone_tells_the_meter_takes_the_readings_of_the_stop(scene):
    number = await scene.start(meter=0)
    began = scene.now
    scene.pass_s(3_600)
    took = (
        reading(began, 5_000_000, context="Transaction.Begin"),
        reading(scene.now, 5_002_000, context="Transaction.End"),
    )
    await scene.end(number, 5_002_000, readings=took)
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh, found.is_estimated) == (5_000_000, 2_000, True)


async def test_a_start_at_zero_with_nothing_but_an_impossible_stop_is_estimated(scene):
    number = await scene.start(meter=0)
    scene.pass_s(3_600)
    await scene.end(number, 5_002_000)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (0, True)


async def test_a_new_meter_really_starts_at_zero(scene):
    number = await scene.start(meter=0)
    scene.pass_s(600)
    await scene.meter(number, reading(scene.now, 1_200))
    await scene.end(number, 1_500)
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh, found.is_estimated) == (0, 1_500, False)

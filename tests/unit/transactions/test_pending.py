"""A start that was accepted and never told (quirk Q40): its energy is recorded all the same, and once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.factories import SYSTEM, make_card, make_charger, make_location, place_of
from tests.unit.central.speakers import handle
from voltyard.central import charging, metering, status
from voltyard.chargers import service as chargers
from voltyard.kernel import jobs
from voltyard.kernel.wire import decode
from voltyard.speech import (
    Answer,
    Asked,
    ConnectorStatus,
    Ended,
    Metered,
    Reading,
    Started,
    StatusTold,
    Told,
)
from voltyard.transactions import pending
from voltyard.transactions import service as transactions
from voltyard.transactions.events import AwaitStart

TAG = "04A1B2C3"
CHARGING = ConnectorStatus.CHARGING


class Scene:
    """A charger that accepts remote starts, and what it tells of them."""

    def __init__(self, ctx, charger):
        self.ctx, self.charger = ctx, charger

    @property
    def place(self):
        return place_of(self.charger)

    async def ask(self, connector=1, tag=TAG):
        await transactions.request_start(self.ctx, SYSTEM, self.charger.id, id_tag=tag, connector=connector)

    async def say(self, word, connector=1):
        await handle(self.ctx, status.told, (self.place, StatusTold(connector, word, told_at=self.now)))

    async def read(self, energy_wh, connector=1):
        reading = Reading(told_at=self.now, energy_wh=energy_wh, power_w=7_000.0)
        await handle(self.ctx, metering.metered, (self.place, Metered(connector, None, (reading,))))

    async def start(self, connector=1, tag=TAG, meter=1_000, at=None):
        (reply,) = await handle(
            self.ctx, charging.started, (self.place, Started(connector, tag, meter, at or self.now))
        )
        return reply.number

    async def end(self, number, meter):
        await handle(self.ctx, charging.ended, (self.place, Ended(number, meter, self.now)))

    @property
    def now(self):
        return self.ctx.clock.now()

    async def wait(self, minutes):
        """Let time pass, a minute at a time, and do what is due."""
        for _ in range(minutes):
            self.ctx.clock.advance(60)
            for job in await self.ctx.db.work(SYSTEM, jobs.claim, "test"):
                if job.kind == AwaitStart.__name__:
                    await pending.await_start(self.ctx, decode(job.body, AwaitStart))
                await self.ctx.db.work(SYSTEM, jobs.done, job.id, "test")

    async def all(self):
        return await self.ctx.db.read(SYSTEM, transactions.list_transactions)


@pytest.fixture
async def scene(ctx):
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag=TAG)
    charger = await make_charger(ctx, location.id)

    async def answer(_asked: Asked) -> Told:
        return Told(Answer(True, "Accepted", '{"status":"Accepted"}'), "RemoteStartTransaction", "{}")

    await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    found = Scene(ctx, charger)
    for connector in (1, 2):
        await found.say(ConnectorStatus.AVAILABLE, connector)
    ctx.clock.advance(600)
    return found


async def charge_untold(scene) -> None:
    """Start, charge for three minutes, and tell of it by status and meter only."""
    await scene.ask()
    await scene.say(CHARGING)
    for energy_wh in (1_000, 1_100, 1_200):
        await scene.read(energy_wh)
        await scene.wait(1)


async def test_a_charge_whose_start_is_never_told_is_made_of_status_and_meter(scene):
    began = scene.now
    await charge_untold(scene)
    (found,) = await scene.all()
    assert (found.id_tag, found.connector, found.started_at) == (TAG, 1, began)
    assert (found.energy_wh, found.is_estimated, found.verdict) == (200, True, "Accepted")
    assert found.card_id is not None
    samples = await scene.ctx.db.read(SYSTEM, transactions.samples, found.id)
    assert len(samples) == 3, "what was read before belongs to it"
    await scene.read(1_500)
    await scene.say(ConnectorStatus.FINISHING)
    (found,) = await scene.all()
    assert (found.energy_wh, found.is_active, found.ended_at) == (500, False, scene.now)
    assert (found.stop_reason, found.is_estimated) == ("StatusOnly", True)


async def test_a_start_that_is_told_within_the_window_makes_nothing(scene):
    await scene.ask()
    await scene.say(CHARGING)
    number = await scene.start()
    await scene.wait(20)
    assert [found.number for found in await scene.all()] == [number]


async def test_a_car_that_never_comes_makes_nothing(scene):
    await scene.ask()
    await scene.say(ConnectorStatus.PREPARING)
    await scene.wait(30)
    assert await scene.all() == []
    assert await scene.ctx.db.work(SYSTEM, jobs.claim, "test") == []


async def test_a_charge_that_begins_after_a_while_is_found(scene):
    await scene.ask()
    await scene.wait(6)
    await scene.say(CHARGING)
    await scene.read(4_000)
    await scene.wait(1)
    (found,) = await scene.all()
    assert found.started_at == scene.now - timedelta(minutes=1)


async def test_the_duty_done_twice_makes_one_transaction(scene):
    message = AwaitStart(scene.charger.id, scene.charger.location_id, 1, TAG, scene.now)
    await scene.say(CHARGING)
    await pending.await_start(scene.ctx, message)
    await pending.await_start(scene.ctx, message)
    assert len(await scene.all()) == 1


async def test_a_late_start_joins_what_was_made_and_so_does_its_stop(scene):
    began = scene.now
    await charge_untold(scene)
    (made,) = await scene.all()
    number = await scene.start(meter=990, at=began)
    assert number == made.number
    assert await scene.start(meter=990, at=began) == number, "told again it is the same"
    (found,) = await scene.all()
    assert (found.meter_start_wh, found.is_estimated, found.energy_wh) == (990, False, 210)
    await scene.say(ConnectorStatus.FINISHING)
    assert (await scene.all())[0].is_active, "its own stop ends it now"
    await scene.end(number, 1_400)
    (found,) = await scene.all()
    assert (found.energy_wh, found.is_active, found.is_estimated) == (410, False, False)


async def test_a_start_and_a_stop_that_come_after_the_end_put_the_truth_in(scene):
    began = scene.now
    await charge_untold(scene)
    await scene.say(ConnectorStatus.AVAILABLE)
    number = await scene.start(meter=995, at=began)
    assert len(await scene.all()) == 1
    await scene.end(number, 1_300)
    (found,) = await scene.all()
    assert (found.energy_wh, found.is_estimated, found.stop_reason) == (305, False, "Local")


async def test_a_late_start_with_an_impossible_register_keeps_ours(scene):
    began = scene.now
    await scene.ask()
    await scene.say(CHARGING)
    await scene.read(5_000_000)
    await scene.wait(3)
    await scene.start(meter=0, at=began)
    (found,) = await scene.all()
    assert (found.meter_start_wh, found.is_estimated) == (5_000_000, True)


async def test_the_start_of_another_card_is_another_transaction(scene):
    await charge_untold(scene)
    await scene.start(tag="FF00")
    first, second = sorted(await scene.all(), key=lambda each: each.number)
    assert (first.id_tag, first.stop_reason, second.is_active) == (TAG, "StopLost", True)


async def test_a_start_without_a_connector_finds_the_one_that_charges(scene):
    await scene.ask(connector=None)
    await scene.say(CHARGING, 2)
    await scene.wait(3)
    (found,) = await scene.all()
    assert found.connector == 2


async def test_of_two_that_charge_none_is_guessed(scene):
    await scene.ask(connector=None)
    await scene.say(CHARGING, 1)
    await scene.say(CHARGING, 2)
    await scene.wait(3)
    assert await scene.all() == []


async def test_a_connector_that_charged_before_the_start_was_asked_is_not_meant(scene):
    await scene.say(CHARGING)
    scene.ctx.clock.advance(600)
    await scene.ask()
    await scene.wait(20)
    assert await scene.all() == []


async def test_a_charger_that_has_left_is_not_looked_at(scene):
    await scene.ask()
    await scene.say(CHARGING)
    await scene.ctx.db.work(SYSTEM, chargers.unlink, scene.charger.location_id, scene.charger.id)
    await scene.wait(3)
    assert await scene.all() == []


async def test_an_ordinary_transaction_is_never_ended_by_a_status(scene):
    await scene.start()
    await scene.say(ConnectorStatus.AVAILABLE)
    assert (await scene.all())[0].is_active

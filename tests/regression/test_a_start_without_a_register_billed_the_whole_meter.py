"""A start without meterStart counted from 0: a charge of 222 Wh was shown as 12,346 kWh.

Now the first register that is read becomes the start, and the transaction is marked as estimated.
"""

from tests.factories import SYSTEM
from tests.unit.transactions.test_service import TAG, reading, scene  # noqa: F401 - a fixture
from voltyard.speech import Metered
from voltyard.transactions import service as transactions


async def test_the_first_reading_is_the_start(scene):  # noqa: F811
    number = await scene.start(meter=None)
    assert ((await scene.one(number)).energy_wh, (await scene.one(number)).is_estimated) == (0, True)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 12_345_678))
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 12_345_700))
    assert (await scene.one(number)).energy_wh == 22
    await scene.end(number, 12_345_900)
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh) == (12_345_678, 222)
    assert (found.is_estimated, found.is_active) == (True, False)


async def test_readings_of_one_batch_share_the_first_as_their_start(scene):  # noqa: F811
    number = await scene.start(meter=None)
    scene.pass_s(60)
    said = [Metered(1, number, (reading(scene.now, register),)) for register in (500, 700, None)]
    await scene.ctx.db.work(SYSTEM, transactions.meter, [(scene.place, each) for each in said])
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh) == (500, 200)


async def test_the_stop_tells_its_own_begin(scene):  # noqa: F811
    number = await scene.start(meter=None)
    scene.pass_s(600)
    told = (
        reading(scene.now, 9_000, context="Transaction.End"),
        reading(scene.now, 5_000, context="Transaction.Begin"),
    )
    await scene.end(number, 9_000, readings=told)
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh, found.is_estimated) == (5_000, 4_000, True)


async def test_without_any_reading_no_energy_is_told(scene):  # noqa: F811
    number = await scene.start(meter=None)
    scene.pass_s(600)
    await scene.meter(number, reading(scene.now, -5), reading(scene.now, 1e300))
    await scene.end(number, 12_345_900)
    found = await scene.one(number)
    assert (found.meter_start_wh, found.energy_wh, found.is_estimated) == (12_345_900, 0, True)


async def test_a_repeated_start_and_stop_change_nothing(scene):  # noqa: F811
    at = scene.now
    number = await scene.start(meter=None, at=at)
    await scene.meter(number, reading(scene.now, 5_000))
    assert await scene.start(meter=None, at=at) == number
    await scene.end(number, 6_000, at=None)
    ended = await scene.one(number)
    scene.pass_s(3_600)
    assert await scene.end(number, 6_000, at=None) == number
    assert await scene.end(number, 5_500, at=None) == number
    assert await scene.one(number) == ended


async def test_a_lost_stop_still_tells_the_truth_later(scene):  # noqa: F811
    lost = await scene.start(meter=None)
    scene.pass_s(600)
    running = await scene.start(meter=None)
    assert (await scene.one(lost)).energy_wh == 0
    await scene.end(lost, 7_000)
    found = await scene.one(lost)
    assert (found.energy_wh, found.is_estimated, found.stop_reason) == (0, True, "Local")
    await scene.end(-1, 8_000)
    assert (await scene.one(running)).meter_stop_wh == 8_000


async def test_a_charger_that_always_stops_at_zero_keeps_its_readings(scene):  # noqa: F811
    number = await scene.start(meter=None)
    scene.pass_s(600)
    await scene.meter(number, reading(scene.now, 5_000))
    await scene.meter(number, reading(scene.now, 6_000))
    await scene.end(number, 0)
    assert (await scene.one(number)).energy_wh == 1_000

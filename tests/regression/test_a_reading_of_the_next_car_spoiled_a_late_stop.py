"""A stop was told late; meanwhile a reading of the next car, without a number, joined the transaction before.

The true register of the stop then seemed too low, and the next car's register was billed instead.
Found by the world (seed 0). Readings after the stop's own instant say nothing of that end.
"""

from tests.unit.transactions.test_service import reading, scene  # noqa: F401 - a fixture


async def test_a_reading_after_the_stop_does_not_count_for_it(scene):  # noqa: F811
    number = await scene.start(meter=100)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 250))
    scene.pass_s(60)
    stopped_at = scene.now
    scene.pass_s(300)
    await scene.meter(None, reading(scene.now, 900))
    scene.pass_s(60)
    await scene.end(number, 300, at=stopped_at)
    found = await scene.one(number)
    assert (found.meter_stop_wh, found.energy_wh, found.is_estimated) == (300, 200, False)
    assert found.ended_at == stopped_at


async def test_a_register_that_was_read_before_the_stop_still_does(scene):  # noqa: F811
    number = await scene.start(meter=100)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 700))
    scene.pass_s(60)
    stopped_at = scene.now
    scene.pass_s(300)
    await scene.meter(None, reading(scene.now, 900))
    await scene.end(number, 300, at=stopped_at)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (600, True)

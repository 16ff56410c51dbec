"""A stop of 1 Wh undid a charge whose readings had shown 8 kWh, and a stop of gigawatt-hours was billed.

Now a stop below the last reading, or beyond what any connector gives, counts no more than the last reading.
"""

from datetime import timedelta

import pytest

from tests.unit.transactions.test_service import EPOCH, TAG, reading, scene  # noqa: F401 - a fixture


@pytest.mark.parametrize("stop_wh", [1_001, 8_000, 2_000_000_000])
async def test_a_stop_that_cannot_be_right_keeps_the_last_register(scene, stop_wh):  # noqa: F811
    number = await scene.start(meter=1_000)
    scene.pass_s(3_600)
    await scene.meter(number, reading(scene.now, 9_000))
    await scene.end(number, stop_wh, at=None)
    ended = await scene.one(number)
    assert (ended.energy_wh, ended.is_estimated, ended.is_active) == (8_000, True, False)
    # However late it is repeated: time does not make it possible.
    scene.pass_s(30 * 86_400)
    assert await scene.end(number, stop_wh, at=None) == number
    assert await scene.one(number) == ended


async def test_a_reading_that_cannot_be_right_does_not_outrule_the_stop(scene):  # noqa: F811
    number = await scene.start(meter=1_000)
    scene.pass_s(3_600)
    await scene.meter(number, reading(scene.now, 2_000_000_000))
    assert (await scene.one(number)).energy_wh == 0
    await scene.end(number, 9_000)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (8_000, False)


async def test_a_register_that_was_rounded_once_is_no_contradiction(scene):  # noqa: F811
    number = await scene.start(meter=1_000)
    scene.pass_s(60)
    await scene.meter(number, reading(scene.now, 5_000.6))
    await scene.end(number, 5_000)
    found = await scene.one(number)
    assert (found.energy_wh, found.is_estimated) == (4_000, False)


async def test_a_fast_charger_for_an_hour_is_believed(scene):  # noqa: F811
    number = await scene.start(meter=0)
    scene.pass_s(3_600)
    await scene.end(number, 400_000)
    assert not (await scene.one(number)).is_estimated


@pytest.mark.parametrize("at", [None, EPOCH])
async def test_a_long_charge_told_late_at_once_without_a_clock_is_believed(scene, at):  # noqa: F811
    number = await scene.start(meter=0, at=at)
    await scene.end(number, 400_000, at=at)
    assert not (await scene.one(number)).is_estimated


async def test_a_long_charge_told_late_at_once_is_believed(scene):  # noqa: F811
    number = await scene.start(meter=0, at=scene.now - timedelta(hours=9))
    await scene.end(number, 400_000, at=scene.now - timedelta(hours=8))
    assert not (await scene.one(number)).is_estimated

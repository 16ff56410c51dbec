"""A charge was stopped in the instant of its start, and began anew in the same one: 378 Wh went to nobody.

The second start says what the first one said, so it counts as a repeat; the stop of the second found its
transaction ended long since, and was dropped. Found by the world (seed 8300).
"""

from tests.unit.transactions.test_service import scene  # noqa: F401 - a fixture


async def test_the_later_stop_gives_the_transaction_its_energy(scene):  # noqa: F811
    began_at = scene.now
    number = await scene.start(meter=105)
    await scene.end(number, 105, at=began_at)
    assert (await scene.one(number)).energy_wh == 0
    scene.pass_s(60)
    assert await scene.start(meter=105, at=began_at) == number
    scene.pass_s(60)
    ended_at = scene.now
    await scene.end(number, 483, at=ended_at)
    found = await scene.one(number)
    assert (found.energy_wh, found.ended_at, found.is_estimated) == (378, ended_at, False)
    # Repeats of either stop change nothing.
    await scene.end(number, 105, at=began_at)
    await scene.end(number, 483, at=ended_at)
    assert await scene.one(number) == found
    assert await scene.orphans() == []


async def test_what_no_connector_can_have_given_changes_nothing(scene):  # noqa: F811
    began_at = scene.now
    number = await scene.start(meter=105)
    await scene.end(number, 105, at=began_at)
    scene.pass_s(60)
    await scene.end(number, 90_000_000, at=scene.now)
    assert (await scene.one(number)).energy_wh == 0

"""Energy was billed twice where a stop was lost and the next start was told late.

What was read in between had joined the transaction that was still open, and was in the next one's registers
as well. Whatever a charger tells late, twice or never: nobody pays for energy that did not flow.
"""

import os
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import make_card, make_charger, make_location
from tests.unit.transactions.test_pending import CHARGING, TAG, Scene
from voltyard.speech import Answer, Asked, ConnectorStatus, Told

SESSIONS = st.lists(
    st.fixed_dictionaries(
        {
            "is_remote": st.booleans(),
            "start": st.sampled_from(["told", "late", "after_end", "lost"]),
            "is_start_repeated": st.booleans(),
            "reads": st.booleans(),
            "minutes": st.integers(1, 12),
            "pauses": st.booleans(),
            "stop": st.sampled_from(["told", "zero", "lost"]),
            "over": st.sampled_from(["before", "after", "never"]),
            "gap": st.integers(1, 4),
        }
    ),
    min_size=1,
    max_size=3,
)
STEP_WH = 100


async def play(scene: Scene, sessions, register: int) -> int:
    """Let cars charge one after the other; return how much flowed."""
    first = register
    for session in sessions:
        if session["is_remote"]:
            await scene.ask()
        await scene.say(CHARGING)
        began, began_wh, number = scene.now, register, 0
        if session["start"] == "told":
            number = await scene.start(meter=began_wh, at=began)
        for minute in range(session["minutes"]):
            if session["reads"]:
                await scene.read(register)
            if session["pauses"] and minute == 2:
                await scene.say(ConnectorStatus.SUSPENDED_EV)
            await scene.wait(1)
            register += STEP_WH
            if session["start"] == "late" and minute == session["minutes"] // 2:
                number = await scene.start(meter=began_wh, at=began)
        if session["over"] == "before":
            await scene.say(ConnectorStatus.FINISHING)
        if session["start"] == "after_end":
            number = await scene.start(meter=began_wh, at=began)
        if session["is_start_repeated"] and number:
            assert await scene.start(meter=began_wh, at=began) == number
        if session["stop"] != "lost":
            await scene.end(number if session["stop"] == "told" else 0, register)
        if session["over"] == "after":
            await scene.say(ConnectorStatus.FINISHING)
        await scene.wait(session["gap"])
        if session["over"] != "never":
            await scene.say(ConnectorStatus.AVAILABLE)
    await scene.wait(20)
    return register - first


async def test_what_the_next_car_charges_before_its_start_is_told_is_its_own(sqlite_ctx):
    ctx = sqlite_ctx
    scene = Scene(ctx, await make_charger(ctx, (await make_location(ctx)).id))
    ctx.clock.advance(600)
    await scene.start(meter=1_000)
    ctx.clock.advance(60)
    await scene.read(1_100)
    ctx.clock.advance(60)
    began = scene.now
    ctx.clock.advance(60)
    await scene.read(1_300)
    number = await scene.start(meter=1_200, at=began)
    await scene.end(number, 1_400)
    first, second = sorted(await scene.all(), key=lambda each: each.number)
    assert (first.energy_wh, first.ended_at, first.stop_reason) == (200, began, "StopLost")
    assert second.energy_wh == 200


@settings(
    max_examples=int(os.environ.get("EX", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(SESSIONS, st.sampled_from([0, 1_000, 5_000_000]))
async def test_what_is_billed_never_exceeds_what_flowed(sqlite_ctx, sessions, register):
    ctx = sqlite_ctx
    location = await make_location(ctx)
    await make_card(ctx, location.id, id_tag=TAG)
    charger = await make_charger(ctx, location.id)

    async def answer(_asked: Asked) -> Told:
        return Told(Answer(True, "Accepted", '{"status":"Accepted"}'), "RemoteStartTransaction", "{}")

    serving = await ctx.bus.serve(f"charger.{charger.id}.ask", Asked, answer)
    scene = Scene(ctx, charger)
    await scene.say(ConnectorStatus.AVAILABLE)
    ctx.clock.advance(timedelta(minutes=10).total_seconds())
    flowed_wh = await play(scene, sessions, register)
    found = [each for each in await scene.all() if each.charger_id == charger.id]
    await serving.stop()
    billed_wh = sum(each.energy_wh for each in found)
    assert billed_wh <= flowed_wh
    assert len(found) <= len(sessions)
    if all(each["start"] != "lost" and each["stop"] == "told" for each in sessions):
        assert billed_wh == flowed_wh
        assert len(found) == len(sessions)

"""After a boot: a job and no more; what waits is sent, all is read, drift is found, and not too often."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_charger, place_of
from tests.unit.chargers.keyed import FACTORY
from tests.unit.chargers.test_parameters import charger_of, connect, shown
from voltyard.chargers import after_boot, parameters, service, setup
from voltyard.chargers.after_boot import DELAY_S, LATER_SPREAD_S, SPREAD_S, LookAfterBoot
from voltyard.chargers.parameters import Result
from voltyard.kernel import jobs
from voltyard.kernel.wire import decode
from voltyard.speech import Booted, Restart


async def boot(ctx, *charger_ids: str, firmware: str | None = "1.0") -> dict[str, int]:
    """Have chargers boot in one batch; return the heartbeats that are wanted of them."""
    said = Booted("V", "M", firmware=firmware)
    known = await ctx.db.read(SYSTEM, service.places, charger_ids)
    items = [(place, said) for place in known]

    def handle(work):
        service.boot(work, items)
        return after_boot.booted(work, items)

    return await ctx.db.work(SYSTEM, handle)


async def looked(ctx, *, after_s: float = DELAY_S + SPREAD_S) -> list[str]:
    """Do the jobs that are due after a while; return whose they were."""
    ctx.clock.advance(after_s)
    claimed = await ctx.db.work(SYSTEM, jobs.claim, "test", most=50)
    for job in claimed:
        await ctx.db.work(SYSTEM, jobs.done, job.id, "test")
    taken = [decode(job.body, LookAfterBoot) for job in claimed if job.kind == "LookAfterBoot"]
    for job in taken:
        await after_boot.look(ctx, job)
    return [job.charger_id for job in taken]


@given(st.text())
def test_many_chargers_are_spread(charger_id):
    assert DELAY_S <= after_boot.delay_s(charger_id) < DELAY_S + SPREAD_S
    assert after_boot.delay_s(charger_id) == after_boot.delay_s(charger_id)


async def test_a_boot_leaves_a_job_that_reads_the_charger(ctx):
    owner, keyed = await charger_of(ctx)
    await boot(ctx, keyed.charger_id)
    assert keyed.asked == []
    assert await looked(ctx) == [keyed.charger_id]
    assert len((await shown(ctx, owner, keyed)).items) == len(FACTORY)
    assert keyed.priorities == {"background"}


async def test_a_charger_that_nobody_claimed_is_left_alone(ctx):
    charger = await make_charger(ctx)
    await boot(ctx, charger.id)
    assert await looked(ctx) == []


async def test_a_charger_that_restarts_every_minute_is_read_once_an_hour(ctx):
    _, keyed = await charger_of(ctx)
    for _ in range(130):
        await boot(ctx, keyed.charger_id)
        await looked(ctx, after_s=60)
    assert 2 <= keyed.questions.count(()) <= 3


async def test_one_without_news_is_looked_at_some_minutes_later(ctx):
    _, keyed = await charger_of(ctx)
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    ctx.clock.advance(3600)
    await boot(ctx, keyed.charger_id)
    assert after_boot.delay_s(keyed.charger_id, LATER_SPREAD_S) < DELAY_S + LATER_SPREAD_S
    assert await looked(ctx, after_s=DELAY_S + LATER_SPREAD_S) == [keyed.charger_id]
    assert keyed.questions == [(), ()]


async def test_one_that_was_read_meanwhile_is_left_alone(ctx):
    owner, keyed = await charger_of(ctx)
    await boot(ctx, keyed.charger_id)
    ctx.clock.advance(1)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    await looked(ctx)
    assert keyed.questions == [()]


async def test_one_with_new_firmware_is_read_at_once(ctx):
    _, keyed = await charger_of(ctx)
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    await boot(ctx, keyed.charger_id)
    assert await looked(ctx) == []
    await boot(ctx, keyed.charger_id, firmware="2.0")
    assert await looked(ctx) == [keyed.charger_id]
    await boot(ctx, keyed.charger_id, firmware=None)
    assert await looked(ctx) == [keyed.charger_id]


async def test_what_waits_is_sent_after_a_boot_and_read_back(ctx):
    owner, keyed = await charger_of(ctx, is_there=False)
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    await connect(ctx, await ctx.db.read(SYSTEM, service.get, keyed.charger_id))
    await keyed.serve()
    await boot(ctx, keyed.charger_id)
    assert await looked(ctx) == [keyed.charger_id]
    found = (await shown(ctx, owner, keyed)).find("HeartbeatInterval")
    assert (found.reported, found.result, found.is_pending) == ("60", Result.ACCEPTED, False)


async def test_drift_is_found_after_a_boot(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    keyed.values["HeartbeatInterval"] = "300"
    ctx.clock.advance(timedelta(hours=2).total_seconds())
    await boot(ctx, keyed.charger_id)
    await looked(ctx, after_s=DELAY_S + LATER_SPREAD_S)
    assert (await shown(ctx, owner, keyed)).find("HeartbeatInterval").is_drifted


async def test_a_set_up_that_was_waiting_ends_with_a_restart(ctx):
    owner, keyed = await charger_of(ctx, is_there=False, after_reboot=frozenset({"ConnectorPhaseRotation"}))
    answers = setup.Answers(3, 16.0, setup.NetType.TN, "RST")
    await setup.set_up(ctx, owner.actor, keyed.charger_id, answers)
    await connect(ctx, await ctx.db.read(SYSTEM, service.get, keyed.charger_id))
    await keyed.serve()
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    assert keyed.asked[-1] == Restart()
    keyed.reboot()
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    made = await ctx.db.read(owner.actor, setup.get, keyed.charger_id)
    assert (made.state, made.told) == (setup.State.COMPLETED, Result.ACCEPTED)
    assert keyed.asked.count(Restart()) == 1


async def test_a_restart_that_was_required_is_over_and_what_came_of_it_is_read(ctx):
    owner, keyed = await charger_of(ctx, after_reboot=frozenset({"ConnectionTimeOut"}))
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"ConnectionTimeOut": "90"})
    assert (await shown(ctx, owner, keyed)).reboot_required_at is not None
    keyed.reboot()
    await boot(ctx, keyed.charger_id)
    assert (await shown(ctx, owner, keyed)).reboot_required_at is None
    assert await looked(ctx) == [keyed.charger_id]
    assert (await shown(ctx, owner, keyed)).find("ConnectionTimeOut").result is Result.ACCEPTED


async def test_a_new_charger_is_given_what_is_recommended(ctx):
    owner, keyed = await charger_of(ctx, values=FACTORY | {"MeterValueSampleInterval": "0"})
    await boot(ctx, keyed.charger_id)
    await looked(ctx)
    found = (await shown(ctx, owner, keyed)).find("MeterValueSampleInterval")
    assert (found.reported, found.actor_kind) == ("30", "system")


async def test_many_chargers_may_boot_together(ctx):
    _, one = await charger_of(ctx)
    _, other = await charger_of(ctx)
    free = await make_charger(ctx)
    await boot(ctx, one.charger_id, other.charger_id, free.id)
    assert sorted(await looked(ctx)) == sorted([one.charger_id, other.charger_id])


async def test_a_charger_that_has_gone_or_moved_away_is_not_looked_at(ctx):
    owner, keyed = await charger_of(ctx)
    await boot(ctx, keyed.charger_id)
    charger = await ctx.db.read(owner.actor, service.get, keyed.charger_id)
    await ctx.db.work(owner.actor, service.unlink, charger.location_id, charger.id)
    await looked(ctx)
    assert keyed.asked == []
    await after_boot.look(ctx, LookAfterBoot("chg_00000000000000000000000000"))
    assert place_of(charger).location_id is not None


async def test_a_heartbeat_that_somebody_wants_is_told_at_each_boot(ctx):
    owner, keyed = await charger_of(ctx)
    assert await boot(ctx, keyed.charger_id) == {}
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "120"})
    assert await boot(ctx, keyed.charger_id) == {keyed.charger_id: 120}
    # One that would flood us, or stop it altogether, is not told.
    for value in ("0", "9", "86401"):
        await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": value})
        assert await boot(ctx, keyed.charger_id) == {}
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "soon"}, is_forced=True)
    assert await boot(ctx, keyed.charger_id) == {}
    # Nor what the charger refused.
    keyed._change = lambda name, value: "Rejected"
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"HeartbeatInterval": "60"})
    assert await boot(ctx, keyed.charger_id) == {}

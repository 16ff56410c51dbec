"""Setup: what whoever installed a charger answers, what the charger is told of it, what is recommended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import SYSTEM, make_member, make_user, place_of
from tests.unit.chargers.keyed import FACTORY
from tests.unit.chargers.test_parameters import charger_of, connect
from voltyard.chargers import parameters, service, setup
from voltyard.chargers.keys import ROTATIONS
from voltyard.chargers.parameters import Result
from voltyard.chargers.setup import Answers, NetType, State, rotation_of
from voltyard.kernel.errors import Forbidden, Invalid, NotFound, TooMany
from voltyard.locations.access import Level
from voltyard.speech import ConnectorStatus, Restart, StatusTold

THREE = Answers(3, 16.0, NetType.TN, "RST", 20.0)
ONE = Answers(1, 25.0, NetType.IT, "S")


@given(st.sampled_from(ROTATIONS), st.integers(1, 40), st.none() | st.integers(1, 40))
def test_the_rotation_names_each_connector_and_is_never_too_long(rotation, connectors, longest):
    told = rotation_of(Answers(3, 16.0, NetType.TN, rotation), connectors, longest).split(",")
    assert {each.partition(".")[2] for each in told} == {rotation}
    numbers = [int(each.partition(".")[0]) for each in told]
    assert numbers == sorted(set(numbers))
    assert 1 in numbers
    assert len(numbers) <= (longest or 1_000)
    if longest is None or longest > connectors:
        assert numbers == list(range(min(connectors, 32) + 1))


def test_a_charger_on_one_phase_has_no_rotation():
    assert rotation_of(ONE, 2) == "0.NotApplicable,1.NotApplicable,2.NotApplicable"


@pytest.mark.parametrize(
    ("breaker_a", "advised_a"), [(20, 16), (16, 12), (32, 25), (25, 20), (40, 32), (63, 50)]
)
def test_a_charger_should_draw_four_fifths_of_its_breaker(breaker_a, advised_a):
    assert setup.advised_current_a(breaker_a) == advised_a
    assert Answers(3, 16.0, NetType.TN, "RST", breaker_a).advised_current_a == advised_a
    assert ONE.advised_current_a is None


@pytest.mark.parametrize(
    ("answers", "pointer"),
    [
        (Answers(2, 16.0, NetType.TN, "RS"), "/phases"),
        (Answers(3, 5.9, NetType.TN, "RST"), "/max_current_a"),
        (Answers(3, float("nan"), NetType.TN, "RST"), "/max_current_a"),
        (Answers(3, 1_001.0, NetType.TN, "RST"), "/max_current_a"),
        (Answers(3, 16.0, NetType.TN, "RST", 2.0), "/breaker_a"),
        (Answers(3, 25.0, NetType.TN, "RST", 20.0), "/max_current_a"),
        (Answers(3, 16.0, NetType.TN, "R"), "/phase_rotation"),
        (Answers(3, 16.0, NetType.TN, "RRT"), "/phase_rotation"),
        (Answers(1, 16.0, NetType.TN, "RST"), "/phase_rotation"),
    ],
)
async def test_answers_that_cannot_be_are_refused(answers, pointer):
    with pytest.raises(Invalid) as caught:
        setup.check(answers)
    assert [where for where, _ in caught.value.errors] == [pointer]


async def test_a_charger_that_takes_its_rotation_at_once_is_set_up(ctx):
    owner, keyed = await charger_of(ctx)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert await ctx.db.read(owner.actor, setup.get, keyed.charger_id) is None
    made = await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    assert keyed.values["ConnectorPhaseRotation"] == "0.RST,1.RST,2.RST"
    assert (made.answers, made.state, made.told) == (THREE, State.COMPLETED, Result.ACCEPTED)
    assert (made.actor_kind, made.actor_id, made.door) == ("user", owner.user.id, "portal")
    assert made.set_at == ctx.clock.now()
    assert Restart() not in keyed.asked
    assert await ctx.db.read(owner.actor, setup.get, keyed.charger_id) == made


async def test_one_that_wants_to_restart_is_restarted_and_done_afterwards(ctx):
    owner, keyed = await charger_of(ctx, after_reboot=frozenset({"ConnectorPhaseRotation"}))
    made = await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    assert (made.state, made.told, made.is_reboot_required) == (State.PENDING, Result.REBOOT_REQUIRED, True)
    assert keyed.asked[-1] == Restart()
    keyed.reboot()
    await ctx.db.work(SYSTEM, parameters.store.clear_reboots, [keyed.charger_id])
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    made = await ctx.db.read(owner.actor, setup.get, keyed.charger_id)
    assert (made.state, made.told, made.is_reboot_required) == (State.COMPLETED, Result.ACCEPTED, False)


async def test_nobodys_charge_is_cut_off_for_it(ctx):
    owner, keyed = await charger_of(ctx, after_reboot=frozenset({"ConnectorPhaseRotation"}))
    place = place_of(await ctx.db.read(SYSTEM, service.get, keyed.charger_id))
    await ctx.db.work(SYSTEM, service.tell_status, [(place, StatusTold(1, ConnectorStatus.CHARGING))])
    made = await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    assert (made.state, made.is_reboot_required) == (State.PENDING, True)
    assert Restart() not in keyed.asked


async def test_one_that_refuses_number_0_is_told_without_it(ctx):
    owner, keyed = await charger_of(ctx)
    change = keyed._change
    keyed._change = lambda name, value: "Rejected" if value.startswith("0.") else change(name, value)
    made = await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    # How many connectors it has was not read yet.
    assert keyed.changes == [("ConnectorPhaseRotation", "0.RST,1.RST"), ("ConnectorPhaseRotation", "1.RST")]
    assert made.told is Result.ACCEPTED


async def test_one_that_has_no_such_key_is_set_up_on_our_side(ctx):
    owner, keyed = await charger_of(ctx)
    keyed.values.pop("ConnectorPhaseRotation")
    made = await setup.set_up(ctx, owner.actor, keyed.charger_id, ONE)
    assert (made.state, made.told) == (State.COMPLETED, Result.NOT_SUPPORTED)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    ctx.clock.advance(61)
    keyed.asked.clear()
    await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    assert keyed.asked == []


async def test_an_absent_charger_is_told_when_it_is_back(ctx):
    owner, keyed = await charger_of(ctx, is_there=False)
    made = await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    assert (made.state, made.told) == (State.PENDING, Result.PENDING)
    await connect(ctx, await ctx.db.read(SYSTEM, service.get, keyed.charger_id))
    await keyed.serve()
    await parameters.send_pending(ctx, keyed.charger_id)
    made = await ctx.db.read(owner.actor, setup.get, keyed.charger_id)
    assert (made.state, made.told) == (State.COMPLETED, Result.ACCEPTED)


async def test_a_charger_is_set_up_once_a_minute(ctx):
    owner, keyed = await charger_of(ctx)
    await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    ctx.clock.advance(20)
    with pytest.raises(TooMany) as caught:
        await setup.set_up(ctx, owner.actor, keyed.charger_id, ONE)
    assert 40 <= caught.value.facts["retry_after_s"] <= 41
    ctx.clock.advance(40)
    await setup.set_up(ctx, owner.actor, keyed.charger_id, ONE)


async def test_who_may_set_up_and_see_it(ctx):
    owner, keyed = await charger_of(ctx)
    await setup.set_up(ctx, owner.actor, keyed.charger_id, THREE)
    ctx.clock.advance(61)
    location_id = (await ctx.db.read(SYSTEM, service.get, keyed.charger_id)).location_id
    sensitive = await make_member(ctx, location_id, Level.SENSITIVE)
    basic = await make_member(ctx, location_id, Level.BASIC)
    stranger = await make_user(ctx)
    for person, wrong in ((sensitive, Forbidden), (basic, Forbidden), (stranger, NotFound)):
        with pytest.raises(wrong):
            await setup.set_up(ctx, person.actor, keyed.charger_id, ONE)
    for person, wrong in ((basic, Forbidden), (stranger, NotFound)):
        with pytest.raises(wrong):
            await ctx.db.read(person.actor, setup.get, keyed.charger_id)
    assert (await ctx.db.read(sensitive.actor, setup.get, keyed.charger_id)).answers == THREE
    # The next owner begins anew.
    charger = await ctx.db.read(owner.actor, service.get, keyed.charger_id)
    await ctx.db.work(owner.actor, service.unlink, location_id, charger.id)
    ctx.clock.advance(1)
    await service.claim(ctx, owner.actor, location_id, identity=charger.identity, pin="4711")
    assert await ctx.db.read(owner.actor, setup.get, keyed.charger_id) is None


# --- what is recommended --------------------------------------------------------------------------


async def test_what_is_recommended_is_set_once_where_a_charger_has_nothing_of_its_own(ctx):
    values = FACTORY | {"MeterValueSampleInterval": "0", "MeterValuesSampledData": ""}
    owner, keyed = await charger_of(ctx, values=values, measurands_max=4)
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert set(await setup.apply_recommended(ctx, keyed.charger_id)) == {
        "MeterValueSampleInterval",
        "MeterValuesSampledData",
    }
    assert keyed.values["MeterValueSampleInterval"] == "30"
    assert keyed.values["ClockAlignedDataInterval"] == "900"
    assert len(keyed.values["MeterValuesSampledData"].split(",")) == 4
    found = await ctx.db.read(owner.actor, parameters.get, keyed.charger_id)
    interval = found.find("MeterValueSampleInterval")
    assert (interval.desired, interval.actor_kind, interval.actor_id) == ("30", "system", "parameters")
    # Whoever wants none afterwards is left in peace.
    keyed.values["MeterValueSampleInterval"] = "0"
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert await setup.apply_recommended(ctx, keyed.charger_id) == {}


async def test_nothing_that_somebody_chose_is_replaced(ctx):
    owner, keyed = await charger_of(ctx, values=FACTORY | {"ClockAlignedDataInterval": "60"})
    await parameters.save(ctx, owner.actor, keyed.charger_id, {"ClockAlignedDataInterval": "0"})
    await parameters.read(ctx, owner.actor, keyed.charger_id)
    assert await setup.apply_recommended(ctx, keyed.charger_id) == {}
    assert keyed.values["ClockAlignedDataInterval"] == "0"


async def test_a_charger_that_is_not_claimed_is_given_nothing(ctx):
    assert await setup.apply_recommended(ctx, "chg_00000000000000000000000000") == {}

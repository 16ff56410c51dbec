"""The line of one link, with the real desk and log behind it, and back offices that behave in many ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from tests.factories import SYSTEM, make_charger, make_location
from tests.fixtures import context
from tests.unit.lines.scene import STRANGER, Scene, allowing, closed_office, office, playing, scene_of
from voltyard.central.desk import Desk
from voltyard.chargers import service as chargers
from voltyard.gateway.server import Gateway
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import SystemClock
from voltyard.kernel.context import Context
from voltyard.kernel.seal import unseal
from voltyard.kernel.settings import Settings
from voltyard.lines import line
from voltyard.lines.main import Lines
from voltyard.operators import deliveries, service, serving
from voltyard.operators.deliveries import DeliveryStatus
from voltyard.operators.events import Deliver, Verdicted
from voltyard.operators.service import seal_of
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate
from voltyard.speech import Fallback, Role, StopCharging, Verdict
from voltyard.transactions import service as transactions

NOBODY = "ws://127.0.0.1:9/ocpp"
TOLD = ("StartTransaction", "MeterValues", "StopTransaction")


@pytest.fixture
async def scene(sqlite_ctx: Context) -> AsyncIterator[Scene]:
    async with scene_of(sqlite_ctx) as found:
        yield found


def heard(scene: Scene, back) -> list[str]:
    """Return what a back office heard of transactions, in order."""
    return [each.action for each in scene.seen(back).received if each.action in TOLD]


# --- in order, with the original times ------------------------------------------------------------


async def test_an_operator_hears_boot_states_and_a_session_as_it_happens(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        number = await scene.charge()
        await scene.told(link_id)
        seen = scene.seen(back)
        assert seen.boots == [{"chargePointVendor": "Vendor", "chargePointModel": "Model"}]
        assert [each["connectorId"] for each in seen.statuses] == [0, 1, 2, 1, 1]
        (charge,) = seen.transactions
        assert (charge.number, charge.meter_start, charge.meter_stop) == (700, 1_000, 2_000)
        assert charge.meter_values
        (known,) = await scene.numbers(link_id)
        assert (known.number, known.theirs, known.state, known.energy_wh) == (number, 700, "stopped", 1_000)
        assert seen.oddities == seen.repeats == []


@pytest.mark.parametrize("delay_s", [0.0, 0.03])
async def test_one_that_was_away_hears_whole_sessions_later_with_their_own_times(scene: Scene, delay_s):
    back = closed_office(delay_s=delay_s)
    async with back:
        pass
    link_id = await scene.connect(back, fallback=Fallback.ALL)
    await scene.reach(link_id, "backing_off")
    began = scene.clock.now()
    for _ in range(2):
        await scene.charge(STRANGER)
    row = await scene.row(link_id)
    assert "nobody listens at port" in row.reason
    assert (await scene.ctx.db.read(SYSTEM, service.get, link_id)).waiting == 10
    async with back:
        await scene.until(lambda: scene.seen(back).is_connected, step_s=5)
        await scene.reach(link_id, "online")
        await scene.told(link_id)
        seen = scene.seen(back)
        assert [each.action for each in seen.received[:4]] == [
            "BootNotification",
            *["StatusNotification"] * 3,
        ]
        assert heard(scene, back) == [*TOLD, *TOLD]
        assert [(each.started_at - began).total_seconds() for each in seen.transactions] == [60, 240]
        assert [(each.stopped_at - began).total_seconds() for each in seen.transactions] == [180, 360]
        assert [each.number for each in seen.transactions] == [700, 701]
        # Its states are told as they are now, not as they were meanwhile.
        assert [each["status"] for each in seen.statuses] == ["Available"] * 3
        assert seen.oddities == seen.repeats == []
        await scene.stored(link_id)
        assert (await scene.ctx.db.read(SYSTEM, service.get, link_id)).waiting == 0


async def test_what_was_open_when_the_connection_broke_is_told_again_under_the_same_id(scene: Scene):
    async with office(silent=frozenset({"StartTransaction"})) as back:
        link_id = await scene.online(back, Role.OBSERVER)
        await scene.start()
        await scene.until(lambda: heard(scene, back))
        back.behave(silent=frozenset())
        back.hang_up(scene.charger.identity)
        await scene.until(lambda: heard(scene, back)[1:], step_s=0.5)
        await scene.told(link_id)
        first, again = (each for each in scene.seen(back).received if each.action == "StartTransaction")
        assert again.is_repeat
        assert first.id == again.id
        (known,) = await scene.numbers(link_id)
        assert (known.theirs, known.state) == (700, "open")


async def test_one_that_answers_nothing_any_more_is_hung_up_on(scene: Scene):
    async with office(silent=frozenset({"StatusNotification"})) as back:
        link_id = await scene.connect(back)
        row = await scene.reach(link_id, "backing_off", step_s=5)
        assert row.reason == "no_answer"
        back.behave(silent=frozenset())
        await scene.reach(link_id, "online", step_s=1)
        await scene.told(link_id)
        assert scene.seen(back).status(2) == "Available"


async def test_one_whose_socket_is_dead_is_noticed(scene: Scene, monkeypatch):
    monkeypatch.setattr(line.Ears, "ping", lambda _ears: None)
    async with office() as back:
        link_id = await scene.online(back)
        await scene.told(link_id)
        row = await scene.reach(link_id, "backing_off", step_s=20)
        assert row.reason == "silent"


async def test_a_silent_operator_is_pinged_and_stays(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.told(link_id)
        for _ in range(40):
            scene.wait(10)
            await scene.until(lambda: scene.line(link_id)._connection._ears.silent_s <= line.PING_S + 10)
        assert (await scene.row(link_id)).state == "online"
        assert scene.seen(back).connections == 1


async def test_several_operators_each_hear_all_under_their_own_numbers(scene: Scene):
    async with office() as one, office(first_number=31) as two, office(accepted_tags=frozenset()) as three:
        ids = [
            await scene.online(one),
            await scene.online(two, Role.DATA_CONTROL),
            await scene.online(three, Role.OBSERVER, tag_alias="SOMEBODY"),
        ]
        await scene.charge()
        for link_id in ids:
            await scene.told(link_id)
        assert [scene.seen(back).transactions[0].number for back in (one, two, three)] == [700, 31, 700]
        assert [scene.seen(back).transactions[0].meter_stop for back in (one, two, three)] == [2_000] * 3
        assert scene.seen(three).transactions[0].id_tag == "SOMEBODY"
        assert scene.asks(StopCharging) == [], "that an observer refuses means nothing"


async def test_a_dead_operator_disturbs_no_other(scene: Scene):
    async with office() as back:
        dead = await scene.connect(NOBODY, Role.DATA_CONTROL)
        link_id = await scene.online(back)
        await scene.reach(dead, "backing_off")
        await scene.charge()
        await scene.told(link_id)
        assert heard(scene, back) == list(TOLD)
        assert (await scene.row(dead)).state == "backing_off"


async def test_one_that_comes_in_mid_session_hears_the_next_one_only(scene: Scene):
    number = (await scene.start()).number
    async with office() as back, office() as curious:
        link_id = await scene.online(back, Role.OBSERVER)
        told = await scene.online(curious, Role.OBSERVER, is_running_told=True)
        scene.wait(60)
        await scene.meter(number, 1_500)
        await scene.stop(number)
        for each in (link_id, told):
            await scene.told(each)
        assert heard(scene, back) == []
        assert heard(scene, curious) == list(TOLD)


# --- those that refuse ----------------------------------------------------------------------------


async def test_a_start_that_is_refused_is_told_again_ever_later_then_parked(scene: Scene):
    async with office(errors={"StartTransaction": "InternalError"}) as back:
        link_id = await scene.online(back, Role.DATA_CONTROL)
        number = (await scene.start()).number
        (refused,) = await scene.until(lambda: scene.deliveries(link_id, "StartTransaction"))
        assert (refused.status, refused.tries) == (DeliveryStatus.RETRYING, 1)
        assert (refused.next_at - refused.said_at).total_seconds() == 5
        await scene.meter(number, 1_500)
        await scene.stop(number)
        held = await scene.until(lambda: scene.deliveries(link_id, "StopTransaction"))
        assert [each.status for each in held] == [DeliveryStatus.HELD]

        async def parked():
            return await scene.ctx.db.read(
                SYSTEM, deliveries.list_deliveries, link_id, statuses=[DeliveryStatus.PARKED]
            )

        (found,) = await scene.until(parked, step_s=5)
        assert found.tries == 5
        assert heard(scene, back) == ["StartTransaction"] * 5
        since = (found.at - refused.at).total_seconds()
        assert 380 <= since < 480, "after 5, 15, 60 and 300 seconds"
        assert (await scene.ctx.db.read(SYSTEM, service.get, link_id)).parked == 3

        # Other transactions go on.
        back.behave(errors={})
        await scene.charge()
        await scene.told(link_id)
        assert heard(scene, back)[5:] == list(TOLD)

        await scene.ctx.db.work(SYSTEM, deliveries.retry, link_id, found.number)
        await scene.until(lambda: scene.seen(back).transactions[1:], step_s=0.5)
        await scene.until(lambda: not scene.seen(back).transactions[1].is_running, step_s=0.5)
        await scene.told(link_id)
        assert heard(scene, back)[8:] == list(TOLD)
        assert [each.number for each in await scene.numbers(link_id)] == [number, number + 1]
        assert {each.state for each in await scene.numbers(link_id)} == {"stopped"}
        assert (await scene.ctx.db.read(SYSTEM, service.get, link_id)).parked == 0
        assert scene.seen(back).oddities == []


async def test_a_start_that_is_skipped_lets_readings_pass_without_a_number(scene: Scene):
    async with office(errors={"StartTransaction": "InternalError"}) as back, office() as other:
        link_id = await scene.online(back, Role.DATA_CONTROL)
        undisturbed = await scene.online(other, Role.OBSERVER)
        number = (await scene.start()).number
        (refused,) = await scene.until(lambda: scene.deliveries(link_id, "StartTransaction"))
        await scene.ctx.db.work(SYSTEM, deliveries.skip, link_id, refused.number)
        await scene.until(lambda: scene.seen(back).connections == 2, step_s=0.5)
        await scene.reach(link_id, "online", step_s=0.5)
        await scene.meter(number, 1_500)
        await scene.stop(number)
        await scene.told(link_id)
        assert heard(scene, back) == ["StartTransaction", "MeterValues"]
        assert "transactionId" not in scene.seen(back).heard("MeterValues")[0]
        (stop,) = await scene.deliveries(link_id, "StopTransaction")
        assert (stop.status, stop.note) == (DeliveryStatus.WITHHELD, ("start_unknown",))
        assert [each.state for each in await scene.numbers(link_id)] == ["unknown"]
        await scene.told(undisturbed)
        assert scene.seen(other).connections == 1


async def test_what_is_retried_is_retried_though_the_charger_has_gone(scene: Scene):
    async with office(errors={"StopTransaction": "InternalError"}) as back:
        link_id = await scene.online(back, Role.OBSERVER)
        await scene.charge()
        await scene.until(lambda: scene.deliveries(link_id, "StopTransaction"))
        await scene.go()
        back.behave(errors={})
        await scene.until(lambda: not scene.seen(back).transactions[0].is_running, step_s=1)
        await scene.reach(link_id, "waiting", step_s=5)
        assert heard(scene, back) == [*TOLD, "StopTransaction"]


@pytest.mark.parametrize(
    "action", ["StartTransaction", "MeterValues", "StopTransaction", "StatusNotification"]
)
async def test_one_that_answers_nonsense_is_told_on(scene: Scene, action):
    async with office(nonsense=frozenset({action})) as back:
        link_id = await scene.online(back, Role.DATA_CONTROL)
        await scene.charge()
        await scene.until(lambda: scene.deliveries(link_id, action))
        back.behave(nonsense=frozenset())
        await scene.until(
            lambda: scene.seen(back).transactions and not scene.seen(back).transactions[0].is_running,
            step_s=1,
        )
        await scene.told(link_id, step_s=1)
        assert [each.state for each in await scene.numbers(link_id)] == ["stopped"]
        seen = scene.seen(back)
        assert len(seen.transactions) == 1
        assert seen.connections == 1
        assert not [each for each in seen.oddities if "does not know" in each]


async def test_one_that_wants_us_to_wait_hears_all_once_it_accepts(scene: Scene):
    async with office(registration="Pending", interval_s=20) as back:
        link_id = await scene.connect(back, Role.DATA_CONTROL)
        row = await scene.reach(link_id, "pending")
        assert row.reason == "boot_pending"
        await scene.charge()
        await scene.until(lambda: len(scene.seen(back).boots) > 3, step_s=1)
        assert {each.action for each in scene.seen(back).received} == {"BootNotification"}
        back.behave(registration="Accepted", interval_s=80_000)
        await scene.reach(link_id, "online", step_s=1)
        await scene.told(link_id)
        assert heard(scene, back) == list(TOLD)
        assert scene.seen(back).connections == 1
        assert scene.seen(back).oddities == []


async def test_one_that_rejects_us_is_asked_no_more_than_once_a_minute(scene: Scene):
    async with office(registration="Rejected", interval_s=5) as back:
        link_id = await scene.connect(back, Role.DATA_CONTROL)
        row = await scene.reach(link_id, "rejected")
        assert row.reason == "boot_rejected"
        began = scene.clock.monotonic()
        await scene.until(lambda: len(scene.seen(back).boots) == 3, step_s=1)
        assert scene.clock.monotonic() - began >= 119
        assert scene.seen(back).oddities == []


async def test_one_that_closes_at_once_is_left_alone_ever_longer(scene: Scene):
    async with office(closes_at_once=True) as back:
        link_id = await scene.connect(back)
        row = await scene.reach(link_id, "backing_off", step_s=0.1)
        assert row.reason == "the operator closed the connection (code 1000)"
        began = scene.clock.monotonic()
        await scene.until(lambda: scene.clock.monotonic() - began >= 600, step_s=3)
        assert 5 <= scene.seen(back).connections <= 12
        back.behave(closes_at_once=False)
        await scene.reach(link_id, "online", step_s=5)


async def test_a_wrong_password_is_named_and_a_right_one_helps_at_once(scene: Scene):
    async with office(password="right") as back:
        link_id = await scene.connect(back, password="wrong")
        row = await scene.reach(link_id, "refused")
        assert "refused the user name or password" in row.reason
        scene.wait(20)
        assert scene.seen(back).connections == 0, "nobody knocks again soon"
        await scene.change(link_id, password="right")
        await scene.reach(link_id, "online")


async def test_a_password_that_does_not_open_is_no_reason_to_stop_all_lines(scene: Scene):
    async with office(password="right") as back:
        link_id = await scene.connect(back, password="right")
        await scene.reach(link_id, "online")

        def spoil(work):
            service.store.set_link(work, link_id, password_sealed="v1.nonsense")
            service.tell(work, link_id, scene.charger.id, scene.charger.location_id)

        await scene.ctx.db.work(SYSTEM, spoil)
        await scene.reach(link_id, "refused")
        other = await scene.connect(back, Role.OBSERVER, password="right", identity="CP-2")
        await scene.reach(other, "online")


# --- a password that the operator sets ------------------------------------------------------------

NEW = "a new password of it"


async def opened(scene: Scene, link_id: str) -> tuple[bytes | None, bytes | None]:
    """Return the passwords of a link, the one in use and the one that is to come."""
    row = await scene.row(link_id)
    key = scene.ctx.settings.secret_key()
    sealed = (row.password_sealed, row.password_next_sealed)
    found = [each and unseal(each, key, seal_of(link_id, "password")) for each in sealed]
    return found[0], found[1]


@pytest.mark.parametrize("old", ["the old one", None])
async def test_a_new_password_takes_the_place_of_the_old_one_once_it_has_worked(scene: Scene, old):
    async with office(password=old) as back:
        link_id = await scene.online(back, **({} if old is None else {"password": old}))
        told = await scene.ask(back, "ChangeConfiguration", key="AuthorizationKey", value=NEW.encode().hex())
        assert told == {"status": "Accepted"}
        before = None if old is None else old.encode()
        assert await opened(scene, link_id) == (before, NEW.encode())
        (row,) = await scene.until(lambda: scene.deliveries(link_id, "ChangeConfiguration"))
        assert NEW.encode().hex() not in row.payload
        assert scene.seen(back).connections == 1, "it counts from the next connection on"

        # The operator forgets what it has said; the old password still lets us in.
        back.hang_up(scene.charger.identity)
        await scene.until(lambda: scene.seen(back).connections == 2, step_s=0.5)
        await scene.reach(link_id, "online", step_s=0.5)
        if old is not None:
            assert await opened(scene, link_id) == (before, NEW.encode())

        back.behave(password=NEW)
        back.hang_up(scene.charger.identity)
        await scene.until(lambda: scene.seen(back).connections == 3, step_s=0.5)
        await scene.reach(link_id, "online", step_s=0.5)
        assert await opened(scene, link_id) == (NEW.encode(), None)


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.BILLING, Role.DATA_CONTROL])
async def test_who_bills_is_told_the_end_of_what_runs_when_it_is_disconnected(scene: Scene, role):
    async with office() as back:
        link_id = await scene.online(back, role)
        number = (await scene.start()).number
        scene.wait(60)
        await scene.meter(number, 1_700)
        await scene.told(link_id)
        await scene.disconnect(link_id)
        await scene.reach(link_id, "ended", step_s=0.1)
        (charge,) = scene.seen(back).transactions
        if role is Role.BILLING:
            assert (charge.reason, charge.meter_stop) == ("Other", 1_700)
        else:
            assert charge.is_running
        await scene.until(lambda: not scene.seen(back).is_connected)
        await scene.until(lambda: link_id not in scene.lines._lines)
        await scene.stop(number)
        assert heard(scene, back).count("StopTransaction") == (1 if role is Role.BILLING else 0)
        assert [each.is_active for each in await all_transactions(scene)] == [False]


async def all_transactions(scene: Scene):
    return await scene.ctx.db.read(SYSTEM, transactions.list_transactions)


async def test_the_last_word_tells_nothing_else(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.change(link_id, is_boot_on_connect=False)
        await scene.until(lambda: scene.seen(back).connections == 2)
        await scene.told(link_id)
        number = (await scene.start()).number
        await scene.told(link_id)
        back.hang_up(scene.charger.identity)
        await scene.reach(link_id, "backing_off")
        await scene.meter(number, 1_700)
        await scene.disconnect(link_id)
        await scene.reach(link_id, "ended", step_s=0.1)
        assert heard(scene, back) == ["StartTransaction", "StopTransaction"]
        assert len(scene.seen(back).boots) == 1


@pytest.mark.parametrize("how", ["pending", "gone"])
async def test_an_operator_that_cannot_be_told_the_end_is_given_up(scene: Scene, how):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.start()
        await scene.told(link_id)
        back.behave(**({"registration": "Pending"} if how == "pending" else {"refuses_with": 503}))
        await scene.disconnect(link_id)
        row = await scene.reach(link_id, "ended", step_s=1)
        assert (row.is_over, row.password_sealed) == (True, None)


async def test_a_charger_that_moves_away_takes_no_operator_along(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.ctx.db.work(SYSTEM, chargers.unlink, scene.charger.location_id, scene.charger.id)
        await scene.work()
        await scene.until(lambda: not scene.seen(back).is_connected)
        await scene.until(lambda: link_id not in scene.lines._lines)
        assert (await scene.row(link_id)).state == "ended"
        await scene.say("Heartbeat")
        assert scene.seen(back).boots[1:] == []


async def test_a_charger_that_is_away_for_long_is_gone_for_its_operator_too(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.told(link_id)
        await scene.go()
        began = scene.clock.monotonic()
        row = await scene.reach(link_id, "waiting", step_s=1)
        assert row.reason == "charger_offline"
        assert 60 < scene.clock.monotonic() - began < 80
        await scene.until(lambda: not scene.seen(back).is_connected)
        scene.wait(600)
        assert scene.seen(back).connections == 1
        await scene.come()
        await scene.reach(link_id, "online", step_s=1)
        assert len(scene.seen(back).boots) == 2


async def test_a_charger_that_is_away_for_a_moment_is_not_missed(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        await scene.told(link_id)
        await scene.go()
        for _ in range(50):
            scene.wait(1)
            await asyncio.sleep(0)
        await scene.come()
        for _ in range(50):
            scene.wait(1)
            await asyncio.sleep(0)
        await scene.charge()
        await scene.told(link_id)
        assert scene.seen(back).connections == 1
        assert (await scene.row(link_id)).state == "online"


async def test_what_an_operator_missed_it_hears_though_the_charger_is_away(scene: Scene):
    back = closed_office()
    async with back:
        pass
    link_id = await scene.connect(back, Role.OBSERVER)
    await scene.reach(link_id, "backing_off")
    for _ in range(30):
        await scene.status("Preparing")
        await scene.status("Available")
    await scene.charge()
    await scene.go()
    scene.wait(3_600)
    async with back:
        await scene.until(lambda: scene.seen(back).transactions, step_s=5)
        await scene.until(lambda: not scene.seen(back).transactions[0].is_running, step_s=1)
        await scene.reach(link_id, "waiting", step_s=5)
        assert heard(scene, back) == list(TOLD)


async def test_a_link_that_is_changed_is_served_anew_and_others_are_left_alone(scene: Scene):
    async with office() as one, office() as two:
        first = await scene.online(one)
        second = await scene.online(two, Role.OBSERVER)
        await scene.change(second, url=one.url, identity="CP-2")
        await scene.until(lambda: one.charger("CP-2").boots, step_s=0.1)
        await scene.until(lambda: not scene.seen(two).is_connected)
        await scene.change(second, name="Another name")
        await scene.charge()
        await scene.told(first)
        assert scene.seen(one).connections == 1
        assert heard(scene, one) == list(TOLD)


# --- cards ----------------------------------------------------------------------------------------


async def test_a_refusal_that_comes_too_late_for_the_charger_ends_the_session(scene: Scene):
    back = closed_office(accepted_tags=frozenset())
    async with back:
        pass
    link_id = await scene.connect(back, fallback=Fallback.ALL)
    await scene.reach(link_id, "backing_off")
    started = await scene.start(STRANGER)
    assert started.verdict is Verdict.ACCEPTED
    async with back:
        await scene.reach(link_id, "online", step_s=1)
        await scene.told(link_id)
        await scene.work()
        assert scene.asks(StopCharging) == [StopCharging(started.number)]
        (known,) = await scene.numbers(link_id)
        assert (known.state, known.verdict) == ("refused", "Invalid")


async def test_a_decision_is_known_also_to_who_asks_for_it_after_it_came(scene: Scene):
    async with office(accepted_tags=frozenset()) as back:
        link_id = await scene.online(back)
        line_of_it = scene.line(link_id)
        started = await scene.start()
        (row,) = await scene.deliveries(link_id, "StartTransaction")
        for _ in range(2):
            assert (await line_of_it._deliver(Deliver(row.call_number))).verdict is Verdict.INVALID
            await scene.meter(started.number, 1_500)
            await scene.told(link_id)
            line_of_it._connection._decided.clear()  # then it is stored
        await scene.status("Faulted")
        await scene.told(link_id)
        (faulted,) = (await scene.deliveries(link_id, "StatusNotification"))[-1:]
        assert await line_of_it._deliver(Deliver(faulted.call_number)) == Verdicted()


async def test_who_asks_by_a_number_that_was_just_given_is_understood(scene: Scene):
    async with office() as back:
        await scene.online(back)
        started = await scene.start()
        answer = await scene.ask(back, "RemoteStopTransaction", transactionId=700)
        assert answer == {"status": "Accepted"}
        assert scene.asks(StopCharging) == [StopCharging(started.number)]


# --- the whole way --------------------------------------------------------------------------------


@pytest.fixture
async def real_ctx(sqlite_url: str, bus: LocalBus, settings: Settings) -> AsyncIterator[Context]:
    """Give a context in which time passes by itself."""
    async for one in context(sqlite_url, SystemClock(), bus, settings):
        yield allowing(one)


async def test_a_simulated_charger_charges_for_who_bills_through_the_real_gateway(real_ctx: Context):
    location = await make_location(real_ctx)
    charger = await make_charger(real_ctx, location.id, identity="SIM-1")
    lines = Lines(real_ctx)
    scene = Scene(real_ctx, charger, lines)
    gateway = Gateway(bus=real_ctx.bus, clock=real_ctx.clock, host="127.0.0.1", port=0)
    ports: list[int] = []

    async def has_told_all() -> bool:
        shown = await real_ctx.db.read(SYSTEM, chargers.get, charger.id)
        return any(each.number == 1 for each in shown.connectors)

    def open_gateway(ready: Callable[[], None]) -> Coroutine[None, None, None]:
        return gateway.run(lambda port: (ports.append(port), ready())[1])

    async with (
        playing(Desk(real_ctx).run),
        playing(lines.run),
        playing(open_gateway),
        office() as back,
        office(first_number=31) as other,
    ):
        machine = VirtualCharger(Nameplate("SIM-1"), 1, real_ctx.clock.now())
        url = f"ws://127.0.0.1:{ports[0]}/ocpp"
        runner = Runner(machine, url, None, SimulatedClock(real_ctx.clock), lambda _: None)
        async with playing(lambda ready: _running(runner, ready)):
            await scene.until(has_told_all)
            ids = [await scene.connect(back), await scene.connect(other, Role.DATA_CONTROL)]
            for link_id in ids:
                await scene.reach(link_id, "online")
            wanted = {"idTag": STRANGER, "connectorId": 1}
            assert await scene.ask(back, "RemoteStartTransaction", **wanted) == {"status": "Accepted"}
            runner.act(lambda machine, now: machine.plug(1, Car(), now))
            await scene.until(lambda: scene.seen(back).transactions and scene.seen(other).transactions)
            refused = await scene.ask(other, "RemoteStopTransaction", transactionId=31)
            assert refused == {"status": "Rejected"}
            stopped = await scene.ask(back, "RemoteStopTransaction", transactionId=700)
            assert stopped == {"status": "Accepted"}
            for each in (scene.seen(back), scene.seen(other)):
                await scene.until(lambda seen=each: not seen.transactions[0].is_running)
                assert each.transactions[0].reason == "Remote"
                assert each.oddities == each.repeats == []
                assert each.boots[0]["chargePointModel"] == machine.plate.model


async def _running(runner: Runner, ready: Callable[[], None]) -> None:
    ready()
    await runner.run()


# --- those that ask too much ----------------------------------------------------------------------


async def test_one_that_asks_and_asks_is_answered_ever_more_slowly(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        for _ in range(line.ASKED_BURST):
            await scene.ask(back, "GetLocalListVersion")
        asking = asyncio.ensure_future(scene.ask(back, "GetLocalListVersion"))
        await scene.until(lambda: scene.line(link_id)._connection._pace._left < 0)
        assert not asking.done()
        scene.wait(1)
        assert await asking == {"listVersion": 0}


async def test_little_is_kept_of_what_was_refused_and_nothing_of_a_heartbeat(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back, Role.OBSERVER)
        await scene.ask(back, "DataTransfer", vendorId="v", data="x" * 9_000)
        await scene.ask(back, "TriggerMessage", requestedMessage="Heartbeat")
        await scene.until(lambda: scene.seen(back).heard("Heartbeat"))
        await scene.told(link_id)
        rows = await scene.deliveries(link_id)
        assert {len(row.payload) for row in rows if row.action == "DataTransfer"} == {line.REFUSED_KEPT}
        assert "Heartbeat" not in {row.action for row in rows}


async def test_one_that_talks_before_it_was_told_anything_is_heard_so_far_only(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        connection = scene.line(link_id)._connection
        connection._stand_in = None
        for _ in range(line.EARLY_MAX + 5):
            connection._heard(b"[]")
        assert len(connection._early) == line.EARLY_MAX
        assert "talked on and on" in connection._over.result()


async def test_a_last_word_is_said_once_and_under_an_id_of_its_own(scene: Scene):
    async with office() as back:
        link_id = await scene.online(back)
        number = (await scene.start()).number
        await scene.told(link_id)
        await scene.disconnect(link_id)
        await scene.reach(link_id, "ended", step_s=0.1)
        (last,) = (each for each in scene.seen(back).received if each.action == "StopTransaction")
        assert last.id == f"{link_id[-12:]}:bye-{number}"
        await scene.stored(link_id)
        assert await scene.ctx.db.read(SYSTEM, serving.farewells, link_id) == []

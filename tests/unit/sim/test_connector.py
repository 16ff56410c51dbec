from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from voltyard.sim.car import Car
from voltyard.sim.connector import Authorisation, Connector, Reservation, next_multiple
from voltyard.sim.outbox import Transaction
from voltyard.sim.profiles import Limit

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def charging(car: Car | None = None) -> Connector:
    connector = Connector(1, 3, 230, 0)
    connector.plug(car or Car())
    connector.transaction = Transaction(1, "A", None, NOW, 0)
    connector.offer(Limit(16, 3))
    return connector


def test_every_state_follows_from_what_is_there():
    connector = Connector(1, 3, 230, 0)
    assert connector.status() == "Available"
    connector.reservation = Reservation(1, "A", None, NOW)
    assert connector.status() == "Reserved"
    connector.authorisation = Authorisation("A", None, NOW, is_pinned=True)
    assert connector.status() == "Preparing"
    connector.authorisation = connector.reservation = None
    connector.plug(Car())
    assert connector.status() == "Preparing"
    connector.transaction = Transaction(1, "A", None, NOW, 0)
    assert connector.status() == "SuspendedEVSE"
    connector.offer(Limit(16, 3))
    assert connector.status() == "Charging"
    connector.transaction.is_suspended = True
    assert connector.status() == "SuspendedEVSE"
    connector.transaction = None
    connector.is_finishing = True
    assert connector.status() == "Finishing"
    connector.is_operative = False
    assert connector.status() == "Unavailable"
    connector.error = "GroundFailure"
    assert connector.status() == "Faulted"


def test_a_session_without_car_or_with_a_full_one_is_suspended_by_the_car():
    assert charging(Car(soc=1)).status() == "SuspendedEV"
    connector = charging()
    connector.unplug()
    assert connector.status() == "SuspendedEV"
    assert (connector.drawn_a, connector.phases_in_use, connector.power_w) == (0, 0, 0)
    connector.flow(100)
    assert connector.seconds_until_full() is None
    assert connector.meter_reading_wh == 0


def test_the_leds_tell_the_state():
    connector = charging()
    assert connector.snapshot()["led"] == "white pulsing"
    connector.transaction = None
    assert connector.snapshot()["led"] == "white flashing"
    connector.authorisation = Authorisation("A", None, NOW, is_pinned=True)
    assert connector.snapshot()["led"] == "white steady"
    connector.error = "GroundFailure"
    assert connector.snapshot()["led"] == "red steady"
    assert Connector(1, 3, 230, 0).snapshot()["led"] == "white standby"


def test_state_of_charge_is_told_by_cars_that_tell_it():
    told = charging(Car(soc=0.5, tells_soc=True)).meter_value(NOW, ["SoC"], "Trigger")
    assert told is not None
    assert told["sampledValue"][0]["value"] == "50"
    assert charging().meter_value(NOW, ["SoC"], "Trigger") is None


def test_a_reservation_is_for_its_card_or_its_group():
    kept = Reservation(1, "AbC", "G", NOW)
    assert kept.is_for("aBc", None)
    assert kept.is_for("X", "G")
    assert not kept.is_for("X", "H")
    assert not Reservation(1, "A", None, NOW).is_for("X", None)


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 3), st.floats(0, 5000)), max_size=10))
def test_the_meter_never_goes_back(offers):
    connector = charging()
    for offered_a, phases, duration_s in offers:
        before_wh = connector.meter_wh
        connector.offer(Limit(offered_a, phases))
        connector.flow(duration_s)
        assert connector.meter_wh >= before_wh


@given(st.integers(0, 86399), st.integers(1, 100_000))
def test_aligned_instants_lie_ahead_on_a_grid_from_midnight(passed_s, interval_s):
    now = NOW.replace(hour=0) + timedelta(seconds=passed_s)
    ahead = next_multiple(now, interval_s)
    since_s = (ahead - NOW.replace(hour=0)).total_seconds()
    assert ahead > now
    assert since_s % interval_s == 0 or since_s == 86400


def test_each_measurand_is_told_in_its_unit_for_each_wired_phase():
    connector = charging(Car(phases=2, limit_a=10, ramp_a_per_s=100))
    connector.flow(3600)
    names = [
        "Energy.Active.Import.Register",
        "Power.Active.Import",
        "Current.Import",
        "Current.Offered",
        "Voltage",
    ]
    told = connector.meter_value(NOW, [*names, "Taste"], "Trigger")
    assert told is not None
    rows = [(one["value"], one["unit"], one.get("phase")) for one in told["sampledValue"]]
    assert rows == [
        ("4599", "Wh", None),
        ("4600.0", "W", None),
        ("10.0", "A", "L1"),
        ("10.0", "A", "L2"),
        ("0.0", "A", "L3"),
        ("16.0", "A", None),
        *[("230.0", "V", f"L{phase}-N") for phase in (1, 2, 3)],
    ]

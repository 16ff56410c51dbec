from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltyard.sim.car import Battery, Car

cars = st.builds(
    Car,
    phases=st.sampled_from([1, 2, 3]),
    limit_a=st.floats(6, 80),
    battery_wh=st.floats(100, 120_000),
    soc=st.floats(0, 1),
    ramp_a_per_s=st.floats(0.1, 50),
    taper_soc=st.floats(0.1, 1),
)
offers = st.lists(st.tuples(st.floats(0, 80), st.floats(0, 20_000)), max_size=8)


def drawn_wh(battery: Battery, offered_a: float, duration_s: float) -> float:
    return battery.draw(offered_a, 230, battery.car.phases, duration_s)


@given(cars, offers)
def test_drawn_current_is_never_above_the_offer_nor_the_car(car, given_offers):
    battery = Battery(car)
    for offered_a, duration_s in given_offers:
        battery.settle(offered_a)
        assert battery.drawn_a <= offered_a
        drawn_wh(battery, offered_a, duration_s)
        assert 0 <= battery.drawn_a <= min(offered_a, car.limit_a)
        assert offered_a >= 6 or battery.drawn_a == 0


@given(cars, offers, st.integers(2, 9))
def test_cutting_time_into_pieces_changes_nothing(car, given_offers, pieces):
    whole, cut = Battery(car), Battery(car)
    for offered_a, duration_s in given_offers:
        whole_wh = drawn_wh(whole, offered_a, duration_s)
        cut_wh = sum(drawn_wh(cut, offered_a, duration_s / pieces) for _ in range(pieces))
        assert cut_wh == pytest.approx(whole_wh, rel=1e-6, abs=1e-3)


@given(cars, offers)
def test_the_battery_never_holds_more_than_its_size(car, given_offers):
    battery = Battery(car)
    before_wh = battery.held_wh
    for offered_a, duration_s in given_offers:
        taken_wh = drawn_wh(battery, offered_a, duration_s)
        assert taken_wh >= 0
        assert battery.held_wh == pytest.approx(before_wh + taken_wh, abs=1e-3)
        assert battery.held_wh <= car.battery_wh
        before_wh = battery.held_wh


def test_the_ramp_is_integrated_exactly():
    battery = Battery(Car(phases=1, limit_a=10, ramp_a_per_s=1, soc=0))
    taken_wh = drawn_wh(battery, 16, 20)
    assert taken_wh == pytest.approx((50 + 100) * 230 / 3600)
    assert battery.drawn_a == 10


def test_the_current_falls_at_once():
    battery = Battery(Car(limit_a=16, ramp_a_per_s=100))
    drawn_wh(battery, 32, 10)
    battery.settle(8)
    assert battery.drawn_a == 8
    battery.settle(5.9)
    assert battery.drawn_a == 0


def test_the_car_takes_less_near_full():
    car = Car(limit_a=10, taper_soc=0.8, battery_wh=1000)
    wanted = [
        Battery(Car(limit_a=10, taper_soc=0.8, soc=soc)).wanted_a() for soc in (0.79, 0.8, 0.9, 0.99, 1)
    ]
    assert wanted == pytest.approx([10, 9.2, 5.2, 2, 0])
    assert Battery(car).wanted_a() == 10


@given(cars, st.floats(6, 80))
def test_the_time_until_full_is_when_it_is_full(car, offered_a):
    battery = Battery(car)
    full_s = battery.seconds_until_full(offered_a, 230, car.phases)
    if full_s is None:
        assert battery.is_full
        return
    drawn_wh(battery, offered_a, full_s + 0.001)
    assert battery.is_full


def test_a_car_without_an_offer_never_gets_full():
    assert Battery(Car()).seconds_until_full(5, 230, 3) is None


def test_a_car_without_taper_charges_to_the_end():
    battery = Battery(Car(phases=1, limit_a=10, battery_wh=2300, soc=0, taper_soc=1, ramp_a_per_s=1000))
    assert battery.seconds_until_full(16, 230, 1) == pytest.approx(3600, abs=1)

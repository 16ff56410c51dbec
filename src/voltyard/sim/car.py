"""A virtual car: how much current it takes of what it is offered.

Invariants:
- drawn current is never above the offer, never above the car's own limit, and 0 below 6 A of offer;
- energy is integrated exactly, so cutting a time span into pieces changes nothing;
- the battery never holds more than its size.

The current rises along a ramp and falls at once, as the control pilot asks (IEC 61851-1). Near full
the limit goes down in steps of state of charge; between steps everything is linear, hence exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

OFFER_MIN_A = 6.0
"""Below this the control pilot cannot speak of a current at all (IEC 61851-1)."""

TAPER_STEPS = 10
_FULL_TOLERANCE_WH = 1e-6
_TIME_TOLERANCE_S = 1e-9


@dataclass(frozen=True)
class Car:
    """What a car is: limits per phase, battery, and how full it arrives."""

    name: str = "car"
    phases: int = 3
    limit_a: float = 16.0
    battery_wh: float = 60_000.0
    soc: float = 0.3
    """State of charge on arrival, 0 to 1."""
    ramp_a_per_s: float = 2.0
    taper_soc: float = 0.9
    """From here on the car takes less and less."""
    tells_soc: bool = False

    def __post_init__(self) -> None:
        assert self.phases in {1, 2, 3}
        assert self.limit_a > 0
        assert self.battery_wh > 0
        assert self.ramp_a_per_s > 0
        assert 0 <= self.soc <= 1


class Battery:
    """One car at one connector: its present current per phase and what its battery holds."""

    def __init__(self, car: Car) -> None:
        self.car = car
        self.held_wh = car.soc * car.battery_wh
        self.drawn_a = 0.0

    @property
    def soc(self) -> float:
        """State of charge, 0 to 1."""
        return self.held_wh / self.car.battery_wh

    @property
    def is_full(self) -> bool:
        """Whether nothing more goes in."""
        return self.held_wh >= self.car.battery_wh - _FULL_TOLERANCE_WH

    def wanted_a(self) -> float:
        """Return what the car would take per phase if the offer were endless."""
        if self.is_full:
            return 0.0
        return self.car.limit_a * (1.0 - 0.8 * self._step() / TAPER_STEPS)

    def settle(self, offered_a: float) -> None:
        """Let the current fall at once to what is now allowed."""
        self.drawn_a = min(self.drawn_a, self._target_a(offered_a))

    def draw(self, offered_a: float, voltage_v: float, phases: int, duration_s: float) -> float:
        """Take current for a while and return the energy in Wh."""
        taken_wh = 0.0
        remaining_s = duration_s
        while remaining_s > _TIME_TOLERANCE_S:
            target_a = self._target_a(offered_a)
            self.drawn_a = min(self.drawn_a, target_a)
            if target_a == 0:
                break
            span_s, part_wh = self._span(target_a, voltage_v * phases, remaining_s)
            taken_wh += part_wh
            remaining_s -= span_s
        return taken_wh

    def seconds_until_full(self, offered_a: float, voltage_v: float, phases: int) -> float | None:
        """Return how long this offer takes to fill the battery, or None if it never does."""
        if self.is_full or self._target_a(offered_a) == 0:
            return None
        ahead = Battery(self.car)
        ahead.held_wh, ahead.drawn_a = self.held_wh, self.drawn_a
        passed_s = 0.0
        while not ahead.is_full:
            target_a = ahead._target_a(offered_a)
            ahead.drawn_a = min(ahead.drawn_a, target_a)
            span_s, _ = ahead._span(target_a, voltage_v * phases, math.inf)
            passed_s += span_s
        return passed_s

    def _target_a(self, offered_a: float) -> float:
        return 0.0 if offered_a < OFFER_MIN_A else min(offered_a, self.wanted_a())

    def _step(self) -> int:
        """Return the step of the taper in which the battery is; 0 before it begins."""
        # The very borders on which ``_span`` lands: a share computed anew could round below one.
        step = 0
        while step < TAPER_STEPS and self.held_wh >= self._border_wh(step):
            step += 1
        return step

    def _border_wh(self, step: int) -> float:
        """Return what the battery holds where this step of the taper ends."""
        if step == TAPER_STEPS or self.car.taper_soc >= 1:
            return self.car.battery_wh
        share = self.car.taper_soc + (1 - self.car.taper_soc) * step / TAPER_STEPS
        return self.car.battery_wh * share

    def _span(self, target_a: float, power_per_a_w: float, longest_s: float) -> tuple[float, float]:
        """Go as far as one rule holds: the ramp, or the level up to the next step. Returns s and Wh."""
        goal_wh = self._border_wh(self._step())
        missing_as = (goal_wh - self.held_wh) * 3600 / power_per_a_w
        if self.drawn_a < target_a:
            ramp = self.car.ramp_a_per_s
            reach_s = (target_a - self.drawn_a) / ramp
            # missing = drawn*t + ramp*t²/2, solved for t
            step_s = (math.sqrt(self.drawn_a**2 + 2 * ramp * missing_as) - self.drawn_a) / ramp
            span_s = min(reach_s, step_s, longest_s)
            moved_as = self.drawn_a * span_s + ramp * span_s**2 / 2
            self.drawn_a = target_a if span_s == reach_s else min(target_a, self.drawn_a + ramp * span_s)
        else:
            step_s = missing_as / target_a
            span_s = min(step_s, longest_s)
            moved_as = target_a * span_s
        taken_wh = moved_as * power_per_a_w / 3600
        if span_s == step_s:
            # Land on the border itself: a rounding short of it would crawl towards it for ever.
            taken_wh = goal_wh - self.held_wh
            self.held_wh = goal_wh
        else:
            self.held_wh = min(self.held_wh + taken_wh, self.car.battery_wh)
        return span_s, taken_wh

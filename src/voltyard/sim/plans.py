"""The life around a charger: cars that come, cards that are swiped, cars that leave.

All chance comes from the seed, so the same seed lives the same life.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from voltyard.sim.car import Car

CARS = (
    Car("city car", phases=1, limit_a=32, battery_wh=42_000),
    Car("plug-in hybrid", phases=1, limit_a=16, battery_wh=12_000, ramp_a_per_s=1.0),
    Car("family car", phases=3, limit_a=16, battery_wh=60_000, tells_soc=True),
    Car("saloon", phases=3, limit_a=16, battery_wh=82_000),
    Car("van", phases=3, limit_a=32, battery_wh=75_000, ramp_a_per_s=4.0),
    Car("old two-phase car", phases=2, limit_a=16, battery_wh=30_000),
)


@dataclass(frozen=True)
class Step:
    """After this pause something happens at one connector."""

    after_s: float


@dataclass(frozen=True)
class Arrive(Step):
    """A car is plugged in."""

    car: Car


@dataclass(frozen=True)
class Show(Step):
    """The driver swipes a card to begin."""

    card: str


@dataclass(frozen=True)
class Finish(Step):
    """The driver swipes the card again, if the car still charges."""

    card: str


@dataclass(frozen=True)
class Leave(Step):
    """The car is unplugged."""


def life(seed: str, cards: tuple[str, ...], gap_s: float = 1800.0, stay_s: float = 7200.0) -> Iterator[Step]:
    """Yield the endless life of one connector; gap and stay are means, in seconds."""
    chance = random.Random(seed)
    pause_s = chance.uniform(0, gap_s)
    while True:
        car = replace(chance.choice(CARS), soc=round(chance.uniform(0.1, 0.9), 3))
        card = chance.choice(cards)
        if chance.random() < 0.3:
            yield Show(pause_s, card)
            yield Arrive(chance.uniform(3, 30), car)
        else:
            yield Arrive(pause_s, car)
            yield Show(chance.uniform(3, 30), card)
        stays_s = chance.uniform(0.2, 1.8) * stay_s
        # Some drivers end with the card, some just pull the plug.
        if chance.random() < 0.5:
            yield Finish(stays_s, card)
            yield Leave(chance.uniform(5, 120))
        else:
            yield Leave(stays_s)
        pause_s = chance.uniform(0.1, 1.9) * gap_s

"""Units: amperes, watts, watt-hours and volts, per phase where it matters.

Positive is consumption. This is the only place that divides watts by volts.
kW and kWh exist only at doors.
"""

from __future__ import annotations

import math
from typing import NamedTuple

NOMINAL_V = 230.0
FUSE_TOLERANCE_A = 0.001


class PerPhase(NamedTuple):
    """A value for each phase; ``None`` where the charger did not tell."""

    l1: float | None = None
    l2: float | None = None
    l3: float | None = None


def amps(power_w: float, phases: int, voltage_v: float = NOMINAL_V) -> float:
    """Return the current per phase that this power means."""
    assert phases in {1, 2, 3}
    return power_w / (voltage_v * phases)


def watts(current_a: float, phases: int, voltage_v: float = NOMINAL_V) -> float:
    """Return the power that this current on each of the phases means."""
    assert phases in {1, 2, 3}
    return current_a * voltage_v * phases


def round_down_a(current_a: float) -> float:
    """Round a limit down to 0.1 A, the resolution of OCPP 1.6 §7.10; never up, for a fuse's sake."""
    return math.floor(current_a * 10 + 1e-6) / 10

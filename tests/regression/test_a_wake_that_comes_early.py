"""The demo's chargers fell silent after half a minute.

A timer may fire a little before its instant (its clock is not the wall's). The charger then had nothing to
do yet and did not name the instant again, since it had not changed; nobody ever woke it.
"""

from __future__ import annotations

from datetime import timedelta

from tests.unit.sim.driving import START, Bench
from voltyard.sim.charger import WakeAt


def test_a_charger_that_is_woken_early_asks_to_be_woken_again():
    bench = Bench().connect()
    effects = bench.machine.tick(START + timedelta(seconds=1))
    due = [effect.at for effect in effects if isinstance(effect, WakeAt)]
    early = bench.machine.tick(due[0] - timedelta(milliseconds=1))
    assert [effect.at for effect in early if isinstance(effect, WakeAt)] == due

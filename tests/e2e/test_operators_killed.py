"""A server that dies at any moment loses nothing and doubles nothing at any operator."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.kills import run


async def test_a_server_that_is_killed_in_seeded_places_loses_and_doubles_nothing(tmp_path: Path):
    counted = await run(tmp_path, count=4, seed=20_261_129)
    assert counted["sessions"] >= 3

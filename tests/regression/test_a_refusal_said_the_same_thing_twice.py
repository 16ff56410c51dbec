"""The portal told a double claim twice in other words, and an empty serial number what none has to be.

A charge that had just begun was told to be one without any current.
"""

from __future__ import annotations

from tests.regression.conftest import Portal


async def test_a_double_claim_is_told_once(portal: Portal):
    here = await portal.add_location("Home", "Europe/Amsterdam")
    there = await portal.add_location("Depot", "Europe/Amsterdam")
    await portal.charge(here, "ACE-1")
    answer = await portal.http.post(f"/locations/{there}/chargers", data={"identity": "ACE-1"})
    assert answer.text.count("unlink it") == 1


async def test_an_empty_serial_number_is_asked_for(portal: Portal):
    here = await portal.add_location("Home", "Europe/Amsterdam")
    for typed, is_empty in ((" ", True), ("", True), ("a/b", False)):
        answer = await portal.http.post(f"/locations/{here}/chargers", data={"identity": typed, "pin": "1"})
        assert ("Type the serial number from the sticker" in answer.text) is is_empty


async def test_a_charge_that_has_just_begun_has_no_readings_yet(portal: Portal):
    _, transaction_id = await portal.charge(await portal.add_location("Home", "Europe/Amsterdam"), "ACE-1")
    page = await portal.text(f"/transactions/{transaction_id}")
    assert "No readings yet" in page
    assert "told no current during this charge" not in page

"""The tab Reservations of a charger, in a browser: kept connectors, and the cards known offline."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.test_portal_pages import (
    WIDTHS,
    PlayedCharger,
    Visitor,
    World,
    look,
    made,
    now,
    quiet_world,
    visiting,
    visitor,
    world,
)
from voltyard.local_lists import service as local_lists
from voltyard.local_lists.events import SyncList
from voltyard.reservations import service as reservations
from voltyard.speech import CancelReservation, Reserve

__all__ = ["made", "quiet_world", "visitor", "world"]

SHOTS = os.environ.get("VOLTYARD_SHOTS", "")


@pytest_asyncio.fixture(loop_scope="session")
async def played(world: World) -> PlayedCharger:
    charger = PlayedCharger(world, world.chargers["free"], world.locations["office"])
    await charger.serve()
    return charger


def of_kind(charger: PlayedCharger, kind: type) -> list[Any]:
    return [ask for ask in charger.asked if isinstance(ask, kind)]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_connector_is_kept_for_a_card_and_given_free(visitor: Visitor, played: PlayedCharger):
    page = visitor.page
    await visitor.go(f"/chargers/{played.charger_id}/reservations")
    await expect(page.get_by_text("Nothing is reserved")).to_be_visible()
    await page.get_by_label("Anna de Wit").check()
    await page.get_by_label("Which connector?").select_option(label="Connector 2")
    await page.get_by_text("1 hour").click()
    await page.get_by_role("button", name="Reserve").click()
    row = page.locator("#kept tbody tr")
    await expect(row).to_contain_text("Anna de Wit")
    await expect(row).to_contain_text("Connector 2")
    await expect(row).to_contain_text("in 59")
    (asked,) = of_kind(played, Reserve)
    assert (asked.connector, asked.id_tag) == (2, "04A2B8C19D3E80")
    assert timedelta(minutes=59) < asked.expires_at - now() < timedelta(minutes=61)
    await row.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the reservation").click()
    await expect(page.locator("#kept tbody tr")).to_contain_text("Cancelled")
    assert of_kind(played, CancelReservation) == [CancelReservation(asked.reservation)]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_charger_that_cannot_says_so_and_one_may_insist(visitor: Visitor, played: PlayedCharger):
    page = visitor.page
    played.answer = "NotSupported"
    await visitor.go(f"/chargers/{played.charger_id}/reservations")
    await page.get_by_role("radio", name="Another tag").check()
    await page.get_by_label("Tag", exact=True).fill("0499")
    await page.get_by_role("button", name="Reserve").click()
    await expect(page.get_by_role("alert")).to_contain_text("cannot keep a connector for a card")
    await expect(page.get_by_label("Tag", exact=True)).to_have_value("0499")
    await page.get_by_label("Reserve all the same").check()
    await page.get_by_role("button", name="Reserve").click()
    await expect(page.locator("#kept")).to_contain_text("By Voltyard only")
    visitor.complaints.clear()  # a refusal is an answer of 409, which a browser logs


@pytest.mark.asyncio(loop_scope="session")
async def test_a_time_that_makes_no_sense_is_marked(visitor: Visitor, played: PlayedCharger):
    page = visitor.page
    await visitor.go(f"/chargers/{played.charger_id}/reservations")
    await page.get_by_text("Until …").click()
    await page.get_by_label("Until", exact=True).fill("2020-01-01T10:00")
    await page.get_by_role("button", name="Reserve").click()
    await expect(page.locator("#h-until")).to_contain_text("at most seven days")
    assert of_kind(played, Reserve) == []
    visitor.complaints.clear()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_cards_known_offline_follow_while_one_looks(visitor: Visitor, played: PlayedCharger):
    page = visitor.page
    await visitor.go(f"/chargers/{played.charger_id}/reservations")
    offline = page.locator("#cards-offline")
    await expect(offline).to_contain_text("Not asked yet")
    await visitor.live()
    await page.get_by_role("button", name="Send the cards again").click()
    await expect(offline).to_contain_text("On its way")
    await local_lists.sync(visitor.world.ctx, SyncList(played.charger_id))
    await expect(offline.locator("dd").first).to_have_text("3")
    await expect(offline).to_contain_text("knows the cards of this location")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_is_sound_at_both_widths(
    browser: Browser, world: World, played: PlayedCharger, width: str, theme: str
):
    create = reservations.create
    for connector in (1, 2):
        until = now() + timedelta(minutes=20 * connector)
        made_one = await create(
            world.ctx, world.actor, played.charger_id, connector=connector, id_tag="04A2B8C19D3E80",
            expires_at=until,
        )  # fmt: skip
        if connector == 2:
            await reservations.cancel(world.ctx, world.actor, made_one.id)
    await local_lists.sync(world.ctx, SyncList(played.charger_id))
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as visitor:
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await visitor.go(f"/chargers/{played.charger_id}/reservations")
        await expect(visitor.page.locator("#kept tbody tr")).to_have_count(2)
        found = await look(visitor)
        await visitor.go(f"/chargers/{world.chargers['offline']}/reservations")
        found += await look(visitor)
        if SHOTS:
            shots = Path(SHOTS)
            for word in ("free", "offline"):
                await visitor.go(f"/chargers/{world.chargers[word]}/reservations")
                path = shots / f"reservations-{word}-{width}-{theme}.png"
                await visitor.page.screenshot(path=path, full_page=True)
        assert found + visitor.complaints == []

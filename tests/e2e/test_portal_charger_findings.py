"""The tab Findings of a charger and the page of all models, in a browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.test_portal_pages import (
    CENTRAL,
    WIDTHS,
    Visitor,
    World,
    look,
    made,
    quiet_world,
    visiting,
    visitor,
    world,
)
from voltyard.chargers import findings
from voltyard.speech import FlawTold

__all__ = ["made", "quiet_world", "visitor", "world"]

SHOTS = os.environ.get("VOLTYARD_SHOTS", "")
SAMPLE = (
    '{"connectorId":"1","idTag":"04A2B8C19D3E80","meterStart":"1204113",'
    '"timestamp":"2026-11-20T17:03:11.0000000"}'
)


@pytest_asyncio.fixture(loop_scope="session")
async def odd(world: World) -> str:
    charger_id = world.chargers["faulted"]
    told = [
        FlawTold(charger_id, "number_as_text", 12_431, "MeterValues", SAMPLE),
        FlawTold(charger_id, "number_as_text", 14, "StartTransaction", SAMPLE),
        FlawTold(charger_id, "time_without_offset", 7, "StatusNotification", SAMPLE),
        FlawTold(charger_id, "unreadable_frame", 1, "", '[2,"17","MeterValues",{"connectorId" 1}'),
        FlawTold(charger_id, "no_subprotocol", 3, "", ""),
        FlawTold(world.chargers["free"], "number_as_text", 3, "MeterValues", SAMPLE),
    ]
    await world.ctx.db.work(CENTRAL, findings.told, told)
    return charger_id


@pytest.mark.asyncio(loop_scope="session")
async def test_findings_are_shown_in_words_the_worst_first(visitor: Visitor, odd: str):
    page = visitor.page
    await visitor.go(f"/chargers/{odd}/findings")
    rows = page.locator(".finding")
    await expect(rows).to_have_count(4)
    await expect(rows.first).to_contain_text("cannot be read at all")
    await expect(rows.first).to_contain_text("Harmful")
    numbers = rows.filter(has_text="Sends numbers as text; we convert them.")
    await expect(numbers).to_contain_text("12,445 times")
    await expect(numbers).to_contain_text("MeterValues, StartTransaction")
    await numbers.get_by_text("What it sent").click()
    await expect(numbers.locator("pre")).to_contain_text('"meterStart":"1204113"')
    table = page.get_by_role("link", name="CSV")
    await expect(table).to_have_attribute("href", f"/api/v1/chargers/{odd}/findings?format=csv")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_charger_without_findings_says_so_and_leads_on(visitor: Visitor, odd: str):
    await visitor.go(f"/chargers/{visitor.world.chargers['offline']}/findings")
    await expect(visitor.page.get_by_text("follows OCPP 1.6 to the letter")).to_be_visible()
    await visitor.page.get_by_role("link", name="Findings of all chargers").click()
    await expect(visitor.page.get_by_role("heading", name="Findings by model")).to_be_visible()
    model = visitor.page.locator("section", has_text="Eve Double Pro-line")
    row = model.get_by_role("row").filter(has_text="Sends numbers as text")
    await expect(row).to_contain_text("12,448")
    await expect(row).to_contain_text("Harmless")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.asyncio(loop_scope="session")
async def test_the_pages_are_sound_at_both_widths(
    browser: Browser,
    world: World,
    odd: str,
    width: str,
    theme: str,
):
    places = {
        "findings": f"/chargers/{odd}/findings",
        "none": f"/chargers/{world.chargers['offline']}/findings",
        "never": f"/chargers/{world.chargers['never']}/findings",
        "models": "/findings",
    }
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as found:
        await found.log_in()
        await expect(found.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        wrong = []
        for name, place in places.items():
            await found.go(place)
            wrong += await look(found)
            if SHOTS:
                shot = Path(SHOTS) / f"{name}-{width}-{theme}.png"
                await found.page.screenshot(path=shot, full_page=True)
        assert wrong == []
        assert found.complaints == []

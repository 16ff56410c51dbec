"""The tab Commands of a charger, and the pages of runs, in a browser."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

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
from voltyard.chargers import commands, effects, runs
from voltyard.kernel.errors import Invalid, TimedOut
from voltyard.kernel.wire import encode
from voltyard.speech import Answer, Asked, Booted, ByHand, Told, Trigger
from voltyard.worker.jobs import Jobs

__all__ = ["made", "quiet_world", "visitor", "world"]

SHOTS = os.environ.get("VOLTYARD_SHOTS", "")
COMPOSITE = json.dumps(
    {
        "status": "Accepted",
        "connectorId": 1,
        "scheduleStart": "2026-01-01T10:00:00Z",
        "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 16.0, "numberPhases": 3},
                {"startPeriod": 3600, "limit": 6.5},
                {"startPeriod": "later", "limit": 6.5},
            ],
        },
    }
)


class Played:
    """A charger that answers by hand what a test wants to hear."""

    def __init__(self, world: World, charger_id: str) -> None:
        self.world, self.charger_id = world, charger_id
        self.answers: dict[str, Answer | Exception] = {}
        self.asked: list[Any] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked.ask)
        await self.go_on.wait()
        name = asked.ask.action if isinstance(asked.ask, ByHand) else type(asked.ask).__name__
        said = self.answers.get(name, Answer(True, "Accepted", '{"status":"Accepted"}'))
        if isinstance(said, Exception):
            raise said
        request = asked.ask.payload if isinstance(asked.ask, ByHand) else encode(asked.ask).decode()
        return Told(said, {"Restart": "Reset", "Unlock": "UnlockConnector"}.get(name, name), request)


@pytest_asyncio.fixture(loop_scope="session")
async def played(world: World) -> Played:
    charger = Played(world, world.chargers["free"])
    await world.ctx.bus.serve(f"charger.{charger.charger_id}.ask", Asked, charger.hear)
    return charger


def home(played: Played) -> str:
    return f"/chargers/{played.charger_id}/commands"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_restart_asks_first_and_says_what_came_of_it(visitor: Visitor, played: Played):
    page = visitor.page
    await visitor.go(home(played))
    await visitor.live()
    await page.get_by_role("button", name="Restart", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    first = page.locator(".told-one").first
    await expect(first).to_contain_text("Accepted: the charger restarts")
    await first.locator("summary").click()
    await expect(first).to_contain_text("Robin Vermeer (in the portal)")
    await expect(first.locator("pre").last).to_contain_text('"status": "Accepted"')
    place = (await played.world.ctx.db.read(CENTRAL, commands.service.places, [played.charger_id]))[0]
    await played.world.ctx.db.work(CENTRAL, effects.note, [(place.charger_id, Booted("V", "M"))])
    await expect(first).to_contain_text("Accepted, and the charger has restarted.")
    await expect(first).to_have_attribute("open", "")


@pytest.mark.asyncio(loop_scope="session")
async def test_any_command_has_a_form_and_its_json_is_kept_in_step(visitor: Visitor, played: Played):
    page = visitor.page
    await visitor.go(home(played))
    await page.get_by_role("combobox", name="Command").select_option("ReserveNow")
    await expect(page.locator("#asking")).to_contain_text("Keeps a connector for one card.")
    await page.get_by_label("Connector").select_option("2")
    await page.get_by_label("Tag", exact=False).first.fill("04A2B8")
    await page.get_by_label("Until").fill("2027-07-01T12:00:00")
    await page.get_by_label("Reservation number").fill("5")
    raw = page.locator("#f-raw")
    written = {"connectorId": 2, "idTag": "04A2B8", "expiryDate": "2027-07-01T10:00:00Z", "reservationId": 5}
    await expect(raw).to_have_value(json.dumps(written, indent=2))
    await page.get_by_text("JSON", exact=True).click()
    await raw.fill(json.dumps(written | {"reservationId": 6}))
    await expect(page.locator("[id='f-reservationId']")).to_have_value("6")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#outcome")).to_contain_text("The connector is reserved.")
    assert [(each.action, json.loads(each.payload)) for each in played.asked] == [
        ("ReserveNow", written | {"reservationId": 6})
    ]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_composite_schedule_is_drawn_as_a_table(visitor: Visitor, played: Played):
    played.answers["GetCompositeSchedule"] = Answer(True, "Accepted", COMPOSITE)
    page = visitor.page
    await visitor.go(f"{home(played)}?action=GetCompositeSchedule")
    await page.get_by_role("button", name="Send").click()
    rows = page.locator("#outcome table tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1)).to_contain_text("1\u00a0h 00\u00a0min")
    await expect(rows.nth(1)).to_contain_text("6.5\u00a0A")


@pytest.mark.asyncio(loop_scope="session")
async def test_what_is_missing_is_marked_and_nothing_is_sent(browser: Browser, world: World, played: Played):
    async with visiting(browser, world) as visitor:
        await visitor.log_in()
        page = visitor.page
        await visitor.go(f"{home(played)}?action=SetChargingProfile")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".form-error")).to_have_text("Fill this in.")
        assert played.asked == []
        played.answers["SetChargingProfile"] = Invalid(
            "no",
            (("/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/0/limit", "give it one decimal"),),
        )
        await page.get_by_label("Periods").fill("0 16.55")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".form-error")).to_have_text("Give it one decimal.")
        await page.get_by_text("JSON", exact=True).click()
        await page.locator("#f-raw").fill("{")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".form-error:visible")).to_contain_text("This is not JSON")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_command_waits_behind_another_and_says_so(visitor: Visitor, played: Played):
    played.go_on.clear()
    page, ctx, actor = visitor.page, visitor.world.ctx, visitor.world.actor
    await visitor.go(home(played))
    await visitor.live()
    rows = page.locator(".told-one")
    first = asyncio.create_task(commands.ask(ctx, actor, played.charger_id, ByHand("ClearCache", "{}")))
    await expect(rows.nth(0)).to_contain_text("Asking the charger")
    asking = [
        first,
        asyncio.create_task(commands.ask(ctx, actor, played.charger_id, ByHand("GetLocalListVersion", "{}"))),
    ]
    await expect(rows.nth(1)).to_contain_text("Asking the charger")
    await expect(rows.nth(0)).to_contain_text("Waiting behind another command.")
    played.go_on.set()
    await asyncio.gather(*asking)
    await expect(rows.nth(1)).to_contain_text("The charger has forgotten the cards it remembered.")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_late_answer_is_told_apart(visitor: Visitor, played: Played):
    played.answers["Unlock"] = TimedOut()
    page, ctx = visitor.page, visitor.world.ctx
    await visitor.go(home(played))
    await visitor.live()
    await page.get_by_role("button", name="Unlock connector 1").click()
    await page.get_by_role("dialog").get_by_role("button", name="Unlock").click()
    first = page.locator(".told-one").first
    await expect(first).to_contain_text("No answer")
    command_id = await first.get_attribute("id")
    late = [(command_id, "Unlocked", True, '{"status":"Unlocked"}')]
    await ctx.db.work(CENTRAL, commands.answered_late, late)
    await expect(first).to_contain_text("The charger answered only after")


@pytest.mark.asyncio(loop_scope="session")
async def test_asking_for_its_status_falls_back_to_each_connector(visitor: Visitor, played: Played):
    played.answers["Trigger"] = Answer(False, "Rejected", "{}")
    await visitor.go(home(played))
    await visitor.page.get_by_role("button", name="Ask for its status").click()
    await expect(visitor.page.locator(".told-one")).to_have_count(3)
    assert played.asked == [Trigger("StatusNotification", number) for number in (None, 1, 2)]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_voltyard_asked_by_itself_is_shown_only_on_demand(visitor: Visitor, played: Played):
    page, ctx = visitor.page, visitor.world.ctx
    await commands.ask(ctx, CENTRAL, played.charger_id, ByHand("GetLocalListVersion", "{}"))
    await visitor.go(home(played))
    await expect(page.locator("#commands")).to_contain_text("Nobody has asked it anything yet")
    await page.get_by_role("link", name="All, also Voltyard’s own").click()
    rows = page.locator(".told-one")
    await expect(rows).to_have_count(1)
    await expect(page).to_have_url(re.compile(r"by=all$"))
    await page.get_by_role("button", name="Ask for its status").click()
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("Robin Vermeer")
    await expect(rows.nth(1)).to_contain_text("Voltyard")
    await page.get_by_role("link", name="By people").click()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Robin Vermeer")


@pytest.mark.asyncio(loop_scope="session")
async def test_it_works_without_javascript(browser: Browser, world: World, played: Played):
    async with visiting(browser, world) as found:
        await found.log_in()
        await expect(found.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        state = await found.page.context.storage_state()
    context = await browser.new_context(java_script_enabled=False, storage_state=state)
    page = await context.new_page()
    await page.goto(world.address + home(played))
    await page.get_by_role("combobox", name="Command").select_option("ChangeAvailability")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_label("Connector").select_option("1")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#outcome")).to_contain_text("Accepted: it applies from now on.")
    await page.get_by_text("JSON", exact=True).click()
    await page.locator("#f-raw").fill('{"connectorId":2,"type":"Inoperative"}')
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".told-one")).to_have_count(2)
    assert [json.loads(each.payload)["connectorId"] for each in played.asked] == [1, 2]
    await context.close()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_tabs_of_a_phone_show_the_one_that_one_is_at_and_that_there_are_more(
    browser: Browser, world: World
):
    async with visiting(browser, world, width="phone") as visitor:
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        tabs = visitor.page.locator("nav.tabs")
        for tab, before, after in (
            ("", False, True),
            ("/parameters", True, True),
            ("/findings", True, False),
        ):
            await visitor.go(f"/chargers/{world.chargers['free']}{tab}")
            await expect(tabs.locator("[aria-current]")).to_be_in_viewport(ratio=1)
            for name, is_there in (("has-before", before), ("has-after", after)):
                pattern = re.compile(rf"\b{name}\b")
                check = expect(tabs).to_have_class if is_there else expect(tabs).not_to_have_class
                await check(pattern)
        assert visitor.complaints == []


# --- runs -----------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_begins_with_chargers_chosen_in_the_table(visitor: Visitor, played: Played):
    page, world = visitor.page, visitor.world
    await visitor.go("/chargers")
    for name in ("Entrance right", "Bay 14"):
        await page.get_by_role("checkbox", name=f"Choose {name}").check()
    await page.get_by_role("button", name="Send a command to the chosen chargers").click()
    await expect(page.get_by_role("checkbox")).to_have_count(2)
    await page.get_by_role("combobox", name="Command").select_option("ClearCache")
    await expect(page.locator("#asking-what")).to_contain_text("This command needs nothing more")
    await page.get_by_role("button", name="Send").click()
    await page.get_by_role("dialog").get_by_role("button", name="Send").click()
    await expect(page.locator("#run")).to_contain_text("0 of 2")
    await visitor.live()
    jobs = asyncio.create_task(Jobs(world.ctx, "tests").run())
    await expect(page.locator("#run")).to_contain_text("2 of 2")
    await expect(page.locator("#run")).to_contain_text("Completed")
    await expect(page.locator("#run")).to_contain_text("The charger is offline")
    assert [each.action for each in played.asked if isinstance(each, ByHand)] == ["ClearCache"]
    jobs.cancel()
    await asyncio.wait([jobs])
    await visitor.go("/runs")
    await expect(page.get_by_role("row").nth(1)).to_contain_text("Forget cached cards")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_can_be_cancelled(visitor: Visitor, played: Played):
    world, page = visitor.world, visitor.page
    run = await world.ctx.db.work(world.actor, runs.begin, "ClearCache", "{}", [played.charger_id])
    await visitor.go(f"/runs/{run.id}")
    await page.get_by_role("button", name="Cancel the run").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the run").click()
    await expect(page.locator("#run")).to_contain_text("the rest was not asked")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_without_chargers_or_payload_is_told_so(browser: Browser, world: World):
    async with visiting(browser, world) as visitor:
        await visitor.log_in()
        page = visitor.page
        await visitor.go("/runs/new?all=yes&q=Entrance&action=ChangeConfiguration")
        boxes = page.get_by_role("checkbox")
        await expect(boxes).to_have_count(2)
        await page.get_by_role("button", name="Send").click()
        await page.get_by_role("dialog").get_by_role("button", name="Send").click()
        await expect(page.locator(".form-error")).to_have_count(2)
        for box in await boxes.all():
            await box.uncheck()
        await page.get_by_role("button", name="Send").click()
        await page.get_by_role("dialog").get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_contain_text("Choose at least one charger.")
        await expect(page.get_by_role("checkbox", checked=True)).to_have_count(0)
        await visitor.go("/runs/new?q=nothing-fits")
        await expect(page.get_by_role("heading", name="No chargers chosen")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
async def test_the_pages_are_accessible_and_fit(
    browser: Browser, world: World, played: Played, width: str, theme: str
):
    ctx, actor = world.ctx, world.actor
    played.answers["GetCompositeSchedule"] = Answer(True, "Accepted", COMPOSITE)
    asked = ByHand("GetCompositeSchedule", '{"connectorId":1,"duration":3600}')
    done = await commands.ask(ctx, actor, played.charger_id, asked)
    run = await ctx.db.work(
        actor, runs.begin, "Reset", '{"type":"Soft"}', [*world.chargers.values(), "chg_no"]
    )
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as visitor:
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await visitor.go("/runs")
        found = await look(visitor)
        await runs.carry_on(ctx, runs.CarryOnRun(run.id))
        for place in (
            f"{home(played)}?action=RemoteStartTransaction&done={done.id}",
            f"{home(played)}?action=SendLocalList",
            f"/chargers/{world.chargers['never']}/commands",
            "/chargers",
            "/runs/new",
            f"/runs/{run.id}",
        ):
            await visitor.go(place)
            for fold in await visitor.page.locator("details").all():
                await fold.evaluate("(each) => { each.open = true }")
            found += await look(visitor)
            if SHOTS:
                name = f"{place.split('/')[-1].split('?')[0]}-{width}-{theme}.png"
                await visitor.page.screenshot(path=str(Path(SHOTS) / name), full_page=True)
        assert found + visitor.complaints == []

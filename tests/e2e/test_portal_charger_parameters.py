"""The tabs Parameters and Configuration of a charger in a browser: read, look twice, change, set up."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.test_portal_pages import (
    PASSWORD,
    Visitor,
    World,
    look,
    made,
    quiet_world,
    visiting,
    visitor,
    world,
)
from tests.unit.chargers.keyed import FACTORY, KeyedCharger
from voltyard.accounts import service as accounts
from voltyard.chargers import parameters
from voltyard.kernel.actor import Actor, Kind
from voltyard.locations import service as locations
from voltyard.locations.access import Level

__all__ = ["made", "quiet_world", "visitor", "world"]

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHOTS = os.environ.get("VOLTYARD_SHOTS", "")
LONG = "Energy.Active.Import.Register,Current.Import,Current.Offered,Voltage,Power.Active.Import,SoC"


@pytest_asyncio.fixture(loop_scope="session")
async def keyed(world: World) -> AsyncIterator[KeyedCharger]:
    """The charger of the office, with keys of all sorts."""
    values = FACTORY | {
        "LightIntensity": "80",
        "AuthorizationKey": None,
        "SecurityProfile": "1",
        "MeterValuesSampledData": LONG,
        "NetworkApn": "internet.example",
    }
    charger = KeyedCharger(
        world.ctx,
        world.chargers["free"],
        values=values,
        after_reboot=frozenset({"LocalPreAuthorize", "ConnectorPhaseRotation"}),
        ignores=frozenset({"ResetRetries"}),
    )
    yield await charger.serve()


async def shot(visitor: Visitor, name: str) -> None:
    if SHOTS:
        await visitor.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def home(charger: KeyedCharger, tab: str = "parameters") -> str:
    return f"/chargers/{charger.charger_id}/{tab}"


async def test_parameters_are_read_searched_changed_after_a_second_look_and_judged(
    visitor: Visitor,
    keyed: KeyedCharger,
):
    page = visitor.page
    await visitor.go(home(keyed))
    await expect(page.get_by_role("heading", name="No parameters are known yet")).to_be_visible()
    await page.get_by_role("button", name="Read from the charger").click()
    await expect(page.get_by_text("The charger told its parameters.")).to_be_visible()
    rows = page.locator("[data-sift]")
    await expect(rows).to_have_count(len(keyed.values))
    await page.get_by_label("Search").fill("heartbeat")
    await expect(rows.locator("visible=true")).to_have_count(1)
    await page.get_by_label("Search").fill("nothing like this")
    await expect(page.get_by_text("No parameter matches.")).to_be_visible()
    await page.get_by_label("Search").fill("")
    await page.get_by_role("button", name="Review changes").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading", name="Nothing changed")).to_be_visible()
    await dialog.get_by_role("button", name="Back").click()
    await page.get_by_label("HeartbeatInterval", exact=True).fill("60")
    await page.get_by_label("LocalPreAuthorize", exact=True).select_option("true")
    await page.get_by_label("ResetRetries", exact=True).fill("5")
    await page.get_by_label("BackOfficeUrl", exact=True).fill("wrong")
    await expect(page.get_by_text("4 changes")).to_be_visible()
    keyed.asked.clear()
    await page.get_by_role("button", name="Review changes").click()
    await expect(dialog.get_by_text("This can take the charger offline.")).to_be_visible()
    await expect(dialog.locator(".review-lines > li")).to_have_count(4)
    await expect(dialog.locator(".review-lines > li").first).to_contain_text("BackOfficeUrl")
    await shot(visitor, "review")
    assert await look(visitor) == []
    assert keyed.asked == []
    await dialog.get_by_role("button", name="Send to the charger").click()
    done = page.locator(".outcomes > li")
    await expect(done).to_have_count(4)
    for name, said in (
        ("HeartbeatInterval", "Accepted"),
        ("LocalPreAuthorize", "Needs a restart"),
        ("ResetRetries", "Not applied"),
        ("BackOfficeUrl", "Rejected"),
    ):
        await expect(done.filter(has_text=name)).to_contain_text(said)
    assert {name for name, _ in keyed.changes} == {
        "HeartbeatInterval", "LocalPreAuthorize", "ResetRetries", "BackOfficeUrl",
    }  # fmt: skip
    await shot(visitor, "saved")
    assert await look(visitor) == []
    await page.get_by_role("button", name="Restart now").click()
    await page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    await expect(page.get_by_text("The charger restarts and is back")).to_be_visible()


async def test_a_value_that_drifted_can_be_set_again_or_kept(
    visitor: Visitor,
    world: World,
    keyed: KeyedCharger,
):
    await parameters.save(
        world.ctx, world.actor, keyed.charger_id, {"HeartbeatInterval": "60", "LightIntensity": "20"}
    )
    keyed.values |= {"HeartbeatInterval": "300", "LightIntensity": "80"}
    await visitor.go(home(keyed))
    await visitor.live()
    await parameters.read(world.ctx, world.actor, keyed.charger_id)
    page = visitor.page
    # The page says that there is something new, and leaves alone what somebody may be typing.
    await page.get_by_role("link", name="Show them").click()
    await expect(page.get_by_text("2 parameters have changed since they were set here.")).to_be_visible()
    await shot(visitor, "drift")
    row = page.locator("#k-HeartbeatInterval")
    await row.get_by_role("button", name="Set it again").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator(".review-lines > li")).to_contain_text(["60"])
    await dialog.get_by_role("button", name="Send to the charger").click()
    await expect(page.locator(".outcomes > li")).to_contain_text(["Accepted"])
    assert keyed.values["HeartbeatInterval"] == "60"
    await page.locator("#k-LightIntensity").get_by_role("button", name="Keep the charger’s").click()
    await expect(dialog.get_by_text("it is only noted as wanted")).to_be_visible()
    await dialog.get_by_role("button", name="Send to the charger").click()
    await expect(page.locator(".outcomes > li")).to_contain_text(["As it was"])
    await expect(page.get_by_text("changed since")).to_have_count(0)


async def test_doubtful_values_need_a_word_and_managed_ones_are_set_elsewhere(
    visitor: Visitor,
    keyed: KeyedCharger,
):
    page = visitor.page
    await visitor.go(home(keyed))
    await page.get_by_role("button", name="Read from the charger").click()
    managed = page.locator("#k-ConnectorPhaseRotation")
    await expect(managed.get_by_role("link", name="Set on the tab Configuration")).to_be_visible()
    await expect(managed.locator("input")).to_have_count(0)
    await expect(page.locator("#k-NumberOfConnectors").get_by_text("Read only")).to_be_visible()
    await page.get_by_label("LightIntensity", exact=True).fill("150")
    await page.get_by_text("A key that is not in the list").click()
    await page.get_by_label("Key", exact=True).fill("SecurityProfile")
    await page.locator("#f-new-value").fill("3")
    await page.get_by_role("button", name="Review changes").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("Must be 0 to 100 %")).to_be_visible()
    await expect(dialog.get_by_text("It is left out.")).to_be_visible()
    await dialog.get_by_label("Send it anyway").check()
    await dialog.get_by_role("button", name="Send to the charger").click()
    await expect(page.locator(".outcomes > li")).to_have_count(1)
    assert keyed.changes == [("LightIntensity", "150")]


async def test_a_charger_that_is_away_is_told_later(visitor: Visitor, world: World):
    page, charger_id = visitor.page, world.chargers["offline"]
    await visitor.go(f"/chargers/{charger_id}/parameters")
    await page.get_by_role("button", name="Read from the charger").click()
    await expect(page.get_by_role("alert")).to_contain_text("The charger is offline")
    await parameters.save(world.ctx, world.actor, charger_id, {"HeartbeatInterval": "60"})
    await visitor.go(f"/chargers/{charger_id}/parameters")
    await expect(page.get_by_text("1 value waits for the charger.")).to_be_visible()
    await expect(page.locator("#k-HeartbeatInterval")).to_contain_text("Waits for the charger")
    visitor.complaints.clear()  # the browser counts the answer 503 among them


async def test_a_charger_is_set_up_by_answering_five_questions(
    visitor: Visitor,
    keyed: KeyedCharger,
):
    page = visitor.page
    await visitor.go(home(keyed, "configuration"))
    await expect(page.get_by_role("heading", name="This charger was not set up yet")).to_be_visible()
    await page.get_by_label("TT: earth comes from a rod at the building").check()
    await page.get_by_label("Which circuit breaker").fill("20")
    await page.get_by_label("How much may the charger draw").fill("25")
    await expect(page.get_by_text("More than the 16 A")).to_be_visible()
    await page.get_by_label("Which phase of the building").select_option("STR")
    await shot(visitor, "questions")
    assert await look(visitor) == []
    await page.get_by_role("button", name="Set up the charger").click()
    await page.get_by_role("dialog").get_by_role("button", name="Set up").click()
    await expect(page.get_by_text("No more than the circuit breaker bears")).to_be_visible()
    await page.get_by_label("How much may the charger draw").fill("16")
    await page.get_by_role("button", name="Set up the charger").click()
    await page.get_by_role("dialog").get_by_role("button", name="Set up").click()
    await expect(page.get_by_text("Saved. The charger still has to take its part of it.")).to_be_visible()
    await expect(page.get_by_text("The charger has to restart.")).to_be_visible()
    assert keyed.changes == [("ConnectorPhaseRotation", "0.STR,1.STR,2.STR")]
    await shot(visitor, "set-up")
    await page.get_by_role("button", name="Set up the charger").click()
    await page.get_by_role("dialog").get_by_role("button", name="Set up").click()
    await expect(page.get_by_role("alert")).to_contain_text("set up a moment ago")
    visitor.complaints.clear()  # the answers 422 and 429


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
async def test_the_tabs_look_well_and_can_be_read_by_everybody(
    browser: Browser,
    world: World,
    keyed: KeyedCharger,
    width: str,
    theme: str,
):
    await parameters.read(world.ctx, world.actor, keyed.charger_id)
    await parameters.save(
        world.ctx, world.actor, keyed.charger_id, {"LocalPreAuthorize": "true", "HeartbeatInterval": "60"}
    )
    keyed.values["HeartbeatInterval"] = "300"
    await parameters.read(world.ctx, world.actor, keyed.charger_id)
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as visitor:
        await visitor.log_in()
        found = []
        for tab in ("parameters", "configuration"):
            await visitor.go(home(keyed, tab))
            await shot(visitor, f"{tab}-{width}-{theme}")
            found += await look(visitor)
        assert found == []
        assert visitor.complaints == []


async def test_all_works_without_scripts_too(browser: Browser, world: World, keyed: KeyedCharger):
    await parameters.read(world.ctx, world.actor, keyed.charger_id)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{world.address}/login")
    await page.get_by_label("E-mail address").fill("robin@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.goto(world.address + home(keyed) + "?q=heartbeat")
    assert await page.locator("[data-sift]").count() == 1
    await page.get_by_label("HeartbeatInterval", exact=True).fill("77")
    await page.get_by_role("button", name="Review changes").click()
    await expect(page.get_by_role("heading", name="Send this to")).to_be_visible()
    await page.get_by_role("button", name="Send to the charger").click()
    await expect(page.locator(".outcomes > li")).to_contain_text(["Accepted"])
    assert keyed.values["HeartbeatInterval"] == "77"
    await context.close()


@pytest.mark.parametrize(("level", "can_see"), [(Level.BASIC, False), (Level.SENSITIVE, True)])
async def test_who_may_not_is_told_who_may(world: World, keyed: KeyedCharger, level: Level, can_see: bool):
    await parameters.read(world.ctx, world.actor, keyed.charger_id)
    email = f"{level.value}@example.com"
    user = await accounts.register(world.ctx, email, password=PASSWORD, name="A guest")
    await world.ctx.db.work(world.actor, locations.grant, world.locations["office"], user.teams[0].id, level)
    assert Actor(Kind.USER, user.id).team_ids == ()
    async with httpx2.AsyncClient(base_url=world.address, follow_redirects=True) as http:
        await http.post("/login", data={"email": email, "password": PASSWORD})
        page = await http.get(home(keyed))
        assert ("HeartbeatInterval" in page.text) is can_see
        assert "An owner of the location" in page.text
        assert "Review changes" not in page.text
        setup = await http.get(home(keyed, "configuration"))
        assert ("has to know how it hangs on the grid" in setup.text) is False
        assert "An owner of the location" in setup.text
        answer = await http.post(home(keyed), data={"value.HeartbeatInterval": "1"})
        assert answer.status_code == 403
        assert keyed.changes == []

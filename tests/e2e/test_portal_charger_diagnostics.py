"""The tab Diagnostics of a charger in a browser: PIN, password, profile, certificates, events, name."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.test_portal_pages import (
    CENTRAL,
    KEY_PIN,
    WIDTHS,
    Visitor,
    World,
    look,
    made,
    quiet_world,
    serve,
    visiting,
    visitor,
    world,
)
from tests.unit.chargers.papers import give_authority
from tests.unit.chargers.test_credentials import certificate_for
from voltyard.accounts import service as accounts
from voltyard.chargers import certificates, security, security_store
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.speech import Answer, Asked, Booted, SecurityTold, SetKey, SigningAsked, Told

__all__ = ["made", "quiet_world", "visitor", "world"]

SHOTS = os.environ.get("VOLTYARD_SHOTS", "")


class Obedient:
    """A charger that accepts what it is asked, or does not."""

    def __init__(self, world: World, charger_id: str) -> None:
        self.world, self.charger_id = world, charger_id
        self.asked: list[Any] = []
        self.is_accepted = True

    async def serve(self) -> None:
        await self.world.ctx.bus.serve(f"charger.{self.charger_id}.ask", Asked, self.hear)

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked.ask)
        word = "Accepted" if self.is_accepted else "Rejected"
        names = {"SetKey": "ChangeConfiguration"}
        kind = type(asked.ask).__name__
        return Told(Answer(self.is_accepted, word, f'{{"status":"{word}"}}'), names.get(kind, kind), "{}")


@pytest_asyncio.fixture(loop_scope="session")
async def charger(world: World) -> Obedient:
    await give_authority(world.ctx)
    there = Obedient(world, world.chargers["free"])
    await there.serve()
    return there


async def press(visitor: Visitor, name: str, *, confirm: str = "") -> None:
    await visitor.page.get_by_role("button", name=name, exact=bool(confirm)).first.click()
    if confirm:
        await visitor.page.locator("#confirm").get_by_role("button", name=confirm, exact=True).click()


@pytest.mark.asyncio(loop_scope="session")
async def test_the_old_address_leads_to_the_new_one(visitor: Visitor):
    await visitor.go(f"/chargers/{visitor.world.chargers['free']}/details")
    await expect(visitor.page).to_have_url(
        f"{visitor.world.address}/chargers/{visitor.world.chargers['free']}/diagnostics"
    )
    await expect(visitor.page.get_by_role("heading", name="Connection")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_pin_is_in_the_page_only_once_it_is_asked_for(visitor: Visitor, charger: Obedient):
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    card = visitor.page.locator("#pin")
    assert KEY_PIN not in await visitor.page.content()
    await card.get_by_role("button", name="Show the PIN").click()
    await expect(card.get_by_text(KEY_PIN)).to_be_visible()
    await expect(card.get_by_text("Robin Vermeer")).to_be_visible()
    looks = await visitor.world.ctx.db.read(visitor.world.actor, security.list_looks, charger.charger_id)
    assert [each.door for each in looks] == ["portal"]


@pytest.mark.asyncio(loop_scope="session")
async def test_a_charger_without_a_password_is_told_and_gets_one(visitor: Visitor, charger: Obedient):
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    warning = visitor.page.get_by_text("This charger has no password.")
    await expect(warning).to_be_visible()
    await press(visitor, "Set a password", confirm="Set a password")
    await expect(warning).to_have_count(0)
    await expect(visitor.page.get_by_role("button", name="Change the password")).to_be_visible()
    sent = charger.asked[-1]
    assert isinstance(sent, SetKey)
    assert sent.value not in await visitor.page.content()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_refusal_by_the_charger_is_shown_and_changes_nothing(visitor: Visitor, charger: Obedient):
    charger.is_accepted = False
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    await press(visitor, "Set a password", confirm="Set a password")
    await expect(visitor.page.locator("#diagnostics > .callout.tone-bad[role=status]")).to_be_visible()
    await expect(visitor.page.get_by_text("This charger has no password.")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_profile_is_raised_step_by_step(visitor: Visitor, charger: Obedient):
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    steps = visitor.page.locator(".profile-steps > li")
    await expect(steps.nth(0)).to_contain_text("Give the charger a password first.")
    await press(visitor, "Set a password", confirm="Set a password")
    await expect(steps.nth(1)).to_contain_text("whoever runs this installation")
    await steps.nth(0).get_by_role("button", name="Raise").click()
    await visitor.page.locator("#confirm").get_by_role("button", name="Raise the profile").click()
    await expect(
        visitor.page.get_by_text("Profile 1 accepted, waiting for it to come back so")
    ).to_be_visible()
    assert charger.asked[-1] == SetKey("SecurityProfile", "1")


@pytest.mark.asyncio(loop_scope="session")
async def test_our_root_is_installed_and_removed(visitor: Visitor, charger: Obedient):
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    await visitor.page.get_by_role("button", name="Install our root certificate").click()
    row = visitor.page.locator("#certificates").get_by_role("row", name="Test root")
    await expect(row).to_contain_text("trusted as our own")
    await row.get_by_role("button", name="Remove").click()
    await visitor.page.locator("#confirm").get_by_role("button", name="Remove").click()
    await expect(row).to_have_count(0)


@pytest.mark.asyncio(loop_scope="session")
async def test_events_come_by_themselves_and_what_matters_is_marked(visitor: Visitor, charger: Obedient):
    world = visitor.world
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    await expect(visitor.page.get_by_text("No security events yet")).to_be_visible()
    await visitor.live()
    place = Place(charger.charger_id, world.locations["office"])
    await world.ctx.db.work(CENTRAL, security.told, [(place, SecurityTold("TamperDetectionActivated"))])
    row = visitor.page.locator("#events").get_by_role("row", name="Somebody opened or tampered with it")
    await expect(row).to_contain_text("Look at this")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_charger_is_renamed_and_unlinked(visitor: Visitor, charger: Obedient):
    await visitor.go(f"/chargers/{charger.charger_id}/diagnostics")
    await visitor.page.get_by_label("Name of the charger").fill("Behind the gate")
    await visitor.page.get_by_role("button", name="Save").click()
    await expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Behind the gate")
    await visitor.page.get_by_role("button", name="Unlink").click()
    await visitor.page.locator("#confirm").get_by_role("button", name="Unlink the charger").click()
    await expect(visitor.page.get_by_text("is unlinked and can be added again")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_basic_member_sees_neither_pin_nor_network(browser: Browser, world: World):
    user = await accounts.register(
        world.ctx, "basic@example.com", password="a long enough password", name="Bo"
    )
    await world.ctx.db.work(
        world.actor, locations.grant, world.locations["office"], user.teams[0].id, Level.BASIC
    )
    async with visiting(browser, world) as found:
        page = found.page
        await page.goto(f"{world.address}/login")
        await page.get_by_label("E-mail address").fill("basic@example.com")
        await page.get_by_label("Password").fill("a long enough password")
        await page.get_by_role("button", name="Log in").click()
        await found.go(f"/chargers/{world.chargers['free']}/diagnostics")
        await expect(page.get_by_text("are shown to members who may see sensitive data")).to_be_visible()
        await expect(page.get_by_role("button", name="Show the PIN")).to_have_count(0)
        await expect(page.get_by_text("Network address")).to_have_count(0)


async def fill(world: World) -> None:
    """Give a charger all that the tab can show."""
    charger_id, location_id = world.chargers["charging"], world.locations["office"]
    place, ctx = Place(charger_id, location_id), world.ctx
    booted = Booted(
        "Alfen", "Eve Single Pro-line", "0042317", firmware="6.6.0-4247", iccid="89310410106543789301"
    )
    await ctx.db.work(CENTRAL, chargers.boot, [(place, booted)])
    values = {
        "password_hash": "x", "security_profile": 1, "password_at": ctx.clock.now(),
        "refused_at": ctx.clock.now(), "refused_why": "wrong_password", "refused_address": "203.0.113.77",
    }  # fmt: skip
    await ctx.db.work(CENTRAL, security_store.set_credentials, charger_id, **values)
    shown = await ctx.db.read(CENTRAL, chargers.get, charger_id)
    await certificate_for(ctx, shown)
    await ctx.db.work(CENTRAL, certificates.asked, [(place, SigningAsked("-----BEGIN"))])
    obedient = Obedient(world, charger_id)
    await obedient.serve()
    await certificates.install_root(ctx, world.actor, charger_id)
    kinds = ("StartupOfTheDevice", "SettingSystemTime", "TamperDetectionActivated", "VendorsOwnEvent")
    said = [(place, SecurityTold(kind, ctx.clock.now(), "after 3 h without power")) for kind in kinds]
    await ctx.db.work(CENTRAL, security.told, said)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.asyncio(loop_scope="session")
async def test_the_pages_are_sound_at_both_widths(
    browser: Browser, world: World, charger: Obedient, width: str, theme: str
):
    await fill(world)
    places = {"full": "charging", "bare": charger.charger_id, "never": "never"}
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as found:
        await found.log_in()
        await expect(found.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        wrong = []
        for name, which in places.items():
            await found.go(f"/chargers/{world.chargers.get(which, which)}/diagnostics")
            wrong += await look(found)
            if SHOTS:
                await found.page.screenshot(path=Path(SHOTS) / f"{name}-{width}-{theme}.png", full_page=True)
        assert wrong == []
        assert found.complaints == []


@pytest.mark.asyncio(loop_scope="session")
async def test_who_is_sure_raises_a_charger_whose_trust_is_not_known(browser: Browser, quiet_world: World):
    settings = quiet_world.ctx.settings.model_copy(update={"ocpp_tls_port": 8888})
    there = Obedient(quiet_world, quiet_world.chargers["free"])
    await there.serve()
    values = {"password_hash": "x", "security_profile": 1}
    ctx = quiet_world.ctx
    await ctx.db.work(CENTRAL, security_store.set_credentials, there.charger_id, **values)
    async with serve(replace(ctx, settings=settings)) as address:
        world = replace(quiet_world, address=address)
        async with visiting(browser, world) as found:
            await found.log_in()
            await expect(found.page.get_by_role("heading", name="Dashboard")).to_be_visible()
            await found.go(f"/chargers/{there.charger_id}/diagnostics")
            await expect(found.page.get_by_text("wss://localhost:8888/ocpp/")).to_be_visible()
            step = found.page.locator(".profile-steps > li").nth(1)
            await expect(step).to_contain_text("trust our root certificate first")
            await step.get_by_label("It trusts the issuer").check()
            if SHOTS:
                await found.page.screenshot(path=Path(SHOTS) / "insist.png", full_page=True)
            await step.get_by_role("button", name="Raise").click()
            await found.page.locator("#confirm").get_by_role("button", name="Raise the profile").click()
            await expect(step).to_contain_text("Ask again")
    assert there.asked[-1] == SetKey("SecurityProfile", "2")

"""The tab Firmware and files of a charger, in a browser: updates, diagnostics, and what came of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
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
from voltyard.chargers import firmware, transfers
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Place
from voltyard.speech import (
    Answer,
    AnswerRefused,
    Asked,
    Booted,
    DiagnosticsTold,
    FileNamed,
    FirmwareTold,
    Outcome,
    SendDiagnostics,
    Told,
    UpdateFirmware,
)

__all__ = ["made", "quiet_world", "visitor", "world"]

SHOTS = os.environ.get("VOLTYARD_SHOTS", "")


@dataclass
class FileCharger:
    """A charger that says yes to everything about files, and moves none by itself."""

    world: World
    charger_id: str
    place: Place
    outcome: Outcome | None = None
    asked: list[Any] = field(default_factory=list)

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked.ask)
        said = self.outcome or Answer(True, "", '{"fileName":"cp.log"}', FileNamed("cp.log"))
        return Told(said, type(asked.ask).__name__, "{}")

    async def tell(self, *said: Any) -> None:
        for each in said:
            await self.world.ctx.db.work(CENTRAL, transfers.told, [(self.place, each)])

    async def boot(self, version: str) -> None:
        items = [(self.place, Booted("Alfen", "Eve Double Pro-line", firmware=version))]
        await self.world.ctx.db.work(CENTRAL, chargers.boot, items)
        await self.world.ctx.db.work(CENTRAL, transfers.booted, items)

    async def send(self, data: bytes) -> None:
        ctx = self.world.ctx
        token = self.asked[-1].location_url.split("/")[5]
        slot = await ctx.db.work(CENTRAL, transfers.open_upload, token, "", ctx.settings.secret_key())
        arriving = ctx.files.arriving()
        arriving.write(data)
        await transfers.keep(ctx, slot, "", arriving)


@pytest_asyncio.fixture(loop_scope="session")
async def played(world: World) -> FileCharger:
    charger_id = world.chargers["free"]
    charger = FileCharger(world, charger_id, Place(charger_id, world.locations["office"]))
    await world.ctx.bus.serve(f"charger.{charger_id}.ask", Asked, charger.hear)
    return charger


async def upload(visitor: Visitor, path: Path, *, version: str = "6.5.1", vendor: str = "Alfen") -> None:
    page = visitor.page
    await page.get_by_text("Upload firmware", exact=True).click()
    await page.locator("#f-new_version").fill(version)
    await page.locator("#f-vendor").fill(vendor)
    await page.locator("#f-file").set_input_files(path)
    await page.get_by_role("button", name="Upload", exact=True).click()
    await expect(page.get_by_text("The firmware is there")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_diagnostics_are_asked_for_arrive_by_themselves_and_are_downloaded(
    visitor: Visitor, played: FileCharger, tmp_path: Path
):
    page = visitor.page
    await visitor.go(f"/chargers/{played.charger_id}/updates")
    await expect(page.get_by_text("No updates or files yet")).to_be_visible()
    await page.get_by_label("From when?").select_option(label="Last day")
    await page.get_by_role("button", name="Ask the charger for it").click()
    row = page.locator("#transfers .transfer")
    await expect(row).to_contain_text("Asked")
    assert isinstance(played.asked[0], SendDiagnostics)
    assert played.asked[0].from_at is not None
    await visitor.live()
    await played.tell(DiagnosticsTold("Uploading"))
    await expect(row.locator(".badge")).to_have_text("Uploading")
    await played.send(b"all is well")
    await expect(row.locator(".badge")).to_have_text("Received")
    async with page.expect_download() as waiting:
        await row.get_by_role("link", name="cp.log").click()
    download = await waiting.value
    assert download.suggested_filename == "cp.log"
    kept = tmp_path / "kept.log"
    await download.save_as(kept)
    assert kept.read_bytes() == b"all is well"
    await row.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("No updates or files yet")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_firmware_is_uploaded_sent_and_proven_by_the_next_start(
    visitor: Visitor, played: FileCharger, tmp_path: Path
):
    page = visitor.page
    path = tmp_path / "eve-6.5.1.bin"
    path.write_bytes(bytes(3_000_000))
    played.outcome = Answer(True, "", "{}")
    await visitor.go(f"/chargers/{played.charger_id}/updates")
    await upload(visitor, path)
    await expect(page.locator("#files")).to_contain_text("eve-6.5.1.bin, 3.0")
    await page.get_by_role("button", name="Update", exact=True).click()
    await expect(page.get_by_role("dialog")).to_contain_text("nobody can call it back")
    await page.get_by_role("button", name="Update the charger").click()
    row = page.locator("#transfers .transfer")
    await expect(row.locator(".badge")).to_have_text("Asked")
    assert isinstance(played.asked[0], UpdateFirmware)
    await expect(page.get_by_text("An update is under way.")).to_be_visible()
    await visitor.live()
    await played.tell(FirmwareTold("Downloading"), FirmwareTold("Downloaded"), FirmwareTold("Installing"))
    await expect(row.locator(".badge")).to_have_text("Installing")
    await expect(row.locator(".trail li")).to_have_count(4)
    await played.boot("6.5.1")
    await expect(row.locator(".badge")).to_have_text("Installed")
    await expect(row).to_contain_text("Now 6.5.1.")
    await expect(page.get_by_role("button", name="Update", exact=True)).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_firmware_for_another_vendor_needs_a_second_thought(
    visitor: Visitor, played: FileCharger, tmp_path: Path
):
    page = visitor.page
    path = tmp_path / "other.bin"
    path.write_bytes(b"x")
    played.outcome = Answer(True, "", "{}")
    await visitor.go(f"/chargers/{played.charger_id}/updates")
    await upload(visitor, path, vendor="Zaptec")
    await expect(page.get_by_text("For another vendor")).to_be_visible()
    await page.get_by_role("radio", name="6.5.1 · Zaptec").check()
    for _ in range(2):
        await page.get_by_role("button", name="Update", exact=True).click()
        await page.get_by_role("button", name="Update the charger").click()
        if not played.asked:
            await expect(page.get_by_text("This firmware is for another charger.")).to_be_visible()
            await page.get_by_label("I know what I am doing").check()
    await expect(page.locator("#transfers .badge")).to_have_text("Asked")
    # A browser tells of each page that was answered with an error.
    visitor.complaints[:] = [each for each in visitor.complaints if "409" not in each]


@pytest.mark.asyncio(loop_scope="session")
async def test_an_address_is_looked_at_and_what_was_typed_stays(visitor: Visitor, played: FileCharger):
    page = visitor.page
    played.outcome = AnswerRefused("NotImplemented")
    await visitor.go(f"/chargers/{played.charger_id}/updates")
    await page.locator("#f-address").fill("gopher://fw.example/6.6.bin")
    await page.get_by_role("button", name="Update", exact=True).click()
    await page.get_by_role("button", name="Update the charger").click()
    await expect(page.locator("#f-address")).to_have_value("gopher://fw.example/6.6.bin")
    await expect(page.locator("#h-address")).to_contain_text("It begins with one of http")
    await page.locator("#f-address").fill("ftp://ann:s3cret@fw.example/6.6.bin")
    await page.get_by_role("button", name="Update", exact=True).click()
    await page.get_by_role("button", name="Update the charger").click()
    row = page.locator("#transfers .transfer")
    await expect(row.locator(".badge")).to_have_text("Not supported")
    await expect(row).to_contain_text("ftp://***@fw.example/6.6.bin")
    visitor.complaints[:] = [each for each in visitor.complaints if "422" not in each]


@pytest.mark.asyncio(loop_scope="session")
async def test_it_works_without_script(browser: Browser, world: World, played: FileCharger, tmp_path: Path):
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    found = Visitor(page, world)
    await found.log_in()
    await found.go(f"/chargers/{played.charger_id}/updates")
    await page.get_by_role("button", name="Ask the charger for it").click()
    await expect(page.locator("#transfers .badge")).to_have_text("Asked")
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    await upload(found, path)
    await context.close()


@pytest.mark.asyncio(loop_scope="session")
async def test_many_chargers_are_ordered_an_update_together(
    visitor: Visitor, played: FileCharger, tmp_path: Path
):
    page = visitor.page
    path = tmp_path / "eve.bin"
    path.write_bytes(b"x")
    await visitor.go(f"/chargers/{played.charger_id}/updates")
    await upload(visitor, path)
    await page.get_by_role("link", name="Update many").click()
    boxes = page.get_by_role("checkbox")
    assert await boxes.count() > 2
    await page.get_by_role("checkbox", name="Bay 14").uncheck()
    count = await page.locator("input[type=checkbox]:checked").count()
    await page.get_by_role("button", name="Update the chosen chargers").click()
    await page.get_by_role("button", name="Update them").click()
    await expect(page.get_by_text(f"{count} chargers are asked as soon as they are online.")).to_be_visible()
    await visitor.go(f"/chargers/{played.charger_id}/updates")
    row = page.locator("#transfers .transfer")
    await expect(row.locator(".badge")).to_have_text("Waiting for the charger")
    await row.get_by_role("button", name="Cancel the update").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the update").click()
    await expect(page.get_by_text("No updates or files yet")).to_be_visible()


async def fill(played: FileCharger) -> None:
    """Bring about transfers of all sorts."""
    ctx, actor = played.world.ctx, played.world.actor
    await transfers.fetch_diagnostics(ctx, actor, played.charger_id)
    await played.send(b"x" * 234_567)
    played.outcome = AnswerRefused("NotSupported")
    await transfers.fetch_diagnostics(
        ctx, actor, played.charger_id, address="ftp://technician:secret@files.example/incoming/from-chargers/"
    )
    played.outcome = Answer(True, "", "{}")
    for name, vendor in (("NG910_6.5.1-4221_release_signed.fwi", "Alfen"), ("zaptec.bin", "Zaptec")):
        arriving = ctx.files.arriving()
        arriving.write(b"x" * 3_456_789)
        said = firmware.tidy(name=name, version="6.5.1-4221" if vendor == "Alfen" else "5.0", vendor=vendor)
        file = await firmware.add(ctx, actor, arriving, said)
        if vendor == "Alfen":
            first = file
    await firmware.update(ctx, actor, played.charger_id, firmware_id=first.id)
    await played.tell(FirmwareTold("Downloading"), FirmwareTold("InstallationFailed"))
    await firmware.update(ctx, actor, played.charger_id, firmware_id=first.id)
    await played.tell(FirmwareTold("Downloading"), FirmwareTold("Downloaded"), FirmwareTold("Installing"))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_is_accessible_and_fits(
    browser: Browser, world: World, played: FileCharger, width: str, theme: str
):
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as found:
        await found.log_in()
        await expect(found.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await found.go(f"/chargers/{world.chargers['offline']}/updates")
        assert await look(found) == []
        if SHOTS:
            await found.page.screenshot(path=f"{SHOTS}/updates-empty-{width}-{theme}.png", full_page=True)
        await fill(played)
        await found.go(f"/chargers/{played.charger_id}/updates")
        assert await look(found) == []
        if SHOTS:
            await found.page.screenshot(path=f"{SHOTS}/updates-{width}-{theme}.png", full_page=True)
        await found.page.get_by_role("link", name="Update many").first.click()
        assert await look(found) == []
        if SHOTS:
            await found.page.screenshot(path=f"{SHOTS}/updates-many-{width}-{theme}.png", full_page=True)
        await played.tell(FirmwareTold("InstallationFailed"))
        await found.go(f"/chargers/{played.charger_id}/updates")
        for each in await found.page.locator("details").all():
            await each.evaluate("(element) => { element.open = true }")
        assert await look(found) == []
        if SHOTS:
            await found.page.screenshot(path=f"{SHOTS}/updates-open-{width}-{theme}.png", full_page=True)
        assert found.complaints == []

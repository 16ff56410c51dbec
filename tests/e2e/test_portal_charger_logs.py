"""The log of a charger in a browser: read, filtered, followed live, opened, exported."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.e2e.test_portal_pages import (
    CENTRAL,
    PASSWORD,
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
from voltyard.accounts import service as accounts
from voltyard.chargers import calls, commands
from voltyard.chargers.tables import calls as table
from voltyard.kernel.db import Work
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.portal import charger_logs
from voltyard.speech import AnswerTraced, CallStatus, CallTraced, Restart, Traced

__all__ = ("made", "quiet_world", "visitor", "world")

FIRST = "Eve Double Pro-line"


class Scribe:
    """Writes into the log what a charger and Voltyard said to each other."""

    def __init__(self, world: World, charger_id: str) -> None:
        self.world, self.charger_id = world, charger_id
        self.at = now() - timedelta(days=1, minutes=9)

    async def say(
        self, action: str, payload: Any, answer: Any = None, *, is_outward: bool = False,
        status: CallStatus = CallStatus.DONE, latency_ms: float = 14.0, origin: str = "",
        command_id: str = "", is_now: bool = False,
    ) -> int:  # fmt: skip
        self.at = now() if is_now else self.at + timedelta(seconds=20)
        raw = payload if isinstance(payload, str) else json.dumps(payload)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        has_answer = status is not CallStatus.PENDING
        call = CallTraced(
            self.charger_id, "soc_1", f"{len(raw)}-{action[:6]}", is_outward, origin, command_id, action,
            raw, self.at, status, text if has_answer else None, latency_ms if has_answer else None,
        )  # fmt: skip
        return (await self.world.ctx.db.work(CENTRAL, calls.trace, Traced((call,))))[0]

    async def answer(self, number: int, answer: Any) -> None:
        told = AnswerTraced(number, CallStatus.DONE, json.dumps(answer), 41.0)
        await self.world.ctx.db.work(CENTRAL, calls.trace, Traced(answers=(told,)))

    async def session(self) -> None:
        """A charge from boot to stop, with all that can go wrong around it."""
        accepted = {"status": "Accepted"}
        boot = {"chargePointVendor": "Alfen", "chargePointModel": FIRST, "firmwareVersion": "6.5.0-4221"}
        time = {"currentTime": "2026-11-20T10:00:00Z"}
        await self.say("BootNotification", boot, accepted | time | {"interval": 300})
        await self.say("Heartbeat", {}, time)
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"}
        await self.say("StatusNotification", status, {})
        await self.say("GetConfiguration", {}, {"configurationKey": [
            {"key": f"Option{n}", "readonly": n % 2 == 0, "value": "some value " * 8} for n in range(60)
        ]}, is_outward=True, origin="system:worker", latency_ms=1_830.0)  # fmt: skip
        await self.say("Authorize", {"idTag": "04A2B8C19D3E80"}, {"idTagInfo": accepted})
        started = {"connectorId": 1, "idTag": "04A2B8C19D3E80", "meterStart": 57300}
        await self.say(
            "StartTransaction", started, {"transactionId": 17, "idTagInfo": accepted}, latency_ms=23.0
        )
        await self.say("StatusNotification", status | {"status": "Charging"}, {})
        self.at += timedelta(days=1)
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16}]}
        profile = {"chargingProfilePurpose": "TxProfile", "chargingSchedule": schedule}
        limit = {"connectorId": 1, "csChargingProfiles": profile}
        await self.say("SetChargingProfile", limit, accepted, is_outward=True, origin="system:power")
        for minute in range(3):
            register = {"measurand": "Energy.Active.Import.Register", "value": str(57300 + minute * 180)}
            power = {"measurand": "Power.Active.Import", "value": "11040", "unit": "W"}
            sample = {"timestamp": "2026-11-20T10:02:00Z", "sampledValue": [register, power]}
            told = {"connectorId": 1, "transactionId": 17, "meterValue": [sample]}
            await self.say("MeterValues", told, {})
        who, failed = f"user:{self.world.user.id}", CallStatus.FAILED
        await self.say(
            "UnlockConnector", {"connectorId": 1}, "", is_outward=True, origin=who, status=failed,
            latency_ms=30_000.0,
        )  # fmt: skip
        error = {"errorCode": "NotImplemented", "errorDescription": "not known"}
        await self.say("Reset", {"type": "Soft"}, error, is_outward=True, origin=who, status=failed)
        await self.say("", '[3,"old-1",{"status":"Accepted"}]', "unknown_answer", status=failed)
        fault = {"connectorId": 0, "errorCode": "GroundFailure", "status": "Faulted", "info": "RCD tripped"}
        await self.say("StatusNotification", fault, {})
        stopped = {"transactionId": 17, "meterStop": 61040, "reason": "EVDisconnected"}
        await self.say("StopTransaction", stopped, {"idTagInfo": accepted})
        await self.say(
            "RemoteStartTransaction", {"connectorId": 1, "idTag": "DEADBEEF"}, is_outward=True, origin=who,
            status=CallStatus.PENDING, is_now=True, command_id="cmd_" + "0" * 26,
        )  # fmt: skip


def logs(world: World, word: str = "charging", more: str = "") -> str:
    return f"/chargers/{world.chargers[word]}/logs{more}"


@pytest_asyncio.fixture(loop_scope="session")
async def scribe(world: World) -> AsyncIterator[Scribe]:
    await world.ctx.db.work(CENTRAL, long_there, world.chargers["charging"])
    writing = Scribe(world, world.chargers["charging"])
    await writing.session()
    yield writing


def long_there(work: Work, charger_id: str) -> None:
    """Let the charger have been here for days: what was said before it came is not shown."""
    at = work.now - timedelta(days=20)
    text = "UPDATE chargers SET claimed_at = :at WHERE id = :id"
    work.connection.exec_driver_sql(text, {"at": at.isoformat(timespec="microseconds"), "id": charger_id})


def actions(page: Page) -> Any:
    return page.locator(".call-action").all_text_contents()


async def until_live(page: Page) -> None:
    await expect(page.locator("#log")).to_have_attribute("data-state", "on", timeout=15_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
async def test_the_log_is_accessible_and_fits(
    browser: Browser, world: World, scribe: Scribe, width: str, theme: str
):
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as visitor:
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await visitor.go(logs(world))
        found = await look(visitor)
        await visitor.page.locator(".call > summary").first.click()
        await visitor.page.locator(".chip-menu > summary").first.click()
        found += await look(visitor)
        for word, more in (
            ("free", ""),
            ("charging", "?q=nowhere"),
            ("charging", "?noise=show&status=failed"),
        ):
            await visitor.go(logs(world, word, more))
            found += await look(visitor)
        assert found + visitor.complaints == []


async def test_each_call_is_told_in_a_line_and_the_noise_is_hidden(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world))
    shown = await actions(page)
    assert shown[0] == "RemoteStartTransaction"
    assert not {"Heartbeat", "MeterValues", "SetChargingProfile"} & set(shown)
    row = page.locator(".call", has_text="StartTransaction").last
    await expect(row.locator(".call-line")).to_have_text(
        re.compile(r"connector 1 · card 04A2B8C19D3E80 · meter at 57.3.kWh · Accepted · transaction 17")
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", await row.locator(".call-at").inner_text())
    assert await page.locator(".log-day").count() == 2
    await expect(page.locator("#log")).to_contain_text("Kept for 30 days.")
    await page.get_by_text("Show all", exact=True).click()
    await expect(page.locator(".call-action", has_text="MeterValues")).to_have_count(3)
    assert "noise=show" in page.url


async def test_rows_stand_in_the_order_of_their_times(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    beginning, status = scribe.at, {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
    later = await scribe.say("StatusNotification", status, {})
    scribe.at -= timedelta(seconds=40)
    # What we ask gets its number a moment after it is sent.
    earlier = await scribe.say("Reset", {"type": "Soft"}, {"status": "Accepted"}, is_outward=True)
    assert earlier > later
    assert scribe.at < beginning + timedelta(seconds=20)
    await visitor.go(logs(visitor.world))
    await expect(page.locator(".call-action").first).to_be_visible()
    shown = [await row.get_attribute("id") for row in await page.locator(".call").element_handles()]
    assert shown.index(f"call-{later}") < shown.index(f"call-{earlier}")
    await page.mouse.move(5, 5)
    await until_live(page)
    newest = await scribe.say(
        "Authorize", {"idTag": "FFFF"}, {"idTagInfo": {"status": "Accepted"}}, is_now=True
    )
    late = CallTraced(
        scribe.charger_id, "soc_1", "late", True, "", "", "ClearCache", "{}",
        scribe.at - timedelta(milliseconds=90), CallStatus.DONE, "{}", 3.0,
    )  # fmt: skip
    (number,) = await visitor.world.ctx.db.work(CENTRAL, calls.trace, Traced((late,)))
    await expect(page.locator(f"#call-{number}")).to_be_visible()
    after = await page.locator(f"#call-{newest}").evaluate("(row) => row.nextElementSibling.id")
    assert after == f"call-{number}"


async def test_a_call_folds_out_and_is_copied_and_passed_on(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visitor.go(logs(visitor.world))
    row = page.locator(".call", has_text="Authorize")
    await row.locator("summary").click()
    await expect(row.get_by_role("heading", name="Payload")).to_be_visible()
    assert json.loads(await row.locator("pre").nth(1).inner_text()) == {"idTagInfo": {"status": "Accepted"}}
    await row.get_by_role("button", name="Copy").first.click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied) == {"idTag": "04A2B8C19D3E80"}
    long = page.locator(".call", has_text="GetConfiguration")
    await long.locator("summary").click()
    await expect(long).to_contain_text("Asked by Voltyard")
    await long.get_by_role("link", name=re.compile("Show all .* characters")).click()
    await expect(page.locator("pre").last).to_contain_text("Option59")
    await page.get_by_role("link", name="The whole log").click()
    await expect(page.locator(".call-action", has_text="Authorize")).to_be_visible()


async def test_filters_are_kept_in_the_address_and_narrow_the_log(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world))
    await page.get_by_role("combobox", name="Status").select_option("failed")
    await page.wait_for_url("**status=failed**")
    await expect(page.locator(".call-action")).to_have_text(["Odd frame", "Reset", "UnlockConnector"])
    await page.get_by_role("combobox", name="Status").select_option("")
    await page.locator(".chip-menu > summary", has_text="Action").click()
    for name in ("MeterValues", "Authorize"):
        await page.get_by_role("checkbox", name=name, exact=True).check()
    await expect(page.locator(".call-action")).to_have_text(["MeterValues"] * 3 + ["Authorize"])
    await expect(page.locator(".chip-menu > summary", has_text="Action")).to_contain_text("2 chosen")
    await page.reload()
    await expect(page.locator(".call-action")).to_have_text(["MeterValues"] * 3 + ["Authorize"])
    await page.get_by_label("Search the log").fill("no such thing")
    await expect(page.get_by_role("heading", name="Nothing in the log fits")).to_be_visible()
    await expect(page.get_by_role("link", name="Clear", exact=True)).to_be_visible()
    await page.get_by_role("link", name="Clear the filters").click()
    await expect(page.get_by_label("Search the log")).to_have_value("")
    await page.get_by_label("Search the log").fill("rcd tripped")
    await expect(page.locator(".call-action")).to_have_text(["StatusNotification"])
    await visitor.go(logs(visitor.world, more="?command=cmd_" + "0" * 26))
    await expect(page.locator(".call-action")).to_have_text(["RemoteStartTransaction"])
    await expect(page.locator(".log-command")).to_contain_text("Only what belongs to one command")


async def test_new_calls_slide_in_and_answers_follow(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world))
    await page.mouse.move(5, 5)
    await until_live(page)
    number = await scribe.say(
        "Reset", {"type": "Hard"}, is_outward=True, status=CallStatus.PENDING, is_now=True
    )
    row = page.locator(f"#call-{number}")
    await expect(row).to_contain_text("Waiting")
    await expect(page.locator(".call").first).to_have_id(f"call-{number}")
    await scribe.answer(number, {"status": "Rejected"})
    await expect(row.locator(".call-line")).to_have_text("Hard · Rejected")
    await expect(row).to_contain_text("Done")
    await scribe.say("Heartbeat", {}, {}, is_now=True)
    hidden = await scribe.say(
        "StatusNotification", {"connectorId": 2, "status": "Available"}, {}, is_now=True
    )
    await expect(page.locator(f"#call-{hidden}")).to_be_visible()
    await expect(page.locator(".call-action", has_text="Heartbeat")).to_have_count(0)


async def test_nothing_moves_while_somebody_reads(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world))
    await until_live(page)
    first = page.locator(".call").first
    await first.locator("summary").click()
    number = await scribe.say(
        "Authorize", {"idTag": "FFFF"}, {"idTagInfo": {"status": "Invalid"}}, is_now=True
    )
    pill = page.get_by_role("button", name="1 new call")
    await expect(pill).to_be_visible()
    await expect(page.locator(f"#call-{number}")).to_have_count(0)
    await pill.click()
    await expect(page.locator(".call").first).to_have_id(f"call-{number}")
    await expect(page.locator("[data-new]")).to_be_hidden()


async def test_the_tail_can_be_turned_off_and_stays_so(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world))
    await until_live(page)
    await page.get_by_role("button", name="Live").click()
    await expect(page.locator("#log")).to_have_attribute("data-state", "off")
    number = await scribe.say("Authorize", {"idTag": "FFFF"}, {}, is_now=True)
    await page.reload()
    await expect(page.get_by_role("button", name="Live")).to_have_attribute("aria-pressed", "false")
    await expect(page.locator(f"#call-{number}")).to_be_visible()


async def test_the_first_call_takes_the_place_of_the_empty_page(visitor: Visitor):
    page, world = visitor.page, visitor.world
    await visitor.go(logs(world, "free"))
    await expect(page.get_by_role("heading", name="Nothing was said yet")).to_be_visible()
    await until_live(page)
    await Scribe(world, world.chargers["free"]).say("Authorize", {"idTag": "FFFF"}, {}, is_now=True)
    await expect(page.locator(".call-action")).to_have_text(["Authorize"])
    await expect(page.get_by_role("heading", name="Nothing was said yet")).to_be_hidden()


async def test_the_log_is_read_with_the_keyboard(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world))
    await page.keyboard.press("j")
    await expect(page.locator(".call > summary").nth(0)).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await expect(page.locator(".call > summary").nth(1)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".call").nth(1)).to_have_attribute("open", "")
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search the log")).to_be_focused()
    await page.keyboard.type("jk")
    await expect(page.get_by_label("Search the log")).to_have_value("jk")


async def test_a_long_log_has_pages_both_ways(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    rows: list[dict[str, Any]] = [
        {
            "number": 0, "charger_id": scribe.charger_id, "session_id": "soc_1", "message_id": f"m{each}",
            "action": "StatusNotification", "payload": json.dumps({"connectorId": 1, "status": "Available"}),
            "at": now(), "is_outward": False, "origin": "", "command_id": None,
        }
        for each in range(10_000)
    ]  # fmt: skip

    def fill(work: Work) -> None:
        for number, row in zip(work.numbers(table, len(rows)), rows, strict=True):
            row["number"] = number
        work.insert_many(table, rows)

    await visitor.world.ctx.db.work(CENTRAL, fill)
    await visitor.go(logs(visitor.world))
    await expect(page.locator(".call")).to_have_count(charger_logs.PAGE)
    first = await page.locator(".call").first.get_attribute("id")
    await page.get_by_role("link", name="Older").click()
    await page.wait_for_url("**before=**")
    await expect(page.locator(".call")).to_have_count(charger_logs.PAGE)
    assert await page.locator("[data-live-switch]").count() == 0
    await page.get_by_role("link", name="Newer").click()
    await expect(page.locator(".call").first).to_have_id(str(first))
    await expect(page.locator("[data-live-switch]")).to_be_visible()


async def test_the_log_works_without_scripts(browser: Browser, world: World, scribe: Scribe):
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(world.address + "/login")
    await page.get_by_label("E-mail address").fill("robin@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.goto(world.address + logs(world))
    await expect(page.locator(".log-live")).to_be_hidden()
    await page.get_by_label("Search the log").fill("04a2b8")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.locator(".call-action")).to_have_text(["StartTransaction", "Authorize"])
    await page.locator(".call > summary").first.click()
    await expect(page.locator("pre").first).to_be_visible()
    await context.close()


async def test_what_is_shown_is_exported(visitor: Visitor, scribe: Scribe):
    page = visitor.page
    await visitor.go(logs(visitor.world, more="?status=failed&destination=charger"))
    await page.locator("summary", has_text="Export").click()
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name="JSON Lines").click()
    download = await waiting.value
    assert re.fullmatch(r"ALF-0042317_\d{8}T\d{6}Z_\d{8}T\d{6}Z\.jsonl", download.suggested_filename)
    lines = (await asyncio.to_thread((await download.path()).read_text)).splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["UnlockConnector", "Reset"]


async def test_who_may_not_see_it_is_told_who_can_let_them(browser: Browser, world: World, scribe: Scribe):
    user = await accounts.register(world.ctx, "guest@example.com", password=PASSWORD, name="Guest")
    office = world.locations["office"]
    await world.ctx.db.work(world.actor, locations.grant, office, user.teams[0].id, Level.BASIC)
    async with visiting(browser, world) as visitor:
        await visitor.go("/login")
        await visitor.page.get_by_label("E-mail address").fill("guest@example.com")
        await visitor.page.get_by_label("Password").fill(PASSWORD)
        await visitor.page.get_by_role("button", name="Log in").click()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await visitor.go(logs(world))
        await expect(visitor.page.get_by_role("heading", name="Not for your level of access")).to_be_visible()
        await expect(visitor.page.locator("main")).to_contain_text(
            "An owner of this location can let your team"
        )
        for more in ("/stream", "/export", "/1"):
            answer = await visitor.page.request.get(world.address + logs(world, more=more))
            assert answer.status == 403


async def test_a_command_leads_to_its_messages(visitor: Visitor):
    world, page = visitor.world, visitor.page
    charger_id = world.chargers["offline"]
    asked = await commands.ask(world.ctx, world.actor, charger_id, Restart(is_hard=False))
    await Scribe(world, charger_id).say(
        "Reset", {"type": "Soft"}, {"status": "Accepted"}, is_outward=True, is_now=True, command_id=asked.id
    )
    await Scribe(world, charger_id).say("Authorize", {"idTag": "FFFF"}, {}, is_now=True)
    await visitor.go(f"/chargers/{charger_id}/commands")
    await page.locator(f"#{asked.id} > summary").click()
    await page.get_by_role("link", name="Its messages in the log").click()
    await page.wait_for_url(f"**command={asked.id}")
    await expect(page.locator(".call-action")).to_have_text(["Reset"])
    await expect(page.locator(".log-command")).to_contain_text("Restart")
    await page.get_by_role("link", name="Show the whole log").click()
    await expect(page.locator(".call-action")).to_have_text(["Authorize", "Reset"])

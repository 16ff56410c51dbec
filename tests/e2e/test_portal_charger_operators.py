"""The tab Operators of a charger, in a browser: who decides, connecting one, what it was told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.test_portal_pages import (
    CENTRAL,
    PASSWORD,
    WIDTHS,
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
from voltyard.chargers import calls
from voltyard.chargers.service import Place
from voltyard.kernel.db import Work
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.operators import deliveries_store, events, serving, store
from voltyard.operators import service as operators
from voltyard.operators.events import Attempted
from voltyard.operators.service import Wanted
from voltyard.speech import Beat, Fallback, Heard, Role, Verdict

__all__ = ["made", "quiet_world", "visitor", "world"]

SHOTS = os.environ.get("VOLTYARD_SHOTS", "")
# Shots are taken of all; each width and each theme once tell axe what it has to know.
LOOKS = [(width, theme) for width in WIDTHS for theme in ("light", "dark")]
LOOKS = LOOKS if SHOTS else [("desktop", "light"), ("phone", "dark")]
SIMPLE = frozenset(("none", "role", "directory"))
"""Pages that are the same at each width."""
LONG = "Stadtwerke Niederösterreich Elektromobilität und Lastmanagement GmbH"
OPERATORS = (
    (
        Wanted(preset="monta", role=Role.BILLING, fallback=Fallback.LOCATION_CARDS, is_limiting=True),
        "online",
        "",
    ),
    (
        Wanted(name=LONG, url="wss://ocpp.example.com/a/long/path", role=Role.DATA_CONTROL, username="x"),
        "refused",
        "HTTP 401: the operator refused the user name or password",
    ),
    (Wanted(name="Watcher", url="wss://watch.example.com", role=Role.OBSERVER), "backing_off", "no_answer"),
)
START = b'{"connectorId":1,"idTag":"04A2B8C19D3E80","meterStart":1000000,"timestamp":"2026-11-29T08:00:00Z"}'


@dataclass
class Served:
    """A charger with operators of all kinds, and with one message of each kind exchanged."""

    world: World
    charger_id: str
    billing: str
    energy: str
    observer: str

    @property
    def home(self) -> str:
        return f"/chargers/{self.charger_id}/operators"

    async def list(self) -> list[operators.Link]:
        return await self.world.ctx.db.read(
            self.world.actor, operators.list_links, charger_id=self.charger_id, limit=8
        )

    async def told(self, number: int) -> Any:
        return await self.world.ctx.db.read(CENTRAL, deliveries_store.find_delivery, self.billing, number)


def messages(work: Work, link_id: str, charger_id: str, number: int) -> None:
    """Have a start refused and parked, its readings held, and much else done."""
    heard = [("StartTransaction", START.decode()), ("MeterValues", '{"connectorId":1,"meterValue":[]}')]
    at = [
        calls.log(work, [Heard(charger_id, "ses-x", f"m{n}", action, raw, Beat())])[0]
        for n, (action, raw) in enumerate(heard)
    ]
    base = {
        "link_id": link_id, "charger_id": charger_id, "call_number": None, "transaction_number": None,
        "is_inward": False, "message_id": "m1", "payload": "{}", "note": "", "at": work.now,
        "status": "done", "answer": "{}", "latency_ms": 41.0, "tries": 1, "next_at": None,
    }  # fmt: skip
    alias = START.decode().replace("04A2B8C19D3E80", "VOLTYARD01")
    error = '{"errorCode":"InternalError","errorDescription":"try later"}'
    soon = work.now + timedelta(minutes=5)
    rows: list[dict[str, Any]] = [
        {"action": "BootNotification", "payload": '{"chargePointVendor":"Alfen","chargePointModel":"Eve"}',
         "answer": '{"status":"Accepted","interval":300,"currentTime":"2026-11-29T08:00:00Z"}'},
        {"action": "Heartbeat"},
        {"action": "StartTransaction", "call_number": at[0], "transaction_number": number, "payload": alias,
         "note": "tag_replaced,time_repaired", "status": "parked", "answer": error, "tries": 6},
        {"action": "StopTransaction", "transaction_number": number - 1, "payload": '{"transactionId":7}',
         "note": "number", "status": "retrying", "answer": error, "tries": 2, "next_at": soon},
        {"action": "MeterValues", "call_number": at[1], "transaction_number": number, "payload": None,
         "note": "waits_for_its_transaction", "status": "held", "answer": "", "latency_ms": None},
        {"action": "StatusNotification", "payload": '{"connectorId":1,"status":"Charging"}',
         "status": "failed", "answer": ""},
        {"action": "DiagnosticsStatusNotification", "payload": '{"status":"Idle"}', "status": "skipped"},
        {"action": "StopTransaction", "transaction_number": number - 2, "status": "withheld",
         "note": "start_unknown", "answer": "", "latency_ms": None},
        {"action": "ChangeConfiguration", "is_inward": True, "note": "protected", "status": "refused",
         "payload": '{"key":"ServerUrl","value":"wss://else.example"}', "answer": '{"status":"Rejected"}'},
        {"action": "SetChargingProfile", "is_inward": True, "note": "composed",
         "answer": '{"status":"Accepted"}'},
    ]  # fmt: skip
    for row in rows:
        deliveries_store.insert_deliveries(work, [base | row])


@pytest_asyncio.fixture(loop_scope="session")
async def served(world: World) -> Served:
    charger_id = world.chargers["free"]
    ids = []
    db = world.ctx.db
    for wanted, state, reason in OPERATORS:
        link = await db.work(world.actor, operators.connect, charger_id, wanted, world.ctx.settings)
        await db.work(CENTRAL, serving.set_state, link.id, state, reason)
        ids.append(link.id)
    place = Place(charger_id, world.locations["office"])
    number = await world.start(place, 2, "FFFF1111", now() - timedelta(minutes=3), Verdict.INVALID)
    for link_id in ids[:1]:
        await db.work(CENTRAL, messages, link_id, charger_id, number)
    told = [
        {
            "number": number - 2,
            "theirs": 90_211,
            "state": "stopped",
            "verdict": "Accepted",
            "energy_wh": 11_400,
        },
        {"number": number - 1, "theirs": 90_212, "state": "open", "verdict": "Accepted"},
        {"number": number, "theirs": None, "state": "refused", "verdict": "Invalid", "id_tag": "FFFF1111"},
    ]
    for row in told:
        values = {"link_id": ids[0], "id_tag": "04A2B8C19D3E80", "started_at": now(), **row}
        await db.work(CENTRAL, store.upsert_numbers, [values])
    await db.work(
        CENTRAL, store.upsert_composed, charger_id=charger_id, connector=1, limit_a=9.0,
        by=",".join(ids[:2]), sent="{}", word="Accepted",
    )  # fmt: skip
    return Served(world, charger_id, *ids)


def steps_told(*steps: tuple[str, bool, str]) -> events.Tried:
    return events.Tried(tuple(Attempted(*step) for step in steps))


@pytest.mark.asyncio(loop_scope="session")
async def test_an_operator_is_connected_with_the_keyboard_alone(visitor: Visitor):
    page, world = visitor.page, visitor.world
    asked: list[events.TrialAsked] = []

    async def test(ask: events.TrialAsked) -> events.Tried:
        asked.append(ask)
        return steps_told(
            ("url", True, "the address can be used"),
            ("http", False, "the operator refused the password"),
        )

    await visitor.go(f"/chargers/{world.chargers['free']}/operators")
    await expect(page.get_by_role("heading", name="No operators")).to_be_visible()
    await expect(page.get_by_text("Voltyard decides who may charge,")).to_be_visible()

    async def enter(name: str, role: Any = "link") -> None:
        await page.get_by_role(role, name=name, exact=role == "button").first.focus()
        await page.keyboard.press("Enter")

    async def fill(label: str, text: str) -> None:
        await page.get_by_label(label, exact=True).focus()
        await page.keyboard.press("ControlOrMeta+A")
        await page.keyboard.type(text)

    await enter("Connect an operator")
    await enter("Data & Control")
    await fill("Search operators", "no such operator")
    await expect(page.get_by_text("No operator of the directory")).to_be_visible()
    await enter("Other")
    await fill("Address", "http://nowhere")
    await fill("User name", "volt")
    await fill("Password", "0123456789abcdef")
    await enter("Test connection", "button")
    await expect(page.locator("#h-url")).to_contain_text("Write wss://")
    await fill("Address", "wss://ocpp.example.com/1.6")
    await enter("Test connection", "button")
    await expect(page.get_by_text("The connection could not be tried.")).to_be_visible()
    await world.ctx.bus.serve("lines.test", events.TrialAsked, test)
    await enter("Test connection", "button")
    await expect(page.locator(".steps-told .is-bad")).to_contain_text("refused the password")
    assert (asked[0].url, asked[0].identity) == ("wss://ocpp.example.com/1.6", "ALF-0042318")
    await enter("Connect", "button")
    await expect(page.locator("#h-name")).to_contain_text("Give the operator a name")
    await fill("Name", "Sun & Co")
    await page.get_by_label("Name", exact=True).press("Enter")
    await expect(page.get_by_role("heading", name="Sun & Co")).to_be_visible()
    await expect(page.locator("#link-state")).to_contain_text("Connecting")
    (link,) = await world.ctx.db.read(
        world.actor, operators.list_links, charger_id=world.chargers["free"], limit=8
    )
    assert (link.role, link.username, link.has_password) == (Role.DATA_CONTROL, "volt", True)
    visitor.complaints.clear()  # the browser notes the refusals


@pytest.mark.asyncio(loop_scope="session")
async def test_billing_is_swapped_and_an_operator_disconnected(visitor: Visitor, served: Served):
    page = visitor.page
    await visitor.go(f"{served.home}/connect")
    await expect(page.locator(".way.is-off")).to_contain_text("Monta bills for this charger already")
    await visitor.go(f"{served.home}/{served.energy}")
    await page.get_by_label("Data & Control").check()
    await page.get_by_role("button", name="Make this the Billing operator").click()
    await page.get_by_role("button", name="Make it the Billing operator").click()
    await expect(page.locator(".link-head")).to_contain_text("Billing")
    assert [link.role for link in await served.list()] == [Role.DATA_CONTROL, Role.BILLING, Role.OBSERVER]
    await visitor.go(served.home)
    await visitor.live()
    await expect(page.get_by_text(f"{LONG} decides who may charge.")).to_be_visible()
    await visitor.world.ctx.db.work(CENTRAL, serving.set_state, served.observer, "online", "")
    await expect(page.locator(f"#{served.observer}")).to_contain_text("Online")
    await page.get_by_role("button", name=f"Disconnect {LONG}").click()
    await expect(page.get_by_role("dialog")).to_contain_text("Voltyard decides about cards again")
    await page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    await expect(page.locator(".link-row")).to_have_count(2)


@pytest.mark.asyncio(loop_scope="session")
async def test_settings_are_changed_and_a_password_is_never_said_back(visitor: Visitor, served: Served):
    page = visitor.page
    await visitor.go(f"{served.home}/{served.energy}/settings")
    await expect(page.get_by_label("Billing", exact=False).first).to_be_disabled()
    await page.get_by_label("Observer").first.check()
    await page.get_by_text("Hexadecimal").click()
    await page.get_by_label("Password", exact=True).fill("beef0")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#h-password")).to_contain_text("Hexadecimal digits, two for each byte")
    await page.get_by_label("Password", exact=True).fill("beef01")
    await page.get_by_text("Advanced").click()
    await page.get_by_label("Diagnostics").check()
    await page.get_by_role("button", name="Save").click()
    await expect(
        page.get_by_text("Changed: role, what it is allowed beyond its role, password")
    ).to_be_visible()
    await visitor.go(f"{served.home}/{served.energy}/settings")
    await expect(page.locator("#h-password")).to_have_text("One is set. Empty: it stays.")
    assert "beef01" not in await page.content()
    link = (await served.list())[1]
    assert (link.role, link.consents, link.has_password) == (Role.OBSERVER, ("diagnostics",), True)
    visitor.complaints.clear()  # the browser notes the refusal


@pytest.mark.asyncio(loop_scope="session")
async def test_what_an_operator_refuses_is_explained_told_again_or_skipped(visitor: Visitor, served: Served):
    page = visitor.page
    await visitor.go(f"{served.home}/{served.billing}/deliveries")
    await expect(page.locator(".call")).to_have_count(8)
    await page.get_by_role("link", name="Look at them").click()
    await expect(page.locator(".call")).to_have_count(3)
    start = page.locator(".call", has_text="StartTransaction")
    await start.locator("summary").click()
    await expect(start).to_contain_text("The card was replaced by the tag")
    await expect(start.locator("pre").nth(0)).to_contain_text("04A2B8C19D3E80")
    await expect(start.locator("pre").nth(1)).to_contain_text("VOLTYARD01")
    number = int((await start.get_attribute("id") or "").rsplit("-", 1)[1])
    await start.get_by_role("button", name="Tell it again now").click()
    await expect(start.locator(".call-status")).to_contain_text("Tried again")
    assert (await served.told(number)).status == "retrying"
    await start.get_by_role("button", name="Skip it").click()
    await expect(page.get_by_role("dialog")).to_contain_text("does not bill it")
    await page.get_by_role("dialog").get_by_role("button", name="Skip it").click()
    await expect(page.locator(".call")).to_have_count(2)
    assert (await served.told(number)).status == "skipped"
    call = (await served.told(number)).call_number
    await visitor.go(f"/chargers/{served.charger_id}/logs/{call}")
    await expect(page.get_by_role("region", name="Operators")).to_contain_text("Skipped")


@pytest.mark.asyncio(loop_scope="session")
async def test_who_may_not_change_it_sees_who_can(browser: Browser, served: Served):
    world = served.world
    user = await accounts.register(world.ctx, "kim@example.com", password=PASSWORD, name="Kim")
    await world.ctx.db.work(
        world.actor, locations.grant, world.locations["office"], user.teams[0].id, Level.SENSITIVE
    )
    async with visiting(browser, world) as visitor:
        await visitor.go(served.home)
        await visitor.page.get_by_label("E-mail address").fill("kim@example.com")
        await visitor.page.get_by_label("Password").fill(PASSWORD)
        await visitor.page.get_by_role("button", name="Log in").click()
        await expect(visitor.page.get_by_text("a member with full access, can connect")).to_be_visible()
        await expect(visitor.page.get_by_role("button", name="Disconnect Monta")).to_have_count(0)
        await visitor.go(f"{served.home}/connect")
        await expect(visitor.page.get_by_text("An owner of the location can let you.")).to_be_visible()
        assert visitor.complaints == []


@pytest.mark.parametrize(("width", "theme"), LOOKS)
@pytest.mark.asyncio(loop_scope="session")
async def test_the_pages_are_sound_at_both_widths(browser: Browser, served: Served, width: str, theme: str):
    world, link = served.world, f"{served.home}/{served.billing}"
    places = {
        "none": f"/chargers/{world.chargers['never']}/operators",
        "list": served.home,
        "role": f"{served.home}/connect",
        "directory": f"{served.home}/connect?role=observer",
        "form": f"/chargers/{world.chargers['never']}/operators/connect?role=billing&preset=greenflux",
        "link": f"{served.home}/{served.energy}",
        "settings": f"{link}/settings",
        "comparison": f"{link}/comparison",
        "deliveries": f"{link}/deliveries?noise=show",
    }
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as visitor:
        page, found = visitor.page, []
        await visitor.log_in()
        await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
        for name, place in places.items():
            if width == "phone" and name in SIMPLE and not SHOTS:
                continue
            await visitor.go(place)
            if name == "form":
                await page.get_by_label("Address", exact=True).fill("ws://u:p@x")
                await page.get_by_role("button", name="Connect", exact=True).click()
                await expect(page.locator("#h-url")).to_be_visible()
            for fold in await page.locator("#link-form > .fold > summary").all():
                await fold.click()
            for fold in (await page.locator(".call > summary").all())[1:8:6]:
                await fold.click()
            found += await look(visitor)
            if SHOTS:
                path = Path(SHOTS) / f"operators-{name}-{width}-{theme}.png"
                await page.screenshot(path=path, full_page=True)
        # The browser notes the refusal.
        assert found + [each for each in visitor.complaints if "422" not in each] == []

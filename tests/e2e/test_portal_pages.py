"""The portal in a browser: what people see and press, at both widths and in both themes."""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, expect

from voltyard.accounts import service as accounts
from voltyard.accounts.service import User
from voltyard.cards import service as cards
from voltyard.cards.service import Judgement
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered, Place
from voltyard.kernel import migrate
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import SystemClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.kernel.files import Files
from voltyard.kernel.limits import LOGINS_PER_MINUTE_MAX
from voltyard.kernel.settings import Settings
from voltyard.kernel.units import PerPhase
from voltyard.locations import service as locations
from voltyard.portal.app import build
from voltyard.speech import (
    Answer,
    Asked,
    Booted,
    ConnectorStatus,
    Ended,
    Hello,
    Metered,
    Reading,
    StartCharging,
    Started,
    StatusTold,
    StopCharging,
    Told,
    Verdict,
)
from voltyard.transactions import service as transactions

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "frontend/node_modules/axe-core/axe.min.js"
PASSWORD = "a long enough password"
CENTRAL = system("central")
FREE_IDENTITY = "ALF-0042318"
# How many pixels of the graph's canvas have the colour of a line.
PAINTED = """() => {
    const canvas = document.querySelector('canvas')
    const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    let count = 0
    for (let i = 0; i < seen.length; i += 4)
        if (seen[i + 3] > 200 && Math.abs(seen[i + 1] - seen[i]) > 60) count++
    return count
}"""
WIDTHS = {"desktop": (1440, 900), "phone": (390, 844)}
KEY_PIN = "4711"


# --- a small world ----------------------------------------------------------------------------------


def readings(
    start: datetime, minutes: int, *, phases: int = 3, most_a: float = 16.0, so_far: int | None = None
) -> list[Reading]:
    """What a car takes: a ramp, a dip when the house needs the current, and a tail when it is full."""
    found, energy = [], 1_000_000.0
    for step in range((minutes if so_far is None else so_far) * 2 + 1):
        share = step / max(1, minutes * 2)
        offered = 10.0 if 0.35 < share < 0.5 else most_a
        tail = 1.0 if share < 0.86 else math.exp(-(share - 0.86) * 14)
        ramp = min(1.0, step / 3)
        amps = [round(max(0.0, (offered - 0.4) * ramp * tail - 0.25 * n + 0.12 * math.sin(step / 3 + n)), 2)
                for n in range(phases)]  # fmt: skip
        power = sum(amps) * 231
        energy += power / 120
        found.append(
            Reading(
                told_at=start + timedelta(seconds=30 * step),
                energy_wh=round(energy),
                power_w=round(power, 1),
                current_a=PerPhase(*amps, *([None] * (3 - phases))),
                voltage_v=PerPhase(231.0, 230.4, 231.2),
                offered_a=offered,
                soc_percent=round(min(100.0, 38 + 60 * share), 0) if phases == 3 else None,
            )
        )
    return found


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class World:
    """The context of a portal with people, locations and chargers in it."""

    ctx: Context
    user: User
    actor: Actor
    locations: dict[str, str] = field(default_factory=dict)
    chargers: dict[str, str] = field(default_factory=dict)
    transactions: dict[str, str] = field(default_factory=dict)
    address: str = ""

    async def tell(self, charger_id: str, *said: StatusTold) -> None:
        place = (await self.ctx.db.read(CENTRAL, chargers.places, [charger_id]))[0]
        await self.ctx.db.work(CENTRAL, chargers.tell_status, [(place, each) for each in said])

    async def connect(self, identity: str) -> str:
        hello = Hello(identity, f"ses-{identity}", "gateway-1", "ocpp1.6", "192.0.2.7")
        key = self.ctx.settings.secret_key()
        welcome = (await self.ctx.db.work(CENTRAL, chargers.connect, [hello], key=key, is_holding=True))[0]
        booted = Booted(vendor="Alfen", model="Eve Double Pro-line", serial=identity, firmware="6.5.0-4221")
        await self.ctx.db.work(CENTRAL, chargers.boot, [(Place(welcome.charger_id, None), booted)])
        return welcome.charger_id

    async def start(
        self, place: Place, connector: int, tag: str, at: datetime, verdict: Verdict = Verdict.ACCEPTED,
        card_id: str | None = None,
    ) -> int:  # fmt: skip
        said = Started(connector, tag, 1_000_000, at)
        judged = Judgement(verdict, card_id)
        return (await self.ctx.db.work(CENTRAL, transactions.start, [(place, said)], [judged]))[0]

    async def meter(self, place: Place, connector: int, number: int, found: list[Reading]) -> None:
        said = Metered(connector, number, tuple(found))
        await self.ctx.db.work(CENTRAL, transactions.meter, [(place, said)])

    async def end(self, place: Place, number: int, last: Reading, reason: str) -> None:
        said = Ended(number, int(last.energy_wh or 0), last.told_at, reason)
        await self.ctx.db.work(CENTRAL, transactions.end, [(place, said)])

    async def id_of(self, number: int) -> str:
        rows = await self.ctx.db.read(self.actor, transactions.list_transactions, limit=200)
        return next(row.id for row in rows if row.number == number)


async def open_context(folder: Path, *, is_new: bool = True) -> Context:
    settings = Settings(data=folder, _env_file=None)  # type: ignore[call-arg]
    if is_new:
        await asyncio.to_thread(folder.mkdir, parents=True)
        await asyncio.to_thread(migrate.upgrade, settings.url)
    clock, bus = SystemClock(), LocalBus(is_strict=True)
    return Context(
        Database(settings.url, clock=clock, bus=bus), bus, clock, Files(folder / "files"), settings
    )


async def make_world(ctx: Context, *, is_empty: bool = False) -> World:
    """Two locations, chargers in all sorts of states, cards, and charges old and new."""
    user = await accounts.register(
        ctx, "robin@example.com", password=PASSWORD, name="Robin Vermeer",
        team="Vermeer Installations", is_admin=True,
    )  # fmt: skip
    team = user.teams[0].id
    actor = Actor(kind=Kind.USER, subject_id=user.id, team_ids=(team,), door="portal", is_admin=True)
    world = World(ctx, user, actor)
    if is_empty:
        return world
    key = ctx.settings.secret_key()
    office = await ctx.db.work(
        actor, locations.create, name="Head office Utrecht", street="Croeselaan 18", postcode="3521 CB",
        city="Utrecht", country="NL",
    )  # fmt: skip
    garage = await ctx.db.work(
        actor, locations.create, name="Harbour garage, level −2, behind the northern ramp",
        street="Kalvebod Brygge 31", postcode="1560", city="København", country="DK",
        timezone="Europe/Copenhagen",
    )  # fmt: skip
    world.locations = {"office": office.id, "garage": garage.id}
    names = {
        "charging": ("ALF-0042317", office.id, "Entrance left"),
        "free": ("ALF-0042318", office.id, "Entrance right"),
        "paused": ("NXB-22-104-77", garage.id, "Bay 14"),
        "faulted": (
            "EVB-P1916-0033",
            garage.id,
            "Bay 15, the one whose name somebody made far too long to fit",
        ),
        "offline": ("ZAP081142", garage.id, ""),
    }
    found = [Delivered(identity, pin=KEY_PIN) for identity, _, _ in names.values()]
    stock = [*found, Delivered("STOCK-0001", pin=KEY_PIN), Delivered("NEVER-SEEN-1", pin=KEY_PIN)]
    await ctx.db.work(CENTRAL, chargers.register, stock, key)
    for word, (identity, location_id, name) in names.items():
        world.chargers[word] = await world.connect(identity)
        await chargers.claim(ctx, actor, location_id, identity=identity, pin=KEY_PIN)
        if name:
            await ctx.db.work(actor, chargers.rename, world.chargers[word], name)
    never = await chargers.claim(ctx, actor, office.id, identity="NEVER-SEEN-1", pin=KEY_PIN)
    world.chargers["never"] = never.id
    await world.connect("WAITING-9001")
    states = {
        "charging": (ConnectorStatus.CHARGING, ConnectorStatus.AVAILABLE),
        "free": (ConnectorStatus.AVAILABLE, ConnectorStatus.PREPARING),
        "paused": (ConnectorStatus.SUSPENDED_EV,),
        "offline": (ConnectorStatus.AVAILABLE,),
    }
    for word, statuses in states.items():
        for number, status in enumerate(statuses, start=1):
            await world.tell(world.chargers[word], StatusTold(number, status))
    broken = StatusTold(1, ConnectorStatus.FAULTED, "GroundFailure", "RCD tripped", None, "E-114")
    await world.tell(world.chargers["faulted"], broken)
    await ctx.db.work(CENTRAL, chargers.disconnect, world.chargers["offline"], "ses-ZAP081142")
    anna = await ctx.db.work(actor, cards.add, office.id, name="Anna de Wit", id_tag="04A2B8C19D3E80")
    await ctx.db.work(actor, cards.add, office.id, name="Pool car 3", id_tag="DEADBEEF")
    lost = await ctx.db.work(actor, cards.add, office.id, name="Lost in March", id_tag="0411223344")
    await ctx.db.work(actor, cards.change, lost.id, is_blocked=True)
    mads = await ctx.db.work(actor, cards.add, garage.id, name="Mads Jørgensen", id_tag="0499887766")
    present = now()
    at_office, at_garage = (
        Place(world.chargers["free"], office.id),
        Place(world.chargers["paused"], garage.id),
    )
    for hours, minutes, reason in ((3, 95, "EVDisconnected"), (27, 240, "Local"), (51, 35, "Remote")):
        began = present - timedelta(hours=hours, minutes=minutes)
        number = await world.start(at_office, 1, "04A2B8C19D3E80", began, card_id=anna.id)
        took = readings(began, minutes)
        await world.meter(at_office, 1, number, took)
        await world.end(at_office, number, took[-1], reason)
        world.transactions.setdefault("ended", await world.id_of(number))
    began = present - timedelta(hours=9)
    number = await world.start(at_office, 2, "FFFF0000", began, Verdict.INVALID)
    await world.end(
        at_office, number, Reading(told_at=began + timedelta(seconds=20), energy_wh=1_000_000), "DeAuthorized"
    )
    world.transactions["refused"] = await world.id_of(number)
    began = present - timedelta(minutes=52)
    at_charging = Place(world.chargers["charging"], office.id)
    number = await world.start(at_charging, 1, "04A2B8C19D3E80", began, card_id=anna.id)
    await world.meter(at_charging, 1, number, readings(began, 75, so_far=51))
    world.transactions["running"] = await world.id_of(number)
    for hours in (30, 2):
        began = present - timedelta(hours=hours)
        number = await world.start(at_garage, 1, "0499887766", began, card_id=mads.id)
        await world.meter(at_garage, 1, number, readings(began, 180, phases=1, most_a=32.0, so_far=119))
        world.transactions.setdefault("estimated", await world.id_of(number))
    return world


class PlayedCharger:
    """A charger that says yes, and does what it said a moment later."""

    def __init__(self, world: World, charger_id: str, location_id: str, *, answer: str = "Accepted") -> None:
        self.world, self.charger_id, self.answer = world, charger_id, answer
        self.place = Place(charger_id, location_id)
        self.asked: list[Any] = []
        self.numbers: dict[int, int] = {}

    async def serve(self) -> None:
        await self.world.ctx.bus.serve(f"charger.{self.charger_id}.ask", Asked, self.hear)

    async def hear(self, asked: Asked) -> Told:
        self.asked.append(asked.ask)
        is_accepted = self.answer == "Accepted"
        names = {StartCharging: "RemoteStartTransaction", StopCharging: "RemoteStopTransaction"}
        action = names.get(type(asked.ask), "Reset")
        connector = getattr(asked.ask, "connector", None)
        request = json.dumps({"connectorId": connector} if connector else {})
        return Told(Answer(is_accepted=is_accepted, status=self.answer, payload="{}"), action, request)

    async def plug_in(self, tag: str, connector: int = 1) -> int:
        began = now()
        await self.world.tell(self.charger_id, StatusTold(connector, ConnectorStatus.CHARGING))
        number = await self.world.start(self.place, connector, tag, began)
        self.numbers[connector] = number
        await self.world.meter(self.place, connector, number, readings(began, 0))
        return number


# --- the portal on a port -----------------------------------------------------------------------------


@asynccontextmanager
async def serve(ctx: Context, port: int = 0) -> AsyncIterator[str]:
    """Run the portal on a real port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(build(ctx), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells it in no other way
            await asyncio.sleep(0)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await running
    listener.close()


@dataclass
class Visitor:
    """A browser's page in front of the portal, and what it complained about."""

    page: Page
    world: World
    complaints: list[str] = field(default_factory=list)

    async def go(self, place: str) -> None:
        await self.page.goto(self.world.address + place)

    async def log_in(self, password: str = PASSWORD) -> None:
        await self.go("/login")
        await self.page.get_by_label("E-mail address").fill("robin@example.com")
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()

    async def live(self) -> None:
        """Wait until the page hears events."""
        await expect(self.page.locator("html")).to_have_attribute("data-live", "on", timeout=15_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World]:
    """Make the world once; each test gets a copy of its files."""
    folder = tmp_path_factory.mktemp("world") / "data"
    ctx = await open_context(folder)
    world = await make_world(ctx)
    await ctx.db.close()
    return folder, world


@pytest_asyncio.fixture(loop_scope="session")
async def quiet_world(made: tuple[Path, World], tmp_path: Path) -> AsyncIterator[World]:
    """A world whose portal does not run yet."""
    folder, template = made
    shutil.copytree(folder, tmp_path / "data")
    ctx = await open_context(tmp_path / "data", is_new=False)
    yield replace(template, ctx=ctx)
    await ctx.db.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(quiet_world: World) -> AsyncIterator[World]:
    async with serve(quiet_world.ctx) as quiet_world.address:
        yield quiet_world


@asynccontextmanager
async def visiting(
    browser: Browser, world: World, *, width: str = "desktop", theme: str = "light", has_csp: bool = True
) -> AsyncIterator[Visitor]:
    size = WIDTHS[width]
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,  # type: ignore[arg-type]
        timezone_id="Europe/Amsterdam",
        bypass_csp=not has_csp,
        reduced_motion="reduce",
    )
    page = await context.new_page()
    page.set_default_timeout(15_000)
    visitor = Visitor(page, world)
    page.on("pageerror", lambda wrong: visitor.complaints.append(f"{page.url}: {wrong}"))
    page.on(
        "console",
        lambda said: visitor.complaints.append(f"{page.url}: {said.text}") if said.type == "error" else None,
    )
    yield visitor
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Browser, world: World) -> AsyncIterator[Visitor]:
    """Somebody who is logged in, at a desk; the page may not have complained at the end."""
    async with visiting(browser, world) as found:
        await found.log_in()
        await expect(found.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        yield found
        assert found.complaints == []


# --- looks --------------------------------------------------------------------------------------------


def places(world: World) -> list[str]:
    office, garage = world.locations["office"], world.locations["garage"]
    found = ["/", "/locations", "/locations/new", f"/locations/{office}", f"/locations/{garage}", "/chargers"]
    found += [f"/locations/{office}/{tab}" for tab in ("chargers", "transactions", "cards", "settings")]
    found += [f"/chargers/{world.chargers[word]}" for word in ("charging", "faulted", "offline", "never")]
    tabs = ("transactions", "commands", "diagnostics")
    found += [f"/chargers/{world.chargers['free']}/{tab}" for tab in tabs]
    found += [f"/transactions/{transaction_id}" for transaction_id in world.transactions.values()]
    return [*found, "/transactions", "/transactions?status=running&from=2020-01-01", "/account"]


LOOK = """axe.run({resultTypes: ['violations']}).then((found) => found.violations.map((each) => each.id + ': '
    + each.nodes.slice(0, 3).map((node) => node.target + ' ' + (node.any[0]?.message || '')).join(' | ')))"""


async def look(visitor: Visitor) -> list[str]:
    """Let axe look at the page, and see whether it is wider than the window."""
    await visitor.page.evaluate(AXE.read_text())
    found = [f"{visitor.page.url}: {each}" for each in await visitor.page.evaluate(LOOK)]
    wider = await visitor.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found + ([f"{visitor.page.url}: {wider} px too wide"] if wider > 0 else [])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
async def test_every_page_is_accessible_and_fits(browser: Browser, world: World, width: str, theme: str):
    async with visiting(browser, world, width=width, theme=theme, has_csp=False) as visitor:
        await visitor.go("/login")
        found = await look(visitor)
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        for place in places(world):
            await visitor.go(place)
            if place.startswith("/transactions/"):
                await expect(visitor.page.locator("[data-graph]")).to_have_attribute(
                    "data-points", re.compile(r"\d+")
                )
            found += await look(visitor)
        assert found + visitor.complaints == []
        await visitor.go("/nowhere")
        assert await look(visitor) == []


async def test_dialogs_are_accessible_and_keep_the_focus(browser: Browser, world: World):
    async with visiting(browser, world, has_csp=False) as visitor:
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
        await visitor.go(f"/chargers/{world.chargers['free']}")
        opener = visitor.page.get_by_role("region", name="Connector 1").get_by_role("button", name="Start")
        await opener.click()
        dialog = visitor.page.get_by_role("dialog", name="Start charging")
        await expect(dialog).to_be_visible()
        assert await look(visitor) == []
        for _ in range(12):
            await visitor.page.keyboard.press("Tab")
            inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            assert await visitor.page.evaluate(inside)
        await visitor.page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(opener).to_be_focused()


async def test_the_page_can_be_installed_on_a_phone(visitor: Visitor):
    told = await visitor.page.evaluate("fetch('/manifest.webmanifest').then((answer) => answer.json())")
    assert told["display"] == "standalone"
    for icon in told["icons"]:
        answer = await visitor.page.request.get(visitor.world.address + icon["src"])
        assert answer.ok
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


# --- coming in ----------------------------------------------------------------------------------------


async def test_a_stranger_logs_in_and_comes_to_the_page_that_was_wanted(browser: Browser, world: World):
    async with visiting(browser, world) as visitor:
        await visitor.go("/chargers?q=entrance")
        await visitor.page.get_by_label("E-mail address").fill("robin@example.com")
        await visitor.page.get_by_label("Password").fill(PASSWORD)
        await visitor.page.get_by_role("button", name="Log in").click()
        await visitor.page.wait_for_url("**/chargers?q=entrance")
        await expect(visitor.page.get_by_role("link", name="Entrance left")).to_be_visible()
        assert visitor.complaints == []


async def test_a_wrong_password_is_told_and_the_address_stays(browser: Browser, world: World):
    async with visiting(browser, world) as visitor:
        await visitor.go("/login")
        await expect(visitor.page.get_by_label("E-mail address")).to_be_focused()
        await visitor.log_in("not the password")
        await expect(visitor.page.get_by_role("alert")).to_contain_text("E-mail address or password is wrong")
        await expect(visitor.page.get_by_label("E-mail address")).to_have_value("robin@example.com")
        await expect(visitor.page.get_by_label("Password")).to_be_focused()


async def test_too_many_attempts_are_told(browser: Browser, world: World):
    async with visiting(browser, world) as visitor:
        for _ in range(LOGINS_PER_MINUTE_MAX + 1):
            await visitor.page.request.post(
                world.address + "/login", form={"email": "robin@example.com", "password": "x"},
                headers={"Origin": world.address},
            )  # fmt: skip
        await visitor.log_in()
        await expect(visitor.page.get_by_role("alert")).to_contain_text("Too many attempts to log in")


async def test_logging_out_ends_it(visitor: Visitor):
    await visitor.page.get_by_role("button", name="Robin Vermeer").click()
    await visitor.page.get_by_role("button", name="Log out").click()
    await visitor.page.wait_for_url("**/login")
    await visitor.go("/chargers")
    await expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_a_post_from_another_website_is_refused(visitor: Visitor):
    answer = await visitor.page.request.post(
        visitor.world.address + "/logout", headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status == 403


async def test_the_theme_is_chosen_once_and_stays(visitor: Visitor):
    await visitor.page.get_by_role("button", name="Robin Vermeer").click()
    async with visitor.page.expect_response("**/account/theme"):
        await visitor.page.get_by_role("radio", name="Dark").check(force=True)
    await expect(visitor.page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    await visitor.go("/locations")
    await expect(visitor.page.locator("html")).to_have_attribute("data-bs-theme", "dark")


# --- doing --------------------------------------------------------------------------------------------


async def test_a_location_is_created_and_a_mistake_keeps_the_form(visitor: Visitor):
    page = visitor.page
    await page.get_by_role("link", name="Locations").first.click()
    await page.get_by_role("link", name="New location").click()
    await page.get_by_label("Name").fill("Depot Almere")
    await page.get_by_label("City").fill("Almere")
    await page.get_by_label("Country").fill("N1")
    await page.get_by_role("button", name="Create the location").click()
    await expect(page.get_by_label("Country")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("City")).to_have_value("Almere")
    visitor.complaints.clear()  # the browser notes the refusal
    await page.get_by_label("Country").fill("NL")
    await page.get_by_role("button", name="Create the location").click()
    await expect(page.get_by_role("heading", name="Depot Almere", level=1)).to_be_visible()
    await expect(page.get_by_role("heading", name="No chargers here yet")).to_be_visible()


async def test_a_card_is_added_blocked_and_removed(visitor: Visitor):
    page = visitor.page
    await visitor.go(f"/locations/{visitor.world.locations['garage']}/cards")
    await page.get_by_label("Name").fill("Ingrid")
    await page.get_by_label("Tag").fill("0455667788")
    await page.get_by_role("button", name="Add").click()
    row = page.get_by_role("row", name="Ingrid")
    await expect(row).to_contain_text("May charge")
    await row.get_by_role("button", name="Block").click()
    await expect(row).to_contain_text("Blocked")
    await row.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Remove “Ingrid”?")
    await dialog.get_by_role("button", name="Remove the card").click()
    await expect(page.get_by_role("row", name="Ingrid")).to_have_count(0)


async def test_the_same_card_twice_is_refused_in_words(visitor: Visitor):
    page = visitor.page
    await visitor.go(f"/locations/{visitor.world.locations['office']}/cards")
    await page.get_by_label("Name").fill("Somebody")
    await page.get_by_label("Tag").fill("deadbeef")
    await page.get_by_role("button", name="Add").click()
    await expect(page.get_by_role("alert")).to_contain_text("Pool car 3")
    await expect(page.get_by_label("Name")).to_have_value("Somebody")
    visitor.complaints.clear()  # the browser notes the refusal


async def test_a_charger_is_claimed_with_its_pin_and_a_wrong_pin_is_told(browser: Browser, world: World):
    """An administrator needs no PIN, so somebody else does it here."""
    user = await accounts.register(world.ctx, "kim@example.com", password=PASSWORD, name="Kim")
    actor = Actor(kind=Kind.USER, subject_id=user.id, team_ids=(user.teams[0].id,), door="portal")
    mine = await world.ctx.db.work(actor, locations.create, name="Kim's place")
    async with visiting(browser, world) as visitor:
        page = visitor.page
        await visitor.go(f"/locations/{mine.id}/chargers")
        await page.get_by_label("E-mail address").fill("kim@example.com")
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_label("Serial number").fill("STOCK-0001")
        await page.get_by_label("PIN").fill("0000")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("alert")).to_contain_text(
            "Serial number and PIN do not belong together"
        )
        await expect(page.get_by_label("Serial number")).to_have_value("STOCK-0001")
        await page.get_by_label("Serial number").fill("ALF-0042317")
        await page.get_by_label("PIN").fill(KEY_PIN)
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("alert")).to_contain_text("belongs to another location")
        await page.get_by_label("Serial number").fill("STOCK-0001")
        await page.get_by_label("PIN").fill(KEY_PIN)
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("heading", name="STOCK-0001")).to_be_visible()
        await visitor.go(f"/chargers/{world.chargers['free']}")
        await expect(page.get_by_role("heading", name="There is no such thing")).to_be_visible()


async def test_an_administrator_claims_a_waiting_charger(visitor: Visitor):
    page = visitor.page
    await visitor.go("/chargers")
    waiting = page.get_by_role("region", name="Waiting to be claimed")
    await waiting.get_by_label("Location for WAITING-9001").select_option("Head office Utrecht")
    await waiting.get_by_role("button", name="Add").click()
    await expect(page.get_by_role("heading", name="WAITING-9001")).to_be_visible()


async def test_a_token_is_shown_once(visitor: Visitor):
    page = visitor.page
    await visitor.go("/account")
    await page.get_by_label("What is it for?").fill("Home Assistant")
    await page.get_by_role("button", name="Make a token").click()
    secret = await page.locator("[data-secret]").inner_text()
    answer = await page.request.get(
        visitor.world.address + "/locations", headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.ok
    await visitor.go("/account")
    await expect(page.get_by_text(secret)).to_have_count(0)
    await page.get_by_role("button", name="Revoke Home Assistant").click()
    await page.get_by_role("button", name="Revoke the token").click()
    await expect(page.get_by_role("row", name="Home Assistant")).to_have_count(0)


# --- charging -----------------------------------------------------------------------------------------


async def test_start_and_stop_follow_the_chargers_own_word(visitor: Visitor):
    world, page = visitor.world, visitor.page
    charger = PlayedCharger(world, world.chargers["free"], world.locations["office"])
    await charger.serve()
    await visitor.go(f"/chargers/{world.chargers['free']}")
    await visitor.live()
    outlet = page.get_by_role("region", name="Connector 1")
    await outlet.get_by_role("button", name="Start").click()
    dialog = page.get_by_role("dialog", name="Start charging")
    await dialog.get_by_role("radio", name="Anna de Wit").check()
    await dialog.get_by_role("button", name="Start").click()
    await expect(dialog).to_be_hidden()
    await expect(outlet).to_contain_text("Accepted: waiting for the cable.")
    await expect(outlet.get_by_role("button", name="Stop")).to_have_count(0)
    assert charger.asked == [StartCharging("04A2B8C19D3E80", 1)]

    number = await charger.plug_in("04A2B8C19D3E80")
    await expect(outlet).to_contain_text("Charging")
    await expect(outlet.get_by_role("button", name="Stop")).to_be_visible()
    await expect(outlet).not_to_contain_text("waiting for the cable")

    await outlet.get_by_role("button", name="Stop").click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop charging").click()
    await expect(outlet).to_contain_text("Accepted: the charger is stopping.")
    await expect(outlet.get_by_role("button", name="Stop")).to_be_visible()
    assert charger.asked[1:] == [StopCharging(number)]

    await world.end(charger.place, number, Reading(told_at=now(), energy_wh=1_002_500), "Remote")
    await world.tell(charger.charger_id, StatusTold(1, ConnectorStatus.AVAILABLE))
    await expect(outlet.get_by_role("button", name="Start")).to_be_visible()


async def test_a_tag_can_be_typed_and_a_rejection_is_told(visitor: Visitor):
    world, page = visitor.world, visitor.page
    charger = PlayedCharger(world, world.chargers["free"], world.locations["office"], answer="Rejected")
    await charger.serve()
    await visitor.go(f"/chargers/{world.chargers['free']}")
    await page.get_by_role("region", name="Connector 2").get_by_role("button", name="Start").click()
    dialog = page.get_by_role("dialog", name="Start charging")
    await expect(dialog.get_by_label("Tag", exact=True)).to_be_hidden()
    await dialog.get_by_role("radio", name="Another tag").check()
    await dialog.get_by_role("button", name="Start").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("A card is needed to start")
    visitor.complaints.clear()  # the browser notes the refusal
    await dialog.get_by_label("Tag", exact=True).fill("CAFE01")
    await dialog.get_by_role("button", name="Start").click()
    await expect(page.get_by_role("region", name="Connector 2")).to_contain_text("refuses to start")
    assert charger.asked == [StartCharging("CAFE01", 2)]


async def test_an_absent_charger_is_told_with_what_to_do(visitor: Visitor):
    world, page = visitor.world, visitor.page
    await visitor.go(f"/chargers/{world.chargers['offline']}")
    await expect(page.get_by_text("The charger is offline.", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Start").click()
    await page.get_by_role("dialog").get_by_role("button", name="Start").click()
    await expect(page.get_by_role("region", name="Connector 1")).to_contain_text(
        "The charger is offline: check its power and network."
    )
    await page.get_by_role("link", name="Commands").click()
    given = page.get_by_role("listitem").filter(has_text="Start charging")
    await expect(given).to_contain_text("Robin Vermeer")
    await expect(given).to_contain_text("Charger offline")


async def test_a_status_changes_on_the_screen_by_itself(visitor: Visitor):
    world, page = visitor.world, visitor.page
    await visitor.go("/chargers")
    await visitor.live()
    row = page.get_by_role("row", name="Entrance right")
    await expect(row).to_contain_text("1: Available")
    await world.tell(world.chargers["free"], StatusTold(1, ConnectorStatus.FAULTED, "HighTemperature"))
    await expect(row).to_contain_text("1: Fault")
    await visitor.go(f"/chargers/{world.chargers['free']}")
    await visitor.live()
    await expect(page.get_by_role("region", name="Connector 1")).to_contain_text("The charger is too hot.")
    await world.ctx.db.work(CENTRAL, chargers.disconnect, world.chargers["free"], f"ses-{FREE_IDENTITY}")
    await expect(page.get_by_text("The charger is offline.", exact=True)).to_be_visible()


async def test_a_browser_that_was_away_is_drawn_from_the_database(browser: Browser, quiet_world: World):
    world = quiet_world
    async with AsyncExitStack() as stack:
        async with serve(world.ctx) as world.address:
            visitor = await stack.enter_async_context(visiting(browser, world))
            await visitor.log_in()
            await expect(visitor.page.get_by_role("heading", name="Dashboard")).to_be_visible()
            await visitor.go(f"/chargers/{world.chargers['free']}")
            await visitor.live()
        await expect(visitor.page.get_by_text("Connection lost, reconnecting")).to_be_visible()
        await world.tell(world.chargers["free"], StatusTold(1, ConnectorStatus.RESERVED))
        async with serve(world.ctx, int(world.address.rsplit(":", 1)[1])):
            outlet = visitor.page.get_by_role("region", name="Connector 1")
            await expect(outlet).to_contain_text("Reserved", timeout=15_000)
            await expect(visitor.page.get_by_text("Connection lost, reconnecting")).to_be_hidden()


async def test_the_graph_draws_lines_and_goes_on_while_the_car_charges(visitor: Visitor):
    world, page = visitor.world, visitor.page
    await visitor.go(f"/transactions/{world.transactions['running']}")
    await visitor.live()
    graph = page.locator("[data-graph]")
    await expect(graph).to_have_attribute("data-points", "103")
    await expect(page.locator("canvas")).to_be_visible()
    painted = await page.evaluate(PAINTED)
    assert painted > 500, "no line was drawn"
    place = Place(world.chargers["charging"], world.locations["office"])
    rows = await world.ctx.db.read(world.actor, transactions.list_transactions, is_active=True)
    number = next(row.number for row in rows if row.id == world.transactions["running"])
    await world.meter(place, 1, number, [Reading(told_at=now(), current_a=PerPhase(9, 9, 9), power_w=6210)])
    await expect(graph).to_have_attribute("data-points", "104")
    await expect(page.get_by_text("6.2")).to_be_visible()
    await page.locator(".u-over").hover()
    await expect(page.locator("[data-tip]")).to_contain_text("Offered")
    await page.get_by_role("button", name="L2").click()
    await expect(page.get_by_role("button", name="L2")).to_have_attribute("aria-pressed", "false")
    await page.locator(".u-over").hover()
    await expect(page.locator("[data-row=l1]")).to_be_visible()
    await expect(page.locator("[data-row=l2]")).to_be_hidden()


async def test_refused_cards_and_estimates_are_explained(visitor: Visitor):
    world, page = visitor.world, visitor.page
    await visitor.go(f"/transactions/{world.transactions['refused']}")
    await expect(page.get_by_text("The card was refused, yet the charger started.")).to_be_visible()
    await expect(page.get_by_role("heading", name="No readings of the current")).to_be_visible()
    await visitor.go(f"/transactions/{world.transactions['estimated']}")
    await expect(page.get_by_text("The end is an estimate.")).to_be_visible()
    await expect(page.get_by_text("The charger never told the end", exact=True)).to_be_visible()


async def test_transactions_are_filtered(visitor: Visitor):
    page = visitor.page
    await visitor.go("/transactions")
    results = page.locator("#results")
    await expect(results.get_by_role("row")).to_have_count(8)
    await page.get_by_label("Status").select_option("Running")
    await expect(results.get_by_role("row")).to_have_count(3)
    await page.get_by_label("Location").select_option("Head office Utrecht")
    await expect(results.get_by_role("row")).to_have_count(2)
    await page.wait_for_url("**status=running**")
    await page.get_by_label("To", exact=True).fill("2020-01-01")
    await expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()


async def test_an_empty_installation_says_what_to_do_next(browser: Browser, tmp_path: Path):
    ctx = await open_context(tmp_path / "data")
    world = await make_world(ctx, is_empty=True)
    async with serve(ctx) as world.address, visiting(browser, world, has_csp=False) as visitor:
        await visitor.log_in()
        await expect(visitor.page.get_by_role("heading", name="Start with a location")).to_be_visible()
        for place in ("/", "/locations", "/chargers", "/transactions"):
            await visitor.go(place)
            assert await look(visitor) == []
        assert visitor.complaints == []
    await ctx.db.close()

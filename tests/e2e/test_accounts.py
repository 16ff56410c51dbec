"""An account by letter, on a phone: the real process, a real mail server, a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.e2e.server import Server
from tests.postbox import Postbox, open_postbox, text_of

PHONE = {"width": 390, "height": 844}
NIA, LATER = "nia@example.com", "nia@elsewhere.example"


def link(text: str) -> str:
    found = re.search(r"http\S+/proofs/\S+", text)
    assert found is not None, text
    return found[0]


@pytest_asyncio.fixture(loop_scope="session")
async def postbox() -> AsyncIterator[Postbox]:
    async with open_postbox() as found:
        yield found


async def letter(box: Postbox, to: str) -> str:
    """Return the text of the next letter, which goes to this address."""
    envelope, message = await box.next()
    assert envelope.rcpt_tos == [to]
    return text_of(message)


async def log_in(page: Page, address: str, password: str) -> None:
    await page.get_by_label("E-mail address").fill(address)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Log in").click()


@pytest.mark.asyncio(loop_scope="session")
async def test_an_account_from_the_first_letter_to_another_address(
    browser: Browser, postbox: Postbox, tmp_path: Path
):
    with Server(tmp_path, smtp_url=postbox.url) as server:
        server.stop()
        # Letters name the address that people use, which is known only now.
        server.environment["VOLTYARD_PUBLIC_URL"] = server.url
        server.port = ("--http-port", str(server.http_port))
        server.start()
        page = await browser.new_page(viewport=PHONE)
        try:
            await page.goto(f"{server.url}/login")
            await page.get_by_role("link", name="Create an account").click()
            await page.get_by_label("Your name").fill("Nia")
            await page.get_by_label("E-mail address").fill(f" {NIA.title()}")
            await page.get_by_role("button", name="Send me the link").click()
            await expect(page.get_by_role("heading")).to_have_text("Look into your mail")
            first = link(await letter(postbox, NIA))
            await page.goto(first)
            await page.get_by_label("Password").fill("first password of mine")
            await page.get_by_role("button", name="Set the password").click()
            await expect(page.get_by_text("Your password is set")).to_be_visible()
            await page.goto(first)
            await expect(page.get_by_role("heading")).to_have_text("This link does not work any more")
            await page.get_by_role("link", name="Log in").click()
            await log_in(page, NIA, "first password of mine")
            await expect(page).to_have_url(f"{server.url}/")

            await page.goto(f"{server.url}/account")
            mail = page.locator("#email")
            await mail.get_by_label("New address").fill(LATER)
            await mail.get_by_label("Present password").fill("not my password")
            await mail.get_by_role("button", name="Send me the link").click()
            await expect(mail).to_contain_text("That is not your present password")
            await expect(mail.get_by_label("New address")).to_have_value(LATER)
            await mail.get_by_label("Present password").fill("first password of mine")
            await mail.get_by_role("button", name="Send me the link").click()
            await expect(page.get_by_text("A letter is on its way to the new address")).to_be_visible()
            await page.goto(link(await letter(postbox, LATER)))
            await page.get_by_role("button", name="Use this address").click()
            await expect(page.get_by_text(f"You log in as {LATER}")).to_be_visible()
            assert LATER in await letter(postbox, NIA)

            other = await browser.new_page(viewport=PHONE)
            await other.goto(f"{server.url}/login")
            await log_in(other, LATER, "first password of mine")
            await page.reload()
            await page.get_by_role("button", name="Log out everywhere else").click()
            await expect(page.get_by_text("All your other browsers are logged out")).to_be_visible()
            await other.goto(f"{server.url}/account")
            await expect(other).to_have_url(re.compile("/login"))

            await other.get_by_role("link", name="Forgot your password?").click()
            await other.get_by_label("E-mail address").fill(LATER)
            await other.get_by_role("button", name="Send me the link").click()
            await expect(other.get_by_text("If there is an account under")).to_be_visible()
            await other.goto(link(await letter(postbox, LATER)))
            await other.get_by_label("Password").fill("second password of mine")
            await other.get_by_role("button", name="Set the password").click()
            assert "was changed" in await letter(postbox, LATER)
            await page.goto(f"{server.url}/account")
            await expect(page).to_have_url(re.compile("/login"))
            await log_in(other, LATER, "second password of mine")
            await expect(other).to_have_url(f"{server.url}/")
            await other.close()
        finally:
            await page.close()


async def test_only_who_sits_at_the_machine_sees_its_inbox(tmp_path: Path):

    with Server(tmp_path, smtp_url="inbox:") as server:
        async with httpx2.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/inbox")).status_code == 200
            for far in ("192.0.2.7", "2001:db8::7"):
                assert (await http.get("/inbox", headers={"X-Forwarded-For": far})).status_code == 404
    with Server(tmp_path / "none") as server:
        async with httpx2.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/inbox")).status_code == 404
            assert "voltyard user password" in (await http.get("/forgot")).text
            assert (await http.get("/signup")).status_code == 409

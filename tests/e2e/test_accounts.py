"""An account by letter, on a phone: the real process, a real mail server, a real browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pyotp
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
            assert "other browsers" not in await other.content()

            await other.goto(f"{server.url}/account")
            await other.get_by_role("link", name="Set it up").click()
            await other.get_by_text("I cannot scan it").click()
            totp = pyotp.TOTP(await other.locator("[data-copied]").inner_text())
            await other.get_by_label("Code").fill("000000")
            await other.get_by_role("button", name="Turn it on").click()
            await expect(other.get_by_text("That is not what your phone shows now")).to_be_visible()
            await other.get_by_label("Code").fill(totp.now())
            await other.get_by_role("button", name="Turn it on").click()
            codes = await other.locator(".recovery li").all_inner_texts()
            assert len(codes) == 10
            assert "needs a code" in await letter(postbox, LATER)
            await other.get_by_role("link", name="I have written them down").click()
            await other.get_by_role("button", name="Log out", exact=True).last.click()
            await log_in(other, LATER, "second password of mine")
            await expect(other.get_by_role("heading")).to_have_text("Enter the code")
            await other.get_by_label("Code").fill("123456")
            await other.get_by_role("button", name="Log in").click()
            await expect(other.get_by_text("That code does not count")).to_be_visible()
            await other.get_by_label("Code").fill(codes[0])
            await other.get_by_role("button", name="Log in").click()
            await expect(other).to_have_url(f"{server.url}/")
            await other.goto(f"{server.url}/account")
            await expect(other.get_by_text("9 recovery codes are left")).to_be_visible()
            await other.close()
        finally:
            await page.close()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_letter_of_the_inbox_leads_to_an_account_also_where_browsers_tell_little(
    browser: Browser, tmp_path: Path
):
    with Server(tmp_path, smtp_url="inbox:", public_url="http://localhost:1") as server:
        server.stop()
        server.environment["VOLTYARD_PUBLIC_URL"] = f"http://localhost:{server.http_port}"
        server.port = ("--http-port", str(server.http_port))
        server.start()
        page = await browser.new_page(viewport=PHONE)
        try:
            here = f"http://localhost:{server.http_port}"
            await page.goto(f"{here}/signup")
            await page.get_by_label("Your name").fill("Nia")
            await page.get_by_label("E-mail address").fill(NIA)
            await page.get_by_role("button", name="Send me the link").click()
            row = page.get_by_role("link", name=NIA)
            await page.get_by_role("link", name="the letters are in the inbox").click()
            async with asyncio.timeout(20):
                while not await row.count():
                    await page.reload()
            await row.click()
            async with page.expect_popup() as popup:
                await page.frame_locator("iframe").get_by_role("link", name="Choose a password").click()
            opened = await popup.value
            await opened.get_by_label("Password").fill("first password of mine")
            await opened.get_by_role("button", name="Set the password").click()
            await expect(opened.get_by_text("Your password is set")).to_be_visible()
            # A browser of a house without TLS, at the machine's own address, tells where a form comes from
            # by its Origin alone.
            response = await opened.goto(f"{here}/proofs/nothing")
            assert response is not None
            assert response.headers["referrer-policy"] == "same-origin"
            await opened.close()
        finally:
            await page.close()


async def test_only_who_sits_at_the_machine_sees_its_inbox(tmp_path: Path):

    with Server(tmp_path, smtp_url="inbox:") as server:
        async with httpx2.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/inbox")).status_code == 200
            for told in (
                {"X-Forwarded-For": "192.0.2.7"},
                {"X-Forwarded-For": "127.0.0.1"},
                {"X-Real-IP": "192.0.2.7"},
                {"Via": "1.1 proxy"},
                {"Host": "evil.example"},
            ):
                assert (await http.get("/inbox", headers=told)).status_code == 404
    with Server(tmp_path / "none") as server:
        async with httpx2.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/inbox")).status_code == 404
            assert "voltyard user password" in (await http.get("/forgot")).text
            assert (await http.get("/signup")).status_code == 409

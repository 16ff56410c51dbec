"""The servers and the browser that other tests stand on are real and answer."""

import asyncpg
import nats
import pytest
from playwright.async_api import Browser

from dev_servers import DevNats, ServerUnavailable, find_chromium


async def test_postgres_answers_and_keeps_utf8(postgres_server):
    connection = await asyncpg.connect(postgres_server)
    try:
        assert await connection.fetchval("show server_encoding") == "UTF8"
        assert int(await connection.fetchval("show server_version_num")) >= 150000
    finally:
        await connection.close()


async def test_nats_carries_a_request_and_its_answer(nats_server):
    client = await nats.connect(nats_server)
    try:

        async def answer(message):
            await message.respond(message.data.upper())

        await client.subscribe("shout", cb=answer)
        assert (await client.request("shout", b"hello", timeout=5)).data == b"HELLO"
    finally:
        await client.close()


async def test_the_browser_runs_scripts(browser: Browser):
    page = await browser.new_page()
    try:
        await page.set_content("<button onclick=\"this.textContent = 'done'\">do</button>")
        await page.get_by_role("button", name="do").click()
        assert await page.get_by_role("button").text_content() == "done"
    finally:
        await page.close()


def test_a_server_that_cannot_start_shows_its_log(tmp_path):
    running = DevNats(tmp_path / "one")
    try:
        with pytest.raises(ServerUnavailable, match="address already in use"):
            DevNats(tmp_path / "two", port=running.port)
    finally:
        running.stop()


def test_a_browser_that_is_named_but_missing_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nowhere"))
    with pytest.raises(ServerUnavailable, match="does not exist"):
        find_chromium()

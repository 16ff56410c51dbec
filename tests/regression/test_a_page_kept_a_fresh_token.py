"""A browser could keep the page with a fresh API token, and show it again to whoever came next."""

from __future__ import annotations

from tests.regression.conftest import Portal


async def test_the_page_with_a_fresh_token_is_not_stored(portal: Portal):
    answer = await portal.http.post("/account/tokens", data={"name": "Home Assistant"})
    assert "data-secret" in answer.text
    assert answer.headers.get_list("cache-control") == ["no-store"]
    again = await portal.http.get("/account")
    assert again.headers["cache-control"] == "private, no-cache"

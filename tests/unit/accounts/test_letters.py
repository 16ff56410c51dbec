"""The inbox that takes the place of a mail server."""

from __future__ import annotations

import pytest

from tests.factories import SYSTEM
from voltyard.accounts import letters
from voltyard.kernel.actor import ANYONE
from voltyard.kernel.errors import NotFound
from voltyard.kernel.ids import new_id


async def test_the_latest_letters_are_kept(ctx, monkeypatch):
    monkeypatch.setattr(letters, "KEPT_MAX", 2)
    for number in range(3):
        await ctx.db.work(SYSTEM, letters.keep, "a@example.com", f"Subject {number}", "text", "<p>html</p>")
    found = await ctx.db.read(ANYONE, letters.list_letters)
    assert [each.subject for each in found] == ["Subject 2", "Subject 1"]
    assert await ctx.db.read(ANYONE, letters.get, found[0].id) == found[0]
    with pytest.raises(NotFound):
        await ctx.db.read(ANYONE, letters.get, new_id("let"))

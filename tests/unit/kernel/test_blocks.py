"""Rows of a subject are found however many blocks lie between them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.factories import SYSTEM
from voltyard.chargers.tables import calls
from voltyard.kernel import blocks


def fill(work, subjects: str) -> None:
    """Put in a row for each letter; its number is its place, from 1."""
    for number, letter in enumerate(subjects, 1):
        work.insert(
            calls, number=number, block=blocks.block_of(work, number), charger_id=letter, session_id="s",
            message_id="m", action="A", payload="{}", at=work.now,
        )  # fmt: skip


def found(work, subject: str, **how) -> list[int]:
    query = sa.select(calls.c.number).where(calls.c.charger_id == subject)
    if "after" in how:
        query = query.where(calls.c.number > how["after"])
    if "before" in how:
        query = query.where(calls.c.number < how["before"])
    return [row.number for row in blocks.look(work, calls, query, **({"limit": 100} | how))]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCKS", {True: 3, False: 3})
    monkeypatch.setattr(blocks, "LOOK_BLOCKS", 1)


async def test_a_rare_subject_is_found_from_either_end(ctx):
    await ctx.db.work(SYSTEM, fill, "r" + "b" * 50 + "r" + "b" * 9 + "r")

    async def looked(**how):
        return await ctx.db.read(SYSTEM, found, "r", **how)

    assert await looked() == [62, 52, 1]
    assert await looked(is_newest_first=False) == [1, 52, 62]
    assert await looked(limit=1) == [62]
    assert await looked(limit=2, is_newest_first=False) == [1, 52]
    assert await looked(before=62) == [52, 1]
    assert await looked(after=1, is_newest_first=False) == [52, 62]
    assert await looked(after=62) == []
    assert await ctx.db.read(SYSTEM, found, "nobody") == []


async def test_an_empty_table_holds_nothing(ctx):
    assert await ctx.db.read(SYSTEM, found, "r") == []

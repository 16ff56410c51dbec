"""Group commit: company without waiting, and a bad item that hurts only itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from voltyard.kernel.actor import Actor
from voltyard.kernel.batch import Batch
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Conflict, Unavailable
from voltyard.kernel.jobs import jobs
from voltyard.kernel.limits import BATCH_MAX


class Store:
    """Handles items by writing a row for each; what it was given and what it holds can be seen."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.is_inside = threading.Event()
        self.bad: dict[str, Exception] = {}

    def __call__(self, work: Work, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.is_inside.set()
        assert self.gate.wait(10)
        for item in items:
            if item in self.bad:
                raise self.bad[item]
            work.insert(jobs, id=item, kind="k", body="{}", run_at=work.now, tries=0)
        return [item.upper() for item in items]


@asynccontextmanager
async def running(
    ctx: Context, system: Actor, handle: Callable[..., Any], lanes: int = 1, **more: Any
) -> AsyncIterator[Batch[str, str]]:
    batch: Batch[str, str] = Batch(ctx.db, system, handle, lanes=lanes, **more)
    task = asyncio.create_task(batch.run())
    yield batch
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def stored(ctx: Context, system: Actor) -> set[str]:
    return set(await ctx.db.read(system, lambda work: [row.id for row in work.rows(sa.select(jobs.c.id))]))


async def inside(store: Store) -> None:
    """Wait until the store is busy with a batch."""
    async with asyncio.timeout(10):
        await asyncio.to_thread(store.is_inside.wait, 10)
    store.is_inside.clear()


async def test_a_single_item_is_committed_at_once_and_before_the_result(ctx, system):
    store = Store()
    async with running(ctx, system, store) as batch:
        assert await batch.join("a") == "A"
        assert await stored(ctx, system) == {"a"}
    assert store.batches == [["a"]]


async def test_what_arrives_together_shares_a_commit_and_results_keep_their_order(ctx, system):
    store = Store()
    async with running(ctx, system, store) as batch:
        results = await asyncio.gather(*(batch.join(f"i{number}") for number in range(50)))
    assert results == [f"I{number}" for number in range(50)]
    assert store.batches == [[f"i{number}" for number in range(50)]]


async def test_no_batch_is_larger_than_the_bound(ctx, system):
    store = Store()
    async with running(ctx, system, store) as batch:
        await asyncio.gather(*(batch.join(f"i{number}") for number in range(2 * BATCH_MAX + 5)))
    assert [len(each) for each in store.batches] == [BATCH_MAX, BATCH_MAX, 5]


async def test_what_arrives_while_one_commits_becomes_the_next_batch(sqlite_ctx, system):
    store = Store()
    store.gate.clear()
    async with running(sqlite_ctx, system, store) as batch:
        first = asyncio.create_task(batch.join("first"))
        await inside(store)
        others = [asyncio.create_task(batch.join(f"o{number}")) for number in range(20)]
        await asyncio.sleep(0)
        assert not first.done()
        store.gate.set()
        await asyncio.gather(first, *others)
    assert store.batches == [["first"], [f"o{number}" for number in range(20)]]


@pytest.mark.parametrize("wrong", [Conflict("no"), ValueError("odd"), Unavailable("later")])
async def test_a_failing_item_hurts_only_itself(ctx, system, wrong):
    store = Store()
    store.bad["bad"] = wrong
    async with running(ctx, system, store) as batch:
        results = await asyncio.gather(
            *(batch.join(item) for item in ("a", "bad", "b")), return_exceptions=True
        )
        assert results == ["A", wrong, "B"]
        assert await stored(ctx, system) == {"a", "b"}
        assert await batch.join("c") == "C", "the lane goes on"


async def test_an_item_that_breaks_a_rule_of_the_database_hurts_only_itself(ctx, system):
    async with running(ctx, system, Store()) as batch:
        await batch.join("twin")
        results = await asyncio.gather(batch.join("a"), batch.join("twin"), return_exceptions=True)
        assert results[0] == "A"
        assert isinstance(results[1], Conflict)


async def test_what_was_said_is_stored_even_if_the_one_who_asked_has_gone(sqlite_ctx, system):
    store = Store()
    store.gate.clear()
    async with running(sqlite_ctx, system, store) as batch:
        first = asyncio.create_task(batch.join("first"))
        await inside(store)
        waiting = asyncio.create_task(batch.join("gone"))
        await asyncio.sleep(0)
        waiting.cancel()
        first.cancel()
        store.gate.set()
        assert await batch.join("last") == "LAST"
        assert await stored(sqlite_ctx, system) == {"first", "gone", "last"}


async def test_a_failed_batch_is_not_repeated_for_those_who_have_gone(sqlite_ctx, system):
    store = Store()
    store.bad["bad"] = Unavailable("locked")
    store.gate.clear()
    async with running(sqlite_ctx, system, store) as batch:
        joining = [asyncio.create_task(batch.join(item)) for item in ("a", "bad", "b")]
        await inside(store)
        joining[0].cancel()
        await asyncio.sleep(0)
        store.gate.set()
        results = await asyncio.gather(*joining, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[2] == "B"
    assert store.batches == [["a", "bad", "b"], ["bad"], ["b"]]


async def test_several_lanes_commit_beside_one_another_where_the_database_can(ctx, system):
    store = Store()
    async with running(ctx, system, store, lanes=3) as batch:
        results = await asyncio.gather(*(batch.join(f"i{number}") for number in range(300)))
    assert results == [f"I{number}" for number in range(300)]
    assert sorted(item for each in store.batches for item in each) == sorted(f"i{n}" for n in range(300))


async def test_who_only_wants_to_be_told_is_told_of_success_and_of_failure(ctx, system):
    store = Store()
    store.bad["bad"] = Conflict("no")
    told: dict[str, Exception | None] = {}
    async with running(ctx, system, store) as batch:
        for item in ("a", "bad", "b"):
            batch.tell(item, partial(told.__setitem__, item))
        assert await batch.join("last") == "LAST"
    assert {item: type(wrong) for item, wrong in told.items()} == {
        "a": type(None), "bad": Conflict, "b": type(None),
    }  # fmt: skip
    assert await stored(ctx, system) == {"a", "b", "last"}


async def test_a_batch_that_waits_for_company_is_hurried_by_one_who_waits_and_by_its_own_size(ctx, system):
    store = Store()
    async with running(ctx, system, store, gather_s=3_600.0, most=3) as batch:
        batch.hurry()  # nothing is there yet: this hurries nobody
        first = batch.put("a")
        for _ in range(20):  # more turns of the loop than a batch without company would take
            await asyncio.sleep(0)
        assert store.batches == []
        batch.hurry()
        async with asyncio.timeout(10):
            assert await first == "A"
            assert await asyncio.gather(*(batch.join(item) for item in "bcd")) == ["B", "C", "D"]
    assert store.batches == [["a"], ["b", "c", "d"]]

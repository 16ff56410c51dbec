"""The worker keeps house while it holds the lease, and survives what goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from tests.factories import make_charger
from voltyard.chargers import calls
from voltyard.chargers.tables import calls as calls_table
from voltyard.kernel import leases
from voltyard.kernel.context import Context
from voltyard.kernel.db import DatabaseUnavailable
from voltyard.kernel.limits import CALL_LOG_DAYS
from voltyard.speech import Heard, VendorTold
from voltyard.worker import main as worker
from voltyard.worker.main import ACTOR, BEAT_S, HOUSEKEEPING

DAY_S = 24 * 3600


@asynccontextmanager
async def running(ctx: Context):
    is_ready = asyncio.Event()
    task = asyncio.create_task(worker.run(ctx, is_ready.set))
    await is_ready.wait()
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def count_calls(ctx: Context) -> int:
    return len(await ctx.db.read(ACTOR, lambda work: work.rows(calls_table.select())))


async def log_a_call(ctx: Context) -> None:
    charger = await make_charger(ctx)
    heard = Heard(charger.id, "s", "m", "DataTransfer", "{}", VendorTold("v"))
    await ctx.db.work(ACTOR, calls.log, [heard])


async def until_calls(ctx: Context, count: int) -> None:
    async with asyncio.timeout(10):
        while True:
            ctx.clock.advance(BEAT_S)
            if await count_calls(ctx) == count:
                return


async def test_old_calls_are_forgotten_and_young_ones_kept(ctx):
    await log_a_call(ctx)
    await worker.keep_house(ctx)
    assert await count_calls(ctx) == 1
    ctx.clock.advance((CALL_LOG_DAYS + 1) * DAY_S)
    await log_a_call(ctx)
    await worker.keep_house(ctx)
    assert await count_calls(ctx) == 1


async def test_housekeeping_goes_on_beat_after_beat(sqlite_ctx):
    async with running(sqlite_ctx):
        for _ in range(2):
            await log_a_call(sqlite_ctx)
            sqlite_ctx.clock.advance((CALL_LOG_DAYS + 1) * DAY_S)
            await until_calls(sqlite_ctx, 0)


async def test_while_another_holds_the_lease_nothing_is_done(sqlite_ctx):
    assert await sqlite_ctx.db.work(ACTOR, leases.take, HOUSEKEEPING, "another")
    await log_a_call(sqlite_ctx)
    sqlite_ctx.clock.advance((CALL_LOG_DAYS + 1) * DAY_S)
    assert await sqlite_ctx.db.work(ACTOR, leases.take, HOUSEKEEPING, "another")
    async with running(sqlite_ctx):
        for _ in range(3):
            sqlite_ctx.clock.advance(BEAT_S)
            assert await count_calls(sqlite_ctx) == 1
        await until_calls(sqlite_ctx, 0)  # the other one never renews: its lease runs out


class FailingDatabase:
    """A database that fails some times before it works."""

    def __init__(self, ctx: Context, faults: list[Exception]) -> None:
        self._ctx, self.faults = ctx, faults

    async def work(self, *args, **kwargs):
        if self.faults:
            raise self.faults.pop(0)
        return await self._ctx.db.work(*args, **kwargs)


@pytest.mark.parametrize("fault", [DatabaseUnavailable("locked"), RuntimeError("a bug")])
async def test_what_goes_wrong_is_tried_again_at_the_next_beat(sqlite_ctx, fault):
    ctx = sqlite_ctx
    await log_a_call(ctx)
    ctx.clock.advance((CALL_LOG_DAYS + 1) * DAY_S)
    database = FailingDatabase(ctx, [fault, fault])
    failing = Context(database, ctx.bus, ctx.clock, ctx.files, ctx.settings)
    async with running(failing) as task:
        await until_calls(ctx, 0)
        assert not task.done()
        assert not database.faults

"""One statement that failed for a new reason ended the worker, and with it every role of the process."""

from tests.unit.worker.test_main import FailingDatabase, running
from voltyard.kernel.context import Context
from voltyard.worker.main import BEAT_S


async def test_the_worker_outlives_a_fault_that_nobody_foresaw(sqlite_ctx):
    ctx = sqlite_ctx
    database = FailingDatabase(ctx, [RuntimeError("new"), RuntimeError("newer")])
    async with running(Context(database, ctx.bus, ctx.clock, ctx.files, ctx.settings)) as task:
        for _ in range(3):
            ctx.clock.advance(BEAT_S)
            await ctx.db.read(None, lambda work: work.now)
        assert not task.done()
        assert not database.faults

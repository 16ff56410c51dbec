"""Jobs are done once they are due, tried again when they fail, and parked when nothing would change."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from voltyard.kernel import jobs
from voltyard.kernel.context import Context
from voltyard.kernel.errors import Conflict, TooMany
from voltyard.kernel.limits import JOBS_AT_ONCE
from voltyard.kernel.wire import Message
from voltyard.worker.jobs import ACTOR, Jobs


class Note(Message, frozen=True):
    """Write this down."""

    text: str


@asynccontextmanager
async def working(ctx: Context, do):
    task = asyncio.create_task(Jobs(ctx, "here:1", {Note: do}).run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def rows(ctx: Context):
    return await ctx.db.read(ACTOR, lambda work: work.rows(jobs.jobs.select()))


async def until(ctx: Context, is_so) -> None:
    async with asyncio.timeout(10):
        while True:
            if is_so(await rows(ctx)):
                return


async def test_a_job_is_done_as_soon_as_it_is_committed_and_then_forgotten(ctx):
    done: list[str] = []

    async def do(_ctx: Context, note: Note) -> None:
        done.append(note.text)

    async with working(ctx, do):
        await ctx.db.work(ACTOR, jobs.enqueue, Note("one"))
        await until(ctx, lambda left: not left and done == ["one"])


@pytest.mark.parametrize(
    ("wrong", "is_parked"), [(ValueError("x"), False), (Conflict("x"), True), (TooMany("x"), False)]
)
async def test_a_failure_is_tried_again_and_a_refusal_is_parked(ctx, wrong, is_parked):
    async def do(_ctx: Context, _note: Note) -> None:
        raise wrong

    async with working(ctx, do):
        await ctx.db.work(ACTOR, jobs.enqueue, Note("bad"))
        await until(ctx, lambda left: left and left[0].error is not None)
        (row,) = await rows(ctx)
        assert (row.parked_at is not None) is is_parked


async def test_a_bounded_number_of_jobs_is_done_at_a_time(ctx):
    now, most = 0, 0
    gate = asyncio.Event()

    async def do(_ctx: Context, _note: Note) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await gate.wait()
        now -= 1

    def many(work) -> None:
        for number in range(JOBS_AT_ONCE + 5):
            jobs.enqueue(work, Note(str(number)))

    await ctx.db.work(ACTOR, many)
    async with working(ctx, do):
        await until(ctx, lambda _left: now >= JOBS_AT_ONCE)
        gate.set()
        await until(ctx, lambda left: not left)
    assert most == JOBS_AT_ONCE

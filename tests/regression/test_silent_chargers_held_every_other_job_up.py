"""A fleet that booted at once and gave no answers took every place of the worker, for hours.

Cards were withdrawn, reservations ended, runs were carried on only after all of them had been waited for.
"""

import asyncio
from contextlib import suppress

from voltyard.kernel import jobs
from voltyard.kernel.limits import JOBS_AT_ONCE, JOBS_PATIENT_AT_ONCE
from voltyard.kernel.wire import Message
from voltyard.worker.jobs import ACTOR, JOBS, PATIENT, Jobs


class AskSilent(Message, frozen=True):
    """Wait for a charger that gives no answer."""

    number: int


class Urgent(Message, frozen=True):
    """Somebody waits for this."""


async def test_what_somebody_waits_for_is_done_beside_what_waits_for_chargers(ctx):
    waiting, gate, is_done = 0, asyncio.Event(), asyncio.Event()
    are_many, are_all = asyncio.Event(), asyncio.Event()

    async def ask(_ctx, _message: AskSilent) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == JOBS_PATIENT_AT_ONCE:
            are_many.set()
        await gate.wait()
        if waiting == 2 * JOBS_AT_ONCE:
            are_all.set()

    async def urgent(_ctx, _message: Urgent) -> None:
        is_done.set()

    def storm(work) -> None:
        jobs.enqueue_many(work, [(AskSilent(each), 0.0, f"{each}") for each in range(2 * JOBS_AT_ONCE)])

    await ctx.db.work(ACTOR, storm)
    task = asyncio.create_task(Jobs(ctx, "here:1", {AskSilent: ask, Urgent: urgent}, {"AskSilent"}).run())
    async with asyncio.timeout(20):
        await are_many.wait()
        await ctx.db.work(ACTOR, jobs.enqueue, Urgent())
        await is_done.wait()
        assert waiting == JOBS_PATIENT_AT_ONCE
        gate.set()
        await are_all.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_patient_jobs_are_known_ones():
    assert PATIENT.issubset(kind.__name__ for kind in JOBS)

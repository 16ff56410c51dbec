"""Durable jobs, on both databases: done at least once, by one worker at a time, and never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.fixtures import context
from voltyard.kernel import jobs
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.ids import is_id
from voltyard.kernel.jobs import CLAIM_S, PAUSES_S, Job
from voltyard.kernel.limits import JOB_TRIES_MAX
from voltyard.kernel.settings import Settings
from voltyard.kernel.wire import Message, decode

ACTOR: Actor = system("test")
MANY = 300
CLAIMANTS = ("anna", "ben", "carla", "dan")
ANNA, BEN, *_ = CLAIMANTS


class Errand(Message, frozen=True):
    """Something to do."""

    what: str = ""


class Broken(Exception):
    """A Work that changes its mind."""


async def enqueue(ctx: Context, what: str = "", **options: Any) -> str:
    return await ctx.db.work(ACTOR, jobs.enqueue, Errand(what), **options)


async def claim(ctx: Context, worker: str = ANNA, most: int = 10) -> list[Job]:
    return await ctx.db.work(ACTOR, jobs.claim, worker, most=most)


async def claim_one(ctx: Context, worker: str = ANNA) -> Job:
    (job,) = await claim(ctx, worker)
    return job


async def done(ctx: Context, job: Job, worker: str = ANNA) -> bool:
    return await ctx.db.work(ACTOR, jobs.done, job.id, worker)


async def fail(ctx: Context, job: Job, worker: str = ANNA, **options: Any) -> None:
    await ctx.db.work(ACTOR, jobs.failed, job, worker, "it rained", **options)


async def row(ctx: Context, job_id: str) -> sa.Row[Any] | None:
    return await ctx.db.read(
        ACTOR, lambda work: work.row(sa.select(jobs.jobs).where(jobs.jobs.c.id == job_id))
    )


async def count(ctx: Context) -> int:
    return await ctx.db.read(
        ACTOR, lambda work: work.value(sa.select(sa.func.count()).select_from(jobs.jobs))
    )


def whats(claimed: list[Job]) -> list[str]:
    return [decode(job.body, Errand).what for job in claimed]


# --- claiming -------------------------------------------------------------------------------------


async def test_a_job_comes_to_its_worker_as_it_was_stored(ctx: Context):
    job_id = await enqueue(ctx, "water the plants")
    job = await claim_one(ctx)
    assert is_id("job", job_id)
    assert (job.id, job.kind, job.tries) == (job_id, "Errand", 1)
    assert decode(job.body, Errand) == Errand("water the plants")


async def test_four_who_claim_at_the_same_time_never_get_the_same_job(ctx: Context):
    def enqueue_many(work: Work) -> set[str]:
        return {jobs.enqueue(work, Errand(str(number))) for number in range(MANY)}

    async def claim_all(worker: str) -> list[str]:
        mine: list[str] = []
        while some := await claim(ctx, worker, most=7):
            assert len(some) <= 7
            mine += [job.id for job in some]
        return mine

    stored = await ctx.db.work(ACTOR, enqueue_many)
    shares = await asyncio.gather(*(claim_all(worker) for worker in CLAIMANTS))
    claimed = [job_id for share in shares for job_id in share]
    assert len(claimed) == MANY
    assert set(claimed) == stored


async def test_nobody_gets_more_than_asked_for_whatever_the_planner_believes(ctx: Context):
    await enqueue(ctx)
    # From now on PostgreSQL believes that the table has one row, as it mostly has, and joins accordingly.
    await ctx.db.work(ACTOR, lambda work: work.run(sa.text("analyze jobs")))
    for _ in range(20):
        await enqueue(ctx)
    assert len(await claim(ctx, most=1)) == 1
    assert len(await claim(ctx, most=5)) == 5


async def test_a_job_is_due_only_after_its_delay(ctx: Context, clock: FakeClock):
    await enqueue(ctx, delay_s=60)
    clock.advance(59.999)
    assert await claim(ctx) == []
    clock.advance(0.001)
    assert len(await claim(ctx)) == 1


async def test_what_was_due_first_is_claimed_first(ctx: Context, clock: FakeClock):
    for delay_s in (30, 10, 20, 0):
        await enqueue(ctx, str(delay_s), delay_s=delay_s)
        clock.advance(0.001)
    clock.advance(60)
    assert whats(await claim(ctx, most=3)) == ["0", "10", "20"]
    assert whats(await claim(ctx)) == ["30"]


async def test_a_job_that_is_done_is_forgotten(ctx: Context, clock: FakeClock):
    await enqueue(ctx)
    job = await claim_one(ctx)
    assert await done(ctx, job)
    assert await count(ctx) == 0
    assert not await done(ctx, job)


# --- claims that run out --------------------------------------------------------------------------


async def test_a_claim_runs_out_and_another_worker_takes_the_job(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    await claim(ctx, ANNA)
    clock.advance(CLAIM_S)
    assert await claim(ctx, BEN) == []
    clock.advance(0.001)
    job = await claim_one(ctx, BEN)
    assert (job.id, job.tries) == (job_id, 2)
    assert await claim(ctx, ANNA) == []


async def test_a_worker_that_lost_its_claim_can_neither_end_nor_fail_the_job(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    lost = await claim_one(ctx, ANNA)
    clock.advance(CLAIM_S + 1)
    held = await claim_one(ctx, BEN)
    before = await row(ctx, job_id)
    assert not await done(ctx, lost, ANNA)
    await fail(ctx, lost, ANNA)
    await fail(ctx, lost, ANNA, is_final=True)
    assert await row(ctx, job_id) == before
    assert await done(ctx, held, BEN)


async def test_a_worker_that_was_slow_but_lost_nothing_may_end_its_job(ctx: Context, clock: FakeClock):
    await enqueue(ctx)
    job = await claim_one(ctx)
    clock.advance(CLAIM_S + 1)
    assert await done(ctx, job)


async def test_a_job_that_nobody_claimed_is_done_by_nobody(ctx: Context):
    job_id = await enqueue(ctx)
    assert not await done(ctx, Job(job_id, "Errand", "{}", 1))
    assert await count(ctx) == 1


async def test_a_job_that_kills_its_workers_is_parked_in_the_end(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    for tries in range(1, JOB_TRIES_MAX + 1):
        job = await claim_one(ctx)
        assert job.tries == tries
        clock.advance(CLAIM_S + 1)
    assert await claim(ctx) == []
    parked = await row(ctx, job_id)
    assert (parked.parked_at, parked.error) == (clock.now(), jobs.LOST)
    assert await done(ctx, job), "the last of its workers was only slow"


async def test_why_a_job_failed_is_kept_when_its_last_worker_is_lost(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    for _ in range(JOB_TRIES_MAX - 1):
        await fail(ctx, await claim_one(ctx))
        clock.advance(PAUSES_S[-1])
    await claim_one(ctx)
    clock.advance(CLAIM_S + 1)
    assert await claim(ctx) == []
    parked = await row(ctx, job_id)
    assert (parked.parked_at, parked.error) == (clock.now(), "it rained")


# --- failures -------------------------------------------------------------------------------------


async def test_a_job_that_failed_is_tried_again_after_pauses_that_grow(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    pauses_s = []
    for tries in range(1, JOB_TRIES_MAX):
        job = await claim_one(ctx)
        assert job.tries == tries
        await fail(ctx, job)
        waiting = await row(ctx, job_id)
        assert (waiting.claimed_by, waiting.claimed_until, waiting.parked_at) == (None, None, None)
        assert waiting.error == "it rained"
        pauses_s.append((waiting.run_at - clock.now()).total_seconds())
        clock.advance(pauses_s[-1] - 0.001)
        assert await claim(ctx, BEN) == []
        clock.advance(0.001)
    assert pauses_s == sorted(set(pauses_s))
    assert tuple(pauses_s) == PAUSES_S


async def test_a_job_is_parked_after_too_many_tries(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    for _ in range(JOB_TRIES_MAX):
        assert (await row(ctx, job_id)).parked_at is None
        await fail(ctx, await claim_one(ctx))
        clock.advance(PAUSES_S[-1])
    parked = await row(ctx, job_id)
    assert parked.parked_at == clock.now() - timedelta(seconds=PAUSES_S[-1])
    assert (parked.tries, parked.error) == (JOB_TRIES_MAX, "it rained")
    clock.advance(365 * 24 * 3600)
    assert await claim(ctx) == []


async def test_a_job_that_can_never_work_is_parked_at_once(ctx: Context, clock: FakeClock):
    job_id = await enqueue(ctx)
    await fail(ctx, await claim_one(ctx), is_final=True)
    assert (await row(ctx, job_id)).parked_at == clock.now()
    clock.advance(PAUSES_S[-1])
    assert await claim(ctx) == []


async def test_one_that_fails_holds_up_no_other(ctx: Context):
    first, second = await enqueue(ctx, "first"), await enqueue(ctx, "second")
    claimed = await claim(ctx, most=1)
    await fail(ctx, claimed[0])
    assert {claimed[0].id, (await claim_one(ctx)).id} == {first, second}


# --- one transaction ------------------------------------------------------------------------------


async def test_a_job_is_rolled_back_with_its_work_and_nobody_is_woken(ctx: Context):
    def change_mind(work: Work) -> None:
        jobs.enqueue(work, Errand("one"))
        jobs.enqueue(work, Errand("two"), key="k")
        raise Broken

    listening = await ctx.bus.listen("wake.>", queue_max=10)
    with pytest.raises(Broken):
        await ctx.db.work(ACTOR, change_mind)
    assert await count(ctx) == 0
    await ctx.bus.publish("wake.test", jobs.Wake())
    async with asyncio.timeout(5):
        assert (await listening.next())[0] == "wake.test"
    await enqueue(ctx, "two", key="k")
    assert whats(await claim(ctx)) == ["two"]


async def test_who_waits_for_jobs_is_woken_after_the_commit(ctx: Context):
    listening = await ctx.bus.listen(jobs.WAKE, queue_max=10)
    await enqueue(ctx)
    async with asyncio.timeout(5):
        assert await listening.next() == (jobs.WAKE, jobs.Wake())
    assert len(await claim(ctx)) == 1


async def test_a_claim_that_is_rolled_back_never_was(ctx: Context):
    def claim_and_fall(work: Work) -> None:
        assert len(jobs.claim(work, ANNA)) == 1
        raise Broken

    await enqueue(ctx, key="k")
    with pytest.raises(Broken):
        await ctx.db.work(ACTOR, claim_and_fall)
    assert (await claim_one(ctx, BEN)).tries == 1


# --- keys -----------------------------------------------------------------------------------------


async def test_a_key_makes_a_job_once_while_it_waits(ctx: Context):
    first = await enqueue(ctx, "first", key="k")
    assert await enqueue(ctx, "second", key="k", delay_s=60) == first
    other = await enqueue(ctx, "other", key="l")
    assert other != first
    assert whats(await claim(ctx)) == ["first", "other"]


async def test_jobs_without_a_key_are_all_stored(ctx: Context):
    assert len({await enqueue(ctx) for _ in range(3)}) == 3
    assert len(await claim(ctx)) == 3


async def test_many_who_enqueue_with_one_key_at_once_make_one_job(ctx: Context):
    assert len(set(await asyncio.gather(*(enqueue(ctx, key="k") for _ in range(8))))) == 1
    assert await count(ctx) == 1


async def test_a_job_that_is_being_run_does_not_swallow_news(ctx: Context):
    first = await enqueue(ctx, "first", key="k")
    running = await claim_one(ctx)
    news = await enqueue(ctx, "news", key="k")
    assert news != first
    assert await enqueue(ctx, "the same news", key="k") == news
    assert await done(ctx, running)
    assert whats(await claim(ctx)) == ["news"]


async def test_a_job_that_is_tried_again_does_not_swallow_news(ctx: Context, clock: FakeClock):
    await enqueue(ctx, "first", key="k")
    await fail(ctx, await claim_one(ctx))
    await enqueue(ctx, "news", key="k")
    clock.advance(PAUSES_S[0])
    assert sorted(whats(await claim(ctx))) == ["first", "news"]


async def test_a_parked_job_does_not_swallow_news(ctx: Context):
    await enqueue(ctx, "first", key="k")
    await fail(ctx, await claim_one(ctx), is_final=True)
    await enqueue(ctx, "news", key="k")
    assert whats(await claim(ctx)) == ["news"]


# --- keys, where several write at once ------------------------------------------------------------


@asynccontextmanager
async def unfinished(
    url: str, clock: FakeClock, act: Callable[[Work], object]
) -> AsyncIterator[AsyncConnection]:
    """Run an act in a transaction that stays open, as of another process that has not committed yet."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        await connection.run_sync(lambda plain: act(Work(plain, clock.now(), ACTOR)))
        yield connection
    await engine.dispose()


async def test_a_job_is_not_claimed_while_somebody_adds_news_to_it(
    postgres_url: str, clock: FakeClock, bus: LocalBus, settings: Settings
):
    async for ctx in context(postgres_url, clock, bus, settings):
        first = await enqueue(ctx, "first", key="k")
        adding = unfinished(postgres_url, clock, lambda work: jobs.enqueue(work, Errand("news"), key="k"))
        async with adding as other:
            # Whoever ran it now would not see what the other transaction stored, and news would be lost.
            assert await claim(ctx) == []
            await other.commit()
        assert (await claim_one(ctx)).id == first


async def test_news_waits_for_a_claim_under_way_and_is_then_a_job_of_its_own(
    postgres_url: str, clock: FakeClock, bus: LocalBus, settings: Settings
):
    waiting = sa.text("select count(*) from pg_locks where not granted")
    async for ctx in context(postgres_url, clock, bus, settings):
        first = await enqueue(ctx, "first", key="k")
        async with unfinished(postgres_url, clock, lambda work: jobs.claim(work, ANNA)) as other:
            adding = asyncio.create_task(enqueue(ctx, "news", key="k"))
            async with asyncio.timeout(10):
                while not (await other.execute(waiting)).scalar():
                    assert not adding.done()
            await other.commit()
        assert await adding != first
        assert whats(await claim(ctx, BEN)) == ["news"]


async def test_many_jobs_are_stored_at_once_and_one_that_waits_already_stays(ctx: Context, clock: FakeClock):
    await enqueue(ctx, "first", key="b", delay_s=5)
    asked = [(Errand(name), 1.0, name) for name in "abc"]
    await ctx.db.work(ACTOR, jobs.enqueue_many, asked)
    clock.advance(1)
    assert sorted(decode(job.body, Errand).what for job in await claim(ctx)) == ["a", "c"]
    clock.advance(4)
    assert [decode(job.body, Errand).what for job in await claim(ctx)] == ["first"]
    # What was claimed waits no longer: the same keys again are new jobs.
    await ctx.db.work(ACTOR, jobs.enqueue_many, asked)
    clock.advance(1)
    assert len(await claim(ctx)) == 3


async def test_no_jobs_are_no_statement(ctx: Context):
    await ctx.db.work(ACTOR, jobs.enqueue_many, [])
    assert await claim(ctx) == []

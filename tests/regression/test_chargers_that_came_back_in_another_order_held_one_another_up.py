"""When a network failed, good-byes and new hellos locked the same rows in different orders, and hung.

PostgreSQL lets such Works wait for a second before it ends one of them. Rows of many chargers are written in
the order of their ids now, whatever order they came in.
"""

import asyncio

import pytest
import sqlalchemy as sa

from tests.factories import SYSTEM, make_charger, make_location, place_of
from voltyard.central import desk
from voltyard.chargers import service as chargers
from voltyard.kernel import jobs
from voltyard.kernel.ids import new_id
from voltyard.local_lists.events import SyncList
from voltyard.speech import Booted, Gone, Hello

MANY, ROUNDS = 40, 6


@pytest.fixture
async def fleet(ctx):
    location = await make_location(ctx)
    return [await make_charger(ctx, location.id) for _ in range(MANY)]


async def side_by_side(ctx, *works) -> None:
    """Do Works at the same time; none of them may have to be run again."""
    tries = []

    def act(work, do, *arguments) -> None:
        tries.append(do)
        do(work, *arguments)

    await asyncio.gather(*(ctx.db.work(SYSTEM, act, *each) for each in works))
    assert len(tries) == len(works)


async def test_those_who_go_and_those_who_come_do_not_wait_for_one_another(ctx, fleet):
    key = ctx.settings.secret_key()

    def come(work, some) -> None:
        hellos = [
            Hello(each.identity, new_id("soc"), "gateway", "ocpp1.6", "192.0.2.1", None) for each in some
        ]
        chargers.connect(work, hellos, key=key, is_holding=False)

    def speak(work, some) -> None:
        chargers.boot(work, [(place_of(each), Booted("Acme", "X")) for each in some])
        chargers.seen(work, [each.id for each in some])

    def go(work, some) -> None:
        desk._disconnect(work, [Gone(each.id, "soc", "") for each in some])

    await ctx.db.work(SYSTEM, come, fleet)
    turned = fleet[MANY // 2 :] + fleet[: MANY // 2]
    for _ in range(ROUNDS):
        await side_by_side(ctx, (come, fleet), (speak, fleet[::-1]), (go, turned), (speak, fleet))


async def test_the_same_jobs_may_be_wanted_in_any_order(ctx):
    def want(work, names) -> None:
        jobs.enqueue_many(work, [(SyncList(name), 0.0, name) for name in names])

    names = [f"job-{number:03}" for number in range(200)]
    for _ in range(ROUNDS):
        await side_by_side(ctx, (want, names), (want, names[::-1]))
        await ctx.db.work(SYSTEM, lambda work: work.run(sa.delete(jobs.jobs)))

"""How long the log of calls and what operators were told are kept: by age, and by how much room they take.

The log is what operators are fed from. So what one of them was not told yet goes last: readings after all
that nobody waits for, starts and stops by age only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from voltyard.chargers import calls
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.operators import deliveries_store
from voltyard.operators import retention_store as store

ACTOR: Final = system("retention")
STEP: Final = 5_000
RECENT: Final = timedelta(hours=1)
"""What is no older than this stays, however large the log: one silent operator must not cost all others
theirs.
"""


def find_spare(work: Work, *, bytes_max: int) -> list[int]:
    """Return the calls that go next, oldest first, if the log takes more room than this.

    The log may stay larger where only starts and stops are left that somebody waits for, and what was said
    within the last hour. Only looks: what is found may be searched for long in a large log.
    """
    if calls.size(work) <= bytes_max:  # at most that much: what lies before gaps counts as well
        return []
    before_at = work.now - RECENT
    free = store.first_free(work, STEP, before_at=before_at)
    owed = store.count_before(work, free[0] if free else None)
    if calls.size(work, first=free[0] if free else None, beside=owed) <= bytes_max:
        return []
    return free or store.first_owed_readings(work, STEP, before_at=before_at)


async def prune(ctx: Context, *, days: int, bytes_max: int) -> None:
    """Forget the calls that are too old, then those that are too many, in bites that hold nobody up."""
    while await ctx.db.work(ACTOR, calls.forget_old, days=days):
        pass
    # What an operator is told between the look and this does not need it any more.
    while spare := await ctx.db.read(ACTOR, find_spare, bytes_max=bytes_max):
        await ctx.db.work(ACTOR, calls.forget, spare)


def forget_deliveries(work: Work, *, days: int, bytes_max: int) -> int:
    """Forget some of what operators were told that is too old or too much; return how many."""
    old = deliveries_store.delete_old(work, work.now - timedelta(days=days), STEP)
    if old or deliveries_store.size(work) <= bytes_max:
        return old
    return deliveries_store.delete_old(work, work.now, STEP)

"""How long the log of calls and what operators were told are kept: by age, and by how much room they take.

The log is what operators are fed from. So what one of them was not told yet goes last: readings after all
that nobody waits for, starts and stops by age only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from voltyard.chargers import calls
from voltyard.kernel.db import Work
from voltyard.operators import deliveries_store
from voltyard.operators import retention_store as store

STEP: Final = 5_000


def prune(work: Work, *, days: int, bytes_max: int) -> int:
    """Forget some of the calls that are too old or too many; return how many, 0 when none are left to forget.

    The log may stay larger than ``bytes_max`` where only starts and stops are left that somebody waits for.
    """
    if old := calls.forget_old(work, days=days):
        return old
    free = store.first_free(work, STEP)
    owed = store.count_before(work, free[0] if free else None)
    if calls.size(work, first=free[0] if free else None, beside=owed) <= bytes_max:
        return 0
    return calls.forget(work, free or store.first_owed_readings(work, STEP))


def forget_deliveries(work: Work, *, days: int, bytes_max: int) -> int:
    """Forget some of what operators were told that is too old or too much; return how many."""
    old = deliveries_store.delete_old(work, work.now - timedelta(days=days), STEP)
    if old or deliveries_store.size(work) <= bytes_max:
        return old
    return deliveries_store.delete_old(work, work.now, STEP)

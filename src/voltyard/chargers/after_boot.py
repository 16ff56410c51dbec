"""What is done with a charger's parameters after it has started: send what waits, read, find drift.

A boot is never held up: it only leaves a job, which waits some seconds so that the charger can get going.
A charger that restarts all the time is read once an hour at most, unless something waits for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from voltyard.chargers import parameters, setup
from voltyard.chargers import parameters_store as store
from voltyard.chargers.service import Place
from voltyard.kernel import jobs
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.wire import Message
from voltyard.speech import Booted

DELAY_S = 10.0
"""How long a charger is left alone after its boot …"""
SPREAD_S = 20.0
"""… and by how much more, lest a house full of chargers be read in the same second after a power cut."""
BETWEEN = timedelta(hours=1)
"""How long a charger is not read again, however often it restarts."""
FIRMWARE_LENGTH = 120


class LookAfterBoot(Message, frozen=True):
    """Job: see to the parameters of a charger that has started."""

    charger_id: str


def booted(work: Work, items: Sequence[tuple[Place, Booted]]) -> None:
    """Have the parameters of claimed chargers looked at soon, where there is a reason to."""
    firmware = {
        place.charger_id: (said.firmware or "")[:FIRMWARE_LENGTH]
        for place, said in items
        if place.location_id is not None
    }
    if not firmware:
        return
    known = store.find_reads(work, firmware)
    restarted = [key for key, row in known.items() if row.reboot_required_at is not None]
    if restarted:
        store.clear_reboots(work, restarted)
    due = [
        (LookAfterBoot(charger_id), delay_s(charger_id), f"after-boot:{charger_id}")
        for charger_id, row in known.items()
        if _is_due(row, firmware[charger_id], work.now)
    ]
    if due:
        jobs.enqueue_many(work, due)


def _is_due(row: Any, firmware: str, now: datetime) -> bool:
    return (
        row.tried_at is None
        or row.has_pending
        or row.reboot_required_at is not None
        or row.tried_at <= now - BETWEEN
        or (row.claimed_at is not None and row.tried_at < row.claimed_at)
        or (row.firmware or "") != firmware
    )


def delay_s(charger_id: str) -> float:
    """Return how long to wait after a boot: the same for one charger, spread over many."""
    return DELAY_S + SPREAD_S * (zlib.crc32(charger_id.encode()) % 1000) / 1000


async def look(ctx: Context, job: LookAfterBoot) -> None:
    """Do the job: send what waits, read all, and recommend once; for one that has gone, at its next boot."""
    state = await ctx.db.read(parameters.ACTOR, store.find_charger, job.charger_id)
    if state is None or state.location_id is None:
        return
    await parameters.send_pending(ctx, job.charger_id)
    if await parameters.read_quietly(ctx, job.charger_id):
        await setup.apply_recommended(ctx, job.charger_id)

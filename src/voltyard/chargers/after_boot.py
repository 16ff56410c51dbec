"""What is done with a charger's parameters after it has started: send what waits, read, find drift.

A boot is never held up: it only leaves a job, which waits some seconds so that the charger can get going,
and some minutes where nothing is new. A charger that restarts all the time is read once an hour at most,
unless something waits for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import timedelta
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
"""… and by how much more, lest a house full of chargers be read in the same second after a power cut …"""
LATER_SPREAD_S = 600.0
"""… and where there is no news of the charger, only a look whether somebody changed something."""
BETWEEN = timedelta(hours=1)
"""How long a charger is not read again, however often it restarts."""
FIRMWARE_LENGTH = 120
HEARTBEAT_S_MIN, HEARTBEAT_S_MAX = 10, 86_400


class LookAfterBoot(Message, frozen=True):
    """Job: see to the parameters of a charger that has started."""

    charger_id: str


def booted(work: Work, items: Sequence[tuple[Place, Booted]]) -> dict[str, int]:
    """Have the parameters of claimed chargers looked at soon, where there is a reason to.

    Returns: the heartbeat in seconds that somebody wants of a charger, by its id. The answer to a boot sets
    the parameter (OCPP 1.6 §4.2), so another answer would undo at each boot what was saved.
    """
    firmware = {
        place.charger_id: (said.firmware or "")[:FIRMWARE_LENGTH]
        for place, said in items
        if place.location_id is not None
    }
    if not firmware:
        return {}
    known = store.find_reads(work, firmware)
    restarted = [key for key, row in known.items() if row.reboot_required_at is not None]
    if restarted:
        store.clear_reboots(work, restarted)
    due: list[tuple[Message, float, str]] = []
    for charger_id, row in known.items():
        if row.reboot_required_at is not None or _is_new(row, firmware[charger_id]):
            due.append((LookAfterBoot(charger_id), delay_s(charger_id), f"after-boot:{charger_id}"))
        elif row.tried_at <= work.now - BETWEEN:
            wait_s = delay_s(charger_id, LATER_SPREAD_S)
            due.append((LookAfterBoot(charger_id), wait_s, f"after-boot-later:{charger_id}"))
    if due:
        jobs.enqueue_many(work, due)
    wanted = {charger_id: _heartbeat_s(row.heartbeat) for charger_id, row in known.items()}
    return {charger_id: heartbeat_s for charger_id, heartbeat_s in wanted.items() if heartbeat_s}


def _heartbeat_s(desired: str | None) -> int:
    """Return a heartbeat that somebody wants if it can be, else 0."""
    plain = (desired or "").strip()
    seconds = int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 7 else 0
    return seconds if HEARTBEAT_S_MIN <= seconds <= HEARTBEAT_S_MAX else 0


def _is_new(row: Any, firmware: str) -> bool:
    """Say whether a charger was not read as it is now, or something waits for it."""
    return bool(
        row.tried_at is None
        or row.has_pending
        or (row.claimed_at is not None and row.tried_at < row.claimed_at)
        or (row.firmware or "") != firmware
    )


def delay_s(charger_id: str, spread_s: float = SPREAD_S) -> float:
    """Return how long to wait after a boot: the same for one charger, spread over many."""
    return DELAY_S + spread_s * (zlib.crc32(charger_id.encode()) % 1000) / 1000


async def look(ctx: Context, job: LookAfterBoot) -> None:
    """Do the job: send what waits, read all, and recommend once; for one that has gone, at its next boot."""
    if not await ctx.db.read(parameters.ACTOR, _is_wanted, job.charger_id):
        return
    saving = await parameters.send_pending(ctx, job.charger_id)
    if await setup.restart_for(ctx, job.charger_id, saving):
        return  # it boots again, and is read then
    if await parameters.read_quietly(ctx, job.charger_id):
        await setup.apply_recommended(ctx, job.charger_id)


def _is_wanted(work: Work, charger_id: str) -> bool:
    """Say whether to do the job at all: the charger may have moved, or been read since by somebody else."""
    state = store.find_charger(work, charger_id)
    if state is None or state.location_id is None:
        return False
    row = store.find_reads(work, [charger_id])[charger_id]
    is_read = state.read_at is not None and state.booted_at is not None and state.read_at > state.booted_at
    return _is_new(row, state.firmware or "") or not is_read

"""The worker's loop. It remembers nothing: what is due stands in the database."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from voltyard.accounts import proofs
from voltyard.accounts import service as accounts
from voltyard.chargers import certificates, commands, findings, runs, security, transfers
from voltyard.chargers import service as chargers
from voltyard.kernel import leases
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.limits import LEASE_BEAT_S
from voltyard.kernel.log import logger
from voltyard.operators import retention
from voltyard.worker.jobs import Jobs

ACTOR = system("worker")
HOUSEKEEPING = "housekeeping"
BEAT_S = LEASE_BEAT_S
GIB = 1024**3


async def keep_house(ctx: Context) -> None:
    """Do one round of housekeeping, each step in a Work of its own."""
    await ctx.db.work(ACTOR, commands.expire_left_over)
    await ctx.db.work(ACTOR, accounts.forget_old_sessions)
    await ctx.db.work(ACTOR, proofs.forget_old)
    await ctx.db.work(ACTOR, chargers.forget_old_tries)
    while await ctx.db.work(ACTOR, chargers.forget_left):
        pass
    kept = {"days": ctx.settings.call_log_days, "bytes_max": int(ctx.settings.call_log_gib * GIB)}
    await retention.prune(ctx, **kept)
    while await ctx.db.work(ACTOR, retention.forget_deliveries, **kept):
        pass
    await transfers.forget_old(ctx)
    while await ctx.db.work(ACTOR, commands.forget_own):
        pass
    while await ctx.db.work(ACTOR, runs.forget_old):
        pass
    while await ctx.db.work(ACTOR, findings.forget_old):
        pass
    while await ctx.db.work(ACTOR, security.forget_old):
        pass
    while await ctx.db.work(ACTOR, certificates.renew_due):
        pass


async def run(ctx: Context, ready: Callable[[], None]) -> None:
    """Do jobs, and keep house on a beat while this process holds the lease, until cancelled."""
    holder = f"{socket.gethostname()}:{os.getpid()}"[:64]
    async with asyncio.TaskGroup() as group:
        group.create_task(Jobs(ctx, holder).run())
        group.create_task(_keep_house(ctx, holder))
        ready()


async def _keep_house(ctx: Context, holder: str) -> None:
    log = logger("worker")
    while True:
        try:
            if await ctx.db.work(ACTOR, leases.take, HOUSEKEEPING, holder):
                await keep_house(ctx)
        except VoltyardError as wrong:
            log.warning("housekeeping put off", why=str(wrong))
        except Exception:  # what is due is still due at the next beat
            log.exception("housekeeping failed")
        await ctx.clock.sleep(BEAT_S)

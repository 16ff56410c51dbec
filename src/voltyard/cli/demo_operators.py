"""The operators of the demo: back offices on this machine, and one that nobody answers for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from voltyard.kernel.actor import Actor
from voltyard.kernel.context import Context
from voltyard.kernel.errors import VoltyardError
from voltyard.operators import service as operators
from voltyard.operators.service import Wanted
from voltyard.sim.backoffice import AskFailed, Backoffice
from voltyard.sim.operator import Manner, Operator
from voltyard.speech import Fallback, Role

BILLING: Final = "Chargewell"
WATCHING: Final = "Gridwatch"
ABSENT: Final = "Fleetlog"
NOBODY: Final = "ws://127.0.0.1:9/ocpp"
"""An address at which nobody listens."""
BILLED: Final = ("VY-PUBLIC-01", "VY-PUBLIC-02")
WATCHED: Final = (*BILLED, "VY-OFFICE-01")
LIMITED: Final = "VY-OFFICE-01"
LIMIT_A: Final = 20.0
TOLD: Final = (
    f"{BILLING} bills and {WATCHING} watches at {BILLED[0]}: Operators. "
    f"{ABSENT} cannot be reached at {BILLED[1]}.\n  {WATCHING} limits {LIMITED} to {LIMIT_A:g} A."
)
LOOK_S: Final = 1.0
TRIES: Final = 60


@asynccontextmanager
async def offices(ctx: Context, owner: Actor, ids: Mapping[str, str]) -> AsyncIterator[None]:
    """Open the back offices, and connect them to chargers of the demo."""
    bill = Operator(Manner(first_number=40_001))
    watch = Operator(Manner(first_number=7))
    async with Backoffice(bill) as billing, Backoffice(watch) as watching:
        for identity in WATCHED:
            wanted = [Wanted(name=WATCHING, url=watching.url, role=Role.DATA_CONTROL)]
            if identity in BILLED:
                rule = Fallback.LOCATION_CARDS
                wanted.append(Wanted(name=BILLING, url=billing.url, role=Role.BILLING, fallback=rule))
            if identity == BILLED[-1]:
                wanted.append(Wanted(name=ABSENT, url=NOBODY, role=Role.OBSERVER))
            for each in wanted:
                await ctx.db.work(owner, operators.connect, ids[identity], each, ctx.settings)
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(_play(ctx, watching))
            try:
                yield
            finally:
                playing.cancel()


async def _play(ctx: Context, watching: Backoffice) -> None:
    """Have the one that watches limit a charger, and try what its role does not let it."""
    for _ in range(TRIES):
        if watching.charger(LIMITED).is_connected and watching.charger(BILLED[0]).is_connected:
            break
        await ctx.clock.sleep(LOOK_S)
    period = {"startPeriod": 0, "limit": LIMIT_A}
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]},
    }
    asked: tuple[tuple[str, str, dict[str, Any]], ...] = (
        (LIMITED, "SetChargingProfile", {"connectorId": 0, "csChargingProfiles": profile}),
        (BILLED[0], "RemoteStartTransaction", {"idTag": "GRIDWATCH", "connectorId": 1}),
        (BILLED[0], "GetConfiguration", {}),
    )
    for identity, action, payload in asked:
        with suppress(AskFailed, VoltyardError):
            await watching.ask(identity, action, payload)

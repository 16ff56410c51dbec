"""What the demo does by itself once its chargers are there, so that no page of a charger is empty.

All of it goes through the services that the portal uses, as the people of the demo. What fails is left out:
a demo goes on with the rest.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from voltyard.chargers import certificates, commands, firmware, parameters, runs, security, transfers
from voltyard.chargers import service as chargers
from voltyard.kernel.actor import Actor, system
from voltyard.kernel.context import Context
from voltyard.kernel.db import Work
from voltyard.kernel.errors import VoltyardError
from voltyard.reservations import service as reservations
from voltyard.sim.fleet import Runner
from voltyard.speech import SetKey, TellComposite, Unlock

ACTOR = system("demo")
LOOK_S = 0.25
TRIES = 80
SAMPLE_INTERVAL_S = 5
SECURE_PROFILE = 2
IMPATIENT_S = 3.0
"""How long somebody waits for the old charger, which takes longer."""
RESERVED = timedelta(hours=3)

OLD = "VY-OFFICE-06"
SECURE = "VY-PUBLIC-01"
DRIFTED = "VY-OFFICE-03"
RESERVED_AT = ("VY-OFFICE-05", 2)
VISITOR_TAG = "0455EE66FF"
UPDATABLE = "VY-HOME-01"
NEW_VERSION = "2.5.0"
FIRMWARE_NAME = f"source2s-{NEW_VERSION}.bin"
FIRMWARE_PADDING_BYTES = 48 * 1024


@dataclass(frozen=True)
class People:
    """Those who act in the demo."""

    installer: Actor
    owner: Actor
    operator: Actor


@dataclass(frozen=True)
class Stage:
    """What the acts happen on: the chargers by identity, those who know them, and their machines."""

    ctx: Context
    people: People
    ids: Mapping[str, str]
    runners: Mapping[str, Runner]


async def add_firmware(ctx: Context, people: People, seed: int) -> None:
    """Upload firmware for one model, which a simulated charger takes for what its first line says."""
    arriving = ctx.files.arriving()
    try:
        arriving.write(b"voltyard-sim-firmware " + NEW_VERSION.encode() + b"\n")
        arriving.write(random.Random(f"{seed}/firmware").randbytes(FIRMWARE_PADDING_BYTES))
        said = firmware.tidy(name=FIRMWARE_NAME, version=NEW_VERSION, vendor="Volt Time", model="Source 2S")
        await firmware.add(ctx, people.installer, arriving, said)
    finally:
        arriving.drop()


async def play(stage: Stage) -> None:
    """Let everything happen, in each charger one thing after the other; return when all of it has."""
    async with asyncio.TaskGroup() as group:
        for identity in stage.ids:
            group.create_task(_play_at(stage, identity))


async def _play_at(stage: Stage, identity: str) -> None:
    """Do at one charger what is meant for it."""
    ctx, charger_id = stage.ctx, stage.ids[identity]
    if not await _is_there(ctx, charger_id):
        return
    # As an energy manager would: readings every few seconds.
    await _try(
        commands.ask(ctx, ACTOR, charger_id, SetKey("MeterValueSampleInterval", str(SAMPLE_INTERVAL_S)))
    )
    await _try(parameters.read(ctx, ACTOR, charger_id))
    act = ACTS.get(identity)
    if act is not None:
        await _try(act(stage, charger_id))


async def _try(act: Coroutine[Any, Any, Any]) -> None:
    with suppress(VoltyardError):
        await act


async def _is_there(ctx: Context, charger_id: str) -> bool:
    """Wait until a charger is online and has told of its connectors."""
    for _ in range(TRIES):
        found = await ctx.db.read(ACTOR, chargers.get, charger_id)
        if found.is_online and found.connectors:
            return True
        await ctx.clock.sleep(LOOK_S)
    return False


async def _ask_all(stage: Stage, _charger_id: str) -> None:
    """Dim the lights of the whole car park at once; the old charger has none that could be dimmed."""
    office = [charger_id for identity, charger_id in stage.ids.items() if "OFFICE" in identity]
    for charger_id in office:
        await _is_there(stage.ctx, charger_id)
    payload = '{"key":"LightIntensity","value":"60"}'
    await stage.ctx.db.work(stage.people.installer, runs.begin, "ChangeConfiguration", payload, office)


async def _hurry(stage: Stage, charger_id: str) -> None:
    """Ask the old charger for what it takes too long for, so that its answer comes too late."""
    ask = TellComposite(1, 3600)
    await commands.ask(stage.ctx, stage.people.installer, charger_id, ask, timeout_s=IMPATIENT_S)


async def _secure(stage: Stage, charger_id: str) -> None:
    """Bring a charger to TLS as its operator would, and have it leave its diagnostics after that."""
    ctx, actor = stage.ctx, stage.people.operator
    if ctx.settings.ocpp_tls_port:
        await certificates.install_root(ctx, actor, charger_id)
        await security.raise_profile(ctx, actor, charger_id, SECURE_PROFILE)
        for _ in range(TRIES):
            state = await security.look(ctx, actor, charger_id)
            if state.in_use == SECURE_PROFILE:
                break
            await ctx.clock.sleep(LOOK_S)
        await _is_there(ctx, charger_id)
    await transfers.fetch_diagnostics(ctx, actor, charger_id)


async def _drift(stage: Stage, charger_id: str) -> None:
    """Want something of a charger, which somebody at the charger itself changes back; try two things more."""
    ctx, actor = stage.ctx, stage.people.installer
    await parameters.save(ctx, actor, charger_id, {"ConnectionTimeOut": "120"})
    stage.runners[DRIFTED].act(lambda machine, now: machine.set_by_hand("ConnectionTimeOut", "45", now))
    await parameters.read(ctx, ACTOR, charger_id)
    await commands.ask(ctx, actor, charger_id, SetKey("MaxCurrent", "80"))  # more than its fuse
    await commands.ask(ctx, actor, charger_id, Unlock(1))  # it has a fixed cable


async def _reserve(stage: Stage, charger_id: str) -> None:
    """Keep a connector for the visitor."""
    await reservations.create(
        stage.ctx,
        stage.people.installer,
        charger_id,
        connector=RESERVED_AT[1],
        expires_at=stage.ctx.clock.now() + RESERVED,
        id_tag=VISITOR_TAG,
    )


ACTS: Mapping[str, Callable[[Stage, str], Coroutine[Any, Any, None]]] = MappingProxyType(
    {
        "VY-OFFICE-01": _ask_all,
        OLD: _hurry,
        SECURE: _secure,
        DRIFTED: _drift,
        RESERVED_AT[0]: _reserve,
    }
)


def ids_of(work: Work, identities: tuple[str, ...]) -> dict[str, str]:
    """Return the ids of chargers by their identities."""
    found = {identity: chargers.find(work, identity) for identity in identities}
    return {identity: place.charger_id for identity, place in found.items() if place is not None}

"""A reconnect storm: all chargers come at the same moment, prove their password, boot, and are accepted.

Each charger comes from an address of its own street: chargers behind one router share an address, a whole
fleet does not. What counts is the time from the first knock until the last charger is accepted.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil

from tests.bench.load import LoadCharger, Tally, connect

STREETS = 200
"""So many addresses of the loopback network are used."""
SETTLE_S = 5.0
DEADLINE_S = 300.0
REST_S = 90.0
MIB = 1024 * 1024


@dataclass
class Storm:
    """What a storm came to; memory is the server's resident set."""

    chargers: int
    accepted: int
    refused: list[str]
    all_s: float
    p50_s: float
    p99_s: float
    cpu_s: float
    before_mib: float
    with_all_mib: float
    after_mib: float
    again_mib: float


async def _come(port: int, identity: str, address: str, began: float, waits_s: list[float]) -> LoadCharger:
    charger = await connect(port, identity, tally := Tally(), address=address, patience_s=DEADLINE_S)
    charger.boot()
    await charger.booted
    if tally.wrong:
        raise ConnectionError(tally.wrong[0])
    waits_s.append(time.perf_counter() - began)
    return charger


async def _all_come(port: int, names: list[str]) -> tuple[list[LoadCharger], list[str], list[float], float]:
    waits_s: list[float] = []
    began = time.perf_counter()
    coming = [
        asyncio.create_task(_come(port, name, f"127.0.1.{1 + number % STREETS}", began, waits_s))
        for number, name in enumerate(names)
    ]
    done, late = await asyncio.wait(coming, timeout=DEADLINE_S)
    taken_s = time.perf_counter() - began
    for task in late:
        task.cancel()
    came = [task.result() for task in done if task.exception() is None]
    refused = [repr(task.exception()) for task in done if task.exception() is not None]
    return came, [*refused, *(["no answer in time"] * len(late))], sorted(waits_s), taken_s


async def rest(server: psutil.Process) -> float:
    """Wait until the server does next to nothing, and return its memory."""
    deadline = time.perf_counter() + REST_S
    busy_s = -1.0
    while time.perf_counter() < deadline:
        await asyncio.sleep(SETTLE_S)
        times = server.cpu_times()
        if times.user + times.system - busy_s < SETTLE_S / 20:
            break
        busy_s = times.user + times.system
    return float(server.memory_info().rss) / MIB


async def _all_go(fleet: list[LoadCharger], server: psutil.Process) -> float:
    """Close all sockets, and return the server's memory once it rests."""
    for charger in fleet:
        charger.is_running = False
        if charger.transport is not None:
            charger.transport.disconnect()
    return await rest(server)


async def storm(port: int, names: list[str], server: psutil.Process) -> Storm:
    """Let the chargers with these identities come at once, go, come and go again."""
    # What claiming so many chargers has left to do is no part of it.
    before = await rest(server)
    cpu = server.cpu_times()
    fleet, refused, waits_s, taken_s = await _all_come(port, names)
    used = server.cpu_times()
    with_all = await rest(server)
    after = await _all_go(fleet, server)
    # Once more: what a second storm adds to the memory would be added by each.
    fleet, refused_again, _, _ = await _all_come(port, names)
    again = await _all_go(fleet, server)
    count = len(waits_s)
    return Storm(
        len(names),
        count,
        refused + refused_again,
        taken_s,
        waits_s[count // 2] if waits_s else 0.0,
        waits_s[int(count * 0.99)] if waits_s else 0.0,
        used.user + used.system - cpu.user - cpu.system,
        before,
        with_all,
        after,
        again,
    )


def storm_table(one: Storm) -> str:
    """Write what a storm came to."""
    figures = (
        f"| {one.chargers:,} chargers | {one.accepted:,} | {len(one.refused)} | {one.all_s:.1f} s "
        f"| {one.p50_s:.1f} s | {one.p99_s:.1f} s | {one.cpu_s / max(one.accepted, 1) * 1000:.2f} ms |"
    )
    memory = (
        f"Memory of the server: {one.before_mib:.0f} MiB before, {one.with_all_mib:.0f} with all, "
        f"{one.after_mib:.0f} after all had gone, {one.again_mib:.0f} after a second storm."
    )
    rows = [
        "| Storm of | accepted | refused | all accepted after | p50 | p99 | CPU a charger |",
        "|---|---|---|---|---|---|---|",
        figures,
        "",
        memory,
    ]
    return "\n".join([*rows, *(f"refused: {why}" for why in sorted(set(one.refused))[:5])])

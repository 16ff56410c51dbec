"""What operators cost: the same chargers at the same pace with none, one, two and four of them, and a dead
one.

Each shape has a server of its own; they take turns. All operators must have been told everything shortly
after each round, else nothing was measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import psutil
import uvloop

from tests.bench.load import LoadCharger, Tally, connect
from tests.bench.servers import PREFIX, PYTHON, Reading, build, free_port, median, running, serving
from voltyard import app
from voltyard.chargers import after_boot
from voltyard.chargers import service as chargers
from voltyard.kernel.actor import system
from voltyard.kernel.db import Work
from voltyard.kernel.settings import Settings
from voltyard.operators import service as operators
from voltyard.operators.service import Wanted
from voltyard.speech import Fallback, Role

CHARGERS = 100
PACE_S = 0.1
SETTLE_S = after_boot.DELAY_S + after_boot.SPREAD_S + 10.0
"""How long it takes until all chargers were read after their first boot."""
SHAPES = {"none": 0, "1 that looks on": 1, "4 that look on": 4, "1": 1, "2": 2, "4": 4, "1 and a dead one": 1}
CPU_OF_OPERATOR_MAX_US = 30.0
"""What one message to one of four operators may cost beyond a bare echo; the aim is 15."""


async def link(settings: Settings, count: int, url: str, dead_url: str | None, *, bills: bool) -> None:
    """Connect operators to every charger: one bills, if any does, the others look on."""
    async with app.parts(settings) as ctx:
        for row in await ctx.db.read(system("bench"), chargers_of_bench):
            for number in range(count):
                role = Role.BILLING if number == 0 and bills else Role.DATA_CONTROL
                wanted = Wanted(name=f"Office {number}", url=url, role=role, fallback=Fallback.ALL)
                await ctx.db.work(system("bench"), operators.connect, row, wanted, settings)
            if dead_url is not None:
                wanted = Wanted(name="Dead", url=dead_url, role=Role.DATA_CONTROL)
                await ctx.db.work(system("bench"), operators.connect, row, wanted, settings)


def chargers_of_bench(work: Work) -> list[str]:
    return [charger.id for charger in chargers.list_chargers(work, limit=CHARGERS)]


Fleet = list[LoadCharger]


async def gather(ports: Sequence[int], tally: Tally) -> list[Fleet]:
    """Connect chargers to every server, and wait until each has done what it does once for a new one."""
    fleets = [
        [await connect(port, f"{PREFIX}{number}", tally) for number in range(CHARGERS)] for port in ports
    ]
    for charger in chain(*fleets):
        charger.boot()
    await asyncio.sleep(SETTLE_S)
    return fleets


async def drive(fleet: Fleet, tally: Tally, seconds: float, server: psutil.Process) -> Reading:
    """Let chargers speak at their pace; return what each message cost the server."""
    for number, charger in enumerate(fleet):
        charger.pace_s = PACE_S
        asyncio.get_running_loop().call_later(PACE_S * number / CHARGERS, charger.start)
    await asyncio.sleep(1.0)
    tally.answered = 0
    tally.latencies_s.clear()
    before, began = server.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, taken_s, answered = server.cpu_times(), time.perf_counter() - began, tally.answered
    latencies = sorted(tally.latencies_s)
    for charger in fleet:
        charger.is_running = False
    await asyncio.sleep(PACE_S * 3)
    if tally.wrong:
        raise SystemExit("wrong answers: " + "; ".join(tally.wrong[:3]))
    cpu_s = after.user + after.system - before.user - before.system
    return Reading(
        answered / taken_s,
        cpu_s / answered * 1e6,
        latencies[len(latencies) // 2] * 1000,
        latencies[int(len(latencies) * 0.99)] * 1000,
    )


def lag(data: Path) -> int:
    """Count the sayings that operators which answer were not told."""
    with contextlib.closing(sqlite3.connect(data / "voltyard.db")) as connection:
        return int(
            connection.execute(
                "SELECT count(*) FROM links JOIN calls ON calls.charger_id = links.charger_id"
                " WHERE calls.number > links.cursor AND links.name <> 'Dead' AND calls.is_outward = 0"
                " AND calls.action IN ('StartTransaction', 'MeterValues', 'StopTransaction')"
            ).fetchone()[0]
        )


def run(rounds: int, seconds: float) -> str:
    """Run the bench; return its table. Raises: SystemExit where a promise is broken."""
    with contextlib.ExitStack() as stack:
        office_port = free_port()
        office = [*PYTHON, "-m", "tests.bench.back_office", "--port", str(office_port)]
        stack.enter_context(running(office, office_port, {}))
        url = f"ws://127.0.0.1:{office_port}/live"
        servers: dict[str, tuple[int, psutil.Process]] = {}
        folders: dict[str, Path] = {}
        for name, count in SHAPES.items():
            folder = Path(tempfile.mkdtemp(prefix="voltyard-bench-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            settings = Settings(data=folder, operator_private_networks="allow")
            dead = f"ws://127.0.0.1:{office_port}/dead" if "dead" in name else None
            uvloop.run(build(settings, CHARGERS))
            uvloop.run(link(settings, count, url, dead, bills="look" not in name))
            folders[name] = folder
            servers[name] = stack.enter_context(
                serving(folder, environment={"VOLTYARD_OPERATOR_PRIVATE_NETWORKS": "allow"})
            )
        echo_port = free_port()
        echo = [*PYTHON, "-m", "tests.bench.bare", "--port", str(echo_port)]
        bare = stack.enter_context(running(echo, echo_port, {}))
        readings = uvloop.run(measure(rounds, seconds, servers, folders, (echo_port, bare)))
    middle = {name: median(found) for name, found in readings.items()}
    each = added(middle, "4 that look on")
    if each > CPU_OF_OPERATOR_MAX_US:
        raise SystemExit(
            f"{table(middle)}\n\neach operator costs {each:.1f} µs a message beyond the bare cost"
        )
    return table(middle)


def added(middle: dict[str, Reading], name: str) -> float:
    """Return what each operator adds to a message, beyond the bare cost of taking a frame and sending one."""
    return (middle[name].cpu_us - middle["none"].cpu_us) / SHAPES[name] - middle["bare"].cpu_us


async def measure(
    rounds: int,
    seconds: float,
    servers: dict[str, tuple[int, psutil.Process]],
    folders: dict[str, Path],
    bare: tuple[int, psutil.Process],
) -> dict[str, list[Reading]]:
    """Let the shapes take turns; bare is the cost of taking a frame and sending one, at the same pace."""
    tally, readings = Tally(), defaultdict[str, list[Reading]](list)
    print("operators, until all is quiet …", flush=True)
    fleets = dict(zip(servers, await gather([port for port, _ in servers.values()], tally), strict=True))
    echoing = [await connect(bare[0], f"{PREFIX}{each}", tally, is_echo=True) for each in range(CHARGERS)]
    for number in range(rounds):
        print(f"operators, round {number + 1} of {rounds} …", flush=True)
        readings["bare"].append(await drive(echoing, tally, seconds, bare[1]))
        for name, (_, server) in servers.items():
            readings[name].append(await drive(fleets[name], tally, seconds, server))
            await asyncio.sleep(1.0)
            if left := lag(folders[name]):
                raise SystemExit(f"{left} sayings were not told to the operators of {name!r}")
    for charger in (*chain(*fleets.values()), *echoing):
        if charger.transport is not None:
            charger.transport.disconnect()
    return readings


def table(middle: dict[str, Reading]) -> str:
    """Return the table, and what one operator adds beyond the bare cost of a frame."""
    bare = middle["bare"]
    rows = [
        "| Operators of each charger | CPU µs a message | added for each, beyond bare | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
        f"| (bare echo at this pace) | {bare.cpu_us:.1f} | | {bare.p50_ms:.1f} | {bare.p99_ms:.1f} |",
    ]
    for name, count in SHAPES.items():
        one = middle[name]
        each = f"{added(middle, name):.1f}" if count else ""
        rows.append(f"| {name} | {one.cpu_us:.1f} | {each} | {one.p50_ms:.1f} | {one.p99_ms:.1f} |")
    pace = (
        f"{CHARGERS} chargers, a message each {PACE_S:g} s; where nothing else is said one operator bills "
        "and decides about each start, the others look on."
    )
    return "\n".join([*rows, "", pace])


if __name__ == "__main__":
    app.raise_file_limit()
    print(run(3, 5.0))

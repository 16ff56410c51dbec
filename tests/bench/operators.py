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
from collections.abc import Sequence
from pathlib import Path

import psutil
import uvloop

from tests.bench.load import Tally, connect
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
SHAPES = {"none": 0, "1": 1, "2": 2, "4": 4, "1 and a dead one": 1}
CPU_OF_OPERATOR_MAX_US = 40.0
"""What one message to one operator may cost beyond a bare echo; the aim is 15."""


async def link(settings: Settings, count: int, url: str, dead_url: str | None) -> None:
    """Connect operators to every charger: one bills, the others look on."""
    async with app.parts(settings) as ctx:
        for row in await ctx.db.read(system("bench"), chargers_of_bench):
            for number in range(count):
                role = Role.BILLING if number == 0 else Role.DATA_CONTROL
                wanted = Wanted(name=f"Office {number}", url=url, role=role, fallback=Fallback.ALL)
                await ctx.db.work(system("bench"), operators.connect, row, wanted, settings)
            if dead_url is not None:
                wanted = Wanted(name="Dead", url=dead_url, role=Role.DATA_CONTROL)
                await ctx.db.work(system("bench"), operators.connect, row, wanted, settings)


def chargers_of_bench(work: Work) -> list[str]:
    return [charger.id for charger in chargers.list_chargers(work, limit=CHARGERS)]


async def settle(ports: Sequence[int]) -> None:
    """Let every server do what it does once for chargers that it sees for the first time."""
    tally = Tally()
    fleet = [await connect(port, f"{PREFIX}{number}", tally) for port in ports for number in range(CHARGERS)]
    for charger in fleet:
        charger.boot()
    await asyncio.sleep(SETTLE_S)
    for charger in fleet:
        if charger.transport is not None:
            charger.transport.disconnect()


async def drive(port: int, seconds: float, server: psutil.Process) -> Reading:
    """Let chargers speak at their pace; return what each message cost the server."""
    tally = Tally()
    fleet = [await connect(port, f"{PREFIX}{number}", tally) for number in range(CHARGERS)]
    for charger in fleet:
        charger.boot()
    await asyncio.gather(*(charger.booted for charger in fleet))
    for number, charger in enumerate(fleet):
        charger.pace_s = PACE_S
        asyncio.get_running_loop().call_later(PACE_S * number / CHARGERS, charger.start)
    await asyncio.sleep(6.0)  # the lines find their chargers again
    tally.answered = 0
    tally.latencies_s.clear()
    before, began = server.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, taken_s, answered = server.cpu_times(), time.perf_counter() - began, tally.answered
    latencies = sorted(tally.latencies_s)
    for charger in fleet:
        charger.is_running = False
    await asyncio.sleep(PACE_S * 3)
    for charger in fleet:
        if charger.transport is not None:
            charger.transport.disconnect()
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
            uvloop.run(link(settings, count, url, dead))
            folders[name] = folder
            servers[name] = stack.enter_context(
                serving(folder, environment={"VOLTYARD_OPERATOR_PRIVATE_NETWORKS": "allow"})
            )
        echo_port = free_port()
        echo = [*PYTHON, "-m", "tests.bench.bare", "--port", str(echo_port)]
        bare = stack.enter_context(running(echo, echo_port, {}))
        readings: dict[str, list[Reading]] = {name: [] for name in (*SHAPES, "bare")}
        print("operators, until all is quiet …", flush=True)
        uvloop.run(settle([port for port, _ in servers.values()]))
        for number in range(rounds):
            print(f"operators, round {number + 1} of {rounds} …", flush=True)
            readings["bare"].append(uvloop.run(drive_bare(echo_port, seconds, bare)))
            for name, (port, server) in servers.items():
                readings[name].append(uvloop.run(drive(port, seconds, server)))
                time.sleep(1.0)
                if left := lag(folders[name]):
                    raise SystemExit(f"{left} sayings were not told to the operators of {name!r}")
    middle = {name: median(found) for name, found in readings.items()}
    return table(middle)


async def drive_bare(port: int, seconds: float, server: psutil.Process) -> Reading:
    """Measure what an echo costs at the same pace: the bare cost of taking a frame and sending one."""
    tally = Tally()
    fleet = [await connect(port, f"{PREFIX}{number}", tally, is_echo=True) for number in range(CHARGERS)]
    for number, charger in enumerate(fleet):
        charger.pace_s = PACE_S
        asyncio.get_running_loop().call_later(PACE_S * number / CHARGERS, charger.start)
    await asyncio.sleep(1.0)
    tally.answered = 0
    tally.latencies_s.clear()
    before = server.cpu_times()
    await asyncio.sleep(seconds)
    after, answered = server.cpu_times(), tally.answered
    latencies = sorted(tally.latencies_s)
    for charger in fleet:
        charger.is_running = False
        if charger.transport is not None:
            charger.transport.disconnect()
    cpu_s = after.user + after.system - before.user - before.system
    return Reading(
        answered / seconds,
        cpu_s / answered * 1e6,
        latencies[len(latencies) // 2] * 1000,
        latencies[int(len(latencies) * 0.99)] * 1000,
    )


def table(middle: dict[str, Reading]) -> str:
    """Return the table, and what one operator adds beyond the bare cost of a frame."""
    none, bare = middle["none"], middle["bare"]
    rows = [
        "| Operators of each charger | CPU µs a message | added for each, beyond bare | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
        f"| (bare echo at this pace) | {bare.cpu_us:.1f} | | {bare.p50_ms:.1f} | {bare.p99_ms:.1f} |",
    ]
    for name, count in SHAPES.items():
        one = middle[name]
        added = "" if not count else f"{(one.cpu_us - none.cpu_us) / count - bare.cpu_us:.1f}"
        rows.append(f"| {name} | {one.cpu_us:.1f} | {added} | {one.p50_ms:.1f} | {one.p99_ms:.1f} |")
    pace = f"{CHARGERS} chargers, a message each {PACE_S:g} s, one operator bills, the others look on."
    return "\n".join([*rows, "", pace])


if __name__ == "__main__":
    app.raise_file_limit()
    print(run(3, 5.0))

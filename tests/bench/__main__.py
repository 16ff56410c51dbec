"""``make bench``: the real server against a bare echo server, in one run, as ratios.

The servers are processes of their own and take turns, round by round; medians count. What is
printed is the CPU time (user and system) that the server process spent on one message.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil
import uvloop

from tests.bench.load import Tally, connect
from tests.bench.operators import run as run_operators
from tests.bench.servers import PREFIX, Reading, build, free_port, median, running, serving
from tests.bench.storm import Storm, rest, storm, storm_table
from voltyard import app
from voltyard.kernel.settings import Settings

RATIO_MAX = 8.0
"""The promise, with every frame in the log; the aim is 4."""
LOG_SHARE_MAX = 0.25
"""The promise: what of a message's CPU time the log of frames may cost."""
STORM = 5_000


async def drive(port: int, count: int, seconds: float, server: psutil.Process, *, is_echo: bool) -> Reading:
    tally = Tally()
    fleet = [await connect(port, f"{PREFIX}{number}", tally, is_echo=is_echo) for number in range(count)]
    for charger in fleet:
        charger.boot()
    await asyncio.gather(*(charger.booted for charger in fleet))
    for charger in fleet:
        charger.start()
    await asyncio.sleep(min(1.0, seconds / 4))
    tally.answered = 0
    tally.latencies_s.clear()
    before, began = server.cpu_times(), time.perf_counter()
    await asyncio.sleep(seconds)
    after, taken_s, answered = server.cpu_times(), time.perf_counter() - began, tally.answered
    latencies = sorted(tally.latencies_s)
    for charger in fleet:
        charger.is_running = False
        if charger.transport is not None:
            charger.transport.disconnect()
    if tally.wrong:
        raise SystemExit("wrong answers: " + "; ".join(tally.wrong[:3]))
    if not answered:
        raise SystemExit("no message was answered")
    cpu_s = after.user + after.system - before.user - before.system
    return Reading(
        answered / taken_s,
        cpu_s / answered * 1e6,
        latencies[len(latencies) // 2] * 1000,
        latencies[int(len(latencies) * 0.99)] * 1000,
    )


async def idle_memory(port: int, count: int, server: psutil.Process) -> float:
    """Connect and boot many chargers that then say nothing; return the server's KiB for each."""
    tally = Tally()
    first = [await connect(port, f"{PREFIX}{number}", tally) for number in range(50)]
    before = server.memory_info().rss
    fleet = [await connect(port, f"{PREFIX}{number}", tally) for number in range(50, count)]
    for charger in first + fleet:
        charger.boot()
    await asyncio.gather(*(charger.booted for charger in first + fleet))
    grown = server.memory_info().rss - before
    for charger in first + fleet:
        assert charger.transport is not None
        charger.transport.disconnect()
    return grown / len(fleet) / 1024


def log_share(unlogged: Reading, real: Reading) -> float:
    return 1 - unlogged.cpu_us / real.cpu_us


def table(
    bare: Reading, unlogged: Reading, real: Reading, memory_kib: float, arguments: argparse.Namespace
) -> str:
    rows = [
        "| Server | stores | CPU µs a message | × bare | messages/s | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, stores, one in (
        ("bare picows echo", "–", bare),
        ("Voltyard, SQLite, without its log", "all but frames", unlogged),
        ("Voltyard, SQLite", "all", real),
    ):
        rows.append(
            f"| {name} | {stores} | {one.cpu_us:.1f} | {one.cpu_us / bare.cpu_us:.1f} "
            f"| {one.messages_per_s:,.0f} | {one.p50_ms:.1f} | {one.p99_ms:.1f} |"
        )
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    return "\n".join(
        [
            *rows,
            "",
            (
                f"{arguments.chargers} chargers in a closed loop, {arguments.rounds} rounds of "
                f"{arguments.seconds:g} s each in turn, medians; {machine}."
            ),
            f"Memory of an idle connected charger: {memory_kib:.1f} KiB.",
            f"The log of frames costs {log_share(unlogged, real):.0%} of a message's CPU time.",
        ]
    )


def run_storm(count: int) -> Storm:
    """Run the storm against a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="voltyard-storm-"))
    try:
        print(f"setting up {count:,} chargers for the storm …", flush=True)
        uvloop.run(build(Settings(data=folder), count))
        with serving(folder) as (port, server):
            return uvloop.run(storm(port, [f"{PREFIX}{number}" for number in range(count)], server))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--chargers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--storm", type=int, help="only the storm, of so many chargers")
    parser.add_argument("--output", type=Path, default=Path("bench.md"))
    arguments = parser.parse_args()
    app.raise_file_limit()
    if arguments.storm is not None:
        alone = run_storm(arguments.storm)
        print(f"\n{storm_table(alone)}")
        raise SystemExit(f"{len(alone.refused)} were refused" if alone.refused else 0)
    with contextlib.ExitStack() as stack:
        print("setting up chargers …", flush=True)
        servers: dict[str, tuple[int, psutil.Process]] = {}
        bare_port = free_port()
        echo = [sys.executable, "-m", "tests.bench.bare", "--port", str(bare_port)]
        servers["bare"] = (bare_port, stack.enter_context(running(echo, bare_port, {})))
        for name, module in (("unlogged", "tests.bench.unlogged"), ("real", "voltyard")):
            folder = Path(tempfile.mkdtemp(prefix="voltyard-bench-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            uvloop.run(build(Settings(data=folder), max(arguments.chargers, arguments.idle)))
            servers[name] = stack.enter_context(serving(folder, module))
        real_port, real = servers["real"]
        memory_kib = uvloop.run(idle_memory(real_port, arguments.idle, real))
        # Chargers that were just claimed are read once; that is no part of a message's cost.
        for name in ("unlogged", "real"):
            uvloop.run(rest(servers[name][1]))
        readings: dict[str, list[Reading]] = {name: [] for name in servers}
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds} …", flush=True)
            for name, (port, server) in servers.items():
                driven = drive(port, arguments.chargers, arguments.seconds, server, is_echo=name == "bare")
                readings[name].append(uvloop.run(driven))
    middle = {name: median(found) for name, found in readings.items()}
    blown = run_storm(STORM)
    result = table(middle["bare"], middle["unlogged"], middle["real"], memory_kib, arguments)
    told = run_operators(arguments.rounds, arguments.seconds)
    result = f"{result}\n\n{told}\n\n{storm_table(blown)}"
    print(f"\n{result}")
    arguments.output.write_text(result + "\n")
    ratio = middle["real"].cpu_us / middle["bare"].cpu_us
    if ratio > RATIO_MAX:
        raise SystemExit(f"the ratio {ratio:.1f} is above {RATIO_MAX:g}: something became slow")
    if (share := log_share(middle["unlogged"], middle["real"])) > LOG_SHARE_MAX:
        raise SystemExit(f"the log costs {share:.0%} of a message: more than {LOG_SHARE_MAX:.0%}")
    if blown.refused:
        raise SystemExit(f"{len(blown.refused)} chargers of the storm were refused")


if __name__ == "__main__":
    main()

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
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from tests.bench.load import Tally, connect, password
from tests.bench.storm import Storm, rest, storm, storm_table
from voltyard import app
from voltyard.accounts import service as accounts
from voltyard.cards import service as cards
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.settings import Settings
from voltyard.locations import service as locations

RATIO_MAX = 8.0
"""The promise, with every frame in the log; the aim is 4."""
LOG_SHARE_MAX = 0.25
"""The promise: what of a message's CPU time the log of frames may cost."""
PREFIX = "BENCH-"
STORM = 5_000


@dataclass
class Reading:
    """One round against one server."""

    messages_per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"a server ended at once with code {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        time.sleep(0.05)
    raise SystemExit("a server did not come up within 30 s")


@contextlib.contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[psutil.Process]:
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        wait_for_port(port, process)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def build(settings: Settings, count: int) -> None:
    """Register and claim the chargers of the bench."""
    await app.upgrade(settings)
    async with app.parts(settings) as ctx:
        person = await accounts.register(ctx, "bench@voltyard.example", password="bench-password")
        teams = tuple(team.id for team in person.teams)
        actor = Actor(kind=Kind.USER, subject_id=person.id, team_ids=teams, is_admin=True)
        location = await ctx.db.work(actor, locations.create, name="Bench")
        await ctx.db.work(actor, cards.add, location.id, name="Bench", id_tag="BENCH")
        names = [f"{PREFIX}{number}" for number in range(count)]
        delivered = [Delivered(name, "1234", password(name)) for name in names]
        await ctx.db.work(system("bench"), chargers.register, delivered, settings.secret_key())
        for name in names:
            await chargers.claim(ctx, actor, location.id, identity=name)


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


def median(readings: list[Reading]) -> Reading:
    return Reading(
        *(
            statistics.median(getattr(reading, name) for reading in readings)
            for name in ("messages_per_s", "cpu_us", "p50_ms", "p99_ms")
        )
    )


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


@contextlib.contextmanager
def serving(folder: Path, module: str = "voltyard") -> Iterator[tuple[int, psutil.Process]]:
    """Give the charger port and the process of a server on this folder."""
    port = free_port()
    command = [sys.executable, "-m", module, "serve", "--data", str(folder), "--host", "127.0.0.1"]
    command += ["--http-port", str(free_port()), "--ocpp-port", str(port)]
    with running(command, port, {"VOLTYARD_LOG_LEVEL": "warning"}) as process:
        yield port, process


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
    result = f"{result}\n\n{storm_table(blown)}"
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

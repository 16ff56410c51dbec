"""The servers of the benches: made ready, started as processes of their own, read, stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.load import password
from voltyard import app
from voltyard.accounts import service as accounts
from voltyard.cards import service as cards
from voltyard.chargers import service as chargers
from voltyard.chargers.service import Delivered
from voltyard.kernel.actor import Actor, Kind, system
from voltyard.kernel.settings import Settings
from voltyard.locations import service as locations

PREFIX = "BENCH-"
PYTHON = (sys.executable,)


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


def median(readings: list[Reading]) -> Reading:
    return Reading(
        *(
            statistics.median(getattr(reading, name) for reading in readings)
            for name in ("messages_per_s", "cpu_us", "p50_ms", "p99_ms")
        )
    )


@contextlib.contextmanager
def serving(
    folder: Path, module: str = "voltyard", environment: dict[str, str] | None = None
) -> Iterator[tuple[int, psutil.Process]]:
    """Give the charger port and the process of a server on this folder."""
    port = free_port()
    command = [sys.executable, "-m", module, "serve", "--data", str(folder), "--host", "127.0.0.1"]
    command += ["--http-port", str(free_port()), "--ocpp-port", str(port)]
    with running(command, port, {"VOLTYARD_LOG_LEVEL": "warning"} | (environment or {})) as process:
        yield port, process

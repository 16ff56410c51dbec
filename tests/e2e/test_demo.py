"""`voltyard demo` as a newcomer meets it: it prints where to go, and no page of a charger is empty."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from dev_servers import free_port
from tests.e2e.server import VOLTYARD, until

STARTS_WITHIN_S = 60.0
"""Generous: what this machine does besides is unknown."""
HAPPENS_WITHIN_S = 60.0
ENDS_WITHIN_S = 20.0


class Demo:
    """One running demo and its installer, who sees all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http_port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VOLTYARD_")}
        self.environment = kept
        self.errors = folder / "errors.log"
        self.printed = ""
        self.token = ""

    def start(self) -> None:
        ports = ("--http-port", str(self.http_port), "--ocpp-port", "0", "--ocpp-tls-port", str(free_port()))
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*VOLTYARD, "demo", *ports, "--data", "world"],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self.folder,
                env=self.environment,
                text=True,
            )
        assert self.process.stdout is not None
        deadline = time.monotonic() + STARTS_WITHIN_S
        while "Ctrl+C" not in self.printed:
            line = self.process.stdout.readline()
            assert line, f"the demo ended:\n{self.errors.read_text()[-4000:]}"
            assert time.monotonic() < deadline, "the demo takes too long to start"
            self.printed += line

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [*VOLTYARD, *arguments, "--data", "world/data"],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    async def __call__(self, method: str, path: str, **body: Any) -> Any:
        async with httpx2.AsyncClient(timeout=60) as http:
            answer = await http.request(
                method,
                f"http://127.0.0.1:{self.http_port}/api/v1{path}",
                headers={"Authorization": f"Bearer {self.token}"},
                json=body or None,
            )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self("GET", path))["items"]
        return found

    async def sees(self, path: str, is_there: Callable[[Any], bool], what: str) -> Any:
        """Wait until what is at a path is so, and return it."""

        async def look() -> Any:
            found = await self("GET", path)
            return found if is_there(found) else None

        return await until(look, what, within_s=HAPPENS_WITHIN_S)


@asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[Demo]:
    running = Demo(folder)
    await asyncio.to_thread(running.start)
    try:
        running.token = running.command("token", "add", "installer@voltyard.example", "--name", "tests")
        yield running
    finally:
        running.process.send_signal(signal.SIGINT)
        try:
            running.process.wait(ENDS_WITHIN_S)
        finally:
            running.process.kill()
            assert running.process.stdout is not None
            running.process.stdout.close()


async def test_the_demo_shows_on_each_page_of_a_charger_what_it_is_for(tmp_path: Path):
    async with demo(tmp_path) as running:
        for told in (
            f"http://localhost:{running.http_port}",
            "installer@voltyard.example",
            "VY-NEW-01",
            "wss://localhost:",
        ):
            assert told in running.printed
        ids = {each["identity"]: each["id"] for each in await running.items("/chargers?limit=50")}

        def at(identity: str, rest: str = "") -> str:
            return f"/chargers/{ids[identity]}{rest}"

        def has(**wanted: Any) -> Callable[[Any], bool]:
            return lambda page: any(
                all(each.get(name) == value for name, value in wanted.items()) for each in page["items"]
            )

        # Firmware: it waits, and whoever brings it to the charger sees it succeed.
        await running.sees(at("VY-HOME-01", "/parameters"), lambda page: page["items"], "it is there")
        (file,) = await running.items("/firmware")
        begun = await running("POST", at("VY-HOME-01", "/firmware"), firmware_id=file["id"])
        # Operators: one bills, one watches and limits, one cannot be reached.
        await running.sees(
            at("VY-PUBLIC-01", "/operators"), has(name="Chargewell", state="online"), "it bills"
        )
        await running.sees(
            at("VY-PUBLIC-02", "/operators"), has(name="Fleetlog", state="backing_off"), "it is away"
        )
        await running.sees(at("VY-OFFICE-01", "/limits"), has(limit_a=20.0), "and is limited")
        # Findings: the old charger is understood, and what it does is told in words.
        kinds = {"number_as_text", "missing_errorCode", "time_without_offset", "alias_word", "null_text"}
        await running.sees(
            at("VY-OFFICE-06", "/findings"),
            lambda page: kinds | {"late_answer"} <= {each["kind"] for each in page["items"]},
            "findings of the old charger",
        )
        harmful = [each for each in await running.items(at("VY-OFFICE-06", "/findings"))
                   if each["severity"] == "harmful"]  # fmt: skip
        assert not harmful
        # Commands: executed, rejected, not supported, and an answer that came too late.
        await running.sees(at("VY-OFFICE-06", "/commands"), has(status="expired"), "a command expired")
        refused = has(status="rejected", word="Rejected")
        await running.sees(at("VY-OFFICE-03", "/commands"), refused, "a command was rejected")
        await running.sees(at("VY-OFFICE-03", "/commands"), has(word="NotSupported"), "and one not supported")
        # Diagnostics: over TLS with the local authority, on profile 2.
        await running.sees(
            at("VY-PUBLIC-01", "/security"),
            lambda found: (
                (found["profile_in_use"], found["enforced_profile"], found["is_tls"]) == (2, 2, True)
            ),
            "a charger over TLS",
        )
        # Files: one has arrived.
        page = await running.sees(
            at("VY-PUBLIC-01", "/transfers"), has(stage="received"), "a file of diagnostics"
        )
        assert page["items"][0]["files"][0]["size_bytes"]
        # Reservations: one holds.
        await running.sees(
            at("VY-OFFICE-05", "/reservations"), has(state="active", connector_id=2), "it is kept"
        )
        # Parameters: read everywhere, one has drifted.
        await running.sees(
            at("VY-OFFICE-03", "/parameters"),
            has(key="ConnectionTimeOut", desired="120", reported="45", is_drifted=True),
            "a parameter has drifted",
        )
        for identity in ids.keys() - {"VY-NEW-01"}:
            await running.sees(at(identity, "/parameters"), lambda page: page["items"], f"{identity} is read")
        # A run: over, and the old charger could not.
        run = (await running.sees("/commands/bulk", has(status="completed"), "a run is over"))["items"][0]
        assert run["counts"]["total"] == 6
        assert run["counts"]["sent"] == 5
        done = await running.sees(
            f"/transfers/{begun['id']}",
            lambda found: found["stage"] in {"installed", "failed"},
            "the firmware is installed",
        )
        assert (done["stage"], done["version_after"], done["is_proven"]) == ("installed", "2.5.0", True)
        root = running.command("charger", "root")
        assert re.match("-----BEGIN CERTIFICATE-----", root)
    assert running.process.returncode == 0
    assert running.errors.read_text() == ""

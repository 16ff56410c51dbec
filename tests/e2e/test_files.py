"""Firmware and files between a simulated charger and the real server, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from dev_servers import free_port
from tests.e2e.server import Person, Server, deliver, make_person, settle_in, until
from voltyard.kernel.clock import SystemClock
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import SimulatedClock, basic_header, run_charger
from voltyard.sim.station import Nameplate

MIB = 1024 * 1024
SPEED = 60


@dataclass
class World:
    """A server, its owner, and a simulated charger that is online."""

    server: Server
    owner: Person
    charger_id: str
    lines: list[str]

    async def transfer(self, transfer_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.owner("GET", f"/transfers/{transfer_id}")
        return found

    async def until_stage(self, transfer_id: str, *stages: str) -> dict[str, Any]:
        async def arrived() -> dict[str, Any] | None:
            found = await self.transfer(transfer_id)
            return found if found["stage"] in stages else None

        done: dict[str, Any] = await until(arrived, f"{transfer_id} at {stages}: {self.lines}", within_s=30)
        return done

    async def upload(self, data: bytes, **fields: str) -> dict[str, Any]:
        async with httpx2.AsyncClient(timeout=30) as http:
            answer = await http.post(
                f"{self.server.url}/api/v1/firmware",
                headers=self.owner._headers,
                data=fields,
                files={"file": ("sim firmware.bin", data)},
            )
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def stored(self) -> list[Path]:
        return [path for path in (self.server.data / "files").rglob("*") if path.is_file()]


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    port = free_port()
    with Server(folder, port=port, charger_files_url=f"http://127.0.0.1:{port}") as server:
        deliver(server, "SIM1,1234,secret")
        owner = make_person(server)
        _, charger_id = await settle_in(owner, "SIM1")
        lines: list[str] = []
        clock = SimulatedClock(SystemClock(), SPEED)
        plate = Nameplate("SIM1", firmware="1.0.0", call_timeout_s=30 * SPEED)
        machine = VirtualCharger(plate, 7, clock.now())
        running = asyncio.create_task(
            run_charger(machine, server.ocpp_url, "secret", clock=clock, say=lines.append)
        )
        made = World(server, owner, charger_id, lines)
        try:
            await until(lambda: _has_booted(made), f"the charger boots: {lines}", within_s=20)
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _has_booted(made: World) -> bool:
    return bool((await made.owner("GET", f"/chargers/{made.charger_id}"))["firmware"])


@pytest.mark.parametrize("kind", ["diagnostics", "log"])
async def test_what_a_charger_is_asked_for_arrives(tmp_path: Path, kind: str):
    async with world(tmp_path) as made:
        begun = await made.owner("POST", f"/chargers/{made.charger_id}/transfers", kind=kind)
        done = await made.until_stage(begun["id"], "received")
        assert [step["stage"] for step in done["steps"]] == ["asked", "uploading", "received"]
        (file,) = done["files"]
        assert file["name"] == "SIM1.log"
        async with httpx2.AsyncClient() as http:
            answer = await http.get(
                f"{made.server.url}/api/v1/transfers/{begun['id']}/file", headers=made.owner._headers
            )
        assert b'"identity": "SIM1"' in answer.content
        assert len(answer.content) == file["size_bytes"]
        log = made.server.log.read_text()
        assert "/files/up/vyf_" not in log


async def test_new_firmware_is_fetched_and_the_next_start_proves_it(tmp_path: Path):
    async with world(tmp_path) as made:
        data = b"voltyard-sim-firmware 1.1.0\n" + bytes(3 * MIB)
        file = await made.upload(data, version="1.1.0", vendor="Voltyard Sim")
        begun = await made.owner("POST", f"/chargers/{made.charger_id}/firmware", firmware_id=file["id"])
        done = await made.until_stage(begun["id"], "installed")
        assert (done["version_before"], done["version_after"], done["is_proven"]) == ("1.0.0", "1.1.0", True)
        stages = [step["stage"] for step in done["steps"]]
        assert stages == ["asked", "downloading", "downloaded", "installing", "installed"]


async def test_signed_firmware_is_verified_and_a_wrong_signature_keeps_it_out(tmp_path: Path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "maker")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    data = b"voltyard-sim-firmware 2.0.0\n"
    good = base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
    bad = base64.b64encode(key.sign(b"something else", ec.ECDSA(hashes.SHA256()))).decode()
    async with world(tmp_path) as made:
        path = f"/chargers/{made.charger_id}/firmware"
        wrong = await made.upload(data, version="2.0.0-wrong", signature=bad, certificate=pem)
        begun = await made.owner("POST", path, firmware_id=wrong["id"], is_signed=True)
        await made.until_stage(begun["id"], "bad_signature")
        right = await made.upload(data, version="2.0.0", signature=good, certificate=pem)
        begun = await made.owner("POST", path, firmware_id=right["id"], is_signed=True)
        done = await made.until_stage(begun["id"], "installed")
        assert "verified" in [step["stage"] for step in done["steps"]]
        assert done["is_proven"] is True


async def test_a_body_that_never_ends_is_refused_without_being_held_in_memory(tmp_path: Path):
    async with silent_charger(tmp_path) as (made, begun, url):
        before_bytes = made.server.memory.memory_info().rss

        async def endless() -> AsyncIterator[bytes]:
            for _ in range(70):
                yield bytes(MIB)

        async with httpx2.AsyncClient(timeout=60) as http:
            answer = await http.put(f"{url}big.log", content=endless())
            declared = await http.put(f"{url}big.log", content=bytes(70 * MIB))
        for each in (answer, declared):
            assert (each.status_code, each.text) == (
                413, "The request is too large: a file has at most 64 MiB\n",
            )  # fmt: skip
        assert made.server.memory.memory_info().rss - before_bytes < 24 * MIB
        shown = await made.transfer(begun)
        assert (shown["stage"], shown["word"]) == ("failed", "too_large")
        assert made.stored() == []


async def test_an_upload_that_is_cut_leaves_nothing_and_may_be_repeated(tmp_path: Path):
    async with silent_charger(tmp_path) as (made, begun, url):
        parts = urlsplit(url)
        for head in ("Content-Length: 2000000", "Transfer-Encoding: chunked"):
            reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
            body = b"x" * 1000 if "Length" in head else b"3e8\r\n" + b"x" * 1000 + b"\r\n"
            writer.write(f"PUT {parts.path}a.log HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
            await writer.drain()
            await made.until_stage(begun, "uploading")
            writer.close()
            await writer.wait_closed()
            del reader
            await made.until_stage(begun, "failed")
            await until(lambda: made.stored() == [], "nothing is left")
        async with httpx2.AsyncClient() as http:
            assert (await http.put(f"{url}a.log", content=b"whole")).status_code == 200
        await made.until_stage(begun, "received")


@asynccontextmanager
async def silent_charger(folder: Path) -> AsyncIterator[tuple[World, str, str]]:
    """Give a world with a transfer under way, and its address; the charger promises a file and sends none."""
    port = free_port()
    with Server(folder, port=port, charger_files_url=f"http://127.0.0.1:{port}") as server:
        deliver(server, "SIM1,1234,secret")
        owner = make_person(server)
        _, charger_id = await settle_in(owner, "SIM1")
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        async with connect(
            f"{server.ocpp_url}/SIM1",
            subprotocols=[Subprotocol("ocpp1.6")],
            additional_headers={"Authorization": basic_header("SIM1", "secret")},
        ) as socket:
            boot = {"chargePointVendor": "V", "chargePointModel": "M", "firmwareVersion": "1"}
            await socket.send(json.dumps([2, "boot", "BootNotification", boot]))
            answering = asyncio.create_task(_promise(socket, heard))
            made = World(server, owner, charger_id, [])
            await until(lambda: _has_booted(made), "the charger boots")
            begun = await owner("POST", f"/chargers/{charger_id}/transfers")
            yield made, begun["id"], await heard
            answering.cancel()


async def _promise(socket: ClientConnection, heard: asyncio.Future[str]) -> None:
    async for text in socket:
        kind, call_id, *rest = json.loads(text)
        if kind != 2:
            continue
        answer = {"fileName": "a.log"} if rest[0] == "GetDiagnostics" else {"status": "NotSupported"}
        if rest[0] == "GetDiagnostics":
            heard.set_result(rest[1]["location"])
        await socket.send(json.dumps([3, call_id, answer]))

"""Security profiles over real sockets: the real server, its own authority, and chargers that are not ours."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import websockets

from dev_servers import free_port
from tests.e2e.server import Person, Server, deliver, make_person, settle_in, until
from voltyard.kernel import certificates
from voltyard.kernel.clock import SystemClock
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate

PASSWORD = "a-long-secret-of-before"
PLAIN = {"subprotocols": ["ocpp1.6"], "compression": None, "proxy": None}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, ocpp_tls_port=str(free_port())) as running:
        yield running


def tls_url(server: Server) -> str:
    return f"wss://localhost:{server.environment['VOLTYARD_OCPP_TLS_PORT']}/ocpp"


@asynccontextmanager
async def simulated(server: Server, identity: str) -> AsyncIterator[Runner]:
    """Let a simulated charger live that goes to the TLS port once its profile asks for it."""
    clock = SimulatedClock(SystemClock(), 10.0)
    machine = VirtualCharger(Nameplate(identity), 7, clock.now())
    runner = Runner(machine, server.ocpp_url, PASSWORD, clock, lambda _line: None, tls_url=tls_url(server))
    running = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def state(person: Person, charger_id: str) -> dict[str, Any]:
    found: dict[str, Any] = await person("GET", f"/chargers/{charger_id}/security")
    return found


async def comes_with(person: Person, charger_id: str, profile: int) -> None:
    """Wait until the charger is connected with this profile, and held to it."""

    async def is_so() -> bool:
        found = await state(person, charger_id)
        return (found["enforced_profile"], found["profile_in_use"]) == (profile, profile)

    await until(is_so, f"the charger comes with security profile {profile}", within_s=30)


def basic(identity: str, password: str) -> dict[str, str]:
    pair = base64.b64encode(f"{identity}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


async def refused(url: str, **options: Any) -> int:
    with pytest.raises(websockets.InvalidStatus) as wrong:
        async with websockets.connect(url, **PLAIN, **options):
            pass
    return wrong.value.response.status_code


async def test_a_charger_goes_from_profile_1_to_2_to_3(server: Server, tmp_path: Path):
    person = make_person(server)
    deliver(server, f"SIM-1,1234,{PASSWORD}", f"SIM-2,1234,{PASSWORD}")
    async with simulated(server, "SIM-1") as sim:
        _, charger_id = await settle_in(person, "SIM-1")
        at = f"/chargers/{charger_id}"

        async def is_online() -> bool:
            return (await person("GET", at))["connection"] == "online"

        await until(is_online, "the charger is online", within_s=20)

        def is_settled() -> bool:
            # What it was sent may have it connect anew in a while; asked in between it is offline.
            return sim.machine._is_online and ("reconnect", 0) not in sim.machine._station.timers

        async def asks(path: str, **body: Any) -> None:
            await until(is_settled, "the charger is back", within_s=20)
            done = await person("POST", f"{at}{path}", **body)
            assert done["status"] == "executed", done

        await asks("/security/profile", profile=1)
        # A new password: accepted, and used at the next connection.
        await asks("/security/password")
        await comes_with(person, charger_id, 1)
        assert sim.machine.password is not None
        assert await refused(f"{server.ocpp_url}/SIM-1", additional_headers=basic("SIM-1", PASSWORD)) == 401
        # Profile 2 needs our root.
        early = await person("POST", f"{at}/security/profile", status=409, profile=2)
        assert early["code"] == "not_ready_for_profile"
        await asks("/roots")
        await asks("/security/profile", profile=2)
        await comes_with(person, charger_id, 2)
        good = basic("SIM-1", sim.machine.password)
        assert await refused(f"{server.ocpp_url}/SIM-1", additional_headers=good) == 403
        assert (await state(person, charger_id))["refusal"]["why"] == "not_tls"
        # Profile 3 needs a certificate of its own.
        await person("POST", f"{at}/security/profile", status=409, profile=3)
        await asks("/certificates")

        async def is_certified() -> Any:
            return (await state(person, charger_id))["certificate"]

        await until(is_certified, "the charger has a certificate", within_s=30)
        await asks("/security/profile", profile=3)
        await comes_with(person, charger_id, 3)
        trusting = ssl.create_default_context(cadata=sim.machine.wallet.roots()[0])
        url = f"{tls_url(server)}/SIM-1"
        assert await refused(url, additional_headers=good, ssl=trusting) == 403
        # The charger's papers open the door for nobody else.
        (tmp_path / "chain").write_text(sim.machine.wallet.chain)
        (tmp_path / "key").write_text(sim.machine.wallet.key)
        trusting.load_cert_chain(tmp_path / "chain", tmp_path / "key")
        assert await refused(f"{tls_url(server)}/SIM-2", ssl=trusting) == 401
        # Revoked, it opens none at all.
        listed = await person("GET", f"{at}/certificates")
        held = next(each for each in listed["items"] if each["status"] == "accepted")
        await person("POST", f"{at}/certificates/{held['id']}/revoke")
        assert await refused(url, ssl=trusting) == 403
    # Only the terminal lowers it again.
    server.command("charger", "lower-profile", "SIM-1", "1")
    assert (await state(person, charger_id))["enforced_profile"] == 1


async def test_a_certificate_of_another_name_authority_or_time_opens_nothing(server: Server, tmp_path: Path):
    person = make_person(server)
    deliver(server, f"CP-1,1234,{PASSWORD}")
    await settle_in(person, "CP-1")
    root = server.command("charger", "root").stdout
    now = datetime.now(UTC)
    foreign = certificates.new_root("Foreign", "Somebody", now, now + timedelta(days=9))
    request, key = certificates.new_request("CP-1", "")
    forged = certificates.sign_request(
        foreign, request, identity="CP-1", now=now, until_at=now + timedelta(days=1)
    )
    (tmp_path / "chain").write_text(forged)
    (tmp_path / "key").write_text(key)
    trusting = ssl.create_default_context(cadata=root)
    url = f"{tls_url(server)}/CP-1"
    options = {"additional_headers": basic("CP-1", PASSWORD), "ssl": trusting} | PLAIN
    async with websockets.connect(url, **options):
        pass
    trusting.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    with pytest.raises((OSError, websockets.InvalidHandshake, websockets.ConnectionClosed)):
        async with websockets.connect(url, **options) as charger:
            await charger.recv()


async def test_a_proxy_that_ends_tls_counts_as_tls(server: Server):
    person = make_person(server)
    deliver(server, f"CP-1,1234,{PASSWORD}")
    _, charger_id = await settle_in(person, "CP-1")
    headers = basic("CP-1", PASSWORD) | {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    async with websockets.connect(f"{server.ocpp_url}/CP-1", additional_headers=headers, **PLAIN):
        found = await state(person, charger_id)
        assert (found["profile_in_use"], found["is_tls"], found["address"]) == (2, True, "203.0.113.9")


async def test_a_new_password_at_its_worst_moments(server: Server):
    """Refused, cut off before the charger took it, and cut off after: some password is always good."""
    person = make_person(server)
    deliver(server, f"CP-1,1234,{PASSWORD}")
    _, charger_id = await settle_in(person, "CP-1")
    url = f"{server.ocpp_url}/CP-1"
    at = f"/chargers/{charger_id}/security"

    @asynccontextmanager
    async def asked(password: str) -> AsyncIterator[tuple[Any, str, str, asyncio.Task[Any]]]:
        """Connect with a password and be given a new one; the test decides how that goes on."""
        async with websockets.connect(url, additional_headers=basic("CP-1", password), **PLAIN) as charger:
            asking = asyncio.create_task(person("POST", f"{at}/password"))
            while True:
                frame = json.loads(await charger.recv())
                if frame[2] == "ChangeConfiguration" and frame[3]["key"] == "AuthorizationKey":
                    break
                # Whatever else is asked of a fresh connection.
                await charger.send(json.dumps([4, frame[1], "NotSupported", "", {}]))
            yield charger, frame[1], frame[3]["value"], asking

    async with asked(PASSWORD) as (charger, call_id, refused_one, asking):
        await charger.send(json.dumps([3, call_id, {"status": "Rejected"}]))
        assert (await asking)["status"] == "rejected"
    assert await refused(url, additional_headers=basic("CP-1", refused_one)) == 401
    async with asked(PASSWORD) as (charger, _, lost, asking):
        charger.transport.abort()
        assert (await asking)["status"] in {"offline", "expired"}
    assert (await person("GET", at))["is_password_pending"]
    # It had not taken it: the old one is still good, and then …
    async with asked(PASSWORD) as (charger, _, taken, asking):
        charger.transport.abort()
        await asking
    # … it had: the new one is good, as the bytes that its digits mean, and the old one is not any more.
    sent = base64.b64encode(b"CP-1:" + bytes.fromhex(taken)).decode()
    async with websockets.connect(url, additional_headers={"Authorization": f"Basic {sent}"}, **PLAIN):
        pass
    for gone in (PASSWORD, lost):
        assert await refused(url, additional_headers=basic("CP-1", gone)) == 401

"""TLS for chargers: real sockets, our own authority, and the limits that count unfinished handshakes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
import websockets

from tests.unit.gateway.peers import settle, until
from tests.unit.gateway.test_server import Desk
from voltyard.gateway.handshake import Waiting
from voltyard.gateway.server import Gateway, TlsListening
from voltyard.gateway.tls import CIPHERS, server_context
from voltyard.kernel import certificates
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.certificates import KeyKind, Pair
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.limits import TLS_REFRESH_S
from voltyard.speech import Entry

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Papers(NamedTuple):
    """A certificate with its chain, and its key."""

    chain_pem: str
    key_pem: str


class World(NamedTuple):
    """An authority and what it issues."""

    root: Pair
    issuer: Pair

    def server(self, kind: KeyKind) -> Papers:
        pair = certificates.new_server(self.issuer, ["localhost", "127.0.0.1"], kind, NOW, NOW + DAY)
        return Papers(pair.certificate_pem + self.issuer.certificate_pem, pair.key_pem)

    def charger(self, identity="CP-1", *, until_at=NOW + DAY, now=NOW) -> Papers:
        request, key = certificates.new_request(identity, "")
        pem = certificates.sign_request(self.issuer, request, identity=identity, now=now, until_at=until_at)
        return Papers(pem + self.issuer.certificate_pem, key)

    @property
    def trusted(self) -> str:
        return self.issuer.certificate_pem + self.root.certificate_pem


@cache
def servers(world: World, kind: KeyKind) -> Papers:
    """Return what a server shows: made once, since making an RSA key takes long."""
    return world.server(kind)


@cache
def foreign() -> World:
    """Return an authority that nobody here trusts."""
    return make_world()


def make_world() -> World:
    root = certificates.new_root("Test root", "Voltyard", NOW, NOW + 30 * DAY)
    return World(root, certificates.new_issuer(root, "Test issuer", "Voltyard", NOW, NOW + 30 * DAY))


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def client_context(world: World, folder: Path, papers: Papers | None = None) -> ssl.SSLContext:
    """Return what a charger brings along: the root it trusts, and its certificate."""
    context = ssl.create_default_context(cadata=world.root.certificate_pem)
    if papers is not None:
        (folder / "chain.pem").write_text(papers.chain_pem)
        (folder / "key.pem").write_text(papers.key_pem)
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return context


class House:
    """A gateway with a TLS listener, and a desk that lets in whom the test wants."""

    def __init__(self, bus: LocalBus, clock: FakeClock, world: World) -> None:
        self.bus, self.clock, self.world = bus, clock, world
        self.desk = Desk(clock)
        self.port = self.tls_port = 0
        self.offers = 0
        self.fault: Exception | None = None
        self.waiting: Waiting

    async def offer(self) -> ssl.SSLContext:
        self.offers += 1
        if self.fault is not None:
            raise self.fault
        return server_context([servers(self.world, kind) for kind in KeyKind], self.world.trusted)

    def connect(self, context: ssl.SSLContext, target: str = "/ocpp/CP-1", **over: Any) -> Any:
        options = {"subprotocols": ["ocpp1.6"], "compression": None, "proxy": None, "ping_interval": None}
        return websockets.connect(f"wss://localhost:{self.tls_port}{target}", ssl=context, **options, **over)


@asynccontextmanager
async def house_of(world: World) -> AsyncIterator[House]:
    clock, bus = FakeClock(), LocalBus()
    house = House(bus, clock, world)
    await house.desk.serve(bus)

    def tls_ready(port: int) -> None:
        house.tls_port = port

    def ready(port: int) -> None:
        house.port = port

    gateway = Gateway(
        bus=bus, clock=clock, host="127.0.0.1", port=0, tls=TlsListening(0, house.offer, tls_ready)
    )
    running = asyncio.create_task(gateway.run(ready))
    try:
        await until(lambda: house.port or running.done())
        assert house.tls_port, "the TLS listener is there before the gateway is ready"
        house.waiting = gateway._waiting
        yield house
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await bus.close()


async def talk(world: World, folder: Path) -> None:
    """Connect over TLS with a certificate, say something long, and hear the answer."""
    papers = world.charger()
    async with house_of(world) as house:
        async with house.connect(client_context(world, folder, papers)) as charger:
            for number in range(20):
                await charger.send(f'[2,"{number}","Heartbeat",{{"filler":"{"x" * 5_000}"}}]')
                assert '"currentTime"' in await charger.recv()
        (hello,) = house.desk.hellos
        assert hello.is_tls
        assert hello.certificate is not None
        assert certificates.describe(certificates.from_der(hello.certificate)).common_name == "CP-1"


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_a_charger_talks_over_tls_and_shows_its_certificate(runner, world, tmp_path):
    factory = uvloop.new_event_loop if runner == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as loop:
        loop.run(asyncio.wait_for(talk(world, tmp_path), 20))


async def test_a_charger_without_a_certificate_comes_over_tls(world, tmp_path):
    async with house_of(world) as house:
        async with house.connect(client_context(world, tmp_path)):
            pass
        (hello,) = house.desk.hellos
        assert hello.is_tls
        assert hello.certificate is None


async def test_a_plain_socket_on_the_other_port_is_not_tls(world):
    async with house_of(world) as house:
        async with websockets.connect(
            f"ws://127.0.0.1:{house.port}/ocpp/CP-1", subprotocols=["ocpp1.6"], proxy=None
        ):
            pass
        assert not house.desk.hellos[0].is_tls


async def test_a_certificate_of_another_authority_ends_tls(world, tmp_path):
    papers = foreign().charger()
    async with house_of(world) as house:
        with pytest.raises((OSError, websockets.InvalidHandshake, websockets.ConnectionClosed)):
            async with house.connect(client_context(world, tmp_path, papers)):
                pass
        assert house.desk.hellos == []


async def test_a_charger_that_does_not_trust_us_does_not_come(world, tmp_path):
    async with house_of(world) as house:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with house.connect(client_context(foreign(), tmp_path)):
                pass


@pytest.mark.parametrize("cipher", CIPHERS)
async def test_each_cipher_of_the_white_paper_works(cipher, world, tmp_path):
    context = client_context(world, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    async with house_of(world) as house, house.connect(context) as charger:
        assert charger.transport.get_extra_info("cipher")[0] == cipher


async def test_old_versions_of_tls_are_not_spoken(world, tmp_path):
    context = client_context(world, tmp_path)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with house_of(world) as house:
        with pytest.raises((OSError, websockets.InvalidHandshake)):
            async with house.connect(context):
                pass
        assert house.desk.hellos == []


@pytest.mark.parametrize("entry", [Entry.NOT_TLS, Entry.NO_CERTIFICATE, Entry.WRONG_CERTIFICATE])
async def test_a_charger_that_shows_too_little_is_told_so(entry, world, tmp_path):
    async with house_of(world) as house:
        house.desk.entry = entry
        with pytest.raises(websockets.InvalidStatus) as wrong:
            async with house.connect(client_context(world, tmp_path)):
                pass
        assert wrong.value.response.status_code == 403
        assert b"security profile" in wrong.value.response.body


async def test_unfinished_tls_counts_as_an_unfinished_handshake_and_can_be_evicted(world):
    async with house_of(world) as house:
        peers = []
        for _ in range(3):
            peers.append(await asyncio.open_connection("127.0.0.1", house.tls_port))
            peers[-1][1].write(b"\x16\x03\x01")
        await until(lambda: len(house.waiting) == 3)
        oldest = next(iter(house.waiting._all))
        assert oldest.address == "127.0.0.1"
        oldest.evict()
        async with asyncio.timeout(5):
            assert await peers[0][0].read() == b""
        await until(lambda: len(house.waiting) == 2)
        for _, writer in peers:
            writer.transport.abort()
        await until(lambda: len(house.waiting) == 0)


async def test_half_a_head_over_tls_counts_too(world, tmp_path):
    async with house_of(world) as house:
        _, writer = await asyncio.open_connection(
            "localhost", house.tls_port, ssl=client_context(world, tmp_path)
        )
        writer.write(b"GET /ocpp/CP-1 HTTP/1.1\r\n")
        await until(lambda: len(house.waiting) == 1)
        writer.transport.abort()
        await until(lambda: len(house.waiting) == 0)


async def test_who_speaks_no_tls_is_let_go_and_the_others_are_not_disturbed(world, tmp_path):
    async with house_of(world) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.tls_port)
        writer.write(b"GET /ocpp/CP-1 HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            await reader.read()
        writer.transport.abort()
        async with house.connect(client_context(world, tmp_path)):
            pass


async def test_certificates_are_renewed_while_it_runs_and_a_failure_keeps_the_old_one(world, tmp_path):
    async with house_of(world) as house:
        house.fault = OSError("the file is gone")
        await settle()
        house.clock.advance(TLS_REFRESH_S)
        await until(lambda: house.offers == 2)
        async with house.connect(client_context(world, tmp_path)):
            pass
        house.fault, house.world = None, foreign()
        await settle()
        house.clock.advance(TLS_REFRESH_S)
        await until(lambda: house.offers == 3)
        async with house.connect(client_context(house.world, tmp_path)):
            pass

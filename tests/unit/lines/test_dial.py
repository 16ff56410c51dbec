"""Connecting to an operator: real sockets, and an independent websocket library at the other end."""

from __future__ import annotations

import asyncio
import base64
import http
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
import websockets
from cryptography.hazmat.primitives import serialization
from websockets.asyncio.server import ServerConnection

from voltyard.kernel import certificates
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.certificates import KeyKind, Pair
from voltyard.kernel.limits import FRAME_BYTES_MAX, PIECES_MAX, SEND_BUFFER_BYTES_MAX
from voltyard.kernel.wire import Message
from voltyard.lines import dial
from voltyard.lines.dial import Attempt, DialFailed, Ears, Step, Target, client_context, connect

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
BANNER = "INTERNAL-SECRET-OF-THE-PEER"
"""What a peer says in its refusals; it must reach nobody."""


class World(NamedTuple):
    """An authority and what it issues."""

    root: Pair
    issuer: Pair
    folder: Path

    def server(
        self, *names: str, now: datetime = NOW, until_at: datetime = NOW + DAY, asks: bool = False
    ) -> ssl.SSLContext:
        pair = certificates.new_server(self.issuer, names or ("localhost",), KeyKind.EC, now, until_at)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.load(context, pair.certificate_pem + self.issuer.certificate_pem, pair.key_pem)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self.root.certificate_pem)
        return context

    def load(self, context: ssl.SSLContext, chain_pem: str, key_pem: str) -> None:
        (self.folder / "chain.pem").write_text(chain_pem)
        (self.folder / "key.pem").write_text(key_pem)
        context.load_cert_chain(self.folder / "chain.pem", self.folder / "key.pem")

    def charger(self, identity: str = "CP-1") -> tuple[str, str]:
        request, key = certificates.new_request(identity, "")
        pem = certificates.sign_request(self.issuer, request, identity=identity, now=NOW, until_at=NOW + DAY)
        return pem + self.issuer.certificate_pem, key


def make_world(folder: Path, name: str) -> World:
    root = certificates.new_root(f"{name} root", "Test", NOW, NOW + 30 * DAY)
    issuer = certificates.new_issuer(root, f"{name} issuer", "Test", NOW, NOW + 30 * DAY)
    return World(root, issuer, folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("papers"), "one")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> World:
    return make_world(tmp_path_factory.mktemp("papers"), "another")


class Operator:
    """A back office of another library, which remembers who came and how."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[websockets.Request] = []
        self.peers: list[ServerConnection] = []
        self.heard: list[str | bytes] = []
        self.left: list[tuple[int | None, str | None]] = []
        self.answer: Callable[[ServerConnection, websockets.Request], Any] | None = None
        self.serve: Callable[[ServerConnection], Awaitable[None]] | None = None

    async def on_request(self, peer: ServerConnection, request: websockets.Request) -> Any:
        self.requests.append(request)
        return None if self.answer is None else self.answer(peer, request)

    async def on_peer(self, peer: ServerConnection) -> None:
        self.peers.append(peer)
        if self.serve is not None:
            await self.serve(peer)
        with suppress(websockets.ConnectionClosed):
            while True:
                self.heard.append(await peer.recv())
        self.left.append((peer.close_code, peer.close_reason))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ocpp"


@asynccontextmanager
async def operator_of(**over: Any) -> AsyncIterator[Operator]:
    operator = Operator()
    options = {"subprotocols": ["ocpp1.6"], "ping_interval": None, "close_timeout": 1} | over
    async with websockets.serve(
        operator.on_peer, "127.0.0.1", 0, process_request=operator.on_request, **options
    ) as server:
        operator.port = server.sockets[0].getsockname()[1]
        yield operator


@asynccontextmanager
async def raw_operator(answer: bytes, *, is_closing: bool = True) -> AsyncIterator[str]:
    """Serve these bytes to whoever has asked something."""
    open_ones: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        with suppress(OSError):
            await reader.read(4_096)
            writer.write(answer)
            if is_closing:
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in open_ones:
            writer.transport.abort()


class Line:
    """Who uses the ears."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.reasons: list[str] = []
        self.time_s = 100.0
        self.ears = Ears(self.messages.append, self.reasons.append, monotonic=lambda: self.time_s)

    def listener(self) -> Ears:
        return self.ears


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop run until a condition is true."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


def target(url: str, **over: Any) -> Target:
    return Target(url, **{"identity": "CP-1", "is_private_allowed": True} | over)


def to(*addresses: str) -> Callable[[str, int], Awaitable[tuple[str, ...]]]:
    """Return a resolver that knows every name."""

    async def resolve(host: str, port: int) -> tuple[str, ...]:
        return addresses

    return resolve


async def failure(where: Target, **over: Any) -> DialFailed:
    with pytest.raises(DialFailed) as wrong:
        await connect(where, unexpected, **over)
    assert BANNER not in str(wrong.value)
    assert BANNER not in repr(wrong.value.facts)
    return wrong.value


def unexpected() -> Ears:
    raise AssertionError("no listener is made for a connection that fails")


@asynccontextmanager
async def talk(**over: Any) -> AsyncIterator[tuple[Operator, Line, ServerConnection]]:
    """An operator, a line, and the operator's end of the socket."""
    async with operator_of(**over) as operator:
        line = Line()
        await connect(target(operator.url), line.listener)
        await until(lambda: operator.peers)
        yield operator, line, operator.peers[0]
        line.ears.abort()
        await until(lambda: line.reasons)


# --- going there ---


async def test_a_line_talks_to_an_operator():
    async with operator_of() as operator:
        line = Line()
        transport, ears = await connect(target(operator.url), line.listener)
        assert ears is line.ears
        assert ears.is_open
        ears.send(b'[2,"1","Heartbeat",{}]')
        await until(lambda: operator.heard)
        assert operator.heard == ['[2,"1","Heartbeat",{}]']
        await operator.peers[0].send('[3,"1",{}]')
        await until(lambda: line.messages)
        assert line.messages == [b'[3,"1",{}]']
        assert transport.response.headers["Sec-WebSocket-Protocol"] == "ocpp1.6"
        ears.close(1000, "done")
        await until(lambda: line.reasons and operator.left)
        assert line.reasons == ["done"]
        assert operator.left == [(1000, "done")]
        assert not ears.is_open


async def test_the_operator_hears_what_the_link_says():
    async with operator_of() as operator:
        line = Line()
        where = target(
            f"ws://localhost:{operator.port}/ocpp?token=x",
            identity="CP 1",
            password=b"\x00pass:word\xff",
            via=("yard-a", "yard-b"),
        )
        await connect(where, line.listener, resolve=to("127.0.0.1"))
        line.ears.abort()
        (request,) = operator.requests
        assert request.path == "/ocpp/CP%201?token=x"
        assert request.headers["Host"] == f"localhost:{operator.port}"
        assert request.headers.get_all("Host") == [f"localhost:{operator.port}"]
        assert request.headers["Voltyard-Via"] == "yard-a, yard-b"
        assert request.headers["Sec-WebSocket-Protocol"] == "ocpp1.6"
        assert "Sec-WebSocket-Extensions" not in request.headers
        scheme, _, pair = request.headers["Authorization"].partition(" ")
        assert scheme == "Basic"
        assert base64.b64decode(pair) == b"CP 1:\x00pass:word\xff"


async def test_user_name_and_host_may_be_others():
    async with operator_of() as operator:
        line = Line()
        where = target(operator.url, username="käufer", password=b"x", host_name="Ocpp.Example")
        await connect(where, line.listener)
        line.ears.abort()
        (request,) = operator.requests
        assert request.headers["Host"] == f"ocpp.example:{operator.port}"
        assert base64.b64decode(request.headers["Authorization"][6:]) == "käufer:x".encode()


async def test_without_a_password_there_is_no_authorization_and_without_hops_no_list():
    async with operator_of() as operator:
        line = Line()
        await connect(target(operator.url + "/CP-1", is_identity_appended=False), line.listener)
        line.ears.abort()
        (request,) = operator.requests
        assert request.path == "/ocpp/CP-1"
        assert "Authorization" not in request.headers
        assert "Voltyard-Via" not in request.headers


@pytest.mark.parametrize(
    "over",
    [
        {"via": ("yard\r\nX-Evil: 1",)},
        {"subprotocols": ("ocpp1.6\r\n",)},
        {"host_name": "h\r\nX-Evil: 1"},
        {"host_name": "h.example/x"},
        {"url": "wss://u:p@h.example/"},
        {"url": "ftp://h.example/"},
        {"url": "ws://h.example/", "is_private_allowed": False},
        {"url": "wss://10.0.0.1/", "is_private_allowed": False},
    ],
)
async def test_what_cannot_be_sent_or_may_not_be_reached_is_refused_before_anything_is_asked(over):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        raise AssertionError("nobody is asked")

    wrong = await failure(target(**{"url": "ws://h.example/"} | over), resolve=resolve)
    assert (wrong.step, wrong.is_lasting, wrong.http_status) == (Step.URL, True, None)


def test_secrets_are_not_shown():
    shown = repr(target("ws://h/", password=b"hunter2", client_key_pem="hunter2"))
    assert "hunter2" not in shown


# --- names and addresses ---


async def test_a_name_that_leads_to_a_private_address_is_refused():
    # By the machine's own resolver, and without a word that says which address it was.
    wrong = await failure(target("wss://localhost/", is_private_allowed=False))
    assert (wrong.step, wrong.is_lasting) == (Step.ADDRESS, True)
    assert "127.0.0.1" not in wrong.why


@pytest.mark.parametrize("hidden", ["10.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::a00:1"])
async def test_one_private_address_among_public_ones_is_enough_to_refuse(hidden):
    where = target("wss://h.example/", is_private_allowed=False)
    wrong = await failure(where, resolve=to("1.1.1.1", hidden, "2606:4700::1111"))
    assert wrong.step is Step.ADDRESS


async def test_where_private_networks_are_allowed_the_metadata_is_not():
    wrong = await failure(target("ws://h.example/"), resolve=to("127.0.0.1", "169.254.169.254"))
    assert wrong.step is Step.ADDRESS


async def test_the_resolver_is_asked_once_and_the_socket_goes_to_what_it_said(monkeypatch):
    """A second question could be answered otherwise (DNS rebinding)."""
    asked: list[tuple[str, int]] = []
    resolved: list[Any] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **over: Any) -> Any:
        resolved.append(host)
        return real(host, *rest, **over)

    async with operator_of() as operator:

        async def resolve(host: str, port: int) -> tuple[str, ...]:
            asked.append((host, port))
            return ("127.0.0.1",) if len(asked) == 1 else ("169.254.169.254",)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        line = Line()
        where = target(f"ws://rebound.example:{operator.port}/")
        await connect(where, line.listener, resolve=resolve)
        assert asked == [("rebound.example", operator.port)]
        assert resolved == []
        line.ears.abort()
        # Each connection asks anew, and judges anew.
        wrong = await failure(where, resolve=resolve)
        assert wrong.step is Step.ADDRESS
        assert len(asked) == 2


@pytest.mark.parametrize("fault", [socket.gaierror(socket.EAI_NONAME, BANNER), UnicodeError(BANNER)])
async def test_a_name_that_is_unknown(fault):
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        raise fault

    wrong = await failure(target("wss://h.example/"), resolve=resolve)
    assert (wrong.step, wrong.is_lasting) == (Step.DNS, False)
    assert "no address for the name h.example" in wrong.why


@pytest.mark.parametrize("found", [(), ("fe80::1%eth0",), ("127.0.0.1", "fe80::1%eth0")])
async def test_a_name_without_usable_addresses(found):
    wrong = await failure(target("wss://h.example/"), resolve=to(*found))
    assert wrong.step is Step.DNS


async def test_addresses_are_tried_one_after_the_other_both_kinds_by_turns():
    async with operator_of() as operator:
        line = Line()
        dead = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
        where = target(f"ws://h.example:{operator.port}/")
        _, ears = await connect(where, line.listener, resolve=to("::1", "::1", "127.0.0.1"))
        ears.abort()
        wrong = await failure(where, resolve=to(*dead, "127.0.0.1"))
        assert wrong.why == f"nobody listens at port {operator.port} of h.example"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_port_where_nobody_listens():
    port = free_port()
    wrong = await failure(target(f"ws://127.0.0.1:{port}/"))
    assert (wrong.step, wrong.is_lasting) == (Step.TCP, False)
    assert wrong.why == f"nobody listens at port {port} of 127.0.0.1"


async def test_a_port_where_nobody_answers_costs_no_more_than_the_limit():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            wrong = await failure(target(f"ws://127.0.0.1:{port}/"), timeout_s=0.3)
        finally:
            for filler in fillers:
                filler.close()
    assert wrong.step is Step.TCP
    assert wrong.why == f"nobody answers at port {port} of 127.0.0.1"


async def test_a_resolver_that_takes_too_long():
    async def resolve(host: str, port: int) -> tuple[str, ...]:
        await asyncio.Event().wait()
        return ()

    wrong = await failure(target("wss://h.example/"), timeout_s=0.05, resolve=resolve)
    assert wrong.step is Step.DNS
    assert "in time" in wrong.why


# --- ourselves ---


async def test_our_own_door_is_refused_by_its_name():
    where = target("wss://Yard.Example/x", own_doors=frozenset({"yard.example:443"}))
    wrong = await failure(where, resolve=to("127.0.0.1"))
    assert (wrong.step, wrong.is_lasting) == (Step.URL, True)


async def test_our_own_port_is_refused_by_wherever_the_name_leads():
    async with operator_of() as operator:
        where = target(f"ws://h.example:{operator.port}/", own_ports=frozenset({operator.port}))
        wrong = await failure(where, resolve=to("127.0.0.1"))
        assert (wrong.step, wrong.is_lasting) == (Step.ADDRESS, True)
        assert operator.requests == []
        (*passed, last) = await dial.try_out(where, resolve=to("127.0.0.1"))
        assert [attempt.step for attempt in passed] == [Step.URL, Step.DNS]
        assert last == Attempt(Step.ADDRESS, False, wrong.why)


# --- TLS ---


def secure(operator: Operator, world: World | None, **over: Any) -> Target:
    pinned = {} if world is None else {"authority_pem": world.root.certificate_pem}
    return target(f"wss://localhost:{operator.port}/ocpp", **pinned | over)


async def talk_over_tls(world: World) -> None:
    chain, key = world.charger()
    async with operator_of(ssl=world.server(asks=True)) as operator:
        line = Line()
        where = secure(operator, world, client_certificate_pem=chain, client_key_pem=key)
        _, ears = await connect(where, line.listener, resolve=to("127.0.0.1"))
        await until(lambda: operator.peers)
        shown = operator.peers[0].transport.get_extra_info("peercert")
        assert (("commonName", "CP-1"),) in shown["subject"]
        for number in range(5):
            ears.send(b"x" * 50_000)
            await operator.peers[0].send("y" * 50_000)
            await until(lambda n=number: len(line.messages) > n and len(operator.heard) > n)
        ears.close(1001, "")
        await until(lambda: line.reasons and operator.left)
        assert operator.left[0][0] == 1001
        foreign = secure(operator, None, client_certificate_pem=chain, client_key_pem=key)
        wrong = await failure(foreign, resolve=to("127.0.0.1"))
        assert wrong.step is Step.TLS
        wrong = await failure(secure(operator, world), resolve=to("127.0.0.1"))
        assert "client certificate" in wrong.why
    async with operator_of() as operator:
        operator.answer = lambda peer, _: peer.respond(http.HTTPStatus.NOT_FOUND, BANNER)
        assert (await failure(target(operator.url))).http_status == 404
        line = Line()
        operator.answer = None
        await connect(target(operator.url), line.listener)
        line.ears.abort()
        await until(lambda: line.reasons)


@pytest.mark.parametrize("runner", ["asyncio", "uvloop"])
def test_a_line_talks_over_tls_and_shows_its_certificate(runner, world):
    factory = uvloop.new_event_loop if runner == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as loop:
        loop.run(asyncio.wait_for(talk_over_tls(world), 30))


@pytest.mark.parametrize("pinned", ["root", "issuer"])
async def test_a_pinned_authority_is_trusted(pinned, world):
    async with operator_of(ssl=world.server()) as operator:
        line = Line()
        where = secure(operator, None, authority_pem=getattr(world, pinned).certificate_pem)
        await connect(where, line.listener, resolve=to("127.0.0.1"))
        line.ears.abort()


async def test_a_certificate_of_nobody_whom_we_trust(world, foreign):
    async with operator_of(ssl=world.server()) as operator:
        for where in (secure(operator, None), secure(operator, foreign)):
            wrong = await failure(where, resolve=to("127.0.0.1"))
            assert (wrong.step, wrong.is_lasting) == (Step.TLS, False)
            assert "signed by nobody who is trusted" in wrong.why
        assert operator.requests == []


def test_only_the_pinned_authority_is_trusted(world):
    where = target("wss://h/", authority_pem=world.root.certificate_pem)
    assert len(client_context(where).get_ca_certs()) == 1


async def test_a_certificate_that_has_expired_or_begins_later(world):
    expired = world.server(now=NOW - 3 * DAY, until_at=NOW - DAY)
    async with operator_of(ssl=expired) as operator:
        wrong = await failure(secure(operator, world), resolve=to("127.0.0.1"))
        assert wrong.why == "the operator's certificate has expired"
    later = world.server(now=NOW + 2 * DAY, until_at=NOW + 3 * DAY)
    async with operator_of(ssl=later) as operator:
        wrong = await failure(secure(operator, world), resolve=to("127.0.0.1"))
        assert wrong.why == "the operator's certificate is not valid yet"


async def test_a_certificate_of_another_name_and_the_override_for_it(world):
    async with operator_of(ssl=world.server("inner.example")) as operator:
        wrong = await failure(secure(operator, world), resolve=to("127.0.0.1"))
        assert "another name" in wrong.why
        by_number = replace(secure(operator, world), url=f"wss://127.0.0.1:{operator.port}/")
        assert "another name" in (await failure(by_number)).why
        line = Line()
        where = secure(operator, world, host_name="inner.example")
        await connect(where, line.listener, resolve=to("127.0.0.1"))
        line.ears.abort()
        assert operator.requests[0].headers["Host"] == f"inner.example:{operator.port}"


async def test_an_address_in_a_certificate_is_a_name_too(world):
    async with operator_of(ssl=world.server("127.0.0.1")) as operator:
        line = Line()
        await connect(
            replace(secure(operator, world), url=f"wss://127.0.0.1:{operator.port}/"), line.listener
        )
        line.ears.abort()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 " + BANNER.encode() + b"\r\n\r\n", "does not speak TLS"),
        (b"SSH-2.0-" + BANNER.encode() + b"\r\n", "does not speak TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "no longer safe"),  # the alert protocol_version
        (b"\x15\x03\x03\x00\x02\x02\x28", "broke off the TLS handshake"),  # handshake_failure
    ],
)
async def test_a_port_that_answers_otherwise_than_in_good_tls(answer, told):
    async with raw_operator(answer) as url:
        wrong = await failure(target(url.replace("ws:", "wss:")))
        assert (wrong.step, wrong.is_lasting) == (Step.TLS, False)
        assert told in wrong.why


async def test_a_websocket_server_without_tls(world):
    async with operator_of() as operator:
        wrong = await failure(secure(operator, world), resolve=to("127.0.0.1"))
        assert wrong.step is Step.TLS
        assert "may not speak TLS" in wrong.why


async def test_a_port_that_ends_tls_without_a_word(world):
    async with raw_operator(b"") as url:
        wrong = await failure(target(url.replace("ws:", "wss:"), authority_pem=world.root.certificate_pem))
        assert wrong.step is Step.TLS
        assert "broke off the TLS handshake" in wrong.why


async def test_tls_that_is_too_old(world):
    context = world.server()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with operator_of(ssl=context) as operator:
        assert (await failure(secure(operator, world), resolve=to("127.0.0.1"))).step is Step.TLS
        assert operator.requests == []


async def test_a_client_certificate_that_the_operator_does_not_accept(world, foreign):
    chain, key = foreign.charger()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = world.server(asks=True)
        context.maximum_version = version
        async with operator_of(ssl=context) as operator:
            where = secure(operator, world, client_certificate_pem=chain, client_key_pem=key)
            wrong = await failure(where, resolve=to("127.0.0.1"))
            assert "may not accept the client certificate" in wrong.why


async def test_papers_that_cannot_be_read_are_said_to_be_ours(world):
    chain, key = world.charger()
    other = world.charger()[1]
    locked = (
        serialization.load_pem_private_key(key.encode(), None)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
        .decode()
    )
    async with operator_of(ssl=world.server()) as operator:
        for over in (
            {"authority_pem": "no certificate"},
            {"authority_pem": ""},
            {"client_certificate_pem": "no certificate", "client_key_pem": key},
            {"client_certificate_pem": chain},
            {"client_certificate_pem": chain, "client_key_pem": other},
            {"client_certificate_pem": chain, "client_key_pem": locked},
        ):
            wrong = await failure(secure(operator, world, **over), resolve=to("127.0.0.1"))
            assert (wrong.step, wrong.is_lasting) == (Step.TLS, True)
            assert "cannot be used" in wrong.why


async def test_tls_that_hangs(world):
    async with raw_operator(b"", is_closing=False) as url:
        where = target(url.replace("ws:", "wss:"), authority_pem=world.root.certificate_pem)
        wrong = await failure(where, timeout_s=0.3)
        assert wrong.step is Step.TLS
        assert "does not finish its TLS handshake in time" in wrong.why


# --- HTTP and the subprotocol ---


@pytest.mark.parametrize(
    ("status", "told", "is_lasting"),
    [
        (200, "opens no websocket", True),
        (400, "cannot read the request", True),
        (401, "the operator refused the user name or password", True),
        (403, "does not allow", True),
        (404, "knows no charger with this identity at this address", True),
        (408, "opens no websocket", False),
        (410, "no longer knows", True),
        (418, "opens no websocket", True),
        (426, "opens no websocket", True),
        (429, "fewer attempts", False),
        (500, "out of order", False),
        (503, "out of order", False),
    ],
)
async def test_a_refusal_is_told_in_our_words(status, told, is_lasting):
    async with operator_of() as operator:
        operator.answer = lambda peer, _: peer.respond(http.HTTPStatus(status), BANNER)
        wrong = await failure(target(operator.url))
        assert (wrong.step, wrong.http_status, wrong.is_lasting) == (Step.HTTP, status, is_lasting)
        assert told in wrong.why
        assert wrong.why.startswith(f"HTTP {status}: ")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 521 " + BANNER.encode() + b"\r\n\r\n" + BANNER.encode(), 521),
        (b"HTTP/1.1 401\r\n\r\n", 401),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", 403),
        (b"HTTP/1.1 404 Not Found\r\n" + BANNER.encode() + b"\r\n\r\n", 404),
        (b"HTTP/1.1 500 Oh\r\n" + 200 * b"X: y\r\n" + b"\r\n", 500),
    ],
)
async def test_a_refusal_in_an_odd_shape_is_understood(answer, status):
    async with raw_operator(answer) as url:
        wrong = await failure(target(url))
        assert (wrong.step, wrong.http_status) == (Step.HTTP, status)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-" + BANNER.encode() + b"\r\n\r\n",
        b"HTTP/1.1 9999 x\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"x" * 40_000,
    ],
)
async def test_what_is_no_web_server_is_not_quoted(answer):
    async with raw_operator(answer) as url:
        wrong = await failure(target(url))
        assert (wrong.step, wrong.http_status) == (Step.HTTP, None)
        assert "not a websocket server" in wrong.why


async def test_a_101_that_is_none():
    async with raw_operator(b"HTTP/1.1 101 Sure\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n") as url:
        wrong = await failure(target(url))
        assert wrong.step is Step.HTTP
        assert "rules of websockets" in wrong.why


async def test_a_redirect_is_not_followed():
    async with operator_of() as elsewhere, operator_of() as operator:

        def answer(peer: ServerConnection, _: websockets.Request) -> Any:
            response = peer.respond(http.HTTPStatus.FOUND, BANNER)
            response.headers["Location"] = elsewhere.url
            return response

        operator.answer = answer
        wrong = await failure(target(operator.url))
        assert (wrong.http_status, wrong.is_lasting) == (302, True)
        assert "not followed" in wrong.why
        assert elsewhere.requests == []


async def test_an_operator_that_closes_in_place_of_an_answer():
    async with raw_operator(b"") as url:
        wrong = await failure(target(url))
        assert (wrong.step, wrong.is_lasting) == (Step.HTTP, False)
        assert wrong.why == "the operator closed the connection without an answer"


async def test_an_operator_that_does_not_answer_in_time():
    async with raw_operator(b"HTTP/1.1 101", is_closing=False) as url:
        wrong = await failure(target(url), timeout_s=0.3)
        assert (wrong.step, wrong.is_lasting) == (Step.HTTP, False)
        assert "does not answer in time" in wrong.why


async def test_whoever_is_cancelled_leaves_no_socket():
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        gone.set()
        writer.close()

    asked = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        where = target(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        dialling = asyncio.create_task(connect(where, unexpected))
        async with asyncio.timeout(5):
            await asked.wait()
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling
            await gone.wait()
    finally:
        server.close()


@pytest.mark.parametrize("spoken", [None, ["ocpp2.0.1"]])
async def test_an_operator_that_does_not_speak_our_version(spoken):
    def select(peer: ServerConnection, offered: Any) -> Any:
        return None if spoken is None else spoken[0]

    async with operator_of(subprotocols=spoken, select_subprotocol=select) as operator:
        wrong = await failure(target(operator.url))
        assert (wrong.step, wrong.is_lasting) == (Step.SUBPROTOCOL, True)
        assert wrong.why == "the operator does not speak ocpp1.6 at this address"


async def test_one_of_several_subprotocols_is_chosen():
    async with operator_of() as operator:
        line = Line()
        where = target(operator.url, subprotocols=("ocpp2.0.1", "ocpp1.6"))
        transport, _ = await connect(where, line.listener)
        assert transport.response.headers["Sec-WebSocket-Protocol"] == "ocpp1.6"
        line.ears.abort()


async def test_extensions_that_were_not_offered_end_it():
    def add(peer: ServerConnection, request: Any, response: Any) -> None:
        response.headers["Sec-WebSocket-Extensions"] = "permessage-deflate"

    async with operator_of(process_response=add) as operator:
        wrong = await failure(target(operator.url))
        assert wrong.step is Step.HTTP
        assert "rules of websockets" in wrong.why


async def test_a_failure_crosses_the_bus_whole():
    class Dial(Message, frozen=True):
        pass

    async def refuse(_: Dial) -> Dial:
        raise DialFailed("why", step=Step.HTTP, http_status=401, is_lasting=True)

    bus = LocalBus()
    serving = await bus.serve("line.dial", Dial, refuse)
    with pytest.raises(DialFailed) as wrong:
        await bus.request("line.dial", Dial(), Dial, timeout_s=5)
    await serving.stop()
    await bus.close()
    heard = wrong.value
    assert (heard.why, heard.step, heard.http_status, heard.is_lasting) == ("why", Step.HTTP, 401, True)


# --- trying out ---


async def test_trying_out_reports_each_step_and_says_nothing():
    async with operator_of() as operator:
        attempts = await dial.try_out(target(operator.url), look_s=0.05)
        assert [attempt.step for attempt in attempts] == [step for step in Step if step is not Step.TLS]
        assert all(attempt.is_ok and attempt.why for attempt in attempts)
        assert [attempt.status for attempt in attempts if attempt.status] == [101]
        await until(lambda: operator.left)
        assert operator.left == [(1000, "")]
        assert operator.heard == []


async def test_trying_out_over_tls_has_a_step_more(world):
    async with operator_of(ssl=world.server()) as operator:
        where = secure(operator, world)
        attempts = await dial.try_out(where, look_s=0.05, resolve=to("127.0.0.1"))
        assert [attempt.step for attempt in attempts] == list(Step)
        assert attempts[3].why == f"port {operator.port} of localhost answers"


async def test_trying_out_ends_at_the_step_that_fails():
    async with operator_of() as operator:
        operator.answer = lambda peer, _: peer.respond(http.HTTPStatus.UNAUTHORIZED, BANNER)
        *passed, last = await dial.try_out(target(operator.url))
        assert [attempt.step for attempt in passed] == [Step.URL, Step.DNS, Step.ADDRESS, Step.TCP]
        assert all(attempt.is_ok for attempt in passed)
        assert last == Attempt(
            Step.HTTP, False, "HTTP 401: the operator refused the user name or password", 401
        )


async def test_an_operator_that_opens_and_closes_at_once_is_noticed():
    async with operator_of() as operator:

        async def leave(peer: ServerConnection) -> None:
            await peer.close(1008, BANNER)

        operator.serve = leave
        *_, last = await dial.try_out(target(operator.url), look_s=10)
        assert (last.step, last.is_ok) == (Step.OPEN, False)
        assert "(code 1008)" in last.why
        assert BANNER not in last.why


# --- ears ---


async def test_pieces_are_put_together_and_pings_answered():
    async with talk() as (_, line, peer):
        async with asyncio.timeout(5):
            await peer.send(["[3,", '"1",', "", "{}]"])
            await (await peer.ping(b"alive?"))
        await until(lambda: line.messages)
        assert line.messages == [b'[3,"1",{}]']


async def test_every_frame_is_a_sign_of_life_pings_too():
    async with talk() as (_, line, peer):
        line.time_s = 160.0
        assert line.ears.silent_s == 60.0
        await peer.ping()
        await until(lambda: line.ears.heard_at == 160.0)
        line.time_s = 170.0
        line.ears.ping()
        await until(lambda: line.ears.silent_s == 0)


async def test_the_loop_counts_time_where_no_clock_is_given():
    ears = Ears(unexpected, unexpected)
    assert 0 <= ears.silent_s < 5
    assert not ears.is_open
    assert ears.unsent_bytes == 0
    ears.send(b"nobody hears")
    ears.ping()
    ears.pause()
    ears.resume()
    ears.close(1000, "")
    ears.abort()


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (1000, BANNER, "the operator closed the connection (code 1000)"),
        (1008, BANNER, "the operator closed the connection (code 1008)"),
        (4000, BANNER, "the operator closed the connection (code 4000)"),
    ],
)
async def test_the_end_is_told_once_and_not_in_the_peers_words(code, text, told):
    async with talk() as (_, line, peer):
        await peer.close(code, text)
        await until(lambda: line.reasons)
        line.ears.close(1000, "late")
        line.ears.abort()
        line.ears.send(b"late")
        assert line.reasons == [told]
        assert not line.ears.is_open


async def test_a_connection_that_breaks_off():
    async with talk() as (_, line, peer):
        peer.transport.abort()
        await until(lambda: line.reasons)
        assert line.reasons == ["the connection broke off"]
        assert line.ears.unsent_bytes == 0


async def test_whoever_gives_up_is_told_so_too():
    async with talk() as (_, line, _peer):
        line.ears.abort()
        await until(lambda: line.reasons)
        assert line.reasons == ["the connection was given up"]


def frame(first: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    head = bytes((first, size)) if size < 126 else bytes((first, 127)) + size.to_bytes(8, "big")
    return head + payload


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        (frame(0x82, b"x"), 1003, "not text"),
        (frame(0x80, b"x"), 1002, "out of order"),
        (frame(0x01, b"x") + frame(0x81, b"x"), 1002, "out of order"),
        (frame(0xC1, b"x"), 1002, "extension"),
        (frame(0x91, b"x"), 1002, "extension"),
        (frame(0x01) + frame(0x00) * PIECES_MAX, 1009, "too long"),
        (frame(0x81, length=FRAME_BYTES_MAX + 1), 1009, "code 1009"),
        (frame(0x83, b"x"), 1002, "code 1002"),
    ],
)
async def test_an_operator_that_breaks_the_rules_is_left(sent, code, told, caplog):
    caplog.set_level(logging.ERROR, "asyncio")
    async with talk() as (operator, line, peer):
        peer.transport.write(sent + frame(0x81, b"after"))
        await until(lambda: line.reasons and operator.left)
        assert told in line.reasons[0]
        assert len(line.reasons) == 1
        assert line.messages == []
        assert operator.left[0][0] == code
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_pieces_that_are_too_long_together():
    async with talk() as (operator, line, peer):
        peer.transport.write(frame(0x01, b"x" * FRAME_BYTES_MAX) + frame(0x80, b"x"))
        await until(lambda: line.reasons and operator.left)
        assert "too long" in line.reasons[0]
        assert operator.left[0][0] == 1009


async def test_the_longest_message_is_heard():
    async with talk() as (_, line, peer):
        await peer.send("x" * FRAME_BYTES_MAX)
        await until(lambda: line.messages)
        assert len(line.messages[0]) == FRAME_BYTES_MAX


async def test_a_message_that_cannot_be_taken_ends_the_connection():
    def fail(_: bytes) -> None:
        raise ValueError("a mistake of ours")

    async with operator_of() as operator:
        reasons: list[str] = []
        _, ears = await connect(target(operator.url), lambda: Ears(fail, reasons.append))
        await until(lambda: operator.peers)
        await operator.peers[0].send("x")
        await until(lambda: reasons and operator.left)
        assert reasons == ["a message could not be taken"]
        assert operator.left == [(1011, "")]
        assert not ears.is_open


async def test_an_operator_that_takes_nothing_is_given_up_and_gets_no_pongs():
    async with talk() as (_, line, peer):
        peer.transport.pause_reading()
        piece = b"x" * 65_536
        while line.ears.is_open and not line.ears.is_blocked:
            line.ears.send(piece)
            await asyncio.sleep(0)
        assert line.ears.is_blocked
        before = line.ears.unsent_bytes
        line.time_s = 200.0
        peer.transport.write(frame(0x89, b"ping"))
        await until(lambda: line.ears.heard_at == 200.0)
        assert line.ears.unsent_bytes == before
        line.ears.send(b"x" * SEND_BUFFER_BYTES_MAX)
        assert not line.ears.is_open
        await until(lambda: line.reasons)
        assert line.reasons == ["the operator does not take what it is sent"]


async def test_what_was_blocked_may_go_on():
    async with talk() as (_, line, peer):
        peer.transport.pause_reading()
        while not line.ears.is_blocked:
            line.ears.send(b"x" * 65_536)
            await asyncio.sleep(0)
        peer.transport.resume_reading()
        await until(lambda: not line.ears.is_blocked)
        assert line.ears.is_open


async def test_a_line_that_is_full_takes_nothing_until_it_may_again():
    async with talk() as (_, line, peer):
        line.ears.pause()
        await peer.send("later")
        line.ears.send(b"still speaks")
        line.ears.resume()
        await until(lambda: line.messages)
        assert line.messages == [b"later"]


async def test_a_good_bye_that_is_not_taken_ends_all_the_same(monkeypatch):
    monkeypatch.setattr(dial, "CLOSE_S", 0.05)
    async with talk() as (_, line, peer):
        peer.transport.pause_reading()
        while not line.ears.is_blocked:
            line.ears.send(b"x" * 65_536)
            await asyncio.sleep(0)
        line.ears.close(1000, "enough")
        await until(lambda: line.reasons)
        assert line.reasons == ["enough"]


async def test_names_are_asked_for_in_threads_of_their_own():
    resolver = dial.Resolver()
    try:
        assert await resolver("127.0.0.1", 80) == ("127.0.0.1",)
        with pytest.raises(OSError):
            await resolver("no-such-name.invalid", 80)
    finally:
        resolver.close()

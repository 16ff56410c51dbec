"""The gateway's server, with real sockets on loopback and a desk that decides as the test wants."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import websockets

from tests.unit.gateway.peers import until
from voltyard.gateway.server import Gateway
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.errors import Unavailable
from voltyard.kernel.limits import FRAME_BYTES_MAX, PING_S, SILENCE_S
from voltyard.speech import (
    Asked,
    Entry,
    GatewayStarted,
    Gone,
    Heard,
    Hello,
    Priority,
    Replied,
    SetKey,
    StopCharging,
    Superseded,
    Thanked,
    Ticked,
    Told,
    Welcome,
)

OPTIONS = {"subprotocols": ["ocpp1.6"], "compression": None, "proxy": None, "ping_interval": None}
CHARGER = "chg_01JD00000000000000000000AA"
ASKS = f"charger.{CHARGER}.ask"


class Desk:
    """A desk that lets in whom the test wants, and keeps what it heard."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.entry = Entry.WELCOME
        self.fault: Exception | None = None
        self.hellos: list[Hello] = []
        self.heard: list[Heard] = []
        self.gone: list[Gone] = []
        self.started: list[str] = []

    async def serve(self, bus: LocalBus) -> None:
        await bus.serve("central.hello", Hello, self.on_hello)
        await bus.serve("central.heard", Heard, self.on_heard)
        await bus.serve("central.gone", Gone, self.on_gone)
        await bus.serve("central.gateway", GatewayStarted, self.on_started)

    async def on_hello(self, hello: Hello) -> Welcome:
        self.hellos.append(hello)
        if self.fault is not None:
            raise self.fault
        return Welcome(self.entry, CHARGER if self.entry is Entry.WELCOME else "")

    async def on_heard(self, heard: Heard) -> Replied:
        self.heard.append(heard)
        return Replied(Ticked(self.clock.now()))

    async def on_gone(self, gone: Gone) -> Thanked:
        self.gone.append(gone)
        return Thanked()

    async def on_started(self, started: GatewayStarted) -> Thanked:
        self.started.append(started.gateway)
        return Thanked()


class House:
    """A gateway that runs, and its surroundings."""

    def __init__(self, bus: LocalBus, clock: FakeClock) -> None:
        self.bus, self.clock = bus, clock
        self.desk = Desk(clock)
        self.gateway = Gateway(bus=bus, clock=clock, host="127.0.0.1", port=0)
        self.port = 0
        self.task: asyncio.Task[None] | None = None

    def ready(self, port: int) -> None:
        self.port = port

    async def start(self) -> None:
        self.task = asyncio.create_task(self.gateway.run(self.ready))
        await until(lambda: self.port)

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def connect(self, target: str = "/ocpp/CP-1", **over: Any) -> Any:
        return websockets.connect(
            f"ws://127.0.0.1:{self.port}{target}",
            **(
                {"subprotocols": ["ocpp1.6"], "compression": None, "proxy": None, "ping_interval": None}
                | over
            ),
        )

    async def refused(self, target: str = "/ocpp/CP-1", **over: Any) -> websockets.Response:
        with pytest.raises(websockets.InvalidStatus) as wrong:
            async with self.connect(target, **over):
                pass
        return wrong.value.response

    async def raw(self, head: str) -> bytes:
        """Send a head as it is and return all that comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.encode("latin-1"))
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.fixture
async def house(bus: LocalBus, clock: FakeClock) -> AsyncIterator[House]:
    house = House(bus, clock)
    await house.desk.serve(bus)
    await house.start()
    yield house
    await house.stop()


@asynccontextmanager
async def charger(house: House, **over: Any) -> AsyncIterator[Any]:
    async with house.connect(**over) as peer:
        yield peer


async def call(peer: Any, message_id: str = "1") -> Any:
    await peer.send(f'[2,"{message_id}","Heartbeat",{{}}]')
    return json.loads(await peer.recv())


async def test_a_charger_comes_in_speaks_and_goes(house):
    password = base64.b64encode(b"CP-1:secret").decode()
    async with house.connect(additional_headers={"Authorization": f"Basic {password}"}) as peer:
        assert peer.subprotocol == "ocpp1.6"
        assert (await call(peer))[:2] == [3, "1"]
        assert house.gateway.open_sockets == 1
    await until(lambda: house.desk.gone)
    assert house.gateway.open_sockets == 0
    hello = house.desk.hellos[0]
    assert (hello.identity, hello.version, hello.address) == ("CP-1", "ocpp1.6", "127.0.0.1")
    assert hello.password == base64.b64encode(b"secret").decode()
    assert house.desk.gone[0].session_id == hello.session_id == house.desk.heard[0].session_id


async def test_who_offers_no_subprotocol_gets_none_back_and_may_speak(house):
    # Quirk Q1.
    async with house.connect(subprotocols=None) as peer:
        assert peer.subprotocol is None
        assert (await call(peer))[0] == 3


async def test_who_offers_only_what_is_not_spoken_here_is_let_in_and_closed(house):
    # 1.6-J §3.1.2.
    async with house.connect(subprotocols=["ocpp9.9"]) as peer:
        await peer.wait_closed()
        assert (peer.subprotocol, peer.close_code) == (None, 1002)
    assert not house.desk.hellos


@pytest.mark.parametrize(
    ("entry", "status", "header"),
    [
        (Entry.UNKNOWN, 404, None),
        (Entry.WRONG_PASSWORD, 401, "WWW-Authenticate"),
        (Entry.FULL, 503, "Retry-After"),
    ],
)
async def test_whom_the_desk_does_not_want_is_told_why(house, entry, status, header):
    house.desk.entry = entry
    answer = await house.refused()
    assert answer.status_code == status
    assert header is None or header in answer.headers
    assert house.gateway.open_sockets == 0


async def test_when_the_desk_cannot_decide_the_charger_is_to_come_again(house):
    house.desk.fault = Unavailable("locked")
    answer = await house.refused()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    house.desk.fault = RuntimeError("a secret: hunter2")
    answer = await house.refused()
    assert answer.status_code == 500
    assert b"hunter2" not in answer.body


async def test_a_target_that_names_nobody_is_not_found(house):
    assert (await house.refused("/ocpp")).status_code == 404
    assert not house.desk.hellos


HEAD = (
    "GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)


async def test_a_browser_at_the_chargers_door_is_told_where_it_is(house):
    assert (await house.raw("GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 426 ")


@pytest.mark.parametrize("missing", ["Sec-WebSocket-Key", "Sec-WebSocket-Version", "Connection"])
async def test_an_upgrade_that_cannot_be_met_leaves_no_charger_behind(house, missing):
    head = "".join(line for line in HEAD.splitlines(keepends=True) if not line.startswith(missing))
    assert (await house.raw(f"{head}\r\n")).startswith(b"HTTP/1.1 400 ")
    assert house.gateway.open_sockets == 0
    assert not house.desk.hellos


async def test_a_message_in_pieces_is_put_together(house):
    async with house.connect() as peer:
        await peer.send(["[2,", '"1","Heart', 'beat",{}]'])
        assert json.loads(await peer.recv())[:2] == [3, "1"]
        await peer.send([b"[2,", b'"2","Heartbeat",{}]'])
        assert json.loads(await peer.recv())[:2] == [3, "2"]


async def test_text_in_binary_frames_is_understood(house):
    # Quirk Q14.
    async with house.connect() as peer:
        await peer.send(b'[2,"1","Heartbeat",{}]')
        assert json.loads(await peer.recv())[:2] == [3, "1"]


@pytest.mark.parametrize(
    "message", ["x" * (FRAME_BYTES_MAX + 1), ["x" * 1000] * (FRAME_BYTES_MAX // 1000 + 1)]
)
async def test_a_message_that_is_too_long_closes_the_socket_in_one_piece_or_many(house, message):
    async with house.connect() as peer:
        with suppress(websockets.ConnectionClosed):
            await peer.send(message)
        await peer.wait_closed()
        assert peer.close_code == 1009
    await until(lambda: house.gateway.open_sockets == 0)


async def test_the_newest_socket_wins_and_asks_go_to_it(house):
    async with house.connect() as old:
        await call(old)
        async with house.connect() as new:
            await old.wait_closed()
            assert old.close_code == 1000
            await call(new)
            await until(lambda: house.desk.gone)
            assert house.desk.gone[0].session_id == house.desk.hellos[0].session_id
            asked = Asked(StopCharging(5), Priority.STOP, "portal", 5)
            telling = asyncio.create_task(
                house.bus.request(f"charger.{CHARGER}.ask", asked, Told, timeout_s=5)
            )
            _, message_id, action, _ = json.loads(await new.recv())
            assert action == "RemoteStopTransaction"
            await new.send(json.dumps([3, message_id, {"status": "Accepted"}]))
            assert (await telling).outcome.is_accepted
            assert house.gateway.open_sockets == 1


async def test_a_socket_at_another_gateway_sends_the_older_one_here_away(house):
    async with house.connect() as peer:
        await call(peer)
        subject = f"charger.{CHARGER}.superseded"
        own = house.desk.hellos[0].session_id
        await house.bus.publish(subject, Superseded(CHARGER, own))
        await house.bus.publish(subject, Superseded(CHARGER, "soc_00000000000000000000000000"))
        assert (await call(peer))[0] == 3, "neither its own news nor older ones send it away"
        await house.bus.publish(subject, Superseded(CHARGER, "soc_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"))
        await peer.wait_closed()
    await until(lambda: house.gateway.open_sockets == 0)


async def test_asks_expire_by_the_tick(house):
    async with house.connect() as peer:
        await call(peer)
        asked = Asked(SetKey("k", "v"), Priority.PORTAL, "portal", 3)
        telling = asyncio.create_task(house.bus.request(ASKS, asked, Told, timeout_s=30))
        await peer.recv()
        while not telling.done():
            house.clock.advance(1.0)
            await asyncio.sleep(0)
        assert type(telling.exception()).__name__ == "TimedOut"


async def test_a_silent_charger_is_pinged_and_one_that_stays_silent_is_dropped(house):
    async with house.connect() as peer:
        await call(peer)
        for _ in range(int(PING_S) + 2):
            house.clock.advance(1.0)
            await asyncio.sleep(0)
        exchange, _ = house.gateway._sockets[CHARGER]
        assert exchange.is_pinged
        # The library answers the ping by itself.
        await until(lambda: not exchange.is_pinged)
        peer.transport.pause_reading()
        for _ in range(int(SILENCE_S) + 2):
            house.clock.advance(1.0)
            await asyncio.sleep(0)
        await until(lambda: house.gateway.open_sockets == 0)
        peer.transport.resume_reading()
        await peer.wait_closed()
        assert peer.close_code == 1006


async def test_a_gateway_that_starts_says_so_and_waits_for_a_desk(bus, clock):
    house = House(bus, clock)
    house.task = asyncio.create_task(house.gateway.run(house.ready))
    for _ in range(5):
        clock.advance(1.0)
        await asyncio.sleep(0)
    assert not house.port
    await house.desk.serve(bus)
    for _ in range(3):
        clock.advance(1.0)
        await asyncio.sleep(0)
    await until(lambda: house.port)
    assert len(house.desk.started) == 1
    await house.stop()


async def test_a_gateway_that_stops_closes_its_sockets_and_says_so_once(house):
    async with house.connect() as one:
        await call(one)
        await house.stop()
        await one.wait_closed()
        assert one.close_code == 1012
    assert len(house.desk.started) == 2
    assert not house.desk.gone


async def test_a_port_that_is_taken_is_an_error_that_names_it(house, bus, clock):
    second = Gateway(bus=bus, clock=clock, host="127.0.0.1", port=house.port)
    with pytest.raises(OSError, match="in use"):
        await second.run(lambda _port: None)

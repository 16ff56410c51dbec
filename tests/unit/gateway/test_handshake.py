"""The door: heads under tight bounds, the oldest goes first, and nobody gets a stack trace."""

from __future__ import annotations

import asyncio
import base64
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gateway.peers import until
from voltyard.gateway import handshake
from voltyard.gateway.handshake import HEAD_BYTES_MAX, Handshake, Head, Waiting
from voltyard.kernel.limits import HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS_MAX

KEY = base64.b64encode(bytes(16)).decode()
GOOD = (
    "GET /ocpp/CP-1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
).encode()


class Wire(asyncio.Transport):
    """A socket that remembers what was done to it."""

    def __init__(self, address: str = "192.0.2.1", bare: socket.socket | None = None) -> None:
        super().__init__({"peername": (address, 4711), "socket": bare})
        self.written = b""
        self.is_closed = False
        self.is_aborted = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        self.is_paused = True


class Door:
    """A door with its waiting handshakes, and those that were let through to the desk."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self.admitted: list[Handshake] = []

    def knock(
        self, data: bytes = b"", address: str = "192.0.2.1", bare: socket.socket | None = None
    ) -> tuple[Handshake, Wire]:
        knocking = Handshake(self.waiting, self.admitted.append)
        wire = Wire(address, bare)
        knocking.connection_made(wire)
        if data:
            knocking.data_received(data)
        return knocking, wire


@pytest.fixture
async def door() -> Door:
    return Door()


async def test_a_whole_head_is_admitted_and_the_socket_waits(door):
    knocking, wire = door.knock(GOOD + b"first frame")
    assert door.admitted == [knocking]
    assert knocking.head is not None
    assert (knocking.head.target, knocking.head.method) == ("/ocpp/CP-1", "GET")
    assert (knocking.head.is_upgrade, knocking.head.flaw) == (True, "")
    assert knocking.rest == b"first frame"
    assert wire.is_paused
    assert len(door.waiting) == 0


async def test_a_head_may_come_byte_by_byte(door):
    knocking, _ = door.knock()
    for place in range(len(GOOD)):
        assert not door.admitted
        knocking.data_received(GOOD[place : place + 1])
    assert door.admitted == [knocking]


async def test_what_comes_after_the_head_is_not_read_twice(door):
    knocking, _ = door.knock(GOOD)
    knocking.data_received(GOOD)
    assert door.admitted == [knocking]


async def test_a_head_without_an_end_is_refused_when_it_is_too_long(door):
    _, wire = door.knock(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES_MAX)
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert wire.is_closed
    assert len(door.waiting) == 0


async def test_a_head_that_is_too_long_is_refused_even_if_it_comes_whole(door):
    _, wire = door.knock(GOOD[:-2] + b"X: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert not door.admitted


async def test_frames_that_follow_at_once_do_not_count_as_head(door):
    knocking, _ = door.knock(GOOD + bytes(2 * HEAD_BYTES_MAX))
    assert door.admitted == [knocking]
    assert len(knocking.rest) == 2 * HEAD_BYTES_MAX


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nA\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\x00B: c\r\n\r\n",
    ],
)
async def test_garbage_is_answered_with_400_and_no_trace(door, garbage):
    _, wire = door.knock(garbage)
    assert wire.written.startswith(b"HTTP/1.1 400 ")
    assert b"Traceback" not in wire.written
    assert wire.is_closed


async def test_a_slow_head_is_closed_in_time(door, monkeypatch):
    monkeypatch.setattr(handshake, "HANDSHAKE_S", 0.01)
    _, wire = door.knock(GOOD[:20])
    await until(lambda: wire.is_closed)
    assert wire.written.startswith(b"HTTP/1.1 408 ")
    assert len(door.waiting) == 0


async def test_who_was_admitted_has_no_deadline_left(door, monkeypatch):
    monkeypatch.setattr(handshake, "HANDSHAKE_S", 0.0)
    _, wire = door.knock(GOOD)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not wire.is_closed


async def test_the_oldest_of_an_address_goes_when_it_holds_too_many(door):
    knocks = [door.knock(b"GET") for _ in range(HANDSHAKES_PER_ADDRESS_MAX)]
    assert not any(wire.is_aborted for _, wire in knocks)
    _, newcomer = door.knock(b"GET")
    assert [wire.is_aborted for _, wire in knocks[:2]] == [True, False]
    assert not newcomer.is_aborted
    assert len(door.waiting) == HANDSHAKES_PER_ADDRESS_MAX
    door.knock(b"GET", "192.0.2.2")
    assert [wire.is_aborted for _, wire in knocks[:2]] == [True, False]


async def test_the_oldest_of_all_goes_when_all_together_hold_too_many(door):
    knocks = [door.knock(b"GET", f"10.0.{number >> 8}.{number & 255}") for number in range(HANDSHAKES_MAX)]
    assert len(door.waiting) == HANDSHAKES_MAX
    newcomer, wire = door.knock(GOOD, "192.0.2.9")
    assert [each.is_aborted for _, each in knocks[:2]] == [True, False]
    assert door.admitted == [newcomer]
    assert not wire.is_aborted


async def test_nobody_has_to_go_whose_head_lies_unread(door):
    # A storm through a proxy: thousands are accepted before the first is read.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(GOOD)
        spoke, spoken = door.knock(bare=ours)
        silent, silence = door.knock()
        for _ in range(HANDSHAKES_PER_ADDRESS_MAX - 2):
            door.knock(b"GET")
        door.knock(b"GET")
        assert spoke.has_unread
        assert not silent.has_unread
        assert (spoken.is_aborted, silence.is_aborted) == (False, True)
        # Nobody who is silent is looked for among all of them: a crowd of those who spoke is let be.
        crowd = Door()
        knocks = [crowd.knock(bare=ours) for _ in range(HANDSHAKES_PER_ADDRESS_MAX + 5)]
        assert not any(wire.is_aborted for _, wire in knocks)


async def test_whoever_goes_is_forgotten(door):
    knocking, wire = door.knock(b"GET")
    knocking.connection_lost(None)
    assert len(door.waiting) == 0
    assert knocking.is_gone
    knocking.refuse(handshake.HTTPStatus.NOT_FOUND, "too late")
    knocking.data_received(GOOD)
    assert not wire.written
    assert not door.admitted
    assert knocking.eof_received() is False


async def test_a_refusal_is_sent_once_in_plain_words(door):
    knocking, wire = door.knock(GOOD)
    knocking.refuse(handshake.HTTPStatus.UNAUTHORIZED, "who are you?", ("WWW-Authenticate", "Basic"))
    knocking.refuse(handshake.HTTPStatus.NOT_FOUND, "again")
    head, _, body = wire.written.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 401 Unauthorized"
    assert b"WWW-Authenticate: Basic" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert body == b"who are you?\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Connection: Upgrade", b"connection: keep-alive, Upgrade"),
        (b"Upgrade: websocket", b"UPGRADE:  WebSocket "),
        (b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
        (b"Version: 13", b"Version: 8"),
        (b"Host: h\r\n", b""),
    ],
)
def test_a_request_for_a_websocket_may_be_written_in_many_ways(old, new):
    head = Head(GOOD.replace(old, new))
    assert (head.is_upgrade, head.flaw) == (True, "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Connection: Upgrade", b"Connection: close"),
        (b"Connection: Upgrade\r\n", b""),
        (b"Version: 13", b"Version: 99"),
        (KEY.encode(), b"short"),
        (KEY.encode(), b"AAAA"),
        (KEY.encode(), b"\xff"),
        (f"Sec-WebSocket-Key: {KEY}\r\n".encode(), b""),
    ],
)
def test_a_request_for_a_websocket_that_cannot_be_met_says_what_is_wrong(old, new):
    assert Head(GOOD.replace(old, new)).flaw.startswith("the header ")


def test_what_is_not_get_or_asks_for_no_websocket_is_no_upgrade():
    assert not Head(GOOD.replace(b"GET", b"POST")).is_upgrade
    assert not Head(b"GET / HTTP/1.1\r\n\r\n").is_upgrade


def test_a_header_that_comes_twice_is_a_list():
    # RFC 6455 §11.3.4: the subprotocols may be divided among several headers.
    twice = GOOD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: ocpp1.5\r\n\r\n")
    assert Head(twice).headers["sec-websocket-protocol"] == "ocpp1.6, ocpp1.5"


def test_the_plainest_form_of_a_request_keeps_its_key_and_nothing_else():
    plain = Head(GOOD.replace(b"Connection: Upgrade", b"Connection: a, upgrade")).canonical()
    again = Head(plain)
    assert (again.is_upgrade, again.flaw) == (True, "")
    assert again.headers["sec-websocket-key"] == KEY
    assert again.headers["connection"] == "Upgrade"


@given(st.binary(max_size=300))
def test_no_head_raises_anything_but_value_error(data):
    try:
        head = Head(data + b"\r\n\r\n")
    except ValueError:
        return
    assert isinstance(head.flaw, str)
    assert isinstance(head.is_upgrade, bool)

"""A socket whose head we have read is completed and served by picows."""

from __future__ import annotations

import asyncio

import pytest
import websockets
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from voltyard.gateway.handshake import Handshake, Waiting
from voltyard.gateway.takeover import take_over
from voltyard.kernel.limits import FRAME_BYTES_MAX


class Echo(WSListener):
    """Sends back what it hears."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()


@pytest.fixture
async def echo():
    """Give the address of a door that takes every socket over at once."""

    def admit(knocking: Handshake) -> None:
        assert knocking.transport is not None
        assert knocking.head is not None
        take_over(knocking.transport, knocking.head.canonical() + knocking.rest, Echo(), "ocpp1.6")
        knocking.transport.resume_reading()

    waiting = Waiting()
    server = await asyncio.get_running_loop().create_server(lambda: Handshake(waiting, admit), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()


async def test_messages_of_every_size_pass_after_the_upgrade(echo):
    async with websockets.connect(
        f"ws://127.0.0.1:{echo[1]}/ocpp/CP", subprotocols=["ocpp1.6"], compression=None, proxy=None
    ) as peer:
        assert peer.subprotocol == "ocpp1.6"
        for size in (0, 1, 125, 126, 4_096, 65_535, 65_536, FRAME_BYTES_MAX):
            await peer.send("x" * size)
            assert await peer.recv() == "x" * size


async def test_compression_is_never_agreed_on(echo):
    async with websockets.connect(
        f"ws://127.0.0.1:{echo[1]}/ocpp/CP", subprotocols=["ocpp1.6"], proxy=None
    ) as peer:
        assert not peer.protocol.extensions


async def test_a_frame_that_is_longer_than_the_limit_closes_the_socket(echo):
    async with websockets.connect(
        f"ws://127.0.0.1:{echo[1]}/ocpp/CP", subprotocols=["ocpp1.6"], compression=None, proxy=None
    ) as peer:
        await peer.send("x" * (FRAME_BYTES_MAX + 1))
        await peer.wait_closed()
        assert peer.close_code == 1009


def masked(text: bytes) -> bytes:
    """Write a client's text frame; a mask of zeros changes nothing."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


async def test_frames_that_came_with_the_head_are_heard(echo):
    reader, writer = await asyncio.open_connection(*echo)
    head = (
        "GET /ocpp/CP HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    many = [masked(b"frame %d" % number) for number in range(2_000)]
    writer.write(head.encode() + b"".join(many))
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    for number in range(2_000):
        start = await reader.readexactly(2)
        assert await reader.readexactly(start[1]) == b"frame %d" % number
    writer.close()
    await writer.wait_closed()

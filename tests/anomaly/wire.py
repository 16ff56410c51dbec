"""A websocket client without manners: it sends the bytes that it is told to, whole or in pieces."""

from __future__ import annotations

import asyncio
import json
import struct
from contextlib import suppress
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HEAD = (
    "GET /ocpp/{identity} HTTP/1.1\r\nHost: voltyard\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


def frame(payload: bytes, kind: int = TEXT, *, is_last: bool = True) -> bytes:
    """Write a client's frame; a mask of zeros changes nothing."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        length = bytes([0x80 | 127]) + struct.pack("!Q", size)
    return bytes([(0x80 if is_last else 0) | kind]) + length + bytes(4) + payload


class RawCharger:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(
        cls, port: int, identity: str, *, source: str = "127.0.0.1", limit: int = 2**16
    ) -> RawCharger:
        """Connect and complete the handshake."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), limit=limit)
        writer.write(HEAD.format(identity=identity).encode())
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        """Send these bytes; a peer that has closed is no surprise."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Return the next frame: its kind and payload."""
        async with asyncio.timeout(20):
            start = await self.reader.readexactly(2)
            size = start[1] & 0x7F
            if size == 126:
                size = struct.unpack("!H", await self.reader.readexactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
            return start[0] & 0x0F, await self.reader.readexactly(size)

    async def call(self, action: str = "Heartbeat", payload: Any = None, message_id: str = "1") -> Any:
        """Call properly and return the answer, leaving out what else comes before it."""
        await self.send(frame(json.dumps([2, message_id, action, payload or {}]).encode()))
        while True:
            kind, data = await self.receive()
            if kind != TEXT:
                assert kind == PONG, (kind, data)
                continue
            answer = json.loads(data)
            if answer[1] == message_id and answer[0] in {3, 4}:
                return answer

    async def closed(self) -> int | None:
        """Wait until the peer has closed and return its code, None if it said none."""
        try:
            while True:
                kind, data = await self.receive()
                if kind == CLOSE:
                    return struct.unpack("!H", data[:2])[0] if len(data) >= 2 else None
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def drop(self) -> None:
        """Go without a word."""
        self.writer.transport.abort()

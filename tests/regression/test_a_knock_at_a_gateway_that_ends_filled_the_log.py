"""Stopping a server with chargers that came back at once printed a page of faults for each of them.

Whoever had connected and sent the head only then was handed to a task group that took no tasks any more. Now
such a charger is told to come again.
"""

from __future__ import annotations

import asyncio

from tests.unit.gateway.test_server import House
from voltyard.kernel.bus import LocalBus

HEAD = (
    "GET /ocpp/CP-1 HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_who_knocks_while_a_gateway_ends_is_told_to_come_again(clock):
    bus = LocalBus()
    house = House(bus, clock)
    await house.desk.serve(bus)
    await house.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    await house.stop()
    writer.write(HEAD.encode())
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    writer.close()
    await writer.wait_closed()
    await bus.close()

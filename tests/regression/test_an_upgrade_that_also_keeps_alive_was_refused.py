"""Chargers and proxies that send `Connection: keep-alive, Upgrade` were answered with 400.

picows compares the whole header with one word. Now it gets the request in its plainest form.
"""

import asyncio

from tests.unit.gateway.test_server import HEAD, house  # noqa: F401 - a fixture


async def test_a_connection_header_may_say_more_than_upgrade(house):  # noqa: F811
    head = HEAD.replace("Connection: Upgrade", "Connection: keep-alive, Upgrade")
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(f"{head}\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.close()
    await writer.wait_closed()

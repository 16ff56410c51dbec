"""A request for a websocket without a key was shown as an online charger until the gateway stopped.

The gateway asked the desk before picows looked at the request; picows refused it and never called back.
Now the head is judged whole before anybody is asked.
"""

import asyncio

from tests.unit.gateway.test_server import HEAD, house  # noqa: F401 - a fixture


async def test_an_upgrade_that_picows_would_refuse_reaches_neither_desk_nor_list(house):  # noqa: F811
    head = "".join(
        line for line in HEAD.splitlines(keepends=True) if not line.startswith("Sec-WebSocket-Key")
    )
    async with asyncio.timeout(10):
        assert (await house.raw(f"{head}\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (house.gateway.open_sockets, house.desk.hellos) == (0, [])

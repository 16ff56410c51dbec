"""Five chargers that sent without end and never read cost the gateway 22 MB.

picows doubles its buffer as long as a read fills it, and a read fills it with all that the system holds.
Now the system holds little for a charger.
"""

import asyncio
import socket

from tests.unit.gateway.peers import until
from voltyard.gateway.handshake import RECEIVE_BUFFER_BYTES, Handshake, Waiting


async def test_the_system_holds_little_for_a_charger():
    loop = asyncio.get_running_loop()
    kept: list[Handshake] = []

    def open_door() -> Handshake:
        kept.append(Handshake(Waiting(), lambda _: None))
        return kept[-1]

    listening = await loop.create_server(open_door, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    await until(lambda: kept and kept[0].transport)
    bare = kept[0].transport.get_extra_info("socket")
    # Linux keeps twice what was asked for.
    assert bare.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * RECEIVE_BUFFER_BYTES
    writer.close()
    await writer.wait_closed()
    listening.close()
    await listening.wait_closed()

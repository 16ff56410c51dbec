"""Handing a socket whose request head we have read over to picows.

picows decides about an upgrade in a plain function, while we must ask the desk first and keep
unfinished handshakes cheap. So its protocol takes the transport over once the answer is known. Its
class is not part of picows' documented interface (the stub leaves it out): this file is the one
place that knows it, and picows is pinned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from picows import WSAutoPingStrategy, WSListener, WSUpgradeRequest, WSUpgradeResponse, picows
from picows import WSUpgradeResponseWithListener as Upgrade

from voltyard.kernel.limits import FRAME_BYTES_MAX, PING_S

READ_BUFFER_BYTES = 4 * 1024
"""Small, for the memory of idle sockets; picows lets it grow with the messages."""

_protocol: Callable[..., asyncio.BufferedProtocol] = vars(picows)["WSProtocol"]
_log = logging.getLogger("voltyard.picows")
_log.setLevel(logging.ERROR)


def take_over(
    transport: asyncio.Transport, head: bytes, listener: WSListener, subprotocol: str | None
) -> None:
    """Let picows complete the upgrade that ``head`` asks for, and serve the socket from then on."""
    headers = {"Sec-WebSocket-Protocol": subprotocol} if subprotocol else {}

    def accept(_request: WSUpgradeRequest) -> Upgrade:
        return Upgrade(WSUpgradeResponse.create_101_response(headers), listener)

    websocket = _protocol(
        None,
        None,
        False,
        accept,
        _log,
        True,
        None,
        False,
        PING_S,
        PING_S,
        WSAutoPingStrategy.PING_WHEN_IDLE,
        True,
        FRAME_BYTES_MAX,
        None,
        READ_BUFFER_BYTES,
    )
    transport.set_protocol(websocket)
    websocket.connection_made(transport)
    rest = memoryview(head)
    while rest:
        room = memoryview(websocket.get_buffer(-1))
        some = rest[: len(room)]
        room[: len(some)] = some
        websocket.buffer_updated(len(some))
        rest = rest[len(some) :]

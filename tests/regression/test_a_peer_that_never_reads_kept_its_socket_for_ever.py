"""Sockets of chargers that had stopped reading stayed open after they were closed, with all that was unsent.

A graceful close waits until the peer has taken everything. Now it is cut off after a few seconds.
"""

import asyncio

from tests.unit.gateway.peers import CHARGER, SESSION, until
from voltyard.gateway import server
from voltyard.gateway.exchange import Exchange
from voltyard.gateway.recorder import Recorder
from voltyard.gateway.server import ChargerSocket


class StuckTransport(asyncio.Transport):
    """A transport whose peer takes nothing: closing it does not end."""

    def __init__(self) -> None:
        super().__init__({"socket": None})
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return 1

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None:
        self.is_aborted = True


class StuckSocket:
    """What picows shows of such a transport."""

    is_disconnected = False

    def __init__(self) -> None:
        self.underlying_transport = StuckTransport()

    def send_close(self, *_: object) -> None: ...

    def disconnect(self) -> None: ...


async def test_a_socket_that_is_closed_is_gone_soon(bus, clock, monkeypatch):
    monkeypatch.setattr(server, "CLOSE_S", 0.01)
    recorder = Recorder(bus=bus, clock=clock)
    exchange = Exchange(CHARGER, SESSION, bus=bus, clock=clock, recorder=recorder)
    stuck = StuckSocket()
    charger_socket = ChargerSocket(exchange, lambda _: None, recorder)
    charger_socket.on_ws_connected(stuck)  # type: ignore[arg-type]
    exchange.supersede()
    await until(lambda: stuck.underlying_transport.is_aborted)

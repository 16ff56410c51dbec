"""Two million empty continuation frames of one message were kept: only their bytes were counted."""

from __future__ import annotations

from types import SimpleNamespace

from picows import WSMsgType

from voltyard.gateway.exchange import Exchange
from voltyard.gateway.recorder import Recorder
from voltyard.gateway.server import ChargerSocket
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.limits import PIECES_MAX


def piece(kind: WSMsgType) -> SimpleNamespace:
    return SimpleNamespace(msg_type=kind, fin=False, get_payload_as_bytes=lambda: b"")


def test_a_message_in_too_many_pieces_closes_the_socket():
    bus, clock = LocalBus(), FakeClock()
    recorder = Recorder(bus=bus, clock=clock)
    exchange = Exchange("chg_1", "soc_1", bus=bus, clock=clock, recorder=recorder)
    socket = ChargerSocket(exchange, lambda _: None, recorder)
    socket.on_ws_frame(None, piece(WSMsgType.TEXT))
    for _ in range(PIECES_MAX - 1):
        socket.on_ws_frame(None, piece(WSMsgType.CONTINUATION))
    assert not exchange.is_over
    socket.on_ws_frame(None, piece(WSMsgType.CONTINUATION))
    assert exchange.is_over

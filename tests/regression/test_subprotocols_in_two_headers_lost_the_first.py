"""A charger that named `ocpp1.6` and `ocpp1.5` in two headers was turned away: the later header won.

RFC 6455 §11.3.4 lets a client divide its subprotocols among several headers.
"""

from tests.unit.gateway.test_handshake import GOOD
from voltyard.gateway.handshake import Head
from voltyard.gateway.identity import subprotocol


def test_subprotocols_of_several_headers_are_one_list():
    head = Head(GOOD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: ocpp1.5\r\n\r\n"))
    assert subprotocol(head.headers["sec-websocket-protocol"]) == "ocpp1.6"

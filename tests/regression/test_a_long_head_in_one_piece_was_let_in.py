"""A request head far beyond the limit was accepted when it came in one read.

The limit was only looked at while the end of the head was missing.
"""

from tests.unit.gateway.test_handshake import GOOD, Door
from voltyard.gateway.handshake import HEAD_BYTES_MAX


async def test_the_limit_of_a_head_holds_however_it_comes():
    door = Door()
    _, wire = door.knock(GOOD[:-2] + b"X: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert not door.admitted

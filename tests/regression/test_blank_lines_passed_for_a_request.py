"""Two empty lines went to the desk's door as a request with an empty method.

The parser skips blank lines before a request and was never asked whether one had come.
"""

from tests.unit.gateway.test_handshake import Door


async def test_blank_lines_are_no_request():
    door = Door()
    _, wire = door.knock(b"\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 400 ")
    assert not door.admitted

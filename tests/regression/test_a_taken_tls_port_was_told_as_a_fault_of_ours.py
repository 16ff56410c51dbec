"""With its port for TLS taken, the server ended with a page of traces and asked people to report a fault.

The port was opened inside a task group, which wraps what goes wrong in a group of errors. Now it is opened
before, and the sentence reaches whoever started the server.
"""

import asyncio
import socket

import pytest

from voltyard import app
from voltyard.kernel.settings import Settings


async def test_a_taken_tls_port_is_an_error_that_names_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(data=tmp_path, host="127.0.0.1", http_port=0, ocpp_port=0, ocpp_tls_port=port)
        with pytest.raises(OSError, match=f"TLS port {port}"):
            await asyncio.wait_for(app.serve(settings), 30)

"""With its HTTP port taken, the server ended with a traceback of uvicorn's `sys.exit` instead of a sentence.

uvicorn leaves the whole process when it cannot bind. Now the socket is opened before uvicorn gets it.
"""

import asyncio
import socket

import pytest

from voltyard import app
from voltyard.kernel.settings import Settings


async def test_a_taken_http_port_is_an_error_that_names_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(data=tmp_path, host="127.0.0.1", http_port=port, ocpp_port=0)
        with pytest.raises(OSError, match=f"HTTP port {port}"):
            await asyncio.wait_for(app.serve(settings), 30)

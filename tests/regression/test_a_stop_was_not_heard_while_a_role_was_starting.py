"""A gateway that waited for its desk did not end on SIGTERM, only on SIGKILL.

The wiring waited for the role to be ready and for nothing else.
"""

import asyncio

from voltyard import app
from voltyard.kernel.settings import Settings


async def test_a_stop_is_heard_before_all_roles_are_ready(tmp_path, monkeypatch):
    is_waiting, stop = asyncio.Event(), asyncio.Event()

    async def never(_self, _ready):
        is_waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(app.Gateway, "run", never)
    settings = Settings(data=tmp_path, host="127.0.0.1", http_port=0, ocpp_port=0)
    serving = asyncio.create_task(app.serve(settings, stop=stop))
    await asyncio.wait_for(is_waiting.wait(), 30)
    stop.set()
    await asyncio.wait_for(serving, 30)

"""A stop with a page open waited three seconds and logged a traceback for each stream of events.

The streams end before uvicorn breaks off what still runs.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx2
import pytest

from voltyard import app
from voltyard.accounts import service as accounts
from voltyard.app import Ports
from voltyard.kernel.actor import system
from voltyard.kernel.context import Context
from voltyard.kernel.settings import Settings


async def test_a_stop_ends_the_streams_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    stop, opened = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = Settings(data=tmp_path, host="127.0.0.1", http_port=0, ocpp_port=0)

    def ready(ports: Ports, ctx: Context) -> None:
        opened.set_result((ports.http, ctx))

    serving = asyncio.create_task(app.serve(settings, ready=ready, stop=stop))
    port, ctx = await asyncio.wait_for(opened, 30)
    user = await accounts.register(ctx, "kim@example.com", password=None)
    key = ctx.settings.secret_key()
    _, token = await ctx.db.work(system("test"), accounts.add_token, "tests", key, user.id)
    shown = {"Authorization": f"Bearer {token}"}
    with caplog.at_level(logging.WARNING):
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=shown) as http:
            for place in ("/live", "/api/v1/events"):
                stream = http.stream("GET", place, timeout=30)
                answer = await stream.__aenter__()
                pieces = answer.aiter_text()
                assert "retry" in await anext(pieces)
                if place == "/live":
                    first, first_pieces = stream, pieces
            stop.set()
            for each in (first_pieces, pieces):
                assert [piece async for piece in each] == [], "the end is told, not cut off"
            await first.__aexit__(None, None, None)
            await stream.__aexit__(None, None, None)
        await asyncio.wait_for(serving, 30)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []

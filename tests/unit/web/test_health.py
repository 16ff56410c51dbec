from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI

from voltyard.kernel.context import Context
from voltyard.kernel.db import Database
from voltyard.web.door import Door
from voltyard.web.health import add


def watcher_of(ctx: Context) -> httpx2.AsyncClient:
    app = FastAPI()
    add(app, ctx)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://voltyard.test")


async def test_a_process_that_works_is_ready(door: Door):
    async with watcher_of(door.ctx) as watcher:
        assert (await watcher.get("/healthz")).text == "ok\n"
        ready = await watcher.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"database": "ok", "bus": "ok"})


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "sqlite"])
async def test_a_process_without_its_database_lives_but_is_not_ready(door: Door, url: str):
    if url == "sqlite":
        url = f"sqlite:///{door.ctx.settings.data}"  # a folder is no database
    db = Database(url, clock=door.ctx.clock, bus=door.ctx.bus)
    async with watcher_of(replace(door.ctx, db=db)) as watcher:
        ready = await watcher.get("/readyz")
        assert (await watcher.get("/healthz")).status_code == 200
    await db.close()
    assert (ready.status_code, ready.json()) == (503, {"database": "database_unavailable", "bus": "ok"})


async def test_what_is_counted_is_told(door: Door):
    async with watcher_of(door.ctx) as watcher:
        told = await watcher.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain")
    for name in ("voltyard_http_requests_total", "voltyard_http_request_seconds", "voltyard_event_streams"):
        assert f"# TYPE {name}" in told.text

"""The wiring: roles start in order, stop in reverse, and one that fails takes the others with it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from voltyard import app
from voltyard.central import desk
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.settings import Settings


@pytest.fixture
def whole(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", host="127.0.0.1", http_port=0, ocpp_port=0)


class Running:
    """`serve` in a task, with what it told."""

    def __init__(self, settings: Settings) -> None:
        self.ports = app.Ports()
        self.stop = asyncio.Event()
        self.is_ready = asyncio.Event()
        self.task = asyncio.create_task(app.serve(settings, ready=self._ready, stop=self.stop))

    def _ready(self, ports: app.Ports, _ctx: object) -> None:
        self.ports = ports
        self.is_ready.set()

    async def ready(self) -> Running:
        waiting = asyncio.create_task(self.is_ready.wait())
        await asyncio.wait([waiting, self.task], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            await self.task
        assert self.is_ready.is_set()
        return self

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 30)


async def test_everything_runs_in_one_process_and_stops_when_told(whole):
    running = await Running(whole).ready()
    assert running.ports.http
    assert running.ports.ocpp
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.ports.http}") as people:
        assert (await people.get("/readyz")).json() == {"database": "ok", "bus": "ok"}
        assert (await people.get("/healthz")).status_code == 200
        assert (await people.get("/api/v1/me")).status_code == 401
        assert (await people.get("/", follow_redirects=True)).status_code == 200
    await running.end()
    for port in (running.ports.http, running.ports.ocpp):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1)


async def test_chargers_say_good_bye_to_a_desk_that_still_hears_them(whole, monkeypatch):
    order = []
    desk_run, say_good_bye = desk.Desk.run, app.Gateway._say_good_bye

    async def run(self, ready):
        try:
            await desk_run(self, ready)
        finally:
            order.append("the desk stopped")

    async def leave(self):
        await say_good_bye(self)
        order.append("the gateway said good-bye")

    monkeypatch.setattr(desk.Desk, "run", run)
    monkeypatch.setattr(app.Gateway, "_say_good_bye", leave)
    await (await Running(whole).ready()).end()
    assert order == ["the gateway said good-bye", "the desk stopped"]


async def test_a_port_that_is_taken_stops_all_with_a_sentence(whole):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("http_port", "ocpp_port"):
            settings = whole.model_copy(update={name: port})
            with pytest.raises(OSError, match=r"(?i)in use"):
                await asyncio.wait_for(app.serve(settings), 30)


async def test_a_role_that_fails_takes_the_others_with_it(whole, monkeypatch):
    async def fail(_ctx, ready):
        ready()
        raise RuntimeError("the worker broke")

    monkeypatch.setattr(app.worker, "run", fail)
    with pytest.raises(RuntimeError, match="the worker broke"):
        await asyncio.wait_for(app.serve(whole), 30)


async def test_a_role_that_fails_while_another_starts_is_not_waited_for(whole, monkeypatch):
    async def fail_later(_ctx, ready):
        ready()
        await asyncio.sleep(0)
        raise RuntimeError("the worker broke")

    async def never(_self, _ready):
        await asyncio.Event().wait()

    monkeypatch.setattr(app.worker, "run", fail_later)
    monkeypatch.setattr(app.Gateway, "run", never)
    with pytest.raises(RuntimeError, match="the worker broke"):
        await asyncio.wait_for(app.serve(whole), 30)


async def test_a_stop_is_heard_while_a_role_still_waits_for_another_part(whole, monkeypatch):
    is_waiting = asyncio.Event()

    async def never(_self, _ready):
        is_waiting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(app.Gateway, "run", never)
    running = Running(whole)
    await asyncio.wait_for(is_waiting.wait(), 30)
    await running.end()
    assert not running.is_ready.is_set()


async def test_a_cancelled_program_leaves_no_role_behind(whole):
    running = await Running(whole).ready()
    running.task.cancel()
    with suppress(asyncio.CancelledError):
        await running.task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_only_the_doors_that_are_played_stand_in_the_http_app(whole, sqlite_ctx, nats_server):
    for roles, statuses in (("api", (401, 404)), ("portal", (404, 303)), ("worker", (404, 404))):
        settings = Settings(
            roles=roles,
            data=whole.data,
            nats_url=nats_server,
            database_url="postgresql://nobody@nowhere/none",
        )
        played = app.http_app(
            app.Context(sqlite_ctx.db, sqlite_ctx.bus, sqlite_ctx.clock, sqlite_ctx.files, settings)
        )
        people = httpx2.AsyncClient(transport=httpx2.ASGITransport(played), base_url="http://test")
        found = ((await people.get("/api/v1/me")).status_code, (await people.get("/")).status_code)
        assert found[0] == statuses[0], roles
        assert (found[1] == 404) == (statuses[1] == 404), roles
        await people.aclose()


async def test_the_parts_of_one_process_are_a_local_bus_and_sqlite(whole):
    await app.upgrade(whole)
    async with app.parts(whole) as ctx:
        assert isinstance(ctx.bus, LocalBus)
        assert ctx.db.is_sqlite

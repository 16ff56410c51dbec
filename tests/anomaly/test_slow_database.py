"""A database that is locked or gone: no charger hears a false answer, and nobody has to help afterwards."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import websockets

from dev_servers import DevPostgres
from tests.anomaly.wire import RawCharger, frame
from tests.e2e.library_charger import instant, plugged
from tests.e2e.server import Person, Server, deliver, make_person, settle_in, until

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Hold the write lock of the SQLite file, as another process may."""
    holder = sqlite3.connect(server.data / "voltyard.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


async def transactions(person: Person, charger_id: str) -> list[dict]:
    return (await person("GET", f"/transactions?charger={charger_id}"))["items"]


async def test_while_the_database_is_locked_nothing_is_answered_and_then_all_is_stored(tmp_path: Path):
    with Server(tmp_path) as server:
        person = make_person(server)
        deliver(server, "LOCK-1,1234,", "LOCK-2,1234,")
        _, charger_id = await settle_in(person, "LOCK-1")
        async with (
            plugged(server.ocpp_url, "LOCK-1") as charger,
            plugged(server.ocpp_url, "LOCK-2") as other,
        ):
            await charger.boot()
            await other.boot()
            with locked(server):
                starting = asyncio.create_task(charger.begin("CARD1", 100, instant(BEGAN)))
                telling = asyncio.create_task(other.status("Available"))
                done, _ = await asyncio.wait([starting, telling], timeout=3)
                assert not done, "an answer before the commit would be false"
                # People still see what is there.
                assert (await person("GET", f"/chargers/{charger_id}"))["connection"] == "online"
            number, _ = await starting
            await telling
            await charger.end(number, 700, at=instant(BEGAN + timedelta(minutes=5)))
        (only,) = await transactions(person, charger_id)
        assert (only["number"], only["energy_wh"]) == (number, 600)


async def test_a_lock_that_outlasts_patience_closes_the_socket_and_the_charger_says_it_again(tmp_path: Path):
    with Server(tmp_path) as server:
        person = make_person(server)
        deliver(server, "LOCK-3,1234,")
        _, charger_id = await settle_in(person, "LOCK-3")
        async with plugged(server.ocpp_url, "LOCK-3") as charger:
            await charger.boot()
            with locked(server):
                start = {"connectorId": 1, "idTag": "CARD1", "meterStart": 5, "timestamp": instant(BEGAN)}
                await charger.connection.send(json.dumps([2, "1", "StartTransaction", start]))
                async with asyncio.timeout(25):
                    await charger.connection.wait_closed()
                assert charger.connection.close_code == 1011
                # Nobody gets in meanwhile, and is told to come again.
                knocking = asyncio.create_task(websockets.connect(f"{server.ocpp_url}/NEW").__aenter__())
                await asyncio.wait([knocking], timeout=0.5)
                assert not knocking.done() or knocking.exception() is not None
        with suppress(websockets.InvalidStatus, websockets.ConnectionClosed):
            await (await knocking).close()
        async with plugged(server.ocpp_url, "LOCK-3") as charger:
            await charger.boot()
            number, _ = await charger.begin("CARD1", 5, instant(BEGAN))
            await charger.end(number, 1_005, at=instant(BEGAN + timedelta(minutes=9)))
        (only,) = await transactions(person, charger_id)
        assert only["energy_wh"] == 1_000


async def test_a_database_that_dies_is_not_answered_for_and_the_server_outlives_it(server_folder: Path):
    folder = server_folder / "dying"
    folder.mkdir(mode=0o755)
    postgres = DevPostgres(folder / "postgres", durable=True)
    port = postgres.port
    try:
        with Server(folder / "voltyard", database_url=postgres.url) as server:
            person = make_person(server)
            deliver(server, "DIES-1,1234,")
            _, charger_id = await settle_in(person, "DIES-1")
            raw = await RawCharger.connect(server.ocpp_port, "DIES-1")
            boot = {"chargePointVendor": "V", "chargePointModel": "M"}
            assert (await raw.call("BootNotification", boot))[2]["status"] == "Accepted"
            start = {"connectorId": 1, "idTag": "CARD1", "meterStart": 5, "timestamp": instant(BEGAN)}
            postgres.process.send_signal(signal.SIGKILL)
            postgres.process.wait()
            await raw.send(frame(json.dumps([2, "start", "StartTransaction", start]).encode()))
            assert await raw.closed() == 1011, "closed, and nothing else was said"
            postgres = DevPostgres(folder / "postgres", durable=True, port=port)
            raw.drop()

            async def is_served() -> bool:
                try:
                    raw = await RawCharger.connect(server.ocpp_port, "DIES-1")
                except (AssertionError, OSError):
                    return False
                answer = await raw.call("StartTransaction", start)
                raw.drop()
                return answer[0] == 3 and answer[2]["idTagInfo"]["status"] == "Accepted"

            await until(is_served, "the server finds its database again", within_s=20)
            (only,) = await transactions(person, charger_id)
            assert only["meter_start_wh"] == 5
            assert server.process is not None
            assert server.process.poll() is None
    finally:
        postgres.stop()

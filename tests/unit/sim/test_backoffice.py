"""A simulated back office on real sockets, with simulated and hand-made chargers."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.unit.sim.driving import CAR
from voltyard.kernel.clock import SystemClock
from voltyard.sim.backoffice import (
    AskFailed,
    Backoffice,
    identity_of,
    obey,
    serve_until_stopped,
    typed_lines,
)
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import SUBPROTOCOL, Runner, SimulatedClock, basic_header
from voltyard.sim.operator import Manner, Operator
from voltyard.sim.station import Nameplate

BOOT = '[2,"b","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'


@asynccontextmanager
async def opened(**manner: Any) -> AsyncIterator[tuple[Backoffice, list[str]]]:
    lines: list[str] = []
    async with Backoffice(Operator(Manner(**manner)), say=lines.append) as office:
        yield office, lines


@asynccontextmanager
async def running(
    office: Backoffice, identity: str = "CP1", password: str | None = None
) -> AsyncIterator[Runner]:
    machine = VirtualCharger(Nameplate(identity), 1, datetime.now(UTC))
    runner = Runner(machine, office.url, password, SimulatedClock(SystemClock()), lambda _: None)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def plugged(office: Backoffice, path: str = "/CP1", **headers: str) -> Any:
    return connect(
        office.url + path,
        subprotocols=[SUBPROTOCOL],
        additional_headers=headers,
        compression=None,
        proxy=None,
    )


async def say(socket: ClientConnection, text: str) -> Any:
    await socket.send(text)
    return json.loads(await socket.recv())


async def until(holds: Callable[[], Any]) -> None:
    """Wait until this holds."""
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.01)


def test_the_identity_stands_at_the_end_of_the_address():
    assert identity_of("/any/thing/CP%201%2F2?x=/y") == "CP 1/2"
    assert identity_of("/") == ""


async def test_chargers_charge_and_obey_several_at_once():
    async with opened(first_number=70) as (office, lines), running(office), running(office, "CP2") as runner:
        two = office.charger("CP2")
        await until(lambda: two.status(1) == "Available" and office.charger("CP1").registration)
        assert await office.ask("CP2", "RemoteStartTransaction", {"idTag": "TAG", "connectorId": 1}) == {
            "status": "Accepted"
        }
        runner.act(lambda machine, now: machine.plug(1, CAR, now))
        await until(lambda: two.transactions)
        assert await office.ask("CP2", "RemoteStopTransaction", {"transactionId": 70}) == {
            "status": "Accepted"
        }
        await until(lambda: not two.transactions[0].is_running)
        assert two.transactions[0].reason == "Remote"
        assert office.charger("CP1").transactions == []
        assert two.oddities == []
        assert "CP2: is asked RemoteStopTransaction transactionId 70" in lines


async def test_who_does_not_know_the_password_is_turned_away():
    async with opened(password="secret") as (office, lines), running(office, password="secret"):
        await until(lambda: office.charger("CP1").boots)
        with pytest.raises(InvalidStatus) as refused:
            await plugged(office, "/CP2", Authorization=basic_header("CP2", "other"))
        assert refused.value.response.status_code == 401
        assert "CP2: is turned away with 401" in lines


async def test_an_address_without_an_identity_is_not_found():
    async with opened() as (office, lines):
        with pytest.raises(InvalidStatus) as refused:
            await plugged(office, "/")
        assert refused.value.response.status_code == 404
        assert lines == ["somebody without a name: is turned away with 404"]


async def test_its_manner_changes_while_chargers_are_connected():
    async with opened() as (office, _lines), plugged(office) as socket:
        assert (await say(socket, BOOT))[2]["status"] == "Accepted"
        office.behave(delay_s=0.1, errors={"Heartbeat": "NotSupported"})
        began = asyncio.get_running_loop().time()
        assert (await say(socket, '[2,"h","Heartbeat",{}]'))[2] == "NotSupported"
        assert asyncio.get_running_loop().time() - began > 0.09


async def test_a_newer_connection_replaces_the_older_one():
    async with opened() as (office, _lines), plugged(office) as old:
        await until(lambda: office.charger("CP1").is_connected)
        async with plugged(office) as new:
            assert (await say(new, BOOT))[0] == 3
            with pytest.raises(ConnectionClosed):
                await old.recv()
            assert office.charger("CP1").is_connected
        await until(lambda: not office.charger("CP1").is_connected)


async def test_it_hangs_up_when_told_to_and_at_once_in_that_manner():
    async with opened() as (office, _lines), plugged(office) as socket:
        await say(socket, BOOT)
        office.hang_up("CP1", 1001, "restart")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1001, "restart")
        await until(lambda: not office.charger("CP1").is_connected)
        office.behave(closes_at_once=True)
        async with plugged(office) as closed:
            with pytest.raises(ConnectionClosed):
                await closed.recv()


async def test_an_ask_that_fails_says_why():
    async with opened() as (office, _lines):
        with pytest.raises(AskFailed, match="not connected"):
            await office.ask("CP1", "ClearCache", {})
        async with plugged(office) as socket:
            await say(socket, BOOT)
            asking = asyncio.create_task(office.ask("CP1", "ClearCache", {}))
            assert json.loads(await socket.recv())[2] == "ClearCache"
            await socket.send(f'[4,"{office.charger("CP1").asks[-1].id}","NotSupported","no",{{}}]')
            with pytest.raises(AskFailed) as failed:
                await asking
            assert (failed.value.code, failed.value.why) == ("NotSupported", "no")
            left = asyncio.create_task(office.ask("CP1", "ClearCache", {}))
            await socket.recv()
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
        await until(lambda: office.charger("CP1").asks[-1].outcome)


async def test_it_listens_again_at_the_same_port():
    office = Backoffice(Operator())
    async with office:
        url = office.url
    async with office, plugged(office) as socket:
        assert office.url == url
        assert (await say(socket, BOOT))[0] == 3


async def test_bytes_are_read_as_text():
    async with opened() as (office, _lines), plugged(office) as socket:
        await socket.send(BOOT.encode())
        assert json.loads(await socket.recv())[0] == 3


async def test_typed_lines_are_obeyed_and_their_end_ends_nothing():
    office = Backoffice(Operator())
    said: list[str] = []
    lines = asyncio.StreamReader()
    serving = asyncio.create_task(serve_until_stopped(office, said.append, lines))
    await until(lambda: len(said) == 2)
    assert said[0].startswith(f"chargers connect at {office.url}/")
    async with running(office) as runner:
        await until(lambda: office.charger("CP1").status(1))
        lines.feed_data(b"\nremote-start CP1 TAG\n")
        await until(lambda: said[-1] == '{"status": "Accepted"}')
        runner.act(lambda machine, now: machine.plug(1, CAR, now))
        await until(lambda: office.charger("CP1").transactions)
        assert await obey(office, "remote-stop CP1 1") == '{"status": "Accepted"}'
        assert "configurationKey" in await obey(
            office, 'ask CP1 GetConfiguration {"key": ["HeartbeatInterval"]}'
        )
        assert await obey(office, "remote-stop CP1 one") == (
            "not understood: invalid literal for int() with base 10: 'one'"
        )
        assert (await obey(office, "sing")).startswith("not understood; there is: remote-start")
        assert await obey(office, "remote-start CP9 TAG") == "the charger is not connected"
        lines.feed_eof()
        await office.ask("CP1", "ClearCache", {})
        assert not serving.done()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_without_lines_it_only_serves():
    said: list[str] = []
    serving = asyncio.create_task(serve_until_stopped(Backoffice(Operator()), said.append, None))
    await until(lambda: said)
    assert len(said) == 1
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_lines_come_from_a_pipe_and_from_no_file(monkeypatch, tmp_path):
    reading, writing = os.pipe()
    with os.fdopen(reading) as piped, os.fdopen(writing, "w") as typed:
        monkeypatch.setattr(sys, "stdin", piped)
        async with typed_lines() as lines:
            assert lines is not None
            typed.write("sing\n")
            typed.flush()
            assert await lines.readline() == b"sing\n"
    (tmp_path / "file").touch()
    with (tmp_path / "file").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        async with typed_lines() as lines:
            assert lines is None
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    async with typed_lines() as lines:
        assert lines is None

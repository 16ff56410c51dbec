from __future__ import annotations

import asyncio
import json
import os
import pty
from typing import Any

import pytest

from voltyard.kernel.clock import FakeClock
from voltyard.sim.car import Car
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.control import handle, listen_to_keys, press, read_car, serve_control
from voltyard.sim.envelope import BadPayload, Fields
from voltyard.sim.fleet import Runner, SimulatedClock
from voltyard.sim.station import Nameplate


@pytest.fixture
def runner() -> Runner:
    clock = SimulatedClock(FakeClock())
    machine = VirtualCharger(Nameplate("CP1", connectors=2), 1, clock.now())
    machine._station.keys.change("AllowOfflineTxForUnknownId", "true")
    return Runner(machine, "ws://nowhere", None, clock, lambda _: None)


def post(runner: Runner, path: str, **payload: Any) -> tuple[int, Any]:
    return handle(runner, "POST", path, payload, "TAG")


def state(runner: Runner, connector: int = 1) -> dict[str, Any]:
    return dict(runner.machine.snapshot()["connectors"][connector - 1])


def test_a_whole_session_goes_through_the_control_port(runner):
    status, shown = post(runner, "/plug", connector=2, car={"phases": 1, "limit_a": 20, "name": "mine"})
    assert (status, shown["connectors"][1]["car"]) == (200, "mine")
    post(runner, "/swipe")
    assert state(runner, 2)["id_tag"] == "TAG"
    post(runner, "/swipe", id_tag="tag", connector=2)
    assert state(runner, 2)["status"] == "Finishing"
    post(runner, "/unplug", connector=2)
    assert state(runner, 2)["status"] == "Available"
    assert handle(runner, "GET", "/state?x=1", {}, "TAG")[0] == 200


def test_accidents_go_through_the_control_port(runner):
    assert post(runner, "/button")[0] == 200
    assert post(runner, "/network", online=False)[1]["network"] is False
    assert post(runner, "/network", online=True)[1]["network"] is True
    assert post(runner, "/fault", connector=0, code="GroundFailure")[1]["error"] == "GroundFailure"
    assert post(runner, "/clear-fault", connector=0)[1]["error"] == "NoError"
    post(runner, "/fault")
    assert state(runner)["error"] == "OtherError"
    post(runner, "/clear-fault")
    assert post(runner, "/power-cut", off_s=10)[1]["powered"] is False


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/plug", {"connector": 3}),
        ("/plug", {"connector": 0}),
        ("/plug", {"connector": "1"}),
        ("/plug", {"car": {"wings": 2}}),
        ("/plug", {"car": {"phases": "3"}}),
        ("/plug", {"car": {"phases": 7}}),
        ("/plug", {"car": {"soc": 1.5}}),
        ("/swipe", {"id_tag": "x" * 21}),
        ("/swipe", {"connector": 9}),
        ("/network", {}),
        ("/fault", {"code": "Bored"}),
    ],
)
def test_a_wrong_wish_is_refused_and_changes_nothing(runner, path, payload):
    before = runner.machine.snapshot()
    status, answer = post(runner, path, **payload)
    assert status == 400
    assert answer["error"]
    assert runner.machine.snapshot() == before


def test_unknown_paths_and_methods_are_told(runner):
    assert handle(runner, "GET", "/", {}, "TAG")[0] == 404
    assert post(runner, "/fly")[0] == 404
    assert handle(runner, "DELETE", "/state", {}, "TAG")[0] == 405


def test_a_car_is_read_from_its_fields():
    assert read_car(None) == Car()
    assert read_car(Fields({"soc": 1, "tells_soc": True})) == Car(soc=1, tells_soc=True)
    with pytest.raises(BadPayload):
        read_car(Fields({"limit_a": True}))


def test_each_key_does_its_thing(runner):
    assert press(runner, "p", "TAG")
    assert press(runner, "s", "TAG")
    assert state(runner)["is_charging_session"]
    assert press(runner, "b", "TAG")
    assert press(runner, "n", "TAG")
    assert not runner.machine.snapshot()["network"]
    assert press(runner, "n", "TAG")
    assert runner.machine.snapshot()["network"]
    assert press(runner, "u", "TAG")
    assert state(runner)["status"] == "Available"
    assert press(runner, "x", "TAG")
    assert not press(runner, "q", "TAG")


async def talk(port: int, raw: bytes) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def request(method: str, path: str, body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET", "/state"), 200),
        (request("POST", "/plug", b'{"connector": 1}'), 200),
        (request("POST", "/plug", b"[]"), 400),
        (request("POST", "/plug", b"{"), 400),
        (b"hello\r\n\r\n", 400),
        (b"half", 400),
        (b"POST /plug HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /plug HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"x" * 20_000, 400),
    ],
)
async def test_the_control_port_speaks_http(runner, raw, status):
    async with await serve_control(runner, 0, "TAG") as server:
        assert (await talk(server.sockets[0].getsockname()[1], raw))[0] == status


async def test_keys_are_obeyed_until_q_and_the_terminal_is_put_back(runner):
    person, terminal = pty.openpty()
    try:
        listening = asyncio.create_task(listen_to_keys(runner, "TAG", terminal))
        await asyncio.sleep(0)
        os.write(person, b"ps")
        async with asyncio.timeout(5):
            while not state(runner)["is_charging_session"]:  # noqa: ASYNC110 - a keyboard sets no event
                await asyncio.sleep(0)
            os.write(person, b"q")
            await listening
    finally:
        os.close(person)
        os.close(terminal)


async def test_a_lost_terminal_ends_the_listening(runner):
    person, terminal = pty.openpty()
    listening = asyncio.create_task(listen_to_keys(runner, "TAG", terminal))
    await asyncio.sleep(0)
    os.close(person)
    async with asyncio.timeout(5):
        await asyncio.gather(listening, return_exceptions=True)
    os.close(terminal)

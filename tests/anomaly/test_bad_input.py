"""Chargers that send rubbish get an answer or a closed socket; others notice nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.anomaly.wire import BINARY, PING, PONG, TEXT, RawCharger, frame
from tests.e2e.server import Server, fresh_database, until

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("anomaly")) as running:
        yield running


def call(action: object, payload: object, message_id: object = "1") -> bytes:
    return json.dumps([2, message_id, action, payload]).encode()


HUGE = 10**40
LONG = "x" * 9_999
WRONG_TYPES = [
    call("BootNotification", {"chargePointVendor": {"a": []}, "chargePointModel": 7}),
    call("BootNotification", {}),
    call("BootNotification", {"chargePointVendor": "V" * 50_000, "chargePointModel": "\u0000\ud800" * 100}),
    call("StatusNotification", {"connectorId": HUGE, "status": "Available", "errorCode": "NoError"}),
    call("StatusNotification", {"connectorId": 2**31, "status": "Available", "errorCode": "NoError"}),
    call("StatusNotification", {"connectorId": "eins", "status": None, "errorCode": []}),
    call(
        "StatusNotification",
        {
            "connectorId": 1,
            "status": "Charging",
            "errorCode": "E" * 5_000,
            "info": "\u0000",
            "vendorErrorCode": LONG,
        },
    ),
    call("Authorize", {"idTag": "\u0000"}),
    call("Authorize", {"idTag": "T" * 100_000}),
    call("StartTransaction", {"connectorId": HUGE, "idTag": "A", "meterStart": HUGE, "timestamp": "never"}),
    call(
        "StartTransaction",
        {
            "connectorId": 1,
            "idTag": "\u0000A",
            "meterStart": -HUGE,
            "timestamp": "9999-12-31T23:59:59+14:00",
            "reservationId": HUGE,
        },
    ),
    call(
        "StartTransaction", {"connectorId": 2, "idTag": "B", "meterStart": 1e308, "timestamp": "0001-01-01"}
    ),
    call(
        "StopTransaction",
        {
            "transactionId": HUGE,
            "meterStop": HUGE,
            "timestamp": 0,
            "idTag": "\u0000" * 99,
            "reason": LONG,
        },
    ),
    call("StopTransaction", {"transactionId": 2**31, "meterStop": 1, "timestamp": "2026-01-01T00:00:00Z"}),
    call(
        "StopTransaction", {"transactionId": -(2**63), "meterStop": -1, "timestamp": "2026-01-01T00:00:00Z"}
    ),
    call(
        "MeterValues",
        {
            "connectorId": 2**40,
            "transactionId": 2**63,
            "meterValue": [
                {
                    "timestamp": "x",
                    "sampledValue": [
                        {"value": "1e400"},
                        {"value": "NaN", "context": LONG},
                        {"value": "5", "measurand": "\u0000", "unit": "\u0000"},
                    ],
                }
            ],
        },
    ),
    call(
        "MeterValues",
        {
            "connectorId": 1,
            "meterValue": [
                {
                    "timestamp": "2026-01-01T00:00:00Z",
                    "sampledValue": [{"value": str(HUGE)}, {"value": str(-HUGE)}],
                }
            ],
        },
    ),
    call("DataTransfer", {"vendorId": "\u0000" * 1_000, "messageId": 1, "data": {"not": "text"}}),
    call("FirmwareStatusNotification", {"status": "S" * 100_000}),
    call("DiagnosticsStatusNotification", []),
    call("Heartbeat", "not an object"),
    call("Heartbeat", {}, "\u0000"),
    call("Heartbeat", {}, "i" * 200),
    call("Heartbeat", {}, HUGE),
    call("Heartbeat", {}, {"id": 1}),
    call(7, {}),
    call("MakeCoffee", {"strength": HUGE}),
    call("\u0000" * 50, {}),
    call("A" * 70_000, {}),
]
BROKEN = [
    b"",
    b" ",
    b"\x00",
    b"[",
    b"[]",
    b"[2]",
    b'[2,"1"]',
    b'[2,"1","Heartbeat"',
    b'[2,"1","Heartbeat",{}',
    b'{"a":1}',
    b'"text"',
    b"null",
    b"2",
    b"true",
    b"[2,[2,[2,[2]]]]",
    b'[9,"1",{}]',
    b"[3]",
    b'[3,"none",{}]',
    b'[4,"none","X","",{}]',
    b'[4,"none"]',
    b"[3,null,{}]",
    b"\xff\xfe\xfd",
    b'[2,"1","Heart\xff",{}]',
    b'[2,"\xc3\x28","Heartbeat",{}]',
    '[2,"1","Heartbeat",{}]'.encode("utf-16"),
    b"[" * 200_000,
    b'{"a":' * 40_000,
    b'[2,"1","StartTransaction",' + b'{"a":' * 40_000,
    b'[2,"1","StatusNotification",{"connectorId":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    b'[2,"1","DataTransfer",{"vendorId":"v","data":"' + b"\\u0000" * 40_000 + b'"}]',
    b'[2,"1","' + b"\\" * 100_000,
    b'[2,"' + b"9" * 200_000,
    b"," * 200_000,
    b'[2,"1","X",{"a":' + b"1" * 100_000 + b"}]",
]


async def still_works(server: Server, identity: str) -> None:
    """See that a well-behaved charger is served."""
    other = await RawCharger.connect(server.ocpp_port, identity)
    boot = {"chargePointVendor": "V", "chargePointModel": "M"}
    assert (await other.call("BootNotification", boot))[2]["status"] == "Pending"
    other.drop()


async def pester(server: Server, identity: str) -> None:
    """Send everything that is wrong, one after the other, and let the same charger speak in between."""
    peer = await RawCharger.connect(server.ocpp_port, identity)
    for number, data in enumerate([*BROKEN, *WRONG_TYPES]):
        await peer.send(frame(data, TEXT if number % 3 else BINARY))
        try:
            answer = await peer.call(message_id=f"after {number}")
        except (asyncio.IncompleteReadError, ConnectionError, AssertionError) as wrong:
            raise AssertionError(f"the socket did not survive {data[:200]!r}") from wrong
        assert answer[0] == 3, answer
    peer.drop()


def faults(server: Server) -> list[dict]:
    """Return what the server logged as its own mistakes."""
    return [line for line in server.lines() if line.get("level") in {"error", "critical"}]


async def test_no_message_costs_a_charger_its_socket_or_the_server_its_calm(server):
    await pester(server, "RUBBISH-1")
    assert not faults(server)
    await still_works(server, "GOOD-1")


async def test_no_message_costs_a_charger_its_socket_on_postgres(tmp_path: Path, postgres_server):
    with Server(tmp_path, database_url=await fresh_database(postgres_server)) as server:
        await pester(server, "RUBBISH-1")
        assert not faults(server)
        await still_works(server, "GOOD-1")


async def test_random_bytes_as_messages_do_no_harm(server):
    chance = random.Random(7)
    peer = await RawCharger.connect(server.ocpp_port, "RUBBISH-2")
    for _ in range(300):
        await peer.send(frame(chance.randbytes(chance.randrange(400))))
        good = bytearray(call("MeterValues", {"connectorId": 1, "meterValue": [{"timestamp": "x"}]}))
        for _ in range(chance.randrange(1, 6)):
            good[chance.randrange(len(good))] = chance.randrange(256)
        await peer.send(frame(bytes(good)))
    assert (await peer.call(message_id="last"))[0] == 3
    peer.drop()
    assert not faults(server)


@pytest.mark.parametrize(
    ("bytes_sent", "code"),
    [
        (frame(b"x" * MIB), 1009),
        (frame(b'[2,"1","' + b"A" * 1_000_000 + b'",{}]'), 1009),
        (frame(b"x" * 1000, is_last=False) * 400, 1009),
        (bytes([0x81, 0xFF]) + b"\xff" * 8 + bytes(4), 1002),
        (bytes([0x83, 0x80]) + bytes(4), 1002),
        (bytes([0x81, 0x05]) + b"hello", 1002),
        (bytes([0x09, 0x80]) + bytes(4), 1002),
        (frame(b"\x03\xe8" + b"\xff", 8), 1007),
    ],
    ids=[
        "1-mb",
        "long-action",
        "many-pieces",
        "endless",
        "unknown-kind",
        "no-mask",
        "ping-in-pieces",
        "close",
    ],
)
async def test_what_breaks_the_websocket_itself_closes_it_with_the_right_word(server, bytes_sent, code):
    peer = await RawCharger.connect(server.ocpp_port, "RUBBISH-3")
    sending = asyncio.create_task(peer.send(bytes_sent))
    assert await peer.closed() == code
    sending.cancel()
    peer.drop()
    await still_works(server, "GOOD-1")


async def test_random_bytes_instead_of_frames_close_only_that_socket(server):
    chance = random.Random(11)
    good = await RawCharger.connect(server.ocpp_port, "GOOD-2")
    for number in range(40):
        peer = await RawCharger.connect(server.ocpp_port, f"RUBBISH-{10 + number % 3}")
        await peer.send(chance.randbytes(200))
        peer.drop()
        assert (await good.call(message_id=str(number)))[0] == 3
    good.drop()


async def test_half_a_frame_and_then_nothing_is_forgotten(server):
    for number in range(60):
        peer = await RawCharger.connect(server.ocpp_port, f"HALF-{number % 5}")
        await peer.send(frame(call("Heartbeat", {}) * 2_000)[: 1 + number * 997])
        peer.drop()
    await until(lambda: sockets(server) == 0, "all sockets are gone")
    await still_works(server, "GOOD-1")


def sockets(server: Server) -> int:
    """Count the connections of chargers that the server has open."""
    return sum(
        each.laddr.port == server.ocpp_port and each.status in {"ESTABLISHED", "CLOSE_WAIT"}
        for each in server.memory.net_connections("tcp")
    )


async def test_a_flood_of_pings_is_answered_and_keeps_nobody_waiting(server):
    flood = await RawCharger.connect(server.ocpp_port, "FLOOD-1")
    good = await RawCharger.connect(server.ocpp_port, "GOOD-3")

    async def pour() -> None:
        for _ in range(200):
            await flood.send(frame(b"p" * 100, PING) * 100)

    async def drink() -> int:
        count = 0
        while count < 20_000:
            kind, _ = await flood.receive()
            assert kind == PONG
            count += 1
        return count

    pouring, drinking = asyncio.create_task(pour()), asyncio.create_task(drink())
    slowest = 0.0
    for number in range(20):
        began = time.monotonic()
        assert (await good.call(message_id=str(number)))[0] == 3
        slowest = max(slowest, time.monotonic() - began)
    assert await drinking == 20_000
    await pouring
    assert slowest < 5
    flood.drop()
    good.drop()


async def test_a_thousand_calls_at_once_are_all_answered_in_order(server):
    peer = await RawCharger.connect(server.ocpp_port, "EAGER-1")
    await peer.send(b"".join(frame(call("Heartbeat", {}, str(number))) for number in range(1_000)))
    for number in range(1_000):
        _, data = await peer.receive()
        assert json.loads(data)[:2] == [3, str(number)]
    peer.drop()


async def test_who_never_reads_is_not_buffered_without_end(server):
    good = await RawCharger.connect(server.ocpp_port, "GOOD-4")
    assert (await good.call())[0] == 3
    before = server.memory.memory_info().rss
    deaf = [await RawCharger.connect(server.ocpp_port, f"DEAF-{number}", limit=1_024) for number in range(5)]
    for peer in deaf:
        peer.writer.transport.pause_reading()
    ping = frame(b"p" * 125, PING) * 400
    stuck = 0
    for _ in range(400):
        for peer in deaf:
            try:
                async with asyncio.timeout(0.25):
                    await peer.send(ping)
            except TimeoutError:
                stuck += 1
        if stuck >= len(deaf):
            break
    assert stuck, "the server stopped reading from those who do not read"
    assert (await good.call(message_id="2"))[0] == 3
    grown = server.memory.memory_info().rss - before
    print(f"memory while five chargers do not read: {grown / MIB:+.1f} MiB")
    assert grown < 32 * MIB
    # A newer socket of each sends them away, read or not.
    for number in range(5):
        (await RawCharger.connect(server.ocpp_port, f"DEAF-{number}")).drop()
    good.drop()
    await until(lambda: sockets(server) == 0, "those who never read are gone", within_s=12)
    for peer in deaf:
        peer.drop()

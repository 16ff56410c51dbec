"""The charger's side of a recording against a central system that somebody else wrote."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.unit.sim.backoffice import open_office
from tests.unit.sim.recordings import ACCEPTED, asked, said, written
from voltyard.kernel.clock import SystemClock
from voltyard.sim.replay import Report, read_recording
from voltyard.sim.replay_server import Unreachable, play

BOOT = {"chargePointVendor": "Acme", "chargePointModel": "One"}
BOOTED = ACCEPTED | {"currentTime": "2026-03-01T12:00:00Z", "interval": 60}
START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-03-01T12:00:00Z"}
STARTED = {"transactionId": 17, "idTagInfo": ACCEPTED}
STOP = {"transactionId": 17, "meterStop": 5, "timestamp": "2026-03-01T12:00:09Z"}


async def played(url: str, *rows: dict, **options: float) -> Report:
    return await play(
        read_recording(written(*rows)), url, "CP1", None, clock=SystemClock(), say=lambda _: None, **options
    )


async def test_a_session_goes_as_recorded_with_numbers_of_its_own():
    async with open_office() as office:
        office.number = 400
        report = await played(
            office.url,
            said(1, "BootNotification", BOOT, BOOTED),
            said(2, "StartTransaction", START, STARTED),
            said(3, "StopTransaction", STOP, {"idTagInfo": ACCEPTED}),
            speed=1_000.0,
        )
        assert (report.played, report.compared, report.differences) == (3, 3, [])
        assert office.heard[-1][2]["transaction_id"] == 401


async def test_another_word_is_a_difference():
    async with open_office() as office:
        report = await played(office.url, said(1, "BootNotification", BOOT, BOOTED | {"status": "Pending"}))
        assert [each.text for each in report.differences] == ["status was Pending and is Accepted"]


async def test_each_recorded_connection_is_one_again():
    async with open_office() as office:
        await played(
            office.url,
            said(1, "Heartbeat", {}, {"currentTime": "2026-03-01T12:00:00Z"}),
            said(2, "Heartbeat", {}, {"currentTime": "2026-03-01T12:00:00Z"}, session_id="soc_2"),
        )
        assert len(office.requests) == 2


async def test_what_was_asked_before_and_not_now_is_noted_and_so_is_what_makes_no_sense_now():
    async with open_office() as office:
        report = await played(
            office.url,
            said(1, "", "[3,", odd="unreadable_frame"),
            said(2, "", '[3,"x",{}]', odd="unknown_answer"),
            said(3, "Heartbeat", {}),
            asked(4, "Reset", {"type": "Soft"}, ACCEPTED),
        )
        assert report.differences == []
        assert report.notes == [
            "call 2: unknown_answer, left out",
            "call 3 Heartbeat: nothing is recorded to compare with",
            "call 4 Reset: was not asked this time",
        ]


async def test_a_refusal_at_the_door_is_told():
    async with open_office() as office:
        office.refuses = 401
        with pytest.raises(Unreachable, match="the password is wrong"):
            await played(office.url, said(1, "Heartbeat", {}, {}))
    with pytest.raises(Unreachable, match="cannot reach"):
        await played("ws://127.0.0.1:1/ocpp", said(1, "Heartbeat", {}, {}))


async def test_what_the_server_asks_meanwhile_is_answered_as_it_was():
    """A server that asks three things before it answers a heartbeat."""
    answers: list[list] = []

    async def serve_one(socket: ServerConnection) -> None:
        call_id = json.loads(await socket.recv())[1]
        for number, action in enumerate(("Reset", "ClearCache", "MadeUp")):
            await socket.send(json.dumps([2, f"s{number}", action, {"type": "Soft"}]))
            answers.append(json.loads(await socket.recv()))
        await socket.send("no message")
        await socket.send(json.dumps([3, call_id, {"currentTime": "2026-03-01T12:00:00Z"}]))

    async with serve(serve_one, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")]) as server:
        port = server.sockets[0].getsockname()[1]
        report = await played(
            f"ws://127.0.0.1:{port}",
            said(1, "Heartbeat", {}, {"currentTime": "2026-03-01T12:00:00Z"}),
            said(2, "Heartbeat", {}, {"currentTime": "2026-03-01T12:00:00Z"}),
            said(3, "Heartbeat", {}, {"currentTime": "2026-03-01T12:00:00Z"}),
            asked(4, "Reset", {"type": "Soft"}, {"status": "Rejected"}),
            asked(5, "ClearCache", {}, {"errorCode": "InternalError", "errorDescription": ""}),
        )
    assert [each[0] for each in answers] == [3, 4, 4]
    assert (answers[0][2], answers[1][2], answers[2][2]) == (
        {"status": "Rejected"}, "InternalError", "NotImplemented"
    )  # fmt: skip
    assert "the server asks MadeUp, which it did not in the recording" in report.notes
    # The server goes after its one answer: the second has none, and the third is not sent.
    assert [each.text for each in report.differences] == ["the connection was closed (1000)"]
    assert report.played == 2

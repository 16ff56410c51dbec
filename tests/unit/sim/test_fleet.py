from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from ocpp.v16 import call

from tests.unit.sim.backoffice import Office, open_office
from tests.unit.sim.driving import CAR, START
from voltyard.kernel.clock import FakeClock, SystemClock
from voltyard.sim.charger import VirtualCharger
from voltyard.sim.fleet import (
    Runner,
    SimulatedClock,
    basic_header,
    charger_url,
    reconnect_pause_s,
    run_charger,
    run_fleet,
    take_step,
)
from voltyard.sim.plans import Arrive, Finish, Leave, Show
from voltyard.sim.station import Nameplate


@asynccontextmanager
async def running(
    url: str, password: str | None = None, speed: float = 1
) -> AsyncIterator[tuple[Runner, list[str]]]:
    lines: list[str] = []
    clock = SimulatedClock(SystemClock(), speed)
    machine = VirtualCharger(Nameplate("CP1", connectors=2), 1, clock.now())
    runner = Runner(machine, url, password, clock, lines.append)
    task = asyncio.create_task(runner.run())
    try:
        yield runner, lines
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_online(runner: Runner) -> bool:
    return runner.machine.snapshot()["registration"] == "Accepted"


def test_addresses_and_headers_are_written_as_the_standard_says():
    assert charger_url("ws://h:1/ocpp/", "A B/1") == "ws://h:1/ocpp/A%20B%2F1"
    assert base64.b64decode(basic_header("CP", "p:w").split()[1]) == b"CP:p:w"


def test_pauses_grow_to_a_minute_and_are_jittered():
    pauses = [reconnect_pause_s(failures, random.Random(1)) for failures in (0, 1, 2, 50)]
    assert pauses == sorted(pauses)
    assert 0.5 <= pauses[0] <= 1
    assert 30 <= pauses[-1] <= 60
    assert len({reconnect_pause_s(3, random.Random(seed)) for seed in range(9)}) == 9


async def test_simulated_time_runs_as_fast_as_asked():
    real = FakeClock()
    clock = SimulatedClock(real, 60)
    before = clock.now()
    waiting = asyncio.create_task(clock.sleep(120))
    await asyncio.sleep(0)
    real.advance(2)
    await waiting
    assert clock.now() - before == timedelta(seconds=120)
    assert clock.real_s(-5) == 0


async def test_a_charger_charges_against_an_independent_central_system():
    async with open_office() as office, running(office.url, "secret") as (runner, _lines):
        await office.until(lambda: is_online(runner) and office.count("StatusNotification") == 3)
        path, headers = office.requests[0]
        assert path == "/ocpp/CP1"
        assert headers["Authorization"] == basic_header("CP1", "secret")
        runner.act(lambda machine, now: machine.plug(1, CAR, now))
        runner.act(lambda machine, now: machine.swipe("TAG", None, now))
        await office.until(lambda: runner.machine.snapshot()["connectors"][0]["transaction"] == 1)
        runner.act(lambda machine, now: machine.unplug(1, now))
        await office.until(lambda: office.count("StopTransaction") == 1)
        assert office.errors() == []


COMMANDS = [
    call.ChangeConfiguration(key="MeterValueSampleInterval", value="0"),
    call.ChangeConfiguration(key="SmartButtonEnabled", value="true"),
    call.GetConfiguration(),
    call.GetConfiguration(key=["Nonsense"]),
    call.ChangeAvailability(connector_id=2, type="Inoperative"),
    call.ChangeAvailability(connector_id=2, type="Operative"),
    call.ClearCache(),
    call.DataTransfer(vendor_id="Voltyard Sim", message_id="Echo", data="x"),
    call.SendLocalList(list_version=1, update_type="Full", local_authorization_list=[{"idTag": "L"}]),
    call.GetLocalListVersion(),
    call.ReserveNow(connector_id=2, expiry_date="2099-01-01T00:00:00Z", id_tag="K", reservation_id=1),
    call.CancelReservation(reservation_id=1),
    call.SetChargingProfile(
        connector_id=0,
        cs_charging_profiles={
            "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "ChargePointMaxProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": {
                "chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.1}],
            },
        },
    ),
    call.GetCompositeSchedule(connector_id=1, duration=600, charging_rate_unit="W"),
    call.ClearChargingProfile(id=1),
    call.UnlockConnector(connector_id=2),
    call.GetDiagnostics(location="ftp://example.org/"),
    call.UpdateFirmware(location="ftp://example.org/fw-9.bin", retrieve_date="2026-01-01T00:00:00Z"),
    *[
        call.TriggerMessage(requested_message=message)
        for message in (
            "BootNotification", "Heartbeat", "MeterValues", "StatusNotification",
            "DiagnosticsStatusNotification", "FirmwareStatusNotification",
        )
    ],
    call.RemoteStartTransaction(id_tag="R", connector_id=1),
]  # fmt: skip


async def test_every_answer_and_every_message_passes_the_librarys_schemas():
    async with open_office() as office, running(office.url) as (runner, _lines):
        await office.until(lambda: is_online(runner))
        desk = office.desks["CP1"]
        for command in COMMANDS:
            # The library raises when an answer breaks its schema or is an error.
            assert await desk.call(command, suppress=False) is not None
        runner.act(lambda machine, now: machine.press_button(now))
        runner.act(lambda machine, now: machine.plug(1, CAR, now))
        await office.until(lambda: office.count("StartTransaction") == 1)
        assert (await desk.call(call.RemoteStopTransaction(transaction_id=1))).status == "Accepted"
        runner.act(lambda machine, now: machine.swipe("TAG", 2, now))
        await office.until(lambda: office.count("Authorize") == 1)
        assert (await desk.call(call.Reset(type="Soft"))).status == "Accepted"
        wanted = {
            "BootNotification", "Authorize", "StartTransaction", "StopTransaction", "Heartbeat",
            "MeterValues", "StatusNotification", "DataTransfer", "FirmwareStatusNotification",
            "DiagnosticsStatusNotification",
        }  # fmt: skip
        await office.until(lambda: {action for _, action, _ in office.heard} == wanted)
        assert office.errors() == []


async def test_a_cut_network_is_abrupt_and_mended_without_a_pause():
    async with open_office() as office, running(office.url) as (runner, lines):
        await office.until(lambda: is_online(runner))
        runner.act(lambda machine, now: machine.cut_network(now))
        await office.until(lambda: not is_online(runner))
        runner.act(lambda machine, now: machine.restore_network(now))
        await office.until(lambda: office.count("BootNotification") == 2)
        assert "CP1: disconnects: network cut" in lines
        assert not any("tries again" in line for line in lines)


async def test_a_reset_charger_comes_back_after_its_reboot():
    async with open_office() as office, running(office.url, speed=20) as (_runner, lines):
        await office.until(lambda: office.count("StatusNotification") == 3)
        await office.desks["CP1"].call(call.Reset(type="Hard"))
        await office.until(lambda: office.count("BootNotification") == 2)
        assert "CP1: reboots, back in 5 s" in lines


async def test_a_new_password_is_used_from_the_next_connection_on():
    async with open_office() as office, running(office.url, "old") as (runner, _lines):
        await office.until(lambda: is_online(runner))
        change = call.ChangeConfiguration(key="AuthorizationKey", value="0123456789abcdef")
        assert (await office.desks["CP1"].call(change)).status == "Accepted"
        await office.until(lambda: office.count("BootNotification") == 2)
        assert office.requests[-1][1]["Authorization"] == basic_header("CP1", "0123456789abcdef")


@pytest.mark.parametrize("status", [401, 404, 418])
async def test_a_refusal_is_told_clearly_and_tried_again(status):
    async with open_office() as office:
        office.refuses = status
        async with running(office.url) as (runner, lines):
            await office.until(lambda: len(office.requests) >= 2)
            assert any(f"refused with {status} at {office.url}/CP1" in line for line in lines)
            office.refuses = None
            await office.until(lambda: is_online(runner))


async def test_a_server_that_is_not_there_is_told():
    async with open_office() as office:
        url = office.url
    async with running(url) as (_runner, lines):
        await office.until(lambda: any("cannot reach" in line for line in lines))
    async with running("gopher://x") as (_runner, lines):
        await office.until(lambda: any("cannot reach" in line for line in lines))


async def test_a_server_that_leaves_is_found_again():
    async with open_office() as office, running(office.url) as (runner, lines):
        await office.until(lambda: is_online(runner))
        await office.desks["CP1"]._connection.close(1001, "restart")
        await office.until(lambda: office.count("BootNotification") == 2)
        assert any("connection closed 1001" in line for line in lines)
        assert any("tries again" in line for line in lines)


async def test_a_server_without_the_subprotocol_is_told():
    async with open_office(subprotocol=False) as office, running(office.url) as (runner, lines):
        await office.until(lambda: is_online(runner))
        assert "CP1: the server did not choose ocpp1.6" in lines


async def test_run_charger_keeps_a_machine_connected():
    async with open_office() as office:
        machine = VirtualCharger(Nameplate("CP9"), 1, datetime.now(UTC))
        task = asyncio.create_task(run_charger(machine, office.url, say=lambda _: None))
        await office.until(lambda: office.count("BootNotification", "CP9") == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def offices_identities(office: Office) -> set[str]:
    return {who for who, _, _ in office.heard}


async def test_a_fleet_lives_and_charges():
    async with open_office() as office:
        names = ["S1", "S2", "S3"]
        passwords = {"S1": "one"}
        work = run_fleet(
            office.url, names, passwords, say=lambda _: None, seed=5, speed=2000, cards=("A", "B")
        )
        task = asyncio.create_task(work)
        await office.until(lambda: office.count("StopTransaction") >= 3)
        assert offices_identities(office) == set(names)
        sent = {path.rsplit("/", 1)[-1]: "Authorization" in headers for path, headers in office.requests}
        assert sent == {"S1": True, "S2": False, "S3": False}
        assert office.errors() == []
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_steps_of_a_life_happen_to_the_machine():
    machine = VirtualCharger(Nameplate("CP1"), 1, START)
    take_step(machine, 1, Finish(0, "A"), START)
    assert machine.snapshot()["connectors"][0]["status"] == "Available"
    take_step(machine, 1, Arrive(0, CAR), START)
    assert machine.snapshot()["connectors"][0]["status"] == "Preparing"
    machine.connected(START)
    take_step(machine, 1, Show(0, "A"), START)
    assert not machine.is_charging_session(1)
    machine._station.keys.change("AllowOfflineTxForUnknownId", "true")
    machine.disconnected(START)
    take_step(machine, 1, Show(0, "A"), START)
    assert machine.is_charging_session(1)
    take_step(machine, 1, Finish(0, "A"), START)
    assert not machine.is_charging_session(1)
    take_step(machine, 1, Leave(0), START)
    assert machine.snapshot()["connectors"][0]["status"] == "Available"

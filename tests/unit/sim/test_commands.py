from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request

from tests.unit.sim.backoffice import open_office
from voltyard.sim.commands import read_passwords

CHARGER = "from voltyard.sim.commands import charger_command as c; c({url!r}, 'CP7', control_port=0)"
FLEET = (
    "from pathlib import Path; from voltyard.sim.commands import fleet_command as f;"
    "f({url!r}, {count}, password='p', passwords_file={file}, speed=50)"
)


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


async def interrupted(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    out, _ = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 0
    return out


async def test_one_charger_runs_with_its_control_port_until_interrupted():
    async with open_office() as office:
        process = started(CHARGER.format(url=office.url))
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        await office.until(lambda: office.count("StatusNotification", "CP7") == 2)

        def ask() -> dict[str, object]:
            with urllib.request.urlopen(line.split(": ", 1)[1].strip()) as answer:
                return dict(json.load(answer))

        assert (await asyncio.to_thread(ask))["identity"] == "CP7"
        assert "boot Accepted" in await interrupted(process)


async def test_a_fleet_runs_by_prefix_until_interrupted():
    async with open_office() as office:
        process = started(FLEET.format(url=office.url, count=3, file=None))
        await office.until(lambda: office.count("BootNotification") == 3)
        assert {who for who, _, _ in office.heard} == {"SIM0001", "SIM0002", "SIM0003"}
        assert "Authorization" in office.requests[0][1]
        assert "3 chargers to" in await interrupted(process)


async def test_a_fleet_takes_its_identities_from_a_passwords_file(tmp_path):
    file = tmp_path / "chargers.csv"
    file.write_text("identity,pin,password,vendor,model\nX1,1,a,V,M\nX2,2,b,V,M\nX3,3,c,V,M\n")
    async with open_office() as office:
        process = started(FLEET.format(url=office.url, count=2, file=f"Path({os.fspath(file)!r})"))
        await office.until(lambda: office.count("BootNotification") == 2)
        assert {who for who, _, _ in office.heard} == {"X1", "X2"}
        await interrupted(process)


def on_a_terminal(code: str, terminal: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=terminal, stdout=subprocess.PIPE, text=True)


async def test_q_in_the_terminal_ends_a_charger():
    person, terminal = os.openpty()
    async with open_office() as office:
        process = on_a_terminal(CHARGER.format(url=office.url).replace(", control_port=0", ""), terminal)
        await office.until(lambda: office.count("StatusNotification", "CP7") == 2)
        os.write(person, b"q")
        out, _ = await asyncio.to_thread(process.communicate, timeout=20)
        assert process.returncode == 0
        assert "q quit" in out
    os.close(person)
    os.close(terminal)


def test_passwords_are_read_with_and_without_a_head():
    assert read_passwords("") == {}
    assert read_passwords("A,1\n\nB,2\nC\n") == {"A": "1", "B": "2"}
    assert read_passwords("Password,identity\n1,A\n") == {"A": "1"}

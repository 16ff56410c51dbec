"""How a person, or a test, handles a running virtual charger: a local HTTP port and keys in a terminal.

``handle`` and ``press`` decide; the rest of the file only moves bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import termios
import tty
from collections.abc import Iterator
from dataclasses import fields
from http import HTTPStatus
from typing import Any

from voltyard.sim.car import Car
from voltyard.sim.envelope import BadPayload, Fields
from voltyard.sim.fleet import Runner

HEAD_BYTES_MAX = 16_384
BODY_BYTES_MAX = 65_536
REQUEST_S = 5.0

ERROR_CODES = frozenset(
    {
        "ConnectorLockFailure",
        "EVCommunicationError",
        "GroundFailure",
        "HighTemperature",
        "InternalError",
        "LocalListConflict",
        "OtherError",
        "OverCurrentFailure",
        "OverVoltage",
        "PowerMeterFailure",
        "PowerSwitchFailure",
        "ReaderFailure",
        "ResetFailure",
        "UnderVoltage",
        "WeakSignal",
    }
)
"""ChargePointErrorCode (OCPP 1.6 §7.6)."""

KEYS = "p plug · u unplug · s swipe · b button · n network on/off · q quit"


def read_car(wished: Fields | None) -> Car:
    """Build a car from JSON: any field of ``Car``. Raises ``BadPayload``."""
    given: dict[str, Any] = {} if wished is None else wished.payload
    unknown = given.keys() - {one.name for one in fields(Car)}
    if unknown:
        raise BadPayload("Unknown", f"a car has no {', '.join(sorted(unknown))}")
    numbers = {"limit_a", "battery_wh", "soc", "ramp_a_per_s", "taper_soc"}
    for name, value in given.items():
        kind: type | tuple[type, ...] = {"name": str, "tells_soc": bool}.get(name, int)
        wanted = (int, float) if name in numbers else kind
        if not isinstance(value, wanted) or isinstance(value, bool) != (kind is bool):
            raise BadPayload("Type", f"{name} has the wrong type")
    try:
        return Car(**given)
    except AssertionError:
        raise BadPayload("Value", "there is no such car") from None


def handle(runner: Runner, method: str, path: str, payload: dict[str, Any], id_tag: str) -> tuple[int, Any]:
    """Do what a request asks and return the HTTP status and the JSON of the answer."""
    wanted = path.partition("?")[0].strip("/")
    if method == "GET":
        found = wanted == "state"
        return (200, runner.machine.snapshot()) if found else (404, {"error": "only /state can be read"})
    if method != "POST":
        return 405, {"error": "GET and POST only"}
    try:
        known = _do(runner, wanted, Fields(payload), id_tag)
    except BadPayload as bad:
        return 400, {"error": bad.description}
    return (200, runner.machine.snapshot()) if known else (404, {"error": f"no such action: {wanted}"})


def _do(runner: Runner, wanted: str, asked: Fields, id_tag: str) -> bool:
    match wanted:
        case "plug":
            number, car = _connector(runner, asked), read_car(asked.inner_or_none("car"))
            runner.act(lambda machine, now: machine.plug(number, car, now))
        case "unplug":
            number = _connector(runner, asked)
            runner.act(lambda machine, now: machine.unplug(number, now))
        case "swipe":
            tag, place = asked.text_or_none("id_tag") or id_tag, asked.whole_or_none("connector")
            if place is not None:
                place = _connector(runner, asked)
            if len(tag) > 20:
                raise BadPayload("Value", "an id tag has at most 20 characters")
            runner.act(lambda machine, now: machine.swipe(tag, place, now))
        case "button":
            runner.act(lambda machine, now: machine.press_button(now))
        case "network":
            set_network(runner, asked.yes("online"))
        case "fault":
            number = _connector(runner, asked, lowest=0)
            code = asked.text_or_none("code") or "OtherError"
            if code not in ERROR_CODES:
                raise BadPayload("Value", f"{code} is no error code of OCPP 1.6")
            runner.act(lambda machine, now: machine.fault(number, code, now))
        case "clear-fault":
            number = _connector(runner, asked, lowest=0)
            runner.act(lambda machine, now: machine.clear_fault(number, now))
        case "power-cut":
            off_s = float(asked.whole_or_none("off_s") or 0)
            runner.act(lambda machine, now: machine.power_cut(off_s, now))
        case _:
            return False
    return True


def _connector(runner: Runner, asked: Fields, lowest: int = 1) -> int:
    number = asked.whole_or_none("connector")
    chosen = 1 if number is None else number
    if chosen not in runner.machine.connectors and chosen != lowest:
        raise BadPayload("Value", f"there is no connector {chosen}")
    return chosen


def set_network(runner: Runner, online: bool) -> None:
    """Cut or mend the charger's network."""
    if online:
        runner.act(lambda machine, now: machine.restore_network(now))
    else:
        runner.act(lambda machine, now: machine.cut_network(now))


def press(runner: Runner, key: str, id_tag: str) -> bool:
    """Do what a key in the terminal means; False when it means the end."""
    match key:
        case "p":
            runner.act(lambda machine, now: machine.plug(1, Car(), now))
        case "u":
            runner.act(lambda machine, now: machine.unplug(1, now))
        case "s":
            runner.act(lambda machine, now: machine.swipe(id_tag, None, now))
        case "b":
            runner.act(lambda machine, now: machine.press_button(now))
        case "n":
            set_network(runner, online=not runner.machine.snapshot()["network"])
        case _:
            return key != "q"
    return True


async def serve_control(runner: Runner, port: int, id_tag: str) -> asyncio.Server:
    """Open the control port on this machine only; port 0 chooses a free one."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, body = 400, {"error": "not understood"}
        with contextlib.suppress(
            TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError
        ):
            async with asyncio.timeout(REQUEST_S):
                status, body = await _answer(runner, reader, id_tag)
        text = json.dumps(body).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            writer.write(head.encode() + text)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    return await asyncio.start_server(serve_one, "127.0.0.1", port, limit=HEAD_BYTES_MAX)


async def _answer(runner: Runner, reader: asyncio.StreamReader, id_tag: str) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    method, path, _ = request.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= BODY_BYTES_MAX:
        return 413, {"error": "too long"}
    body = await reader.readexactly(length)
    payload = json.loads(body) if body else {}
    if not isinstance(payload, dict):
        return 400, {"error": "an object is expected"}
    return handle(runner, method, path, payload, id_tag)


@contextlib.contextmanager
def single_keys(descriptor: int) -> Iterator[None]:
    """Let a terminal give each key at once, and put it back afterwards."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def listen_to_keys(runner: Runner, id_tag: str, descriptor: int | None = None) -> None:
    """Obey keys until q is pressed or the terminal is gone."""
    source = sys.stdin.fileno() if descriptor is None else descriptor
    done = asyncio.Event()

    def pressed() -> None:
        try:
            typed = os.read(source, 64).decode(errors="ignore")
        except OSError:
            typed = ""
        if not typed or not all(press(runner, key, id_tag) for key in typed):
            done.set()

    loop = asyncio.get_running_loop()
    with single_keys(source):
        loop.add_reader(source, pressed)
        try:
            await done.wait()
        finally:
            loop.remove_reader(source)

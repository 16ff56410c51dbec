"""A closed loop of many chargers: each sends its next message once the last one was answered.

The client side is picows too, so that the load costs the machine as little as possible; what is
measured is the server's own CPU time.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

METER_VALUES_PER_SESSION = 6


@dataclass
class Tally:
    """What a run counted."""

    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)


def timestamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def meter_values(number: object, at: datetime, energy_wh: int) -> dict[str, object]:
    """A MeterValues payload with 12 sampled values, about 1.6 kB."""
    context = {"context": "Sample.Periodic", "format": "Raw", "location": "Outlet"}
    sampled: list[dict[str, object]] = [
        {
            "value": str(energy_wh),
            "measurand": "Energy.Active.Import.Register",
            "unit": "Wh",
            **context,
        },
        {"value": "11040.0", "measurand": "Power.Active.Import", "unit": "W", **context},
        {"value": "16.0", "measurand": "Current.Offered", "unit": "A", **context},
        {"value": "57", "measurand": "SoC", "unit": "Percent", **context},
        {"value": "50.02", "measurand": "Frequency", **context},
        {"value": "31.5", "measurand": "Temperature", "unit": "Celsius", **context},
    ]
    for phase in ("L1", "L2", "L3"):
        sampled.append(
            {"value": "15.9", "measurand": "Current.Import", "unit": "A", "phase": phase, **context}
        )
        sampled.append(
            {"value": "230.4", "measurand": "Voltage", "unit": "V", "phase": f"{phase}-N", **context}
        )
    return {
        "connectorId": 1,
        "transactionId": number,
        "meterValue": [{"timestamp": timestamp(at), "sampledValue": sampled}],
    }


class LoadCharger(WSListener):
    """One charger of the loop."""

    def __init__(self, identity: str, tally: Tally, *, is_echo: bool) -> None:
        self.identity = identity
        self.tally = tally
        self.is_echo = is_echo
        self.is_running = False
        self.pace_s = 0.0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.booted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: WSTransport | None = None
        self.number: object = 1
        self.ids = itertools.count()
        self.life = self.live()
        self.sent_at = 0.0
        self.expected = b""
        self.action = ""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.opened.set_result(None)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.is_running:
            self.tally.wrong.append(f"{self.identity}: connection lost at {self.action}")

    def boot(self) -> None:
        self.say("BootNotification", {"chargePointVendor": "Bench", "chargePointModel": "Loop"})

    def say(self, action: str, payload: dict[str, object]) -> None:
        message_id = f"{self.identity}-{next(self.ids)}"
        self.action = action
        self.expected = f'[3,"{message_id}",'.encode()
        text = json.dumps([2, message_id, action, payload], separators=(",", ":")).encode()
        self.sent_at = time.perf_counter()
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, text)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            return
        taken_s = time.perf_counter() - self.sent_at
        data = frame.get_payload_as_bytes()
        if data.startswith(b"[2,"):
            # A charger that can do nothing but charge: what it is asked is not what is measured here.
            message_id = json.loads(data)[1]
            transport.send(WSMsgType.TEXT, f'[4,"{message_id}","NotImplemented","",{{}}]'.encode())
            return
        if not self.is_echo and not data.startswith(self.expected):
            self.tally.wrong.append(f"{self.identity} {self.action}: {data[:200]!r}")
            return
        if self.action == "StartTransaction" and not self.is_echo:
            self.number = json.loads(data)[2]["transactionId"]
        if self.action == "BootNotification":
            if not self.is_echo and b"Accepted" not in data:
                self.tally.wrong.append(f"{self.identity} boot: {data!r}")
            self.booted.set_result(None)
            return
        self.tally.answered += 1
        self.tally.latencies_s.append(taken_s)
        if self.is_running and self.pace_s:
            asyncio.get_running_loop().call_later(max(0.0, self.pace_s - taken_s), self.go_on)
        elif self.is_running:
            self.say(*next(self.life))

    def go_on(self) -> None:
        if self.is_running:
            self.say(*next(self.life))

    def start(self) -> None:
        self.is_running = True
        self.say(*next(self.life))

    def live(self) -> Iterator[tuple[str, dict[str, object]]]:
        """One session after the other."""
        energy_wh = 1_000
        while True:
            yield "Heartbeat", {}
            yield "StatusNotification", self.status("Preparing")
            yield "Authorize", {"idTag": "BENCH"}
            yield (
                "StartTransaction",
                {
                    "connectorId": 1,
                    "idTag": "BENCH",
                    "meterStart": energy_wh,
                    "timestamp": timestamp(datetime.now(UTC)),
                },
            )
            yield "StatusNotification", self.status("Charging")
            for _ in range(METER_VALUES_PER_SESSION):
                energy_wh += 30
                yield "MeterValues", meter_values(self.number, datetime.now(UTC), energy_wh)
            yield "Heartbeat", {}
            yield (
                "StopTransaction",
                {
                    "transactionId": self.number,
                    "idTag": "BENCH",
                    "meterStop": energy_wh,
                    "timestamp": timestamp(datetime.now(UTC) + timedelta(milliseconds=1)),
                    "reason": "Local",
                },
            )
            yield "StatusNotification", self.status("Available")

    def status(self, word: str) -> dict[str, object]:
        return {
            "connectorId": 1,
            "errorCode": "NoError",
            "status": word,
            "timestamp": timestamp(datetime.now(UTC)),
        }


async def connect(
    port: int,
    identity: str,
    tally: Tally,
    *,
    is_echo: bool = False,
    address: str | None = None,
    patience_s: float = 30,
) -> LoadCharger:
    """Connect one charger with its password, from an address of the loopback network."""
    credentials = base64.b64encode(f"{identity}:{password(identity)}".encode()).decode()
    _, charger = await ws_connect(
        lambda: LoadCharger(identity, tally, is_echo=is_echo),
        f"ws://127.0.0.1:{port}/ocpp/{identity}",
        extra_headers={"Authorization": f"Basic {credentials}", "Sec-WebSocket-Protocol": "ocpp1.6"},
        websocket_handshake_timeout=patience_s,
        **({} if address is None else {"local_addr": (address, 0)}),
    )
    assert isinstance(charger, LoadCharger)
    return charger


def password(identity: str) -> str:
    return f"password-of-{identity}"

"""A central system on the PyPI ``ocpp`` library, schemas on: an oracle that shares nothing with us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call_result
from ocpp.v16.enums import Action
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

logging.getLogger("ocpp").setLevel(logging.CRITICAL)
AT = "2026-03-01T12:00:00Z"
ACCEPTED = {"status": "Accepted"}


class Desk(ChargePoint):  # type: ignore[misc]
    """One connected charger, as the library's central system side sees it."""

    def __init__(self, identity: str, connection: ServerConnection, office: Office) -> None:
        super().__init__(identity, connection)
        self.office = office

    async def route_message(self, raw_msg: str) -> None:
        self.office.frames.append((self.id, raw_msg))
        await super().route_message(raw_msg)

    def note(self, action: str, **payload: Any) -> None:
        self.office.heard.append((self.id, action, payload))
        self.office.changed.set()

    @on(Action.boot_notification)
    def boot(self, **payload: Any) -> Any:
        self.note("BootNotification", **payload)
        return call_result.BootNotification(current_time=AT, interval=300, status="Accepted")

    @on(Action.authorize)
    def authorize(self, **payload: Any) -> Any:
        self.note("Authorize", **payload)
        return call_result.Authorize(id_tag_info=ACCEPTED)

    @on(Action.start_transaction)
    def begin(self, **payload: Any) -> Any:
        self.office.number += 1
        self.note("StartTransaction", **payload)
        return call_result.StartTransaction(transaction_id=self.office.number, id_tag_info=ACCEPTED)

    @on(Action.stop_transaction)
    def end(self, **payload: Any) -> Any:
        self.note("StopTransaction", **payload)
        return call_result.StopTransaction(id_tag_info=ACCEPTED)

    @on(Action.heartbeat)
    def heartbeat(self) -> Any:
        self.note("Heartbeat")
        return call_result.Heartbeat(current_time=AT)

    @on(Action.meter_values)
    def meter_values(self, **payload: Any) -> Any:
        self.note("MeterValues", **payload)
        return call_result.MeterValues()

    @on(Action.status_notification)
    def status(self, **payload: Any) -> Any:
        self.note("StatusNotification", **payload)
        return call_result.StatusNotification()

    @on(Action.data_transfer)
    def data_transfer(self, **payload: Any) -> Any:
        self.note("DataTransfer", **payload)
        return call_result.DataTransfer(status="Accepted")

    @on(Action.firmware_status_notification)
    def firmware(self, **payload: Any) -> Any:
        self.note("FirmwareStatusNotification", **payload)
        return call_result.FirmwareStatusNotification()

    @on(Action.diagnostics_status_notification)
    def diagnostics(self, **payload: Any) -> Any:
        self.note("DiagnosticsStatusNotification", **payload)
        return call_result.DiagnosticsStatusNotification()


class Office:
    """All chargers of one little central system."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, dict[str, Any]]] = []
        self.frames: list[tuple[str, str]] = []
        self.requests: list[tuple[str, Headers]] = []
        self.desks: dict[str, Desk] = {}
        self.changed = asyncio.Event()
        self.number = 0
        self.refuses: int | None = None
        self.url = ""

    async def serve_one(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = connection.request.path.rsplit("/", 1)[-1]
        self.desks[identity] = Desk(identity, connection, self)
        try:
            await self.desks[identity].start()
        except ConnectionClosed:
            pass
        finally:
            self.changed.set()

    def look(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append((request.path, request.headers))
        self.changed.set()
        return None if self.refuses is None else connection.respond(self.refuses, "no\n")

    async def until(self, holds: Any, limit_s: float = 20) -> None:
        """Wait until this holds, looking again whenever something happened."""
        async with asyncio.timeout(limit_s):
            while not holds():
                self.changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.changed.wait()
                except TimeoutError:
                    continue

    def count(self, action: str, identity: str | None = None) -> int:
        return sum(said == action and identity in {None, who} for who, said, _ in self.heard)

    def errors(self) -> list[str]:
        """Return the frames with which the charger answered that something was wrong."""
        return [text for _, text in self.frames if text.startswith("[4")]


@asynccontextmanager
async def open_office(port: int = 0, *, subprotocol: bool = True) -> AsyncIterator[Office]:
    office = Office()
    names: Any = ["ocpp1.6"] if subprotocol else None
    server: Server = await serve(
        office.serve_one, "127.0.0.1", port, subprotocols=names, process_request=office.look,
        compression=None, select_subprotocol=None if subprotocol else lambda *_: None,
    )  # fmt: skip
    office.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp"
    try:
        yield office
    finally:
        server.close()
        await server.wait_closed()

"""A charger that is written with the PyPI library `ocpp`, which checks every message against the schemas."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result

VERSION = "ocpp1.6"


def instant(moment: datetime | None = None) -> str:
    """Write an instant as chargers do."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def authorization(name: str, password: str | bytes | None) -> dict[str, str]:
    """Return the header of basic authentication."""
    if password is None:
        return {}
    secret = password.encode() if isinstance(password, str) else password
    return {"Authorization": f"Basic {base64.b64encode(name.encode() + b':' + secret).decode()}"}


class LibraryCharger(ChargePoint):
    """A charger with one connector; what it was asked to do is kept in `asked`."""

    def __init__(self, identity: str, connection: Any) -> None:
        quiet = logging.getLogger("tests.ocpp")
        quiet.setLevel(logging.ERROR)
        super().__init__(identity, connection, response_timeout=25, logger=quiet)
        self.connection = connection
        self.asked: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    @on("RemoteStartTransaction")
    def on_remote_start(self, **what: Any) -> call_result.RemoteStartTransaction:
        self.asked.put_nowait(("RemoteStartTransaction", what))
        return call_result.RemoteStartTransaction(status="Accepted")

    @on("RemoteStopTransaction")
    def on_remote_stop(self, **what: Any) -> call_result.RemoteStopTransaction:
        self.asked.put_nowait(("RemoteStopTransaction", what))
        return call_result.RemoteStopTransaction(status="Accepted")

    @on("TriggerMessage")
    def on_trigger(self, **what: Any) -> call_result.TriggerMessage:
        self.asked.put_nowait(("TriggerMessage", what))
        return call_result.TriggerMessage(status="Accepted")

    async def boot(self) -> call_result.BootNotification:
        """Introduce itself."""
        return await self.call(
            call.BootNotification(
                charge_point_vendor="Library", charge_point_model="L1", charge_point_serial_number="S-1"
            ),
            suppress=False,
        )

    async def status(self, status: str, connector: int = 1) -> None:
        """Tell the status of a connector."""
        said = call.StatusNotification(connector_id=connector, error_code="NoError", status=status)
        await self.call(said, suppress=False)

    async def authorise(self, tag: str) -> str:
        """Ask whether a card may charge."""
        answer = await self.call(call.Authorize(id_tag=tag), suppress=False)
        return str(answer.id_tag_info["status"])

    async def begin(self, tag: str, meter: int, at: str | None = None) -> tuple[int, str]:
        """Tell of a start; return the number of the transaction and the verdict on the card."""
        answer = await self.call(
            call.StartTransaction(connector_id=1, id_tag=tag, meter_start=meter, timestamp=at or instant()),
            suppress=False,
        )
        return answer.transaction_id, answer.id_tag_info["status"]

    async def meter(self, number: int | None, register: int, at: str | None = None) -> None:
        """Tell what the meter shows."""
        await self.call(
            call.MeterValues(
                connector_id=1,
                transaction_id=number,
                meter_value=[
                    {
                        "timestamp": at or instant(),
                        "sampled_value": [
                            {"value": str(register), "measurand": "Energy.Active.Import.Register"},
                            {"value": "7200", "measurand": "Power.Active.Import", "unit": "W"},
                            {"value": "16.0", "measurand": "Current.Import", "phase": "L1", "unit": "A"},
                        ],
                    }
                ],
            ),
            suppress=False,
        )

    async def end(self, number: int, meter: int, tag: str | None = None, at: str | None = None) -> Any:
        """Tell of a stop."""
        return await self.call(
            call.StopTransaction(
                transaction_id=number, meter_stop=meter, timestamp=at or instant(), reason="Local", id_tag=tag
            ),
            suppress=False,
        )


@asynccontextmanager
async def plugged(
    url: str, identity: str, password: str | bytes | None = None, *, user: str | None = None
) -> AsyncIterator[LibraryCharger]:
    """Connect a charger and let it listen."""
    async with websockets.connect(
        f"{url}/{identity}",
        subprotocols=[VERSION],
        additional_headers=authorization(identity if user is None else user, password),
        compression=None,
        close_timeout=2,
        proxy=None,
    ) as connection:
        charger = LibraryCharger(identity, connection)
        listening = asyncio.create_task(charger.start())
        try:
            yield charger
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await listening

"""A charger that is written with the PyPI library `ocpp`, which checks every message against the schemas.

`LibraryCharger` does what most tests need. `WholeCharger` answers every action of OCPP 1.6 and its security
white paper, and judges every frame of either direction by itself, also those that the library lets pass.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import websockets
from ocpp.exceptions import OCPPError
from ocpp.messages import Call, CallResult, _validate_payload
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


HASH = {
    "hash_algorithm": "SHA256",
    "issuer_name_hash": "ab" * 32,
    "issuer_key_hash": "cd" * 32,
    "serial_number": "1f",
}
ANSWERS: dict[str, dict[str, Any]] = {
    "CancelReservation": {"status": "Accepted"},
    "CertificateSigned": {"status": "Accepted"},
    "ChangeAvailability": {"status": "Scheduled"},
    "ChangeConfiguration": {"status": "RebootRequired"},
    "ClearCache": {"status": "Accepted"},
    "ClearChargingProfile": {"status": "Unknown"},
    "DataTransfer": {"status": "UnknownVendorId", "data": "?"},
    "DeleteCertificate": {"status": "NotFound"},
    "ExtendedTriggerMessage": {"status": "Accepted"},
    "GetCompositeSchedule": {
        "status": "Accepted",
        "connector_id": 1,
        "schedule_start": "2026-03-01T12:00:00Z",
        "charging_schedule": {
            "charging_rate_unit": "A",
            "duration": 60,
            "charging_schedule_period": [{"start_period": 0, "limit": 16.1}],
        },
    },
    "GetConfiguration": {
        "configuration_key": [
            {"key": "HeartbeatInterval", "value": "300", "readonly": False},
            {"key": "NumberOfConnectors", "value": "1", "readonly": True},
        ],
        "unknown_key": ["NobodyKnowsThis"],
    },
    "GetDiagnostics": {"file_name": "diagnostics.txt"},
    "GetInstalledCertificateIds": {"status": "Accepted", "certificate_hash_data": [HASH]},
    "GetLocalListVersion": {"list_version": 0},
    "GetLog": {"status": "Accepted", "filename": "log.txt"},
    "InstallCertificate": {"status": "Accepted"},
    "RemoteStartTransaction": {"status": "Accepted"},
    "RemoteStopTransaction": {"status": "Rejected"},
    "ReserveNow": {"status": "Occupied"},
    "Reset": {"status": "Accepted"},
    "SendLocalList": {"status": "Accepted"},
    "SetChargingProfile": {"status": "Accepted"},
    "SignedUpdateFirmware": {"status": "Accepted"},
    "TriggerMessage": {"status": "NotImplemented"},
    "UnlockConnector": {"status": "Unlocked"},
    "UpdateFirmware": {},
}
"""What `WholeCharger` answers, in the spelling of the library."""


class Witness:
    """A connection that judges each frame by the schemas before it lets it pass."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.violations: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        self.errors: list[list[Any]] = []
        self._asked: dict[tuple[str, str], str] = {}

    async def recv(self) -> Any:
        frame = await self.connection.recv()
        self._judge(frame, "central system", "charger")
        return frame

    async def send(self, frame: str) -> None:
        self._judge(frame, "charger", "central system")
        await self.connection.send(frame)

    def _judge(self, frame: str, speaker: str, listener: str) -> None:
        parts = json.loads(frame)
        match parts:
            case [2, str(call_id), str(action), dict(payload)] if len(call_id) <= 36:
                self._asked[listener, call_id] = action
                message: Call | CallResult = Call(call_id, action, payload)
            case [3, str(call_id), dict(payload)] if (speaker, call_id) in self._asked:
                action = self._asked.pop((speaker, call_id))
                message = CallResult(call_id, payload, action)
            case [4, str(call_id), str(), str(), dict()] if (speaker, call_id) in self._asked:
                self.errors.append(parts)
                return
            case _:
                self.violations.append(f"{speaker}: no frame of OCPP-J: {frame}")
                return
        self.seen.add((speaker, action))
        try:
            _validate_payload(message, "1.6")
        except OCPPError as wrong:
            self.violations.append(f"{speaker}: {frame}: {wrong.details}")


class WholeCharger(LibraryCharger):
    """A charger that answers everything; its witness has judged every frame."""

    def __init__(self, identity: str, connection: Any) -> None:
        super().__init__(identity, connection)
        self.witness = Witness(connection)
        self._connection = self.witness
        for action in ANSWERS:
            self.route_map[action] = {
                "_on_action": self._answering(action),
                "_skip_schema_validation": False,
            }

    def _answering(self, action: str) -> Any:
        def answer(**what: Any) -> Any:
            self.asked.put_nowait((action, what))
            return getattr(call_result, action)(**ANSWERS[action])

        return answer

    async def tell(self, action: str, **what: Any) -> Any:
        """Say something, in the spelling of the library."""
        return await self.call(getattr(call, action)(**what), suppress=False)


@asynccontextmanager
async def plugged(
    url: str,
    identity: str,
    password: str | bytes | None = None,
    *,
    user: str | None = None,
    kind: type[LibraryCharger] = LibraryCharger,
) -> AsyncIterator[Any]:
    """Connect a charger and let it listen."""
    async with websockets.connect(
        f"{url}/{identity}",
        subprotocols=[VERSION],
        additional_headers=authorization(identity if user is None else user, password),
        compression=None,
        close_timeout=2,
        proxy=None,
    ) as connection:
        charger = kind(identity, connection)
        listening = asyncio.create_task(charger.start())
        try:
            yield charger
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, websockets.ConnectionClosed):
                await listening

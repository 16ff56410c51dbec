"""A charge point that says what a test tells it to, and answers what the test wants answered.

Written on `websockets` alone. Every frame of either direction must fit the JSON schemas that the PyPI
package `ocpp` carries; what does not is kept in `wrong`, and the fixture fails for it. What the charge
point would do by itself (keys, the version of its list, installed certificates) it does in a plain way,
so that the background work of the platform finds a sound charger.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import websockets
from ocpp.exceptions import OCPPError
from ocpp.messages import Call, CallResult, _validate_payload
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from tests.e2e.library_charger import VERSION, authorization, instant
from tests.e2e.server import until

Payload = dict[str, Any]
Answer = Payload | Callable[[Payload], Payload] | str

KEYS: dict[str, tuple[str, bool]] = {
    # OCPP 1.6 §9: the keys that every charge point has, the value, and whether it may not be changed.
    "AuthorizeRemoteTxRequests": ("false", False),
    "ClockAlignedDataInterval": ("0", False),
    "ConnectionTimeOut": ("60", False),
    "ConnectorPhaseRotation": ("0.RST,1.RST,2.RTS", False),
    "GetConfigurationMaxKeys": ("50", True),
    "HeartbeatInterval": ("300", False),
    "LocalAuthorizeOffline": ("true", False),
    "LocalPreAuthorize": ("false", False),
    "MeterValuesAlignedData": ("Energy.Active.Import.Register", False),
    "MeterValuesSampledData": ("Energy.Active.Import.Register", False),
    "MeterValueSampleInterval": ("60", False),
    "NumberOfConnectors": ("2", True),
    "ResetRetries": ("1", False),
    "StopTransactionOnEVSideDisconnect": ("true", False),
    "StopTransactionOnInvalidId": ("true", False),
    "StopTxnAlignedData": ("Energy.Active.Import.Register", False),
    "StopTxnSampledData": ("Energy.Active.Import.Register", False),
    "SupportedFeatureProfiles": (
        "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
        True,
    ),
    "TransactionMessageAttempts": ("3", False),
    "TransactionMessageRetryInterval": ("60", False),
    "UnlockConnectorOnEVSideDisconnect": ("true", False),
    "LocalAuthListEnabled": ("true", False),
    "LocalAuthListMaxLength": ("100", True),
    "SendLocalListMaxLength": ("100", True),
    "ReserveConnectorZeroSupported": ("true", True),
    "ChargeProfileMaxStackLevel": ("8", True),
    "ChargingScheduleAllowedChargingRateUnit": ("Current,Power", True),
    "ChargingScheduleMaxPeriods": ("24", True),
    "MaxChargingProfilesInstalled": ("8", True),
    "SecurityProfile": ("1", False),
}
ACCEPTED: Payload = {"status": "Accepted"}


def fault_of(message: Call | CallResult) -> str:
    """Return what the schema says against a payload, nothing when it fits."""
    try:
        _validate_payload(message, "1.6")
    except OCPPError as wrong:
        return f"{message.action} {message.payload}: {type(wrong).__name__} {wrong.details}"
    return ""


class Refused(Exception):
    """The central system answered with a CALLERROR."""


class Point:
    """One charge point with two connectors."""

    def __init__(self, url: str, identity: str, password: str | None = None) -> None:
        self.url = url
        self.identity = identity
        self.password = password
        self.keys = dict(KEYS)
        self.list_version = 0
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Payload]] = []
        self.wrong: list[str] = []
        self._answered: dict[str, asyncio.Future[Payload]] = {}
        self._said: dict[str, str] = {}
        self._count = 0
        self._connection: ClientConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    # the socket

    async def connect(
        self,
        *,
        url: str | None = None,
        tls: ssl.SSLContext | None = None,
        versions: Sequence[str] = (VERSION,),
    ) -> None:
        """Open a socket and listen; ``tls`` is for an address that begins with wss."""
        self._connection = await websockets.connect(
            f"{url or self.url}/{self.identity}",
            subprotocols=[Subprotocol(version) for version in versions],
            additional_headers=authorization(self.identity, self.password),
            compression=None,
            close_timeout=2,
            proxy=None,
            ssl=tls,
        )
        self._listening = asyncio.create_task(self._listen(self._connection))

    async def leave(self) -> None:
        """Close the socket."""
        if self._connection is not None and self._listening is not None:
            await self._connection.close()
            await self._listening
        self._connection = None

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        assert self._connection is not None
        return self._connection.subprotocol

    async def closed(self) -> int | None:
        """Wait until the central system has closed the socket; return its code."""
        assert self._connection is not None
        async with asyncio.timeout(10):
            await self._connection.wait_closed()
        return self._connection.close_code

    async def _listen(self, connection: ClientConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            while True:
                await self._hear(json.loads(await connection.recv()), connection)

    async def _hear(self, frame: list[Any], connection: ClientConnection) -> None:
        if frame[0] == 2:
            _, call_id, action, payload = frame
            await connection.send(json.dumps(self._answer(call_id, action, payload)))
            return
        waiting = self._answered.pop(frame[1], None)
        action = self._said.pop(frame[1], "")
        if waiting is None:
            self.wrong.append(f"an answer to nothing: {frame}")
        elif frame[0] == 4:
            waiting.set_exception(Refused(*frame[2:4]))
        else:
            self._note(CallResult(frame[1], frame[2], action))
            waiting.set_result(frame[2])

    def _note(self, message: Call | CallResult) -> None:
        if fault := fault_of(message):
            self.wrong.append(fault)

    def _answer(self, call_id: str, action: str, payload: Payload) -> list[Any]:
        self._note(Call(call_id, action, payload))
        self.asked.append((action, payload))
        answer = self.answers.get(action, self._by_itself)
        if answer == self._by_itself:
            answer = self._by_itself(action, payload)
        elif callable(answer):
            answer = answer(payload)
        if isinstance(answer, str):
            return [4, call_id, answer, "", {}]
        assert isinstance(answer, dict)
        self._note(CallResult(call_id, answer, action))
        return [3, call_id, answer]

    def _by_itself(self, action: str, payload: Payload) -> Answer:
        match action:
            case "GetConfiguration":
                names = payload.get("key") or list(self.keys)
                return {
                    "configurationKey": [
                        {"key": name, "value": self.keys[name][0], "readonly": self.keys[name][1]}
                        for name in names
                        if name in self.keys
                    ],
                    "unknownKey": [name for name in names if name not in self.keys],
                }
            case "ChangeConfiguration":
                name = payload["key"]
                if name not in self.keys and name != "AuthorizationKey":
                    return {"status": "NotSupported"}
                if name in self.keys and self.keys[name][1]:
                    return {"status": "Rejected"}
                if name in self.keys:
                    self.keys[name] = (payload["value"], False)
            case "GetLocalListVersion":
                return {"listVersion": self.list_version}
            case "SendLocalList":
                self.list_version = payload["listVersion"]
            case "UnlockConnector":
                return {"status": "Unlocked"}
            case "UpdateFirmware":
                return {}
            case "GetDiagnostics":
                return {"fileName": "diagnostics.txt"}
            case "GetInstalledCertificateIds":
                return {"status": "NotFound"}
            case "GetLog":
                return {"status": "Accepted", "filename": "log.txt"}
        return ACCEPTED

    # what it says

    async def say(self, action: str, **payload: Any) -> Payload:
        """Make a call and return its answer. Raises: Refused."""
        assert self._connection is not None
        self._count += 1
        call_id = f"{self.identity}-{self._count}"
        answered: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._answered[call_id], self._said[call_id] = answered, action
        self._note(Call(call_id, action, payload))
        await self._connection.send(json.dumps([2, call_id, action, payload]))
        async with asyncio.timeout(20):
            return await answered

    async def boot(self, firmware: str = "1.0") -> Payload:
        """Introduce itself."""
        return await self.say(
            "BootNotification",
            chargePointVendor="Certified",
            chargePointModel="C2",
            chargePointSerialNumber=self.identity,
            firmwareVersion=firmware,
        )

    async def status(self, status: str, connector: int = 1, *, error: str = "NoError") -> None:
        """Tell the status of a connector."""
        answer = await self.say(
            "StatusNotification",
            connectorId=connector,
            status=status,
            errorCode=error,
            timestamp=instant(),
        )
        assert answer == {}

    async def all_are(self, status: str) -> None:
        """Tell the status of the charger and of each connector."""
        for connector in (0, 1, 2):
            await self.status(status, connector)

    async def authorise(self, tag: str) -> Payload:
        """Hold a card before the reader; return the idTagInfo."""
        return (await self.say("Authorize", idTag=tag))["idTagInfo"]

    async def begin(self, tag: str, *, at: datetime | None = None, meter: int = 0, **more: Any) -> Payload:
        """Tell of the start of a transaction on connector 1."""
        return await self.say(
            "StartTransaction", connectorId=1, idTag=tag, meterStart=meter, timestamp=instant(at), **more
        )

    async def end(self, number: int, *, at: datetime | None = None, meter: int = 10, **more: Any) -> Payload:
        """Tell of the end of a transaction."""
        return await self.say(
            "StopTransaction", transactionId=number, meterStop=meter, timestamp=instant(at), **more
        )

    async def charging(self, tag: str, **more: Any) -> int:
        """Get into the state Charging with this card; return the number of the transaction."""
        await self.status("Preparing")
        assert (await self.authorise(tag))["status"] == "Accepted"
        begun = await self.begin(tag, **more)
        assert begun["idTagInfo"]["status"] == "Accepted"
        assert begun["transactionId"] > 0
        await self.status("Charging")
        return int(begun["transactionId"])

    # what it was asked

    def told(self, action: str) -> list[Payload]:
        """Return what it was asked with this action, oldest first."""
        return [payload for asked, payload in self.asked if asked == action]

    async def until_told(self, action: str, count: int = 1) -> Payload:
        """Wait until it was asked this so many times; return the newest."""
        await until(lambda: len(self.told(action)) >= count, f"{self.identity} is asked {action}")
        return self.told(action)[-1]


def hours_ago(hours: float) -> datetime:
    """Return an instant in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours)

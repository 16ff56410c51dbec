"""Back offices of other people, for tests of the links to operators; they share nothing with us.

`LibraryBackOffice` is written with the PyPI library `ocpp`; `RpcBackOffice` runs the npm package `ocpp-rpc`
in a process of its own. Both judge every frame of either direction by the schemas of OCPP 1.6, and keep per
charger what a back office would keep.
"""

from __future__ import annotations

import abc
import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from ocpp.charge_point import camel_to_snake_case, remove_nones, snake_to_camel_case
from ocpp.exceptions import OCPPError
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from set_up import node_folder
from tests.e2e.library_charger import VERSION, Witness, authorization, instant

RPC_FOLDER = Path(__file__).parent / "ocpp_rpc"
READY_WITHIN_S = 20.0
ANSWER_S = 40.0


class Refused(Exception):
    """A charger answered with a CALLERROR, or not at all; then the code is empty."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


@dataclass
class Deal:
    """One transaction under the number that the back office gave it."""

    number: int
    start: dict[str, Any]
    verdict: str
    meter_values: list[dict[str, Any]] = field(default_factory=list)
    stop: dict[str, Any] | None = None


@dataclass
class Seen:
    """What a back office has heard of one charger, in order of arrival."""

    connections: int = 0
    is_connected: bool = False
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Every call that was answered with a result, as it stood on the wire."""
    transactions: list[Deal] = field(default_factory=list)

    def all(self, action: str) -> list[dict[str, Any]]:
        return [payload for said, payload in self.heard if said == action]

    @property
    def boots(self) -> list[dict[str, Any]]:
        return self.all("BootNotification")

    @property
    def statuses(self) -> list[dict[str, Any]]:
        return self.all("StatusNotification")

    def status(self, connector: int) -> str | None:
        """Return what a connector last told about itself."""
        told = [str(each["status"]) for each in self.statuses if each["connectorId"] == connector]
        return told[-1] if told else None

    def transaction(self, number: int) -> Deal | None:
        return next((each for each in self.transactions if each.number == number), None)


class ForeignBackOffice(abc.ABC):
    """What both have in common; `accepted` are the cards that may charge, all of them if it is None."""

    def __init__(self, first_number: int = 1, *, password: str | None = None) -> None:
        self.first_number = first_number
        self.password = password
        self.accepted: frozenset[str] | None = None
        self.chargers: dict[str, Seen] = {}
        self.violations: list[str] = []
        """What broke OCPP-J or a schema, from either side, and what makes no sense."""
        self.refusals: list[str] = []
        """The identities that were turned away at the door."""
        self.url = ""

    def charger(self, identity: str) -> Seen:
        return self.chargers.setdefault(identity, Seen())

    @abc.abstractmethod
    async def ask(self, identity: str, action: str, **payload: Any) -> dict[str, Any]:
        """Ask something of a charger, in the spelling of the wire. Raises: Refused."""

    async def accept(self, tags: Iterable[str] | None) -> None:
        """Let these cards charge from now on, all of them for None."""
        self.accepted = None if tags is None else frozenset(tags)

    async def expect(self, password: str | None) -> None:
        """Ask for this password from now on."""
        self.password = password

    @abc.abstractmethod
    async def hang_up(self, identity: str, code: int = 1000) -> None:
        """Close the connection of a charger."""

    def came(self, identity: str) -> None:
        self.charger(identity).connections += 1
        self.charger(identity).is_connected = True

    def record(self, identity: str, action: str, payload: dict[str, Any], answer: dict[str, Any]) -> None:
        """Keep a call of a charger and the answer to it."""
        seen = self.charger(identity)
        seen.heard.append((action, payload))
        number = answer["transactionId"] if action == "StartTransaction" else payload.get("transactionId")
        known = None if number is None else seen.transaction(number)
        match action:
            case "StartTransaction" if known is None:
                seen.transactions.append(Deal(number, payload, answer["idTagInfo"]["status"]))
            case "MeterValues" | "StopTransaction" if number is not None and known is None:
                self.violations.append(f"{identity}: {action} of {number}, which was never given")
            case "MeterValues" if known is not None:
                known.meter_values.extend(payload["meterValue"])
            case "StopTransaction" if known is not None:
                if known.stop is not None and known.stop != payload:
                    self.violations.append(f"{identity}: a second, other stop of {number}")
                known.stop = payload
            case _:
                pass


# --- The library of the Python index ---


class OfficeWitness(Witness):
    """Judges each frame as the central system sees it, and keeps what was answered."""

    def __init__(self, connection: Any, office: LibraryBackOffice, identity: str) -> None:
        super().__init__(connection)
        self.office = office
        self.identity = identity
        self.violations = office.violations
        self._heard: dict[str, tuple[str, dict[str, Any]]] = {}

    async def recv(self) -> Any:
        frame = await self.connection.recv()
        self._judge(frame, "charger", "central system")
        match json.loads(frame):
            case [2, str(call_id), str(action), dict(payload)]:
                self._heard[call_id] = action, payload
        return frame

    async def send(self, frame: str) -> None:
        self._judge(frame, "central system", "charger")
        match json.loads(frame):
            case [3, str(call_id), dict(answer)] if call_id in self._heard:
                self.office.record(self.identity, *self._heard.pop(call_id), answer)
        await self.connection.send(frame)


class Desk(ChargePoint):
    """One connected charger, as the library's central system side sees it."""

    def __init__(self, identity: str, connection: ServerConnection, office: LibraryBackOffice) -> None:
        quiet = logging.getLogger("tests.ocpp")
        quiet.setLevel(logging.CRITICAL)
        self.witness = OfficeWitness(connection, office, identity)
        super().__init__(identity, self.witness, response_timeout=30, logger=quiet)
        self.connection = connection
        self.office = office

    @on("BootNotification")
    def on_boot(self, **_: Any) -> call_result.BootNotification:
        return call_result.BootNotification(current_time=instant(), interval=300, status="Accepted")

    @on("Heartbeat")
    def on_heartbeat(self, **_: Any) -> call_result.Heartbeat:
        return call_result.Heartbeat(current_time=instant())

    @on("Authorize")
    def on_authorize(self, id_tag: str) -> call_result.Authorize:
        return call_result.Authorize(id_tag_info=self.office.verdict(id_tag))

    @on("StartTransaction")
    def on_start(
        self, connector_id: int, id_tag: str, timestamp: str, meter_start: int, **_: Any
    ) -> call_result.StartTransaction:
        number = self.office.number(self.id, connector_id, id_tag, timestamp, meter_start)
        return call_result.StartTransaction(transaction_id=number, id_tag_info=self.office.verdict(id_tag))

    @on("StopTransaction")
    def on_stop(self, id_tag: str | None = None, **_: Any) -> call_result.StopTransaction:
        return call_result.StopTransaction(id_tag_info=self.office.verdict(id_tag) if id_tag else None)

    @on("MeterValues")
    def on_meter_values(self, **_: Any) -> call_result.MeterValues:
        return call_result.MeterValues()

    @on("StatusNotification")
    def on_status(self, **_: Any) -> call_result.StatusNotification:
        return call_result.StatusNotification()

    @on("DataTransfer")
    def on_data_transfer(self, **_: Any) -> call_result.DataTransfer:
        return call_result.DataTransfer(status="UnknownVendorId")

    @on("DiagnosticsStatusNotification")
    def on_diagnostics(self, **_: Any) -> call_result.DiagnosticsStatusNotification:
        return call_result.DiagnosticsStatusNotification()

    @on("FirmwareStatusNotification")
    def on_firmware(self, **_: Any) -> call_result.FirmwareStatusNotification:
        return call_result.FirmwareStatusNotification()


class LibraryBackOffice(ForeignBackOffice):
    """A central system on the PyPI library `ocpp`."""

    def __init__(self, first_number: int = 1, *, password: str | None = None, port: int = 0) -> None:
        super().__init__(first_number, password=password)
        self._port = port
        self.desks: dict[str, Desk] = {}
        self._begun: dict[tuple[Any, ...], int] = {}
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve_one, "127.0.0.1", self._port, subprotocols=[VERSION], process_request=self._open_door,
            compression=None, close_timeout=2,
        )  # fmt: skip
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/python"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def verdict(self, tag: str) -> dict[str, str]:
        may = self.accepted is None or tag.lower() in {each.lower() for each in self.accepted}
        return {"status": "Accepted" if may else "Invalid"}

    def number(self, *start: Any) -> int:
        """Return the number of a transaction; a start that is told again is the same one."""
        return self._begun.setdefault(start, self.first_number + len(self._begun))

    async def ask(self, identity: str, action: str, **payload: Any) -> dict[str, Any]:
        desk = self.desks.get(identity)
        if desk is None:
            raise Refused("", "the charger is not connected")
        try:
            answer = await desk.call(getattr(call, action)(**camel_to_snake_case(payload)), suppress=False)
        except OCPPError as wrong:
            raise Refused(wrong.code, str(wrong)) from wrong
        except TimeoutError as wrong:
            raise Refused("", "there was no answer in time") from wrong
        said: dict[str, Any] = snake_to_camel_case(remove_nones(asdict(answer)))
        return said

    async def hang_up(self, identity: str, code: int = 1000) -> None:
        await self.desks[identity].connection.close(code)

    def _open_door(self, connection: ServerConnection, request: Request) -> Response | None:
        identity = _identity(request)
        expected = authorization(identity, self.password).get("Authorization")
        if expected is None or request.headers.get("Authorization") == expected:
            return None
        self.refusals.append(identity)
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")

    async def _serve_one(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = _identity(connection.request)
        desk = self.desks[identity] = Desk(identity, connection, self)
        self.came(identity)
        try:
            await desk.start()
        except ConnectionClosed:
            pass
        finally:
            if self.desks.get(identity) is desk:
                del self.desks[identity]
                self.charger(identity).is_connected = False


def _identity(request: Request) -> str:
    return unquote(request.path.rsplit("/", 1)[-1])


# --- The package of the npm index ---


class RpcBackOffice(ForeignBackOffice):
    """A central system on the npm package `ocpp-rpc`, strict, in a process of its own."""

    def __init__(self, first_number: int = 1, *, password: str | None = None) -> None:
        super().__init__(first_number, password=password)
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0

    async def __aenter__(self) -> Self:
        node = node_folder()
        assert node is not None, "there is no Node; make setup brings one along"
        assert (RPC_FOLDER / "node_modules").exists(), "scripts/set_up.py test installs what this needs"
        self._process = await asyncio.create_subprocess_exec(
            node / "node", RPC_FOLDER / "server.js", str(self.first_number),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        )  # fmt: skip
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_WITHIN_S):
            line = await self._process.stdout.readline()
        ready = json.loads(line)
        self.url = f"ws://127.0.0.1:{ready['port']}/node"
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        self._tell(accept=None, password=self.password)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def ask(self, identity: str, action: str, **payload: Any) -> dict[str, Any]:
        self._asked += 1
        waiting = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        self._tell(call={"token": self._asked, "identity": identity, "method": action, "params": payload})
        async with asyncio.timeout(ANSWER_S):
            told = await waiting
        if "answer" not in told:
            raise Refused(told["code"], told["why"])
        said: dict[str, Any] = told["answer"]
        return said

    async def accept(self, tags: Iterable[str] | None) -> None:
        await super().accept(tags)
        await self._rule(accept=None if self.accepted is None else sorted(self.accepted))

    async def expect(self, password: str | None) -> None:
        await super().expect(password)
        await self._rule(password=password)

    async def _rule(self, **rule: Any) -> None:
        """Give the other process a rule, and wait until it keeps to it."""
        self._asked += 1
        waiting = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        self._tell(token=self._asked, **rule)
        async with asyncio.timeout(ANSWER_S):
            await waiting

    async def hang_up(self, identity: str, code: int = 1000) -> None:
        self._tell(close={"identity": identity, "code": code})

    def _tell(self, **command: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:
        match told:
            case {"event": "heard", "identity": who, "method": action, "params": payload, "answer": answer}:
                self.record(who, action, payload, answer)
            case {"event": "answer", "token": token}:
                self._answers.pop(token).set_result(told)
            case {"event": "connected", "identity": who}:
                self.came(who)
            case {"event": "closed", "identity": who, "last": True}:
                self.charger(who).is_connected = False
            case {"event": "refused", "identity": who}:
                self.refusals.append(who)
            case {"event": "violation", "identity": who, "outbound": is_ours, "text": text}:
                self.violations.append(f"{'central system' if is_ours else who}: {text}")

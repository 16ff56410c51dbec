"""A simulated operator's back office on a real socket: it owns the sockets of its chargers, and the time.

Stands on the ``websockets`` library, while our lines stand on another one: two independent ends.
"""

from __future__ import annotations

import asyncio
import http
import json
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Self
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voltyard.kernel.clock import Clock, SystemClock
from voltyard.sim.envelope import CallError, CallResult, Payload
from voltyard.sim.fleet import SUBPROTOCOL
from voltyard.sim.operator import Ask, Charger, Close, Effect, Ended, Log, Operator, Send, WakeAt

FOLDER = "ocpp"
"""What stands before the identity in its address; any other would do."""
REPLACED = Close("", 1000, "replaced by a newer connection")
KEYS = "remote-start IDENTITY TAG · remote-stop IDENTITY NUMBER · ask IDENTITY ACTION {…}"

Say = Callable[[str], None]


class AskFailed(Exception):
    """An ask was refused or not answered; ``code`` is that of the CALLERROR, empty without an answer."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code} {why}".strip())
        self.code = code
        self.why = why


def identity_of(path: str) -> str:
    """Return the identity at the end of an address, empty when there is none."""
    return unquote(path.partition("?")[0].rsplit("/", 1)[-1])


class Backoffice:
    """A back office that listens on this machine; port 0 finds a free one."""

    def __init__(
        self,
        operator: Operator,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        clock: Clock | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self.operator = operator
        self._host = host
        self._port = port
        self._clock = clock or SystemClock()
        self._say = say
        self._server: Server | None = None
        self._outgoing: dict[str, asyncio.Queue[str | Close | None]] = {}
        self._waiting: dict[str, asyncio.Future[Ask]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve_one,
            self._host,
            self._port,
            subprotocols=[SUBPROTOCOL],
            process_request=self._open_door,
            compression=None,
            close_timeout=2,
        )
        # A second start listens where the first one did.
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def url(self) -> str:
        """Where chargers connect, without the identity."""
        return f"ws://{self._host}:{self._port}/{FOLDER}"

    def charger(self, identity: str) -> Charger:
        """Return what is known of a charger."""
        return self.operator.charger(identity)

    def behave(self, **changes: Any) -> None:
        """Change these fields of its manner, from now on."""
        self.operator.behave(replace(self.operator.manner, **changes))

    async def ask(self, identity: str, action: str, payload: Payload) -> Payload:
        """Ask something of a charger and return its answer. Raises: AskFailed."""
        ask, effects = self.operator.ask(identity, action, payload, self._clock.now())
        waiting = self._waiting[ask.id] = asyncio.get_running_loop().create_future()
        self._do(effects)
        try:
            outcome = (await waiting).outcome
        finally:
            self._waiting.pop(ask.id, None)
        if isinstance(outcome, CallResult):
            return outcome.payload
        if isinstance(outcome, CallError):
            raise AskFailed(outcome.code, outcome.description)
        raise AskFailed("", "" if outcome is None else outcome.why)

    def hang_up(self, identity: str, code: int = 1000, reason: str = "") -> None:
        """Close the connection of a charger."""
        self._do([Close(identity, code, reason)])

    # Effects

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(identity, text):
                    self._put(identity, text)
                case Close(identity):
                    self._put(identity, effect)
                case WakeAt(at):
                    self._set_timer(at)
                case Log(text):
                    self._say(text)
                case Ended(ask):
                    waiting = self._waiting.get(ask.id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(ask)

    def _put(self, identity: str, what: str | Close) -> None:
        outgoing = self._outgoing.get(identity)
        if outgoing is not None:
            outgoing.put_nowait(what)

    def _set_timer(self, at: datetime) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, (at - self._clock.now()).total_seconds())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._do(self.operator.tick(self._clock.now()))

    # Sockets

    def _open_door(self, connection: ServerConnection, request: Request) -> Response | None:
        identity = identity_of(request.path)
        status = self.operator.refusal(identity, request.headers.get("Authorization")) if identity else 404
        if status is None:
            return None
        self._say(f"{identity or 'somebody without a name'}: is turned away with {status}")
        return connection.respond(http.HTTPStatus(status), "no\n")

    async def _serve_one(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        identity = identity_of(socket.request.path)
        outgoing: asyncio.Queue[str | Close | None] = asyncio.Queue()
        self._put(identity, REPLACED)
        self._outgoing[identity] = outgoing
        self._do(self.operator.connected(identity, self._clock.now()))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_write(socket, outgoing))
            await self._read(identity, socket, outgoing)
            outgoing.put_nowait(None)
        if self._outgoing.get(identity) is outgoing:
            del self._outgoing[identity]
            self._do(self.operator.disconnected(identity, self._clock.now()))

    async def _read(
        self, identity: str, socket: ServerConnection, outgoing: asyncio.Queue[str | Close | None]
    ) -> None:
        try:
            async for frame in socket:
                # What an old connection still says is not taken for the new one's.
                if self._outgoing.get(identity) is outgoing:
                    text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
                    self._do(self.operator.received(identity, text, self._clock.now()))
        except ConnectionClosed:
            pass  # Told by the caller, with the clean ends.


async def _write(socket: ServerConnection, outgoing: asyncio.Queue[str | Close | None]) -> None:
    """Send what is queued, until the connection ends from either side."""
    while (what := await outgoing.get()) is not None:
        if isinstance(what, Close):
            await socket.close(what.code, what.reason)
            return
        try:
            await socket.send(what)
        except ConnectionClosed:
            return


# The terminal


async def obey(backoffice: Backoffice, line: str) -> str:
    """Do what a line typed in the terminal means; return what to tell about it."""
    try:
        match line.split(maxsplit=3):
            case ["remote-start", identity, tag]:
                answer = await backoffice.ask(identity, "RemoteStartTransaction", {"idTag": tag})
            case ["remote-stop", identity, number]:
                asked = {"transactionId": int(number)}
                answer = await backoffice.ask(identity, "RemoteStopTransaction", asked)
            case ["ask", identity, action, payload]:
                answer = await backoffice.ask(identity, action, json.loads(payload))
            case []:
                return ""
            case _:
                return f"not understood; there is: {KEYS}"
    except AskFailed as failed:
        return str(failed)
    except ValueError as wrong:
        return f"not understood: {wrong}"
    return json.dumps(answer)


def _may_type() -> bool:
    """Tell whether lines may come from standard input: from a terminal, or through a pipe."""
    try:
        kind = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return sys.stdin.isatty() or stat.S_ISFIFO(kind)


@asynccontextmanager
async def typed_lines() -> AsyncIterator[asyncio.StreamReader | None]:
    """Give what is typed or piped into this process, None when nothing can come from there."""
    if not _may_type():
        yield None
        return
    lines = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    try:
        yield lines
    finally:
        transport.close()


async def serve_until_stopped(backoffice: Backoffice, say: Say, lines: asyncio.StreamReader | None) -> None:
    """Serve until cancelled, and obey the lines that come; their end ends nothing."""
    async with backoffice:
        say(f"chargers connect at {backoffice.url}/IDENTITY; Ctrl+C ends it")
        if lines is not None:
            say(KEYS)
            while line := await lines.readline():
                said = await obey(backoffice, line.decode("utf-8", "replace"))
                if said:
                    say(said)
        await asyncio.Event().wait()

"""Plays the charger's side of a recording against a central system, over a real socket.

The recorded calls are sent one after the other with new ids; what the central system asks meanwhile is
answered as the charger had answered it. A recording of several connections is played over as many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from voltyard.kernel.clock import Clock
from voltyard.sim.envelope import (
    Call,
    CallError,
    CallResult,
    decode,
    encode_call,
    encode_error,
    encode_result,
)
from voltyard.sim.fleet import HANDSHAKE_S, REFUSALS, SUBPROTOCOL, basic_header, charger_url
from voltyard.sim.replay import AnswerBook, Entry, Recording, Report, learn_number, renumbered

ANSWER_S = 35.0
PAUSE_MAX_S = 60.0
"""A longer pause of the recording is cut to this, at the speed of life."""


class Unreachable(Exception):
    """The central system cannot be reached, or does not let this charger in."""


async def play(
    recording: Recording,
    url: str,
    identity: str,
    password: str | None,
    *,
    clock: Clock,
    say: Callable[[str], None],
    speed: float | None = None,
) -> Report:
    """Play a recording; ``speed`` keeps its pauses, so many times as fast as life. Raises: Unreachable."""
    report, book, numbers = Report(), AnswerBook(recording.asks), dict[int, int]()
    for _, group in groupby(recording.sayings, key=lambda one: one.socket):
        socket = await _open(url, identity, password)
        try:
            player = _Player(socket, report, book, numbers, say)
            await player.play(tuple(group), clock, speed)
        finally:
            await socket.close()
    for entry in book.unused:
        report.notes.append(f"call {entry.number} {entry.action}: was not asked this time")
    return report


async def _open(url: str, identity: str, password: str | None) -> ClientConnection:
    headers = {} if password is None else {"Authorization": basic_header(identity, password)}
    address = charger_url(url, identity)
    try:
        return await connect(
            address,
            subprotocols=[SUBPROTOCOL],
            additional_headers=headers,
            user_agent_header="Voltyard-Sim",
            compression=None,
            open_timeout=HANDSHAKE_S,
            close_timeout=2,
            proxy=None,
        )
    except InvalidStatus as refused:
        status = refused.response.status_code
        why = REFUSALS.get(status, "for a reason of its own")
        raise Unreachable(f"refused with {status} at {address}: {why}") from None
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as failed:
        raise Unreachable(f"cannot reach {address}: {str(failed) or type(failed).__name__}") from None


class _Player:
    """One connection of the recording."""

    def __init__(
        self,
        socket: ClientConnection,
        report: Report,
        book: AnswerBook,
        numbers: dict[int, int],
        say: Callable[[str], None],
    ) -> None:
        self._socket, self._report, self._book = socket, report, book
        self._numbers, self._say = numbers, say
        self._open: tuple[str, asyncio.Future[CallResult | CallError | None]] | None = None

    async def play(self, entries: tuple[Entry, ...], clock: Clock, speed: float | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read())
            before = entries[0].at
            for entry in entries:
                if speed is not None:
                    await clock.sleep(min(PAUSE_MAX_S, (entry.at - before).total_seconds()) / speed)
                before = entry.at
                if not await self._send(entry):
                    break
            reading.cancel()

    async def _send(self, entry: Entry) -> bool:
        """Send one call and compare its answer; False when the connection is gone."""
        if entry.payload is None:
            return await self._send_odd(entry)
        call_id = f"replay-{self._report.played + 1}"
        waiting: asyncio.Future[CallResult | CallError | None] = asyncio.get_running_loop().create_future()
        self._open = call_id, waiting
        self._report.played += 1
        try:
            await self._socket.send(
                encode_call(call_id, entry.action, renumbered(entry.payload, self._numbers))
            )
            async with asyncio.timeout(ANSWER_S):
                answer = await waiting
        except (TimeoutError, ConnectionClosed):
            answer = None
        if answer is None:
            return self._silent(entry)
        learn_number(entry, answer, self._numbers)
        self._report.compare(entry, answer)
        self._say(f"{entry.action}: answered")
        return True

    def _silent(self, entry: Entry) -> bool:
        is_open = self._socket.close_code is None
        closed = f"the connection was closed ({self._socket.close_code})"
        why = "there was no answer in time" if is_open else closed
        if entry.has_answer:
            self._report.lacks(entry, why)
        else:
            self._report.notes.append(f"call {entry.number} {entry.action}: {why}, as in the recording")
        return is_open

    async def _send_odd(self, entry: Entry) -> bool:
        """Send a frame that is no call as it was; an answer to something of long ago means nothing now."""
        if entry.odd == "unreadable_frame":
            try:
                await self._socket.send(entry.raw)
            except ConnectionClosed:
                return False
            self._report.played += 1
        else:
            self._report.notes.append(f"call {entry.number}: {entry.odd or 'no call'}, left out")
        return True

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                await self._hear(frame if isinstance(frame, str) else frame.decode("utf-8", "replace"))
        except ConnectionClosed:
            pass
        if self._open is not None and not self._open[1].done():
            self._open[1].set_result(None)

    async def _hear(self, text: str) -> None:
        match decode(text):
            case Call(call_id, action, payload):
                await self._socket.send(self._answer(call_id, action, payload))
            case CallResult(call_id) | CallError(call_id) as answer:
                if self._open is not None and self._open[0] == call_id and not self._open[1].done():
                    self._open[1].set_result(answer)
            case malformed:
                self._report.notes.append(f"the server sent what is no message: {malformed.why}")

    def _answer(self, call_id: str, action: str, payload: dict[str, Any]) -> str:
        found = self._book.find(action, payload, self._numbers)
        if found is None:
            self._report.notes.append(f"the server asks {action}, which it did not in the recording")
            return encode_error(call_id, "NotImplemented", "not in the recording")
        if "errorCode" in found.answer:
            return encode_error(call_id, str(found.answer["errorCode"]), "as recorded")
        return encode_result(call_id, found.answer)

"""Server-sent events: what changes at the locations that the one who listens may see.

The bus is heard from the moment of opening, nothing is replayed: a client that comes back, or that
was too slow, hears ``lost`` and reads again what it shows. What one may see is read anew every few
seconds, and when a location is named that was never heard of. The stream ends when the client goes,
when its session or token no longer counts, or when the server stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voltyard.kernel.bus import Listening
from voltyard.kernel.db import Work
from voltyard.kernel.errors import Unauthenticated, VoltyardError
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import HTTP_TIMEOUT_S, LISTENER_QUEUE_MAX
from voltyard.kernel.log import logger
from voltyard.kernel.wire import Message, decode, encode
from voltyard.locations.access import Permission
from voltyard.locations.service import visible
from voltyard.web.auth import Caller, recognise
from voltyard.web.door import Door
from voltyard.web.health import STREAMS

BEAT_S = 15.0
RETRY_MS = 3_000
UNKNOWN_LOOKS_S = 1.0
"""At most this often a look into the database for a location that was never heard of."""
FOREIGN_MAX = 10_000
GOOD_BYE_S = 1.0
NOWHERE = "none"
"""The place of chargers that nobody has claimed; only administrators hear of them."""


class Tagged(Message, frozen=True, tag=False, rename={"kind": "type"}):
    """The kind of an event, whatever else it says."""

    kind: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """The locations that one may see, and those whose sensitive data one may see."""

    locations: frozenset[str] = frozenset()
    sensitive: frozenset[str] = frozenset()


def look(work: Work) -> Sight:
    """Return what the actor may see now."""
    return Sight(
        frozenset(row[0] for row in work.rows(visible(work, work.actor))),
        frozenset(row[0] for row in work.rows(visible(work, work.actor, Permission.VIEW_SENSITIVE))),
    )


@dataclass(frozen=True, slots=True)
class Heard:
    """One event that somebody may hear: its kind, and its JSON."""

    kind: str
    data: str


@dataclass(slots=True)
class Watch:
    """What one caller may hear, kept up to date while they listen.

    ``sensitive_kinds`` names the events that only those hear who may see sensitive data.
    """

    door: Door
    caller: Caller
    sensitive_kinds: Collection[str] = ()
    sight: Sight = field(default_factory=Sight)
    _foreign: set[str] = field(default_factory=set)
    _looked_s: float = 0.0

    async def renew(self) -> None:
        """Find out anew who listens and what they may see. Raises: Unauthenticated."""
        self.caller = await recognise(self.door, self.caller.credential)
        await self._look()

    async def _look(self) -> None:
        self._looked_s = self.door.ctx.clock.monotonic()
        self.sight = await self.door.ctx.db.read(self.caller.actor, look)

    async def passes(self, subject: str, event: bytes | Message) -> Heard | None:
        """Return an event in the form in which it is told, None when the caller may not hear it."""
        place = subject.split(".")[1]
        is_waiting = place == NOWHERE and self.caller.actor.is_admin
        if place not in self.sight.locations and not is_waiting and not await self._is_news(place):
            return None
        data = event if isinstance(event, bytes) else encode(event)
        kind = decode(data, Tagged).kind
        if kind in self.sensitive_kinds and place not in self.sight.sensitive:
            return None
        return Heard(kind, data.decode())

    async def _is_news(self, place: str) -> bool:
        """Look again for a place that was never heard of: it may have been made, or shared, just now."""
        now_s = self.door.ctx.clock.monotonic()
        if place in self._foreign or place == NOWHERE or now_s - self._looked_s < UNKNOWN_LOOKS_S:
            return False
        try:
            await self._look()
        except VoltyardError:
            return False  # the next beat looks again
        if place in self.sight.locations:
            return True
        if len(self._foreign) >= FOREIGN_MAX:
            self._foreign.clear()
        self._foreign.add(place)
        return False


class _Over(Exception):
    """The stream has come to its end."""


class EventStream(Response):
    """An answer that goes on for as long as somebody listens."""

    media_type = "text/event-stream"

    def __init__(self, watch: Watch, *, is_return: bool = False) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._watch = watch
        self._is_return = is_return
        self._name = new_id("ses")
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell events until the client goes or may no longer listen."""
        door = self._watch.door
        listening = await door.ctx.bus.listen("live.>", queue_max=LISTENER_QUEUE_MAX)
        STREAMS.labels(door.name).inc()
        try:
            with door.limits.stream(self._watch.caller.user.id):
                await self._watch.renew()
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._say(send, f"retry: {RETRY_MS}\n\n")
                if self._is_return:
                    await self._tell(send, Heard("lost", "{}"))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._await_leaving(receive))
                    tasks.create_task(self._await_closing())
                    tasks.create_task(self._keep_alive(send))
                    tasks.create_task(self._pass_on(listening, send))
        except* _Over:
            with suppress(TimeoutError):  # a client that takes nothing does not take the end either
                async with asyncio.timeout(GOOD_BYE_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            STREAMS.labels(door.name).dec()
            await listening.stop()

    async def _await_leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _Over

    async def _await_closing(self) -> None:
        await self._watch.door.closing.wait()
        raise _Over

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await self._watch.door.ctx.clock.sleep(BEAT_S)
            try:
                await self._watch.renew()
            except Unauthenticated as wrong:
                raise _Over from wrong
            except VoltyardError as wrong:
                # What one may see cannot be read just now: the stream says nothing until it can.
                self._watch.sight = Sight()
                logger("web").warning("sight not renewed", code=wrong.code())
            await self._say(send, ": alive\n\n")

    async def _pass_on(self, listening: Listening, send: Send) -> None:
        lost = 0
        while True:
            subject, event = await listening.next()
            if listening.lost > lost:
                await self._tell(send, Heard("lost", f'{{"count":{listening.lost - lost}}}'))
                lost = listening.lost
            heard = await self._watch.passes(subject, event)
            if heard is not None:
                await self._tell(send, heard)

    async def _tell(self, send: Send, heard: Heard) -> None:
        self._count += 1
        await self._say(send, f"id: {self._name}-{self._count}\nevent: {heard.kind}\ndata: {heard.data}\n\n")

    async def _say(self, send: Send, text: str) -> None:
        """Send a piece; a client that takes nothing for a minute is gone."""
        try:
            async with asyncio.timeout(HTTP_TIMEOUT_S):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except (TimeoutError, OSError) as wrong:
            raise _Over from wrong

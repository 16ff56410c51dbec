"""Server-sent events: what changes at the locations that the one who listens may see.

The bus is heard from the moment of opening, nothing is replayed: a client that comes back, or that
was too slow, hears ``lost`` and reads again what it shows. What one may see is read anew every few
seconds, and when a location is named that was never heard of. The stream ends when the client goes,
when its session or token no longer counts, or when the server stops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from starlette.types import Send

from voltyard.kernel.bus import Listening
from voltyard.kernel.db import Work
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.ids import new_id
from voltyard.kernel.limits import LISTENER_QUEUE_MAX
from voltyard.kernel.wire import Message, decode, encode
from voltyard.locations.access import Permission
from voltyard.locations.service import visible
from voltyard.web.auth import Caller, recognise
from voltyard.web.door import Door
from voltyard.web.stream import BEAT_S, Stream, Tell

__all__ = ("BEAT_S", "EventStream", "Heard", "Watch")

UNKNOWN_LOOKS_S = 1.0
"""At most this often a look into the database for a location that was never heard of."""
FOREIGN_MAX = 10_000
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


class EventStream(Stream):
    """An answer that goes on for as long as somebody listens."""

    def __init__(self, watch: Watch, *, is_return: bool = False) -> None:
        super().__init__(watch.door, watch.caller)
        self._watch = watch
        self._is_return = is_return
        self._name = new_id("ses")
        self._count = 0

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Tell]:
        """Hear the bus for as long as the stream is open."""
        listening = await self.door.ctx.bus.listen("live.>", queue_max=LISTENER_QUEUE_MAX)
        try:
            await self._watch.renew()
            yield partial(self._pass_on, listening)
        finally:
            await listening.stop()

    async def renew(self) -> None:
        """Find out anew who listens and what they may see. Raises: Unauthenticated."""
        try:
            await self._watch.renew()
        except VoltyardError:
            # What one may see cannot be read just now: the stream says nothing until it can.
            self._watch.sight = Sight()
            raise

    async def _pass_on(self, listening: Listening, send: Send) -> None:
        if self._is_return:
            await self._tell(send, Heard("lost", "{}"))
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
        await self.say(send, f"id: {self._name}-{self._count}\nevent: {heard.kind}\ndata: {heard.data}\n\n")

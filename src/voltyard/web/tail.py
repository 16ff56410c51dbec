"""A stream that looks for news a few times a second, for what is found in the database and not on the bus.

It looks only while somebody listens. A look that fails for a while is tried again; one that finds that the
thing is gone, or no longer the listener's to see, ends the stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import Send

from voltyard.kernel.errors import Refused, VoltyardError
from voltyard.kernel.log import logger
from voltyard.web.auth import Caller, recognise
from voltyard.web.door import Door
from voltyard.web.stream import Stream, Tell

LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Event:
    """What is told: its kind, its JSON in one line, and the place from which to go on behind it."""

    kind: str
    data: str
    place: str


Look = Callable[[Caller], Awaitable[Sequence[Event]]]


class TailStream(Stream):
    """Events that a look into the database finds."""

    def __init__(self, door: Door, caller: Caller, look: Look) -> None:
        """Take ``look``, which remembers by itself how far it has come."""
        super().__init__(door, caller)
        self._caller = caller
        self._look = look
        self._place = ""

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Tell]:
        """Look once before the stream opens, so that a refusal is an ordinary answer."""
        await self.renew()
        first = await self._look(self._caller)

        async def tell(send: Send) -> None:
            await self._pass_on(first, send)

        yield tell

    async def renew(self) -> None:
        """Find out anew who listens. Raises: Unauthenticated."""
        self._caller = await recognise(self.door, self._caller.credential)

    def sign_of_life(self) -> str:
        """Say how far the stream has come, even if nothing of it fitted."""
        return f": alive\nid: {self._place}\n\n" if self._place else super().sign_of_life()

    async def _pass_on(self, found: Sequence[Event], send: Send) -> None:
        while True:
            for event in found:
                self._place = event.place
                if event.kind:
                    await self.say(send, f"id: {event.place}\nevent: {event.kind}\ndata: {event.data}\n\n")
            await self.door.ctx.clock.sleep(LOOK_S)
            try:
                found = await self._look(self._caller)
            except Refused:
                return
            except VoltyardError as wrong:
                logger("web").warning("news not read", code=wrong.code())
                found = ()

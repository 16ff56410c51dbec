"""Reads the log for all lines of a process together: one look at its end serves whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from voltyard.kernel.context import Context
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.limits import LINE_WINDOW
from voltyard.kernel.log import logger
from voltyard.lines import records
from voltyard.operators import serving
from voltyard.operators.serving import Fed, Wish
from voltyard.proxy.sayings import Saying

PAUSE_S = 1.0
GATHER_S = 0.1
"""How long a read waits for others who want something, unless somebody is in a hurry."""
TURN = 16
PAUSE_OF_TURN_S = 0.001
"""After so many links it waits so long: chargers that wait for answers must not stand behind all of them."""
READ_MAX = 1_000
"""Sayings of all chargers together that are read at once."""

Take = Callable[[Sequence[Saying], Fed], None]

assert LINE_WINDOW <= READ_MAX


class Feeder:
    """Gathers what lines want of the log while a read is under way, and reads it all at once."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._wanted: dict[str, tuple[Wish, Take]] = {}
        self._ready = asyncio.Event()
        self._hurry = asyncio.Event()
        self._log = logger("lines")

    def want(self, link_id: str, wish: Wish, take: Take) -> None:
        """Have ``take`` called with what the charger said; a newer wish replaces this one."""
        self._wanted[link_id] = (wish, take)
        self._ready.set()

    def hurry(self) -> None:
        """Read at once: a charger waits for its answer."""
        self._hurry.set()

    def forget(self, link_id: str) -> None:
        """Read nothing more for a link."""
        self._wanted.pop(link_id, None)

    async def run(self) -> None:
        """Read, until cancelled."""
        while True:
            while not self._wanted:
                self._ready.clear()
                await self._ready.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._hurry.wait()
            self._hurry.clear()
            wanted, self._wanted = self._wanted, {}
            asked = {link_id: wish for link_id, (wish, _) in wanted.items()}
            try:
                found, is_more = await self._ctx.db.read(serving.ACTOR, serving.feed, asked, limit=READ_MAX)
            except Exception as wrong:
                self._log.warning(
                    "the log could not be read",
                    why=repr(wrong),
                    exc_info=not isinstance(wrong, VoltyardError),
                )
                await self._ctx.clock.sleep(PAUSE_S)
                self._wanted = wanted | self._wanted
                continue
            told: dict[tuple[str, int], list[Saying]] = {}
            for count, (link_id, (wish, take)) in enumerate(wanted.items(), 1):
                if count % TURN == 0:
                    await asyncio.sleep(PAUSE_OF_TURN_S)
                fed = found[link_id]
                if is_more and not fed.said:  # others took all the room
                    self._wanted.setdefault(link_id, (wish, take))
                    continue
                # Links of a charger that are equally far are told the same sayings: made once.
                at = (wish.charger_id, wish.after)
                if at not in told:
                    told[at] = [records.saying(said) for said in fed.said]
                take(told[at], fed)

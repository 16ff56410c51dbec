"""Group commit, for the desk and the lines: what arrives while one Work commits shares the next one.

Nobody waits for company: an idle batch runs at once with a single item, a busy one fills up by
itself, up to ``BATCH_MAX``. A batch that fails is repeated item by item, so that a bad one hurts
only itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from voltyard.kernel.actor import Actor
from voltyard.kernel.db import Database, Work
from voltyard.kernel.limits import BATCH_MAX, BATCH_MS
from voltyard.kernel.log import logger

Item = TypeVar("Item")
Result = TypeVar("Result")
Told = Callable[[Exception | None], None]
"""Who is told that an item is committed, or what went wrong, and does not wait."""


class Batch(Generic[Item, Result]):
    """Items that are handled together; ``handle`` returns one result for each, in their order.

    ``lanes`` Works may run at a time: one where the database has one writer. Where nobody waits for the
    results, ``gather_s`` lets each batch of up to ``most`` wait so long for company, unless somebody is in a
    hurry.
    """

    def __init__(
        self,
        db: Database,
        actor: Actor,
        handle: Callable[[Work, Sequence[Item]], Sequence[Result]],
        *,
        lanes: int,
        gather_s: float = 0.0,
        most: int = BATCH_MAX,
    ) -> None:
        self._db = db
        self._actor = actor
        self._handle = handle
        self._lanes = lanes
        self._gather_s = gather_s
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Result] | Told]] = deque()
        self._ready = asyncio.Event()
        self._hurry = asyncio.Event()
        self._log = logger("batch")

    async def join(self, item: Item) -> Result:
        """Hand in an item and wait until it is committed.

        Raises: whatever ``handle`` raises for this item alone.
        """
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Hand in an item; what is returned is done once it is committed, or has failed."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._add(item, done)
        return done

    def tell(self, item: Item, done: Told) -> None:
        """Hand in an item of which nobody needs the result; ``done`` is called as ``put``'s is done.

        Cheaper by a future and two turns of the loop. It is given what went wrong, None if nothing did, and
        must not raise.
        """
        self._add(item, done)

    def hurry(self) -> None:
        """Let what was handed in wait for no more company: somebody waits for it."""
        if self._waiting:
            self._hurry.set()

    def _add(self, item: Item, done: asyncio.Future[Result] | Told) -> None:
        self._waiting.append((item, done))
        if len(self._waiting) == 1:
            self._ready.set()
        elif len(self._waiting) >= self._most:
            self._hurry.set()

    async def run(self) -> None:
        """Commit batch after batch, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._lanes):
                group.create_task(self._lane())

    async def _lane(self) -> None:
        while True:
            while not self._waiting:
                self._ready.clear()
                await self._ready.wait()
            if self._gather_s and len(self._waiting) < self._most:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._gather_s):
                        await self._hurry.wait()
                self._hurry.clear()
            await self._linger()
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
            # Whoever asked may have gone; what was said is stored all the same.
            await self._commit(some)

    async def _linger(self) -> None:
        """Let the loop hand in what it already holds, as long as more keeps coming."""
        give_up = asyncio.get_running_loop().time() + BATCH_MS / 1000
        count = 0
        while count < len(self._waiting) < self._most and asyncio.get_running_loop().time() < give_up:
            count = len(self._waiting)
            await asyncio.sleep(0)

    async def _commit(self, some: list[tuple[Item, asyncio.Future[Result] | Told]]) -> None:
        if not some:
            return
        try:
            results = await self._db.work(self._actor, self._handle, [item for item, _ in some])
        except Exception as wrong:
            await self._failed(some, wrong)
            return
        assert len(results) == len(some), "a batch gives one result for each item"
        for (_, done), result in zip(some, results, strict=True):
            if not isinstance(done, asyncio.Future):
                done(None)
            elif not done.done():
                done.set_result(result)

    async def _failed(self, some: list[tuple[Item, asyncio.Future[Result] | Told]], wrong: Exception) -> None:
        if len(some) == 1:
            done = some[0][1]
            if not isinstance(done, asyncio.Future):
                done(wrong)
            elif not done.done():
                done.set_exception(wrong)
            return
        self._log.warning("batch repeated one by one", size=len(some), why=repr(wrong))
        for one in some:
            # Each may wait long while the database is locked. Who has given up says everything again.
            is_given_up = isinstance(one[1], asyncio.Future) and one[1].cancelled()
            if not is_given_up:
                await self._commit([one])

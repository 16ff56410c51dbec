"""Group commit, for the desk and the lines: what arrives while one Work commits shares the next one.

Nobody waits for company: an idle batch runs at once with a single item, a busy one fills up by
itself, up to ``BATCH_MAX``. A batch that fails is repeated item by item, so that a bad one hurts
only itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from voltyard.kernel.actor import Actor
from voltyard.kernel.db import Database, Work
from voltyard.kernel.limits import BATCH_MAX, BATCH_MS
from voltyard.kernel.log import logger

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch(Generic[Item, Result]):
    """Items that are handled together; ``handle`` returns one result for each, in their order.

    ``lanes`` Works may run at a time: one where the database has one writer. Where nobody waits for the
    results, ``gather_s`` lets each batch wait so long for company.
    """

    def __init__(
        self,
        db: Database,
        actor: Actor,
        handle: Callable[[Work, Sequence[Item]], Sequence[Result]],
        *,
        lanes: int,
        gather_s: float = 0.0,
    ) -> None:
        self._db = db
        self._actor = actor
        self._handle = handle
        self._lanes = lanes
        self._gather_s = gather_s
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._ready = asyncio.Event()
        self._log = logger("batch")

    async def join(self, item: Item) -> Result:
        """Hand in an item and wait until it is committed.

        Raises: whatever ``handle`` raises for this item alone.
        """
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Hand in an item; what is returned is done once it is committed, or has failed."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        self._ready.set()
        return done

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
            if self._gather_s and len(self._waiting) < BATCH_MAX:
                await asyncio.sleep(self._gather_s)
            await self._linger()
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
            # Whoever asked may have gone; what was said is stored all the same.
            await self._commit(some)

    async def _linger(self) -> None:
        """Let the loop hand in what it already holds, as long as more keeps coming."""
        give_up = asyncio.get_running_loop().time() + BATCH_MS / 1000
        count = 0
        while count < len(self._waiting) < BATCH_MAX and asyncio.get_running_loop().time() < give_up:
            count = len(self._waiting)
            await asyncio.sleep(0)

    async def _commit(self, some: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        if not some:
            return
        try:
            results = await self._db.work(self._actor, self._handle, [item for item, _ in some])
        except Exception as wrong:
            await self._failed(some, wrong)
            return
        assert len(results) == len(some), "a batch gives one result for each item"
        for (_, done), result in zip(some, results, strict=True):
            if not done.done():
                done.set_result(result)

    async def _failed(self, some: list[tuple[Item, asyncio.Future[Result]]], wrong: Exception) -> None:
        if len(some) == 1:
            _, done = some[0]
            if not done.done():
                done.set_exception(wrong)
            return
        self._log.warning("batch repeated one by one", size=len(some), why=repr(wrong))
        for one in some:
            # Each may wait long while the database is locked. Who has given up says everything again.
            if not one[1].cancelled():
                await self._commit([one])

"""What every stream does, whatever it tells: open, stay alive, end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Send

from tests.unit.web.test_tail import SYSTEM, Client, a_caller
from voltyard.kernel.errors import Unauthenticated, Unavailable, VoltyardError
from voltyard.web.door import Door
from voltyard.web.health import STREAMS
from voltyard.web.stream import BEAT_S, Stream, Tell


class Silent(Stream):
    """A stream that tells nothing; its listener is renewed, or is not."""

    wrong: VoltyardError | None = None

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Tell]:
        async def tell(_send: Send) -> None:
            await asyncio.Event().wait()

        yield tell

    async def renew(self) -> None:
        if self.wrong is not None:
            raise self.wrong


async def opened(door: Door, tasks: asyncio.TaskGroup) -> tuple[Client, Silent, asyncio.Task[None]]:
    stream = Silent(door, await a_caller(door))
    client = Client(stream)  # type: ignore[arg-type]
    running = tasks.create_task(client.run())
    await client.until(lambda text: "retry:" in text, door, 0.001)
    return client, stream, running


def open_streams(door: Door) -> Any:
    return STREAMS.labels(door.name)._value.get()


async def test_a_stream_is_kept_alive_and_ends_when_its_client_goes(door: Door):
    before = open_streams(door)
    async with asyncio.TaskGroup() as tasks:
        client, _, running = await opened(door, tasks)
        assert open_streams(door) == before + 1
        await client.until(lambda text: text.count(": alive\n\n") == 2, door, BEAT_S)
        client.leaving.set()
        async with asyncio.timeout(10):
            await running
    assert (open_streams(door), client.is_over) == (before, True)


async def test_a_stream_ends_with_the_log_in_and_outlives_a_database_that_is_away(door: Door):
    async with asyncio.TaskGroup() as tasks:
        client, stream, running = await opened(door, tasks)
        stream.wrong = Unavailable("away")
        await client.until(lambda text: ": alive" in text, door, BEAT_S)
        stream.wrong = Unauthenticated()
        async with asyncio.timeout(10):
            while not running.done():
                door.ctx.clock.advance(BEAT_S)
                await door.ctx.db.read(SYSTEM, lambda work: work.now)
    assert client.is_over


async def test_a_stream_must_say_what_it_tells_and_whom(door: Door):
    stream = Stream(door, await a_caller(door))
    with pytest.raises(NotImplementedError):
        stream.telling()
    with pytest.raises(NotImplementedError):
        await stream.renew()

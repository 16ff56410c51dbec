"""A stream that looks by itself: what it tells, when it ends, and what it survives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from voltyard.accounts import service as accounts
from voltyard.kernel.actor import system
from voltyard.kernel.errors import Forbidden, NotFound, TooMany, Unavailable, VoltyardError
from voltyard.web.auth import Caller, Credential, recognise
from voltyard.web.door import Door
from voltyard.web.limits import STREAMS_PER_USER_MAX
from voltyard.web.stream import BEAT_S
from voltyard.web.tail import LOOK_S, Event, TailStream

SYSTEM = system("test")


class Client:
    """One who listens to a stream."""

    def __init__(self, stream: TailStream) -> None:
        self.stream = stream
        self.text, self.status, self.is_over = "", 0, False
        self.changed = asyncio.Condition()
        self.leaving = asyncio.Event()

    async def run(self) -> None:
        await self.stream({"type": "http"}, self.receive, self.send)

    async def receive(self) -> Any:
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        async with self.changed:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            else:
                self.text += message["body"].decode()
                self.is_over = not message["more_body"]
            self.changed.notify_all()

    async def until(self, holds: Callable[[str], bool], door: Door, step_s: float = LOOK_S) -> None:
        """Let time pass until what was heard has this property."""
        async with asyncio.timeout(10):
            while not holds(self.text):
                door.ctx.clock.advance(step_s)
                await door.ctx.db.read(SYSTEM, lambda work: work.now)


async def a_caller(door: Door) -> Caller:
    user = await accounts.register(door.ctx, "ann@example.com", password=None)
    _, token = await door.ctx.db.work(SYSTEM, accounts.add_token, "script", door.key, user.id)
    return await recognise(door, Credential(token, is_cookie=False))


class Looks:
    """What the looks of a stream find, one after the other; nothing once they are told."""

    def __init__(self, *found: Sequence[Event] | VoltyardError) -> None:
        self.found = list(found)
        self.count = 0

    async def __call__(self, _caller: Caller) -> Sequence[Event]:
        self.count += 1
        found = self.found.pop(0) if self.found else ()
        if isinstance(found, VoltyardError):
            raise found
        return found


@asynccontextmanager
async def listening(door: Door, looks: Looks, caller: Caller | None = None) -> Any:
    client = Client(TailStream(door, caller or await a_caller(door), looks))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(client.run())
        yield client
        client.leaving.set()
        async with asyncio.timeout(10):
            await running


async def test_what_is_found_is_told_with_its_place(door: Door):
    looks = Looks([Event("call", '{"a":1}', "7")], [], [Event("update", "{}", "9")])
    async with listening(door, looks) as client:
        await client.until(lambda text: "update" in text, door)
        assert client.text.startswith("retry: ")
        assert 'id: 7\nevent: call\ndata: {"a":1}\n\n' in client.text
        assert "id: 9\nevent: update\ndata: {}\n\n" in client.text


async def test_a_place_without_news_is_told_with_the_sign_of_life(door: Door):
    async with listening(door, Looks([Event("", "", "41")])) as client:
        await client.until(lambda text: ": alive\nid: 41\n\n" in text, door, BEAT_S)
        assert "event:" not in client.text


async def test_a_refusal_at_the_first_look_is_no_stream(door: Door):
    client = Client(TailStream(door, await a_caller(door), Looks(NotFound("gone"))))
    with pytest.raises(NotFound):
        await client.run()
    assert client.status == 0


async def test_a_refusal_later_ends_the_stream(door: Door):
    async with listening(door, Looks([], Forbidden("no more"))) as client:
        async with asyncio.timeout(10):
            while not client.is_over:
                door.ctx.clock.advance(LOOK_S)
                await door.ctx.db.read(SYSTEM, lambda work: work.now)


async def test_a_database_that_is_away_for_a_while_is_survived(door: Door):
    looks = Looks([], Unavailable("away"), [Event("call", "{}", "1")])
    async with listening(door, looks) as client:
        await client.until(lambda text: "event: call" in text, door)


async def test_a_stream_ends_when_the_server_does(door: Door):
    async with listening(door, Looks()) as client:
        await client.until(lambda text: "retry:" in text, door)
        door.closing.set()
        async with asyncio.timeout(10), client.changed:
            await client.changed.wait_for(lambda: client.is_over)


async def test_one_person_may_not_listen_without_end(door: Door):
    caller = await a_caller(door)
    with ExitStack() as others:
        for _ in range(STREAMS_PER_USER_MAX):
            others.enter_context(door.limits.stream(caller.user.id))
        with pytest.raises(TooMany):
            await Client(TailStream(door, caller, Looks())).run()

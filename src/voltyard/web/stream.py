"""An answer in server-sent events: opened, kept alive, ended in good order; what it tells is another's.

It ends when the client goes or takes nothing, when its session or token no longer counts, or when the
server stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voltyard.kernel.errors import Unauthenticated, VoltyardError
from voltyard.kernel.limits import HTTP_TIMEOUT_S
from voltyard.kernel.log import logger
from voltyard.web.auth import Caller
from voltyard.web.door import Door
from voltyard.web.health import STREAMS

BEAT_S = 15.0
RETRY_MS = 3_000
GOOD_BYE_S = 1.0

Tell = Callable[[Send], Awaitable[None]]


class Over(Exception):
    """The stream has come to its end."""


class Stream(Response):
    """An answer that goes on for as long as somebody listens."""

    media_type = "text/event-stream"

    def __init__(self, door: Door, caller: Caller) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.door = door
        self._user_id = caller.user.id

    def telling(self) -> AbstractAsyncContextManager[Tell]:
        """Return what tells the events, ready once it is entered: a refusal there is an ordinary answer."""
        raise NotImplementedError

    async def renew(self) -> None:
        """Find out anew who listens. Raises: Unauthenticated, which ends the stream."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell events until the client goes or may no longer listen."""
        with self.door.limits.stream(self._user_id):
            STREAMS.labels(self.door.name).inc()
            try:
                async with self.telling() as tell:
                    await self._serve(tell, receive, send)
            finally:
                STREAMS.labels(self.door.name).dec()

    async def _serve(self, tell: Tell, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.TaskGroup() as tasks:
                await self.say(send, f"retry: {RETRY_MS}\n\n")
                tasks.create_task(self._await_leaving(receive))
                tasks.create_task(self._await_closing())
                tasks.create_task(self._keep_alive(send))
                tasks.create_task(self._tell_on(tell, send))
        except* Over:
            with suppress(TimeoutError):  # a client that takes nothing does not take the end either
                async with asyncio.timeout(GOOD_BYE_S):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell_on(self, tell: Tell, send: Send) -> None:
        await tell(send)
        raise Over

    async def _await_leaving(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise Over

    async def _await_closing(self) -> None:
        await self.door.closing.wait()
        raise Over

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await self.door.ctx.clock.sleep(BEAT_S)
            try:
                await self.renew()
            except Unauthenticated as wrong:
                raise Over from wrong
            except VoltyardError as wrong:
                logger("web").warning("a listener not renewed", code=wrong.code())
            await self.say(send, self.sign_of_life())

    def sign_of_life(self) -> str:
        """Return what is said from time to time, for proxies that close what is silent."""
        return ": alive\n\n"

    async def say(self, send: Send, text: str) -> None:
        """Send a piece; a client that takes nothing for a minute is gone."""
        try:
            async with asyncio.timeout(HTTP_TIMEOUT_S):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        except (TimeoutError, OSError) as wrong:
            raise Over from wrong

"""The header Idempotency-Key: the same POST sent twice is carried out once and answered twice.

Only an answer of success is kept. A refused request left no trace, so it may be tried again with its
key. A route whose answer holds a secret is marked ``HOLDS_SECRET``; its answer is never kept.
"""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response

from voltyard.accounts import idempotency
from voltyard.accounts.idempotency import KeyInUse
from voltyard.kernel.db import AlreadyThere
from voltyard.kernel.errors import VoltyardError
from voltyard.kernel.log import logger
from voltyard.web.auth import Caller, identify
from voltyard.web.door import door_of
from voltyard.web.doorway import GuardedRoute, Handler

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
HOLDS_SECRET = "x-holds-secret"


class OnceRoute(GuardedRoute):
    """A guarded route that honours the header."""

    def behind_the_guard(self, handle: Handler) -> Handler:
        """Return the handler of the route; a POST with a key is carried out once."""
        if "POST" not in (self.methods or ()):
            return handle
        holds_secret = bool((self.openapi_extra or {}).get(HOLDS_SECRET))

        async def once(request: Request) -> Response:
            key = request.headers.get(HEADER)
            caller = await identify(request)
            if key is None or caller is None:
                return await handle(request)
            return await _once(request, caller, key, handle, holds_secret=holds_secret)

        return once


async def request_hash(request: Request) -> str:
    """Return what makes a request the same request again."""
    head = f"{request.method} {request.url.path}?{request.url.query}\n"
    return hashlib.sha256(head.encode() + await request.body()).hexdigest()


async def _once(
    request: Request, caller: Caller, key: str, handle: Handler, *, holds_secret: bool
) -> Response:
    db, actor = door_of(request).ctx.db, caller.actor
    try:
        kept = await db.work(actor, idempotency.begin, key, await request_hash(request))
    except AlreadyThere as clash:
        raise KeyInUse(retry_after_s=1) from clash
    if kept is not None:
        return Response(kept.body, kept.status, {REPLAYED: "true"}, "application/json")
    is_done = False
    try:
        response = await handle(request)
        is_done = response.status_code < 400
    finally:
        if not is_done:
            await db.work(actor, idempotency.forget, key)
    body = None if holds_secret else bytes(response.body).decode()
    try:
        await db.work(actor, idempotency.finish, key, response.status_code, body)
    except VoltyardError as wrong:
        # It was carried out and says so; the claim alone keeps it from being done again for a while.
        logger("web").warning("answer not kept", code=wrong.code())
    return response

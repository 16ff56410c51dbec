"""Who is at the door: a cookie or a bearer token becomes an Actor and a User.

``signed_in`` is the dependency of everything that needs somebody; ``maybe_signed_in`` serves pages
that anyone may see. Both look the caller up once a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection, Request

from voltyard.accounts import service as accounts
from voltyard.accounts.service import User
from voltyard.kernel.actor import ANYONE, Actor, Kind
from voltyard.kernel.context import Context
from voltyard.kernel.errors import Unauthenticated, VoltyardError
from voltyard.kernel.log import logger
from voltyard.web.door import Door, door_of

COOKIE = "voltyard_session"
NOBODY = (
    "log in, or send a token as `Authorization: Bearer …`; one is made under Account, "
    "or with `voltyard token add`"
)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller shows: the secret of a session's cookie or of a token."""

    secret: str = field(repr=False)
    is_cookie: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody we know, with what they showed."""

    actor: Actor
    user: User
    credential: Credential


def credential(request: HTTPConnection) -> Credential | None:
    """Return what a caller shows, if anything; a token counts before a cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Credential(token.strip(), is_cookie=False)
    secret = request.cookies.get(COOKIE)
    return Credential(secret, is_cookie=True) if secret else None


async def recognise(door: Door, shown: Credential) -> Caller:
    """Return who shows this. Raises: Unauthenticated."""
    find = accounts.actor_of_session if shown.is_cookie else accounts.actor_of_token
    actor, user = await door.ctx.db.read(ANYONE, find, shown.secret, door.key)
    return Caller(actor, user, shown)


async def _note_token_use(door: Door, actor: Actor) -> None:
    """Note when a token or a browser was used, seldom enough to cost nothing; no request fails for it."""
    if not actor.token_id or not door.noted_tokens.is_new(actor.token_id, door.ctx.clock.monotonic()):
        return
    try:
        note = accounts.note_token_use if actor.kind is Kind.TOKEN else accounts.note_session_use
        await door.ctx.db.work(actor, note, actor.token_id)
    except VoltyardError as wrong:
        logger("web").warning("use of a token not noted", code=wrong.code())


async def identify(request: HTTPConnection) -> Caller | None:
    """Return who asks, None for nobody or for somebody whose session or token no longer counts."""
    state = request.scope.setdefault("state", {})
    if "caller" not in state:
        state["caller"], state["stranger"] = None, Unauthenticated(NOBODY)
        shown = credential(request)
        if shown is not None:
            door = door_of(request)
            try:
                caller = await recognise(door, shown)
            except Unauthenticated as wrong:
                state["stranger"] = wrong
            else:
                state["caller"] = caller
                await _note_token_use(door, caller.actor)
    found: Caller | None = state["caller"]
    return found


async def signed_in(request: Request) -> Caller:
    """Return who asks. Raises: Unauthenticated."""
    caller = await identify(request)
    if caller is None:
        stranger: Unauthenticated = request.scope["state"]["stranger"]
        raise stranger
    return caller


async def maybe_signed_in(request: Request) -> Caller | None:
    """Return who asks, if we know."""
    return await identify(request)


def context(request: Request) -> Context:
    """Return the parts that use-cases work with."""
    return door_of(request).ctx


SignedIn = Annotated[Caller, Depends(signed_in)]
MaybeSignedIn = Annotated[Caller | None, Depends(maybe_signed_in)]
Ctx = Annotated[Context, Depends(context)]

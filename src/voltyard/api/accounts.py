"""Who am I, how I get in, and my API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request

from voltyard.accounts import proofs
from voltyard.accounts import service as accounts
from voltyard.api.shapes import Inward, Outward, Page, refusals, whole
from voltyard.web.auth import Ctx, SignedIn
from voltyard.web.door import door_of
from voltyard.web.idempotency import HOLDS_SECRET, OnceRoute

router = APIRouter(route_class=OnceRoute, tags=["accounts"])


class Team(Outward):
    """A team that one belongs to."""

    id: str
    name: str
    is_personal: bool
    role: str


class Me(Outward):
    """The one who asks."""

    id: str
    email: str
    name: str
    language: str
    theme: str
    is_admin: bool
    teams: list[Team]


class MeChange(Inward):
    """What to change of oneself; what is left out stays."""

    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    language: Literal["en", "nl", "da"] | None = None
    theme: Literal["auto", "light", "dark"] | None = None


class Token(Outward):
    """An API token without its secret."""

    id: str
    name: str
    created_at: datetime
    used_at: datetime | None


class NewToken(Inward):
    """An API token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=120)]


class MadeToken(Token):
    """A token that was just made; `token` is its secret and is shown this once."""

    token: str


@router.get("/me", responses=refusals())
async def read_me(caller: SignedIn) -> Me:
    """Return the one who asks."""
    return Me.model_validate(caller.user)


@router.patch("/me", responses=refusals())
async def change_me(ctx: Ctx, caller: SignedIn, change: MeChange) -> Me:
    """Change one's own name, language or theme."""
    user = await ctx.db.work(
        caller.actor,
        accounts.set_preferences,
        name=change.name,
        language=change.language,
        theme=change.theme,
    )
    return Me.model_validate(user)


@router.get("/tokens", responses=refusals())
async def list_tokens(ctx: Ctx, caller: SignedIn) -> Page[Token]:
    """List one's own API tokens, newest first."""
    return whole(await ctx.db.read(caller.actor, accounts.list_tokens), Token.model_validate)


@router.post("/tokens", status_code=201, responses=refusals(), openapi_extra={HOLDS_SECRET: True})
async def make_token(ctx: Ctx, caller: SignedIn, new: NewToken) -> MadeToken:
    """Make an API token; its secret is in `token`, this once."""
    token, secret = await ctx.db.work(caller.actor, accounts.add_token, new.name, ctx.settings.secret_key())
    return MadeToken(
        id=token.id, name=token.name, created_at=token.created_at, used_at=token.used_at, token=secret
    )


@router.delete("/tokens/{token_id}", status_code=204, responses=refusals(404))
async def revoke_token(ctx: Ctx, caller: SignedIn, token_id: str) -> None:
    """Make one of one's own tokens useless."""
    await ctx.db.work(caller.actor, accounts.revoke_token, token_id)


# --- how one gets in ------------------------------------------------------------------------------


class PasswordChange(Inward):
    """A new password, and the present one as a proof."""

    present: Annotated[str, Field(max_length=1_000)]
    password: Annotated[str, Field(max_length=1_000)]


class EmailChange(Inward):
    """A new address, and the present password as a proof."""

    email: Annotated[str, Field(max_length=254)]
    present: Annotated[str, Field(max_length=1_000)]


class Session(Outward):
    """A browser in which one is logged in."""

    id: str
    created_at: datetime
    seen_at: datetime | None
    address: str
    agent: str


@router.post("/me/password", status_code=204, responses=refusals(401), openapi_extra={HOLDS_SECRET: True})
async def change_password(request: Request, ctx: Ctx, caller: SignedIn, change: PasswordChange) -> None:
    """Change one's own password; all browsers are logged out."""
    door_of(request).limits.prove(request, caller.user.email)
    await proofs.change_password(ctx, caller.actor, change.present, change.password)


@router.post("/me/email", status_code=202, responses=refusals(401, 409), openapi_extra={HOLDS_SECRET: True})
async def change_email(request: Request, ctx: Ctx, caller: SignedIn, change: EmailChange) -> None:
    """Send a letter to another address of one's own; it counts once its link was opened."""
    limits = door_of(request).limits
    limits.prove(request, caller.user.email)
    limits.letter(request)
    await proofs.change_email(ctx, caller.actor, change.email, change.present)


@router.get("/sessions", responses=refusals())
async def list_sessions(ctx: Ctx, caller: SignedIn) -> Page[Session]:
    """List the browsers in which one is logged in, the latest first."""
    return whole(await ctx.db.read(caller.actor, accounts.list_sessions), Session.model_validate)


@router.delete("/sessions", status_code=204, responses=refusals())
async def end_sessions(ctx: Ctx, caller: SignedIn) -> None:
    """Log out everywhere; tokens stay."""
    await ctx.db.work(caller.actor, accounts.end_sessions)


@router.delete("/sessions/{session_id}", status_code=204, responses=refusals(404))
async def end_session(ctx: Ctx, caller: SignedIn, session_id: str) -> None:
    """Log one browser out."""
    await ctx.db.work(caller.actor, accounts.end_session, session_id)

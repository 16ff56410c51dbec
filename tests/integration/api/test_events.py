"""/events: what changes, told to those who may see it."""

import asyncio

import httpx2
from fastapi import FastAPI

from voltyard.accounts import service as accounts
from voltyard.chargers import service as chargers
from voltyard.chargers.events import ChargerChanged, subject
from voltyard.chargers.service import Place
from voltyard.kernel.context import Context
from voltyard.kernel.limits import LISTENER_QUEUE_MAX
from voltyard.locations import service as locations
from voltyard.locations.access import Level
from voltyard.web.limits import STREAMS_PER_USER_MAX
from voltyard.web.live import BEAT_S

from .conftest import Listener, Person, charge


async def rename(ctx: Context, owner: Person, charger_id: str, name: str) -> None:
    await ctx.db.work(owner.actor, chargers.rename, charger_id, name)


def whats(listener: Listener) -> list[str]:
    return [said["what"] for name, said in listener.events() if name == "ChargerChanged"]


async def test_nobody_is_told_to_log_in(anonymous: httpx2.AsyncClient):
    assert (await anonymous.get("/events")).status_code == 401


async def test_i_hear_of_my_location_and_a_stranger_does_not(
    ctx: Context, app: FastAPI, owner: Person, stranger: Person, charger_id: str
):
    theirs = await ctx.db.work(stranger.actor, locations.create, name="Theirs")
    async with Listener(app, owner.token) as mine, Listener(app, stranger.token) as other:
        await mine.opened()
        await other.opened()
        assert mine.headers["content-type"].startswith("text/event-stream")
        assert mine.headers["cache-control"] == "no-store"
        await rename(ctx, owner, charger_id, "Left")
        told = ChargerChanged(charger_id, theirs.id, "theirs")
        await ctx.bus.publish(subject(theirs.id, charger_id), told)
        text = await mine.until(lambda heard: "renamed" in heard)
        assert "id: " in text
        await other.until(lambda heard: "theirs" in heard)
        assert whats(mine) == ["renamed"]
        assert whats(other) == ["theirs"]


async def test_who_may_not_see_sensitive_data_hears_no_transactions(
    ctx: Context, app: FastAPI, owner: Person, guest: Person, location_id: str, charger_id: str
):
    async with Listener(app, owner.token) as mine, Listener(app, guest.token) as theirs:
        await mine.opened()
        await theirs.opened()
        await charge(ctx, owner, Place(charger_id, location_id))
        await rename(ctx, owner, charger_id, "After")
        await mine.until(lambda heard: "renamed" in heard)
        await theirs.until(lambda heard: "renamed" in heard)
        assert {name for name, _ in mine.events()} == {"ChargerChanged", "TransactionChanged"}
        assert {name for name, _ in theirs.events()} == {"ChargerChanged"}


async def test_a_location_made_while_listening_is_heard(
    ctx: Context, app: FastAPI, owner: Person, charger_id: str
):
    async with Listener(app, owner.token) as mine:
        await mine.opened()
        ctx.clock.advance(2)
        made = await ctx.db.work(owner.actor, locations.create, name="Fresh")
        await ctx.bus.publish(subject(made.id, charger_id), ChargerChanged(charger_id, made.id, "fresh"))
        await mine.until(lambda heard: "fresh" in heard)


async def test_access_given_while_listening_counts_after_a_beat(
    ctx: Context, app: FastAPI, owner: Person, stranger: Person, location_id: str, charger_id: str
):
    async with Listener(app, stranger.token) as theirs:
        await theirs.opened()
        await rename(ctx, owner, charger_id, "Secret")
        await ctx.db.work(owner.actor, locations.grant, location_id, stranger.team_id, Level.BASIC)
        ctx.clock.advance(BEAT_S)
        await theirs.until(lambda heard: ": alive" in heard)
        await rename(ctx, owner, charger_id, "Shared")
        await theirs.until(lambda heard: "renamed" in heard)
        assert whats(theirs) == ["renamed"]


async def test_a_revoked_token_ends_the_stream(ctx: Context, app: FastAPI, owner: Person):
    async with Listener(app, owner.token) as mine:
        await mine.opened()
        for token in await ctx.db.read(owner.actor, accounts.list_tokens):
            await ctx.db.work(owner.actor, accounts.revoke_token, token.id)
        ctx.clock.advance(BEAT_S)
        await mine.ended()


async def test_who_comes_back_is_told_to_read_again(app: FastAPI, owner: Person):
    async with Listener(app, owner.token, **{"Last-Event-ID": "x-1"}) as mine:
        await mine.until(lambda heard: "event: lost" in heard)


async def test_a_flood_is_told_as_lost(
    ctx: Context, app: FastAPI, owner: Person, location_id: str, charger_id: str
):
    async with Listener(app, owner.token) as mine:
        await mine.opened()
        told = ChargerChanged(charger_id, location_id, "flood")
        for _ in range(LISTENER_QUEUE_MAX + 10):
            await ctx.bus.publish(subject(location_id, charger_id), told)
        await mine.until(lambda heard: "event: lost" in heard)
        assert any(name == "lost" and said["count"] >= 9 for name, said in mine.events())


async def test_too_many_streams_are_refused(app: FastAPI, owner: Person):
    listeners = [Listener(app, owner.token) for _ in range(STREAMS_PER_USER_MAX)]
    for listener in listeners:
        await listener.__aenter__()
        await listener.opened()
    assert (await owner.http.get("/events")).status_code == 429
    await asyncio.gather(*(listener.__aexit__() for listener in listeners))
    async with Listener(app, owner.token) as again:
        await again.opened()

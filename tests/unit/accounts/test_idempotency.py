from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from voltyard.accounts import service as accounts
from voltyard.accounts.idempotency import (
    CLAIM,
    KEPT,
    AnswerNotKept,
    Kept,
    KeyInUse,
    KeyReused,
    begin,
    finish,
    forget,
)
from voltyard.kernel.actor import Actor, Kind
from voltyard.kernel.bus import LocalBus
from voltyard.kernel.clock import FakeClock
from voltyard.kernel.context import Context
from voltyard.kernel.db import Database, metadata
from voltyard.kernel.errors import Invalid
from voltyard.kernel.files import Files
from voltyard.kernel.settings import Settings


@pytest.fixture
async def ctx(tmp_path: Path) -> AsyncIterator[Context]:
    url = f"sqlite:///{tmp_path / 'voltyard.db'}"
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    clock, bus = FakeClock(), LocalBus(is_strict=True)
    db = Database(url, clock=clock, bus=bus)
    yield Context(db, bus, clock, Files(tmp_path), Settings(data=tmp_path, secret="a secret of the tests"))
    await db.close()


@pytest.fixture
async def ann(ctx: Context) -> Actor:
    user = await accounts.register(ctx, "ann@example.com", password=None)
    return Actor(kind=Kind.USER, subject_id=user.id)


async def test_a_finished_request_is_answered_again(ctx: Context, ann: Actor):
    assert await ctx.db.work(ann, begin, "a", "hash") is None
    await ctx.db.work(ann, finish, "a", 201, "{}")
    assert await ctx.db.work(ann, begin, "a", "hash") == Kept(201, "{}")
    with pytest.raises(KeyReused):
        await ctx.db.work(ann, begin, "a", "other")


async def test_a_claim_holds_until_it_is_let_go_or_runs_out(ctx: Context, ann: Actor):
    await ctx.db.work(ann, begin, "a", "hash")
    with pytest.raises(KeyInUse):
        await ctx.db.work(ann, begin, "a", "hash")
    await ctx.db.work(ann, forget, "a")
    assert await ctx.db.work(ann, begin, "a", "hash") is None
    assert isinstance(ctx.clock, FakeClock)
    ctx.clock.advance(CLAIM.total_seconds())
    assert await ctx.db.work(ann, begin, "a", "hash") is None


async def test_a_secret_is_not_told_twice(ctx: Context, ann: Actor):
    await ctx.db.work(ann, begin, "a", "hash")
    await ctx.db.work(ann, finish, "a", 201, None)
    with pytest.raises(AnswerNotKept):
        await ctx.db.work(ann, begin, "a", "hash")


async def test_an_answer_is_kept_for_a_day(ctx: Context, ann: Actor):
    await ctx.db.work(ann, begin, "a", "hash")
    await ctx.db.work(ann, finish, "a", 201, "{}")
    assert isinstance(ctx.clock, FakeClock)
    ctx.clock.advance((KEPT + timedelta(seconds=1)).total_seconds())
    assert await ctx.db.work(ann, begin, "a", "other") is None


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
async def test_a_key_that_is_none_is_refused(ctx: Context, ann: Actor, key: str):
    with pytest.raises(Invalid):
        await ctx.db.work(ann, begin, key, "hash")

import pytest

from voltyard.accounts import service as accounts
from voltyard.accounts.secrets import machine_hash
from voltyard.kernel.actor import system
from voltyard.kernel.errors import Unauthenticated
from voltyard.web.auth import COOKIE, Credential, context, credential, identify, maybe_signed_in, signed_in
from voltyard.web.door import Door

from .conftest import Make

SYSTEM = system("test")


@pytest.fixture
async def user(door: Door) -> accounts.User:
    return await accounts.register(door.ctx, "ann@example.com", password=None)


@pytest.fixture
async def token(door: Door, user: accounts.User) -> str:
    _, secret = await door.ctx.db.work(SYSTEM, accounts.add_token, "script", door.key, user.id)
    return secret


def test_a_token_counts_before_a_cookie(make: Make):
    cookie = f"{COOKIE}=one"
    assert credential(make(cookie=cookie)) == Credential("one", is_cookie=True)
    assert credential(make(cookie=cookie, authorization="bearer  two ")) == Credential("two", is_cookie=False)
    assert credential(make(cookie=cookie, authorization="Basic two")) == Credential("one", is_cookie=True)
    assert credential(make()) is None


def test_a_secret_is_not_shown():
    assert "hunter2" not in repr(Credential("hunter2", is_cookie=True))


async def test_a_token_is_somebody(make: Make, user: accounts.User, token: str):
    caller = await signed_in(make(authorization=f"Bearer {token}"))
    assert (caller.user, caller.actor.door) == (user, "api")


async def test_a_cookie_is_somebody(make: Make, door: Door, user: accounts.User):
    await door.ctx.db.work(SYSTEM, accounts._open_session, user.id, machine_hash("vys_1", door.key))
    caller = await signed_in(make(cookie=f"{COOKIE}=vys_1"))
    assert (caller.user, caller.actor.door) == (user, "portal")


async def test_a_stranger_is_nobody(make: Make):
    for request in (make(), make(authorization="Bearer "), make(cookie=f"{COOKIE}=x")):
        assert await maybe_signed_in(request) is None
        with pytest.raises(Unauthenticated):
            await signed_in(request)


async def test_one_is_looked_up_once_a_request(make: Make, door: Door, token: str):
    request = make(authorization=f"Bearer {token}")
    caller = await identify(request)
    assert caller is not None
    await door.ctx.db.work(caller.actor, accounts.revoke_token, caller.actor.token_id)
    assert await identify(request) is caller
    assert await identify(make(authorization=f"Bearer {token}")) is None
    assert context(request) is door.ctx


async def test_the_use_of_a_token_is_noted_now_and_then(make: Make, door: Door, token: str):
    async def used() -> object:
        caller = await signed_in(make(authorization=f"Bearer {token}"))
        (found,) = await door.ctx.db.read(caller.actor, accounts.list_tokens)
        return found.used_at

    first = await used()
    assert first == door.ctx.clock.now()
    door.ctx.clock.advance(60)
    assert await used() == first
    door.ctx.clock.advance(300)
    assert await used() == door.ctx.clock.now()
